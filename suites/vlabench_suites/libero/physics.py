"""LIBERO's physics without LIBERO's waste, and the same bits.

robosuite spends a control step on 75 forward passes, 25 updates of every observable and a
controller in Python; an episode's reset compiles the scene anew. `Physics` steps an environment
that robosuite has built through one compiled call (`controller.py`), and resets it by restoring
what the reset would have rebuilt and running only the samplers.

Source: robosuite 1.4.0 (`environments/base.py`, `robots/`, `controllers/`) and LIBERO
(`envs/bddl_base_domain.py`, `envs/env_wrapper.py`), which `tests/suites/test_libero_exact.py`
compares against. Importing this imports mujoco, numba and robosuite; only `make_env` does.
"""

import copy
import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import mujoco
import numpy as np
from numpy.typing import NDArray
from robosuite.utils.errors import RandomizationError
from robosuite.utils.transform_utils import axisangle2quat, quat2mat

from vlabench.errors import SettingError
from vlabench_suites.libero.controller import (
    COL_MAJOR,
    ROW_MAJOR,
    Arm,
    Command,
    Fixed,
    Floats,
    Native,
    Views,
    control_step,
    dot_square,
    dot_vector,
    quick_step,
)
from vlabench_suites.libero.model_cache import ModelCache, Pristine, cached_compiler

Mode = Literal["exact", "single-solve"]

LOADS = 2
"""How often the scene was loaded when an episode begins: once to construct, once to reset.

LIBERO appends the samplers of open and closed doors anew at each load and never forgets any
(`object_property_initializers`), so the n-th reset of one environment draws n + 1 times as many
numbers, and places fixtures elsewhere. An episode here is always the first reset of a new one.
"""

_NO_TURN = np.eye(3)


def build(
    bddl_file: str | Path, *, cache: ModelCache, textures: bool = True, **settings: Any
) -> tuple[Any, Pristine]:
    """Construct a `ControlEnv` with `settings`; return it and its model as it was compiled."""
    from libero.libero.envs.env_wrapper import ControlEnv

    with cached_compiler(cache, textures=textures) as models:
        control = ControlEnv(bddl_file_name=str(bddl_file), **settings)
    return control, models[-1]


class Physics:
    """Steps and resets a LIBERO environment in place; its model and data stay the same objects.

    Args:
        env: A `BDDLBaseDomain`, constructed and not touched since.
        pristine: Parts of its model as compiled, before the construction placed anything.
        mode: `exact`, or `single-solve`: one constraint solve a substep, for training only.

    Attributes:
        model: The `mujoco.MjModel`.
        data: The `mujoco.MjData`.
        trace: Positions before the last control step and after each of its substeps,
            `[substeps + 1, nq]`; overwritten by the next one.

    Raises:
        SettingError: If numpy's linear algebra is not the one that can be called bit by bit.
        ValueError: If the controller is not the one that is reproduced.
    """

    def __init__(self, env: Any, pristine: Pristine, mode: Mode = "exact") -> None:
        self.model, self.data = env.sim.model._model, env.sim.data._data
        self._env, self._mode = env, mode
        self._pristine = pristine
        self._restore_model()
        self._start = _start_data(env)
        env.visualize(vis_settings=dict.fromkeys(env._visualizations, False))
        self._pristine = pristine._replace(site_rgba=self.model.site_rgba.copy())
        self._controller = env.robots[0].controller
        _check_controller(self._controller)
        self._native = _native(self.model, self.data)
        _check_arithmetic(self._native, self.model.nv)
        self._fixed = _fixed(env)
        self._views = _views(self.data, self._fixed.site)
        self._arm = _arm(self._controller, self.model.nv)
        self._arm_start = tuple(np.copy(part) for part in self._arm)
        self._stale = True
        self.trace = np.zeros((int(env.control_timestep / env.model_timestep) + 1, self.model.nq))
        # what is lit, a burner for instance, is remembered in the things themselves
        bodies = (*env.fixtures_dict.values(), *env.objects_dict.values())
        self._lit = [body.object_properties["vis_site_names"] for body in bodies]
        self._lit_at_start = [dict(sites) for sites in self._lit]

    def step(self, action: NDArray[np.floating[Any]]) -> None:
        """Run one control step with `action`, `[7]`, each component clipped to [-1, 1]."""
        scaled = self._controller.scale_action(action[:6])
        turns = bool(scaled[3:].any())
        command = Command(
            shift=scaled[:3],
            turn=quat2mat(axisangle2quat(scaled[3:])) if turns else _NO_TURN,
            turns=turns,
            grip=float(np.sign(action[6])),
        )
        run = control_step if self._mode == "exact" else quick_step
        run(
            self._native, self._views, self._fixed, self._arm, command, self._stale, self.trace
        )  # fmt: skip
        self._stale = False

    def success(self) -> bool:
        """Evaluate the goal, once after each step: it also lights what the next pictures show."""
        done = bool(self._env._check_success())
        self._env._post_process()
        return done

    def reset(self, seed: int, state: Floats | None) -> None:
        """Begin an episode as a new environment's `seed`, `reset` and `set_init_state` would.

        Args:
            seed: Of the samplers of doors and fixtures. numpy's global generator, which they use,
                is left as it was.
            state: Time, positions and velocities, `[1 + nq + nv]`; None keeps what the reset
                sampled.
        """
        outside = np.random.get_state()  # noqa: NPY002 - LIBERO's samplers use the global one
        np.random.seed(seed)  # noqa: NPY002
        try:
            self._sample()
        finally:
            np.random.set_state(outside)  # noqa: NPY002
        mujoco.mj_forward(self.model, self.data)
        sampled = self._env.sim.get_state().flatten()
        self._env.sim.set_state_from_flattened(sampled if state is None else state)
        mujoco.mj_forward(self.model, self.data)
        for part, start in zip(self._arm, self._arm_start, strict=True):
            part[...] = start
        self._stale = True
        for sites, dark in zip(self._lit, self._lit_at_start, strict=True):
            sites.update(dark)
        self.success()

    def _sample(self) -> None:
        """Sample as a reset does, which loads and samples again where there was no room."""
        loads = LOADS
        while True:
            self._restore_model()
            _copy_data(self.data, self.model, self._start)
            # the arm's noise is drawn, and multiplied by zero
            np.random.randn(len(self._env.robots[0].init_qpos))  # noqa: NPY002
            try:
                self._place(loads)
            except RandomizationError:
                loads += 1
            else:
                return

    def _place(self, loads: int) -> None:
        """Set doors and place everything (`BDDLBaseDomain._reset_internal`)."""
        env = self._env
        for sampler in env.object_property_initializers * loads:
            env.object_states_dict[sampler.name].set_joint(sampler.sample())
        if env.conditional_placement_initializer.samplers:
            mujoco.mj_step1(self.model, self.data)
        placed = env.placement_initializer.sample()
        placed = env.conditional_placement_initializer.sample(env.sim, placed)
        placed = env.conditional_placement_on_objects_initializer.sample(placed)
        for pos, quat, body in placed.values():
            if body.name in env.fixtures_dict:
                number = env.sim.model.body_name2id(body.root_body)
                self.model.body_pos[number] = pos
                self.model.body_quat[number] = quat
            else:
                env.sim.data.set_joint_qpos(body.joints[-1], np.concatenate([pos, quat]))

    def _restore_model(self) -> None:
        for name, value in self._pristine._asdict().items():
            getattr(self.model, name)[:] = value


