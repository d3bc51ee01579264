"""What all tests have in common."""

import os

import pytest

from vlabench_suites.drawing import gl_backend


def pytest_configure(config: pytest.Config) -> None:
    """Let LIBERO's own renderer, which some tests compare with, use the library that ours does.

    Ours finds it by itself; robosuite looks at the variable, once, when it is imported.
    """
    if (backend := gl_backend()) != "none":
        os.environ.setdefault("MUJOCO_GL", backend)
