"""Findings in one line each, with their numbers."""

from collections.abc import Sequence
from math import isfinite

from vlabench.metrics.comparison import Comparison, Evidence, Verdict
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.scaling import Scaling, Trend


def sentence(c: Comparison) -> str:
    """Say in one line what a comparison found, with its numbers."""
    e = c.evidence
    if e is None:
        return f"{c.b} and {c.a} are NOT COMPARABLE: {'; '.join(c.reasons)}"
    sure = f"{_n_text(e)}, p {p_text(e.p_adjusted, '= ')}, about {c.subject}"
    if c.verdict is Verdict.BETTER:
        return f"{c.b} is BETTER than {c.a} by {points_text(e.difference)}, {sure}"
    if c.verdict is Verdict.WORSE:
        return f"{c.b} is WORSE than {c.a} by {points_text(e.difference, sign=-1)}, {sure}"
    if c.verdict is Verdict.EQUIVALENT:
        margin = f"{100 * c.margin:g} points"
        return f"{c.b} is EQUIVALENT to {c.a} within {margin}: {points_text(e.difference)}, {sure}"
    within = -c.margin < e.difference.low and e.difference.high < c.margin
    joint = ""
    if e.wider and within:
        joint = (
            f" ([{100 * e.wider.low:.1f}, {100 * e.wider.high:.1f}] for all comparisons together)"
        )
    return (
        f"UNDERPOWERED: {c.b} less {c.a} is {points_text(e.difference)}{joint}, {sure}; "
        f"{_wanted(c, e)}"
    )


def scaling_sentence(found: Scaling) -> str:
    """Say in one line what success does along an axis."""
    slope = found.slope
    p = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.3f}"
    step = "each doubling" if found.step == "doubling" else "the whole range"
    change = (
        f"{100 * slope.value:+.3g} points [{100 * slope.low:.3g}, {100 * slope.high:.3g}] for "
        f"{step} of {found.axis}, {p}, n = {slope.n}"
    )
    left = f"; {found.left_out} episodes broke somewhere and count nowhere" * bool(found.left_out)
    policies = [name for name in dict.fromkeys(p.policy for p in found.points) if name]
    of = f", over runs of {' and '.join(policies)}" * (len(policies) > 1)
    if found.trend is Trend.NO_EVIDENCE:
        return f"NO EVIDENCE of scaling{of}: {change}{left}"
    return f"success {found.trend} with {found.axis}{of}: {change}{left}"


def stability_sentence(times: Estimate, names: Sequence[str], trainings: Sequence[int]) -> str:
    """Say how many times as stable the first of two methods is, and whether that is shown."""
    shown = "not shown" if times.low <= 1 <= times.high else "shown"
    less = f", {names[1]} is the more stable" if times.high < 1 else ""
    spread = "is" if isfinite(times.value) else "shows no spread, so that it is"
    return (
        f"{names[0]} {spread} {times_text(times)} times as stable as {names[1]}{less}: {shown}, "
        f"with {trainings[0]} and {trainings[1]} trainings (spread of final success between "
        f"trainings, noise of episodes taken out; {times.method})"
    )


def larger_sentence(what: str, times: Estimate, names: Sequence[str]) -> str:
    """Say how many times larger something is in the second of two methods."""
    there = "" if isfinite(times.value) else f"none in {names[0]}, so that it is "
    return f"{what}: {there}{times_text(times)} times larger in {names[1]} than in {names[0]}"


def times_text(times: Estimate) -> str:
    """Write a ratio with its interval, and the interval alone where there is nothing below."""
    low, high = (f"{e:.2g}" if isfinite(e) else "unbounded" for e in (times.low, times.high))
    value = f"{times.value:.3g} " if isfinite(times.value) else ""
    return f"{value}[{low}, {high}]"


def law_sentences(found: Scaling) -> list[str]:
    """Say which law success follows along an axis, and where it bends."""
    law, lines = found.law, []
    if law is not None:
        a, b, c = (f"{e.value:.3g} [{e.low:.2g}, {e.high:.2g}]" for e in (law.a, law.b, law.c))
        of = "" if law.unit == 1 else f", N = {found.axis} / {law.unit:g}"
        lines.append(f"error = {a} N^-b + {c}, b = {b}{of}; {law.a.method}")
        if not law.fits:
            lines.append(
                f"the law does not fit: it is off by up to {100 * law.off:.1f} points, more "
                "than episodes explain"
            )
    elif found.trend is Trend.RISES:
        lines.append(f"no law: {found.no_law}")
    if found.knee is not None:
        lines.append(
            f"bends most at {found.axis} = {found.knee.x:g}, in {found.knee.sure:.0%} of resamples"
        )
    return lines


def points_text(difference: Estimate, *, sign: int = 1) -> str:
    """Write a difference with its interval, in points."""
    low, high = sorted((sign * difference.low, sign * difference.high))
    return f"{100 * sign * difference.value:.1f} points [{100 * low:.1f}, {100 * high:.1f}]"


def rate_text(rate: Estimate) -> str:
    """Write a rate with its interval, in percent."""
    return f"{rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}]"


def p_text(value: float, equals: str = "") -> str:
    """Write a p-value."""
    return "< 0.001" if value < 0.001 else f"{equals}{value:.3f}"


def _n_text(e: Evidence) -> str:
    if e.pairs:
        return f"n = {e.difference.n} pairs"
    if e.checkpoints is None:
        return f"n = {e.rate_a.n} and {e.rate_b.n}, unpaired"
    a, b = e.trainings
    return f"{b} and {a} trainings, n = {e.checkpoints.n} initial states"


def _wanted(c: Comparison, e: Evidence) -> str:
    if c.needed is None and e.trainings != (1, 1):
        return "more trainings would tell more"
    if e.repeated:
        return "more initial states would tell more"
    if c.needed is None:
        return "more of the same would tell little more"
    unit = "pairs" if e.pairs else "episodes of each"
    points = f"{100 * c.needed.effect:.3g} points"
    return f"about {c.needed.episodes} {unit} would tell {points} from 0 with 80 % power"
