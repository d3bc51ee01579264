"""Runs or curves in series: what success does along an axis, line by line of a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from vlabench.errors import SettingError
from vlabench.metrics.counts import OnError
from vlabench.metrics.curves import Curve
from vlabench.metrics.scaling import Scaling, known_costs, scaling_of_curve, scaling_of_runs
from vlabench.record import Run
from vlabench.reports.drawing import COLOURS
from vlabench.reports.model import Figure
from vlabench.table import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_LOGARITHMIC = 4
"""Largest over smallest number from which an axis is logarithmic."""
_COSTS = {"flops": "FLOPs for a decision", "milliseconds": "milliseconds for a decision"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of a picture.

    Attributes:
        label: The settings that all its points share and other series do not; empty for one series.
        scaling: What success does along it.
    """

    label: str
    scaling: Scaling


def series_of_runs(
    runs: Sequence[Run | Results],
    *,
    axis: str | None = None,
    at: Sequence[float] = (),
    on_error: OnError = "raise",
) -> list[Series]:
    """Sort runs by the settings in which they differ: one is the axis, the others make series.

    Runs of several policies, or that differ in no setting, are one line if `at` has a number for
    each of them.

    Args:
        runs: Of one plan.
        axis: Which setting is the axis; the first one whose values are numbers when None. Of runs
            that `at` places one by one, a name for what it counts.
        at: Where the values of the axis are, in the order in which they come; needed where they are
            no numbers, as with checkpoints.
        on_error: What episodes that broke count as.

    Raises:
        SettingError: If there is no such setting, or its values are no numbers and `at` is not
            given or has another length.
        RecordError: As `scaling_of_runs` does.
    """
    settings = [run.header.settings for run in runs]
    names = list(dict.fromkeys(name for each in settings for name in each))
    differing = [name for name in names if len({each.get(name) for each in settings}) > 1]
    values = {name: [each.get(name, "default") for each in settings] for name in differing}
    if at and (not values or len({run.header.policy_id for run in runs}) > 1):
        name = axis or next(iter(values), "place")
        return [Series(label="", scaling=_one_by_one(runs, at, name, on_error))]
    chosen = axis_of(values, axis, at)
    places = places_of(values[chosen], at, chosen)
    groups: dict[str, list[int]] = {}
    for index in range(len(runs)):
        others = [f"{name}={values[name][index]}" for name in differing if name != chosen]
        groups.setdefault(", ".join(others), []).append(index)
    return [
        Series(
            label=label,
            scaling=scaling_of_runs(
                [runs[i] for i in members], [places[i] for i in members], chosen, on_error=on_error
            ),
        )
        for label, members in groups.items()
    ]


def _one_by_one(
    runs: Sequence[Run | Results], at: Sequence[float], axis: str, on_error: OnError
) -> Scaling:
    """Place every run by its own number: settings of another policy, or none, say nothing."""
    if len(at) != len(runs):
        raise SettingError(
            f"--at has {len(at)} numbers for {len(runs)} runs; expected one for each, in order"
        )
    return scaling_of_runs(runs, at, axis, several_policies=True, on_error=on_error)


def series_of_curves(curves: Sequence[Curve]) -> list[Series]:
    """Describe each training curve; see `scaling_of_curve`."""
    return [
        Series(label=curve.name if len(curves) > 1 else "", scaling=scaling_of_curve(curve))
        for curve in curves
    ]


def axis_of(values: Mapping[str, Sequence[str]], axis: str | None, at: Sequence[float]) -> str:
    """Choose the axis among settings, given the values of each.

    Raises:
        SettingError: If there is no such setting, or none has numbers and `at` is not given.
    """
    if not values:
        raise SettingError(
            "the runs have the same settings, so there is nothing to scale along; give runs that "
            "differ in one, as `vlabench sweep` makes them, or say where each is: --at 100,200,400"
        )
    if axis is not None:
        if axis not in values:
            raise SettingError(f"--axis {axis!r}: the runs differ in {', '.join(values)}")
        return axis
    if at:
        return next(iter(values))
    numbers = [name for name, texts in values.items() if None not in map(_number, texts)]
    if not numbers:
        raise SettingError(
            f"no setting in which the runs differ ({', '.join(values)}) has numbers for all of "
            "them; say where its values are, one number each: --at 100,200,400"
        )
    return numbers[0]


def places_of(texts: Sequence[str], at: Sequence[float], axis: str) -> list[float]:
    """Return where each value is: itself, or its number in `at`, by first appearance.

    Raises:
        SettingError: If a value is no number, or `at` has another length.
    """
    distinct = list(dict.fromkeys(texts))
    if at and len(at) != len(distinct):
        raise SettingError(f"--at has {len(at)} numbers for {len(distinct)} values of {axis}")
    found = dict(zip(distinct, at or map(_number, distinct), strict=True))
    for text, place in found.items():
        if place is None:
            raise SettingError(f"{axis}={text!r} is no number; say where it is: --at 100,200,400")
    places = [place for place in found.values() if place is not None]
    if len(set(places)) < len(places):
        raise SettingError(f"two values of {axis} are one number: {', '.join(distinct)}")
    return [place for text in texts if (place := found[text]) is not None]


