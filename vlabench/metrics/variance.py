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

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import hypot, inf

import numpy as np
from numpy.typing import NDArray

from vlabench.metrics.estimate import NEW_TASKS, THESE_TASKS, Estimate
from vlabench.metrics.intervals import edged_wilson, normal_quantile, student_quantile
from vlabench.metrics.pivots import trusted_freedom
from vlabench.table import Ints

_PRIOR = 2.0
"""Weight, in observations, of the variance that all have in common, beside a task's own few."""
_SPARSE = 0.5
"""A task with less than this share of the usual number of initial states has too few to average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean over tasks.

    Attributes:
        value: Mean over tasks of the mean over initial states.
        variance: Of `value`, estimated.
        episodes: Independent episodes that would have this variance; not whole.
        units: What was sampled: initial states, or tasks.
        freedom: Degrees of freedom of `variance`; infinite where it follows from the mean, as that
            of single episodes does.
    """

    value: float
    variance: float
    episodes: float
    units: int
    freedom: float = inf

    def quantile(self, confidence: float) -> float:
        """Return Student's quantile, or the normal one where nothing had to be estimated."""
        if self.freedom == inf:
            return normal_quantile(confidence)
        return student_quantile(self.freedom, confidence)


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
    variance = max(float((each / m).mean()) / len(m), parts.independent())
    episodes = parts.single / variance if parts.single and variance else len(m) / (1 / m).mean()
    return Mean(
        value=parts.value,
        variance=variance,
        episodes=float(episodes),
        units=len(parts.states),
        freedom=_freedom(about, parts) if parts.clusters.index is not None else inf,
    )


def _freedom(squares: NDArray[np.float64], parts: "_Parts") -> float:
    """Degrees of freedom of the variance of initial states; 0 for a single one.

    Part of it is the tasks' own, with a degree less for each task; the rest is common to all. Both
    come of the same states, so that standard deviations add up, not variances. Fewer where a few
    squares make up most of it, within tasks (`squares`, `[states]`) or over all.
    """
    clusters = parts.clusters
    count, tasks = len(parts.states), len(clusters.sizes)
    if count < 2:
        return 0.0
    common = float((_PRIOR / (clusters.sizes - 1 + _PRIOR)).mean())
    own = (1 - common) / (count - tasks) ** 0.5 if count > tasks else 0.0
    nominal = float((common / (count - 1) ** 0.5 + own) ** -2)
    over_all = (parts.states - parts.value) ** 2
    for each, stratum in ((squares, clusters.stratum), (over_all, np.zeros_like(clusters.stratum))):
        if each.any():
            nominal = trusted_freedom(each, stratum, nominal)
    return nominal


Ends = Callable[[NDArray[np.float64], Ints, Ints, Mean, float], tuple[float, float]]
"""Makes an interval from values, tasks and states `[n]`, their mean, and a quantile."""


def interval_on_these_tasks(
    values: NDArray[np.float64],
    task: Ints,
    state: Ints,
    ends: Ends,
    *,
    reach: tuple[float, float],
    confidence: float,
) -> tuple[Mean, float, float]:
    """Return the mean of `values` on these tasks with its interval.

    Tasks with far fewer initial states than the others, as where episodes are missing, would borrow
    a variance that need not be theirs. Each has an interval of its own, and their distances to the
    mean are put together (Zou & Donner 2008, Statistics in Medicine 27:1693-1702).

    Args:
        values: Of every episode, `[n]`.
        task: Its task, `[n]`.
        state: Its initial state, `[n]`.
        ends: Makes an interval where no task is sparse.
        reach: What a mean can be; its interval where repeats of one state say nothing of others.
        confidence: Coverage of the interval.
    """
    clusters = Clusters.of(task, state)
    mean = mean_of_clusters(values, clusters)
    sparse = clusters.sizes < _SPARSE * np.median(clusters.sizes)
    if not sparse.any():
        if mean.freedom == 0:
            return mean, *reach
        low, high = ends(values, task, state, mean, mean.quantile(confidence))
        if mean.freedom < inf:  # as if all episodes of a state had one outcome: never too narrow
            single = replace(mean, episodes=float(mean.units))
            least, most = ends(values, task, state, single, normal_quantile(confidence))
            low, high = max(low, least), min(high, most)
        return mean, max(reach[0], low), min(reach[1], high)
    codes, place = _numbered(task)
    parts = [(~sparse).nonzero()[0], *(np.array([one]) for one in sparse.nonzero()[0])]
    down = up = 0.0
    for part in parts:
        rows = np.isin(place, part)
        own, low, high = interval_on_these_tasks(
            values[rows], task[rows], state[rows], ends, reach=reach, confidence=confidence
        )
        weight = len(part) / len(codes)
        down, up = hypot(down, weight * (own.value - low)), hypot(up, weight * (high - own.value))
    return mean, max(reach[0], mean.value - down), min(reach[1], mean.value + up)


