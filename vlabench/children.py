"""Processes of ours. An interrupt is this process's to handle: theirs would print tracebacks."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from typing import Any, TypeVar

_T = TypeVar("_T")
_SPAWN = get_context("spawn")  # a fork after OpenGL or torch threads deadlocks


@contextmanager
def deaf() -> Iterator[None]:
    """Start processes inside. They never hear of an interrupt; this one hears of it afterwards."""
    resource_tracker.ensure_running()  # by itself, it would let interrupts through again
    heard: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda number, _: heard.append(number)) if main else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if main:
            signal.signal(signal.SIGINT, handler)
        if heard:
            signal.raise_signal(signal.SIGINT)


def call_apart(function: Callable[..., _T], *arguments: Any) -> _T:
    """Call a function in a process of its own, which ends with the call, whatever becomes of it.

    Raises:
        Exception: What the function raises, or a RuntimeError if the process ends without a word.
    """
    ours, theirs = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_answer, args=(theirs, function, arguments), daemon=True)
    with deaf():
        process.start()
    theirs.close()
    try:
        answer, error = ours.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"its process ended with status {process.exitcode}") from None
    finally:
        process.kill()
        process.join()
    if error is not None:
        raise error
    return answer  # type: ignore[no-any-return]


def _answer(connection: Connection, function: Callable[..., Any], arguments: Any) -> None:
    answer: tuple[Any, Exception | None]
    try:
        answer = function(*arguments), None
    except Exception as error:  # noqa: BLE001 - handed to who asked
        answer = None, error
    try:
        connection.send(answer)
    except Exception as error:  # noqa: BLE001 - it cannot be pickled
        connection.send((None, RuntimeError(repr(error))))
