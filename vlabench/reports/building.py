"""The report of some runs: what was found first, then the tables and figures it rests on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vlabench.errors import RecordError
from vlabench.metrics.comparison import Comparison, Effect, Pairs, Rules, Verdict
from vlabench.metrics.counts import OnError
from vlabench.metrics.curves import Curve
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.paired import compare_all, group_letters
from vlabench.metrics.rates import progress_of
from vlabench.metrics.stability import Stability, stability_of_runs
from vlabench.metrics.wording import p_text, sentence
from vlabench.reports import drawing
from vlabench.reports.boards import (
    INTERVALS,
    Board,
    Globs,
    Method,
    average_ranks,
    best_of,
    make_boards,
    method_cell,
    rate,
    rates_by_task,
    slug,
)
from vlabench.reports.costs import costs_table
from vlabench.reports.episodes import MOST, discordant_episodes
from vlabench.reports.model import (
    Cell,
    Column,
    Discordant,
    Figure,
    Finding,
    Report,
    Row,
    Section,
    Table,
    count_cell,
    number_cell,
    points_cell,
    rate_cell,
    told_apart,
)
from vlabench.reports.sweeps import sweep_section
from vlabench.reports.trainings import training_section
from vlabench.table import FEW_TASKS, Results, unfinished
from vlabench.table import Table as EpisodeTable

_Rates = Sequence[Estimate | None]
"""Of each task of a board."""
_BOLD = (
    "Bold: not significantly worse than the best of its column (p >= 0.05 after Holm, on the same "
    "episodes where plans are equal)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a report is to be of.

    Attributes:
        title: Its title.
        runs: Name of a method to its runs, the reference first; see `boards.make_boards`.
        groups: Of tasks, over all boards; see there.
        trainings: Name of what is learnt to the methods that learn it, the reference first, and
            the curves of each one's trainings.
        sweeps: Name of a sweep to its runs, which differ in their settings.
        rules: How runs are compared.
        aside: Names of methods that are no contenders; see `boards.Method`.
        papers_only: Names of methods that papers' tables show and the report's own do not.
        all_tasks: Whether tasks are listed where there are more than `FEW_TASKS`, too.
    """

    title: str
    runs: Mapping[str, Sequence[Results]] = field(default_factory=dict)
    groups: Globs | None = None
    trainings: Mapping[str, Mapping[str, Sequence[Curve]]] = field(default_factory=dict)
    sweeps: Mapping[str, Sequence[Results]] = field(default_factory=dict)
    rules: Rules = field(default_factory=Rules)
    aside: Collection[str] = ()
    papers_only: Collection[str] = ()
    all_tasks: bool = False


def build_report(request: Request, papers: Sequence[Section] = ()) -> Report:
    """Say what runs show.

    Args:
        request: Of what.
        papers: Paper-style sections, which come first.

    Raises:
        RecordError: If there is nothing to report, or the runs of a method do not belong together.
    """
    shown = {name: runs for name, runs in request.runs.items() if name not in request.papers_only}
    boards = make_boards(shown, request.groups, request.aside)
    if request.rules.on_error == "raise":
        _refuse_errors(boards)
    on_error = request.rules.on_error
    found = [(board, comparisons(board, request.rules)) for board in boards]
    sections = [_board_section(board, cs, request) for board, cs in found]
    return Report(
        title=request.title,
        findings=tuple(f for board, cs in found for f in _findings(board, cs)),
        sections=told_apart(
            (
                *papers,
                *sections,
                *(sweep_section(name, runs, on_error) for name, runs in request.sweeps.items()),
                *(training_section(name, curves) for name, curves in request.trainings.items()),
            )
        ),
        discordant=tuple(d for board, cs in found for d in _discordant(board, cs)),
        sources=_sources([*request.runs.values(), *request.sweeps.values()]),
    )


def _sources(groups: Sequence[Sequence[Results]]) -> dict[str, str]:
    return dict(sorted((source_name(run), run.sha256) for runs in groups for run in runs))


