"""Poses, and how the gripper is moved to one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

OPEN, CLOSE, KEEP = -1.0, 1.0, 0.0
DOWN = np.array([0.0, 0.0, -1.0])

# LIBERO's controller turns an action of 1 into a goal 5 cm or 0.5 rad away, and a control step
# gets about a quarter of the way. Gains above 1 make up for that; more than these overshoots.
_TRANSLATION = 3.0 / 0.05
_ROTATION = 2.5 / 0.5


@dataclass(frozen=True, slots=True)
class Pose:
    """A place and an orientation in the world.

    Attributes:
        position: `[3]`, metres.
        rotation: `[3, 3]`; columns are its axes. Of the gripper: x is the axis along which the
            fingers close, z the way they point.
    """

    position: Vector
    rotation: Matrix

    def of(self, local: Vector) -> Vector:
        """Return a point `[3]` of this frame in the world."""
        moved: Vector = self.position + self.rotation @ local
        return moved


def pose_of(numbers: Vector) -> Pose:
    """Read `[7]`: position and quaternion w x y z."""
    return Pose(np.array(numbers[:3]), matrix_of(numbers[3:]))


def matrix_of(quaternion: Vector) -> Matrix:
    """Return the rotation matrix of a quaternion w x y z."""
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotation_vector(rotation: Matrix) -> Vector:
    """Return axis times angle, `[3]`, angle in `[0, pi]`."""
    sine = 0.5 * np.array(
        [
            rotation[2, 1] - rotation[1, 2],
            rotation[0, 2] - rotation[2, 0],
            rotation[1, 0] - rotation[0, 1],
        ]
    )
    size = float(np.linalg.norm(sine))
    angle = float(np.arctan2(size, 0.5 * (np.trace(rotation) - 1.0)))
    if size > 1e-6:
        return np.asarray(sine * (angle / size))
    if angle < 1.0:  # the identity
        return np.zeros(3)
    axis = np.sqrt(np.clip(0.5 * (np.diag(rotation) + 1.0), 0.0, None))  # half a turn
    largest = int(np.argmax(axis))
    axis = axis * np.where(rotation[largest] < 0.0, -1.0, 1.0)
    axis[largest] = abs(axis[largest])
    return np.asarray(axis * angle)


def about(axis: Vector, angle: float) -> Matrix:
    """Return the rotation by `angle` about the unit vector `axis` (Rodrigues)."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    turned: Matrix = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    return turned


def gripper_rotation(closing: Vector, pointing: Vector = DOWN) -> Matrix:
    """Return the gripper's rotation, given along what it closes and where it points."""
    pointing = pointing / np.linalg.norm(pointing)
    closing = closing - pointing * (closing @ pointing)
    closing = closing / np.linalg.norm(closing)
    return np.stack([closing, np.cross(pointing, closing), pointing], axis=1)


def facing(yaw: float) -> Matrix:
    """Return the gripper's rotation when it points down; at yaw 0 it closes along the world's y."""
    return gripper_rotation(np.array([-np.sin(yaw), np.cos(yaw), 0.0]))


def comfortable(yaw: float) -> float:
    """Return the yaw of the same grasp (half a turn is none) that the arm's last joint likes best.

    At yaw 0 that joint is at 0.8 of its 2.9 rad: turning on to +90 degrees is easy, to -90 is not.
    """
    least = np.deg2rad(-60.0)
    return float((yaw - least) % np.pi + least)


def slanting(into: Vector, tilt: float) -> Matrix:
    """Return the gripper's rotation when it points down and, by `tilt` rad, towards `into`.

    `into` is horizontal; the fingers close in the plane that it spans with straight down.
    """
    yaw = comfortable(float(np.arctan2(-into[0], into[1])))
    turned: Matrix = about(np.cross(DOWN, into), tilt) @ facing(yaw)
    return turned


def off_by(current: Pose, target: Pose) -> tuple[float, float]:
    """Return the distance (m) and angle (rad) between two poses."""
    turn = rotation_vector(target.rotation @ current.rotation.T)
    return (
        float(np.linalg.norm(target.position - current.position)),
        float(np.linalg.norm(turn)),
    )


def servo(current: Pose, target: Pose, gripper: float, speed: float = 1.0) -> Vector:
    """Return the action, `[7]`, that moves the gripper straight towards a pose.

    The direction survives the limits of an action: position and rotation are scaled down together.
    """
    move = _TRANSLATION * (target.position - current.position)
    turn = _ROTATION * rotation_vector(target.rotation @ current.rotation.T)
    motion = np.concatenate([move, turn])
    motion *= speed / max(speed, float(np.abs(motion).max()))
    return np.append(motion, gripper)
