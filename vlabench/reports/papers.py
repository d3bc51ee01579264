"""Tables as papers have them: our measured rows, if any, and apart from them the published ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from vlabench.errors import SettingError
from vlabench.metrics.counts import OnError
from vlabench.metrics.estimate import Estimate
from vlabench.reports import drawing
from vlabench.reports.boards import (
    Board,
    Method,
    average_ranks,
    best_of,
    matching,
    method_cell,
    only,
    rate,
)
from vlabench.reports.model import Cell, Column, Figure, Row, Section, Table, rate_cell
from vlabench.reports.published import (
    Agreement,
    PublishedRow,
    PublishedTable,
    estimate_of,
    replication,
    rows_of,
)

_RATES = "In percent, with 95 % intervals. Published rows without one have an unknown n."
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
        same: Name of a method of ours to the published one that it is; itself where it is not here.
        note: What has to be said about ours.
    """

    published: PublishedTable
    board: Board
    columns: Mapping[str, str]
    methods: Sequence[Method]
    steps: Mapping[str, str] = field(default_factory=dict)
    same: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


def paper_section(paper: Paper, on_error: OnError) -> Section:
    """Return a paper's table, a figure of it, and which published numbers were replicated.

    A figure of ours alone would be the board's again, so there is none where none of ours was
    published.

    Raises:
        SettingError: If a column is not the paper's, no task of ours belongs to it, or a method
            that is said to be a published one is not there.
        PublishedError: If the published one is not there.
    """
    tasks = _tasks(paper)
    known = _counterparts(paper)
    return Section(
        id=f"paper-{paper.published.id}",
        title=paper.published.title,
        text=tuple(_replications(paper, tasks, known, on_error)),
        tables=(_table(paper, tasks, on_error),),
        figures=(_figure(paper, tasks, known, on_error),) if known else (),
    )


def published_section(published: PublishedTable, note: str = "") -> Section:
    """Return a table of published rows alone, which says so, and where they are from."""
    ranked = _ranked(published)
    sources = dict.fromkeys(f"{row.source} ({row.status})" for row in published.rows)
    return Section(
        id=f"paper-{published.id}",
        title=published.title,
        text=("Published rows only: no run of vlabench is held against them.",),
        tables=(
            Table(
                id=published.id,
                title=f"{published.title}: as published",
                columns=_columns("method", published.columns, ranked="as published" * ranked),
                rows=tuple(_published_rows(published, published.columns, ranked=ranked)),
                notes=(
                    _RATES,
                    *((note,) if note else ()),
                    f"Source: {'; '.join(sources)}.",
                    *published.notes,
                ),
            ),
        ),
    )


def _counterparts(paper: Paper) -> dict[str, PublishedRow]:
    """Return the published row of each method of ours that has one, by the method's name."""
    names = [method.name for method in paper.methods]
    for name in paper.same:
        if name not in names:
            raise SettingError(
                f"{paper.published.id}: same names {name!r}, expected a method of this table: "
                f"{', '.join(names)}"
            )
    published = {row.method for row in paper.published.rows}
    pairs = {name: paper.same.get(name, name) for name in names}
    return {
        name: paper.published.row(theirs)
        for name, theirs in pairs.items()
        if name in paper.same or theirs in published
    }


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
    ranked = bool(ranks) or _ranked(paper.published)
    shown = {task for chosen in tasks.values() for task in chosen}
    rows = []
    for place, method in enumerate(paper.methods):
        cell = method_cell(method)
        if method.name in labels:
            cell = Cell(text=labels[method.name], note=f"{method.label}; {cell.note}")
        rates = [
            rate_cell(rate(method, tasks[name], on_error), bold=bold[name][place]) for name in names
        ]
        extra = [_rank_cell(ranks.get(method.name))] if ranked else []
        n = _count_cell(len(only(method.table, shown).outcome))
        rows.append(Row(cells=(cell, *rates, *extra, n), group=f"measured: {paper.board.where}"))
    about = "ours among the measured rows, published ones as their paper has them"
    return Table(
        id=paper.published.id,
        title=f"{paper.published.title}: ours, and as published",
        columns=_columns("step" if paper.steps else "method", names, ranked=about * ranked),
        rows=(*rows, *_published_rows(paper.published, names, ranked=ranked)),
        notes=(
            _RATES,
            "Bold, among the measured: not significantly worse than the best of its column.",
            _SMALL,
            *((paper.note,) if paper.note else ()),
            *paper.published.notes,
        ),
    )


