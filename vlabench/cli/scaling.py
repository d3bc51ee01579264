"""What sweep and scaling print and write: a table, a CSV file, a picture."""

import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlabench.errors import RecordError, SettingError
from vlabench.metrics.counts import OnError
from vlabench.metrics.curves import Curve
from vlabench.metrics.scaling import (
    Point,
    Scaling,
    Trend,
    known_costs,
    scaling_of_curve,
    scaling_of_runs,
)
from vlabench.record import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = (
    "series", "axis", "x", "n", "success", "success_low", "success_high", "monotone",
    "oracle", "oracle_low", "oracle_high", "samples", "flops", "milliseconds", "front",
)  # fmt: skip


_LOGARITHMIC = 4
"""Largest over smallest number from which an axis is logarithmic."""


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
    runs: Sequence[Run],
    *,
    axis: str | None = None,
    at: Sequence[float] = (),
    on_error: OnError = "raise",
) -> list[Series]:
    """Sort runs by the settings in which they differ: one is the axis, the others make series.

    Args:
        runs: Of one plan.
        axis: Which setting is the axis; the first one whose values are numbers when None.
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
            "differ in one, as `vlabench sweep` makes them"
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


def print_scaling(series: Sequence[Series], written: Sequence[Path], *, as_json: bool) -> None:
    """Print what success does, the points behind it, and which files were written."""
    from vlabench.cli.stability import print_json
    from vlabench.cli.tables import console, print_rows

    if as_json:
        rows = [{"series": each.label, **asdict(each.scaling)} for each in series]
        print_json({"series": rows, "files": [str(path) for path in written]})
        return
    out = console()
    for each in series:
        lines = [_sentence(each.scaling), *_law_lines(each.scaling)]
        for line in ([f"{each.label}:"] if each.label else []) + lines:
            out.print(line, soft_wrap=True, markup=False)
        print_rows([_row(each.scaling.axis, point) for point in each.scaling.points])
    if any(point.oracle for each in series for point in each.scaling.points):
        out.print(
            "oracle: an episode counts if it succeeded at this point or before; luck alone makes "
            "it grow. front: no other point succeeds as often for less of this cost",
            soft_wrap=True,
        )
    for path in written:
        out.print(str(path), soft_wrap=True, markup=False)


def title_of(runs: Sequence[Run]) -> str:
    """Return what a picture of runs has to say about them."""
    header = runs[0].header
    privileged = " (privileged)" if header.privileged else ""
    return f"{header.policy_id}{privileged} on {header.suite_id} under {header.protocol}"


def write_scaling(series: Sequence[Series], folder: Path, title: str) -> list[Path]:
    """Write `scaling.csv` and `scaling.png` into a folder and return their paths.

    Without matplotlib the picture is left out, and the user is told.

    Raises:
        RecordError: If a file cannot be written.
    """
    table, picture = folder / "scaling.csv", folder / "scaling.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(
                _csv_row(each, point) for each in series for point in each.scaling.points
            )
        drawn = _draw(series, picture, title)
    except OSError as error:
        raise RecordError(f"cannot write into {folder}: {error.strerror}") from error
    return [table, picture] if drawn else [table]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _sentence(found: Scaling) -> str:
    slope = found.slope
    p = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.3f}"
    step = "each doubling" if found.step == "doubling" else "the whole range"
    change = (
        f"{100 * slope.value:+.3g} points [{100 * slope.low:.3g}, {100 * slope.high:.3g}] for "
        f"{step} of {found.axis}, {p}, n = {slope.n}"
    )
    left = f"; {found.left_out} episodes broke somewhere and count nowhere" * bool(found.left_out)
    if found.trend is Trend.NO_EVIDENCE:
        return f"NO EVIDENCE of scaling: {change}{left}"
    return f"success {found.trend} with {found.axis}: {change}{left}"


def _law_lines(found: Scaling) -> list[str]:
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


def _row(axis: str, point: Point) -> dict[str, object]:
    success, oracle = point.success, point.oracle
    row: dict[str, object] = {
        axis: f"{point.x:g}",
        "n": success.n,
        "success": f"{success.value:.1%}",
        "95 % interval": f"{success.low:.1%} to {success.high:.1%}",
        "monotone": f"{point.monotone:.1%}",
    }
    if oracle is not None:
        row["oracle"] = f"{oracle.value:.1%} [{oracle.low:.1%}, {oracle.high:.1%}]"
        row["samples"] = _amount(point.samples)
        row["FLOPs"] = _amount(point.flops)
        row["ms"] = _amount(point.milliseconds)
        row["front"] = ", ".join(point.front)
    return row


def _amount(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _csv_row(series: Series, point: Point) -> dict[str, object]:
    oracle = point.oracle
    cells = {
        "series": series.label, "axis": series.scaling.axis, "x": point.x, "n": point.success.n,
        "success": point.success.value, "success_low": point.success.low,
        "success_high": point.success.high, "monotone": point.monotone,
        "oracle": oracle and oracle.value, "oracle_low": oracle and oracle.low,
        "oracle_high": oracle and oracle.high, "samples": point.samples, "flops": point.flops,
        "milliseconds": point.milliseconds, "front": " ".join(point.front),
    }  # fmt: skip
    return {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in cells.items()}


def _draw(series: Sequence[Series], path: Path, title: str) -> bool:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print(
            "vlabench: no picture: matplotlib is not installed. Install it with: pip install "
            "'vlabench-harness[demos]'",
            file=sys.stderr,
        )
        return False
    first = series[0].scaling
    costs = {"flops": "FLOPs for a decision", "milliseconds": "milliseconds for a decision"}
    points = [point for each in series for point in each.scaling.points]
    shown = ["x", *(name for name in costs if known_costs(points, name))]
    figure = Figure(figsize=(4.6 * len(shown), 3.6), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, name in zip(panels, shown, strict=True):
        for number, each in enumerate(series):
            aside = number - (len(series) - 1) / 2  # so that no interval hides another
            _draw_series(axes, each, name, f"C{number % 10}", aside)
            if name == "x":
                _draw_fits(axes, each.scaling, f"C{number % 10}", alone=len(series) == 1)
        axes.set(xlabel=costs.get(name, first.axis), ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("success rate, 95 % interval")
    _label_ticks(panels[0], series)
    panels[0].legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=130)
    return True


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
    if found.knee is not None and alone:
        axes.axvline(found.knee.x, color="grey", alpha=0.4, linewidth=1, label="knee")


def _label_ticks(axes: "Axes", series: Sequence[Series]) -> None:
    """Write the points themselves on the axis where they are few."""
    places: Any = sorted({point.x for each in series for point in each.scaling.points})
    if len(places) <= 10:
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.minorticks_off()