def _start_data(env: Any) -> Any:
    """Return `mjData` as it is when a reset has put the robot in its place and nothing else.

    Leaves in `env.robots[0]` the controller that robosuite makes on the way: its memory is what
    the first substep of every episode starts from.
    """
    model, data = env.sim.model._model, env.sim.data._data
    _copy_data(data, model, mujoco.MjData(model))
    mujoco.mj_forward(model, data)
    # `OffScreenRenderEnv`, which everybody evaluates in, makes a renderer here, and that solves
    # constraints once more: the last digits of all that follows depend on it.
    mujoco.mj_forward(model, data)
    outside = np.random.get_state()  # noqa: NPY002 - robosuite draws noise from the global one
    env.robots[0].reset(deterministic=False)
    np.random.set_state(outside)  # noqa: NPY002
    return copy.copy(data)


def _copy_data(into: Any, model: Any, source: Any) -> None:
    """Call `mj_copyData`, which the Python package leaves out; views of `into` stay valid."""
    pointers = (into._address, model._address, source._address)
    _libmujoco().mj_copyData(*map(ctypes.c_void_p, pointers))


@functools.cache
def _libmujoco() -> ctypes.CDLL:
    return ctypes.CDLL(str(next(Path(mujoco.__file__).parent.glob("libmujoco.so.*"))))


@functools.cache
def _numpy_blas() -> ctypes.CDLL:
    """Open the OpenBLAS that numpy's wheels bring along, as numpy itself has."""
    places = Path(np.__file__).parent.parent.glob("numpy.libs/libscipy_openblas64_*")
    for place in places:
        return ctypes.CDLL(str(place))
    raise SettingError(
        "physics=exact calls the OpenBLAS of numpy's wheels, and this numpy has none. "
        "Install numpy with pip, or use: --set physics=reference"
    )


def _native(model: Any, data: Any) -> Native:
    def address(library: ctypes.CDLL, name: str) -> int:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0

    return Native(
        model=model._address,
        data=data._address,
        step1=address(_libmujoco(), "mj_step1"),
        step2=address(_libmujoco(), "mj_step2"),
        forward_skip=address(_libmujoco(), "mj_forwardSkip"),
        constraint=address(_libmujoco(), "mj_fwdConstraint"),
        jac_site=address(_libmujoco(), "mj_jacSite"),
        gemv=address(_numpy_blas(), "scipy_cblas_dgemv64_"),
        gemm=address(_numpy_blas(), "scipy_cblas_dgemm64_"),
    )


