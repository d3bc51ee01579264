"""The table of what episodes and decisions cost."""

import numpy as np

from vlabench.metrics.estimate import Estimate
from vlabench.metrics.intervals import student_quantile
from vlabench.metrics.variance import Clusters, mean_of_clusters
from vlabench.reports.boards import Board, Method, method_cell
from vlabench.reports.model import Cell, Column, Row, Table, count_cell
from vlabench.table import Floats


def costs_table(board: Board) -> Table | None:
    """Tabulate what an episode and a decision cost; None where no run says."""
    rows = [Row(cells=(method_cell(m), *_costs(m))) for m in board.methods]
    if all(cell.text == "-" for row in rows for cell in row.cells[1:-1]):
        return None
    names = {
        "control steps": "of an episode, mean",
        "seconds": "of an episode, mean: simulating, drawing and deciding; waiting is not counted",
        "decisions": "of an episode, mean",
        "samples": "candidates of a decision, mean",
        "GFLOPs": "of a decision, mean",
        "ms": "of a decision, mean",
    }
    return Table(
        id=f"{board.id}-costs",
        title=f"Cost: {board.where}",
        columns=(
            Column(name="method"),
            *(Column(name=name, kind="number", about=about) for name, about in names.items()),
            Column(name="n", kind="number", about="episodes that ended"),
        ),
        rows=tuple(rows),
        notes=(
            "Means over these tasks, with 95 % intervals, over initial states and draws; one that "
            "rounds to its mean is left out. Seconds are of the machine of each run, which may "
            "have been busy with something else.",
        ),
    )


def _costs(method: Method) -> list[Cell]:
    ended = method.table.rows(method.table.outcome >= 0)
    if not len(ended.outcome):
        return [*[Cell(text="-")] * 6, count_cell(0)]
    unknown = set(method.runs[0].header.unknown)
    clusters = Clusters.of(ended.task, ended.state)
    episodes, decisions = np.ones(len(ended.outcome)), ended.decisions.astype(np.float64)
    costs = (
        ("steps", ended.steps.astype(np.float64), episodes, 1),
        ("seconds", ended.seconds, episodes, 2),
        ("decisions", decisions, episodes, 1),
        ("samples", ended.samples.astype(np.float64), decisions, 1),
        ("flops", ended.flops / 1e9, decisions, 3),
        ("seconds", 1000 * ended.policy, decisions, 2),
    )
    return [
        *(
            Cell(text="-") if name in unknown else _cost_cell(_mean(clusters, cost, per), digits)
            for name, cost, per, digits in costs
        ),
        count_cell(len(ended.outcome)),
    ]


def _mean(clusters: Clusters, cost: Floats, per: Floats) -> Estimate | None:
    """Return a cost per episode or decision on these tasks; None where nobody knows.

    The interval is Student's for a ratio of two means, each over tasks as rates are (Cochran 1977,
    Sampling Techniques, chapter 6). One initial state has none: its ends are not numbers.
    """
    if not per.sum() or not np.isfinite(cost).all():
        return None
    whole = mean_of_clusters(per, clusters).value
    value = mean_of_clusters(cost, clusters).value / whole
    rest = mean_of_clusters((cost - value * per) / whole, clusters)
    known = rest.units > 1
    half = student_quantile(rest.units - 1, 0.95) * rest.variance**0.5 if known else np.nan
    return Estimate(
        value=value,
        low=value - half,
        high=value + half,
        n=len(cost),
        method="Student 95%",
        question="mean on these tasks, over initial states and policy draws like these",
    )


def _cost_cell(mean: Estimate | None, digits: int) -> Cell:
    if mean is None:
        return Cell(text="-")
    text, low, high = (f"{each:.{digits}f}" for each in (mean.value, mean.low, mean.high))
    known = np.isfinite(mean.low)
    how = mean.method if known else "one initial state has no interval"
    return Cell(
        text=text,
        value=mean.value,
        interval=f"{low} to {high}" if known and not low == text == high else "",
        note=f"n = {mean.n}; {mean.question}; {how}",
    )
