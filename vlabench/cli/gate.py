"""Command that guards: gate."""

import os
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from vlabench.cli.options import Json, Margin, OnErrorOption, Unpaired, rules_of
from vlabench.cli.output import json_text, visible
from vlabench.errors import RecordError, VlabenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vlabench.gate import Gate

_USAGE = 2
_NOT_COMPARABLE = 3
_MOST = 25
"""Episodes printed for each run; --json has all."""


class _GateCommand(TyperCommand):
    """Leaves with 3, not 2, where the command line is wrong.

    2 is UNDERPOWERED, which a pipeline may choose to let pass; a mistyped option must not pass
    with it.
    """

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().make_context(*args, **kwargs)
        except Exception as error:
            if getattr(error, "exit_code", None) == _USAGE:
                error.exit_code = _NOT_COMPARABLE  # type: ignore[attr-defined]
            raise


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("gate", cls=_GateCommand)(gate)


def gate(
    baseline: Annotated[
        Path, typer.Option(help="A results file, or a folder of them.", metavar="RUN|DIR")
    ],
    candidate: Annotated[Path, typer.Option(help="What is held against it.", metavar="RUN|DIR")],
    margin: Margin = 3.0,
    unpaired: Unpaired = False,
    on_error: OnErrorOption = "raise",
    junit: Annotated[
        Path | None,
        typer.Option(help="Write JUnit XML: a case for each run and task.", metavar="FILE"),
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option(help="Append Markdown: a GitHub step summary, or a comment.", metavar="FILE"),
    ] = None,
    per_task: Annotated[
        bool,
        typer.Option(
            "--per-task",
            help="List every task: its verdict, the least fall to be seen, states needed.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Say whether a change may be merged: are candidate runs no worse than baseline runs?

    Exit status: 0 no regression, 1 regression, 2 underpowered, 3 not comparable, a wrong command
    line, or anything unexpected.
    """
    from vlabench import gate as gates

    try:
        rules = rules_of(margin, unpaired, on_error)
        found = gates.hold(baseline, candidate, rules, per_task=per_task)
        _try_out([path for path in (junit, summary) if path is not None])
        if junit is not None:
            _write(junit, gates.junit(found), mode="w")
        if summary is not None:
            _write(summary, gates.summary(found), mode="a")
        text = _json(found) if as_json else "\n".join(map(visible, _lines(found)))
    except (typer.BadParameter, VlabenchError) as error:
        _refuse(str(error))
    except Exception as error:  # noqa: BLE001  # no crash may be read as a verdict
        traceback.print_exc()
        _refuse(f"the gate failed, which says nothing of the candidate: {error!r}")
    _say(text)
    sys.exit(_status(found))


def _say(text: str) -> None:
    """Print, whoever listens: the exit status tells, too."""
    try:
        print(text)
        sys.stdout.flush()
    except BrokenPipeError:  # `vlabench gate | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a full disk: nobody has read a verdict
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _refuse(f"cannot write standard output: {error.strerror}")


def _status(found: "Gate") -> int:
    from vlabench.metrics.regression import Status

    codes = {Status.PASS: 0, Status.REGRESSION: 1, Status.UNDERPOWERED: 2}
    return codes.get(found.status, _NOT_COMPARABLE)


def _refuse(why: str) -> NoReturn:
    print(f"vlabench: {why}", file=sys.stderr)
    sys.exit(_NOT_COMPARABLE)


def _try_out(paths: "Sequence[Path]") -> None:
    """Open every file before the first is written, so that none is where another cannot be."""
    new = list[Path]()
    try:
        for path in paths:
            there = os.access(path, os.F_OK)
            _write(path, "", mode="a")
            if not there:
                new.append(path)
    except RecordError:
        for path in new:
            path.unlink()
        raise


def _write(path: Path, text: str, *, mode: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror}") from error


def _json(found: "Gate") -> str:
    from vlabench.gate.sentences import headline

    return json_text({"headline": headline(found), **asdict(found)})


def _lines(found: "Gate") -> "Iterator[str]":
    from vlabench.cli.tables import one_line, rows_text
    from vlabench.gate.sentences import headline, sentence, task_rows, tasks_note

    yield headline(found)
    for entry in found.entries:
        yield one_line(sentence(entry))
        yield from (f"  note: {one_line(note)}" for note in entry.judgement.comparison.notes)
        if entry.tasks:
            yield rows_text(task_rows(entry))
            yield f"  {tasks_note(entry, found.margin)}"
        for one in entry.changed[:_MOST]:
            where = f", {one.where}" if one.where else ""
            yield f"  {one_line(one.key)}: {one.then} then, {one.now} now{where}"
        if (left := len(entry.changed) - _MOST) > 0:
            yield f"  and {left} more; --json lists all of them"
    yield from (f"no baseline for {path}: nothing is said of it" for path in found.extra)
