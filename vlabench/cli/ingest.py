"""Command that takes in results of other tools: ingest."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vlabench.cli.options import Json


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
        Literal["auto", "lerobot", "vla-eval", "openvla", "csv"],
        typer.Option(
            help="Who wrote them: lerobot-eval's eval_info.json, vla-eval's aggregate JSON, a log "
            "of OpenVLA or OpenVLA-OFT, CSV with columns task and success.",
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
    as_json: Json = False,
) -> None:
    """Make a results file of what other tools measured, so that every command works on it.

    What their files do not say stays unknown. Runs of one format compare; where equal initial
    states are not known to be, with --unpaired.
    """
    from vlabench import ingest as reading
    from vlabench.cli.tables import print_run
    from vlabench.store import read_results, write_run

    write_run(out, reading.ingest(files, format=format, suite=suite, policy=policy))
    print_run(out, read_results(out, hashed=False), as_json=as_json)
