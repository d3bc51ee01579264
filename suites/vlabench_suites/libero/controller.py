"""robosuite's operational space controller, compiled, around MuJoCo's own C functions.

Source: robosuite 1.4.0, `controllers/osc.py`, `controllers/base_controller.py`,
`robots/single_arm.py` and `environments/base.py`. One call of `control_step` is one call of
`env.step`, without observables: the same operations in the same order on the same memory layout,
so that the result is the same to the last bit. Three rules keep it so:

* what robosuite compiles with numba is called here, not copied: same code, same LAPACK (scipy's);
* what robosuite leaves to `np.dot` goes to the BLAS that numpy itself carries, through its C
  interface, with the arguments numpy would pass: another BLAS sums in another order;
* everything else is written elementwise, one rounding an operation, and numba does not fuse them.

This module imports numba and robosuite. Only `physics.py` imports it, and only to make a scene.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray
from robosuite.utils.control_utils import nullspace_torques, opspace_matrices, orientation_error

from vlabench_suites.libero.loading import numba_keeps

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., Any])

STAGE_VEL = 2
"""`mjSTAGE_VEL`: `mj_forwardSkip` leaves positions and velocities as they are."""

ROW_MAJOR, COL_MAJOR, NO_TRANSPOSE = 101, 102, 111


class Native(NamedTuple):
    """Addresses of C functions and of the `mjModel` and `mjData` they work on."""

    model: int
    data: int
    step1: int
    step2: int
    forward_skip: int
    constraint: int
    jac_site: int
    gemv: int
    gemm: int


class Views(NamedTuple):
    """Arrays in the memory of `mjData`, by their names there; the site is the gripper's."""

    qpos: Floats
    qvel: Floats
    ctrl: Floats
    qfrc_bias: Floats
    inertia: Floats
    site_xpos: Floats
    site_xmat: Floats


class Fixed(NamedTuple):
    """What an episode does not change. `mass` has the places in `qM` of the arm's mass matrix."""

    site: int
    qpos: Ints
    qvel: Ints
    actuators: Ints
    fingers: Ints
    mass: Ints
    kp: Floats
    kd: Floats
    torque_low: Floats
    torque_high: Floats
    finger_bias: Floats
    finger_weight: Floats
    finger_speed: Floats
    initial_joint: Floats


class Arm(NamedTuple):
    """The controller's memory. Jacobians and mass matrix are in Fortran order, as they are there.

    Attributes:
        fingers: Where the fingers are told to be, `[2]`, in [-1, 1].
        jacp: Room for the Jacobian of position of all joints, `[3, nv]`.
        jacr: The same of rotation.
    """

    goal_pos: Floats
    goal_ori: Floats
    ee_pos: Floats
    ee_ori_mat: Floats
    ee_pos_vel: Floats
    ee_ori_vel: Floats
    joint_pos: Floats
    joint_vel: Floats
    jac_pos: Floats
    jac_ori: Floats
    jac_full: Floats
    mass_matrix: Floats
    fingers: Floats
    jacp: Floats
    jacr: Floats


class Command(NamedTuple):
    """An action.

    Attributes:
        shift: Where the gripper shall go, relative to where it is, `[3]` m.
        turn: The same as a rotation, `[3, 3]`.
        turns: Whether it turns at all; otherwise the goal's orientation stays what it was.
        grip: Sign of the gripper's action: closes, opens, stays.
    """

    shift: Floats
    turn: Floats
    turns: bool
    grip: float


def compiled(function: Function) -> Function:
    """Compile `function` with numba, without the GIL; the result is kept on disk if it can be."""
    return cast(Function, numba.njit(nogil=True, cache=numba_keeps())(function))


def foreign(function: Callable[..., tuple[Any, Any]]) -> Callable[..., None]:
    """Let compiled functions use `function`, which returns type and machine code of a call.

    Its first argument, numba's own context, is not the caller's to give.
    """
    return cast(Callable[..., None], intrinsic(function))


