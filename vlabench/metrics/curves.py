"""Training curves: success at some steps of a training, and how steady trainings are.

A log does not say which episodes were behind a rate, only how many. Their noise is taken to be that
of independent episodes; runs on one plan say more (`vlabench.metrics.stability`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

import numpy as np

from vlabench.errors import RecordError
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.intervals import edged_wilson, normal_quantile
from vlabench.metrics.pivots import Floats, Pivot, around, between, combine, ratio

_SEED = 20_240_302
_LUCK = 2_000
"""Curves drawn to see what luck alone does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Success over a training.

    Attributes:
        name: For people.
        unit: What is counted in `steps`: the name of the log's first column.
        steps: Growing and finite, `[k]`.
        success: Rates, `[k]`.
        n: Episodes behind each rate, 1 or more, `[k]`; None where the log does not say.
    """

    name: str
    unit: str
    steps: tuple[float, ...]
    success: tuple[float, ...]
    n: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.steps) < 2:
            raise RecordError(
                f"{self.name} has success at {len(self.steps)} places; a curve needs two"
            )
        if back := [pair for pair in pairwise(self.steps) if pair[1] <= pair[0]]:
            raise RecordError(
                f"{self.name}: its {self.unit} do not grow from row to row, {back[0][1]:g} comes "
                f"after {back[0][0]:g}; keep one row a {self.unit} where a training was resumed"
            )
        if odd := [step for step in self.steps if not isfinite(step)]:
            raise RecordError(f"{self.name}: a {self.unit} of {odd[0]:g}; expected a finite number")
        if wrong := [s for s in self.success if not 0 <= s <= 1]:
            raise RecordError(f"{self.name}: a success of {wrong[0]:g}; expected a share, 0 to 1")
        if few := [n for n in self.n or () if not n >= 1]:
            raise RecordError(f"{self.name}: a rate of {few[0]:g} episodes; expected 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveFacts:
    """What one curve did.

    Attributes:
        name: Of the curve.
        final: Success at the last step.
        mean: Success over the whole training: the area under straight lines between the points,
            over its length.
        final_rate: `final` with its interval over episodes; None where n is unknown.
        mean_rate: `mean` with its interval over episodes; None where n is unknown.
        fall: Largest loss from the best rate so far, a share.
        fall_by_luck: What a training that never gets worse would have shown in 19 of 20 cases at
            most, its rates measured in as many episodes; None where n is unknown.
        under: Steps spent below the first rate; every rate holds until the next one.
        under_by_luck: As `fall_by_luck`.
    """

    name: str
    final: float
    mean: float
    final_rate: Estimate | None
    mean_rate: Estimate | None
    fall: float
    fall_by_luck: float | None
    under: float
    under_by_luck: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveStability:
    """How steady the trainings of one method are.

    Attributes:
        curves: Each by itself.
        unit: What steps are.
        final: Mean of the final success over trainings; None for one training, as all below.
        final_deviation: Standard deviation between trainings of their true final success.
        mean_deviation: The same of success over the whole training.
        fall: Mean over trainings of the worst fall, the luck of episodes included.
        under: Mean over trainings of the steps below the start.
        noise: Whether the noise of episodes was taken out of the deviations: n was known.
    """

    curves: tuple[CurveFacts, ...]
    unit: str
    final: Estimate | None
    final_deviation: Estimate | None
    mean_deviation: Estimate | None
    fall: Estimate | None
    under: Estimate | None
    noise: bool


def stability_of_curves(curves: Sequence[Curve], *, confidence: float = 0.95) -> CurveStability:
    """Say how steady the trainings of one method are.

    Raises:
        RecordError: If the curves count other steps, or do not end at the same one.
    """
    _refuse_mixture(curves)
    facts = tuple(_facts(curve) for curve in curves)
    found: dict[str, Estimate | None] = dict.fromkeys(_QUESTIONS)
    if len(curves) > 1:
        pivots = _pivots(curves, facts, np.random.default_rng(_SEED))
        episodes = sum(sum(curve.n or ()) for curve in curves)
        found = {
            name: pivots[name].estimate(episodes, question, confidence)
            for name, question in _QUESTIONS.items()
        }
    return CurveStability(
        curves=facts, unit=curves[0].unit, noise=all(curve.n for curve in curves), **found
    )


def curve_ratios(
    curves: Sequence[Curve], against: Sequence[Curve], *, confidence: float = 0.95
) -> dict[str, Estimate]:
    """How many times as stable the first method is; more than 1 is in its favour.

    `final_deviation` is the definition that ADR 14 gives; `mean_deviation`, `fall` and `under` are
    the same quotient, of `against` over `curves`, of other quantities; `under` counts time as a
    share of each method's training. A quotient is infinite where `curves` have nothing of it and
    `against` have, and 1 where both have nothing.

    Raises:
        RecordError: As `stability_of_curves` does; or if a method has one curve only.
    """
    sides = []
    for place, side in enumerate((curves, against)):
        _refuse_mixture(side)
        if len(side) < 2:
            raise RecordError(
                "one curve has no spread; give two or more of each method, each of another seed"
            )
        rng = np.random.default_rng(_SEED + place)
        sides.append(_pivots(side, [_facts(curve) for curve in side], rng))
    one, other = sides
    episodes = sum(sum(curve.n or ()) for curve in (*curves, *against))
    found = {
        name: ratio(other[f"{name} squared"], one[f"{name} squared"])
        for name in ("final_deviation", "mean_deviation", "fall", "under")
    }
    return {
        name: pivot.estimate(episodes, f"how many times larger: {_QUESTIONS[name]}", confidence)
        for name, pivot in found.items()
    }


_QUESTIONS = {
    "final": "success at the end of trainings like these",
    "final_deviation": "standard deviation of final success between trainings like these",
    "mean_deviation": "standard deviation of success over the training, between trainings",
    "fall": "worst fall from the running best, mean over trainings like these",
    "under": "time below the start, mean over trainings like these",
}


def worst_fall(success: Floats) -> Floats:
    """Return the largest loss from the best so far along the last axis, `[..., k] -> [...]`."""
    best = np.maximum.accumulate(success, axis=-1)
    return np.asarray((best - success).max(axis=-1))


def time_under(steps: Floats, success: Floats) -> Floats:
    """Return the steps spent below the first rate, `[..., k] -> [...]`."""
    below = success[..., :-1] < success[..., :1]
    return np.asarray((below * np.diff(steps)).sum(axis=-1))


def _refuse_mixture(curves: Sequence[Curve]) -> None:
    first = curves[0]
    for curve in curves[1:]:
        if curve.unit != first.unit:
            raise RecordError(f"{first.name} counts {first.unit}, {curve.name} {curve.unit}")
        if curve.steps[-1] != first.steps[-1]:
            raise RecordError(
                f"{first.name} ends at {first.unit} {first.steps[-1]:g}, {curve.name} at "
                f"{curve.steps[-1]:g}; compare trainings that are finished"
            )
        if curve == first or (curve.success == first.success and curve.name == first.name):
            raise RecordError(f"{curve.name} is there twice; give one curve for each training")


def _facts(curve: Curve) -> CurveFacts:
    steps, success = np.array(curve.steps), np.array(curve.success)
    fall_luck = under_luck = None
    if curve.n is not None:
        drawn = _drawn_without_falls(curve)
        fall_luck = float(np.quantile(worst_fall(drawn), 0.95))
        under_luck = float(np.quantile(time_under(steps, drawn), 0.95))
    return CurveFacts(
        name=curve.name,
        final=curve.success[-1],
        mean=float(_weights(steps) @ success),
        final_rate=_rate(
            curve, np.arange(len(steps)) == len(steps) - 1, "success at the last step"
        ),
        mean_rate=_rate(curve, _weights(steps), "success over the whole training"),
        fall=float(worst_fall(success)),
        fall_by_luck=fall_luck,
        under=float(time_under(steps, success)),
        under_by_luck=under_luck,
    )


def _rate(curve: Curve, weights: Floats, question: str) -> Estimate | None:
    """Return a weighted mean of a curve's rates.

    The interval is Wilson's of each, put together (Zou, Huang & Zhang 2009, CSDA 53:1080-1085).
    """
    if curve.n is None:
        return None
    rates, n = np.array(curve.success), np.array(curve.n)
    value = float(weights @ rates)
    low, high = edged_wilson(rates * n, n, normal_quantile(0.95))
    return Estimate(
        value=value,
        low=value - float(np.hypot.reduce(weights * (rates - low))),
        high=value + float(np.hypot.reduce(weights * (high - rates))),
        n=int(n[weights > 0].sum()),
        method="Wilson 95%, episodes taken as independent",
        question=f"{question}, over training episodes like these",
    )


def _drawn_without_falls(curve: Curve) -> Floats:
    """Draw what would be measured of the nearest training that never gets worse, `[_LUCK, k]`."""
    from scipy.optimize import isotonic_regression

    assert curve.n is not None
    n = np.array(curve.n)
    rising = np.clip(isotonic_regression(curve.success, weights=n).x, 0, 1)
    return np.asarray(np.random.default_rng(_SEED).binomial(n, rising, (_LUCK, len(n))) / n)


def _weights(steps: Floats) -> Floats:
    """Return the weight of each rate in the area under the curve, over its length."""
    gaps = np.diff(steps)
    return np.asarray((np.append(gaps, 0) + np.append(0, gaps)) / 2 / (steps[-1] - steps[0]))


def _pivots(
    curves: Sequence[Curve], facts: Sequence[CurveFacts], rng: np.random.Generator
) -> dict[str, Pivot]:
    final = np.array([fact.final for fact in facts])
    mean = np.array([fact.mean for fact in facts])
    last = [np.append(np.zeros(len(curve.steps) - 1), 1.0) for curve in curves]
    area = [_weights(np.array(curve.steps)) for curve in curves]
    fall = _mean_pivot(np.array([fact.fall for fact in facts]), rng)
    span = max(curve.steps[-1] - curve.steps[0] for curve in curves)
    under = _mean_pivot(np.array([fact.under for fact in facts]), rng, span)
    by_end = _spread(final, curves, last, rng)
    by_mean = _spread(mean, curves, area, rng)
    return {
        "final": _mean_pivot(final, rng),
        "final_deviation": by_end.root(),
        "final_deviation squared": by_end,
        "mean_deviation": by_mean.root(),
        "mean_deviation squared": by_mean,
        "fall": fall,
        "fall squared": _squared(fall),
        "under": under,
        "under squared": _squared(under, span),
    }


def _squared(pivot: Pivot, scale: float = 1.0) -> Pivot:
    """Return the square of a share, as `ratio` takes it."""
    return Pivot(
        value=(pivot.value / scale) ** 2, draws=(pivot.draws / scale) ** 2, freedom=pivot.freedom
    )


def _mean_pivot(values: Floats, rng: np.random.Generator, scale: float = 1.0) -> Pivot:
    """Return a mean of numbers from 0 to `scale`; errors are Student's (Student 1908)."""
    shares = values / scale
    variance = combine({"curves": between(shares, rng)}, {"curves": 1 / len(shares)})
    found = around(float(shares.mean()), variance, rng)
    return Pivot(value=float(values.mean()), draws=found.draws * scale, freedom=found.freedom)


def _spread(
    values: Floats, curves: Sequence[Curve], weights: Sequence[Floats], rng: np.random.Generator
) -> Pivot:
    """Variance between curves of a weighted sum of their rates, less what episodes put in."""
    square = between(values, rng)
    noise = np.mean([_noise(*pair) for pair in zip(curves, weights, strict=True)])
    return Pivot(
        value=square.value - float(noise), draws=square.draws - noise, freedom=square.freedom
    )


def _noise(curve: Curve, weights: Floats) -> float:
    """Variance that independent episodes put into a weighted sum of a curve's rates.

    Rates are moved away from 0 and 1 by half an episode: 20 of 20 is not free of noise.
    """
    if curve.n is None:
        return 0.0
    n = np.array(curve.n)
    rates = (np.array(curve.success) * n + 0.5) / (n + 1)
    return float((weights**2 * rates * (1 - rates) / n).sum())
