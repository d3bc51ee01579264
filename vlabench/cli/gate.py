"""Command that guards: gate."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from vlabench.cli.options import Json, Margin, OnErrorOption, Unpaired, rules_of
from vlabench.errors import RecordError, VlabenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    as_json: Json = False,
) -> None:
    """Say whether a change may be merged: are candidate runs no worse than baseline runs?

    Exit status: 0 no regression, 1 regression, 2 underpowered, 3 not comparable, or a wrong
    command line.
    """
    from vlabench import gate as gates
    from vlabench.metrics.regression import Status

    try:
        rules = rules_of(margin, unpaired, on_error)
        found = gates.hold(baseline, candidate, rules)
        _try_out([path for path in (junit, summary) if path is not None])
        if junit is not None:
            _write(junit, gates.junit(found), mode="w")
        if summary is not None:
            _write(summary, gates.summary(found), mode="a")
    except (typer.BadParameter, VlabenchError) as error:
        _refuse(str(error))
    try:
        _print(found, as_json=as_json)
        sys.stdout.flush()
    except BrokenPipeError:  # `vlabench gate --json | head`: the exit status still tells
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    codes = {Status.PASS: 0, Status.REGRESSION: 1, Status.UNDERPOWERED: 2}
    sys.exit(codes.get(found.status, _NOT_COMPARABLE))


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


def _print(found: "Gate", *, as_json: bool) -> None:
    from vlabench.cli.tables import console
    from vlabench.gate.sentences import headline, sentence

    if as_json:
        content = {"headline": headline(found), **asdict(found)}
        print(json.dumps(content, indent=1, default=str))
        return
    out = console()
    lines = [headline(found)]
    for entry in found.entries:
        lines += [sentence(entry)]
        lines += [f"  note: {note}" for note in entry.judgement.comparison.notes]
        lines += [
            f"  {one.key}: {one.then} then, {one.now} now{', ' if one.where else ''}{one.where}"
            for one in entry.changed[:_MOST]
        ]
        if (left := len(entry.changed) - _MOST) > 0:
            lines.append(f"  and {left} more; --json lists all of them")
    lines += [f"no baseline for {path}: nothing is said of it" for path in found.extra]
    for line in lines:
        out.print(line, soft_wrap=True, markup=False)
