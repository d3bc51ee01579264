"""How much of the permitted error each of a few planned looks may spend.

Spending functions after Lan & DeMets (1983, Biometrika 70:659-663): of the chance to err, so much
may have been used when a share of the plan is known. What that makes of a look's test follows by
numerical recursion in the canonical normal model, in which the score gains independent normal
increments between looks (Armitage, McPherson & Rowe 1969, JRSS-A 132:235-244; Jennison & Turnbull
2000, Group Sequential Methods, chapter 19).
"""

from functools import lru_cache
from math import e, log, sqrt
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlabench.metrics.intervals import normal_quantile

Floats = NDArray[np.float64]
Spending = Literal["obrien-fleming", "pocock"]

_NODES = 400
"""Of Gauss and Legendre, between the boundaries of a look."""
_FAR = 8.0
"""Standard deviations that no look asks for more than: chance goes beyond in 1 of 10^15."""
_HALVINGS = 50


def spent(share: float, spending: Spending, error: float) -> float:
    """Return how much of `error` on one side may have been used.

    Args:
        share: Of the plan, that is known by then.
        spending: `obrien-fleming` spends hardly anything early, `pocock` nearly evenly.
        error: Chance to err on that side, in all.
    """
    if share >= 1:
        return error
    if spending == "pocock":
        return error * log(1 + (e - 1) * share)
    return 2 * NormalDist().cdf(-normal_quantile(1 - error) / sqrt(share))


@lru_cache(maxsize=256)
def boundaries(
    sizes: tuple[int, ...], planned: int, spending: Spending, confidence: float
) -> tuple[float, ...]:
    """Return how many standard deviations from 0 each look must find, on either side.

    Args:
        sizes: How much is known at each look, ascending; the last look spends all that is left.
        planned: How much would be known at the end of the plan.
        spending: How the error is spent.
        confidence: One less the error on both sides together, over all looks.
    """
    error = (1 - confidence) / 2
    used = [spent(size / planned, spending, error) for size in sizes[:-1]] + [error]
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    found = [min(_FAR, -NormalDist().inv_cdf(used[0]) if used[0] > 0 else _FAR)]
    scores = nodes * found[0] * sqrt(sizes[0])
    density = np.exp(-(scores**2) / (2 * sizes[0])) / sqrt(2 * np.pi * sizes[0])
    mass = density * weights * found[0] * sqrt(sizes[0])
    for k in range(1, len(sizes)):
        step = sqrt(sizes[k] - sizes[k - 1])
        found.append(_bound(scores, mass, step, sqrt(sizes[k]), used[k] - used[k - 1]))
        reach = found[k] * sqrt(sizes[k])
        following = nodes * reach
        steps = (following[:, None] - scores) / step
        density = np.exp(-(steps**2) / 2) @ mass / (step * sqrt(2 * np.pi))
        scores, mass = following, density * weights * reach
    return tuple(found)


def _bound(scores: Floats, mass: Floats, step: float, deviation: float, target: float) -> float:
    """Return the boundary that a score crosses upwards with a chance of `target`, by halving.

    Args:
        scores: Of runs that go on, at the last look.
        mass: How probable they are.
        step: Standard deviation of what is added since.
        deviation: Standard deviation of the score at this look.
        target: Chance.
    """
    from scipy.special import ndtr

    low, high = 0.0, _FAR
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        crossed = float(mass @ ndtr((scores - middle * deviation) / step))
        low, high = (middle, high) if crossed > target else (low, middle)
    return high
