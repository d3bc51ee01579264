"""Success rates and other means of one run, and their intervals."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from vlabench.metrics.counts import OnError, refuse_errors
from vlabench.metrics.estimate import PROGRESS, Estimate
from vlabench.metrics.intervals import student
from vlabench.metrics.variance import (
    initial_states,
    over_these_tasks,
    rate_on_new_tasks,
    rate_on_these_tasks,
)
from vlabench.record import EpisodeRecord, Outcome
from vlabench.table import Table, tabulate

Tasks = Literal["these", "new"]
Quantity = Literal["steps", "decisions", "samples", "seconds"]


def success_rate(
    records: Sequence[EpisodeRecord], *, on_error: OnError = "raise", confidence: float = 0.95
) -> Estimate:
    """Share of episodes that succeeded, with Wilson's score interval; tasks are not told apart.

    Initial states count alike, and their repeats are no independent episodes
    (`vlabench.metrics.variance`).

    Args:
        records: Episodes to count, in any order.
        on_error: What to do with episodes that broke. `exclude` makes the estimate depend on how
            often that happened; `as-failure` gives a lower bound.
        confidence: Coverage of the interval.

    Raises:
        ValueError: If there is nothing to count, or an episode broke and `on_error` is `raise`.
    """
    refuse_errors(sum(r.outcome is Outcome.ERROR for r in records), len(records), on_error)
    kept = [r for r in records if on_error == "as-failure" or r.outcome is not Outcome.ERROR]
    kept.sort(key=lambda r: (r.episode.task_id, r.episode.init_index, r.episode.repeat))
    numbers: dict[tuple[str, int], int] = {}
    states = [
        numbers.setdefault((r.episode.task_id, r.episode.init_index), len(numbers)) for r in kept
    ]
    success = np.array([r.outcome is Outcome.SUCCESS for r in kept], dtype=np.float64)
    task, state = np.zeros(len(kept), dtype=np.int64), np.array(states, dtype=np.int64)
    return rate_on_these_tasks(success, task, state, confidence=confidence)


def success_of(table: Table, *, on_error: OnError = "raise", confidence: float = 0.95) -> Estimate:
    """Return `success_rate` of a table."""
    return rate_of(_one_task(table), on_error=on_error, confidence=confidence)


def _one_task(table: Table) -> Table:
    """Return the table with all initial states in one task."""
    _, index = initial_states(table.task, table.state)
    return replace(table, task=np.zeros_like(table.task), state=index)


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
    kept = table if on_error == "as-failure" else table.rows(table.outcome >= 0)
    success = (kept.outcome == 1).astype(np.float64)
    if tasks == "these":
        return rate_on_these_tasks(success, kept.task, kept.state, confidence=confidence)
    return rate_on_new_tasks(success, kept.task, kept.state, confidence=confidence)


def progress_of(
    table: Table, *, on_error: Literal["raise", "exclude"] = "raise", confidence: float = 0.95
) -> Estimate:
    """Mean over these tasks of the share of its goal that an episode reached.

    The interval is that of `suite_rate`, which is conservative here: a share between 0 and 1 varies
    at most as success with the same mean does.

    Args:
        table: Episodes.
        on_error: What to do with episodes that broke, which have no progress.
        confidence: Coverage of the interval.

    Raises:
        ValueError: If there is nothing to count, the progress of an episode is unknown, or one
            broke and `on_error` is `raise`.
    """
    refuse_errors(table.errors, len(table.outcome), on_error)
    kept = table.rows(table.outcome >= 0)
    if unknown := int(np.isnan(kept.progress).sum()):
        raise ValueError(
            f"progress of {unknown} of {len(kept.progress)} episodes is unknown, expected all of "
            "it: their suite cannot say, or an older vlabench ran them; run them again"
        )
    rate = rate_on_these_tasks(kept.progress, kept.task, kept.state, confidence=confidence)
    return replace(rate, question=PROGRESS)


def mean_progress(table: Table) -> Estimate | None:
    """Return the progress of episodes, tasks not told apart; None where one is unknown."""
    kept = table.rows(table.outcome >= 0)
    if not len(kept.progress) or np.isnan(kept.progress).any():
        return None
    return progress_of(_one_task(kept))


def rate_bounds(records: Sequence[EpisodeRecord]) -> tuple[float, float]:
    """Return the success rate, were all errors failures, and were all successes.

    Raises:
        ValueError: If there is nothing to count.
    """
    return bounds_of(tabulate(records))


def bounds_of(table: Table) -> tuple[float, float]:
    """Return `rate_bounds` of a table."""
    n = len(table.outcome)
    if n == 0:
        raise ValueError("no episodes to count")
    successes = int((table.outcome == 1).sum())
    return successes / n, (successes + table.errors) / n


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
    return mean_of_table(tabulate(records), quantity, on_error=on_error, confidence=confidence)


def mean_of_table(
    table: Table,
    quantity: Quantity,
    *,
    on_error: Literal["raise", "exclude"] = "raise",
    confidence: float = 0.95,
) -> Estimate:
    """Return `mean_of` a table."""
    refuse_errors(table.errors, len(table.outcome), on_error)
    kept = table.rows(table.outcome >= 0)
    values = getattr(kept, quantity).astype(np.float64)
    if np.isnan(values).any():
        raise ValueError(f"{quantity} of these episodes are unknown")
    mean = over_these_tasks(values, kept.task, kept.state)
    if mean.units < 2:
        raise ValueError(f"one initial state says nothing about how {quantity} vary")
    low, high = student(mean.value, mean.variance, mean.units - 1, confidence)
    return Estimate(
        value=mean.value,
        low=low,
        high=high,
        n=len(kept.outcome),
        method=f"Student {100 * confidence:g}%",
        question=f"{quantity} of an episode on these tasks",
    )