def over_new_tasks(
    values: NDArray[np.float64], task: Ints, state: Ints, *, largest: float | None = None
) -> Mean:
    """Mean of `values` and its variance when tasks are sampled.

    Tasks that are rarely, but then often, solved or lost are seldom in the sample, which then looks
    far too certain. So further tasks with the largest possible variance are added to it: two as
    varied as one episode, or, with `largest`, one that is so far from 0. The variance is never
    below that of `over_these_tasks`.

    Args:
        values: Of every episode, `[n]`.
        task: Its task, `[n]`.
        state: Its initial state, `[n]`.
        largest: Of a mean around 0, as of a difference: how far a task can be from it.

    Raises:
        ValueError: If there is one task only.
    """
    parts = _Parts(values, Clusters.of(task, state))
    count = len(parts.tasks)
    if count < 2:
        raise ValueError("one task says nothing about new tasks")
    squares = (parts.tasks - parts.value) ** 2
    prior, each = (1.0, largest**2) if largest else (_PRIOR, parts.square)
    variance = (float(squares.sum()) + prior * each) / (count - 1 + prior) / count
    variance = max(variance, _mean_of(parts).variance)
    episodes = parts.square / variance if parts.square and variance else float(count)
    freedom = count - 1.0
    if largest is None and squares.any():
        freedom = trusted_freedom(squares, np.zeros(count, dtype=np.int64), freedom)
    return Mean(
        value=parts.value, variance=variance, episodes=episodes, units=count, freedom=freedom
    )


def rate_on_new_tasks(
    success: NDArray[np.float64], task: Ints, state: Ints, *, confidence: float = 0.95
) -> Estimate:
    """Rate over new tasks like these, of which these are a sample; otherwise as on these tasks.

    Raises:
        ValueError: If there is one task only.
    """
    mean = over_new_tasks(success, task, state)
    low, high = edged_wilson(mean.value * mean.episodes, mean.episodes, mean.quantile(confidence))
    least, most = edged_wilson(mean.value * mean.units, mean.units, normal_quantile(confidence))
    these = rate_on_these_tasks(success, task, state, confidence=confidence)
    return Estimate(
        value=mean.value,
        low=min(float(max(low, least)), these.low),
        high=max(float(min(high, most)), these.high),
        n=len(success),
        method=f"clustered Wilson {100 * confidence:g}%",
        question=NEW_TASKS,
    )


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
    mean, low, high = interval_on_these_tasks(
        success, task, state, _wilson, reach=(0.0, 1.0), confidence=confidence
    )
    return Estimate(
        value=mean.value,
        low=low,
        high=high,
        n=len(success),
        method=f"stratified Wilson {100 * confidence:g}%",
        question=THESE_TASKS,
    )


def _wilson(
    _: NDArray[np.float64], __: Ints, ___: Ints, mean: Mean, z: float
) -> tuple[float, float]:
    low, high = edged_wilson(mean.value * mean.episodes, mean.episodes, z)
    return min(float(low), mean.value), max(float(high), mean.value)


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
        self.clusters, self.values = clusters, values
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

    def independent(self) -> float:
        """Return the variance of the mean were repeats independent; no repeats make it smaller."""
        clusters = self.clusters
        if clusters.index is None:
            return 0.0
        own = self.tasks[clusters.stratum][clusters.index]
        squares = clusters.by_task(clusters.by_state((self.values - own) ** 2))
        episodes = np.bincount(clusters.stratum, clusters.episodes)
        return float((squares / episodes).mean()) / len(clusters.sizes)

    def common(self) -> float:
        """Return the variance of states about the mean of all, as if there were no tasks."""
        count = len(self.states)
        if count < 2:
            return 0.0
        square = (self.states - self.value) ** 2
        return float(self.clusters.by_task(square).mean()) * count / (count - 1)
