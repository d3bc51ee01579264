"""Options that more than one command has."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read.")]
SuiteId = Annotated[
    str, typer.Option("--suite", help="Which tasks: see `vlabench list suites`.", metavar="ID")
]
ProtocolName = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        help="Which rules: see `vlabench list protocols`. [default: the suite's first]",
        metavar="ID",
        show_default=False,
    ),
]
RunFile = Annotated[Path, typer.Argument(help="A results file.", metavar="RUN")]
RunFiles = Annotated[list[Path], typer.Argument(help="Results files.", metavar="RUN...")]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Simulators side by side; changes the speed and nothing else. "
        "[default: the number of cores]",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the suite or the policy.", metavar="KEY=VALUE"),
]
