"""The `vlabench` command: typer reads the arguments, and each command is one short function.

Everything heavy is imported inside `main` and the commands, so that `vlabench --help` answers at
once, and so that an interrupt finds somebody who minds it from the first moment.
"""

import os
import sys

from vlabench.cli import interrupts

TYPE_CHECKING = False  # that of `typing`, which takes a while to import

if TYPE_CHECKING:
    from vlabench.cli.commands import app as app


def __getattr__(name: str) -> object:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vlabench.cli.commands import app

    return app


def main() -> None:
    """Run the command line and exit with its status."""
    interrupts.watch()
    try:
        status = _status()
    except KeyboardInterrupt:
        interrupts.leave()
    if status == interrupts.STATUS:
        interrupts.leave()
    sys.exit(status)


def _status() -> int:
    """Run the command line and return its status."""
    from vlabench.cli import output
    from vlabench.cli.arguments import refusal
    from vlabench.errors import StorageError, VlabenchError

    output.prepare(sys.argv[1:])
    import typer

    from vlabench.cli.commands import app

    try:
        return int(app(prog_name="vlabench", standalone_mode=False) or 0)
    except typer.TyperException as error:
        return _say(refusal(error), error.exit_code, said="")  # of `gate`, 3
    except StorageError as error:
        return _say(str(error), 3)
    except VlabenchError as error:
        return _say(str(error), 2)
    except BrokenPipeError:  # `vlabench list tasks | head`
        sys.stderr.close()
        return 0
    except OSError as error:  # nobody said more of it: a full disk, a folder that is gone
        return _say(_said(error), 3)
    except MemoryError:
        return _say("there is not enough memory; with fewer --workers, less is needed", 3)


def _said(error: OSError) -> str:
    try:
        os.getcwd()  # noqa: PTH109 - nothing heavy before the first command
    except OSError:
        return "the folder that this was started in is gone"
    return f"{error.strerror or error}: {error.filename or 'no file is named'}"


def _say(error: str, status: int, *, said: str = "vlabench: ") -> int:
    from vlabench.cli.output import visible

    print(said + (visible(error).replace("\n", "\\n") if said else error), file=sys.stderr)
    return status
