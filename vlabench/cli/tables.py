"""Tables on standard output, and their JSON."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vlabench.doctor import Finding
from vlabench.metrics import Estimate, rate_bounds, success_rate, suite_rate
from vlabench.metrics.counts import natural
from vlabench.record import EpisodeRecord, Outcome, Run
from vlabench.verify import Difference

_WIDE = 160
"""Columns when the output is no terminal: files and pipes do not wrap."""


def console() -> Console:
    """Return a console on standard output that does not fold tables in files and pipes."""
    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)


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
    if not rows:
        console().print("nothing")
        return
    table = Table(*rows[0], box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console().print(table, markup=False)


def print_run(path: Path, run: Run, *, as_json: bool) -> None:
    """Print each task and the whole of a run."""
    if as_json:
        print(json.dumps(_run_json(path, run), indent=1))
        return
    out, header = console(), run.header
    privileged = " (privileged)" if header.privileged else ""
    out.print(
        f"{header.policy_id}{privileged} on {header.suite_id} v{header.suite_version} under "
        f"{header.protocol}, seed {_said(run, 'seed', header.request.seed)}, "
        f"plan {header.plan_digest}"
    )
    for camera in header.cameras:
        out.print(f"looks at {camera}")
    for note in _notes(run):
        out.print(note)
    table = Table(
        "task", "n", "successes", "success rate", "95 % interval", "errors", "steps", "time",
        box=None, pad_edge=False,
    )  # fmt: skip
    by_task = _by_task(run)
    for task, records in by_task.items():
        table.add_row(*_cells(task, records, run))
    if len(by_task) > 1:
        table.add_section()
        table.add_row(*_cells("all", run.episodes, run))
    out.print(table)
    for about, rate in _suite_rates(run).items():
        interval = f"{rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}] of n = {rate.n}"
        out.print(f"mean over tasks, {about}: {interval}", markup=False)
    out.print(str(path))


def print_findings(findings: Iterable[Finding], *, as_json: bool) -> Sequence[Finding]:
    """Print what the doctor finds, each line when it is known; return all of it."""
    found, out = [], console()
    for finding in findings:
        found.append(finding)
        advice = f"; {finding.advice}" if finding.advice else ""
        line = f"{finding.level:4}  {finding.what}: {finding.found}{advice}"
        if not as_json:
            out.print(line, markup=False, soft_wrap=True)
    if as_json:
        print(json.dumps([asdict(finding) for finding in found], indent=1))
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
        print(json.dumps({"run": str(path), "episodes": rows}, indent=1))
        return
    print_rows([{**row, "where": row["where"] or "equal to the last bit"} for row in rows])
    bad = sum(bool(d.where) for d in differences)
    console().print(
        f"{len(differences) - bad} of {len(differences)} episodes ran the same trajectory "
        f"(of {len(run.episodes)} in {path})"
    )


def _by_task(run: Run) -> dict[str, list[EpisodeRecord]]:
    by_task: dict[str, list[EpisodeRecord]] = {}
    for record in run.episodes:
        by_task.setdefault(record.episode.task_id, []).append(record)
    return dict(sorted(by_task.items(), key=lambda item: natural(item[0])))


def _said(run: Run, name: str, value: object) -> str:
    """Return a value as text, `-` where an ingested run does not say."""
    return "-" if name in run.header.unknown else str(value)


def _cells(name: str, records: Sequence[EpisodeRecord], run: Run) -> list[str]:
    errors = sum(record.outcome is Outcome.ERROR for record in records)
    counted = len(records) - errors
    mean = sum(record.steps for record in records) / len(records) if records else 0.0
    steps = _said(run, "steps", f"{mean:.1f}")
    time = _said(run, "seconds", duration(sum(record.seconds.total for record in records)))
    if not counted:
        return [name, "0", "-", "-", "-", str(errors), steps, time]
    rate = success_rate(records, on_error="exclude")
    successes = sum(record.outcome is Outcome.SUCCESS for record in records)
    interval = f"{rate.low:.1%} to {rate.high:.1%}"
    return [name, str(counted), str(successes), f"{rate.value:.1%}", interval, str(errors),
            steps, time]  # fmt: skip


def _notes(run: Run) -> list[str]:
    """Say what a reader of the numbers must know."""
    header = run.header
    errors = sum(record.outcome is Outcome.ERROR for record in run.episodes)
    planned = header.request.episodes * header.request.repeats
    short = [task for task, records in _by_task(run).items() if len(records) < planned]
    notes = [f"NOT COMPARABLE with {header.protocol}: {m}" for m in header.fingerprint.mismatches]
    if header.settings:
        notes.append("settings: " + ", ".join(f"{k}={v}" for k, v in header.settings.items()))
    if short:
        notes.append(f"incomplete: {len(short)} of the tasks below have fewer than {planned}")
    if errors:
        low, high = rate_bounds(run.episodes)
        notes.append(
            f"{errors} episodes are errors and are left out of the rates; were they all failures "
            f"or all successes, the rate overall would be {low:.1%} or {high:.1%}"
        )
        notes += _error_lines(run.episodes)
    if run.torn:
        notes.append("the last line was cut off by a crash and is not counted")
    commits = {header.provenance.commit} | {resumed.commit for resumed in run.resumed}
    if len(commits) > 1:
        notes.append(f"written by {len(commits)} different commits of vlabench")
    if not run.episodes:
        notes.append("no episode has ended yet")
    return notes


def _error_lines(records: Sequence[EpisodeRecord]) -> list[str]:
    """Say what went wrong: each kind of error once, with its number and an example."""
    kinds: dict[str, list[EpisodeRecord]] = {}
    for record in records:
        if record.error is not None:
            kinds.setdefault(last_line(record.error).partition(":")[0], []).append(record)
    return [
        f"  {len(of)} of this kind: {last_line(of[0].error or '')} (in {of[0].episode.key})"
        for of in kinds.values()
    ]


def last_line(error: str) -> str:
    """Return the line of a traceback that says what happened."""
    return error.strip().rpartition("\n")[2]


def _suite_rates(run: Run) -> dict[str, Estimate]:
    """Return the mean over tasks under both questions; nothing where there is one task only."""
    ended = [record for record in run.episodes if record.outcome is not Outcome.ERROR]
    if len({record.episode.task_id for record in ended}) < 2:
        return {}
    return {
        "these tasks": suite_rate(ended),
        "new tasks like these": suite_rate(ended, tasks="new"),
    }


def _run_json(path: Path, run: Run) -> dict[str, object]:
    return {
        "run": str(path),
        "header": asdict(run.header),
        "notes": _notes(run),
        "tasks": {task: _rate_json(records, run) for task, records in _by_task(run).items()},
        "all": _rate_json(run.episodes, run),
        "suite": {about: asdict(rate) for about, rate in _suite_rates(run).items()},
    }


def _rate_json(records: Sequence[EpisodeRecord], run: Run) -> dict[str, object]:
    errors = sum(record.outcome is Outcome.ERROR for record in records)
    rate = None if len(records) == errors else success_rate(records, on_error="exclude")
    unknown = run.header.unknown
    return {
        "success_rate": None if rate is None else asdict(rate),
        "errors": errors,
        "steps": None if "steps" in unknown else sum(record.steps for record in records),
        "seconds": None if "seconds" in unknown else _seconds(records),
    }


def _seconds(records: Sequence[EpisodeRecord]) -> dict[str, float]:
    """Sum the seconds of records by what they were spent on."""
    return {
        part: sum(getattr(record.seconds, part) for record in records)
        for part in ("simulator", "render", "policy")
    }


def _estimate_text(rate: Estimate) -> str:
    return f"{rate.value:.0%} [{rate.low:.0%}, {rate.high:.0%}] of n={rate.n}"
