"""The figures of a report. Colours are Okabe's and Ito's, which colour-blind readers tell apart."""

from collections.abc import Collection, Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

from vlabench.metrics.curves import Curve
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.stability import Stability
from vlabench.reports.model import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C7A00", "#555555")
_MARKERS = "osD^vPX*"

Rates = Mapping[str, Estimate | float | None]


def success_figure(id_: str, where: str, rates: Mapping[str, Rates]) -> Figure:
    """Draw each method's success by group of tasks, with intervals.

    One group has room for the methods' names beside their rates; several share a legend.

    Args:
        id_: Of the figure.
        where: Suite and protocol.
        rates: Method to group of tasks to rate; a bare one has an unknown n and is hollow.
    """
    groups = list(next(iter(rates.values())))
    if len(groups) == 1:
        return _ladder(id_, where, groups[0], {m: each[groups[0]] for m, each in rates.items()})

    def draw(canvas: "Canvas") -> None:
        axes = canvas.subplots()
        for number, (method, each) in enumerate(rates.items()):
            aside = 0.7 * ((number + 0.5) / len(rates) - 0.5)
            found = [(i + aside, each[name]) for i, name in enumerate(groups)]
            _dots(axes, [(x, e) for x, e in found if e is not None], number, method)
        heads = [_plain(_head(name)) for name in groups]
        axes.set_xticks(range(len(groups)), heads)
        axes.set_xlim(-0.6, len(groups) - 0.4)
        _percent_axis(axes)
        axes.grid(axis="y", alpha=0.3)
        _legend_above(axes, rates)

    return Figure(
        id=id_,
        title=f"Success: {where}",
        caption="Success in percent with 95 % intervals for these tasks, by group of tasks.",
        draw=draw,
        size=(max(4.0, 1.3 * len(groups) + 1.2), 3.6),
    )


def _ladder(id_: str, where: str, group: str, rates: Rates) -> Figure:
    """Draw methods one below the other, in their order."""
    names = [fill(_plain(name), 60) for name in rates]

    def draw(canvas: "Canvas") -> None:
        axes = canvas.subplots()
        for number, (method, rate) in enumerate(rates.items()):
            _dots(axes, [(number, rate)] if rate is not None else [], number, method, across=True)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(-3, 103)
        axes.set_xlabel(f"success, %: {_plain(group)}")
        axes.grid(axis="x", alpha=0.3)

    lines = sum(name.count("\n") + 1.8 for name in names)
    longest = max(len(line) for name in names for line in name.split("\n"))
    return Figure(
        id=id_,
        title=f"Success: {where}",
        caption="Success in percent with 95 % intervals for these tasks.",
        draw=draw,
        size=(3.2 + 0.065 * longest, 0.7 + 0.13 * lines),
    )


def heat_figure(
    id_: str, where: str, tasks: Sequence[str], rates: Mapping[str, Sequence[Estimate | None]]
) -> Figure:
    """Draw success by task (down) and method (across) as a heat map, every number in it.

    Args:
        id_: Of the figure.
        where: Suite and protocol.
        tasks: From top to bottom.
        rates: Method to its rate in each task.
    """
    heads = [fill(_plain(name), 16) for name in rates]
    lines = max(head.count("\n") + 1 for head in heads)

    def draw(canvas: "Canvas") -> None:
        import numpy as np

        axes = canvas.subplots()
        values = np.array(
            [[e.value if e else np.nan for e in each] for each in rates.values()], dtype=float
        ).T
        axes.imshow(100 * values, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            text = "-" if np.isnan(value) else f"{100 * value:.0f}"
            colour = "white" if value > 0.6 else "#111111"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
        axes.set_xticks(range(len(rates)), heads, fontsize=8)
        axes.xaxis.tick_top()
        axes.set_yticks(range(len(tasks)), map(_plain, tasks), fontsize=7)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)

    return Figure(
        id=id_,
        title=f"Success by task: {where}",
        caption="Success in percent in every task; the darker, the more often.",
        draw=draw,
        size=(
            0.6 + 1.15 * len(rates) + 0.065 * max(map(len, tasks)),
            0.4 + 0.19 * len(tasks) + 0.16 * lines,
        ),
    )


def components_figure(id_: str, where: str, found: Mapping[str, Stability]) -> Figure:
    """Draw the standard deviation of success between what varies, method by method."""
    names = list(dict.fromkeys(c.name for each in found.values() for c in each.components))

    def draw(canvas: "Canvas") -> None:
        axes = canvas.subplots()
        for number, (method, each) in enumerate(found.items()):
            known = {c.name: c.deviation for c in each.components if c.deviation}
            aside = 0.7 * ((number + 0.5) / len(found) - 0.5)
            at = [i + aside for i, name in enumerate(names) if name in known]
            shown = [e for name in names if (e := known.get(name))]
            _bars(axes, at, shown, 0.6 / len(found), number, method)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlabel("standard deviation of success, points")
        axes.set_xlim(left=0)
        axes.grid(axis="x", alpha=0.3)
        _legend_above(axes, found)

    return Figure(
        id=id_,
        title=f"Where variance comes from: {where}",
        caption=(
            "Standard deviation of success between trainings, tasks, initial states and draws, in "
            "points, with 95 % intervals; what the runs cannot tell apart is left out."
        ),
        draw=draw,
        size=(6.4, 1.2 + 0.5 * len(names)),
    )


