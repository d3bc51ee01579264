"""May this change be merged? Candidate runs against baseline runs, with the error rates promised.

Non-inferiority with a margin (Wellek 2010, Testing Statistical Hypotheses of Equivalence and
Noninferiority, chapter 1), on the same intervals and exact tests as every comparison. ADR 15 says
which errors are controlled, and why.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from vlabench.metrics.comparison import Comparison, Effect, Evidence, Rules
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.paired import compare_runs
from vlabench.metrics.significance import holm
from vlabench.record import Run
from vlabench.table import Results, results_of


class Status(StrEnum):
    """What a gate says of a candidate."""

    PASS = "NO REGRESSION"  # surely not worse by the margin, or the same trajectories
    REGRESSION = "REGRESSION"  # surely worse, and nobody knows that it is by less than the margin
    UNDERPOWERED = "UNDERPOWERED"  # neither: too few episodes to say
    NOT_COMPARABLE = "NOT COMPARABLE"  # the runs are not of the same thing, or one is missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What follows for one run.

    Attributes:
        comparison: The candidate (b) against the baseline (a); its own verdict does not count here.
        status: What the gate says.
        reasons: Why, one sentence each.
        worse: Tasks that are surely worse, each judged like a run.
        p_value: That the candidate is not worse, after Holm over all runs; None without numbers.
    """

    comparison: Comparison
    status: Status
    reasons: tuple[str, ...]
    worse: tuple[Effect, ...] = ()
    p_value: float | None = None


def judge_runs(
    pairs: Sequence[tuple[Run | Results, Run | Results]],
    *,
    names: Sequence[tuple[str, str]],
    rules: Rules,
) -> list[Judgement]:
    """Judge each candidate against its baseline; error rates hold for all of them together.

    Args:
        pairs: Baseline and candidate.
        names: What to call them.
        rules: `margin` is the fall that is none; `confidence` 0.95 gives tests of 2.5 % each way.
    """
    read = [(results_of(a), results_of(b)) for a, b in pairs]
    found = [
        compare_runs(*pair, names=name, rules=rules) for pair, name in zip(read, names, strict=True)
    ]
    known = [c.evidence for c in found if c.evidence]
    of_runs = iter(holm([_p_worse(e.difference, e.p_value) for e in known]))
    of_tasks = iter(holm([_p_worse(t.difference, t.p_value) for e in known for t in _several(e)]))
    judged = []
    for comparison, pair in zip(found, read, strict=True):
        if comparison.evidence is None:
            judged.append(refuse(comparison, comparison.reasons))
            continue
        p_value = next(of_runs)
        worse = tuple(
            task
            for task in _several(comparison.evidence)
            if _surely_worse(task.difference, next(of_tasks), rules)
        )
        blank = Judgement(
            comparison=comparison,
            status=Status.UNDERPOWERED,
            reasons=(),
            worse=worse,
            p_value=p_value,
        )
        judged.append(_judge(blank, comparison.evidence, rules, same=same_trajectories(*pair)))
    return judged


def refuse(comparison: Comparison, reasons: tuple[str, ...]) -> Judgement:
    """Return the judgement that nothing can be said."""
    return Judgement(comparison=comparison, status=Status.NOT_COMPARABLE, reasons=reasons)


def same_trajectories(a: Run | Results, b: Run | Results) -> int:
    """Count the episodes that went the same way, to the last bit; 0 where other ones were run."""
    one, other = results_of(a).table, results_of(b).table
    if not one.same_episodes(other):
        return 0
    return int(((one.trajectory == other.trajectory) & (one.trajectory != b"")).sum())


def _judge(blank: Judgement, evidence: Evidence, rules: Rules, *, same: int) -> Judgement:
    difference, margin = evidence.difference, f"{100 * rules.margin:g} points"
    if evidence.pairs and same == evidence.pairs.n and not evidence.bounds:
        reason = "every episode went the same way, to the last bit"
        return replace(blank, status=Status.PASS, reasons=(reason,), worse=())
    fallen = tuple(_fall(task) for task in blank.worse)
    if blank.p_value is not None and _surely_worse(difference, blank.p_value, rules):
        reason = f"the interval is below 0 and reaches below -{margin}; the test rejects"
        return replace(blank, status=Status.REGRESSION, reasons=(reason, *fallen))
    if fallen:
        return replace(blank, status=Status.REGRESSION, reasons=fallen)
    if difference.low <= -rules.margin:
        reason = f"a fall of {margin} is not excluded, and none is shown"
        return replace(blank, reasons=(reason,))
    if evidence.bounds and evidence.bounds[0] <= -rules.margin:
        worst = f"{100 * evidence.bounds[0]:+.1f} points"
        reason = (
            f"errors are left out; were they to speak against the candidate, it would be {worst}"
        )
        return replace(blank, reasons=(reason,))
    reason = f"the whole interval is above -{margin}"
    small = ("worse, but surely by less than that",) if difference.high < 0 else ()
    return replace(blank, status=Status.PASS, reasons=(reason, *small))


def _surely_worse(difference: Estimate, p_value: float, rules: Rules) -> bool:
    """Whether interval and test say worse, and not that it is by less than the margin."""
    rejected = p_value < (1 - rules.confidence) / 2
    return difference.high < 0 and rejected and difference.low <= -rules.margin


def _several(evidence: Evidence) -> tuple[Effect, ...]:
    """Return the tasks, unless there is one only, which is the run once more."""
    return evidence.tasks if len(evidence.tasks) > 1 else ()


def _p_worse(difference: Estimate, p_value: float) -> float:
    """Return the one-sided p-value that b is not worse: half the two-sided one on that side."""
    return p_value / 2 if difference.value < 0 else 1.0


def _fall(task: Effect) -> str:
    low, high = 100 * task.difference.low, 100 * task.difference.high
    change = f"{100 * task.difference.value:+.1f} points [{low:.1f}, {high:.1f}]"
    return f"task {task.name} alone is worse: {change}, n = {task.difference.n}"
