"""Means over tasks and the variance that tasks and repeated initial states leave them.

A suite's mean weighs tasks equally, and initial states equally within a task. Its variance depends
on the question. *These tasks*: tasks are strata, so that differences between them do not count, and
repeats of one initial state are a cluster. *New tasks like these*: the tasks themselves are the
sample.

Either variance becomes the number of independent episodes that would have it. Score intervals for
such a number of episodes keep their coverage near 0 and 1, where means plus or minus standard
errors lose it (Korn & Graubard 1998, Survey Methodology 24:193-201; Dean & Pagano 2015, Journal of
Survey Statistics and Methodology 3:484-503). `docs/coverage.md` says how well.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlabench.metrics.estimate import THESE_TASKS, Estimate
from vlabench.metrics.intervals import edged_wilson, normal_quantile
from vlabench.table import Ints

_PRIOR = 2.0
"""Weight, in observations, of the variance that all have in common, beside a task's own few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean over tasks.

    Attributes:
        value: Mean over tasks of the mean over initial states.
        variance: Of `value`, estimated.
        episodes: Independent episodes that would have this variance; not whole.
        units: What was sampled: initial states, or tasks.
    """

    value: float
    variance: float
    episodes: float
    units: int


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Which episodes share an initial state, and which of those a task: found once for many means.

    Attributes:
        stratum: The task of each initial state, `[states]`, from 0 up.
        index: The initial state of each episode, `[n]`; None where each has one of its own.
        n: Episodes.
        episodes: Of each initial state, `[states]`.
        sizes: Initial states of each task, `[tasks]`.
    """

    stratum: Ints
    index: Ints | None
    n: int
    episodes: Ints
    sizes: Ints

    @classmethod
    def of(cls, task: Ints, state: Ints) -> "Clusters":
        """Find them.

        Args:
            task: Of every episode, `[n]`, from 0 up.
            state: Its initial state within that task, `[n]`, from 0 up.

        Raises:
            ValueError: If there is no episode.
        """
        if len(task) == 0:
            raise ValueError("no episodes to count")
        _, task = _numbered(task)
        stratum, index = initial_states(task, state)
        return cls(
            stratum=stratum,
            index=None if np.array_equal(index, np.arange(len(stratum))) else index,
            n=len(task),
            episodes=np.bincount(index),
            sizes=np.bincount(stratum),
        )

    def by_state(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over the episodes of each initial state, `[states]`, of values `[n]`."""
        if self.index is None:
            return values
        return np.bincount(self.index, values) / self.episodes

    def by_task(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over the initial states of each task, `[tasks]`, of values `[states]`."""
        return np.bincount(self.stratum, values) / self.sizes


def over_these_tasks(values: NDArray[np.float64], task: Ints, state: Ints) -> Mean:
    """Mean of `values` and its variance when tasks are strata, initial states are sampled.

    A task's variance is pooled with that of all states about the common mean, which counts as much
    as two states. Stratification then helps as far as the data show it, and a task with one state
    counts as it would without strata.
    """
    return mean_of_clusters(values, Clusters.of(task, state))


def mean_of_clusters(values: NDArray[np.float64], clusters: Clusters) -> Mean:
    """As `over_these_tasks`, where tasks and initial states have been told apart before."""
    return _mean_of(_Parts(values, clusters))


def _mean_of(parts: "_Parts") -> Mean:
    m, stratum = parts.clusters.sizes, parts.clusters.stratum
    about = (parts.states - parts.tasks[stratum]) ** 2
    within = np.bincount(stratum, about)
    common = max(parts.common(), parts.single * len(parts.states) / parts.clusters.n)
    each = (within + _PRIOR * common) / (m - 1 + _PRIOR)
    variance = float((each / m).mean()) / len(m)
    episodes = parts.single / variance if parts.single and variance else len(m) / (1 / m).mean()
    return Mean(
        value=parts.value, variance=variance, episodes=float(episodes), units=len(parts.states)
    )


def over_new_tasks(
    values: NDArray[np.float64], task: Ints, state: Ints, *, prior: float = _PRIOR
) -> Mean:
    """Mean of `values` and its variance when tasks are sampled.

    `prior` further tasks with the largest possible variance are added to it. Rates need two: tasks
    that are rarely, but then often, solved are seldom in the sample, which then looks far too
    certain. Differences are less skewed and need none. The variance is never below that of
    `over_these_tasks`.

    Raises:
        ValueError: If there is one task only.
    """
    parts = _Parts(values, Clusters.of(task, state))
    count = len(parts.tasks)
    if count < 2:
        raise ValueError("one task says nothing about new tasks")
    spread = float(((parts.tasks - parts.value) ** 2).sum())
    variance = (spread + prior * parts.square) / (count - 1 + prior) / count
    variance = max(variance, _mean_of(parts).variance)
    episodes = parts.square / variance if parts.square and variance else float(count)
    return Mean(value=parts.value, variance=variance, episodes=episodes, units=count)


def rate_on_these_tasks(
    success: NDArray[np.float64], task: Ints, state: Ints, *, confidence: float = 0.95
) -> Estimate:
    """Rate over these tasks with Wilson's interval for the independent episodes it is worth.

    Args:
        success: 0 or 1 of every episode, or a share of success between, `[n]`. Shares vary less
            than 0 and 1 with the same mean do, so that their interval is rather too wide.
        task: Its task, `[n]`.
        state: Its initial state, `[n]`.
        confidence: Coverage of the interval.
    """
    mean = over_these_tasks(success, task, state)
    z = normal_quantile(confidence)
    low, high = edged_wilson(mean.value * mean.episodes, mean.episodes, z)
    return Estimate(
        value=mean.value,
        low=min(float(low), mean.value),
        high=max(float(high), mean.value),
        n=len(success),
        method=f"stratified Wilson {100 * confidence:g}%",
        question=THESE_TASKS,
    )


def initial_states(task: Ints, state: Ints) -> tuple[Ints, Ints]:
    """Number the initial states that episodes met, task by task.

    Args:
        task: Of every episode, `[n]`, from 0 up.
        state: Its initial state within that task, `[n]`, from 0 up.

    Returns:
        The task of each initial state, `[states]`; the initial state of each episode, `[n]`.
    """
    width = int(state.max(initial=0)) + 1
    codes, index = _numbered(task * width + state)
    return (codes // width).astype(np.int64), index


def _numbered(codes: Ints) -> tuple[Ints, Ints]:
    """Return the different codes and the place of each among them, as `np.unique` does.

    Rows of tables ascend; they need no sorting, which is most of what a mean of many rows costs.
    """
    steps = np.diff(codes)
    if not (steps >= 0).all():
        return np.unique(codes, return_inverse=True)
    first = np.concatenate([[True], steps > 0])[: len(codes)]
    return codes[first], np.cumsum(first) - 1


class _Parts:
    """Means of initial states (clusters) and of tasks (strata), and the whole."""

    def __init__(self, values: NDArray[np.float64], clusters: Clusters) -> None:
        self.clusters = clusters
        self.states = clusters.by_state(values)
        self.tasks = clusters.by_task(self.states)
        self.value = float(self.tasks.mean())
        squares = clusters.by_state((values - self.value) ** 2)
        self.square = float(clusters.by_task(squares).mean())
        """Mean square of one episode about the mean of all."""

    @property
    def single(self) -> float:
        """Variance of one episode about the mean of all, without bias."""
        n = self.clusters.n
        return self.square * n / (n - 1) if n > 1 else 0.0

    def common(self) -> float:
        """Return the variance of states about the mean of all, as if there were no tasks."""
        count = len(self.states)
        if count < 2:
            return 0.0
        square = (self.states - self.value) ** 2
        return float(self.clusters.by_task(square).mean()) * count / (count - 1)
