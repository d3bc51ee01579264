"""Sweeps: what success does along a setting, and what it costs."""

from collections.abc import Sequence

from vlabench.metrics.counts import OnError
from vlabench.metrics.scaling import Point
from vlabench.metrics.wording import law_sentences, scaling_sentence
from vlabench.reports.boards import INTERVALS, slug
from vlabench.reports.model import Cell, Column, Row, Section, Table, number_cell, rate_cell
from vlabench.reports.series import scaling_figure, series_of_runs, title_of
from vlabench.table import Results


def sweep_section(name: str, runs: Sequence[Results], on_error: OnError) -> Section:
    """Say what success does along the setting in which runs differ.

    Args:
        name: Of the sweep, for people.
        runs: One for each point of the grid.
        on_error: What episodes that broke count as.
    """
    series = series_of_runs(runs, on_error=on_error)
    text = [
        f"{each.label}: {line}." if each.label else f"{line[0].upper()}{line[1:]}."
        for each in series
        for line in (scaling_sentence(each.scaling), *law_sentences(each.scaling))
    ]
    axis = series[0].scaling.axis
    costs = [cost for cost in ("samples", "GFLOPs", "ms") if cost != axis]
    best = any(point.best_of for each in series for point in each.scaling.points)
    rows = [
        Row(cells=(number_cell(point.x), *_point_cells(point, costs, best=best)), group=each.label)
        for each in series
        for point in each.scaling.points
    ]
    table = Table(
        id=f"sweep-{slug(name)}",
        title=f"{name}: {title_of(runs)}",
        columns=(
            Column(name=axis, kind="number"),
            Column(name="success", kind="rate"),
            Column(name="oracle", kind="rate",
                   about="an episode counts if it succeeded here or at an earlier point"),
            *((Column(name="best of as many", kind="rate", about=_BEST),) if best else ()),
            *(Column(name=cost, kind="number", about="of a decision") for cost in costs),
            Column(name="on the front of", about="costs for which no other point does as well"),
        ),
        rows=tuple(rows),
        notes=(INTERVALS, "Luck alone makes the oracle grow."),
    )  # fmt: skip
    figure = scaling_figure(table.id, series, table.title)
    return Section(id=table.id, title=name, text=tuple(text), tables=(table,), figures=(figure,))


_BEST = (
    "a perfect choice among as many whole episodes of the first point as a decision here has times "
    "its candidates"
)


def _point_cells(point: Point, costs: Sequence[str], *, best: bool) -> tuple[Cell, ...]:
    known = {
        "samples": point.samples,
        "GFLOPs": None if point.flops is None else point.flops / 1e9,
        "ms": point.milliseconds,
    }
    return (
        rate_cell(point.success),
        rate_cell(point.oracle),
        *((rate_cell(point.best_of),) if best else ()),
        *(number_cell(known[cost]) for cost in costs),
        Cell(text=", ".join(point.front)),
    )
