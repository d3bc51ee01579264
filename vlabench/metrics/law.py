"""The law error = a N^-b + c, fitted to success at points along an axis."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlabench.metrics.estimate import Estimate
from vlabench.metrics.intervals import normal_quantile
from vlabench.metrics.pivots import Floats
from vlabench.metrics.points import Points, ends_of

_EXPONENTS = np.geomspace(0.02, 8, 240)
"""Values of b that are tried, 2.5 % apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """error = a N^-b + c.

    Attributes:
        a: The error that N = `unit` still has and more would remove.
        b: How fast: each doubling leaves 2^-b of it.
        c: The error that stays.
        unit: What N is counted in, the smallest positive x.
        off: Largest distance between the law and a rate, a share.
        fits: Whether the law passes through intervals of all points, made as wide as it takes for
            all of them to hold together (Bonferroni).
    """

    a: Estimate
    b: Estimate
    c: Estimate
    unit: float
    off: float
    fits: bool

    def success(self, x: Floats) -> Floats:
        """Return the fitted success rate, `[k] -> [k]`."""
        return _law_success(x / self.unit, self.a.value, self.b.value, self.c.value)


def fit_law(xs: Floats, errors: Floats) -> tuple[Floats, Floats, Floats]:
    """Fit error = a N^-b + c by least squares, a and c at least 0, for many series at once.

    For each b that is tried, a and c are a straight line's; the best b is taken. Nothing iterates,
    so that nothing fails to converge.

    Args:
        xs: N, above 0, `[points]`.
        errors: `[..., points]`.

    Returns:
        a, b and c, `[...]` each; b is within 0.02 to 8.
    """
    basis = xs ** -_EXPONENTS[:, None]  # [exponents, points]
    means, level = basis.mean(axis=1), errors.mean(axis=-1)[..., None]
    cross = errors @ basis.T / len(xs)  # [..., exponents]
    square = (basis**2).mean(axis=1)
    a = np.maximum(0, (cross - means * level) / (square - means**2))
    c = level - a * means
    through = np.maximum(0, cross / square)  # where the line would need c < 0
    a, c = np.where(c < 0, through, a), np.maximum(0, c)
    losses = (errors**2).mean(axis=-1)[..., None] - 2 * (a * cross + c * level)
    losses += a**2 * square + 2 * a * c * means + c**2
    best = losses.argmin(axis=-1)
    a, c = (np.take_along_axis(part, best[..., None], axis=-1)[..., 0] for part in (a, c))
    return a, _EXPONENTS[best], c


def law_of(
    data: Points, xs: Floats, rates: Sequence[Estimate], resamples: Floats, confidence: float
) -> Law:
    """Fit the law to rates at `xs`, and its parameters' intervals to `resamples` of them.

    Args:
        data: What the rates are of.
        xs: N, `[points]`; places at 0 or below are left out.
        rates: With their intervals, `[points]`.
        resamples: Of the rates, `[resamples, points]`.
        confidence: Coverage of the intervals.
    """
    positive = xs > 0
    unit = float(xs[positive].min())
    places, values = xs[positive] / unit, data.rates[positive]
    found = [float(part) for part in fit_law(places, 1 - values)]
    drawn = fit_law(places, 1 - resamples[:, positive])
    fitted = _law_success(places, *found)
    through = [rate for rate, x in zip(rates, xs, strict=True) if x > 0]
    wider = normal_quantile(1 - (1 - confidence) / len(through)) / normal_quantile(confidence)
    a, b, c = (
        _law_estimate(value, draws, data, question, confidence)
        for value, draws, question in zip(found, drawn, _PARAMETERS, strict=True)
    )
    return Law(
        a=a,
        b=b,
        c=c,
        unit=unit,
        off=float(np.abs(fitted - values).max()),
        fits=all(
            wider * (rate.low - rate.value) <= y - rate.value <= wider * (rate.high - rate.value)
            for y, rate in zip(fitted, through, strict=True)
        ),
    )


_PARAMETERS = (
    "error that more removes, at the smallest N, in error = a N^-b + c",
    "exponent, in error = a N^-b + c",
    "error that stays, in error = a N^-b + c",
)


def _law_estimate(
    value: float, draws: Floats, data: Points, question: str, confidence: float
) -> Estimate:
    low, high = ends_of(draws, confidence)
    return Estimate(
        value=value,
        low=min(low, value),
        high=max(high, value),
        n=data.size,
        method=f"{data.resampling} {100 * confidence:g}%",
        question=question,
    )


def _law_success(places: Floats, a: float, b: float, c: float) -> Floats:
    return np.asarray(1 - a * places**-b - c)
