"""Intervals from counts. Every function takes numbers or arrays and returns arrays `(low, high)`.

Counts need not be whole: what tasks and repeated initial states do to a variance is expressed as
the number of independent episodes that would have the same one (`vlabench.metrics.variance`).
"""

from collections.abc import Callable, Sequence
from math import isfinite
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Interval = tuple[Floats, Floats]

_NEAR = 3
"""Counts up to this one are near the edge."""
_TINY = 1e-9
_HALVINGS = 60
"""Of an interval of length 2, until the doubles at its ends touch."""


def normal_quantile(confidence: float) -> float:
    """Return how many standard deviations cover `confidence` of a normal distribution."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def student_quantile(freedom: float, confidence: float) -> float:
    """Return how many standard errors cover `confidence` of Student's distribution.

    Raises:
        ValueError: If `confidence` is out of range.
    """
    from scipy.special import stdtrit  # all of scipy.stats takes a second to import

    quantile = float(stdtrit(freedom, (1 + confidence) / 2))
    if not isfinite(quantile):
        raise ValueError(f"confidence is {confidence}, out of the range from 0 to 1")
    return quantile


def wilson(successes: ArrayLike, n: ArrayLike, z: float) -> Interval:
    """Score interval of a proportion (Wilson 1927, JASA 22:209-212, eq. 1)."""
    count, size = _floats(successes), _floats(n)
    rate = count / size
    centre = (rate + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z * np.sqrt(rate * (1 - rate) / size + z**2 / (4 * size**2)) / (1 + z**2 / size)
    # Rounding may put the rate outside, a little, where nothing or everything succeeded.
    return np.minimum(rate, np.maximum(0, centre - half)), np.maximum(
        rate, np.minimum(1, centre + half)
    )


def edged_wilson(successes: ArrayLike, n: ArrayLike, z: float) -> Interval:
    """Wilson's interval, put right where few episodes succeeded, or few failed.

    Where 1 to 3 succeeded, the lower end comes from the Poisson limit, `chi2(2 x; 1 - confidence) /
    2 n` (Brown, Cai & DasGupta 2001, Statistical Science 16:101-133, section 4.1.1); without that,
    a 95 % interval covers a rate of 2 % in n = 50 with 92.2 %. Where all of fewer than seven did,
    it is the rate at which all do with a chance of `1 - confidence`; Wilson's covers a rate of 0.8
    in n = 1 with 80 %. Upper ends mirror lower ones. Corrections fade out between whole counts,
    so that rounding never decides: success and failure may change places.
    """
    count, size = _floats(successes), _floats(n)
    low, high = wilson(count, size, z)
    alpha = 2 * NormalDist().cdf(-z)
    return (
        _edge(count, size, low, alpha),
        1 - _edge(np.maximum(0, size - count), size, 1 - high, alpha),
    )


def newcombe(
    a: ArrayLike, ends_a: Sequence[ArrayLike], b: ArrayLike, ends_b: Sequence[ArrayLike]
) -> Interval:
    """Interval of `b - a` from those of both, independent of each other.

    Newcombe 1998, Statistics in Medicine 17:873-890, method 10, where they are Wilson's.
    """
    one, other = _floats(a), _floats(b)
    (low_a, high_a), (low_b, high_b) = map(_floats, ends_a), map(_floats, ends_b)
    down = np.hypot(other - low_b, high_a - one)
    up = np.hypot(high_b - other, one - low_a)
    return other - one - down, other - one + up


def tango(only_b: ArrayLike, only_a: ArrayLike, n: ArrayLike, z: float | Floats) -> Interval:
    """Score interval of `b - a` for pairs (Tango 1998, SiM 17:891-908, eqs. 2 and 3).

    Args:
        only_b: Pairs in which b succeeded and a did not.
        only_a: Pairs in which a succeeded and b did not.
        n: All pairs.
        z: Normal quantile of the confidence, or one for each element.
    """
    gained, lost, size = np.broadcast_arrays(_floats(only_b), _floats(only_a), _floats(n))
    found = (gained - lost) / size

    def score(difference: Floats) -> Floats:
        return _tango_score(gained, lost, size, difference)

    low = _crossing(score, -np.ones_like(found), found, z)
    high = _crossing(score, found, np.ones_like(found), -np.asarray(z))
    return np.minimum(low, found), np.maximum(high, found)


def student(mean: float, variance: float, freedom: int, confidence: float) -> tuple[float, float]:
    """Interval of a mean whose variance was estimated (Student 1908)."""
    half = student_quantile(freedom, confidence) * variance**0.5
    return mean - half, mean + half


def _edge(count: Floats, size: Floats, low: Floats, alpha: float) -> Floats:
    """Return the lower end, put right near the edges."""
    few = np.clip(_NEAR + 1 - count, 0, 1) * np.clip(size - count, 0, 1)
    if (few > 0).any():
        from scipy.special import gammaincinv

        poisson = np.where(few > 0, gammaincinv(np.maximum(count, _TINY), alpha) / size, low)
        low = low + few * np.minimum(0, poisson - low)
    all_ = np.clip(1 - (size - count), 0, 1)
    found: Floats = low + all_ * np.minimum(0, alpha ** (1 / size) - low)
    return found


def _tango_score(gained: Floats, lost: Floats, n: Floats, difference: Floats) -> Floats:
    """Return how many standard deviations the found difference is above `difference`."""
    middle = -gained - lost + (2 * n - gained + lost) * difference
    last = -lost * difference * (1 - difference)
    root = np.sqrt(np.maximum(0, middle**2 - 8 * n * last))
    rare = np.maximum(0, (root - middle) / (4 * n))  # the constrained estimate of only_a / n
    variance = n * np.maximum(0, 2 * rare + difference * (1 - difference))
    distance = gained - lost - n * difference
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance == 0, 0.0, distance / np.sqrt(variance))


def _crossing(
    score: Callable[[Floats], Floats], low: Floats, high: Floats, level: float | Floats
) -> Floats:
    """Return where a falling function crosses `level`, by halving."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = score(middle) > level
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return (low + high) / 2


def _floats(value: ArrayLike) -> Floats:
    return np.asarray(value, dtype=np.float64)
