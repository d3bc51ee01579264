"""Pictures are those that robosuite and gymnasium draw, whatever was imported before."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vlabench import Camera, Orientation, load_suite
from vlabench.errors import DrawingError, SimulatorError
from vlabench.registry import require_packages
from vlabench.spaces import Quality
from vlabench_suites import drawing
from vlabench_suites.drawing import Painter, check_environment, gl_backend, require_gl

mujoco = pytest.importorskip(
    "mujoco", reason="needs the extra: pip install 'vlabench-harness[metaworld]'"
)

SCENE = """
<mujoco>
  <visual><global offwidth="64" offheight="48"/><quality shadowsize="512"/></visual>
  <asset>
    <texture name="squares" type="2d" builtin="checker" rgb1="1 1 1" rgb2="0 0 0"
     width="32" height="32"/>
    <material name="floor" texture="squares" texrepeat="4 4" reflectance="0.3"/>
  </asset>
  <worldbody>
    <light pos="0.5 -1 2" dir="-0.2 0.5 -1" directional="true"/>
    <camera name="front" pos="0 -1.2 0.5" xyaxes="1 0 0 0 0.4 1"/>
    <camera name="side" pos="1.2 0 0.5" xyaxes="0 1 0 -0.4 0 1"/>
    <geom type="plane" size="1 1 0.1" material="floor" group="1"/>
    <geom type="box" size="0.2 0.2 0.2" pos="-0.3 0 0.2" rgba="1 0 0 1" group="0"/>
    <body pos="0.3 0 0.3">
      <freejoint/>
      <geom type="sphere" size="0.2" rgba="0 0.4 1 1" group="1"/>
    </body>
  </worldbody>
</mujoco>
"""
FRONT = Camera(name="front", height=48, width=64)


@pytest.fixture
def scene() -> tuple[Any, Any]:
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


@pytest.fixture
def painter(scene: tuple[Any, Any]) -> Iterator[Painter]:
    painter = Painter(scene[0])
    yield painter
    painter.close()


def gymnasiums(model: Any, data: Any, camera: Camera, *, fast: bool = False) -> NDArray[np.uint8]:
    """Draw with gymnasium's offscreen viewer."""
    from gymnasium.envs.mujoco.mujoco_rendering import OffScreenViewer

    viewer = OffScreenViewer(model, data, camera.width, camera.height)
    if fast:
        viewer.scn.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        viewer.scn.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
    image: NDArray[np.uint8] = viewer.render("rgb_array", model.camera(camera.name).id).copy()
    viewer.con.free()
    return image


@pytest.mark.sim
@pytest.mark.parametrize("name", ["front", "side"])
def test_full_pictures_equal_gymnasiums(
    name: str, scene: tuple[Any, Any], painter: Painter
) -> None:
    camera = Camera(name=name, height=48, width=64)
    image = painter.draw(scene[1], camera)
    assert image.shape == (48, 64, 3)
    assert image.std() > 20
    assert np.array_equal(image, gymnasiums(*scene, camera))


@pytest.mark.sim
def test_fast_pictures_lack_multisampling_shadows_and_reflections_and_nothing_else(
    scene: tuple[Any, Any], painter: Painter
) -> None:
    model, data = scene
    fast = Camera(name="front", height=48, width=64, quality=Quality.FAST)
    image = painter.draw(data, fast)
    assert not np.array_equal(image, painter.draw(data, FRONT))
    model.vis.quality.offsamples = 0
    assert np.array_equal(image, gymnasiums(model, data, fast, fast=True))


@pytest.mark.sim
def test_pictures_of_both_qualities_may_take_turns(
    scene: tuple[Any, Any], painter: Painter
) -> None:
    fast = Camera(name="front", height=48, width=64, quality=Quality.FAST)
    first = [painter.draw(scene[1], camera) for camera in (FRONT, fast)]
    again = [painter.draw(scene[1], camera) for camera in (FRONT, fast)]
    assert np.array_equal(first, again)


