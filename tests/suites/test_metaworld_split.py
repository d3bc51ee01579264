"""The groups are what they are said to be, and new tasks are old ones with things elsewhere."""

from contextlib import closing
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from vlabench import (
    ObservationSpec,
    Outcome,
    SerialRunner,
    Stage,
    load_policy,
    load_suite,
    make_plan,
)
from vlabench_suites.metaworld_split import EXPERT, RL, SHIFTS, UNSEEN

KNOWN = load_suite("metaworld")
SPLIT, NEW = load_suite("metaworld-split"), load_suite("metaworld-new")
BLIND = ObservationSpec(state="hand-and-gripper", state_size=4, privileged=True)

needs_simulator = pytest.mark.skipif(
    find_spec("metaworld") is None,
    reason="needs the extra: pip install 'vlabench-harness[metaworld]'",
)


def names(suite_id: str) -> list[str]:
    return [task.id for task in load_suite(suite_id).tasks]


def test_the_groups_have_25_and_5_and_10_tasks_and_do_not_overlap() -> None:
    assert [len(set(group)) for group in (EXPERT, RL, UNSEEN)] == [25, 5, 10]
    assert not set(RL) & set(UNSEEN)
    assert set(RL) | set(UNSEEN) == set(SHIFTS) <= set(EXPERT)


def test_every_group_is_a_suite_and_the_split_is_all_of_them() -> None:
    assert names("metaworld-25") == [f"metaworld/{name}" for name in EXPERT]
    assert names("metaworld-rl") == [f"metaworld-new/{name}" for name in RL]
    assert names("metaworld-unseen") == [f"metaworld-new/{name}" for name in UNSEEN]
    assert names("metaworld-new") == names("metaworld-rl") + names("metaworld-unseen")
    assert names("metaworld-split") == names("metaworld-25") + names("metaworld-new")


def test_a_new_task_is_told_in_the_words_of_the_old_one() -> None:
    for task in NEW.tasks:
        old = KNOWN.task(task.id.replace("metaworld-new/", "metaworld/"))
        assert (task.instruction, task.scene) == (old.instruction, old.scene)


def test_an_old_task_has_the_same_episodes_as_in_the_suite_of_all_fifty() -> None:
    demonstrated = load_suite("metaworld-25")
    for protocol in ("mt50", "training"):
        assert demonstrated.protocol(protocol) == KNOWN.protocol(protocol)
        ours = make_plan(demonstrated, protocol, tasks="reach-v3", episodes=3, seed=2)
        theirs = make_plan(KNOWN, protocol, tasks="reach-v3", episodes=3, seed=2)
        assert ours.digest == theirs.digest


def test_a_new_task_has_seeds_of_its_own() -> None:
    old = make_plan(SPLIT, tasks="metaworld/drawer-open-v3", episodes=5)
    new = make_plan(SPLIT, tasks="metaworld-new/drawer-open-v3", episodes=5)
    assert not {e.scene_seed for e in old.episodes} & {e.scene_seed for e in new.episodes}


def build(prefix: str, name: str) -> Any:
    return SPLIT.make_env(SPLIT.task(f"{prefix}/{name}"), SPLIT.protocol(), BLIND)


def overlap(old: Any, new: Any) -> float:
    """Return how much of the old box is in the new one; along a side without width, all or none."""
    share = 1.0
    for low, high, shifted in zip(old.low, old.high, new.low, strict=True):
        width, moved = high - low, abs(shifted - low)
        share *= max(0.0, 1 - moved / width) if width else float(moved == 0)
    return share


@needs_simulator
@pytest.mark.sim
@pytest.mark.parametrize("name", SHIFTS)
def test_things_are_elsewhere_by_the_shift_and_the_episode_starts_unsolved(name: str) -> None:
    specs = make_plan(NEW, tasks=name, episodes=3, seed=1).episodes
    shift = np.array([*SHIFTS[name], 0.0])
    with closing(build("metaworld", name)) as old, closing(build("metaworld-new", name)) as new:
        boxes = [env._simulator._random_reset_space for env in (old, new)]
        assert overlap(*boxes) < 0.2
        for spec in specs:
            drawn, goals = [], []
            for env in (old, new):
                env.reset(spec)
                drawn.append(env._simulator._last_rand_vec.reshape(-1, 3))
                steps = [env.step(np.zeros(4, dtype=np.float32)) for _ in range(5)]
                assert not any(step.success or step.done for step in steps)
                goals.append(env.observe().privileged["goal"][:3])  # clipped since the first step
            assert np.allclose(drawn[1] - drawn[0], shift)
            assert np.allclose(goals[1] - goals[0], shift)


@needs_simulator
@pytest.mark.sim
def test_where_a_new_window_is_differs_from_where_any_old_one_is() -> None:
    where: dict[str, list[Any]] = {"metaworld": [], "metaworld-new": []}
    for prefix, places in where.items():
        with closing(build(prefix, "window-close-v3")) as env:
            for spec in make_plan(NEW, tasks="window-close-v3", episodes=20).episodes:
                env.reset(spec)
                env.step(np.zeros(4, dtype=np.float32))  # before it, the handle is shown stale
                places.append(env.observe().privileged["object 1"][:2])
    nearest = min(np.linalg.norm(a - b) for a in where["metaworld"] for b in where["metaworld-new"])
    assert nearest > 0.1


@needs_simulator
@pytest.mark.sim
def test_the_expert_solves_the_new_tasks() -> None:
    policy = load_policy("metaworld-expert", SPLIT)
    stage = Stage(suite=NEW, protocol=NEW.protocol(), wants=policy.observation)
    records = list(SerialRunner().run(stage, policy, make_plan(NEW, episodes=1, seed=1).episodes))
    assert [r.episode.task_id for r in records if r.outcome is not Outcome.SUCCESS] == []
