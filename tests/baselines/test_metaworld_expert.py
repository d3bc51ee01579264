"""The expert is Meta-World's own, and has the outcomes that it has in Meta-World's own loop."""

import warnings
from contextlib import closing
from typing import Any

import pytest

from vlabench import (
    EpisodeSpec,
    Outcome,
    ProcessRunner,
    SerialRunner,
    Stage,
    load_policy,
    load_suite,
    make_plan,
)
from vlabench.errors import SpecMismatchError
from vlabench.runners import Runner
from vlabench.testing import check_policy

pytest.importorskip(
    "metaworld", reason="needs the extra: pip install 'vlabench-harness[metaworld]'"
)

SUITE = load_suite("metaworld")
# Short ones, one of each kind, and the one that fails now and then.
TASKS = "reach-v3,drawer-close-v3,button-press-topdown-v3,push-v3,peg-unplug-side-v3"
PLAN = make_plan(SUITE, tasks=TASKS, episodes=2)


def test_another_suite_is_refused_in_words_that_help() -> None:
    with pytest.raises(SpecMismatchError, match=r"'metaworld-expert'.*'point-reach'.*--suite"):
        load_policy("metaworld-expert", load_suite("point-reach"))


@pytest.mark.sim
def test_it_keeps_the_contract() -> None:
    check_policy(load_policy("metaworld-expert", SUITE), SUITE, task_id="metaworld/drawer-close-v3")


@pytest.fixture(scope="module")
def serial_run() -> dict[str, Any]:
    return records(SerialRunner())


def records(runner: Runner) -> dict[str, Any]:
    policy = load_policy("metaworld-expert", SUITE)
    stage = Stage(suite=SUITE, protocol=SUITE.protocol(), wants=policy.observation)
    return {r.episode.key: r for r in runner.run(stage, policy, PLAN.episodes)}


@pytest.mark.sim
@pytest.mark.parametrize("task_id", sorted({e.task_id for e in PLAN.episodes}))
def test_outcomes_and_lengths_are_those_of_meta_worlds_own_loop(
    task_id: str, serial_run: dict[str, Any]
) -> None:
    import metaworld

    name = task_id.partition("/")[2]
    benchmark = metaworld.MT1(name, seed=0)
    with closing(benchmark.train_classes[name]()) as env:
        env.set_task(benchmark.train_tasks[0])
        env.seeded_rand_vec, env._freeze_rand_vec = True, False
        for episode in PLAN.episodes:
            if episode.task_id == task_id:
                record = serial_run[episode.key]
                ours = record.outcome is Outcome.SUCCESS, record.steps
                assert ours == plain_loop(env, name, episode), record.error


def plain_loop(env: Any, name: str, episode: EpisodeSpec) -> tuple[bool, int]:
    """Run Meta-World as its users do, actions not clipped; return success and steps."""
    from metaworld.policies import ENV_POLICY_MAP

    script = ENV_POLICY_MAP[name]()
    env.seed(episode.scene_seed)
    observed, _ = env.reset()
    for step in range(1, 501):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            action = script.get_action(observed)
        observed, _, _, _, info = env.step(action)
        if info["success"]:
            return True, step
    return False, 500


@pytest.mark.sim
@pytest.mark.parametrize("workers", [1, 2])
def test_runners_change_no_digest(workers: int, serial_run: dict[str, Any]) -> None:
    parallel = records(ProcessRunner(workers))
    assert {k: r.trace for k, r in parallel.items()} == {k: r.trace for k, r in serial_run.items()}
    assert {r.outcome for r in parallel.values()} <= {Outcome.SUCCESS, Outcome.FAILURE}