def _columns(first: str, names: Sequence[str], *, ranked: str) -> tuple[Column, ...]:
    """Return a table's columns; `ranked` says what average ranks are of, empty for none."""
    rank = Column(name="average rank", kind="number", about=ranked)
    return (
        Column(name=first),
        *(Column(name=name, kind="rate") for name in names),
        *(rank,) * bool(ranked),
        Column(name="n", kind="number", about="episodes behind the whole row"),
    )


def _ranked(published: PublishedTable) -> bool:
    return any(row.rank is not None for row in published.rows)


def _published_rows(published: PublishedTable, names: Sequence[str], *, ranked: bool) -> list[Row]:
    found = []
    for row in rows_of(published, names):
        theirs = published.row(row.cells[0].text)
        rank = [_rank_cell(theirs.rank)] if ranked else []
        n = _count_cell(max(theirs.n.values(), default=None))
        found.append(Row(cells=(*row.cells, *rank, n), group=row.group))
    return found


def _count_cell(n: int | None) -> Cell:
    return Cell(text="-", note="unknown") if n is None else Cell(text=str(n), value=float(n))


def _rank_cell(rank: float | None) -> Cell:
    return Cell(text="-") if rank is None else Cell(text=f"{rank:.3g}", value=rank)


def _figure(
    paper: Paper,
    tasks: Mapping[str, tuple[str, ...]],
    known: Mapping[str, PublishedRow],
    on_error: OnError,
) -> Figure:
    if paper.steps:
        return _steps_figure(paper, tasks, known, on_error)
    rates: dict[str, dict[str, Estimate | float | None]] = {
        m.label: {name: rate(m, chosen, on_error) for name, chosen in tasks.items()}
        for m in paper.methods
    }
    for row in paper.published.rows:
        if row in known.values():
            rates[f"{row.method}, published ({row.base})"] = {
                name: estimate_of(row, name) or row.numbers[name] / 100 for name in tasks
            }
    found = drawing.success_figure(f"paper-{paper.published.id}", paper.published.title, rates)
    wide = 1.0 + 0.065 * max(map(len, rates))  # inches that the longest name takes
    return replace(found, size=(max(wide, found.size[0]), found.size[1]))


def _steps_figure(
    paper: Paper,
    tasks: Mapping[str, tuple[str, ...]],
    known: Mapping[str, PublishedRow],
    on_error: OnError,
) -> Figure:
    by_name = {method.name: method for method in paper.methods}
    lines: dict[str, list[tuple[float, Estimate | float]]] = {}
    for name, chosen in tasks.items():
        measured = {s: rate(by_name[m], chosen, on_error) for s, m in paper.steps.items()}
        lines[name] = [(float(step), found) for step, found in measured.items() if found]
        # Bare, so that they are drawn apart; the table has the intervals of those with an n.
        lines[name] += [
            (float(step), known[method].numbers[name] / 100)
            for step, method in paper.steps.items()
            if method in known
        ]
    return drawing.lines_figure(
        f"paper-{paper.published.id}",
        paper.published.title,
        "Success of ours on evaluation episodes against the step of the training"
        f"{', and hollow what is published' if known else ''}; {paper.note}",
        "step of the training",
        lines,
    )


def _replications(
    paper: Paper,
    tasks: Mapping[str, tuple[str, ...]],
    known: Mapping[str, PublishedRow],
    on_error: OnError,
) -> list[str]:
    """Say of every measured method that was published, too, whether its numbers are the same."""
    found = []
    for method in paper.methods:
        row = known.get(method.name)
        if row is None:
            continue
        other = f" (published: {row.method})" if method.name != row.method else ""
        header = method.runs[0].header
        claims = {
            "method": row.method,
            "base": header.settings.get("base", header.policy_id),
            "protocol": header.protocol,
        }
        for name, chosen in tasks.items():
            measured = rate(method, chosen, on_error)
            if measured is None:
                continue
            answer = replication(row, name, measured, claims=claims)
            found.append(f"{method.name}{other}, {name}: {answer.verdict}: {answer.sentence}.")
            if answer.verdict is Agreement.NOT_THE_SAME:
                break
    return found