@pytest.mark.sim
def test_orientations_are_turns_of_one_picture(scene: tuple[Any, Any], painter: Painter) -> None:
    shown = {
        orientation: painter.draw(
            scene[1], Camera(name="front", height=48, width=64, orientation=orientation)
        )
        for orientation in Orientation
    }
    upright = shown[Orientation.UPRIGHT]
    assert upright[:8].mean() < upright[-8:].mean()  # a black sky above a light floor
    assert np.array_equal(shown[Orientation.MIRRORED], upright[:, ::-1])
    assert np.array_equal(shown[Orientation.UPSIDE_DOWN], upright[::-1])


@pytest.mark.sim
def test_drawing_changes_neither_the_model_nor_the_state(
    scene: tuple[Any, Any], painter: Painter
) -> None:
    model, data = scene
    visual = model.vis
    before = str(visual.quality), str(visual.global_), data.qpos.tobytes(), data.xpos.tobytes()
    for quality in Quality:
        painter.draw(data, Camera(name="front", height=100, width=100, quality=quality))
    after = str(visual.quality), str(visual.global_), data.qpos.tobytes(), data.xpos.tobytes()
    assert before == after


@pytest.mark.sim
def test_a_picture_may_be_larger_than_the_models_own_buffer(
    scene: tuple[Any, Any], painter: Painter
) -> None:
    small = painter.draw(scene[1], FRONT)
    large = painter.draw(scene[1], Camera(name="front", height=300, width=400))
    assert large.shape == (300, 400, 3)
    assert large[-1].any()
    assert large[:, -1].any()
    assert np.array_equal(painter.draw(scene[1], FRONT), small)


@pytest.mark.sim
def test_closing_one_painter_leaves_the_others_alone(
    scene: tuple[Any, Any], painter: Painter
) -> None:
    image = painter.draw(scene[1], FRONT)
    other = Painter(scene[0])
    assert np.array_equal(other.draw(scene[1], FRONT), image)
    other.close()
    other.close()
    assert np.array_equal(painter.draw(scene[1], FRONT), image)


@pytest.mark.sim
def test_an_unknown_camera_is_named_with_those_there_are(
    scene: tuple[Any, Any], painter: Painter
) -> None:
    with pytest.raises(ValueError, match="no camera 'back'; it has: front, side"):
        painter.draw(scene[1], Camera(name="back", height=8, width=8))


