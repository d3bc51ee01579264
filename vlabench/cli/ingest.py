"""Command that takes in results of other tools: ingest."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vlabench.cli.options import Json, TaskRows


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ingest")(ingest)


def ingest(
    files: Annotated[
        list[Path], typer.Argument(help="Files of one policy and one format.", metavar="FILE...")
    ],
    out: Annotated[
        Path, typer.Option(help="Results file to write; never overwritten.", metavar="FILE")
    ],
    format: Annotated[
        Literal["auto", "lerobot", "vla-eval", "openvla", "csv", "json", "log"],
        typer.Option(
            help="Who wrote them: lerobot-eval's eval_info.json, vla-eval's aggregate JSON, a log "
            "of OpenVLA, OpenVLA-OFT or openpi, a row an episode in CSV or JSON, a log that "
            "--pattern describes.",
        ),
    ] = "auto",
    suite: Annotated[
        str | None,
        typer.Option(
            help="Name of the suite, where the files do not say.", metavar="ID", show_default=False
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Name of the policy, where the files do not say; which one, where they are of "
            "several.",
            metavar="ID",
            show_default=False,
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="Which column or key says what, where names are no common ones: "
            "task=env,init=trial,success=done. Meanings are suite, task, number, init, episode, "
            "repeat, seed, run_seed, success, steps, error, policy and group, which tables may "
            "group by; one without a column is left out.",
            metavar="MEANING=COLUMN",
        ),
    ] = None,
    patterns: Annotated[
        list[str] | None,
        typer.Option(
            "--pattern",
            help="How a log's lines are written: a regular expression with named groups, which "
            "are the meanings above; success ends an episode. May be given several times.",
            metavar="REGEX",
        ),
    ] = None,
    tasks: TaskRows = False,
    as_json: Json = False,
) -> None:
    """Make a results file of what other tools measured, so that every command works on it.

    What their files do not say stays unknown. Runs of one format compare; where equal initial
    states are not known to be, with --unpaired. Several files may hold the same episodes, as of
    several evaluation seeds: they are repeats.
    """
    from vlabench import ingest as reading
    from vlabench.cli.tables import print_run
    from vlabench.store import read_results, write_run

    run = reading.ingest(
        files,
        format=format,
        suite=suite,
        policy=policy,
        columns=columns or (),
        patterns=patterns or (),
    )
    write_run(out, run)
    print_run(out, read_results(out, hashed=False), as_json=as_json, all_tasks=tasks)
