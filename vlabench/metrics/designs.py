"""When a run is looked at until it is decided, and what a look takes to decide it.

Either after every block, by the always-valid interval (`vlabench.metrics.betting`); or a few times
that are planned, each with its share of the permitted error (`vlabench.metrics.spending`): a
group-sequential design, sharper where the answer comes late. Here a look is asked about numbers of
initial states, so that plans can be judged before they run; records have strata besides
(`vlabench.metrics.sequential`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vlabench.metrics.betting import log_capital
from vlabench.metrics.comparison import Rules
from vlabench.metrics.intervals import normal_quantile, tango
from vlabench.metrics.spending import Spending, boundaries

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NAMES = {"obrien-fleming": "O'Brien-Fleming", "pocock": "Pocock"}
"""Spending functions, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """A few looks that are planned.

    Attributes:
        count: How many, two at least.
        spending: How much of the permitted error each may use.
    """

    count: int
    spending: Spending = "obrien-fleming"

    def at(self, blocks: int) -> tuple[int, ...]:
        """Return the blocks after which is looked: those nearest to equal parts of the plan.

        Raises:
            ValueError: If there are fewer blocks than looks.
        """
        if not 2 <= self.count <= blocks:
            raise ValueError(f"{self.count} looks at {blocks} blocks; expected 2 to {blocks}")
        return tuple(int(k * blocks / self.count + 0.5) for k in range(1, self.count + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """When is looked, and how far from 0 a look must find the difference.

    Attributes:
        name: `always-valid`, `obrien-fleming`, `pocock`, or `fixed`, which looks once.
        looks: Initial states of each task at each look, ascending.
        quantiles: Standard deviations that each look asks for; none where any look is valid.
    """

    name: str
    looks: tuple[int, ...]
    quantiles: tuple[float, ...] = ()

    def titled(self) -> str:
        """Return the name, for people."""
        if self.name in NAMES:
            return f"{len(self.looks)} looks, {NAMES[self.name]}-type spending"
        return "one look at the end" if self.name == "fixed" else "always valid, after every block"


def always_valid(blocks: int) -> Design:
    """Return the design that looks after every block."""
    return Design(name="always-valid", looks=tuple(range(1, blocks + 1)))


def fixed(blocks: int, confidence: float) -> Design:
    """Return the design that looks once, at the end."""
    return Design(name="fixed", looks=(blocks,), quantiles=(normal_quantile(confidence),))


def group_sequential(
    looks: Looks, blocks: int, confidence: float, *, whole: int | None = None
) -> Design:
    """Return the design that looks a few times.

    Args:
        looks: How often, and how the error is spent.
        blocks: Of the plan.
        confidence: One less the error over all looks.
        whole: Blocks that count after all have ended, where episodes that broke left less than the
            plan; the last look is at those, and spends all of the error that is left.

    Raises:
        ValueError: If there are fewer blocks than looks.
    """
    at = looks.at(blocks)
    if whole is not None and whole < blocks:
        at = (*(look for look in at if look < whole), whole) if whole else ()
    quantiles = boundaries(at, blocks, looks.spending, confidence) if at else ()
    return Design(name=looks.spending, looks=at, quantiles=quantiles)


class Marks(Protocol):
    """What looks conclude, `[...]` each; computed when asked for."""

    def better(self) -> Bools:
        """Whether b is BETTER."""
        ...

    def worse(self) -> Bools:
        """Whether b is WORSE."""
        ...

    def not_below(self) -> Bools:
        """Whether the interval leaves out a fall of the margin."""
        ...

    def not_above(self) -> Bools:
        """Whether the interval leaves out a gain of the margin."""
        ...


def marks(
    design: Design, look: int | Sequence[int] | Ints, counts: Floats | Ints, values: Floats,
    *, rules: Rules,
) -> Marks:  # fmt: skip
    """Say what looks conclude from how often each value was seen.

    Args:
        design: Whose looks.
        look: Which, from 0 up: one, or `[...]`.
        counts: Initial states with each value, `[..., V]`; need not be whole.
        values: Ascending, in [-1, 1], `[V]`.
        rules: Margin and confidence.
    """
    counts = np.asarray(counts, dtype=np.float64)
    if not design.quantiles:
        return _Bets(counts, values, rules)
    return _Planned(counts, values, rules, np.asarray(design.quantiles)[np.asarray(look)])


class _Bets:
    """Looks that are always valid."""

    def __init__(self, counts: Floats, values: Floats, rules: Rules) -> None:
        self._counts, self._values, self._margin = counts, values, rules.margin
        self._rich = log(2 / (1 - rules.confidence))

    def better(self) -> Bools:
        return self._above(0.0)

    def worse(self) -> Bools:
        return self._below(0.0)

    def not_below(self) -> Bools:
        return self._above(-self._margin)

    def not_above(self) -> Bools:
        return self._below(self._margin)

    def _above(self, mean: float) -> Bools:
        found: Bools = log_capital(self._counts, self._values, mean) >= self._rich
        return found

    def _below(self, mean: float) -> Bools:
        found: Bools = log_capital(self._counts, -self._values, -mean) >= self._rich
        return found


class _Planned:
    """Looks that ask for so many standard deviations, and for the exact sign test to agree."""

    def __init__(self, counts: Floats, values: Floats, rules: Rules, z: Floats) -> None:
        self._z, self._margin = z, rules.margin
        self._low, self._high = _tango(counts, values, z)
        self._gained, self._lost = (counts[..., s * values > 0].sum(axis=-1) for s in (1, -1))

    def better(self) -> Bools:
        return (self._low > 0) & _signs(self._gained, self._lost, self._z)

    def worse(self) -> Bools:
        return (self._high < 0) & _signs(self._lost, self._gained, self._z)

    def not_below(self) -> Bools:
        return self._low > -self._margin

    def not_above(self) -> Bools:
        return self._high < self._margin


def _tango(counts: Floats, values: Floats, z: Floats) -> tuple[Floats, Floats]:
    """Tango's interval for as many pairs as have the variance of the states' mean."""
    n = np.maximum(counts.sum(axis=-1), 1e-9)
    mean, apart, square = (counts @ what / n for what in (values, np.abs(values), values**2))
    single, variance = apart - mean**2, square - mean**2
    size = n * np.where(variance > 1e-12, single / np.maximum(variance, 1e-12), 1.0)
    gained, lost = (apart + mean) / 2 * size, (apart - mean) / 2 * size
    return tango(np.maximum(0, gained), np.maximum(0, lost), size, z)


def _signs(more: Floats, less: Floats, z: Floats) -> Bools:
    """Whether the exact one-sided sign test rejects at the level of a quantile."""
    from scipy.special import betainc, ndtr

    p = betainc(np.maximum(more, 1e-9), less + 1, 0.5)
    rejected: Bools = (more > less) & (p <= ndtr(-z))
    return rejected
