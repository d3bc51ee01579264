"""What all tests have in common."""

import os
import signal

import pytest

from vlabench_suites.drawing import gl_backend


def pytest_configure(config: pytest.Config) -> None:
    """Make the process as tests expect it.

    LIBERO's own renderer, which some tests compare with, uses the library that ours does: ours
    finds it by itself; robosuite looks at the variable, once, when it is imported.

    What a shell starts in the background ignores interrupts, and so does all that it starts in
    turn; tests interrupt what they start.

    There is a test process a core. Were each to compute in as many threads as there are cores, they
    would wait for each other's: trainings then take several times as long.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if (backend := gl_backend()) != "none":
        os.environ.setdefault("MUJOCO_GL", backend)