_LLVM = {"p": ir.IntType(64), "i": ir.IntType(32), "d": ir.DoubleType()}
_NUMBA = {"p": types.int64, "i": types.int32, "d": types.float64}


def _c_call(arguments: str) -> tuple[Any, Any]:
    """Return signature and code of a call of the C function at an address, without a result.

    `arguments` has a letter each: `p` pointer or 64-bit integer, `i` enum, `d` double. Addresses
    are run-time values, because a function with addresses compiled in cannot be cached on disk.
    """

    def codegen(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_LLVM[a] for a in arguments])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), list(values[1:]))
        return context.get_dummy_value()

    return types.void(types.int64, *[_NUMBA[a] for a in arguments]), codegen


@foreign
def _call_md(_context: Any, address: Any, model: Any, data: Any) -> tuple[Any, Any]:
    return _c_call("pp")


@foreign
def _call_skip(
    _context: Any, address: Any, model: Any, data: Any, stage: Any, skip: Any
) -> tuple[Any, Any]:
    return _c_call("ppii")


@foreign
def _call_jac(
    _context: Any, address: Any, model: Any, data: Any, jacp: Any, jacr: Any, site: Any
) -> tuple[Any, Any]:
    return _c_call("ppppi")


@foreign
def _call_gemv(  # noqa: PLR0913 - BLAS has that many
    _context: Any, address: Any, order: Any, trans: Any, m: Any, n: Any, alpha: Any, a: Any,
    lda: Any, x: Any, incx: Any, beta: Any, y: Any, incy: Any,
) -> tuple[Any, Any]:  # fmt: skip
    return _c_call("iippdppppdpp")


@foreign
def _call_gemm(  # noqa: PLR0913 - BLAS has that many
    _context: Any, address: Any, order: Any, transa: Any, transb: Any, m: Any, n: Any, k: Any,
    alpha: Any, a: Any, lda: Any, b: Any, ldb: Any, beta: Any, c: Any, ldc: Any,
) -> tuple[Any, Any]:  # fmt: skip
    return _c_call("iiipppdppppdpp")


@compiled
def dot_vector(gemv: int, a: Floats, order: int, x: Floats, out: Floats) -> None:
    """`out = np.dot(a, x)` as numpy calls it: never transposed, `order` says how `a` lies."""
    m, n = a.shape
    lda = n if order == ROW_MAJOR else m
    _call_gemv(
        gemv, order, NO_TRANSPOSE, m, n, 1.0, a.ctypes.data, lda, x.ctypes.data, 1, 0.0,
        out.ctypes.data, 1,
    )  # fmt: skip


@compiled
def dot_square(gemm: int, a: Floats, b: Floats, out: Floats) -> None:
    """`out = np.dot(a, b)` of square matrices in C order."""
    n = a.shape[0]
    _call_gemm(
        gemm, ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, n, n, n, 1.0, a.ctypes.data, n,
        b.ctypes.data, n, 0.0, out.ctypes.data, n,
    )  # fmt: skip


@compiled
def read_arm(native: Native, views: Views, fixed: Fixed, arm: Arm) -> None:
    """Copy the arm's state out of `mjData` (`Controller.update`, after its `sim.forward`)."""
    for i in range(3):
        arm.ee_pos[i] = views.site_xpos[i]
        for j in range(3):
            arm.ee_ori_mat[i, j] = views.site_xmat[3 * i + j]
    arm.jacp[:] = 0.0
    arm.jacr[:] = 0.0
    _call_jac(
        native.jac_site, native.model, native.data, arm.jacp.ctypes.data, arm.jacr.ctypes.data,
        fixed.site,
    )  # fmt: skip
    dot_vector(native.gemv, arm.jacp, ROW_MAJOR, views.qvel, arm.ee_pos_vel)
    dot_vector(native.gemv, arm.jacr, ROW_MAJOR, views.qvel, arm.ee_ori_vel)
    for k in range(fixed.qvel.size):
        arm.joint_pos[k] = views.qpos[fixed.qpos[k]]
        arm.joint_vel[k] = views.qvel[fixed.qvel[k]]
        for i in range(3):
            arm.jac_pos[i, k] = arm.jac_full[i, k] = arm.jacp[i, fixed.qvel[k]]
            arm.jac_ori[i, k] = arm.jac_full[3 + i, k] = arm.jacr[i, fixed.qvel[k]]
        for j in range(fixed.qvel.size):
            place = fixed.mass[k, j]
            arm.mass_matrix[k, j] = views.inertia[place] if place >= 0 else 0.0


