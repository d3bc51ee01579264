"""Tables as papers have them: our measured rows, and apart from them the published ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vlabench.errors import SettingError
from vlabench.metrics.counts import OnError
from vlabench.metrics.estimate import Estimate
from vlabench.reports import drawing
from vlabench.reports.boards import Board, Method, average_ranks, best_of, matching, only, rate
from vlabench.reports.building import method_cell
from vlabench.reports.model import Cell, Column, Figure, Row, Section, Table, rate_cell
from vlabench.reports.published import Agreement, PublishedTable, estimate_of, replication, rows_of

_SMALL = "Measured rows are of small models, published ones of the models that their notes name."


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A paper's table, and what of ours goes into it.

    Attributes:
        published: The literature's rows.
        board: Where ours were measured.
        columns: The published table's columns to our tasks: globs over task ids, by commas.
        methods: Ours, in order.
        steps: Where ours are one training at several steps: what the table's first column has, to
            the method's name.
        note: What has to be said about ours.
    """

    published: PublishedTable
    board: Board
    columns: Mapping[str, str]
    methods: Sequence[Method]
    steps: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


def paper_section(paper: Paper, on_error: OnError) -> Section:
    """Return a paper's table, a figure of it, and which published numbers were replicated.

    Raises:
        SettingError: If a column is not the paper's, or no task of ours belongs to it.
    """
    tasks = _tasks(paper)
    table = _table(paper, tasks, on_error)
    return Section(
        id=f"paper-{paper.published.id}",
        title=paper.published.title,
        text=tuple(_replications(paper, tasks, on_error)),
        tables=(table,),
        figures=(_figure(paper, tasks, on_error),),
    )


def _tasks(paper: Paper) -> dict[str, tuple[str, ...]]:
    found = {}
    for column, globs in paper.columns.items():
        if column not in paper.published.columns:
            raise SettingError(
                f"{paper.published.id} has no column {column!r}; it has "
                f"{', '.join(paper.published.columns)}"
            )
        chosen = matching(paper.board.tasks, globs)
        if not chosen:
            raise SettingError(
                f"{paper.published.id}: no task of {paper.board.where} matches {globs!r}, which "
                f"column {column!r} is to be of"
            )
        found[column] = chosen
    return found


def _table(paper: Paper, tasks: Mapping[str, tuple[str, ...]], on_error: OnError) -> Table:
    names = list(tasks)
    bold = {name: best_of(paper.methods, tasks[name], on_error) for name in names}
    labels = {method: step for step, method in paper.steps.items()}
    everything = set(paper.board.tasks)
    single = [chosen for chosen in tasks.values() if set(chosen) != everything]
    ranks = {} if paper.steps else average_ranks(paper.methods, single, on_error)
    shown = {task for chosen in tasks.values() for task in chosen}
    rows = []
    for place, method in enumerate(paper.methods):
        cell = method_cell(method)
        if method.name in labels:
            cell = Cell(text=labels[method.name], note=f"{method.label}; {cell.note}")
        rates = [
            rate_cell(rate(method, tasks[name], on_error), bold=bold[name][place]) for name in names
        ]
        extra = [_rank_cell(ranks.get(method.name))] if ranks else []
        n = _count_cell(len(only(method.table, shown).outcome))
        rows.append(Row(cells=(cell, *rates, *extra, n), group=f"measured: {paper.board.where}"))
    blank = (Cell(text="-"),) * bool(ranks)
    published = [
        Row(cells=(*row.cells, *blank, _published_n(paper, row.cells[0].text)), group=row.group)
        for row in rows_of(paper.published, names)
    ]
    return Table(
        id=paper.published.id,
        title=f"{paper.published.title}: ours, and as published",
        columns=(
            Column(name="method" if not paper.steps else "step"),
            *(Column(name=name, kind="rate") for name in names),
            *((Column(name="average rank", kind="number", about="of the measured rows"),)
              if ranks else ()),
            Column(name="n", kind="number", about="episodes behind the whole row"),
        ),
        rows=(*rows, *published),
        notes=(
            "In percent, with 95 % intervals. Published rows without one have an unknown n.",
            "Bold, among the measured: not significantly worse than the best of its column.",
            _SMALL,
            *((paper.note,) if paper.note else ()),
            *paper.published.notes,
        ),
    )  # fmt: skip


def _count_cell(n: int | None) -> Cell:
    return Cell(text="-", note="unknown") if n is None else Cell(text=str(n), value=float(n))


def _published_n(paper: Paper, method: str) -> Cell:
    return _count_cell(max(paper.published.row(method).n.values(), default=None))


def _rank_cell(rank: float | None) -> Cell:
    return Cell(text="-") if rank is None else Cell(text=f"{rank:.3g}", value=rank)


def _figure(paper: Paper, tasks: Mapping[str, tuple[str, ...]], on_error: OnError) -> Figure:
    id_ = f"paper-{paper.published.id}"
    if paper.steps:
        return _steps_figure(id_, paper, tasks, on_error)
    rates: dict[str, dict[str, Estimate | float | None]] = {
        m.label: {name: rate(m, chosen, on_error) for name, chosen in tasks.items()}
        for m in paper.methods
    }
    for row in paper.published.rows:
        if row.method in {method.name for method in paper.methods}:
            rates[f"{row.method}, published ({row.base})"] = {
                name: estimate_of(row, name) or row.numbers[name] / 100 for name in tasks
            }
    return drawing.success_figure(id_, paper.published.title, rates)


def _steps_figure(
    id_: str, paper: Paper, tasks: Mapping[str, tuple[str, ...]], on_error: OnError
) -> Figure:
    by_name = {method.name: method for method in paper.methods}
    lines: dict[str, list[tuple[float, Estimate | float]]] = {
        name: [
            (float(step), found)
            for step, method in paper.steps.items()
            if (found := rate(by_name[method], chosen, on_error))
        ]
        for name, chosen in tasks.items()
    }
    return drawing.lines_figure(
        id_,
        paper.published.title,
        f"Success of ours on evaluation episodes against the step of the training; {paper.note}",
        "step of the training",
        lines,
    )


def _replications(
    paper: Paper, tasks: Mapping[str, tuple[str, ...]], on_error: OnError
) -> list[str]:
    """Say of every measured method that was published, too, whether its numbers are the same."""
    found = []
    published = {row.method: row for row in paper.published.rows}
    for method in paper.methods:
        row = published.get(method.name)
        if row is None:
            continue
        header = method.runs[0].header
        claims = {
            "method": method.name,
            "base": header.settings.get("base", header.policy_id),
            "protocol": header.protocol,
        }
        for name, chosen in tasks.items():
            measured = rate(method, chosen, on_error)
            if measured is None:
                continue
            answer = replication(row, name, measured, claims=claims)
            found.append(f"{method.name}, {name}: {answer.verdict}: {answer.sentence}.")
            if answer.verdict is Agreement.NOT_THE_SAME:
                break
    return found
