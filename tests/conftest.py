"""What all tests have in common."""

import os
import signal

import pytest
from hypothesis import Phase, is_hypothesis_test, settings

from vlabench_suites.drawing import gl_backend

# The same examples every time, so that a test which fails does so for a reason in the change.
# `make fuzz` looks for others.
settings.register_profile("same", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("fuzz", deadline=None, derandomize=False, print_blob=True)
settings.register_profile(
    "unshrunk",  # as `make mutants` wants it, which asks whether a test fails, and not how simply
    settings.get_profile("same"),
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile("same")
MORE_IN_FUZZ = 30


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Multiply the examples of every property test where the profile is `fuzz`.

    A test asks for as many as it can afford in `make test`, which hides the profile's own number;
    and settings that were given to a test cannot be changed but where hypothesis keeps them.
    """
    if settings.get_current_profile_name() != "fuzz":
        return
    tests = {item.obj for item in items if is_hypothesis_test(getattr(item, "obj", None))}
    for test in tests:
        own = test._hypothesis_internal_use_settings
        test._hypothesis_internal_use_settings = settings(
            own, max_examples=MORE_IN_FUZZ * own.max_examples
        )
