"""Processes that are started here leave interrupts to the one that started them."""

import signal
import subprocess
import sys

import pytest

from vlabench.children import deaf

CHILD = "import time; print('begins', flush=True); time.sleep(0.2); print('lived')"


def test_what_is_started_inside_never_hears_of_an_interrupt() -> None:
    with deaf():
        child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True)
    child.send_signal(signal.SIGINT)  # while it imports, or before
    assert child.stdout
    assert child.stdout.readline() == "begins\n"
    child.send_signal(signal.SIGINT)
    assert child.communicate() == ("lived\n", None)
    assert child.returncode == 0


def test_an_interrupt_meanwhile_is_heard_once_everything_is_started() -> None:
    done = list[str]()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it

    def start() -> None:
        with deaf():
            signal.raise_signal(signal.SIGINT)
            done.append("started")

    try:
        with pytest.raises(KeyboardInterrupt):
            start()
        assert done == ["started"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
