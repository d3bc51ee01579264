"""Trying a model out while it is trained, in episodes that are neither trained on nor evaluated."""

from vlabench.metrics import Estimate, success_rate
from vlabench.plan import make_plan
from vlabench.policy import Policy
from vlabench.runners import Runner, Stage
from vlabench.suite import Suite
from vlabench_baselines.common.device import one_thread

VALIDATION_SEED = 1_000_003
"""Root of the seeds of these episodes; demonstrations are collected with small ones."""


def rollout(
    suite: Suite,
    policy: Policy,
    runner: Runner,
    *,
    tasks: str,
    episodes: int,
    settings: dict[str, object] | None = None,
) -> Estimate:
    """Run some episodes of each task under the suite's protocol for training.

    Episodes that break are left out: one of them shall not end a training.

    Raises:
        PlanError: If the suite has no such protocol or no such task.
        ValueError: If nothing but errors came back.
    """
    rules = suite.training_protocol()
    plan = make_plan(suite, rules.name, tasks=tasks, episodes=episodes, seed=VALIDATION_SEED)
    stage = Stage(suite=suite, protocol=rules, wants=policy.observation, settings=settings or {})
    with one_thread():
        records = list(runner.run(stage, policy, plan.episodes))
    return success_rate(records, on_error="exclude")
