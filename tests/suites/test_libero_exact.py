"""The fast physics of LIBERO is LIBERO's own to the last bit: steps, resets and cached models."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("libero", reason="needs the extra: pip install 'vlabench-harness[libero]'")

# One task of each kind of scene: tables, floor, kitchen (with a door), living room, study.
SCENES = [
    "libero_spatial/pick_up_the_black_bowl_between_the_plate_and_the_ramekin"
    "_and_place_it_on_the_plate",
    "libero_object/pick_up_the_bbq_sauce_and_place_it_in_the_basket",
    "libero_goal/open_the_middle_drawer_of_the_cabinet",
    "libero_10/KITCHEN_SCENE6_put_the_yellow_and_white_mug_in_the_microwave_and_close_it",
    "libero_10/LIVING_ROOM_SCENE5_put_the_white_mug_on_the_left_plate"
    "_and_put_the_yellow_and_white_mug_on_the_right_plate",
    "libero_10/STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_back_compartment_of_the_caddy",
]
FLOOR, KITCHEN = SCENES[1], SCENES[3]
SETTINGS = {"use_camera_obs": False, "has_renderer": False, "has_offscreen_renderer": False}
STATE = ("time", "qpos", "qvel", "ctrl", "qacc", "qacc_warmstart", "qfrc_bias", "sensordata")
SEEN = ("xpos", "xquat", "xmat", "xipos", "geom_xpos", "geom_xmat", "site_xpos", "site_xmat")
DRAWN = ("cam_xpos", "cam_xmat", "light_xpos", "light_xdir")
CONTROLLER = {
    "goal_pos": "goal_pos",
    "goal_ori": "goal_ori",
    "ee_pos": "ee_pos",
    "ee_ori_mat": "ee_ori_mat",
    "ee_pos_vel": "ee_pos_vel",
    "ee_ori_vel": "ee_ori_vel",
    "joint_pos": "joint_pos",
    "joint_vel": "joint_vel",
    "jac_pos": "J_pos",
    "jac_ori": "J_ori",
    "jac_full": "J_full",
    "mass_matrix": "mass_matrix",
}


class Reference:
    """LIBERO's `ControlEnv`, reset as the first time, and as `OffScreenRenderEnv` is.

    That one makes a renderer between compiling and placing, which solves constraints once more;
    `test_libero.py` compares with it, pictures included.
    """

    def __init__(self, scene: str, cache: Any = None) -> None:
        from vlabench_suites.libero.loading import bddl_file
        from vlabench_suites.libero.model_cache import cached_compiler

        path = bddl_file(scene)  # also makes the imports below quiet
        from libero.libero.envs.env_wrapper import ControlEnv

        self._compiler: Any = (
            partial(cached_compiler, cache, textures=False) if cache else nullcontext
        )
        with self._compiler():
            self.control = ControlEnv(bddl_file_name=str(path), ignore_done=True, **SETTINGS)
        self._samplers = len(self.env.object_property_initializers)
        self._initialize = self.env._initialize_sim
        self.env._initialize_sim = self._initialize_and_make_a_renderer

    def _initialize_and_make_a_renderer(self) -> None:
        self._initialize()
        self.env.sim.forward()

    @property
    def env(self) -> Any:
        return self.control.env

    def reset(self, seed: int, state: Any) -> None:
        del self.env.object_property_initializers[self._samplers :]
        self.control.seed(seed)
        with self._compiler():
            self.control.reset()
        self.control.set_init_state(state)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from vlabench_suites.libero.model_cache import ModelCache

    return ModelCache(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def kitchen(cache: Any) -> Any:
    return fast(KITCHEN, cache)


def fast(scene: str, cache: Any, mode: Any = "exact") -> Any:
    from vlabench_suites.libero.loading import bddl_file

    path = bddl_file(scene)
    from vlabench_suites.libero.physics import Physics, build

    control, pristine = build(path, cache=cache, textures=False, **SETTINGS)
    return Physics(control.env, pristine, mode)


def states(scene: str) -> Any:
    from vlabench_suites.libero.loading import initial_states

    return initial_states(scene)


def push(physics: Any, step: int, random: np.random.Generator) -> Any:
    """Return an action that drives the gripper into a thing, then anywhere; some do not turn."""
    env = physics._env
    action = random.uniform(-1, 1, 7)
    if step < 50:
        thing = env.sim.data.body_xpos[next(iter(env.obj_body_id.values()))]
        hand = env.sim.data.site_xpos[env.robots[0].eef_site_id]
        action[:3] = np.clip((thing - hand) * 12.0, -1, 1) + 0.2 * action[:3]
    if step % 3 == 0:
        action[3:6] = 0.0
    return action


def assert_equal(physics: Any, reference: Reference, moment: str) -> None:
    ours, theirs = physics.data, reference.env.sim.data._data
    robot = reference.env.robots[0]
    unequal = [n for n in (*STATE, *SEEN, *DRAWN) if not same(getattr(ours, n), getattr(theirs, n))]
    unequal += [
        name
        for name in ("body_pos", "body_quat", "site_rgba")
        if not same(getattr(physics.model, name), getattr(reference.env.sim.model, name))
    ]
    unequal += [
        name
        for name, theirs in CONTROLLER.items()
        if not same(getattr(physics._arm, name), getattr(robot.controller, theirs))
    ]
    if not (physics._arm.fingers == robot.gripper.current_action).all():
        unequal.append("fingers")
    assert not unequal, f"{moment}: {unequal} differ"


def same(a: Any, b: Any) -> bool:
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.sim
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.partition("_and")[0][:30])
def test_whole_episodes_are_equal_in_every_bit_at_every_step(scene: str, cache: Any) -> None:
    physics, reference = fast(scene, cache), Reference(scene, cache)
    random = np.random.default_rng(5)
    for seed, init_index, steps in ((2**32 - 1, 4, 150), (8, 17, 30)):
        state = states(scene)[init_index]
        reference.reset(seed, state)
        physics.reset(seed, state)
        assert_equal(physics, reference, "after the reset")
        for step in range(steps):
            action = push(physics, step, random)
            physics.step(action)
            success = physics.success()
            _, _, done, _ = reference.control.step(action)
            assert success == bool(done)
            assert_equal(physics, reference, f"seed {seed}, step {step}")
    things = physics.data.qpos[9:] - state[1 + 9 : 1 + physics.model.nq]
    assert abs(things).max() > 0.01, "nothing was touched"


@pytest.mark.sim
def test_the_reference_without_any_help_is_the_same_too(cache: Any) -> None:
    physics, reference = fast(FLOOR, cache), Reference(FLOOR)
    reference.reset(3, states(FLOOR)[0])
    physics.reset(3, states(FLOOR)[0])
    for step, action in enumerate(np.random.default_rng(0).uniform(-2, 2, (20, 7))):
        assert_equal(physics, reference, f"before step {step}")
        physics.step(action)
        reference.control.step(action)


@pytest.mark.sim
def test_a_reset_does_not_depend_on_what_came_before(kitchen: Any) -> None:
    initial = states(KITCHEN)
    first = {}
    for seed, init_index in [(1, 0), (2, 0), (1, 5)]:
        kitchen.reset(seed, initial[init_index])
        kitchen.step(np.ones(7))
        first[seed, init_index] = snapshot(kitchen)
    assert len(set(first.values())) == 3
    for seed, init_index in [(2, 0), (1, 5), (1, 0), (1, 0)]:
        kitchen.reset(seed, initial[init_index])
        kitchen.step(np.ones(7))
        assert snapshot(kitchen) == first[seed, init_index]


def snapshot(physics: Any) -> bytes:
    parts = [np.asarray(getattr(physics.data, name)) for name in (*STATE, *SEEN)]
    parts += [physics.model.body_pos, physics.model.site_rgba, *physics._arm]
    return b"".join(part.tobytes() for part in parts)


@pytest.mark.sim
def test_a_placement_that_fails_is_repeated_as_the_reference_does(
    kitchen: Any, cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from robosuite.utils.errors import RandomizationError
    from robosuite.utils.placement_samplers import SequentialCompositeSampler

    reference = Reference(KITCHEN, cache)
    sample, calls = SequentialCompositeSampler.sample, []

    def fail_first(self: Any, *args: Any, **kwargs: Any) -> Any:
        placed = sample(self, *args, **kwargs)
        calls.append(self)
        if len(calls) <= 2:
            raise RandomizationError("no room")
        return placed

    monkeypatch.setattr(SequentialCompositeSampler, "sample", fail_first)
    state = states(KITCHEN)[1]
    reference.reset(4, state)
    calls.clear()
    kitchen.reset(4, state)
    assert_equal(kitchen, reference, "after two failures")


@pytest.mark.sim
def test_a_reset_leaves_numpys_generator_as_it_was(kitchen: Any) -> None:
    np.random.seed(99)  # noqa: NPY002 - it is the global one that is meant
    expected = np.random.rand()  # noqa: NPY002
    np.random.seed(99)  # noqa: NPY002
    kitchen.reset(5, states(KITCHEN)[0])
    assert np.random.rand() == expected  # noqa: NPY002


@pytest.mark.sim
def test_the_trace_holds_every_substep_and_ends_where_the_simulator_is(kitchen: Any) -> None:
    kitchen.reset(6, states(KITCHEN)[0])
    before = kitchen.data.qpos.copy()
    kitchen.step(np.ones(7, dtype=np.float32))
    assert kitchen.trace.shape == (26, kitchen.model.nq)
    assert same(kitchen.trace[0], before)
    assert same(kitchen.trace[-1], kitchen.data.qpos)
    assert len({row.tobytes() for row in kitchen.trace}) == 26


@pytest.mark.sim
def test_one_solve_a_substep_stays_close_and_is_not_the_same(kitchen: Any, cache: Any) -> None:
    quick, state = fast(KITCHEN, cache, "single-solve"), states(KITCHEN)[2]
    quick.reset(7, state)
    kitchen.reset(7, state)
    for _ in range(10):
        quick.step(np.full(7, 0.3))
        kitchen.step(np.full(7, 0.3))
    difference = abs(quick.data.qpos - kitchen.data.qpos).max()
    assert 0.0 < difference < 1e-3


@pytest.mark.sim
def test_a_scene_without_textures_differs_in_textures_only(cache: Any) -> None:
    import mujoco

    from vlabench_suites.libero.model_cache import without_textures

    physics = fast(FLOOR, cache)
    xml = physics._env.model.get_xml()
    plain = mujoco.MjModel.from_xml_string(without_textures(xml))
    drawn = mujoco.MjModel.from_xml_string(xml)
    assert plain.ntexdata < drawn.ntexdata / 10
    names = [n for n in dir(drawn) if n[0] != "_" and isinstance(getattr(drawn, n), np.ndarray)]
    unequal = [
        n
        for n in names
        if not np.array_equal(
            getattr(drawn, n), getattr(plain, n), equal_nan=getattr(drawn, n).dtype.kind == "f"
        )
    ]
    assert all(name.startswith("tex_") for name in unequal), unequal
    loaded = cache.model(without_textures(xml))
    assert saved(loaded) == saved(plain)


def saved(model: Any) -> bytes:
    import tempfile

    import mujoco

    with tempfile.NamedTemporaryFile(suffix=".mjb") as file:
        mujoco.mj_saveModel(model, file.name)
        return Path(file.name).read_bytes()


def ball(size: float = 0.1) -> str:
    return f"<mujoco><worldbody><geom size='{size}'/></worldbody></mujoco>"


@pytest.mark.sim
def test_a_model_is_compiled_once_and_named_by_all_that_went_into_it(tmp_path: Path) -> None:
    from vlabench_suites.libero.model_cache import ModelCache, scene_key

    cache = ModelCache(tmp_path / "models")
    first = cache.model(ball())
    (file,) = cache.files()
    written = file.stat().st_ino
    assert saved(cache.model(ball())) == saved(first)
    assert file.stat().st_ino == written
    cache.model(ball(0.2))
    assert len(cache.files()) == 2
    mesh = tmp_path / "mesh.obj"
    xml = f"<mujoco><asset><mesh file='{mesh}'/></asset></mujoco>"
    mesh.write_text("v 0 0 0")
    before = scene_key(xml)
    mesh.write_text("v 0 0 1")
    assert scene_key(xml) != before


def flipped(content: bytes) -> bytes:
    """Change one bit that MuJoCo would not mind: a digit of the ball's size."""
    place = content.index(np.float64(0.1).tobytes())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.sim