@compiled
def wanted_forces(fixed: Fixed, arm: Arm) -> Floats:
    """Return what pulls the gripper towards its goal: force and torque of a unit mass, `[6]`."""
    forces = np.empty(6)
    ori_error = orientation_error(arm.goal_ori, arm.ee_ori_mat)
    for i in range(3):
        error = arm.goal_pos[i] - arm.ee_pos[i]
        forces[i] = error * fixed.kp[i] + -arm.ee_pos_vel[i] * fixed.kd[i]
        forces[3 + i] = ori_error[i] * fixed.kp[3 + i] + -arm.ee_ori_vel[i] * fixed.kd[3 + i]
    return forces


@compiled
def arm_torques(native: Native, fixed: Fixed, views: Views, arm: Arm) -> Floats:
    """Return the arm's torques, `[7]` (`OperationalSpaceController.run_controller`)."""
    forces, wrench, torques = wanted_forces(fixed, arm), np.empty(6), np.empty(fixed.qvel.size)
    _, lambda_pos, lambda_ori, nullspace = opspace_matrices(
        arm.mass_matrix, arm.jac_full, arm.jac_pos, arm.jac_ori
    )
    dot_vector(native.gemv, lambda_pos, COL_MAJOR, forces[:3], wrench[:3])
    dot_vector(native.gemv, lambda_ori, COL_MAJOR, forces[3:], wrench[3:])
    dot_vector(native.gemv, arm.jac_full.T, ROW_MAJOR, wrench, torques)
    posture = nullspace_torques(
        arm.mass_matrix, nullspace, fixed.initial_joint, arm.joint_pos, arm.joint_vel
    )
    for k in range(fixed.qvel.size):
        torques[k] = torques[k] + views.qfrc_bias[fixed.qvel[k]] + posture[k]
    return torques


@compiled
def factorize(matrix: Floats) -> Floats:
    """Return the lower Cholesky factor, `[n, n]`, with zeros for directions without extent."""
    lower = np.zeros_like(matrix)
    for i in range(len(matrix)):
        for j in range(i + 1):
            rest = matrix[i, j]
            for k in range(j):
                rest -= lower[i, k] * lower[j, k]
            if i == j:
                lower[i, i] = np.sqrt(rest) if rest > 1e-12 * matrix[i, i] else 0.0
            elif lower[j, j] > 0.0:
                lower[i, j] = rest / lower[j, j]
    return lower


@compiled
def solve(matrix: Floats, columns: Floats) -> Floats:
    """Solve `matrix @ x = columns`, `[n, k]`, for a positive matrix.

    Where it has no extent, as where the arm is straight, the result is 0, not infinite.
    """
    lower, x = factorize(matrix), columns.copy()
    n, width = x.shape
    for c in range(width):
        for i in range(n):
            for k in range(i):
                x[i, c] -= lower[i, k] * x[k, c]
            x[i, c] = x[i, c] / lower[i, i] if lower[i, i] > 0.0 else 0.0
        for i in range(n - 1, -1, -1):
            for k in range(i + 1, n):
                x[i, c] -= lower[k, i] * x[k, c]
            x[i, c] = x[i, c] / lower[i, i] if lower[i, i] > 0.0 else 0.0
    return x


