"""The command that writes reports."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlabench.cli.options import Json, Margin, OnErrorOption, Unpaired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlabench.reports.model import Report, Section

_OF_FILE = ("title", "curve", "sweep", "margin", "unpaired", "on_error")
"""Options that a report's file decides."""
_MOST = 10
"""Stale files that are named."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    ctx: typer.Context,
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Results files or folders of them, the reference first; NAME=FILE names a row of "
            "the tables, and several files of one NAME are trainings of one method. Or one "
            "REPORT.toml alone, which says all of it.",
            metavar="RUN...",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write into.", metavar="DIR")],
    title: Annotated[str, typer.Option("--title", help="Title of the report.")] = "Results",
    curve: Annotated[
        list[str] | None,
        typer.Option("--curve", help="A training's log, as NAME=log.csv.", metavar="NAME=FILE"),
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep", help="Runs of a sweep: a folder or files, as NAME=PATH.", metavar="NAME=PATH"
        ),
    ] = None,
    formats: Annotated[
        str, typer.Option("--formats", help="Some of md, html, tex, csv, png, pdf.", metavar="LIST")
    ] = "md,html,tex,csv,png,pdf",
    film: Annotated[
        int,
        typer.Option(
            "--film",
            min=0,
            help="Film so many of the episodes in which one of two succeeded alone, spread over "
            "all, both sides, by running them again; needs OpenGL. Films are kept beside the "
            "results files, so that a second report finds them.",
            metavar="N",
        ),
    ] = 0,
    margin: Margin = 3.0,
    unpaired: Unpaired = False,
    on_error: OnErrorOption = "raise",
    tasks: Annotated[
        bool,
        typer.Option(
            "--tasks",
            help="List tasks in Markdown and LaTeX where there are more than 100, too; CSV always "
            "has them, and HTML on request.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a report: verdicts, tables, figures and episodes to look at, in every format.

    vlabench report results/libero/sft/a.jsonl results/libero/vla-rl/b.jsonl --out reports/mine

    --json prints {"verdicts": [...], "files": [...]}; a verdict has what one of `vlabench compare
    --json` has, the difference with its interval, n and p among it, and `where`.
    """
    from vlabench.cli.options import rules_of
    from vlabench.cli.output import print_json
    from vlabench.reports.building import build_report
    from vlabench.reports.requests import parts_of_file, request_of_arguments
    from vlabench.reports.writing import stale_files, write_report

    chosen = _formats(formats)
    if film and "html" not in chosen:
        raise typer.BadParameter(
            f"--film {film}: films are in html, and --formats {formats!r} leaves it out; add html"
        )
    papers: list[Section] = []
    if file := next((run for run in runs if run.endswith(".toml")), None):
        _refuse_beside(file, runs, ctx)
        request, papers = parts_of_file(Path(file))
    else:
        rules = rules_of(margin, unpaired, on_error)
        request = request_of_arguments(runs, curve or [], sweep or [], title=title, rules=rules)
    request = replace(request, all_tasks=tasks)
    found = build_report(request, papers)
    if film and _film(found, film, quiet=as_json):
        found = build_report(request, papers)
    files = write_report(found, out, chosen)
    if stale := stale_files(out, files):
        _warn(f"not of this report, and still in {out}: {_few(stale, out)}; delete what is stale")
    if as_json:
        print_json({"verdicts": _verdicts(found), "files": [str(file) for file in files]})
        return
    _say(found, files)


def _refuse_beside(file: str, runs: "Sequence[str]", ctx: typer.Context) -> None:
    """Refuse what a report's file says itself."""
    if len(runs) > 1:
        others = " ".join(run for run in runs if run != file)
        raise typer.BadParameter(
            f"{file} is a report's file, which stands alone and names its runs itself; found "
            f"{others or file} beside it, so leave that out, or put it into the file"
        )
    sources = {name: ctx.get_parameter_source(name) for name in _OF_FILE}
    given = [name for name, source in sources.items() if source and source.name != "DEFAULT"]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise typer.BadParameter(
            f"{options} beside {file} says nothing: a report's file decides that; change the file"
        )


def _few(paths: "Sequence[Path]", folder: Path) -> str:
    names = [path.relative_to(folder).as_posix() for path in paths[:_MOST]]
    more = f" and {len(paths) - _MOST} more" if len(paths) > _MOST else ""
    return ", ".join(names) + more


def _verdicts(found: "Report") -> list[dict[str, object]]:
    """Return the verdicts with their numbers, in the shape of `vlabench compare --json`."""
    from dataclasses import asdict

    return [
        {"where": f.where, "sentence": f.sentence, **asdict(f.comparison)}
        for f in found.findings
        if f.comparison
    ]


def _formats(text: str) -> tuple[str, ...]:
    from vlabench.reports.writing import FORMATS

    chosen = tuple(part.strip() for part in text.split(",") if part.strip())
    if not chosen:
        raise typer.BadParameter(f"--formats {text!r} names none; known: {', '.join(FORMATS)}")
    for name in chosen:
        if name not in FORMATS:
            raise typer.BadParameter(f"--formats {name!r} is unknown; known: {', '.join(FORMATS)}")
    return chosen


def _film(found: "Report", count: int, *, quiet: bool) -> bool:
    """Film episodes, and say how that goes; return whether there are films now that were not."""
    from vlabench.errors import VlabenchError
    from vlabench.reports.filming import film_run, missing_films, repeatable_episodes

    if not repeatable_episodes(found):
        _warn("nothing to film: there is no episode to run again that one of two solved alone")
    new = 0
    for path, keys in missing_films(found, count).items():
        if not quiet:
            print(f"{path}: episodes to run again and film: {len(keys)}", file=sys.stderr)
        try:
            for key, problem in film_run(path, keys):
                new += not problem
                if problem:
                    _warn(f"{path}: no film of {key}: {problem}")
                elif not quiet:
                    print(f"{path}: filmed {key}", file=sys.stderr, flush=True)
        except VlabenchError as error:  # as of a run whose checkpoint is gone; others may do
            _warn(f"{path}: no films: {error}")
    return new > 0


def _warn(text: str) -> None:
    print(f"vlabench: {text}", file=sys.stderr, flush=True)


def _say(found: "Report", files: "Sequence[Path]") -> None:
    """Print the verdicts, and what to open."""
    from vlabench.cli.tables import console

    out = console()
    for finding in found.findings:
        out.print(f"{finding.where}: {finding.sentence}", soft_wrap=True, markup=False)
    for path in files[:2]:
        out.print(str(path), soft_wrap=True, markup=False)
    if len(files) > 2:
        folders = sorted({str(path.parent) for path in files[2:]})
        out.print(f"{len(files) - 2} more in {', '.join(folders)}", soft_wrap=True, markup=False)
