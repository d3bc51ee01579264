"""Meta-World behind the harness is Meta-World: the same tasks, states, steps and pictures."""

import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vlabench import (
    Camera,
    EpisodeSpec,
    ObservationSpec,
    Orientation,
    Outcome,
    ProcessRunner,
    SerialRunner,
    Stage,
    load_policy,
    load_suite,
    make_plan,
)
from vlabench.env import Env
from vlabench.runners import Runner
from vlabench.spaces import Quality
from vlabench.testing import check_ids, check_observations

pytest.importorskip(
    "metaworld", reason="needs the extra: pip install 'vlabench-harness[metaworld]'"
)

SUITE = load_suite("metaworld")
MT50, LEROBOT = SUITE.protocol("mt50"), SUITE.protocol("lerobot")
BLIND = ObservationSpec(state="hand-and-gripper", state_size=4, privileged=True)
# One task of each kind: fixed goal, free object, two objects, hinge, slider; two of them are
# shown stale before the first step.
SAMPLE = ["reach-v3", "pick-place-v3", "stick-pull-v3", "dial-turn-v3", "window-close-v3"]


def episode(name: str, scene_seed: int) -> EpisodeSpec:
    return EpisodeSpec(
        task_id=f"metaworld/{name}", init_index=0, scene_seed=scene_seed, policy_seed=0
    )


def make_env(name: str, wants: ObservationSpec = BLIND) -> Any:
    return SUITE.make_env(SUITE.task(f"metaworld/{name}"), MT50, wants)