@compiled
def quick_torques(fixed: Fixed, views: Views, arm: Arm) -> Floats:
    """Return nearly what `arm_torques` does, without four singular value decompositions.

    In real numbers it is the same formula; in floating point the last digits differ.
    """
    jac, forces = arm.jac_full, wanted_forces(fixed, arm).reshape(6, 1)
    pull = 10.0 * (fixed.initial_joint - arm.joint_pos) - 2.0 * np.sqrt(10.0) * arm.joint_vel
    inverse_inertia = np.dot(jac, solve(arm.mass_matrix, jac.T))
    wrench = -solve(inverse_inertia, np.dot(jac, pull).reshape(6, 1))
    wrench[:3] += solve(inverse_inertia[:3, :3], forces[:3])
    wrench[3:] += solve(inverse_inertia[3:, 3:], forces[3:])
    torques: Floats = np.dot(arm.mass_matrix, pull) + np.dot(jac.T, wrench.reshape(6))
    for k in range(fixed.qvel.size):
        torques[k] += views.qfrc_bias[fixed.qvel[k]]
    return torques


@compiled
def actuate(views: Views, fixed: Fixed, arm: Arm, torques: Floats, grip: float) -> None:
    """Write `ctrl`: clipped torques, and fingers moved on (`PandaGripper.format_action`)."""
    for k in range(fixed.qvel.size):
        torque = min(max(torques[k], fixed.torque_low[k]), fixed.torque_high[k])
        views.ctrl[fixed.actuators[k]] = torque
    for k in range(fixed.fingers.size):
        place = min(max(arm.fingers[k] + fixed.finger_speed[k] * grip, -1.0), 1.0)
        arm.fingers[k] = place
        views.ctrl[fixed.fingers[k]] = fixed.finger_bias[k] + fixed.finger_weight[k] * place


@compiled
def set_goal(native: Native, arm: Arm, command: Command) -> None:
    """Set the goal relative to where the gripper is (`OperationalSpaceController.set_goal`)."""
    if command.turns:
        dot_square(native.gemm, command.turn, arm.ee_ori_mat, arm.goal_ori)
    for i in range(3):
        arm.goal_pos[i] = arm.ee_pos[i] + command.shift[i]


@compiled
def control_step(
    native: Native,
    views: Views,
    fixed: Fixed,
    arm: Arm,
    command: Command,
    stale: bool,  # noqa: FBT001 - numba compiles positional arguments best
    trace: Floats,
) -> None:
    """Run one control step, exactly.

    Args:
        native: Addresses.
        views: Memory of `mjData`, changed.
        fixed: What does not change.
        arm: The controller's memory, changed.
        command: The action.
        stale: Whether nothing was stepped since the reset. robosuite then computes with what the
            arm was like before the initial state was set, and solves constraints once less.
        trace: Filled with positions before the step and after each substep, `[substeps + 1, nq]`.
    """
    trace[0] = views.qpos
    for substep in range(len(trace) - 1):
        _call_md(native.step1, native.model, native.data)
        _call_skip(native.forward_skip, native.model, native.data, STAGE_VEL, 1)
        if not stale:
            # robosuite's second `sim.forward`: all it changes is the solution, which starts anew
            # from the first one and so gets a little better
            _call_md(native.constraint, native.model, native.data)
            read_arm(native, views, fixed, arm)
        stale = False
        if substep == 0:
            set_goal(native, arm, command)
        actuate(views, fixed, arm, arm_torques(native, fixed, views, arm), command.grip)
        _call_md(native.step2, native.model, native.data)
        trace[substep + 1] = views.qpos


@compiled
def quick_step(
    native: Native,
    views: Views,
    fixed: Fixed,
    arm: Arm,
    command: Command,
    stale: bool,  # noqa: FBT001 - numba compiles positional arguments best
    trace: Floats,
) -> None:
    """Do what `control_step` does with one constraint solve a substep instead of three.

    Not exact: a solution starts from a less refined one, and differs in the sixth digit or so.
    """
    trace[0] = views.qpos
    for substep in range(len(trace) - 1):
        _call_md(native.step1, native.model, native.data)
        if not stale:
            read_arm(native, views, fixed, arm)
        stale = False
        if substep == 0:
            set_goal(native, arm, command)
        actuate(views, fixed, arm, quick_torques(fixed, views, arm), command.grip)
        _call_md(native.step2, native.model, native.data)
        trace[substep + 1] = views.qpos