def source_name(run: Results) -> str:
    """Return what a results file is called in a report, which does not say where it was written."""
    path = run.path or Path("(memory)")
    return path.name if path.is_absolute() else path.as_posix()


def comparisons(board: Board, rules: Rules) -> list[Comparison]:
    """Hold every contender against each one before it."""
    contenders = [method for method in board.methods if not method.aside]
    if len(contenders) < 2:
        return []
    return compare_all(
        [m.runs for m in contenders],
        names=[m.name for m in contenders],
        rules=replace(rules, groups=board.groups),
    )


def _findings(board: Board, found: Sequence[Comparison]) -> list[Finding]:
    """Return the verdicts on the reference: every other pair is in the table of pairs."""
    return [
        Finding(
            verdict=str(c.verdict),
            sentence=sentence(c),
            reasons=(*c.reasons, *c.notes) if c.verdict is not Verdict.NOT_COMPARABLE else c.notes,
            where=board.where,
            comparison=c,
        )
        for c in found
        if c.a == found[0].a
    ]


def _discordant(board: Board, found: Sequence[Comparison]) -> list[Discordant]:
    by_name = {method.name: method for method in board.methods}
    return [
        episode
        for c in found
        if c.a == found[0].a and c.evidence and c.evidence.pairs
        for episode in discordant_episodes(board.where, by_name[c.a], by_name[c.b])
    ]


def _left_out(found: Sequence[Comparison]) -> list[str]:
    """Say how many discordant episodes the report does not show."""
    pairs = [c.evidence.pairs for c in found if c.a == found[0].a and c.evidence]
    counts = [p.only_a + p.only_b for p in pairs if p]
    return [
        f"Of {count} episodes that one run solved alone, {MOST} are shown, spread over all"
        for count in counts
        if count > MOST
    ]


def _board_section(board: Board, found: Sequence[Comparison], request: Request) -> Section:
    on_error = request.rules.on_error
    by_task = [rates_by_task(method, board.tasks, on_error) for method in board.methods]
    tables = [success_table(board, found, on_error)]
    if found:
        tables.append(_pairs_table(board, found))
    tables.append(_tasks_table(board, by_task, listed=request.all_tasks))
    if costs := costs_table(board):
        tables.append(costs)
    stability = {m.name: s for m in board.methods if (s := _stability(m, on_error))}
    tables += [_components_table(board, name, each) for name, each in stability.items()]
    return Section(
        id=board.id,
        title=board.where,
        text=tuple(f"{line}." for line in (*_remarks(board), *_left_out(found))),
        tables=tuple(tables),
        figures=tuple(_figures(board, by_task, stability, on_error)),
    )


def _remarks(board: Board) -> list[str]:
    """Say what a reader of every number below must know."""
    found = []
    for method in board.methods:
        for run in method.runs:
            header = run.header
            name = method.name if len(method.runs) == 1 else f"{method.name} ({source_name(run)})"
            found += [f"{name} was not made under {header.protocol}: {m}"
                      for m in header.fingerprint.mismatches]  # fmt: skip
            if run.table.errors:
                found.append(f"{name}: {_broken(run.table)}")
            if short := unfinished(run):
                found.append(f"{name} {short}")
            if header.provenance.dirty:
                found.append(f"{name} was made by uncommitted code")
    return found


def _broken(table: EpisodeTable) -> str:
    """Say how many episodes broke, and what that leaves open."""
    n, successes = len(table.outcome), int((table.outcome == 1).sum())
    low, high = 100 * successes / n, 100 * (successes + table.errors) / n
    return (
        f"{table.errors} of {n} episodes broke; were they all failures or all successes, "
        f"{low:.1f} or {high:.1f} % of all would be successes"
    )


def _refuse_errors(boards: Sequence[Board]) -> None:
    for run in (run for board in boards for method in board.methods for run in method.runs):
        if run.table.errors:
            raise RecordError(
                f"{source_name(run)}: {run.table.errors} of {len(run.table.outcome)} episodes "
                "broke; `vlabench run` with --retry-errors runs them again, or say what they count "
                "as: --on-error exclude or as-failure"
            )


