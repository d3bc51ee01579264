"""Trainings: how success went, and how steady those of each method are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite

from vlabench.metrics.curves import (
    Curve,
    CurveFacts,
    CurveStability,
    curve_ratios,
    stability_of_curves,
)
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.scaling import scaling_of_curve
from vlabench.metrics.wording import scaling_sentence, stability_sentence
from vlabench.reports import drawing
from vlabench.reports.boards import slug
from vlabench.reports.model import Cell, Column, Row, Section, Table, number_cell, rate_cell

_EPISODES = "Success in percent, in training episodes that no evaluation shares."


def training_section(name: str, curves: Mapping[str, Sequence[Curve]]) -> Section:
    """Return what trainings showed that learnt one thing.

    Args:
        name: Of what was learnt.
        curves: A method to its trainings, the reference first.

    Raises:
        RecordError: If the curves of one method count other steps, or do not end at the same one.
    """
    id_ = f"trainings-{slug(name)}"
    found = {method: stability_of_curves(each) for method, each in curves.items()}
    several = {method: each for method, each in curves.items() if len(each) > 1}
    ratios = _ratios(several)
    return Section(
        id=id_,
        title=f"Trainings: {name}",
        text=(*_steadier(several, ratios), *_risen(curves)),
        tables=(
            _curves_table(id_, found),
            *([_methods_table(id_, found, ratios)] * bool(several)),
        ),
        figures=(drawing.curves_figure(id_, curves),),
    )


def _ratios(several: Mapping[str, Sequence[Curve]]) -> dict[str, dict[str, Estimate]]:
    """Return how many times as stable the first method is as each of the others."""
    first, *others = several or [""]
    return {other: curve_ratios(several[first], several[other]) for other in others}


def _steadier(
    several: Mapping[str, Sequence[Curve]], ratios: Mapping[str, Mapping[str, Estimate]]
) -> list[str]:
    first = next(iter(several), "")
    return [
        stability_sentence(
            ratio["final_deviation"], (first, other), (len(several[first]), len(several[other]))
        )
        + "."
        for other, ratio in ratios.items()
    ]


def _risen(curves: Mapping[str, Sequence[Curve]]) -> list[str]:
    return [
        f"{method}: {curve.name}: {scaling_sentence(scaling_of_curve(curve))}."
        for method, each in curves.items()
        for curve in each
    ]


def _curves_table(id_: str, found: Mapping[str, CurveStability]) -> Table:
    return Table(
        id=id_,
        title="Trainings",
        columns=(
            Column(name="training"),
            Column(name="final", kind="rate", about="success at the last step"),
            Column(name="mean", kind="rate", about="success over the whole training"),
            Column(name="worst fall", kind="points", about="from the best rate so far"),
            Column(name="by luck up to", kind="points",
                   about="what a training that never gets worse shows in 19 of 20 cases"),
            Column(name="under the start", kind="number", about="steps below the first rate"),
        ),
        rows=tuple(
            Row(cells=_facts(method, fact), group=method)
            for method, each in found.items()
            for fact in each.curves
        ),
        notes=(
            f"{_EPISODES[:-1]}, with 95 % intervals over episodes like these. A worst fall is the "
            "largest of many differences and has none; luck alone makes one as large as the next "
            "column.",
        ),
    )  # fmt: skip


def _facts(method: str, fact: CurveFacts) -> tuple[Cell, ...]:
    under = number_cell(fact.under)
    return (
        Cell(text=f"{method}: {fact.name}"),
        rate_cell(fact.final_rate),
        rate_cell(fact.mean_rate),
        _percent(fact.fall),
        _percent(fact.fall_by_luck),
        replace(under, note=f"by luck up to {number_cell(fact.under_by_luck).text}"),
    )


def _methods_table(
    id_: str,
    found: Mapping[str, CurveStability],
    ratios: Mapping[str, Mapping[str, Estimate]],
) -> Table:
    shown = {
        "final_deviation": ("spread of final", "standard deviation between trainings, points"),
        "mean_deviation": ("spread of mean", "the same of success over the whole training"),
        "fall": ("worst fall", "mean over trainings, points"),
    }
    first = next((method for method in found if found[method].final), "")
    columns = [Column(name="method"), Column(name="trainings", kind="number")]
    columns += [Column(name="final", kind="rate", about="success at the last step")]
    for name, about in shown.values():
        columns += [Column(name=name, kind="points", about=about)]
        columns += [Column(name=f"{name}, times", kind="number", about=f"as large as {first}'s")]
    rows = []
    for method, each in found.items():
        cells = [Cell(text=method), number_cell(len(each.curves)), rate_cell(each.final)]
        for quantity in shown:
            cells += [rate_cell(getattr(each, quantity))]
            cells += [_times(ratios.get(method, {}).get(quantity))]
        rows.append(Row(cells=tuple(cells)))
    return Table(
        id=f"{id_}-stability",
        title="How steady trainings are",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=(
            "In points, with 95 % intervals over trainings like these; the noise of episodes is "
            "taken out of spreads.",
            f"Times: as large as that of {first}; above 1, {first} is the steadier.",
        ),
    )


def _times(ratio: Estimate | None) -> Cell:
    if ratio is None:
        return Cell(text="-")
    text, low, high = (
        f"{number:.{digits}g}" if isfinite(number) else "unbounded"
        for number, digits in ((ratio.value, 3), (ratio.low, 2), (ratio.high, 2))
    )
    return Cell(
        text=text,
        value=ratio.value if isfinite(ratio.value) else None,
        interval=f"{low} to {high}",
        note=f"n = {ratio.n}; {ratio.question}; {ratio.method}",
    )


def _percent(value: float | None) -> Cell:
    return Cell(text="-") if value is None else Cell(text=f"{100 * value:.1f}", value=value)