def actions(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Random actions that keep a direction for a while, so that they push things about."""
    rng = np.random.default_rng(seed)
    drift = np.repeat(rng.uniform(-1, 1, (count // 10 + 1, 4)), 10, axis=0)[:count]
    return (drift + rng.uniform(-0.3, 0.3, (count, 4))).astype(np.float32)


def trajectory(env: Env, spec: EpisodeSpec, acts: NDArray[np.float32]) -> list[Any]:
    """Return all that an episode shows: states, observations and whether it succeeded."""
    env.reset(spec)
    shown: list[Any] = [env.state_bytes(), env.observe().privileged["observation"].tobytes()]
    for action in acts:
        step = env.step(action)
        shown += [step, env.state_bytes(), env.observe().privileged["observation"].tobytes()]
    return shown


class Reference:
    """Meta-World's own environment, set up as lerobot sets it up."""

    def __init__(self, name: str) -> None:
        import metaworld

        from vlabench_suites.drawing import require_gl

        require_gl()
        benchmark = metaworld.MT1(name, seed=42)
        env: Any = benchmark.train_classes[name](render_mode="rgb_array", camera_name="corner2")
        env.set_task(benchmark.train_tasks[0])
        env.model.cam_pos[2] = [0.75, 0.075, 0.7]
        env.reset()
        env.seeded_rand_vec = True
        env._freeze_rand_vec = False
        self.env = env

    def reset(self, seed: int) -> NDArray[np.float64]:
        self.env.seed(seed)
        observed: NDArray[np.float64] = self.env.reset()[0]
        return observed

    def picture(self) -> NDArray[np.uint8]:
        # another context of the process may be current by now
        self.env.mujoco_renderer._get_viewer("rgb_array").make_context_current()
        return np.flip(self.env.render(), (0, 1))

    def close(self) -> None:
        self.env.close()


def test_every_task_has_a_name_of_its_own_and_a_sentence() -> None:
    check_ids(SUITE)
    assert len(SUITE.tasks) == 50
    for task in SUITE.tasks:
        assert task.num_inits is None
        assert task.instruction[0].isupper()
        assert not task.instruction.endswith(".")


def test_loading_the_suite_imports_no_simulator() -> None:
    code = (
        "import sys, vlabench_suites.metaworld, vlabench_baselines.experts.metaworld\n"
        "print({'metaworld', 'mujoco', 'gymnasium', 'OpenGL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_both_protocols_give_500_steps_and_are_upright() -> None:
    for protocol in SUITE.protocols:
        assert {protocol.horizon(task.id) for task in SUITE.tasks} == {500}
        assert {c.orientation for c in protocol.observation.cameras} == {Orientation.UPRIGHT}
    assert [str(c) for c in LEROBOT.observation.cameras] == ["corner4 480x480 upright full"]


@pytest.mark.sim
def test_ids_are_meta_worlds_own_in_its_own_order() -> None:
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    assert [task.id for task in SUITE.tasks] == [f"metaworld/{n}" for n in ALL_V3_ENVIRONMENTS]


@pytest.mark.sim
@pytest.mark.parametrize("name", [task.scene for task in SUITE.tasks])
def test_an_episode_starts_unsolved_and_depends_on_its_seed_alone(name: str) -> None:
    first, second = episode(name, 1), episode(name, 2**32 - 1)
    with closing(make_env(name)) as used, closing(make_env(name)) as fresh:
        start = trajectory(used, first, actions(60, seed=1))[0]
        used.observe()
        later = trajectory(used, second, actions(10))
        assert later == trajectory(fresh, second, actions(10))
        assert later[0] != start
        used.reset(first)
        steps = [used.step(np.zeros(4, dtype=np.float32)) for _ in range(5)]
        assert not any(step.success or step.done for step in steps)


@pytest.mark.sim
@pytest.mark.parametrize("name", SAMPLE)
def test_states_and_pictures_equal_meta_worlds_own_to_the_last_bit(name: str) -> None:
    wants = replace(BLIND, cameras=LEROBOT.observation.cameras)
    with closing(make_env(name, wants)) as ours, closing(Reference(name)) as theirs:
        for seed in (4, 5):
            ours.reset(episode(name, seed))
            observed = theirs.reset(seed)
            for action in actions(30, seed):
                assert np.array_equal(ours._observed, observed)
                observed, _, _, _, info = theirs.env.step(action)
                assert ours.step(action).success == bool(info["success"])
        seen = ours.observe()
        assert np.array_equal(seen.images["corner4"], theirs.picture())
        assert np.array_equal(seen.state, observed[:4].astype(np.float32))
        assert np.array_equal(seen.privileged["observation"], observed)


@pytest.mark.sim
def test_the_first_picture_of_an_episode_equals_meta_worlds_own() -> None:
    with closing(make_env("window-close-v3")) as ours, closing(Reference("window-close-v3")) as its:
        ours.reset(episode("window-close-v3", 9))
        its.reset(9)
        assert np.array_equal(ours.draw(LEROBOT.observation.cameras[0]), its.picture())


@pytest.mark.sim
def test_cameras_that_hang_head_down_are_turned_and_no_others_are() -> None:
    from vlabench_suites.metaworld import _HEAD_DOWN

    with closing(make_env("reach-v3")) as env:
        env.reset(episode("reach-v3", 0))
        model, data = env._simulator.model, env._simulator.data
        fixed = [model.camera(i).name for i in range(model.ncam) if model.cam_mode[i] == 0]
        up = {name: data.camera(name).xmat.reshape(3, 3)[:, 1] for name in fixed}
    assert {name for name in fixed if up[name][2] < -0.1} == _HEAD_DOWN
    assert {camera.name for camera in MT50.observation.cameras} <= _HEAD_DOWN


@pytest.mark.sim
def test_observations_are_what_was_asked_for_and_the_policys_to_keep() -> None:
    cameras = (Camera(name="corner2", height=64, width=64, quality=Quality.FAST),)
    assert cameras[0] in MT50.observation.cameras
    task, wants = SUITE.task("metaworld/drawer-open-v3"), replace(BLIND, cameras=cameras)
    with closing(make_env(task.scene, wants)) as env:
        check_observations(env, episode(task.scene, 0), task, MT50.action, wants)
    with closing(make_env(task.scene, ObservationSpec())) as env:
        env.reset(episode(task.scene, 0))
        seen = env.observe()
        assert not seen.images
        assert not seen.privileged
        assert seen.state.shape == (0,)


@pytest.mark.sim
def test_the_goal_is_seen_after_a_step_too() -> None:
    with closing(make_env("pick-place-v3")) as env:
        env.reset(episode("pick-place-v3", 0))
        goal = env.observe().privileged["observation"][-3:]
        env.step(np.zeros(4, dtype=np.float32))
        assert np.array_equal(env.observe().privileged["observation"][-3:], goal)
        assert goal.all()


@pytest.mark.sim
def test_the_simulator_is_done_after_500_steps() -> None:
    with closing(make_env("reach-v3")) as env:
        env.reset(episode("reach-v3", 0))
        steps = [env.step(np.zeros(4, dtype=np.float32)) for _ in range(500)]
    assert [step.done for step in steps] == [False] * 499 + [True]


PLAN = make_plan(SUITE, tasks="faucet-open-v3,sweep-v3", episodes=2)


@pytest.fixture(scope="module")
def serial_run() -> dict[str, Any]:
    return traces(SerialRunner(), PLAN.episodes)


@pytest.mark.sim
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_and_order_change_no_trajectory(workers: int, serial_run: dict[str, Any]) -> None:
    assert traces(ProcessRunner(workers), PLAN.episodes[::-1]) == serial_run


def traces(runner: Runner, episodes: Any) -> dict[str, Any]:
    protocol = replace(MT50, horizons=(("metaworld", 30),))
    policy = load_policy("random", SUITE)
    stage = Stage(suite=SUITE, protocol=protocol, wants=policy.observation)
    records = list(runner.run(stage, policy, episodes))
    assert {r.outcome for r in records} == {Outcome.FAILURE}, [r.error for r in records]
    return {r.episode.key: r.trace for r in records}


def test_the_subsets_are_meta_worlds_own() -> None:
    from metaworld import env_dict

    wanted = {"mt10": env_dict.MT10_V3, "mt50": env_dict.MT50_V3}
    for name, parts in (("ml10", env_dict.ML10_V3), ("ml45", env_dict.ML45_V3)):
        wanted |= {f"{name}-{part}": tasks for part, tasks in parts.items()}
    assert wanted.keys() == dict(SUITE.subsets).keys()
    for name, tasks in wanted.items():
        plan = make_plan(SUITE, tasks=name, episodes=1)
        assert {e.task_id for e in plan.episodes} == {f"metaworld/{task}" for task in tasks}