def success_table(
    board: Board, found: Sequence[Comparison], on_error: OnError, *, id_: str = "", title: str = ""
) -> Table:
    """Tabulate each method's success by group of tasks and over all, the average rank, and n."""
    columns = {**board.groups, "all tasks": None}
    ranks = average_ranks(board.methods, list(board.groups.values()), on_error)
    letters = group_letters(found) if len(found) > 1 else {}
    progress = any(np.isfinite(method.table.progress).any() for method in board.methods)
    bold = {name: best_of(board.methods, tasks, on_error) for name, tasks in columns.items()}
    rows = []
    for place, method in enumerate(board.methods):
        rates = [
            rate_cell(rate(method, tasks, on_error), bold=bold[name][place])
            for name, tasks in columns.items()
        ]
        extra = [_progress(method)] if progress else []
        extra += [number_cell(ranks.get(method.name))] if ranks else []
        extra += [Cell(text=letters.get(method.name, "-"))] if letters else []
        counts = [count_cell(len(method.table.outcome)), count_cell(method.table.errors)]
        rows.append(Row(cells=(method_cell(method), *rates, *extra, *counts)))
    return Table(
        id=id_ or f"{board.id}-success",
        title=title or f"Success on {board.where}",
        columns=(
            Column(name="method"),
            *(Column(name=name, kind="rate") for name in columns),
            *((Column(name="progress", kind="rate", about="share of the goal at the end"),)
              if progress else ()),
            *((Column(name="average rank", kind="number"),) if ranks else ()),
            *((Column(name="letters", about="methods that share one were not told apart"),)
              if letters else ()),
            Column(name="n", kind="number", about="episodes"),
            Column(name="errors", kind="number", about="episodes that broke"),
        ),
        rows=tuple(rows),
        notes=(INTERVALS, *((_BOLD,) if len(board.methods) > 1 else ())),
    )  # fmt: skip


def _progress(method: Method) -> Cell:
    """Return the share of the goal that was reached; errors never have one."""
    table = method.table.rows(method.table.outcome >= 0)
    if not len(table.outcome) or np.isnan(table.progress).any():
        return Cell(text="-", note="not every episode says")
    return rate_cell(progress_of(table))


def _pairs_table(board: Board, found: Sequence[Comparison]) -> Table:
    several = any(c.evidence and c.evidence.checkpoints for c in found)
    rows = []
    for c in found:
        e = c.evidence
        cells = (
            Cell(text=c.b),
            Cell(text=c.a),
            Cell(text="all"),
            Cell(text=str(c.verdict), note="; ".join(c.reasons)),
            points_cell(e.difference if e else None),
            points_cell(e.new_tasks if e else None),
            *((points_cell(e.checkpoints if e else None),) if several else ()),
            Cell(text=p_text(e.p_adjusted), value=e.p_adjusted) if e else Cell(text="-"),
            *_alone(e.pairs if e else None),
        )
        rows.append(Row(cells=cells))
        rows += [_group_row(c, group, several=several) for group in (e.groups if e else ())]
    return Table(
        id=f"{board.id}-pairs",
        title=f"Pairs on {board.where}",
        columns=(
            Column(name="B"),
            Column(name="A"),
            Column(name="tasks"),
            Column(name="B is"),
            Column(name="B - A", kind="points"),
            Column(name="B - A, new tasks", kind="points"),
            *(
                (
                    Column(
                        name="B - A, these checkpoints",
                        kind="points",
                        about="with initial states alone as the sample",
                    ),
                )
                if several
                else ()
            ),
            Column(name="p, Holm", kind="number"),
            Column(name="B alone", kind="number", about="episodes in which only B succeeded"),
            Column(name="A alone", kind="number", about="episodes in which only A succeeded"),
        ),
        rows=tuple(rows),
        notes=(
            "In points, with 95 % intervals. The verdict rests on B - A on all of these tasks, and "
            "over trainings like these where a side has several; margin "
            f"{100 * found[0].margin:g} points. p: over all pairs, or over the groups of a pair.",
        ),
    )