def _check_controller(controller: Any) -> None:
    expected = {
        "name": "OSC_POSE",
        "impedance_mode": "fixed",
        "use_delta": True,
        "uncoupling": True,
        "position_limits": None,
        "orientation_limits": None,
        "interpolator_pos": None,
        "interpolator_ori": None,
    }
    for name, value in expected.items():
        if (found := getattr(controller, name)) != value:
            raise ValueError(f"controller has {name}={found!r}, only {value!r} is reproduced")


def _check_arithmetic(native: Native, nv: int) -> None:
    """Make sure that compiled products are numpy's, for every shape and layout that occurs."""
    random = np.random.default_rng(0)
    for rows, columns, order in ((3, nv, ROW_MAJOR), (3, 3, COL_MAJOR), (7, 6, ROW_MAJOR)):
        a, x, out = random.normal(size=(rows, columns)), random.normal(size=columns), np.empty(rows)
        a = np.asfortranarray(a) if order == COL_MAJOR else a
        dot_vector(native.gemv, a, order, x, out)
        _check_product(out, a, x)
    a, b, square = random.normal(size=(3, 3)), random.normal(size=(3, 3)), np.empty((3, 3))
    dot_square(native.gemm, a, b, square)
    _check_product(square, a, b)


def _check_product(found: Floats, a: Floats, b: Floats) -> None:
    if not np.array_equal(found, np.dot(a, b)):
        raise SettingError(
            f"physics=exact multiplies {a.shape} by {b.shape} otherwise than numpy "
            f"{np.__version__} does. Use another numpy, or: --set physics=reference"
        )


def _views(data: Any, site: int) -> Views:
    return Views(
        qpos=data.qpos,
        qvel=data.qvel,
        ctrl=data.ctrl,
        qfrc_bias=data.qfrc_bias,
        inertia=data.qM,
        site_xpos=data.site_xpos[site],
        site_xmat=data.site_xmat[site],
    )


def _fixed(env: Any) -> Fixed:
    model, robot = env.sim.model, env.robots[0]
    controller, gripper = robot.controller, robot.gripper
    fingers = [model.actuator_name2id(name) for name in gripper.actuators]
    low, high = model.actuator_ctrlrange[fingers].T
    torque_low, torque_high = robot.torque_limits
    return Fixed(
        site=model.site_name2id(controller.eef_name),
        qpos=np.array(controller.qpos_index),
        qvel=np.array(controller.qvel_index),
        actuators=np.array(robot._ref_joint_actuator_indexes),
        fingers=np.array(fingers),
        mass=_mass_places(model, controller.qvel_index),
        kp=np.array(controller.kp, dtype=np.float64),
        kd=np.array(controller.kd, dtype=np.float64),
        torque_low=np.array(torque_low),
        torque_high=np.array(torque_high),
        finger_bias=0.5 * (high + low),
        finger_weight=0.5 * (high - low),
        finger_speed=np.array([-1.0, 1.0]) * gripper.speed,
        initial_joint=np.array(controller.initial_joint),
    )


def _mass_places(model: Any, dofs: Sequence[int]) -> NDArray[np.int64]:
    """Return where in `qM` the elements of the mass matrix of `dofs` are; -1 for structural zeros.

    The layout is that of `mj_fullM`: row i holds i, its parent, its parent's parent and so on.
    """
    full = np.full((model.nv, model.nv), -1, dtype=np.int64)
    for i in dofs:
        j, place = i, int(model.dof_Madr[i])
        while j >= 0:
            full[i, j] = full[j, i] = place
            j, place = int(model.dof_parentid[j]), place + 1
    return np.ascontiguousarray(full[np.ix_(dofs, dofs)])


def _arm(controller: Any, nv: int) -> Arm:
    return Arm(
        goal_pos=np.array(controller.goal_pos),
        goal_ori=np.array(controller.goal_ori),
        ee_pos=np.array(controller.ee_pos),
        ee_ori_mat=np.array(controller.ee_ori_mat),
        ee_pos_vel=np.array(controller.ee_pos_vel),
        ee_ori_vel=np.array(controller.ee_ori_vel),
        joint_pos=np.array(controller.joint_pos),
        joint_vel=np.array(controller.joint_vel),
        jac_pos=np.array(controller.J_pos, order="F"),
        jac_ori=np.array(controller.J_ori, order="F"),
        jac_full=np.array(controller.J_full, order="F"),
        mass_matrix=np.array(controller.mass_matrix, order="F"),
        fingers=np.zeros(2),
        jacp=np.zeros((3, nv)),
        jacr=np.zeros((3, nv)),
    )
