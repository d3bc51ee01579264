"""Does more compute, or more training, help? Success at points along one axis.

Runs of one plan are paired: every initial state was met at every point, so that a state's own
difficulty cancels out of the slope. Points of a training curve are not; their rates are taken as
independent.

*Evidence* needs two methods that agree: the interval of the slope leaves out 0, and a test rejects
that it is 0 (5 %). Otherwise it is said that there is none, and no law is fitted.

*The law* is error = a N^-b + c, with a, c >= 0: c is what no N removes. It is the power law that
neural scaling is described with (Hestness et al. 2017, arXiv:1712.00409).

*The oracle* counts an episode as solved if it succeeded at this point or at any before it. It is
what a perfect choice among the runs recorded would get, episode by episode. It says nothing about a
perfect choice among the candidates within a decision, of which records hold the executed one only;
and it grows by luck alone, since a policy that draws anew gets another try at every point.

*The best of N* is what luck alone would give: success of a perfect choice among N whole episodes of
the first point, where N is how many times as many candidates a decision has (pass@k of Chen et al.
2021, arXiv:2107.03374, equation 1). It takes N repeats of each initial state, and is no bound: a
choice at every decision can end better than the luckiest of N episodes without one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from math import fsum, isfinite, isnan
from typing import NamedTuple

import numpy as np

from vlabench.errors import RecordError
from vlabench.metrics.counts import OnError
from vlabench.metrics.curves import Curve
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.intervals import edged_wilson, normal_quantile
from vlabench.metrics.law import Law, law_of
from vlabench.metrics.pivots import Floats
from vlabench.metrics.points import IndependentPoints, PairedPoints, Points
from vlabench.metrics.stability import refuse_other_plan
from vlabench.record import Run
from vlabench.table import Ints, Results, results_of

_SEED = 20_240_316
_LAW_POINTS = 4
"""Points that a law with three parameters needs to be more than a drawing through them."""


class Trend(StrEnum):
    """What more of it does."""

    RISES = "RISES"
    FALLS = "FALLS"
    NO_EVIDENCE = "NO EVIDENCE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One place on the axis.

    Attributes:
        x: Where.
        policy: Id of what was run there; None for a curve.
        success: Success rate on these tasks.
        monotone: The nearest rates that never turn (isotonic regression, each weighed by its
            episodes): that never rise where the trend is FALLS, and never fall elsewhere.
        samples: Candidates that the policy evaluated for a decision; None for a curve.
        flops: Floating-point operations for a decision; None where unknown.
        milliseconds: Of the policy, for a decision; None for a curve.
        oracle: Success of a perfect choice among the points up to here; None for a curve.
        best_of: Success of a perfect choice among as many episodes of the first point as decisions
            have times its candidates; None where these are everywhere as many, or initial states
            were not met so often there.
        front: Costs by which no other point succeeds as often for less; of those that are known
            and not the same everywhere.
    """

    x: float
    success: Estimate
    monotone: float
    policy: str | None = None
    samples: float | None = None
    flops: float | None = None
    milliseconds: float | None = None
    oracle: Estimate | None = None
    best_of: Estimate | None = None
    front: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Knee:
    """Where the curve bends most.

    Attributes:
        x: The point farthest above the straight line from the first to the last (Satopaa et al.
            2011, ICDCS Workshops, "Finding a Kneedle in a Haystack"), on the isotonic fit.
        sure: Share of resamples in which it is this one.
    """

    x: float
    sure: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What success does along an axis.

    Attributes:
        axis: Name of it.
        paired: Whether every point met the same episodes.
        points: In order.
        trend: What more of it does.
        slope: Change of success for each doubling; from the first point to the last where one is 0.
        step: What the slope is for: `doubling` or `range`.
        p_value: Of Student's test of slopes (paired) or of the trend test (curves).
        law: The fitted power law; None without evidence, or with too few points.
        no_law: Why not; empty where there is one.
        knee: Where it bends; None unless success rises and a point between the first and the last
            is above the line through these.
        left_out: Episodes that were not counted at any point: they broke at one.
    """

    axis: str
    paired: bool
    points: tuple[Point, ...]
    trend: Trend
    slope: Estimate
    step: str
    p_value: float
    law: Law | None
    no_law: str
    knee: Knee | None
    left_out: int = 0


def scaling_of_runs(
    runs: Sequence[Run | Results],
    xs: Sequence[float],
    axis: str,
    *,
    several_policies: bool = False,
    on_error: OnError = "raise",
    confidence: float = 0.95,
) -> Scaling:
    """Describe success along an axis, from runs of one plan.

    Args:
        runs: One for each point, in any order.
        xs: Where on the axis each is.
        axis: Name of it, as in `samples`.
        several_policies: Whether they may be points of it: what a training began with is one.
        on_error: What episodes that broke count as. `exclude` leaves them out at every point.
        confidence: Coverage of the intervals.

    Raises:
        RecordError: If there are fewer than two points, two at one place, plans differ, policies
            do and may not, an episode broke and `on_error` is `raise`, or nothing is left to count.
    """
    _refuse_places(xs, axis)
    order = np.argsort(xs)
    found = [results_of(runs[i]) for i in order]
    places = np.array([float(xs[i]) for i in order])
    if not several_policies:
        _refuse_other_policy(found)
    paired, left_out = _pair(found, on_error)
    oracles = np.maximum.accumulate(paired.episodes, axis=1)
    points = [
        Point(
            x=float(x),
            success=paired.rate(paired.episodes[:, k], confidence),
            monotone=float(paired.rates[k]),
            policy=run.header.policy_id,
            oracle=paired.rate(oracles[:, k], confidence),
            **_cost(run)._asdict(),
        )
        for k, (x, run) in enumerate(zip(places, found, strict=True))
    ]
    points = _with_best_of(points, paired, confidence)
    return _describe(axis, paired, places, points, left_out, confidence)


def _with_best_of(points: Sequence[Point], data: PairedPoints, confidence: float) -> list[Point]:
    """Add what a perfect choice among whole episodes would reach, where there are several."""
    candidates = known_costs(points, "samples")
    if not candidates or data.repeats == 1:
        return list(points)
    return [
        replace(point, best_of=data.best_of(round(count / candidates[0]), confidence))
        for point, count in zip(points, candidates, strict=True)
    ]


def scaling_of_curve(curve: Curve, *, confidence: float = 0.95) -> Scaling:
    """Describe success along a training.

    Raises:
        RecordError: If the log does not say how many episodes are behind its rates.
    """
    if curve.n is None:
        raise RecordError(
            f"{curve.name} does not say in how many episodes success was measured; expected a "
            "column success_n"
        )
    rates, n = np.array(curve.success), np.array(curve.n)
    low, high = edged_wilson(rates * n, n, normal_quantile(confidence))
    points = [
        Point(
            x=x,
            success=Estimate(
                value=float(rates[k]),
                low=float(low[k]),
                high=float(high[k]),
                n=int(n[k]),
                method=f"Wilson {100 * confidence:g}%",
                question="success at this step of this training, over episodes like these",
            ),
            monotone=float(rates[k]),
        )
        for k, x in enumerate(curve.steps)
    ]
    data = IndependentPoints(rates, n)
    return _describe(curve.unit, data, np.array(curve.steps), points, 0, confidence)


class _Cost(NamedTuple):
    """Of a decision."""

    samples: float | None
    flops: float | None
    milliseconds: float | None


def _refuse_places(xs: Sequence[float], axis: str) -> None:
    if len(xs) < 2:
        raise RecordError(f"{len(xs)} point of {axis}; scaling needs two, and a law {_LAW_POINTS}")
    if odd := [x for x in xs if not isfinite(x)]:
        raise RecordError(f"a run at {axis} = {odd[0]:g}, no place on an axis; expected a number")
    for one, other in pairwise(sorted(xs)):
        if one == other:
            raise RecordError(f"two runs are at {axis} = {one:g}; give one for each place")


def _refuse_other_policy(runs: Sequence[Results]) -> None:
    first, *others = dict.fromkeys(run.header.policy_id for run in runs)
    if others:
        raise RecordError(
            f"runs of two policies, {first} and {others[0]}, are no points of one axis, unless "
            "--at says where each run is; `vlabench compare` compares policies"
        )


def _pair(runs: Sequence[Results], on_error: OnError) -> tuple[PairedPoints, int]:
    tables = [run.table for run in runs]
    for run, table in zip(runs[1:], tables[1:], strict=True):
        refuse_other_plan(runs[0], run)
        if not tables[0].same_episodes(table):
            raise RecordError(
                f"the same plan, but not the same episodes have ended: {len(tables[0].outcome)} at "
                f"one point, {len(table.outcome)} at another; the same command again finishes runs"
            )
    outcome = np.stack([table.outcome for table in tables], axis=1)
    errors = int((outcome < 0).sum())
    if errors and on_error == "raise":
        raise RecordError(
            f"{errors} of {outcome.size} episodes are errors; --retry-errors runs them again, or "
            "say what they count as: --on-error exclude or as-failure"
        )
    if on_error == "as-failure":
        outcome = np.maximum(outcome, 0)
    kept = (outcome >= 0).all(axis=1)
    if not kept.any():
        raise RecordError("no episode ended at every point")
    episodes = outcome[kept].astype(np.float64)
    paired = PairedPoints(episodes, tables[0].task[kept], tables[0].state[kept])
    return paired, int((~kept).sum())


def _cost(run: Results) -> _Cost:
    """Return what a decision cost, over all episodes that ended."""
    ended = run.table.rows(run.table.outcome >= 0)
    decisions = int(ended.decisions.sum())
    if not decisions:
        return _Cost(None, None, None)
    flops, seconds = fsum(ended.flops), fsum(ended.policy)
    return _Cost(
        samples=int(ended.samples.sum()) / decisions,
        flops=None if isnan(flops) else flops / decisions,
        milliseconds=None if isnan(seconds) else 1000 * seconds / decisions,
    )


def _describe(
    axis: str,
    data: Points,
    xs: Floats,
    points: Sequence[Point],
    left_out: int,
    confidence: float,
) -> Scaling:
    step = "doubling" if xs.min() > 0 else "range"
    scale = np.log2(xs) if step == "doubling" else (xs - xs.min()) / np.ptp(xs)
    weights = scale - scale.mean()
    weights /= (weights**2).sum()
    slope = _slope(data, weights, step, confidence)
    p_value = data.p_value(weights)
    trend = _trend(slope, p_value, 1 - confidence)
    resamples = data.resample(np.random.default_rng(_SEED))
    no_law = _no_law(xs, trend)
    law = None if no_law else law_of(data, xs, [p.success for p in points], resamples, confidence)
    return Scaling(
        axis=axis,
        paired=isinstance(data, PairedPoints),
        points=_finish(points, data, trend),
        trend=trend,
        slope=slope,
        step=step,
        p_value=p_value,
        law=law,
        no_law=no_law,
        knee=_knee(scale, xs, data, resamples) if trend is Trend.RISES else None,
        left_out=left_out,
    )


def _slope(data: Points, weights: Floats, step: str, confidence: float) -> Estimate:
    low, high, method = data.slope(weights, confidence)
    value = float(data.rates @ weights)
    return Estimate(
        value=value,
        low=min(low, value),
        high=max(high, value),
        n=data.size,
        method=method,
        question=f"change of success for {_STEPS[step]}, on a straight line through all points",
    )


_STEPS = {"doubling": "each doubling", "range": "the whole range"}


def _trend(slope: Estimate, p_value: float, alpha: float) -> Trend:
    if slope.low <= 0 <= slope.high or p_value >= alpha:
        return Trend.NO_EVIDENCE
    return Trend.RISES if slope.value > 0 else Trend.FALLS


def _finish(points: Sequence[Point], data: Points, trend: Trend) -> tuple[Point, ...]:
    """Add what takes all points together: the isotonic fit and the Pareto fronts."""
    falling = -1 if trend is Trend.FALLS else 1
    monotone = falling * _isotonic(falling * data.rates, data.n)
    costs = {name: known_costs(points, name) for name in ("samples", "flops", "milliseconds")}
    fronts = {name: pareto(each, data.rates) for name, each in costs.items() if each}
    return tuple(
        replace(
            point,
            monotone=float(monotone[k]),
            front=tuple(name for name, front in fronts.items() if front[k]),
        )
        for k, point in enumerate(points)
    )


def known_costs(points: Sequence[Point], name: str) -> list[float]:
    """Return a cost of every point; nothing where one is unknown, or all are the same to 10 %."""
    found = [getattr(point, name) for point in points]
    if None in found or max(found) <= 1.1 * min(found):
        return []
    return found


def pareto(costs: Sequence[float], success: Sequence[float] | Floats) -> list[bool]:
    """Return for each point whether no other one succeeds as often for less, or more often."""
    pairs = list(zip(costs, success, strict=True))
    return [
        not any(
            other <= cost and more >= rate and (other, more) != (cost, rate)
            for other, more in pairs
        )
        for cost, rate in pairs
    ]


def _no_law(xs: Floats, trend: Trend) -> str:
    """Say why no law is fitted; nothing if one is."""
    if trend is not Trend.RISES:
        return "no evidence that success rises"
    if (count := int((xs > 0).sum())) < _LAW_POINTS:
        return f"a law takes {_LAW_POINTS} points above 0, found {count}"
    return ""


def _isotonic(rates: Floats, n: Ints) -> Floats:
    """Return the nearest rates that never fall; a rate of more episodes gives way less."""
    from scipy.optimize import isotonic_regression

    return np.asarray(isotonic_regression(rates, weights=n).x)


def _knee(scale: Floats, xs: Floats, data: Points, resamples: Floats) -> Knee | None:
    chosen = _bend(scale, data.rates, data.n)
    if not chosen:
        return None
    same = np.mean([_bend(scale, row, data.n) == chosen for row in resamples])
    return Knee(x=float(xs[chosen]), sure=float(same))


def _bend(scale: Floats, rates: Floats, n: Ints) -> int:
    """Return the point farthest above the line; 0, the first one, where none is above it."""
    rising = _isotonic(rates, n)
    along = (scale - scale[0]) / (scale[-1] - scale[0])
    above = rising - rising[0] - along * (rising[-1] - rising[0])
    return int(np.argmax(np.round(above, 9)))  # the ends are at 0, and a straight line is straight