def _group_row(c: Comparison, group: Effect, *, several: bool) -> Row:
    """Return the row of a group of tasks, which has a difference and no verdict of its own."""
    cells = (
        Cell(text=c.b),
        Cell(text=c.a),
        Cell(text=group.name),
        Cell(text=""),
        points_cell(group.difference),
        points_cell(None),
        *((points_cell(None),) if several else ()),
        Cell(text=p_text(group.p_adjusted), value=group.p_adjusted),
        *_alone(group.pairs),
    )
    return Row(cells=cells)


def _alone(pairs: Pairs | None) -> tuple[Cell, Cell]:
    """Return in how many episodes B and A succeeded alone."""
    only_b, only_a = (pairs.only_b, pairs.only_a) if pairs else (None, None)
    return count_cell(only_b), count_cell(only_a)


def _tasks_table(board: Board, by_task: Sequence[_Rates], *, listed: bool) -> Table:
    """Tabulate success by task, beside what an ingested run says of it."""
    few = len(board.tasks) <= FEW_TASKS
    rows = []
    for task, *rates in zip(board.tasks, *by_task, strict=True):
        said = [Cell(text=values.get(task, "-")) for values in board.said.values()]
        cells = (Cell(text=task), *said, *map(rate_cell, rates))
        rows.append(Row(cells=cells, group=task.partition("/")[0]))
    undrawn = f"{len(rows)} tasks are too many for a figure; that of success is over all of them"
    undrawn += ", and by group." if board.groups else "."
    return Table(
        id=f"{board.id}-tasks",
        title=f"Success by task, {board.where}",
        columns=(
            Column(name="task"),
            *(Column(name=name) for name in board.said),
            *(Column(name=m.label, kind="rate") for m in board.methods),
        ),
        rows=tuple(rows),
        notes=(INTERVALS, *(() if few else (undrawn,))),
        listed=few or listed,
    )


def _stability(method: Method, on_error: OnError) -> Stability | None:
    """Say where variance comes from, if the runs can tell anything apart."""
    if len(method.runs) < 2 and not int(method.table.repeat.max(initial=0)):
        return None
    return stability_of_runs(list(method.runs), on_error=on_error)


def _components_table(board: Board, name: str, found: Stability) -> Table:
    rows = [
        Row(
            cells=(
                Cell(text=component.name, note=component.means),
                rate_cell(component.deviation),
                Cell(text=component.unknown),
            )
        )
        for component in found.components
    ]
    return Table(
        id=f"{board.id}-stability-{slug(name)}",
        title=f"Where the variance of {name} comes from: {board.where}",
        columns=(
            Column(name="between"),
            Column(name="deviation", kind="points", about="standard deviation of success"),
            Column(name="unknown because"),
        ),
        rows=tuple(rows),
        notes=(
            f"Trainings: {found.trainings}; tasks: {found.tasks}; initial states of each: "
            f"{found.states:.3g}; repeats: {found.repeats}. In points, with 95 % intervals.",
            f"Mean success {100 * found.mean.value:.1f} % [{100 * found.mean.low:.1f}, "
            f"{100 * found.mean.high:.1f}], n = {found.mean.n}: {found.mean.question}.",
        ),
    )


def _figures(
    board: Board,
    by_task: Sequence[_Rates],
    stability: Mapping[str, Stability],
    on_error: OnError,
) -> list[Figure]:
    columns = {**board.groups, "all tasks": None}
    rates = {
        method.label: {name: rate(method, tasks, on_error) for name, tasks in columns.items()}
        for method in board.methods
    }
    found = [drawing.success_figure(f"{board.id}-success", board.where, rates)]
    if 1 < len(board.tasks) <= FEW_TASKS:
        each = {m.label: rates for m, rates in zip(board.methods, by_task, strict=True)}
        found.append(drawing.heat_figure(f"{board.id}-tasks", board.where, board.tasks, each))
    if stability:
        found.append(drawing.components_figure(f"{board.id}-stability", board.where, stability))
    return found
