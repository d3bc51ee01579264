"""Commands for demonstrations: collect, show."""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlabench.cli.options import Json, NoLock, Settings, SuiteId, Workers
from vlabench.cli.output import print_json

if TYPE_CHECKING:
    from vlabench.demos.show import ActionComponent, Summary, TaskDemos

Folder = Annotated[
    Path, typer.Argument(help="A folder of demonstrations, or one file of them.", metavar="DIR")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    demos = typer.Typer(
        help="Make demonstrations with an expert, and look at them.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    demos.command("collect")(collect)
    demos.command("show")(show)
    app.add_typer(demos, name="demos")


def collect(
    suite: SuiteId,
    policy: Annotated[
        str,
        typer.Option(
            help="The expert, which is asked at every step: see `vlabench list policies`.",
            metavar="ID",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for one HDF5 file a success, DIR/TASK/000000.hdf5, and run.jsonl with the "
            "record of every attempt; one that holds this collection already is gone on with.",
            metavar="DIR",
        ),
    ],
    episodes: Annotated[
        int | None,
        typer.Option(
            help="Attempts at each task; only successes are kept, so a task may end up with "
            "fewer demonstrations. [default: the protocol's own number]",
            show_default=False,
        ),
    ] = None,
    tasks: Annotated[
        str,
        typer.Option(
            help="Which tasks: globs over task ids or over the part after the slash, "
            "separated by commas.",
            metavar="GLOB",
        ),
    ] = "*",
    noise: Annotated[
        float,
        typer.Option(
            help="Largest standard deviation of the noise on executed actions, in halves of the "
            "action range; each episode draws its own below it. The labels stay the expert's, so "
            "that the way back from a mistake is in the data. 0.2 is a good start."
        ),
    ] = 0.0,
    camera: Annotated[
        list[str] | None,
        typer.Option(
            help="Keep the pictures of a camera of the protocol, as in agentview:128:fast; again "
            "for more. State and privileged state are kept always.",
            metavar="NAME:SIZE",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Root of every seed.")] = 0,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="Which rules; only rules for training, whose initial states no evaluation has. "
            "[default: the suite's first of that kind]",
            metavar="ID",
            show_default=False,
        ),
    ] = None,
    workers: Workers = None,
    settings: Settings = None,
    watchdog: Annotated[
        float, typer.Option(help="Seconds that a simulator or the policy may take for one answer.")
    ] = 600.0,
    max_errors: Annotated[
        int, typer.Option(help="Stop after so many errors when nothing but errors comes back.")
    ] = 10,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Run episodes that were errors again.")
    ] = False,
    no_lock: NoLock = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the closing table only.")] = False,
    as_json: Json = False,
) -> None:
    """Let an expert act and keep its successes. The same command again goes on."""
    from vlabench.cli.running import require_positive, run_to_end
    from vlabench.demos.collect import (
        RUN_FILE,
        Recording,
        choose_cameras,
        prepare_collection,
        training_rules,
    )
    from vlabench.demos.show import summarize
    from vlabench.locks import use_locks
    from vlabench.runners.processes import ProcessRunner
    from vlabench.settings import split_pairs

    use_locks(wanted=not no_lock)
    require_positive("watchdog", watchdog)
    require_positive("max-errors", max_errors)
    count = workers or os.cpu_count() or 1
    cameras = choose_cameras(training_rules(suite, protocol), camera or [])
    collection = prepare_collection(
        suite,
        policy,
        protocol=protocol,
        request={"tasks": tasks, "episodes": episodes, "seed": seed},
        settings=split_pairs(settings or []),
        recording=Recording(noise=noise, cameras=cameras),
        workers=count,
        watchdog_seconds=watchdog,
    )
    records = collection.run(
        ProcessRunner(count, watchdog_seconds=watchdog),
        out,
        retry_errors=retry_errors,
        max_errors=max_errors,
    )

    def report() -> None:
        _print_summary(summarize(out), as_json=as_json)

    run_to_end(
        collection.evaluation, records, out / RUN_FILE, report=report, quiet=quiet or as_json
    )


def show(
    path: Folder,
    sheet: Annotated[
        Path | None,
        typer.Option(
            help="Draw a contact sheet: five pictures of one demonstration of each task, or the "
            "hand's path where no pictures were kept.",
            metavar="FILE.png",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show demonstrations: counts, lengths, what the actions are like; ours or LIBERO's."""
    from vlabench.demos.show import SHEET_TASKS, contact_sheet, summarize

    _print_summary(summarize(path), as_json=as_json)
    if sheet is not None:
        tasks = contact_sheet(path, sheet)
        which = f"the first {SHEET_TASKS} of " if tasks > SHEET_TASKS else ""
        print(f"drew one demonstration of {which}{tasks} tasks: {sheet}", file=sys.stderr)


def _print_summary(summary: "Summary", *, as_json: bool) -> None:
    from vlabench.cli.tables import console, print_rows

    if as_json:
        print_json(asdict(summary))
        return
    out = console()
    for line in _notes(summary):
        out.print(line, markup=False)
    print_rows([_task_row(task) for task in summary.tasks])
    out.print()
    if summary.demos:
        print_rows([_action_row(n, each) for n, each in enumerate(summary.actions)])
        out.print(f"digest {summary.digest}", markup=False)
    out.print(summary.path, markup=False)


def _notes(summary: "Summary") -> list[str]:
    notes = [
        f"{summary.demos} demonstrations of {sum(bool(t.demos) for t in summary.tasks)} tasks, "
        f"{summary.steps} steps; state of {summary.state_size} numbers, "
        f"{len(summary.privileged)} arrays of privileged state"
    ]
    notes += [f"pictures: {camera}" for camera in summary.cameras]
    if summary.settings:
        notes.append("settings: " + ", ".join(f"{k}={v}" for k, v in summary.settings.items()))
    short = [t for t in summary.tasks if t.attempts is not None and t.demos < t.attempts]
    if short:
        names = ", ".join(f"{t.task} ({t.demos} of {t.attempts})" for t in short)
        notes.append(f"fewer demonstrations than attempts: {names}")
    return notes


def _task_row(task: "TaskDemos") -> dict[str, object]:
    steps = f"{task.shortest} / {task.mean:.0f} / {task.longest}" if task.demos else "-"
    return {
        "task": task.task,
        "demos": task.demos,
        "attempts": "-" if task.attempts is None else task.attempts,
        "errors": "-" if task.errors is None else task.errors,
        "steps: min / mean / max": steps,
        "instruction": task.instruction,
    }


def _action_row(number: int, of: "ActionComponent") -> dict[str, object]:
    names = {"min": of.low, "1 %": of.q01, "mean": of.mean, "99 %": of.q99, "max": of.high}
    return {
        "action": number,
        **{name: f"{value:.3f}" for name, value in names.items()},
        "std": f"{of.std:.3f}",
        "at the limits": f"{of.saturated:.1%}",
        "noise, rms": f"{of.noise:.3f}",
    }
