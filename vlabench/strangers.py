"""Calling code that is not ours, so that it cannot end, double, move or flood this process."""

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

_MOST = 20_000
"""Characters of an error's text that are kept: its beginning and its end."""
_inside = threading.local()
_leave = os._exit


class QuitError(Exception):
    """Raised in place of what would have ended the process, or a generator of ours."""


def call(function: Callable[_P, _R], *arguments: _P.args, **named: _P.kwargs) -> _R:
    """Call a stranger's function.

    `os._exit`, which would end the run with a status of its choice, is refused meanwhile. A process
    that it forked and that returns here ends here. The folder we are in stays what it was.

    Raises:
        Exception: Whatever it raises.
        QuitError: In place of `SystemExit` and other exceptions that are no `Exception`.
        KeyboardInterrupt: In the main thread, where it is the user's.
    """
    process, before, home = os.getpid(), getattr(_inside, "process", None), _folder()
    os._exit, _inside.process = _exit, process
    try:
        return function(*arguments, **named)
    except BaseException as error:
        if isinstance(error, Exception) or is_interrupt(error):
            raise
        said = "".join(traceback.format_exception_only(error)).strip()
        raise QuitError(f"it raised {bounded(said)}") from error
    finally:
        _inside.process = before
        if os.getpid() != process:
            _leave(1)
        _return_to(home)


def inside() -> bool:
    """Say whether what runs in this thread was called by `call`."""
    return getattr(_inside, "process", None) == os.getpid()


def is_interrupt(error: BaseException) -> bool:
    """Say whether an exception is the user's Ctrl-C: a main thread's that may hear of one."""
    main = threading.current_thread() is threading.main_thread()
    return (
        isinstance(error, KeyboardInterrupt)
        and main
        and signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    )


@contextmanager
def staying() -> Iterator[None]:
    """Return to the folder we are in, wherever what is called inside goes to."""
    home = _folder()
    try:
        yield
    finally:
        _return_to(home)


def account() -> str:
    """Return the traceback of the exception that is being handled, cut to a bound."""
    return bounded(traceback.format_exc())


def bounded(text: str) -> str:
    """Return a text with its middle left out where it is very long."""
    if len(text) <= _MOST:
        return text
    half = _MOST // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"


@contextmanager
def deadline(seconds: float | None, what: str) -> Iterator[None]:
    """End the process, with one line and status 2, if what is done inside takes longer.

    A thread can be left behind but code that makes a policy may want to be in the main one. Only
    seconds in which this process could run are counted.
    """
    done = threading.Event()
    if seconds is not None:
        said = f"{what} took longer than {seconds:g} s (watchdog); --watchdog allows for more"
        threading.Thread(target=_end_unless, args=(done, seconds, said), daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _end_unless(done: threading.Event, seconds: float, said: str) -> None:
    while seconds > 0:
        if done.wait(min(1.0, seconds)):
            return
        seconds -= 1.0
    with suppress(OSError):
        os.write(2, f"vlabench: {said}\n".encode())
    _leave(2)


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - asked at every decision
    except OSError:  # it was removed
        return None


def _return_to(home: str | None) -> None:
    if home is not None and _folder() != home:
        with suppress(OSError):
            os.chdir(home)


def _exit(status: int) -> NoReturn:
    """Stand in for `os._exit`: refuse it to who was called, and to nobody else."""
    if inside():
        raise QuitError(f"it called os._exit({status})")
    _leave(status)
