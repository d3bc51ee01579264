"""Locks on files that two processes must not write at once."""

from contextvars import ContextVar
from typing import IO, Any

from vlabench.errors import RecordError, RunLockedError

_wanted: ContextVar[bool] = ContextVar("_wanted", default=True)


def lock(file: IO[Any], taken: str) -> None:
    """Lock an open file until it is closed, unless `use_locks` has said not to.

    Args:
        file: Which one.
        taken: What to say when another process has locked it.

    Raises:
        RunLockedError: If another process has.
        RecordError: If files cannot be locked where it lies.
    """
    if not _wanted.get():
        return
    try:
        import fcntl
    except ImportError as error:  # Windows, where results are read
        raise RecordError(
            f"{file.name} cannot be locked on this system; --no-lock goes on without: see to it "
            "that no other process writes there"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunLockedError(taken) from error
    except OSError as error:
        raise RecordError(
            f"{file.name} cannot be locked, its file system has no locks ({error.strerror}); "
            "--no-lock goes on without: see to it that no other process writes there"
        ) from error


def use_locks(*, wanted: bool) -> None:
    """Choose whether `lock` locks, from now on."""
    _wanted.set(wanted)
