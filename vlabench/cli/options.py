"""Options that more than one command has."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from vlabench.metrics import OnError, Rules

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read.")]
TaskRows = Annotated[
    bool, typer.Option("--tasks", help="Print every task, however many there are.")
]
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
PolicyId = Annotated[
    str,
    typer.Option("--policy", help="What is evaluated: see `vlabench list policies`.", metavar="ID"),
]
Tasks = Annotated[
    str,
    typer.Option(
        "--tasks",
        help="Which tasks: globs over task ids or over the part after the slash, or a subset that "
        "papers report, such as Meta-World's mt10; separated by commas.",
        metavar="GLOB",
    ),
]
Episodes = Annotated[
    int | None,
    typer.Option(
        "--episodes",
        help="Initial states for each task. [default: the protocol's own number]",
        show_default=False,
    ),
]
Repeats = Annotated[
    int,
    typer.Option("--repeats", help="Episodes for each initial state, with other policy draws."),
]
Seed = Annotated[int, typer.Option("--seed", help="Root of every seed.")]
Watchdog = Annotated[
    float,
    typer.Option(
        "--watchdog", help="Seconds that a simulator or the policy may take for one answer."
    ),
]
MaxErrors = Annotated[
    int,
    typer.Option(
        "--max-errors", help="Stop after so many errors when nothing but errors comes back."
    ),
]
RetryErrors = Annotated[
    bool, typer.Option("--retry-errors", help="Run episodes that were errors again.")
]
NoLock = Annotated[
    bool,
    typer.Option(
        "--no-lock",
        help="Lock nothing: for file systems without locks. No other process may write there.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print the closing table only.")]
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
Margin = Annotated[
    float, typer.Option("--margin", help="A difference that is none, in points.", metavar="POINTS")
]
Unpaired = Annotated[
    bool,
    typer.Option("--unpaired", help="Episodes are independent: plans may differ, tasks may not."),
]
OnErrorOption = Annotated[
    Literal["raise", "exclude", "as-failure"],
    typer.Option("--on-error", help="What episodes that broke count as."),
]


def rules_of(margin: float, unpaired: bool, on_error: "OnError") -> "Rules":
    """Return how to compare, of the options of the same names.

    Raises:
        typer.BadParameter: If the margin is none.
    """
    from vlabench.metrics import Rules

    if not 0 < margin < 100:
        raise typer.BadParameter(
            f"--margin {margin:g} is no margin; expected points, more than 0 and less than 100, as "
            "in --margin 3"
        )
    return Rules(margin=margin / 100, unpaired=unpaired, on_error=on_error)