@pytest.mark.parametrize(
    "damage", [lambda good: b"", lambda good: b"rubbish" * 100, lambda good: good[:-9], flipped]
)
def test_a_damaged_file_is_never_simulated_but_compiled_again_with_a_warning(
    tmp_path: Path, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from vlabench_suites.libero.model_cache import ModelCache

    cache = ModelCache(tmp_path)
    good = saved(cache.model(ball()))
    (path,) = cache.files()
    path.write_bytes(damage(path.read_bytes()))
    assert saved(cache.model(ball())) == good
    assert caplog.messages == [f"{path} was damaged and is made anew"]
    assert saved(ModelCache(tmp_path).model(ball())) == good
    assert len(caplog.messages) == 1


@pytest.mark.sim
def test_another_scenes_file_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    from vlabench_suites.libero.model_cache import ModelCache

    cache = ModelCache(tmp_path)
    small, large = saved(cache.model(ball(0.1))), saved(cache.model(ball(0.2)))
    first, second = cache.files()
    contents = first.read_bytes(), second.read_bytes()
    second.write_bytes(contents[0])
    first.write_bytes(contents[1])
    assert (saved(cache.model(ball(0.1))), saved(cache.model(ball(0.2)))) == (small, large)


@pytest.mark.sim
def test_where_nothing_can_be_kept_scenes_are_compiled_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from vlabench_suites.libero.model_cache import ModelCache

    (tmp_path / "file").touch()
    good = saved(ModelCache(tmp_path / "models").model(ball()))
    assert saved(ModelCache(tmp_path / "file" / "models").model(ball())) == good
    (said,) = caplog.messages
    assert said.startswith("compiled scenes cannot be kept in ")


@pytest.mark.sim
def test_many_may_write_the_same_model_at_once(tmp_path: Path) -> None:
    from vlabench_suites.libero.model_cache import ModelCache

    with ThreadPoolExecutor(8) as pool:
        models = pool.map(lambda _: saved(ModelCache(tmp_path).model(ball())), range(32))
        assert len(set(models)) == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".mjb"]


@pytest.mark.sim
def test_a_full_cache_forgets_what_was_used_longest_ago_and_clear_forgets_all(
    tmp_path: Path,
) -> None:
    import os

    from vlabench_suites.libero.model_cache import ModelCache

    cache = ModelCache(tmp_path)
    for age, size in enumerate((0.1, 0.2, 0.3)):
        cache.model(ball(size))
        os.utime(cache.files()[-1], (age + 1, age + 1))
    old, middle, _ = cache.files()
    cache.model(ball(0.1))
    assert cache.files()[-1] == old
    small = ModelCache(tmp_path, limit_bytes=int(3.5 * old.stat().st_size))
    small.model(ball(0.4))
    assert len(cache.files()) == 3
    assert middle not in cache.files()
    (tmp_path / "x.mjb.part").touch()
    cache.clear()
    assert not list(tmp_path.iterdir())
