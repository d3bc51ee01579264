"""What the gate's reports say in words, with n and interval beside every number."""

from collections.abc import Sequence

from vlabench.gate.report import Entry, Gate
from vlabench.metrics.comparison import Effect, Evidence
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.regression import Status, TaskJudgement
from vlabench.metrics.wording import p_text, rate_text

_MOST = 4
"""Reasons in a sentence; the tasks are all in the reports."""


def headline(gate: Gate) -> str:
    """Say the decision in one line."""
    count: dict[Status, int] = {}
    for entry in gate.entries:
        status = entry.judgement.status
        count[status] = count.get(status, 0) + 1
    runs = f"{len(gate.entries)} run{'s' * (len(gate.entries) > 1)}"
    told = f"{gate.status}: {runs} against the baseline, margin {100 * gate.margin:g} points"
    if len(count) == 1:
        return told
    return f"{told}; " + ", ".join(f"{number} {status}" for status, number in sorted(count.items()))


def sentence(entry: Entry) -> str:
    """Say what was found of one run."""
    judgement = entry.judgement
    evidence = judgement.comparison.evidence
    told = f"{entry.name}: {judgement.status}, "
    if evidence is not None:
        told += f"{change(evidence.difference, paired=evidence.pairs is not None)}: "
    return told + _first(judgement.reasons) + wanted(entry)


def wanted(entry: Entry) -> str:
    """Say how many episodes would do, where there are too few."""
    needed = entry.judgement.comparison.needed
    if entry.judgement.status is not Status.UNDERPOWERED or needed is None:
        return ""
    paired = entry.judgement.comparison.evidence and entry.judgement.comparison.evidence.pairs
    unit = "episodes" if paired else "episodes of each run, unpaired,"
    effect = f"{100 * needed.effect:.3g} points"
    return f"; about {needed.episodes} {unit} would tell a fall of {effect} with 80 % power"


def change(difference: Estimate, *, paired: bool) -> str:
    """Write a difference with its interval and n: `-2.0 points [-4.1, +0.1], n = 500 pairs`."""
    low, high = 100 * difference.low, 100 * difference.high
    unit = "pairs" if paired else "or more of each, unpaired"
    return (
        f"{100 * difference.value:+.1f} points [{low:+.1f}, {high:+.1f}], n = {difference.n} {unit}"
    )


def rates(evidence: Evidence) -> tuple[str, str]:
    """Write both success rates with their intervals."""
    return rate_text(evidence.rate_a), rate_text(evidence.rate_b)


def task_change(task: Effect) -> str:
    """Write what happened to one task."""
    told = change(task.difference, paired=task.pairs is not None)
    return f"{rate_text(task.rate_a)} to {rate_text(task.rate_b)}, {told}"


def task_rows(entry: Entry) -> list[dict[str, str]]:
    """Tabulate the tasks of a run: what is shown of each, and what could have been."""
    return [_task_row(one, paired=one.effect.states is not None) for one in entry.tasks]


def _task_row(one: TaskJudgement, *, paired: bool) -> dict[str, str]:
    effect = one.effect
    least = "none" if one.detectable is None else f"{100 * one.detectable:.0f} points"
    needed = "-" if one.needed is None else str(one.needed)
    return {
        "task": effect.name,
        "verdict": str(one.status),
        "baseline": rate_text(effect.rate_a),
        "candidate": rate_text(effect.rate_b),
        "difference": change(effect.difference, paired=paired),
        "p, one-sided": p_text(one.p_value),
        "least fall to be seen": least if paired else "-",
        "states for the margin": needed if paired else "-",
    }


def tasks_note(entry: Entry, margin: float) -> str:
    """Say what the table of tasks is about."""
    level = entry.judgement.level
    return (
        f"a task is a REGRESSION at p {level:.3g} or below, which holds for all tasks of all runs "
        "together; 'least fall to be seen' and 'states for the margin' (initial states that show a "
        f"fall of {100 * margin:g} points) are with 80 % power, at that p"
    )


def _first(reasons: Sequence[str]) -> str:
    more = (f"and {len(reasons) - _MOST} more",) if len(reasons) > _MOST else ()
    return "; ".join((*reasons[:_MOST], *more))
