"""Pictures of a MuJoCo scene, drawn on demand. Shared by every suite that simulates with MuJoCo.

Simulators bring renderers of their own. This one gives the same pixels as robosuite 1.4's and
gymnasium's offscreen ones, and three things that they do not: nothing is loaded before something
is drawn, one OpenGL context serves every scene of the process, and the OpenGL library is found
rather than configured.
"""

import atexit
import ctypes
import os
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, cast
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from vlabench.errors import DrawingError, SimulatorError
from vlabench.spaces import Camera, Orientation, Quality

Backend = Literal["egl", "osmesa", "none"]

_INSTALL = (
    "`apt-get install -y libosmesa6` (draws on the CPU) or "
    "`apt-get install -y libegl1 libgles2` (draws on a GPU, through its driver)"
)
_OSMESA = ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")
_OFF = ("disable", "disabled", "off", "false", "0")
_GL_WORDS = (
    *_OFF,
    "",
    "enable",
    "enabled",
    "on",
    "true",
    "1",
    "glfw",
    "glx",
    "egl",
    "osmesa",
    "cgl",
)
"""What MuJoCo and robosuite take, on one system or another."""
_MAX_GEOMS = 1000  # robosuite's and gymnasium's limit; a scene with more would lose some
_UNUSED = 64  # side of the context's own frame buffer, in pixels: pictures go into another one


def check_environment() -> None:
    """Refuse a `MUJOCO_GL` that MuJoCo cannot be imported with, whether or not anybody draws.

    Raises:
        SimulatorError: With what it may be.
    """
    asked = os.environ.get("MUJOCO_GL", "").strip().lower()
    libraries = {"egl": ("libEGL.so.1",), "osmesa": _OSMESA}.get(asked, ())
    if asked not in _GL_WORDS or (libraries and not any(map(_loads, libraries))):
        there = "whose library is not there" if libraries else "which MuJoCo does not know"
        raise SimulatorError(
            f"the environment variable MUJOCO_GL is {asked!r}, {there}; expected egl, osmesa, glfw "
            "or disabled. Without the variable, a library that draws is found"
        )


def gl_backend() -> Backend:
    """Say which OpenGL library draws in this process, or would if it had to.

    What PyOpenGL was already loaded for cannot be changed and comes first; then what the variable
    `MUJOCO_GL` asks for; then a GPU's EGL; then OSMesa; then EGL on the CPU.
    """
    asked = os.environ.get("MUJOCO_GL", "").strip().lower()
    if loaded := _loaded_backend():
        return loaded
    if asked in ("egl", "osmesa"):
        return cast(Backend, asked)
    if asked in _OFF:
        return "none"
    if _has_gpu() and _loads("libEGL.so.1"):
        return "egl"
    if any(map(_loads, _OSMESA)):
        return "osmesa"
    return "egl" if _loads("libEGL.so.1") else "none"


def require_gl() -> str:
    """Return the OpenGL library that draws in this process, without loading it.

    Raises:
        DrawingError: If there is none.
    """
    backend = gl_backend()
    if backend == "none":
        raise DrawingError(f"pictures need an OpenGL library and none is there; {_INSTALL}")
    return backend


