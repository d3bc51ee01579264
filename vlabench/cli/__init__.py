"""The `vlabench` command: typer reads the arguments, and each command is one short function.

Everything heavy is imported inside the commands, so that `vlabench --help` answers at once.
"""

import sys

import typer

from vlabench.cli import (
    benching,
    comparing,
    demos,
    gate,
    info,
    ingest,
    inspection,
    profile,
    report,
    running,
    stability,
    sweep,
    training,
)
from vlabench.cli.arguments import refusal
from vlabench.errors import StorageError, VlabenchError

app = typer.Typer(
    name="vlabench",
    help="Run robot-policy benchmarks so that every episode can be run again.",
    epilog="Exit status: 0 done, 1 ran but some episodes are errors, 2 asked for something "
    "impossible (nothing was started), 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
running.register(app)
inspection.register(app)
comparing.register(app)
stability.register(app)
profile.register(app)
sweep.register(app)
gate.register(app)
report.register(app)
ingest.register(app)
info.register(app)
benching.register(app)
demos.register(app)
training.register(app)


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        sys.exit(app(prog_name="vlabench", standalone_mode=False))
    except typer.TyperException as error:
        print(refusal(error), file=sys.stderr)
        sys.exit(2)
    except StorageError as error:
        print(f"vlabench: {error}", file=sys.stderr)
        sys.exit(3)
    except VlabenchError as error:
        print(f"vlabench: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # `vlabench list tasks | head`
        sys.stderr.close()
        sys.exit(0)
