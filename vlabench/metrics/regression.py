"""May this change be merged? Candidate runs against baseline runs, with the error rates promised.

Non-inferiority with a margin (Wellek 2010, Testing Statistical Hypotheses of Equivalence and
Noninferiority, chapter 1), on the same intervals and exact tests as every comparison. ADR 15 says
which errors are controlled, and why.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from math import ceil

from vlabench.metrics.comparison import Comparison, Effect, Evidence, Rules
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.paired import compare_runs
from vlabench.metrics.power import paired_power
from vlabench.metrics.significance import holm, tarone_holm
from vlabench.metrics.wording import p_text, points_text
from vlabench.record import Run
from vlabench.table import Results, results_of

_TASKS = 5 / 8
"""Share of all false alarms that tasks may cause, runs the rest: 1 in 32 of 1 in 20, so that a task
that loses each of five initial states is enough where nothing else changed."""
_POWER = 0.8
_MOST = 100_000
"""Episodes of a task; who needs more is told that there is no such number."""


class Status(StrEnum):
    """What a gate says of a candidate."""

    PASS = "NO REGRESSION"  # surely not worse by the margin, or the same trajectories
    REGRESSION = "REGRESSION"  # surely worse, and nobody knows that it is by less than the margin
    UNDERPOWERED = "UNDERPOWERED"  # neither: too few episodes to say
    NOT_COMPARABLE = "NOT COMPARABLE"  # the runs are not of the same thing, or one is missing


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskJudgement:
    """What follows for one task of a run.

    Attributes:
        effect: The candidate (b) against the baseline (a).
        status: As for a run; REGRESSION holds for all tasks of all runs together.
        p_value: That it is not worse, of a one-sided test.
        level: Below which `p_value` is a regression, with this many other tasks beside it.
        detectable: The fall that so many initial states show with 80 % power, were nothing gained
            that was not; None where not even the loss of all of them is one.
        needed: Initial states that show a fall by the margin with 80 % power; None without pairing.
    """

    effect: Effect
    status: Status
    p_value: float
    level: float
    detectable: float | None = None
    needed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What follows for one run.

    Attributes:
        comparison: The candidate (b) against the baseline (a); its own verdict does not count here.
        status: What the gate says.
        reasons: Why, one sentence each.
        worse: Tasks that are surely worse, each judged like a run.
        p_value: That the candidate is not worse, after Holm over all runs; None without numbers.
        level: Below which a p-value of a task rejects; of the run, where it has one task only.
    """

    comparison: Comparison
    status: Status
    reasons: tuple[str, ...]
    worse: tuple[Effect, ...] = ()
    p_value: float | None = None
    level: float = 0.0


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
    of_runs = iter(holm([_p_worse(e.difference, e.p_value) for e in known if len(e.tasks) > 1]))
    rejected, level = _tasks_rejected(known, rules)
    told = iter(rejected)
    judged = []
    for comparison, pair in zip(found, read, strict=True):
        evidence = comparison.evidence
        if evidence is None:
            judged.append(refuse(comparison, comparison.reasons))
            continue
        worse = tuple(t for t in evidence.tasks if next(told) and _worse(t.difference, rules))
        single = len(evidence.tasks) == 1
        blank = Judgement(
            comparison=comparison,
            status=Status.UNDERPOWERED,
            reasons=(),
            worse=worse,
            p_value=_p_worse(evidence.difference, evidence.p_value) if single else next(of_runs),
            level=level,
        )
        judged.append(_judge(blank, evidence, rules, same=same_trajectories(*pair)))
    return judged