class Painter:
    """Draws one compiled model.

    Args:
        model: A `mujoco.MjModel`; not changed by drawing.
        collision_shapes: Whether geoms of group 0 are shown. robosuite models keep their collision
            shapes there and LIBERO hides them.

    Raises:
        DrawingError: If no OpenGL library can be used.
    """

    def __init__(self, model: Any, *, collision_shapes: bool = True) -> None:
        import mujoco

        _gl_context()  # so that a machine that cannot draw is found out now
        self._model = model
        self._scene = mujoco.MjvScene(model, maxgeom=_MAX_GEOMS)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[0] = collision_shapes
        self._perturbation = mujoco.MjvPerturb()
        self._eye = mujoco.MjvCamera()
        self._eye.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._contexts: dict[Quality, Any] = {}
        _painters.add(self)

    def draw(self, data: Any, camera: Camera) -> NDArray[np.uint8]:
        """Draw the kinematics that `data` holds, which may be older than its positions.

        Returns:
            `[height, width, 3]`, the caller's to keep.

        Raises:
            ValueError: If the model has no such camera.
        """
        import mujoco

        _gl_context().make_current()  # others in the process may have made theirs current
        context = self._context(camera)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)  # not another model's
        self._aim(data, camera)
        viewport = mujoco.MjrRect(0, 0, camera.width, camera.height)
        mujoco.mjr_render(viewport, self._scene, context)
        pixels = np.empty((camera.height, camera.width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(pixels, None, viewport, context)
        return _oriented(pixels, camera.orientation)

    def close(self) -> None:
        """Free what the graphics library holds of the model. Safe to call twice."""
        while self._contexts:
            _, context = self._contexts.popitem()
            _gl_context().make_current()
            context.free()

    def _aim(self, data: Any, camera: Camera) -> None:
        import mujoco

        number = mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_CAMERA, camera.name)
        if number < 0:
            known = ", ".join(self._model.camera(i).name for i in range(self._model.ncam))
            raise ValueError(f"the model has no camera {camera.name!r}; it has: {known or 'none'}")
        self._eye.fixedcamid = number
        full = camera.quality is Quality.FULL
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = full
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = full
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._option,
            self._perturbation,
            self._eye,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )

    def _context(self, camera: Camera) -> Any:
        context = self._contexts.get(camera.quality)
        if context is not None:
            if camera.width <= context.offWidth and camera.height <= context.offHeight:
                return context
            context.free()
        self._contexts[camera.quality] = context = _mjr_context(self._model, camera)
        return context


_painters: "WeakSet[Painter]" = WeakSet()


def _mjr_context(model: Any, camera: Camera) -> Any:
    """Load a model into the current OpenGL context, with room for a picture of that size."""
    import mujoco

    size, quality = model.vis.global_, model.vis.quality
    kept = size.offwidth, size.offheight, quality.offsamples, quality.shadowsize
    size.offwidth = max(size.offwidth, camera.width)
    size.offheight = max(size.offheight, camera.height)
    if camera.quality is Quality.FAST:
        quality.offsamples = quality.shadowsize = 0
    try:
        return mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
    finally:
        size.offwidth, size.offheight, quality.offsamples, quality.shadowsize = kept


def _oriented(pixels: NDArray[np.uint8], orientation: Orientation) -> NDArray[np.uint8]:
    """Turn pixels that come bottom row first."""
    if orientation is Orientation.UPRIGHT:
        return np.ascontiguousarray(pixels[::-1])
    if orientation is Orientation.MIRRORED:
        return np.ascontiguousarray(pixels[::-1, ::-1])
    return pixels


@cache
def _gl_context() -> Any:
    """Make the one OpenGL context of this process, at the first call."""
    backend = require_gl()
    # PyOpenGL looks at the one when it is loaded, robosuite and gymnasium look at the other: they
    # must not load a second library beside the one that draws.
    os.environ["PYOPENGL_PLATFORM"] = os.environ["MUJOCO_GL"] = backend
    try:
        context = import_module(f"mujoco.{backend}").GLContext(_UNUSED, _UNUSED)
        context.make_current()
    except Exception as error:  # PyOpenGL raises whatever it stumbles over
        raise DrawingError(
            f"pictures cannot be drawn with {backend} ({error!r}); install a library that works, "
            f"{_INSTALL}, or choose another with MUJOCO_GL=osmesa or MUJOCO_GL=egl"
        ) from error
    atexit.register(_shut_down)
    return context


def _shut_down() -> None:
    """Free in the one order that works: models, then the context, then (by mujoco) the display."""
    for painter in list(_painters):
        painter.close()
    _gl_context.cache_clear()


def _loaded_backend() -> Backend | None:
    platform = getattr(sys.modules.get("OpenGL.platform"), "PLATFORM", None)
    backends: dict[str, Backend] = {"EGLPlatform": "egl", "OSMesaPlatform": "osmesa"}
    return backends.get(type(platform).__name__)


def _has_gpu() -> bool:
    dev = Path("/dev")
    return any(dev.glob("nvidia[0-9]*")) or any(dev.glob("dri/renderD*"))


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
