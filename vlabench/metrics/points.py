"""Success at points along an axis: in the same episodes at each, or in other ones."""

from dataclasses import replace
from statistics import NormalDist
from typing import Protocol

import numpy as np

from vlabench.metrics.estimate import Estimate
from vlabench.metrics.intervals import student
from vlabench.metrics.pivots import Floats
from vlabench.metrics.variance import Mean, initial_states, over_these_tasks, rate_on_these_tasks
from vlabench.table import Ints

_SEED = 20_240_316
_RESAMPLES = 2_000
_MANY = 500
"""States from which sums over them are taken to be normal."""


class Points(Protocol):
    """Rates along an axis, the episodes behind each, and what is known of their noise."""

    rates: Floats
    n: Ints
    resampling: str

    @property
    def size(self) -> int:
        """Episodes behind the rates."""

    def resample(self, rng: np.random.Generator) -> Floats:
        """Draw rates that may be true, `[resamples, points]`."""

    def slope(self, weights: Floats, confidence: float) -> tuple[float, float, str]:
        """Return the ends of the interval of the rates' weighted sum, and its method."""

    def p_value(self, weights: Floats) -> float:
        """Return the p-value that rates do not differ along the axis."""


class PairedPoints:
    """The same episodes at every point.

    Args:
        episodes: 0 or 1, `[n, points]`.
        task: Of each episode, `[n]`, from 0 up.
        state: Its initial state, `[n]`.

    Attributes:
        repeats: Fewest episodes of one initial state.
    """

    resampling = "bootstrap over initial states"

    def __init__(self, episodes: Floats, task: Ints, state: Ints) -> None:
        self.episodes, self._task, self._state = episodes, task, state
        of, index = initial_states(task, state)
        self._repeats = np.bincount(index)
        self.repeats = int(self._repeats.min())
        columns = [np.bincount(index, column) / self._repeats for column in episodes.T]
        self._means = np.stack(columns, axis=1)  # [states, points]
        _, self._of = np.unique(of, return_inverse=True)
        sizes = np.bincount(self._of)
        self._weights = 1 / (sizes[self._of] * len(sizes))
        self.rates = self._weights @ self._means
        self.n = np.full(len(self.rates), len(episodes))

    @property
    def size(self) -> int:
        """Episodes at each point."""
        return len(self.episodes)

    def rate(self, success: Floats, confidence: float) -> Estimate:
        """Return the rate on these tasks of some success of every episode, `[n]`."""
        return rate_on_these_tasks(success, self._task, self._state, confidence=confidence)

    def best_of(self, count: int, confidence: float) -> Estimate | None:
        """Return how often one of `count` episodes of a state succeeds at the first point.

        All ways to draw them from those recorded count alike, which leaves no bias (Chen et al.
        2021, arXiv:2107.03374, equation 1). None where a state has fewer.
        """
        if count > self.repeats:
            return None
        failures = np.round(self._repeats * (1 - self._means[:, 0]))
        drawn = np.arange(count)[:, None]
        none = np.prod(np.maximum(0, failures - drawn) / (self._repeats - drawn), axis=0)
        found = rate_on_these_tasks(1 - none, self._of, np.arange(len(none)), confidence=confidence)
        return replace(found, question=f"the best of {count} episodes, {found.question}")

    def resample(self, rng: np.random.Generator) -> Floats:
        """Draw one state less than there are within each task, which leaves variances unbiased.

        Rao & Wu 1988, JASA 83:231-241. `[_RESAMPLES, points]`.
        """
        tasks = int(self._of.max()) + 1
        drawn = [_resampled_mean(self._means[self._of == task], rng) for task in range(tasks)]
        return np.asarray(sum(drawn)) / tasks

    def slope(self, weights: Floats, confidence: float) -> tuple[float, float, str]:
        """Interval of a mean of slopes, one for each episode.

        Half a state that moves as far as possible is added in each direction, so that a sample in
        which none moved is not certain (Agresti & Min 2005, SiM 24:729-740).
        """
        mean, variance = self._slope(weights)
        largest = float(weights[weights > 0].sum())
        low, high = student(mean.value, variance, max(1, mean.units - 1), confidence)
        # Few states leave it wider than slopes of rates can be. It is cut there: that loses no true
        # slope, so that it covers as before, and one that knows nothing reaches from end to end.
        low, high = max(low, -largest), min(high, largest)
        return low, high, f"stratified Student {100 * confidence:g}%"

    def p_value(self, weights: Floats) -> float:
        """Return the p-value of Student's test that slopes of states are 0 on average.

        Points may be nested, as the best of the first two samples and of the first four are, so
        that they may not be shuffled; states are independent of each other.
        """
        mean, variance = self._slope(weights)
        if mean.value == 0:
            return 1.0
        from scipy.special import stdtr

        t = abs(mean.value) / variance**0.5
        return float(2 * stdtr(max(1, mean.units - 1), -t))

    def _slope(self, weights: Floats) -> tuple[Mean, float]:
        """Return the mean of slopes and its variance; see `slope`."""
        mean = over_these_tasks(self.episodes @ weights, self._task, self._state)
        largest = weights[weights > 0].sum()
        return mean, mean.variance + float(largest / mean.units) ** 2


def _resampled_mean(means: Floats, rng: np.random.Generator) -> Floats:
    """Draw means over the states of one task; they are normal where states are many."""
    n = max(1, len(means) - 1)
    if n > _MANY:
        return rng.multivariate_normal(means.mean(axis=0), np.cov(means.T) / n, _RESAMPLES)
    counts = rng.multinomial(n, np.full(len(means), 1 / len(means)), _RESAMPLES)
    return np.asarray(counts @ means / n)


def ends_of(draws: Floats, confidence: float) -> tuple[float, float]:
    """Return the quantiles between which another draw falls with `confidence` on average."""
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(draws, ends, method="weibull")
    return float(low), float(high)


class IndependentPoints:
    """Other episodes at every point, `n` of them, `[points]`."""

    resampling = "Jeffreys draws"

    def __init__(self, rates: Floats, n: Ints) -> None:
        self.rates, self.n = rates, n

    @property
    def size(self) -> int:
        """Episodes at all points."""
        return int(self.n.sum())

    def resample(self, rng: np.random.Generator) -> Floats:
        """Draw rates that may be true (Jeffreys' prior), `[_RESAMPLES, points]`."""
        successes = self.rates * self.n
        shape = (_RESAMPLES, len(self.rates))
        return rng.beta(successes + 0.5, self.n - successes + 0.5, shape)

    def slope(self, weights: Floats, confidence: float) -> tuple[float, float, str]:
        """Interval of a sum over points, from rates that may be true."""
        drawn = self.resample(np.random.default_rng(_SEED + 1)) @ weights
        low, high = ends_of(drawn, confidence)
        return low, high, f"{self.resampling} {100 * confidence:g}%"

    def p_value(self, weights: Floats) -> float:
        """Test for a trend in proportions (Armitage 1955, Biometrics 11:375-386)."""
        rate = float(self.rates @ self.n / self.n.sum())
        variance = rate * (1 - rate) * float((weights**2 / self.n).sum())
        if variance == 0:
            return 1.0
        return 2 * NormalDist().cdf(-abs(float(weights @ self.rates)) / variance**0.5)
