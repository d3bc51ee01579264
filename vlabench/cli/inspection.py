"""Commands that read: show, doctor."""

import sys

import typer

from vlabench.cli.options import Json, RunFiles, TaskRows


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("show")(show)
    app.command("doctor")(doctor)


def show(runs: RunFiles, tasks: TaskRows = False, as_json: Json = False) -> None:
    """Show runs: groups, each task and overall, with n, rate, interval, errors and time.

    --json prints an object for one run, and a list of them for several.
    """
    from vlabench.cli.tables import print_run
    from vlabench.store import read_all

    found = list(zip(runs, read_all(runs, hashed=False), strict=True))
    listed = as_json and len(found) > 1  # one document, whatever the number of runs
    for place, (path, run) in enumerate(found):
        if listed:
            print("," if place else "[")
        print_run(path, run, as_json=as_json, all_tasks=tasks)
    if listed:
        print("]")


def doctor(as_json: Json = False) -> None:
    """Check this machine: Python, OpenGL, simulators, versions, canaries, folders."""
    from vlabench.cli.tables import print_findings
    from vlabench.doctor import examine

    findings = print_findings(examine(), as_json=as_json)
    if any(finding.level == "fail" for finding in findings):
        sys.exit(1)
