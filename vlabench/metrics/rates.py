"""Success rates and other means of one run, and their intervals."""

from collections.abc import Sequence
from math import isfinite
from typing import Literal

import numpy as np

from vlabench.metrics.counts import OnError, Table, refuse_errors, tabulate
from vlabench.metrics.estimate import NEW_TASKS, THESE_TASKS, Estimate
from vlabench.metrics.intervals import edged_wilson, normal_quantile, student
from vlabench.metrics.variance import over_new_tasks, over_these_tasks
from vlabench.record import EpisodeRecord, Outcome

Tasks = Literal["these", "new"]
Quantity = Literal["steps", "decisions", "samples", "seconds"]


def success_rate(
    records: Sequence[EpisodeRecord], *, on_error: OnError = "raise", confidence: float = 0.95
) -> Estimate:
    """Share of episodes that succeeded, each counted alike, with Wilson's score interval.

    `vlabench.metrics.intervals.edged_wilson` is what is done within three episodes of all or none.

    Args:
        records: Episodes to count, in any order.
        on_error: What to do with episodes that broke. `exclude` makes the estimate depend on how
            often that happened; `as-failure` gives a lower bound.
        confidence: Coverage of the interval.

    Raises:
        ValueError: If there is nothing to count, or an episode broke and `on_error` is `raise`.
    """
    errors = sum(record.outcome is Outcome.ERROR for record in records)
    refuse_errors(errors, len(records), on_error)
    n = len(records) - (errors if on_error == "exclude" else 0)
    if n == 0:
        raise ValueError("no episodes to count")
    successes = sum(record.outcome is Outcome.SUCCESS for record in records)
    low, high = edged_wilson(successes, n, normal_quantile(confidence))
    return Estimate(
        value=successes / n,
        low=float(low),
        high=float(high),
        n=n,
        method=f"Wilson {100 * confidence:g}%",
        question=THESE_TASKS,
    )


def suite_rate(
    records: Sequence[EpisodeRecord],
    *,
    tasks: Tasks = "these",
    on_error: OnError = "raise",
    confidence: float = 0.95,
) -> Estimate:
    """Success rate of a suite: the mean over its tasks, each weighed alike.

    The interval is Wilson's for the number of independent episodes with the variance found
    (`vlabench.metrics.variance`). For new tasks the quantile is Student's.

    Args:
        records: Episodes to count, in any order.
        tasks: Whether the interval is about `these` tasks or about `new` ones like them. The
            second is much wider and does not shrink with more episodes of the same tasks.
        on_error: What to do with episodes that broke.
        confidence: Coverage of the interval.

    Raises:
        ValueError: If there is nothing to count, an episode broke and `on_error` is `raise`, or
            new tasks are asked about and there is one task only.
    """
    return rate_of(tabulate(records), tasks=tasks, on_error=on_error, confidence=confidence)


def rate_of(
    table: Table, *, tasks: Tasks = "these", on_error: OnError = "raise", confidence: float = 0.95
) -> Estimate:
    """Return `suite_rate` of a table."""
    refuse_errors(table.errors, len(table.outcome), on_error)
    kept = (table.outcome >= 0) | (on_error == "as-failure")
    success = (table.outcome[kept] == 1).astype(np.float64)
    if tasks == "these":
        mean = over_these_tasks(success, table.task[kept], table.state[kept])
        z, method, question = normal_quantile(confidence), "stratified Wilson", THESE_TASKS
    else:
        mean = over_new_tasks(success, table.task[kept], table.state[kept])
        z, method, question = (
            student_quantile(mean.units - 1, confidence),
            "clustered Wilson",
            NEW_TASKS,
        )
    low, high = edged_wilson(mean.value * mean.episodes, mean.episodes, z)
    return Estimate(
        value=mean.value,
        low=min(float(low), mean.value),
        high=max(float(high), mean.value),
        n=int(kept.sum()),
        method=f"{method} {100 * confidence:g}%",
        question=question,
    )


def rate_bounds(records: Sequence[EpisodeRecord]) -> tuple[float, float]:
    """Return the success rate, were all errors failures, and were all successes.

    Raises:
        ValueError: If there is nothing to count.
    """
    if not records:
        raise ValueError("no episodes to count")
    successes = sum(record.outcome is Outcome.SUCCESS for record in records)
    errors = sum(record.outcome is Outcome.ERROR for record in records)
    return successes / len(records), (successes + errors) / len(records)


def mean_of(
    records: Sequence[EpisodeRecord],
    quantity: Quantity,
    *,
    on_error: Literal["raise", "exclude"] = "raise",
    confidence: float = 0.95,
) -> Estimate:
    """Mean over these tasks of what an episode took, with Student's interval (Student 1908).

    Args:
        records: Episodes, in any order.
        quantity: Control `steps`, `decisions`, `samples`, or `seconds` in all.
        on_error: What to do with episodes that broke, whose numbers mean nothing.
        confidence: Coverage of the interval, where means are about normal.

    Raises:
        ValueError: If there are fewer than two initial states, or an episode broke and `on_error`
            is `raise`.
    """
    kept = [record for record in records if record.outcome is not Outcome.ERROR]
    refuse_errors(len(records) - len(kept), len(records), on_error)
    kept.sort(key=lambda record: record.episode.key)
    values = np.array([_quantity(record, quantity) for record in kept], dtype=np.float64)
    codes = {name: code for code, name in enumerate(sorted({r.episode.task_id for r in kept}))}
    task = np.array([codes[record.episode.task_id] for record in kept], dtype=np.int64)
    state = np.array([record.episode.init_index for record in kept], dtype=np.int64)
    mean = over_these_tasks(values, task, state)
    if mean.units < 2:
        raise ValueError(f"one initial state says nothing about how {quantity} vary")
    low, high = student(mean.value, mean.variance, mean.units - 1, confidence)
    return Estimate(
        value=mean.value,
        low=low,
        high=high,
        n=len(kept),
        method=f"Student {100 * confidence:g}%",
        question=f"{quantity} of an episode on these tasks",
    )


def student_quantile(freedom: int, confidence: float) -> float:
    """Return how many standard errors cover `confidence` of Student's distribution.

    Raises:
        ValueError: If `confidence` is out of range.
    """
    from scipy.stats import t

    quantile = float(t.ppf((1 + confidence) / 2, freedom))
    if not isfinite(quantile):
        raise ValueError(f"confidence is {confidence}, out of the range from 0 to 1")
    return quantile


def _quantity(record: EpisodeRecord, quantity: Quantity) -> float:
    return record.seconds.total if quantity == "seconds" else float(getattr(record, quantity))
