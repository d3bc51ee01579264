"""Intervals of variances, and of whatever is computed from several of them.

A mean square `m` with `k` degrees of freedom says that its expectation is about `m k / chi2(k)`.
Drawing from that, mean square by mean square, gives draws of every function of them, and their
quantiles are its interval: surrogate variables (Chiang 2001, Technometrics 43:356-367), the same as
generalized confidence limits (Weerahandi 1993, JASA 88:899-905). With three trained seeds, two
degrees of freedom, that is as wide as it has to be; a bootstrap of three is far too narrow.

Draws come from one fixed seed, so that a number is the same each time it is computed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlabench.metrics.estimate import Estimate
from vlabench.metrics.intervals import wilson
from vlabench.table import Ints

Floats = NDArray[np.float64]

DRAWS = 20_000
LARGEST = 0.25
"""Variance of a success rate that is 0 or 1 with even chances; no variance of rates exceeds it."""
_ENOUGH = 10
"""Parts from which it is worth estimating how far a mean square of them can be trusted."""
_TINY = 1e-12
"""Variance below which there is none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pivot:
    """A number and draws of what it may be instead.

    Attributes:
        value: The estimate; a variance may come out below 0.
        draws: `[DRAWS]`.
        freedom: Degrees of freedom; of the least certain part of a combination.
    """

    value: float
    draws: Floats
    freedom: float

    def clipped(self) -> "Pivot":
        """Return it as a variance: nothing is below 0."""
        return Pivot(
            value=max(0.0, self.value), draws=np.maximum(0.0, self.draws), freedom=self.freedom
        )

    def root(self) -> "Pivot":
        """Return the standard deviation that goes with a variance."""
        variance = self.clipped()
        return Pivot(
            value=float(np.sqrt(variance.value)),
            draws=np.sqrt(variance.draws),
            freedom=self.freedom,
        )

    def estimate(self, n: int, question: str, confidence: float) -> Estimate:
        """Return it as an estimate of `n` episodes."""
        low, high = self.interval(confidence)
        percent = f"{100 * confidence:g}%"
        return Estimate(
            value=self.value,
            low=low,
            high=high,
            n=n,
            method=f"surrogate variables {percent}, {self.freedom:.3g} degrees of freedom",
            question=question,
        )

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the quantiles of the draws; they hold the value."""
        ends = [(1 - confidence) / 2, (1 + confidence) / 2]
        low, high = np.quantile(self.draws, ends, method="nearest")  # infinite draws stay so
        return min(float(low), self.value), max(float(high), self.value)


def mean_square(value: float, freedom: float | Floats, rng: np.random.Generator) -> Pivot:
    """Return a mean square of rates as a pivot; its freedom may itself be draws, `[DRAWS]`.

    One of 0 leaves room, too: so many parts without any spread may have been luck, as for a count
    of 0 (its upper end is 3.7), each of them as large as can be.
    """
    if value > 0:
        draws = value * freedom / rng.chisquare(freedom, DRAWS)
    else:
        draws = LARGEST * rng.exponential(size=DRAWS) / freedom
    draws = np.minimum(draws, max(value, LARGEST))
    return Pivot(value=value, draws=draws, freedom=float(np.median(freedom)))


def between(values: Floats, rng: np.random.Generator) -> Pivot:
    """Return the variance between rates of trainings as a pivot.

    Of ten or more, the fourth moment is worth estimating. The variance of a variance is
    `variance^2 (excess / n + 2 / (n - 1))` (Box 1953, Biometrika 40:318-335); the chi-square that
    has the same has fewer degrees of freedom where rates near 1 leave a long tail.
    """
    from scipy.stats import kurtosis

    n = len(values)
    value, freedom = float(values.var(ddof=1)), n - 1.0
    if value < _TINY:  # equal rates, but for rounding
        value = 0.0
    if n >= _ENOUGH and value > 0:
        freedom = 2 / (max(0.0, float(kurtosis(values, bias=False))) / n + 2 / (n - 1))
    return mean_square(value, freedom, rng)


def around(rate: float, variance: Pivot, rng: np.random.Generator) -> Pivot:
    """Return a mean of rates as a pivot, by its variance.

    Each draw of the error is the number of independent episodes that would have it, and then an end
    of Wilson's interval for so many: means near 0 and 1 have a long tail towards the middle.
    """
    errors = rng.standard_normal(DRAWS) * np.sqrt(variance.draws)
    room = rate * (1 - rate) if variance.value > 0 else LARGEST
    episodes = room / np.maximum(errors**2, _TINY)
    low, high = wilson(rate * episodes, episodes, 1.0)
    return Pivot(value=rate, draws=np.where(errors < 0, low, high), freedom=variance.freedom)


def combine(parts: dict[str, Pivot], weights: dict[str, float]) -> Pivot:
    """Return the weighted sum of some of the parts."""
    return Pivot(
        value=sum(weight * parts[name].value for name, weight in weights.items()),
        draws=sum((w * parts[name].draws for name, w in weights.items()), np.zeros(DRAWS)),
        freedom=min(parts[name].freedom for name in weights),
    )


def ratio(above: Pivot, below: Pivot) -> Pivot:
    """Return how many times larger the deviation of one variance is than that of another.

    It is infinite where the lower one is 0, and 1 where both are.
    """
    return Pivot(
        value=float(_root_ratio(np.array(above.value), np.array(below.value))),
        draws=_root_ratio(above.draws, below.draws),
        freedom=min(above.freedom, below.freedom),
    )


def trusted_freedom(parts: Floats, stratum: Ints, nominal: float) -> float:
    """Degrees of freedom of a sum of squares whose parts are not those of normal numbers.

    Rates near 0 or 1 have rare, large squares, which a sum of few cannot be trusted to have met.
    The sum's variance is estimated from its parts, within strata, as if the largest had been met
    once more; 2 sum^2 / variance is what a chi-square with that variance has (Satterthwaite 1946,
    Biometrics Bulletin 2:110-114).

    Args:
        parts: Squares that are independent of each other, `[n]`.
        stratum: To which task each belongs, `[n]`.
        nominal: Degrees of freedom, were everything normal; never exceeded.
    """
    if len(parts) < _ENOUGH:
        return nominal
    sizes = np.bincount(stratum)
    means = np.bincount(stratum, parts) / np.maximum(1, sizes)
    spread = np.bincount(stratum, (parts - means[stratum]) ** 2)
    variance = float((sizes / np.maximum(1, sizes - 1) * spread).sum() + parts.max() ** 2)
    if variance == 0:
        return nominal
    return float(np.clip(2 * parts.sum() ** 2 / variance, 1, nominal))


def _root_ratio(above: Floats, below: Floats) -> Floats:
    above, below = np.maximum(0, above), np.maximum(0, below)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.sqrt(above / below)
    return np.where((above == 0) & (below == 0), 1.0, found)