def title_of(runs: Sequence[Run | Results]) -> str:
    """Return what a picture of runs has to say about them."""
    header = runs[0].header
    policies = dict.fromkeys(
        f"{run.header.policy_id}{' (privileged)' * run.header.privileged}" for run in runs
    )
    return f"{', '.join(policies)} on {header.suite_id} under {header.protocol}"


def scaling_figure(id_: str, series: Sequence[Series], title: str) -> Figure:
    """Draw success against the axis, and against what decisions cost, where that is known.

    Args:
        id_: Of the figure.
        series: One line each.
        title: Of the figure.
    """
    points = [point for each in series for point in each.scaling.points]
    shown = ["x", *(name for name in _COSTS if known_costs(points, name))]

    def draw(canvas: "Canvas") -> None:
        panels = canvas.subplots(1, len(shown), squeeze=False)[0]
        for axes, name in zip(panels, shown, strict=True):
            for number, each in enumerate(series):
                aside = number - (len(series) - 1) / 2  # so that no interval hides another
                colour = COLOURS[number % len(COLOURS)]
                _draw_series(axes, each, name, colour, aside)
                if name == "x":
                    _draw_fits(axes, each.scaling, colour, alone=len(series) == 1)
            axes.set(xlabel=_COSTS.get(name, series[0].scaling.axis), ylim=(-0.02, 1.02))
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("success rate, 95 % interval")
        _label_places(panels[0], series)
        for axes, name in zip(panels[1:], shown[1:], strict=True):
            _label_costs(axes, name)
        panels[0].legend(frameon=False, fontsize=8)
        canvas.suptitle(title, fontsize=10)

    return Figure(
        id=id_,
        title=title,
        caption="Success with 95 % intervals, its monotone fit, and a power law where one fits.",
        draw=draw,
        size=(4.6 * len(shown), 3.6),
    )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _draw_series(axes: "Axes", series: Series, name: str, colour: str, aside: float) -> None:
    import numpy as np

    points = series.scaling.points
    x = np.array([float(getattr(point, name)) for point in points])
    y = np.array([point.success.value for point in points])
    ends = np.array([[p.success.value - p.success.low, p.success.high - p.success.value]
                     for p in points]).T  # fmt: skip
    if x.min() > 0 and x.max() >= _LOGARITHMIC * x.min():
        axes.set_xscale("log", base=2 if name == "x" else 10)
        x = x * 1.02**aside
    else:
        x = x + 0.008 * np.ptp(x) * aside
    label = series.label or "success"
    ends = np.maximum(0, ends)
    axes.errorbar(x, y, ends, fmt="o", color=colour, capsize=3, markersize=4, label=label)


def _draw_fits(axes: "Axes", found: Scaling, colour: str, *, alone: bool) -> None:
    import numpy as np

    x = np.array([point.x for point in found.points])
    monotone = [point.monotone for point in found.points]
    axes.plot(x, monotone, color=colour, alpha=0.4, label="monotone fit" if alone else None)
    if found.law is not None and found.law.fits:
        dense = np.geomspace(x[x > 0].min(), x.max(), 200)
        fit = found.law.success(dense)
        axes.plot(dense, fit, ":", color=colour, label="power law" if alone else None)
    oracle = [point.oracle.value for point in found.points if point.oracle is not None]
    if oracle and alone:
        axes.plot(x, oracle, "--", color="grey", label="oracle among these points")
    best = [point for point in found.points if point.best_of is not None]
    if len(best) > 1 and alone:
        rates = [point.best_of.value for point in best if point.best_of]
        axes.plot([p.x for p in best], rates, "-.", color="grey", label="best of as many episodes")
    if found.knee is not None and alone:
        axes.axvline(found.knee.x, color="grey", alpha=0.4, linewidth=1, label="knee")


def _label_places(axes: "Axes", series: Sequence[Series]) -> None:
    """Write the points themselves on the axis where they are few."""
    places: Any = sorted({point.x for each in series for point in each.scaling.points})
    if len(places) <= 10:
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.minorticks_off()


def _label_costs(axes: "Axes", name: str) -> None:
    """Write few numbers, which keep apart: 2 M FLOPs, not 2 × 10^6."""
    from matplotlib.ticker import EngFormatter, LogLocator, StrMethodFormatter

    if axes.get_xscale() == "log":
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.minorticks_off()
    # No prefix before a unit that has one: half a millisecond is no 500 m of them.
    counts = name == "flops"
    axes.xaxis.set_major_formatter(EngFormatter() if counts else StrMethodFormatter("{x:g}"))
