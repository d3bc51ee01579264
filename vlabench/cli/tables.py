"""Tables on standard output, and their JSON."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vlabench.cli.output import print_json, visible
from vlabench.doctor import Finding
from vlabench.metrics import Estimate, success_rate
from vlabench.metrics.rates import bounds_of, mean_progress, rate_of, success_of
from vlabench.provenance import UNREADABLE
from vlabench.record import EpisodeRecord, Outcome, Run, RunHeader
from vlabench.table import FEW_TASKS, Ints, Results, results_of, unfinished
from vlabench.table import Table as Episodes
from vlabench.verify import Difference

_WIDE = 160
"""Columns when the output is no terminal: files and pipes do not wrap."""
_WIDEST = 400


class PlainConsole(Console):
    """A console for which no text is markup: brackets are brackets, and escapes are written out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return what is shown for a text, in a line or in a table's cell."""
        return super().render_str(visible(text), **options)


def console() -> Console:
    """Return a console on standard output that does not fold tables in files and pipes."""
    return PlainConsole(width=None if sys.stdout.isatty() else _WIDE)


def duration(seconds: float) -> str:
    """Write a duration for people: `1 h 05 min`, `4 min 03 s`, `12.3 s`."""
    if seconds >= 3600:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:02.0f} min"
    if seconds >= 60:
        return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
    return f"{seconds:.1f} s"


def rate_text(records: Sequence[EpisodeRecord]) -> str:
    """Write a success rate with its interval and n; errors are named, never counted in."""
    errors = sum(record.outcome is Outcome.ERROR for record in records)
    note = f", {errors} error{'s' * (errors > 1)}" if errors else ""
    if len(records) == errors:
        return f"no outcome yet{note}"
    return _estimate_text(success_rate(records, on_error="exclude")) + note