def judge_tasks(judgement: Judgement, rules: Rules) -> list[TaskJudgement]:
    """Judge each task of a run, the worst first: what is shown, and what could have been."""
    evidence = judgement.comparison.evidence
    tasks = evidence.tasks if evidence else ()
    worse = {task.name for task in judgement.worse}
    found = [
        _judge_task(task, rules, level=judgement.level, worse=task.name in worse) for task in tasks
    ]
    order = (Status.REGRESSION, Status.UNDERPOWERED, Status.PASS)
    return sorted(found, key=lambda one: (order.index(one.status), one.effect.difference.value))


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
    if len(evidence.tasks) == 1:
        whole, fallen = bool(blank.worse), tuple[str, ...]()
    else:
        level = (1 - _TASKS) * (1 - rules.confidence)
        whole = blank.p_value is not None and blank.p_value <= level and _worse(difference, rules)
        fallen = tuple(_fall(task) for task in blank.worse)
    if whole:
        reason = f"the interval is below 0 and reaches below -{margin}; the test rejects"
        return replace(blank, status=Status.REGRESSION, reasons=(reason, *fallen))
    if fallen:
        return replace(blank, status=Status.REGRESSION, reasons=fallen)
    if difference.low <= -rules.margin:
        return replace(blank, reasons=(_open(blank, evidence, margin),))
    if evidence.bounds and evidence.bounds[0] <= -rules.margin:
        worst = f"{100 * evidence.bounds[0]:+.1f} points"
        reason = (
            f"errors are left out; were they to speak against the candidate, it would be {worst}"
        )
        return replace(blank, reasons=(reason,))
    reason = f"the whole interval is above -{margin}"
    small = ("worse, but surely by less than that",) if difference.high < 0 else ()
    return replace(blank, status=Status.PASS, reasons=(reason, *small))


def _open(blank: Judgement, evidence: Evidence, margin: str) -> str:
    """Say what is not excluded, and what the interval shows that the test does not."""
    told = f"a fall of {margin} is not excluded"
    difference = evidence.difference
    if difference.high >= 0:
        return f"{told}, and none is shown"
    p = p_text(blank.p_value if blank.p_value is not None else 1.0, "= ")
    least = f"{-100 * difference.high:.1f} points"
    return (
        f"{told}: the interval shows one of at least {least}, which the exact test does not "
        f"confirm (one-sided p {p})"
    )


def _tasks_rejected(known: Sequence[Evidence], rules: Rules) -> tuple[list[bool], float]:
    """Return whether the test of each task of all runs rejects, and the level that took."""
    tasks = [task for evidence in known for task in evidence.tasks]
    return tarone_holm(
        [_p_worse(task.difference, task.p_value) for task in tasks],
        [0.5 ** (t.states.worse + t.states.better) if t.states else 0.0 for t in tasks],
        _TASKS * (1 - rules.confidence),
    )


def _worse(difference: Estimate, rules: Rules) -> bool:
    """Whether the interval says worse, and not that it is by less than the margin."""
    return difference.high < 0 and difference.low <= -rules.margin


def _p_worse(difference: Estimate, p_value: float) -> float:
    """Return the one-sided p-value that b is not worse: half the two-sided one on that side."""
    return p_value / 2 if difference.value < 0 else 1.0


def _fall(task: Effect) -> str:
    change = points_text(task.difference)
    return f"task {task.name} alone is worse: {change}, n = {task.difference.n}"


def _judge_task(task: Effect, rules: Rules, *, level: float, worse: bool) -> TaskJudgement:
    status = Status.UNDERPOWERED
    if worse:
        status = Status.REGRESSION
    elif task.difference.low > -rules.margin:
        status = Status.PASS
    blank = TaskJudgement(
        effect=task,
        status=status,
        p_value=_p_worse(task.difference, task.p_value),
        level=level,
    )
    if task.states is None:
        return blank
    n, gained = task.states.n, task.states.better / task.states.n
    return replace(
        blank,
        detectable=_detectable(n, gained, level),
        needed=_needed(rules.margin, gained, level),
    )


@cache
def _detectable(n: int, gained: float, level: float) -> float | None:
    """Return the smallest fall that `n` pairs show, to one pair; None where there is none."""
    largest = 1 - 2 * gained
    falls = [k / n for k in range(1, n + 1) if k / n <= largest]
    place = _first(lambda i: _power(n, falls[i], gained, level) >= _POWER, len(falls))
    return None if place is None else falls[place]


@cache
def _needed(margin: float, gained: float, level: float) -> int | None:
    """Return the pairs that show a fall by the margin; None where there is no such number."""
    if margin + 2 * gained > 1:
        return None
    least = ceil(1 / margin)
    found = _first(lambda i: _power(least + i, margin, gained, level) >= _POWER, _MOST)
    return None if found is None else least + found


def _power(n: int, fall: float, gained: float, level: float) -> float:
    return paired_power(n, fall, fall + 2 * gained, confidence=1 - 2 * level)


def _first(true: Callable[[int], bool], count: int) -> int | None:
    """Return the first of `count` places where a condition holds, by halving; None without one."""
    low, high = 0, count - 1
    if count < 1 or not true(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if true(middle) else (middle + 1, high)
    return low
