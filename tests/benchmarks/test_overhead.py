"""What the harness costs beside the simulator: tracing, checking, asking and recording.

`make bench` runs these. `harness_share` in `extra_info` is the time of an episode through the
serial runner over that of a bare loop of `Env.reset` and `Env.step` on the same actions, minus 1;
the two are run in turn, round by round, so that a machine whose speed drifts does not show in it.
"""

import statistics
import time
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from vlabench import SerialRunner, Stage, load_policy, load_suite, make_plan

_ROUNDS = 7


def _bare(env: Any, episode: Any, steps: int, action: Any) -> float:
    started = time.perf_counter()
    env.reset(episode)
    for _ in range(steps):
        env.step(action)
    return time.perf_counter() - started


@pytest.mark.sim
@pytest.mark.parametrize(
    ("suite_id", "task_id", "package", "steps"),
    [
        ("metaworld", "metaworld/reach-v3", "metaworld", 500),
        ("libero-goal", "libero-goal/0", "libero", 60),
    ],
)
def test_the_harness_costs_little_beside_the_simulator(
    benchmark: Any, suite_id: str, task_id: str, package: str, steps: int
) -> None:
    if find_spec(package) is None:
        pytest.skip(f"needs the extra: pip install 'vlabench-harness[{package}]'")
    suite = load_suite(suite_id)
    protocol = replace(suite.protocol(), horizons=((suite_id, steps),))
    policy = load_policy("noop", suite)
    action = np.zeros(protocol.action.size, dtype=np.float32)
    if protocol.settle_action:
        action[:] = protocol.settle_action
    env = suite.make_env(suite.task(task_id), protocol, policy.observation)
    kept = replace(suite, protocols=(protocol,), make_env=lambda *_: env)
    stage = Stage(suite=kept, protocol=protocol, wants=policy.observation)
    (episode,) = make_plan(kept, tasks=task_id, episodes=1).episodes
    env.close = lambda: None  # type: ignore[method-assign] - the runner's slot does not own it
    bare: list[float] = []
    through: list[float] = []

    def pair() -> None:
        bare.append(_bare(env, episode, steps, action))
        started = time.perf_counter()
        (record,) = SerialRunner().run(stage, policy, [episode])
        through.append(time.perf_counter() - started)
        assert record.steps == steps, record.error

    benchmark.pedantic(pair, rounds=_ROUNDS, warmup_rounds=1)
    shares = [after / before - 1 for before, after in zip(bare[1:], through[1:], strict=True)]
    benchmark.extra_info["harness_share"] = round(statistics.median(shares), 4)
    benchmark.extra_info["microseconds_per_step"] = round(
        1e6 * statistics.median(b - a for a, b in zip(bare[1:], through[1:], strict=True)) / steps,
        2,
    )
