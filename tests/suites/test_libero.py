"""LIBERO behind the harness is LIBERO: the same tasks, states, steps and pictures."""

import gc
import os
import subprocess
import sys
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from vlabench import (
    EpisodeSpec,
    ObservationSpec,
    Orientation,
    Outcome,
    ProcessRunner,
    SerialRunner,
    Stage,
    Suite,
    load_policy,
    load_suite,
    make_plan,
)
from vlabench_suites.libero import loading
from vlabench_suites.libero.loading import initial_states, prepare_imports

pytest.importorskip("libero", reason="needs the extra: pip install 'vlabench-harness[libero]'")

LIBERO = load_suite("libero")
CAMERAS = ("agentview", "robot0_eye_in_hand")


def episode(task_id: str, init_index: int = 0, scene_seed: int = 7) -> EpisodeSpec:
    return EpisodeSpec(task_id=task_id, init_index=init_index, scene_seed=scene_seed, policy_seed=0)


def test_there_are_the_forty_and_the_ninety_tasks() -> None:
    assert len(LIBERO.tasks) == 40
    assert len(load_suite("libero-90").tasks) == 90
    members = [load_suite(f"libero-{name}") for name in ("spatial", "object", "goal", "10")]
    assert LIBERO.tasks == tuple(task for member in members for task in member.tasks)


def test_a_task_has_the_same_seeds_in_its_suite_and_in_the_group() -> None:
    group = {e.key: e for e in make_plan(LIBERO, episodes=3).episodes}
    alone = {e.key: e for e in make_plan(load_suite("libero-goal"), episodes=3).episodes}
    assert alone.items() <= group.items()


def test_horizons_are_those_that_openvla_publishes() -> None:
    horizons = dict(LIBERO.protocol("openvla").horizons)
    assert list(horizons.values()) == [220, 280, 300, 520, 400]


@pytest.mark.sim
def test_names_and_instructions_are_those_of_liberos_own_benchmark() -> None:
    prepare_imports()
    from libero.libero import benchmark

    for suite_id in ("libero-spatial", "libero-object", "libero-goal", "libero-10", "libero-90"):
        theirs = benchmark.task_maps[suite_id.replace("-", "_")]
        ours = load_suite(suite_id).tasks
        assert [t.scene.partition("/")[2] for t in ours] == list(theirs)
        assert [t.instruction for t in ours] == [t.language for t in theirs.values()]


@pytest.mark.sim
@pytest.mark.parametrize("task_id", [task.id for task in LIBERO.tasks])
def test_every_task_builds_resets_and_steps(task_id: str) -> None:
    protocol = LIBERO.protocol()
    env = LIBERO.make_env(
        LIBERO.task(task_id),
        protocol,
        ObservationSpec(state=protocol.observation.state, state_size=8, privileged=True),
    )
    try:
        env.reset(episode(task_id))
        start = env.state_bytes()
        seen = env.observe()
        assert seen.state.shape == (8,)
        assert seen.instruction == LIBERO.task(task_id).instruction
        steps = [env.step(np.zeros(7, dtype=np.float32)) for _ in range(5)]
        assert not any(step.success or step.done for step in steps)
        assert env.state_bytes() != start
    finally:
        env.close()


@pytest.mark.sim
def test_importing_the_simulator_needs_no_opengl_and_leaves_no_file(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from vlabench_suites.libero.loading import prepare_imports\n"
        "prepare_imports()\n"
        "import libero.libero.envs\n"
        "assert 'MUJOCO_GL' not in os.environ and 'PYOPENGL_PLATFORM' not in os.environ\n"
        "assert not [name for name in sys.modules if name.startswith('OpenGL')]\n"
        "import logging\n"
        "assert not logging.getLogger('robosuite_logs').handlers, 'it writes /tmp/robosuite.log'\n"
    )
    clean = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, "HOME": str(tmp_path)}, cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""
    assert not list(tmp_path.rglob("*libero*"))  # matplotlib makes a folder of its own


@pytest.mark.sim
@pytest.mark.parametrize("visible", ["1", "MIG-1/2/3", "2,3", ""])
@pytest.mark.parametrize("device", ["0", "none", ""])
def test_variables_that_choose_a_gpu_are_no_hindrance(visible: str, device: str) -> None:
    code = (
        "import os\n"
        "from vlabench_suites.libero.loading import prepare_imports\n"
        "prepare_imports()\n"
        "import robosuite\n"
        f"assert os.environ['MUJOCO_EGL_DEVICE_ID'] == {device!r}\n"
    )
    chosen = {"CUDA_VISIBLE_DEVICES": visible, "MUJOCO_EGL_DEVICE_ID": device}
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **chosen}, check=True)


