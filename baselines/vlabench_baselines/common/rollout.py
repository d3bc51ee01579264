"""Trying a model out while it is trained, in episodes that are neither trained on nor evaluated."""

import copy
from collections.abc import Mapping

from vlabench.metrics import Estimate, success_rate
from vlabench.plan import make_plan
from vlabench.policy import Policy
from vlabench.runners import Runner, Stage
from vlabench.runners.processes import ProcessRunner
from vlabench.suite import Suite
from vlabench_baselines.common.device import cores, one_thread
from vlabench_baselines.nanovla.checkpoint import Origin
from vlabench_baselines.nanovla.model import NanoVLA
from vlabench_baselines.nanovla.policy import NanoPolicy

VALIDATION_SEED = 1_000_003
"""Root of the seeds of these episodes; demonstrations are collected with small ones."""


def rollout(
    suite: Suite,
    policy: Policy,
    runner: Runner,
    *,
    tasks: str,
    episodes: int,
    settings: Mapping[str, object] | None = None,
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


def portrait(model: NanoVLA) -> NanoVLA:
    """Return a model as it is now, to be run or saved while it goes on learning."""
    return copy.deepcopy(model).cpu().eval().requires_grad_(False)


def try_out(
    model: NanoVLA,
    origin: Origin,
    suite: Suite,
    *,
    execute: int | None,
    tasks: str,
    episodes: int,
    settings: Mapping[str, object],
    workers: int,
) -> Estimate:
    """Run a model as it is now, without drawing; see `rollout`.

    Args:
        model: May learn on afterwards.
        origin: What it fits.
        suite: Where.
        execute: Actions of a decision; None for all of a chunk.
        tasks: Globs over task ids.
        episodes: Of each.
        settings: Of the suite, parsed.
        workers: Simulators side by side, at most; one for each core is enough, because those that
            explore wait meanwhile and keep their memory.
    """
    policy = NanoPolicy("trained", portrait(model), origin, execute=execute)
    runner = ProcessRunner(min(workers, cores()))
    return rollout(suite, policy, runner, tasks=tasks, episodes=episodes, settings=settings)


def columns(estimate: Estimate, name: str = "success") -> dict[str, float]:
    """Return a rate as the columns of a training's log."""
    values = {"": estimate.value, "_low": estimate.low, "_high": estimate.high, "_n": estimate.n}
    return {f"{name}{end}": value for end, value in values.items()}


def told(estimate: Estimate) -> str:
    """Return a rate as a training says it."""
    interval = f"[{estimate.low:.1%}, {estimate.high:.1%}]"
    return f"success {estimate.value:.1%} {interval} n={estimate.n} in training episodes"
