"""An interval that may be looked at always: with 95 % it holds a mean at every look at once.

It is an interval by betting (Waudby-Smith & Ramdas 2024, JRSS-B 86:1-27). If the mean is not above
`m`, somebody who bets that it is ever has 40 times his capital with a chance of at most 1/40 (Ville
1939); the interval has those `m` against which nobody got that rich, from either side. Bets are
spread evenly over all shares of the capital, the universal portfolio (Cover 1991, Mathematical
Finance 1:1-29; as a confidence sequence, Orabona & Jun 2024, IEEE Trans. IT 70:436-455).
"""

from math import log

import numpy as np
from numpy.typing import NDArray

from vlabench.metrics.comparison import Rules

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_SHARES = (np.arange(64) + 0.5) / 64
"""Of the capital that is bet. Any set of shares is valid; finer ones gain nothing measurable."""
_HALVINGS = 50
"""Of an interval of length 2, to 2e-15; a few more, and rounding would ask about a mean of -1."""


def log_capital(counts: Floats | Ints, values: Floats, mean: float | Floats) -> Floats:
    """Return the log of what 1 became by betting that the mean is above `mean`.

    Each value turns a bet share `c` of the capital into `c (1 + value) / (1 + mean)`, a fair bet if
    the mean is `mean` and an unfavourable one if it is below. Shares are never adjusted, so that
    only counts matter.

    Args:
        counts: How often each value was seen, `[..., V]`.
        values: The values, in [-1, 1], `[V]`.
        mean: In (-1, 1), a number or `[...]`.

    Returns:
        `[...]`.
    """
    growth = (1 + values) / (1 + np.asarray(mean, dtype=np.float64)[..., None])
    gains = np.log1p(_SHARES * (growth[..., None] - 1))  # [..., V, shares]
    logs = (np.asarray(counts, dtype=np.float64)[..., None, :] @ gains)[..., 0, :]
    top = logs.max(axis=-1)
    found: Floats = top + np.log(np.exp(logs - top[..., None]).mean(axis=-1))
    return found


def betting_interval(
    counts: Floats | Ints, values: Floats, *, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Return the interval of the mean; with `confidence`, it holds the mean at every look.

    Args:
        counts: How often each value was seen by each look, `[..., V]`.
        values: The values, in [-1, 1], `[V]`.
        confidence: That no look's interval misses.
    """
    rich = log(2 / (1 - confidence))  # each side may err in half of the cases
    low = _where_rich(counts, values, rich)
    high = -_where_rich(counts, -values, rich)
    return low, high


def answers(counts: Ints, values: Floats, rules: Rules) -> tuple[Bools, Bools, Bools]:
    """Return whether each look says better, worse, and within the margin.

    Args:
        counts: How often each value was seen by each look, `[..., V]`.
        values: The values, in [-1, 1], `[V]`.
        rules: Margin and confidence.

    Returns:
        Three of `[...]`.
    """
    rich = log(2 / (1 - rules.confidence))

    def above(mean: float) -> Bools:
        return log_capital(counts, values, mean) >= rich

    def below(mean: float) -> Bools:
        return log_capital(counts, -values, -mean) >= rich

    return above(0.0), below(0.0), above(-rules.margin) & below(rules.margin)


def _where_rich(counts: Floats | Ints, values: Floats, rich: float) -> Floats:
    """Return the largest mean that betting above it made `rich` against, by halving."""
    low = np.full(np.asarray(counts).shape[:-1], -1.0)
    high = np.ones_like(low)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = log_capital(counts, values, middle) >= rich
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return low