def print_rows(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows as a table; their keys are the headings."""
    console().print(_rows(rows) if rows else "nothing")


def rows_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Return the same as text, however wide."""
    out = StringIO()
    PlainConsole(width=_WIDEST, file=out).print(_rows(rows))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _rows(rows: Sequence[Mapping[str, object]]) -> Table:
    table = Table(*rows[0], box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*(one_line(str(value)) for value in row.values()))
    return table


def print_run(path: Path, run: Run | Results, *, as_json: bool, all_tasks: bool = False) -> None:
    """Print the groups, each task and the whole of a run.

    Args:
        path: Of the run, for people.
        run: The run.
        as_json: Whether it is for a script.
        all_tasks: Whether tasks are printed where there are more than fit on a few screens.
    """
    results = results_of(run)
    if as_json:
        print_json(_run_json(path, results))
        return
    out, header = console(), results.header
    privileged = " (privileged)" if header.privileged else ""
    out.print(
        f"{header.policy_id}{privileged} on {header.suite_id} v{header.suite_version} under "
        f"{header.protocol}, seed {_said(header, 'seed', header.request.seed)}, "
        f"plan {header.plan_digest}"
    )
    for camera in header.cameras:
        out.print(f"looks at {camera}")
    for note in _notes(results):
        out.print(note)
    tasks, progress = _task_sums(results.table), _progress(results.table)
    table = Table(
        "task", "n", "successes", "success rate", "95 % interval", "errors", "steps", "time",
        *(["progress (95 % interval)"] if progress else []), box=None, pad_edge=False,
    )  # fmt: skip
    for name, sums in _group_sums(results).items():
        table.add_row(*_cells(one_line(name), sums, header))
    table.add_section()
    shown = all_tasks or len(tasks) <= FEW_TASKS
    for task, sums in tasks.items() if shown else ():
        table.add_row(*_cells(one_line(task), sums, header), *_progress_cells(progress, task))
    if len(tasks) > 1:
        table.add_section()
        sums = _all_sums(results.table)
        table.add_row(*_cells("all", sums, header), *_progress_cells(progress, "all"))
    out.print(table)
    if not shown:
        out.print(f"{len(tasks)} tasks: vlabench show --tasks {path}", soft_wrap=True)
    for about, rate in _suite_rates(results.table).items():
        interval = f"{rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}] of n = {rate.n}"
        out.print(f"mean over tasks, {about}: {interval}")
    out.print(str(path))


def print_findings(findings: Iterable[Finding], *, as_json: bool) -> Sequence[Finding]:
    """Print what the doctor finds, each line when it is known; return all of it."""
    found, out = [], console()
    for finding in findings:
        found.append(finding)
        advice = f"; {finding.advice}" if finding.advice else ""
        line = f"{finding.level:4}  {finding.what}: {finding.found}{advice}"
        if not as_json:
            out.print(line, soft_wrap=True)
    if as_json:
        print_json([asdict(finding) for finding in found])
    return found


def print_verification(
    path: Path, run: Run, differences: Sequence[Difference], *, as_json: bool
) -> None:
    """Print which episodes came out the same, and where the others parted."""
    rows = [
        {"episode": d.key, "then": d.then.outcome, "now": d.now.outcome, "where": d.where}
        for d in differences
    ]
    if as_json:
        print_json({"run": str(path), "episodes": rows})
        return
    print_rows([{**row, "where": row["where"] or "equal to the last bit"} for row in rows])
    bad = sum(bool(d.where) for d in differences)
    console().print(
        f"{len(differences) - bad} of {len(differences)} episodes ran the same trajectory "
        f"(of {len(run.episodes)} in {path})"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """What episodes add up to.

    Attributes:
        n: Episodes.
        successes: Of them.
        errors: Of them.
        steps: Control steps.
        seconds: All of their time.
        parts: The same by what it was spent on.
        rate: Of success, errors left out; None where nothing is left.
    """

    n: int
    successes: int
    errors: int
    steps: int
    seconds: float
    parts: Mapping[str, float]
    rate: Estimate | None

    @property
    def counted(self) -> int:
        """How many episodes a rate is of."""
        return self.n - self.errors


def _task_sums(table: Episodes) -> dict[str, _Sums]:
    rates = [_rate(table.of_task(code)) for code in range(len(table.tasks))]
    return dict(zip(table.tasks, _sums(table, table.task, rates), strict=True))


def _group_sums(results: Results) -> dict[str, _Sums]:
    """Add up what tasks are grouped by: suites, where there are several, and what files say."""
    table, found = results.table, dict[str, _Sums]()
    groups: dict[str, Mapping[str, str]] = {}
    if len({task.partition("/")[0] for task in table.tasks}) > 1:
        groups["suite"] = {task: task.partition("/")[0] for task in table.tasks}
    groups |= results.header.ingested.groups if results.header.ingested else {}
    for column, values in groups.items():
        said = [values.get(task, "-") for task in table.tasks]
        names = sorted(set(said))
        place = {name: code for code, name in enumerate(names)}
        of_task = np.array([place[name] for name in said], dtype=np.int64)
        group = of_task[table.task]
        rates = [_rate(table.rows(group == code)) for code in range(len(names))]
        parts = _sums(table, group, rates)
        found |= {f"{column}: {name}": part for name, part in zip(names, parts, strict=True)}
    return found


def _all_sums(table: Episodes) -> _Sums:
    return _sums(table, np.zeros_like(table.task), [_rate(table)])[0]


def _rate(table: Episodes) -> Estimate | None:
    return success_of(table, on_error="exclude") if (table.outcome >= 0).any() else None


def _sums(table: Episodes, group: Ints, rates: Sequence[Estimate | None]) -> list[_Sums]:
    """Add up the episodes of each group, in the order of their file, so that bits stay the same."""
    order, groups = np.argsort(table.place, kind="stable"), len(rates)

    def total(column: NDArray[Any]) -> list[float]:
        return [float(sum_) for sum_ in np.bincount(group[order], column[order], groups)]

    parts = {part: total(getattr(table, part)) for part in ("simulator", "render", "policy")}
    columns = zip(
        total(np.ones_like(group)),
        total(table.outcome == 1),
        total(table.outcome < 0),
        total(table.steps),
        total(table.seconds),
        rates,
        *parts.values(),
        strict=True,
    )
    return [
        _Sums(
            n=int(n),
            successes=int(successes),
            errors=int(errors),
            steps=int(steps),
            seconds=seconds,
            rate=rate,
            parts=dict(zip(parts, spent, strict=True)),
        )
        for n, successes, errors, steps, seconds, rate, *spent in columns
    ]


def _said(header: RunHeader, name: str, value: object) -> str:
    """Return a value as text, `-` where an ingested run does not say."""
    return "-" if name in header.unknown else str(value)


def _cells(name: str, sums: _Sums, header: RunHeader) -> list[str]:
    mean = sums.steps / sums.n if sums.n else 0.0
    steps = _said(header, "steps", f"{mean:.1f}")
    time = "-" if "seconds" in header.unknown else duration(sums.seconds)
    rate = sums.rate
    if rate is None:
        return [name, "0", "-", "-", "-", str(sums.errors), steps, time]
    interval = f"{rate.low:.1%} to {rate.high:.1%}"
    return [name, str(sums.counted), str(sums.successes), f"{rate.value:.1%}", interval,
            str(sums.errors), steps, time]  # fmt: skip


def _progress(table: Episodes) -> dict[str, Estimate | None]:
    """Return the progress of each task and of `all`; nothing where no episode has any."""
    if np.isnan(table.progress).all():
        return {}
    parts = {task: table.of_task(code) for code, task in enumerate(table.tasks)}
    return {name: mean_progress(part) for name, part in {**parts, "all": table}.items()}


def _progress_cells(progress: Mapping[str, Estimate | None], name: str) -> list[str]:
    if not progress:
        return []
    mean = progress[name]
    return ["-" if mean is None else f"{mean.value:.1%} ({mean.low:.1%} to {mean.high:.1%})"]


def _notes(results: Results) -> list[str]:
    """Say what a reader of the numbers must know."""
    header, table = results.header, results.table
    notes = [f"NOT COMPARABLE with {header.protocol}: {m}" for m in header.fingerprint.mismatches]
    if header.settings:
        notes.append("settings: " + ", ".join(f"{k}={v}" for k, v in header.settings.items()))
    if short := unfinished(results):
        notes.append(f"this run {short}")
    if table.errors:
        low, high = bounds_of(table)
        notes.append(
            f"{table.errors} episodes are errors and are left out of the rates; were they all "
            f"failures or all successes, the rate overall would be {low:.1%} or {high:.1%}"
        )
        notes += _error_lines(results.errors)
    unknown = int(np.isnan(table.progress[table.outcome >= 0]).sum())
    if 0 < unknown < len(table.outcome) - table.errors:
        notes.append(f"the progress of {unknown} episodes is unknown: an older vlabench ran them")
    if results.torn:
        notes.append("the last line was cut off by a crash and is not counted")
    commits = {header.provenance.commit} | {resumed.commit for resumed in results.resumed}
    if UNREADABLE in commits:
        notes.append(
            "the commit of vlabench is unknown: git did not say (is the checkout another user's? "
            "`git config --global --add safe.directory FOLDER` lets it)"
        )
    if len(commits - {UNREADABLE}) > 1:
        notes.append(f"written by {len(commits)} different commits of vlabench")
    if not len(table.outcome):
        notes.append("no episode has ended yet")
    return notes


def _error_lines(errors: Mapping[str, str]) -> list[str]:
    """Say what went wrong: each kind of error once, with its number and an example."""
    kinds: dict[str, list[str]] = {}
    for key, error in errors.items():
        kinds.setdefault(last_line(error).partition(":")[0], []).append(key)
    return [
        f"  {len(keys)} of this kind: {last_line(errors[keys[0]])} (in {keys[0]})"
        for keys in kinds.values()
    ]


def one_line(text: str) -> str:
    """Return a name that may hold line ends, with these written out."""
    return text.replace("\n", "\\n")


def last_line(error: str) -> str:
    """Return the line of a traceback that says what happened."""
    return error.strip().rpartition("\n")[2]


def _suite_rates(table: Episodes) -> dict[str, Estimate]:
    """Return the mean over tasks under both questions; nothing where there is one task only."""
    if len(np.unique(table.task[table.outcome >= 0])) < 2:
        return {}
    return {
        "these tasks": rate_of(table, on_error="exclude"),
        "new tasks like these": rate_of(table, tasks="new", on_error="exclude"),
    }


def _run_json(path: Path, results: Results) -> dict[str, object]:
    header, table = results.header, results.table
    progress = _progress(table)
    return {
        "run": str(path),
        "header": asdict(header),
        "notes": _notes(results),
        "groups": {name: _sums_json(sums, header) for name, sums in _group_sums(results).items()},
        "tasks": {
            task: _sums_json(sums, header) | _progress_json(progress, task)
            for task, sums in _task_sums(table).items()
        },
        "all": _sums_json(_all_sums(table), header) | _progress_json(progress, "all"),
        "suite": {about: asdict(rate) for about, rate in _suite_rates(table).items()},
    }


def _sums_json(sums: _Sums, header: RunHeader) -> dict[str, object]:
    return {
        "success_rate": None if sums.rate is None else asdict(sums.rate),
        "errors": sums.errors,
        "steps": None if "steps" in header.unknown else sums.steps,
        "seconds": None if "seconds" in header.unknown else sums.parts,
    }


def _progress_json(progress: Mapping[str, Estimate | None], name: str) -> dict[str, object]:
    if not progress:
        return {}
    mean = progress[name]
    return {"progress": None if mean is None else asdict(mean)}


def _estimate_text(rate: Estimate) -> str:
    return f"{rate.value:.0%} [{rate.low:.0%}, {rate.high:.0%}] of n={rate.n}"
