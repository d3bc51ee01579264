"""Ctrl-C: one line, status 130, and no process that stays behind.

This is imported before anybody minds interrupts, so it imports next to nothing.
"""

import os
import signal
import sys

STATUS = 130
AGAIN = "; run the same command again to go on"


class _Interrupts:
    """The first one is a `KeyboardInterrupt`: things are left in order. The next ends all."""

    def __init__(self) -> None:
        self._pressed = self._said = False

    def press(self, number: int, frame: object) -> None:
        """Take a signal."""
        if self._pressed:
            leave()
        self._pressed = True
        raise KeyboardInterrupt

    def end(self, hint: str = "") -> int:
        """Say that it was interrupted, once; end what was started; return the exit status."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # enough was heard
        if not self._said:
            self._said = True
            os.write(2, f"vlabench: interrupted{hint}\n".encode())  # `print` may be interrupted
        if "multiprocessing" in sys.modules:
            from multiprocessing import active_children

            for child in active_children():
                child.kill()
        return STATUS


_interrupts = _Interrupts()
end = _interrupts.end


def leave() -> None:
    """End the process: at its usual end, threads of policies would be waited for."""
    end()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, RuntimeError, ValueError):
            pass
    os._exit(STATUS)


def watch() -> None:
    """Mind interrupts from now on, unless they are ignored, as in the background of a shell."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupts.press)