@pytest.mark.sim
def test_a_user_without_a_home_can_import_the_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Path.home` fails for a user whom the system does not know."""
    code = (
        "import os, pathlib\n"
        "home = pathlib.Path.home\n"
        "def known():\n"
        "    if 'HOME' not in os.environ:\n"
        "        raise RuntimeError('Could not determine home directory.')\n"
        "    return home()\n"
        "pathlib.Path.home = known\n"
        "from vlabench_suites.libero.loading import bddl_file\n"
        "bddl_file('libero_goal/x')\n"
    )
    clean = {k: v for k, v in os.environ.items() if k != "HOME"}
    subprocess.run([sys.executable, "-c", code], env=clean, check=True)


@pytest.mark.parametrize(
    ("places", "keeps", "chosen"),
    [
        (["__pycache__"], True, None),
        (["numba"], True, None),
        (["ours/numba"], True, "ours/numba"),
        ([], False, None),
    ],
)
def test_numba_keeps_what_it_compiles_where_it_can(
    places: list[str],
    keeps: bool,
    chosen: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VLABENCH_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    open_ = (str(tmp_path / "home" / "numba") if p == "numba" else p for p in places)
    endings = tuple(open_)
    monkeypatch.setattr(loading, "_writable", lambda folder: str(folder).endswith(endings))
    assert loading.numba_keeps.__wrapped__() == keeps
    named = os.environ["NUMBA_CACHE_DIR"]
    assert named == (str(tmp_path / chosen) if chosen else "")


class Moment(NamedTuple):
    """What LIBERO's own environment held and showed at one control step."""

    physics: bytes
    success: bool
    observation: dict[str, Any]


def reference_episodes(
    scene: str, specs: list[EpisodeSpec], actions: Any, drawn: int
) -> list[list[Moment]]:
    """Drive LIBERO's own `OffScreenRenderEnv` as OpenVLA's script does.

    It is done with before anything of ours draws: robosuite draws into whatever OpenGL context is
    current, and frees its own in whatever is current then. Drawing is nearly all that it does:
    every `drawn`-th step shows pictures.
    """
    prepare_imports()
    from libero.libero import get_libero_path
    from libero.libero.envs.env_wrapper import OffScreenRenderEnv

    env: Any = OffScreenRenderEnv(
        bddl_file_name=f"{get_libero_path('bddl_files')}/{scene}.bddl",
        camera_heights=256,
        camera_widths=256,
    )
    samplers = len(env.env.object_property_initializers)
    draws = [True]
    for camera in CAMERAS:
        look(env.env._observables[f"{camera}_image"], draws)
    found = []
    for spec in specs:
        del env.env.object_property_initializers[samplers:]  # as in a new environment
        env.seed(spec.scene_seed)
        env.reset()
        env.set_init_state(initial_states(scene)[spec.init_index])
        moments = []
        for number, action in enumerate([*[[0, 0, 0, 0, 0, 0, -1]] * 10, *actions], 1):
            draws[0] = number % drawn == 0
            observation, _, done, _ = env.step(action)
            physics = env.sim.data.qpos.tobytes() + env.sim.data.qvel.tobytes()
            moments.append(Moment(physics, done, observation))
        draws[0] = True
        found.append(moments[9:])
    env.close()
    del env
    gc.collect()
    return found


def look(observable: Any, draws: list[bool]) -> None:
    """Let robosuite draw a camera's picture where `draws[0]` says so, and see black elsewhere."""
    draw = observable._sensor
    black = np.zeros((256, 256, 3), dtype=np.uint8)
    observable._sensor = wraps(draw)(lambda cache: draw(cache) if draws[0] else black)


@pytest.mark.sim
@pytest.mark.parametrize(
    ("task_id", "num_steps", "drawn"),
    [
        ("libero-spatial/0", 20, 1),  # a table
        ("libero-object/4", 20, 10),  # the floor
        ("libero-10/2", 10, 10),  # a kitchen, with a stove
        ("libero-10/7", 10, 10),  # a living room
        ("libero-10/5", 10, 10),  # a study
    ],
)
def test_stepping_equals_liberos_own_environment_to_the_last_bit(
    task_id: str, num_steps: int, drawn: int
) -> None:
    specs = [episode(task_id, 3, 11), episode(task_id, 1, 12)]
    actions = np.random.default_rng(3).uniform(-1, 1, (num_steps, 7)).astype(np.float32)
    protocol, task = LIBERO.protocol(), LIBERO.task(task_id)
    theirs = reference_episodes(task.scene, specs, actions, drawn)
    ours = LIBERO.make_env(task, protocol, protocol.observation)
    try:
        for spec, moments in zip(specs, theirs, strict=True):
            ours.reset(spec)
            success = False
            for number, moment in enumerate(moments):
                assert ours.state_bytes().endswith(moment.physics), f"at step {number}"
                assert success == moment.success
                if number % 10 == 0:
                    assert_same_observation(ours.observe(), moment.observation)
                if number < len(actions):
                    success = ours.step(actions[number]).success
    finally:
        ours.close()


def assert_same_observation(ours: Any, theirs: dict[str, Any]) -> None:
    from robosuite.utils.transform_utils import quat2axisangle

    parts = [
        theirs["robot0_eef_pos"],
        quat2axisangle(theirs["robot0_eef_quat"].copy()),
        theirs["robot0_gripper_qpos"],
    ]
    assert np.array_equal(ours.state, np.concatenate(parts).astype(np.float32))
    for camera in CAMERAS:
        turned = theirs[f"{camera}_image"][::-1, ::-1]
        assert np.array_equal(ours.images[camera], turned), camera
    bowl = theirs["object-state"][:3]  # the first thing's position
    assert any(np.array_equal(pose[:3], bowl) for pose in ours.privileged.values())


@pytest.mark.sim
def test_the_official_protocol_shows_pictures_as_libero_does_upside_down() -> None:
    assert {c.orientation for c in LIBERO.protocol("libero-official").observation.cameras} == {
        Orientation.UPSIDE_DOWN
    }


@pytest.mark.sim
def test_progress_is_the_share_of_the_goals_conditions_that_hold() -> None:
    """Of two pots on a stove that is on, the stove is on from the beginning."""
    suite = short(LIBERO)
    policy = load_policy("noop", suite)
    stage = Stage(suite=suite, protocol=suite.protocol(), wants=policy.observation)
    episodes = make_plan(suite, tasks="libero-10/8", episodes=1).episodes
    (record,) = SerialRunner().run(stage, policy, episodes)
    assert (record.outcome, record.progress) == (Outcome.FAILURE, 1 / 3), record.error


@pytest.mark.sim
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_and_order_change_no_trajectory(workers: int, first_run: dict[str, Any]) -> None:
    episodes = PLAN.episodes if workers == 4 else PLAN.episodes[::-1]
    assert traces(ProcessRunner(workers), episodes) == first_run


PLAN = make_plan(LIBERO, tasks="libero-object/1,libero-goal/7", episodes=2)


@pytest.fixture(scope="module")
def first_run() -> dict[str, Any]:
    return traces(ProcessRunner(2), PLAN.episodes)


@pytest.mark.sim
def test_the_fast_physics_and_liberos_own_give_the_same_digests(first_run: dict[str, Any]) -> None:
    episodes = PLAN.episodes[::2]
    reference = traces(ProcessRunner(2), episodes, physics="reference")
    assert reference == {e.key: first_run[e.key] for e in episodes}


def traces(runner: ProcessRunner, episodes: Any, physics: str = "exact") -> dict[str, Any]:
    suite = short(LIBERO)
    policy = load_policy("random", suite)
    stage = Stage(
        suite=suite,
        protocol=suite.protocol(),
        wants=policy.observation,
        settings={"physics": physics},
    )
    records = list(runner.run(stage, policy, episodes))
    assert {r.outcome for r in records} == {Outcome.FAILURE}, [r.error for r in records]
    return {r.episode.key: r.trace for r in records}


def short(suite: Suite) -> Suite:
    """Return the suite with a horizon of 20 steps, to test what does not depend on it."""
    protocol = suite.protocol()
    horizons = tuple((name, 20) for name, _ in protocol.horizons)
    return replace(suite, protocols=(replace(protocol, horizons=horizons),))
