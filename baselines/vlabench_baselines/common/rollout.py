"""Trying a model out while it is trained, in episodes that are neither trained on nor evaluated."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vlabench.metrics import Estimate, success_rate
from vlabench.plan import make_plan
from vlabench.policy import Policy
from vlabench.runners import Runner, Stage
from vlabench.suite import Suite

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

    Raises:
        PlanError: If the suite has no such protocol or no such task.
    """
    rules = suite.training_protocol()
    plan = make_plan(suite, rules.name, tasks=tasks, episodes=episodes, seed=VALIDATION_SEED)
    stage = Stage(suite=suite, protocol=rules, wants=policy.observation, settings=settings or {})
    with one_thread():
        return success_rate(list(runner.run(stage, policy, plan.episodes)))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread meanwhile: simulators need the other cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
