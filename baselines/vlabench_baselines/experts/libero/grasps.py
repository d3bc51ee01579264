"""Where each kind of thing is held.

Found by hand on LIBERO's models; metres, in the frame of the thing unless said otherwise.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vlabench_baselines.experts.libero.motion import (
    DOWN,
    Matrix,
    Pose,
    Vector,
    about,
    comfortable,
    facing,
)
from vlabench_baselines.experts.libero.shapes import Box

_UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True, slots=True)
class Rim:
    """Pinch the rim of something round: the fingers close along the radius.

    Attributes:
        radius: Of the rim.
        height: Above the thing's origin.
        centre: Of the round part, in the thing's frame.
        only: Direction of the one place to pinch, in the thing's frame; anywhere when None.
    """

    radius: float
    height: float
    centre: tuple[float, float] = (0.0, 0.0)
    only: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Pinch:
    """Take something between the fingers, from above.

    Attributes:
        height: Above the thing's origin, along the world's z.
        at: Where from the origin, in the thing's frame; its height is ignored.
        axes: Which axes of the thing the fingers may close along; any direction when empty.
        along: How far along the thing's x it may be taken too, where the middle is obstructed.
    """

    height: float
    at: tuple[float, float, float] = (0.0, 0.0, 0.0)
    axes: tuple[int, ...] = ()
    along: float = 0.0


@dataclass(frozen=True, slots=True)
class Handle:
    """Take a mug by its handle, the fingers pointing aslant at the mug's middle.

    Attributes:
        at: The handle, in the thing's frame.
        tilt: Angle between the fingers and straight down, radians.
    """

    at: tuple[float, float, float]
    tilt: float


Grasp = Rim | Pinch | Handle

_CAN, _CARTON = Pinch(0.018), Pinch(0.03, axes=(0, 1, 2))
# Taller above their middle: lower, and the hand would come down on their caps.
_BOTTLE = Pinch(0.05, axes=(0, 1, 2))
_FLAT = Pinch(0.001, axes=(1,), along=0.022)
GRASPS: dict[str, Grasp] = {
    "akita_black_bowl": Rim(0.047, 0.043),
    "alphabet_soup": _CAN,
    "bbq_sauce": _CARTON,
    "black_book": Pinch(0.115, at=(0.0, -0.012, 0.0), axes=(0,)),
    "butter": _FLAT,
    "chefmate_8_frypan": Pinch(0.05, at=(0.17, 0.0, 0.0), axes=(1,)),
    "chocolate_pudding": Pinch(0.002, axes=(1,), along=0.022),
    "cream_cheese": _FLAT,
    "ketchup": _BOTTLE,
    "milk": _CARTON,
    "moka_pot": Pinch(0.081),
    "new_salad_dressing": Pinch(0.098, axes=(0, 1, 2)),
    "orange_juice": _CARTON,
    "plate": Rim(0.064, 0.009),
    "porcelain_mug": Rim(0.043, 0.095, centre=(0.013, 0.0), only=(1.0, 0.0)),
    "red_coffee_mug": Rim(0.043, 0.12, centre=(-0.015, 0.0), only=(-1.0, 0.0)),
    "salad_dressing": _BOTTLE,
    "tomato_sauce": _CAN,
    "white_bowl": Rim(0.036, 0.028),
    "white_yellow_mug": Rim(0.046, 0.09, centre=(-0.018, 0.0), only=(-1.0, 0.0)),
    "wine_bottle": Pinch(0.13),
    "yellow_book": Pinch(0.10, axes=(0,)),
}

MUG_HANDLE = Handle((0.062, 0.0, 0.058), np.deg2rad(60))
"""Of the white and yellow mug, for where no hand fits in from above."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One way to hold a thing: the gripper's pose in the frame of the thing."""

    position: Vector
    rotation: Matrix

    def on(self, thing: Pose) -> Pose:
        """Return the gripper's pose in the world."""
        return Pose(thing.of(self.position), thing.rotation @ self.rotation)


def _hold(thing: Pose, point: Vector, closing: Vector) -> tuple[float, Hold]:
    """Return a hold, and by how much it turns the gripper; both senses of closing are one."""
    yaw = comfortable(float(np.arctan2(-closing[0], closing[1])))
    local = thing.rotation.T @ (point - thing.position)
    return abs(yaw), Hold(local, thing.rotation.T @ facing(yaw))


def _handle_hold(thing: Pose, handle: Handle) -> Hold:
    towards = thing.rotation @ np.array([-handle.at[0], -handle.at[1], 0.0])
    towards = towards / np.linalg.norm(towards)
    aside = np.cross(_UP, towards)
    yaw = comfortable(float(np.arctan2(-aside[0], aside[1])))
    rotation = about(np.cross(DOWN, towards), handle.tilt) @ facing(yaw)
    return Hold(np.array(handle.at), thing.rotation.T @ rotation)


def _rim_directions(thing: Pose, rim: Rim) -> Iterator[Vector]:
    if rim.only is not None:
        yield (thing.rotation @ np.array([*rim.only, 0.0]))[:2]
        return
    for angle in (90, -90, 60, 120, -60, -120, 30, 150, -30, -150, 0, 180):
        yield np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])


_AROUND = [facing(np.deg2rad(yaw))[:, 0] for yaw in (0, 45, 90, -45)]


def _ways(along: float) -> tuple[float, ...]:
    return (0.0, along, -along) if along else (0.0,)


def holds(thing: Pose, grasp: Grasp) -> list[Hold]:
    """Return the ways to hold a thing where it stands, the least turned gripper first."""
    if isinstance(grasp, Handle):
        return [_handle_hold(thing, grasp)]
    found = []
    if isinstance(grasp, Rim):
        centre = thing.of(np.array([*grasp.centre, 0.0])) + grasp.height * _UP
        for out in _rim_directions(thing, grasp):
            out = out / np.linalg.norm(out)
            point = centre + grasp.radius * np.array([*out, 0.0])
            found.append(_hold(thing, point, out))
    else:
        point = thing.of(np.array(grasp.at))
        point[2] = thing.position[2] + grasp.height
        closings = [thing.rotation[:, axis] for axis in grasp.axes] or _AROUND
        points = [point + way * thing.rotation[:, 0] for way in _ways(grasp.along)]
        level = [axis for axis in closings if abs(axis[2]) < 0.7]
        found = [_hold(thing, point, axis) for axis in level for point in points]
    return [hold for _, hold in sorted(found, key=lambda scored: round(scored[0], 3))]


def lying(thing: Pose, box: Box) -> list[Hold]:
    """Return how to hold a thing that has fallen over: across its middle, if it is narrow there."""
    found = []
    for axis, half in sorted(enumerate(box.half), key=lambda pair: pair[1]):
        closing = thing.rotation[:, axis]
        if half < 0.036 and abs(closing[2]) < 0.7:
            found.append(_hold(thing, box.centre, closing)[1])
    return found