def in_a_fresh_process(code: str, **variables: str) -> str:
    """Run code; return what it printed. Whatever it writes to stderr at its end is an error."""
    kept = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)],
        env={**kept, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Exception ignored" not in done.stderr
    return done.stdout.strip()


DRAW = f'''
import mujoco, numpy as np
from vlabench import Camera
from vlabench_suites.drawing import Painter, gl_backend
model = mujoco.MjModel.from_xml_string("""{SCENE}""")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
def draw(**options):
    return Painter(model, **options).draw(data, Camera(name="front", height=48, width=64))
'''


def test_importing_the_module_loads_nothing_and_sets_no_variable() -> None:
    code = """
        import os, sys
        before = dict(os.environ)
        import vlabench_suites.drawing
        print({"mujoco", "OpenGL"} & set(sys.modules), dict(os.environ) == before)
    """
    assert in_a_fresh_process(code) == "set() True"


@pytest.mark.sim
@pytest.mark.parametrize("shown", [True, False])
def test_pictures_equal_robosuites_which_may_be_imported_afterwards(shown: bool) -> None:
    pytest.importorskip("robosuite")
    code = f"""
ours = draw(collision_shapes={shown})
from robosuite.utils.binding_utils import MjRenderContextOffscreen, MjSim
sim = MjSim(model)
context = MjRenderContextOffscreen(sim, device_id=-1)
context.vopt.geomgroup[0] = int({shown})
sim.forward()
context.render(64, 48, camera_id=0)
theirs = context.read_pixels(64, 48)[::-1]
print(np.array_equal(ours, theirs), ours.std() > 20)
"""
    assert in_a_fresh_process(DRAW + code) == "True True"


@pytest.mark.sim
def test_robosuite_may_be_imported_before(scene: tuple[Any, Any], painter: Painter) -> None:
    pytest.importorskip("robosuite")
    code = "import robosuite\n" + DRAW + "print(draw().sum(), gl_backend())"
    if "egl" not in usable():
        pytest.skip("robosuite loads EGL, and there is none")
    assert in_a_fresh_process(code) == f"{painter.draw(scene[1], FRONT).sum()} egl"


@pytest.mark.sim
@pytest.mark.parametrize("backend", ["egl", "osmesa"])
def test_both_libraries_draw_and_one_can_be_asked_for(backend: str) -> None:
    if backend not in usable():
        pytest.skip(f"{backend} is not installed")
    done = in_a_fresh_process(DRAW + "print(gl_backend(), draw().any())", MUJOCO_GL=backend)
    assert done == f"{backend} True"


@pytest.mark.sim
@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_pictures_are_the_same_with_and_without_mesas_threads() -> None:
    """Worker processes draw without them, a serial run with as many as there are cores."""
    if "osmesa" not in usable():
        pytest.skip("osmesa is not installed")
    code = """
import hashlib, os
for quality in ("fast", "full"):
    camera = Camera(name="front", height=256, width=256, quality=quality)
    print(hashlib.sha256(Painter(model).draw(data, camera)).hexdigest())
print(len(os.listdir("/proc/self/task")))
"""
    none, some = (
        in_a_fresh_process(DRAW + code, MUJOCO_GL="osmesa", LP_NUM_THREADS=threads).split()
        for threads in ("0", "4")
    )

    assert none[:2] == some[:2]
    assert int(some[2]) >= int(none[2]) + 4


def usable() -> set[str]:
    libraries = {"egl": ("libEGL.so.1",), "osmesa": drawing._OSMESA}
    return {name for name, files in libraries.items() if any(map(drawing._loads, files))}


@pytest.mark.sim
def test_without_a_library_the_error_says_what_to_install() -> None:
    code = """
        from vlabench.errors import DrawingError
        from vlabench_suites.drawing import Painter
        try:
            Painter(None)
        except DrawingError as error:
            print(error)
    """
    said = in_a_fresh_process(code, MUJOCO_GL="disabled")
    assert "apt-get install -y libosmesa6" in said
    assert "apt-get install -y libegl1 libgles2" in said


@pytest.mark.parametrize(
    ("installed", "gpu", "backend"),
    [
        ({"libEGL.so.1", "libOSMesa.so.8"}, True, "egl"),
        ({"libEGL.so.1", "libOSMesa.so.8"}, False, "osmesa"),
        ({"libOSMesa.so.6"}, True, "osmesa"),
        ({"libEGL.so.1"}, False, "egl"),
        (set(), True, "none"),
    ],
)
def test_a_gpu_is_preferred_then_osmesa_then_egl_on_the_cpu(
    installed: set[str], gpu: bool, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(drawing, "_loaded_backend", lambda: None)
    monkeypatch.setattr(drawing, "_has_gpu", lambda: gpu)
    monkeypatch.setattr(drawing, "_loads", installed.__contains__)
    assert gl_backend() == backend
    if backend == "none":
        with pytest.raises(DrawingError, match="none is there"):
            require_gl()


def test_what_is_loaded_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_loaded_backend", lambda: "egl")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert gl_backend() == "egl"


@pytest.mark.parametrize("suite_id", ["libero", "metaworld", "metaworld-split"])
@pytest.mark.parametrize("word", ["nonsense", "EGL2"])
def test_a_library_that_nobody_knows_is_refused_before_anything_is_imported(
    suite_id: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUJOCO_GL", word)
    suite = replace(load_suite(suite_id), packages=())
    with pytest.raises(SimulatorError, match=f"MUJOCO_GL is '{word.lower()}', which MuJoCo does"):
        require_packages(suite)


@pytest.mark.parametrize("word", ["egl", "osmesa"])
def test_a_library_that_is_asked_for_and_not_there_is_refused(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUJOCO_GL", word)
    monkeypatch.setattr("vlabench_suites.drawing._loads", lambda library: False)
    with pytest.raises(SimulatorError, match=f"MUJOCO_GL is '{word}', whose library is not there"):
        check_environment()


@pytest.mark.parametrize("word", ["", "glfw", "disabled", "off", " OFF "])
def test_words_that_mujoco_knows_are_taken(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", word)
    check_environment()