def curves_figure(id_: str, curves: Mapping[str, Sequence[Curve]]) -> Figure:
    """Draw success over trainings: a line a training, a colour a method."""
    unit = next(iter(curves.values()))[0].unit

    def draw(canvas: "Canvas") -> None:
        axes = canvas.subplots()
        for number, (method, each) in enumerate(curves.items()):
            colour, marker = _look(number)
            for place, curve in enumerate(each):
                axes.plot(
                    curve.steps,
                    [100 * s for s in curve.success],
                    color=colour,
                    marker=marker,
                    markersize=3,
                    linewidth=1.2,
                    alpha=0.9,
                    label=_plain(method) if place == 0 else None,
                )
        _percent_axis(axes)
        axes.set_xlabel(unit)
        axes.grid(alpha=0.3)
        _legend_above(axes, curves)

    return Figure(
        id=id_,
        title="Success over trainings",
        caption="Success in training episodes that no evaluation shares; one line a training.",
        draw=draw,
    )


def lines_figure(
    id_: str,
    title: str,
    caption: str,
    x_label: str,
    lines: Mapping[str, Sequence[tuple[float, Estimate | float]]],
) -> Figure:
    """Draw success against something: measured points with intervals, published ones hollow.

    Args:
        id_: Of the figure.
        title: Of the figure.
        caption: Of the figure.
        x_label: What success is drawn against.
        lines: Name to places and rates; a bare rate is one whose n is unknown.
    """

    def draw(canvas: "Canvas") -> None:
        axes = canvas.subplots()
        for number, (name, points) in enumerate(lines.items()):
            _dots(axes, points, number, name, line=True)
        _percent_axis(axes)
        axes.set_xlabel(x_label)
        axes.grid(alpha=0.3)
        _legend_above(axes, lines)

    return Figure(id=id_, title=title, caption=caption, draw=draw)


def _dots(
    axes: "Axes",
    points: Sequence[tuple[float, Estimate | float]],
    number: int,
    label: str,
    *,
    line: bool = False,
    across: bool = False,
) -> None:
    """Draw rates: with their intervals, or hollow where n is unknown; up, or across the page."""
    colour, marker = _look(number)
    known = [(x, e) for x, e in points if isinstance(e, Estimate)]
    bare = [(x, e) for x, e in points if not isinstance(e, Estimate)]
    places, rates = [x for x, _ in known], [100 * e.value for _, e in known]
    if known:
        arms: dict[str, Any] = {"xerr" if across else "yerr": _arms([e for _, e in known])}
        axes.errorbar(
            *((rates, places) if across else (places, rates)),
            **arms,
            fmt=marker + "-" * line,
            color=colour,
            markersize=5,
            capsize=2.5,
            linewidth=1.2,
            label=_plain(label),
        )
    if bare:
        places, rates = [x for x, _ in bare], [100 * e for _, e in bare]
        axes.plot(
            *((rates, places) if across else (places, rates)),
            color=colour,
            marker=marker,
            markerfacecolor="none",
            linestyle="--" if line else "none",
            linewidth=1,
            label=None if known else _plain(label),
        )


def _arms(found: Sequence[Estimate]) -> list[list[float]]:
    """Return how far intervals reach below and above, in percent."""
    ends = [[e.value - e.low for e in found], [e.high - e.value for e in found]]
    return [[100 * max(0.0, end) for end in side] for side in ends]


def _bars(
    axes: "Axes",
    at: Sequence[float],
    found: Sequence[Estimate],
    wide: float,
    number: int,
    label: str,
) -> None:
    axes.barh(
        at,
        [100 * e.value for e in found],
        height=wide,
        xerr=_arms(found),
        color=COLOURS[number % len(COLOURS)],
        error_kw={"linewidth": 1, "capsize": 2},
        label=_plain(label),
    )


def _look(number: int) -> tuple[str, str]:
    """Return a method's colour and marker: where colours begin again, each has another marker."""
    again, place = divmod(number, len(COLOURS))
    return COLOURS[place], _MARKERS[(place + again) % len(_MARKERS)]


def _head(group: str) -> str:
    """Return a group's name in lines: those that ingested runs say are `column: value`."""
    column, colon, value = group.partition(": ")
    return f"{column}:\n{fill(value, 16)}" if colon else group.replace("-", "-\n", 1)


def _plain(name: str) -> str:
    """Return a name that matplotlib does not take for a formula."""
    return name.replace("$", r"\$")


def _percent_axis(axes: Any) -> None:
    axes.set_ylim(-3, 103)
    axes.set_ylabel("success, %")


def _legend_above(axes: "Axes", names: Collection[str]) -> None:
    """Put names over the axes, where they hide no number, as many in a line as have room."""
    room = 0.18 * axes.get_window_extent().width
    axes.legend(
        frameon=False,
        fontsize=8,
        ncols=max(1, min(len(names), int(room / (6 + max(map(len, names)))))),
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        borderaxespad=0.2,
    )
