"""Where a thing goes when the goal says that it is on or in something."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vlabench_baselines.experts.libero.goal import kind
from vlabench_baselines.experts.libero.grasps import GRASPS, Handle
from vlabench_baselines.experts.libero.motion import (
    Matrix,
    Pose,
    Vector,
    comfortable,
    facing,
    slanting,
)
from vlabench_baselines.experts.libero.scene import Scene

LEVELS = ("top", "middle", "bottom")
_DRAWER_FLOOR = {"top": 0.158, "middle": 0.088, "bottom": 0.021}
DRAWER_FACE, _DRAWER_FRONT = -0.078, -0.065
"""Along the cabinet's y: its face, and the inside of a closed drawer's front."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thing's origin shall be.

    Attributes:
        position: `[3]`.
        drop: From how far above it the thing may be let go.
        tolerance: How far aside it may be let go.
        sinks: How far below it a thing that was let go may come to rest.
        near: How far aside of it a thing that was let go counts as put there.
        rotation: Of the gripper when it lets go; as when it took the thing if None.
        entry: A place to come through and leave through, straight; from above if None.
    """

    position: Vector
    drop: float = 0.01
    tolerance: float = 0.01
    sinks: float = 0.03
    near: float = 0.035
    rotation: Matrix | None = None
    entry: Vector | None = None


def fixture_of(region: str) -> tuple[str, str]:
    """Split a region's name, `wooden_cabinet_1_top_region`, into its owner and the rest."""
    words = region.split("_")
    for index, word in enumerate(words):
        if word.isdigit():
            return "_".join(words[: index + 1]), "_".join(words[index + 1 :])
    return "", region


def place_of(scene: Scene, start: Scene, thing: str, target: str, shift: float = 0.0) -> Place:
    """Return where `thing` shall go.

    Args:
        scene: Now.
        start: The first observation of the episode; tells how high things stand on the table.
        thing: What is carried.
        target: A thing or a region.
        shift: Along the world's x, for the second of two things in one place.
    """
    owner, rest = fixture_of(target)
    below = start.hangs_below(thing)
    pose = scene.poses[target]
    if not rest:  # another thing
        height = _SEAT.get(kind(target), 0.01) + below
        return Place(pose.position + np.array([0.0, 0.0, height]))
    if not owner:  # a piece of the table
        return Place(np.array([*pose.position[:2], start.poses[thing].position[2]]))
    stand = scene.poses[owner]
    level = rest.partition("_")[0]
    if "cabinet" in owner and rest == f"{level}_region" and level in LEVELS:
        return _drawer(stand, scene.joints[f"{owner}_{level}_level"], level, below)
    special = _SPECIAL.get(kind(owner))
    if special is not None:
        return special(stand, pose, thing, below)
    spot = np.array([pose.position[0] + shift, pose.position[1], pose.position[2] + 0.002 + below])
    if kind(owner) in _FLOORS:
        spot[2] = stand.position[2] + _FLOORS[kind(owner)] + below
    return Place(spot)


_SEAT = {"plate": 0.004, "akita_black_bowl": 0.03, "white_bowl": 0.02}
"""How far above a thing's origin another one comes to rest on it."""
_FLOORS = {"flat_stove": 0.027, "wooden_tray": 0.015}
"""Of fixtures whose regions do not start where their floors are."""


def _drawer(cabinet: Pose, slide: float, level: str, below: float) -> Place:
    """Return the middle of what has come out of the cabinet.

    Further to the front in lower drawers: the handles of the upper ones stick out over them.
    """
    middle = 0.5 * (DRAWER_FACE + _DRAWER_FRONT + slide)
    if level != "top":
        middle = min(middle, _DRAWER_FRONT + slide + 0.056)
    spot = cabinet.of(np.array([0.0035, middle, _DRAWER_FLOOR[level] + below]))
    return Place(spot, drop=0.03 if level == "top" else 0.015, near=0.055)


def _basket(basket: Pose, region: Pose, thing: str, below: float) -> Place:
    """Return a place high up: the hand does not fit between the walls, whatever it holds."""
    grasp = GRASPS[kind(thing)]
    held = 0.0 if isinstance(grasp, Handle) else grasp.height
    height = max(0.03 + below, 0.130 - held)
    spot = np.array([*region.position[:2], basket.position[2] + height])
    return Place(spot, drop=0.01, tolerance=0.015, sinks=0.15, near=0.05)


def _microwave(oven: Pose, _region: Pose, _thing: str, below: float) -> Place:
    """Return a place at the front: the hand hardly fits in, and the door pushes a mug further."""
    spot = np.array([-0.04, -0.015, 0.026 + below])
    entry = oven.of(spot + np.array([0.0, -0.13, 0.02]))
    return Place(oven.of(spot), entry=entry, tolerance=0.015)


def _compartment(caddy: Pose, region: Pose, _thing: str, below: float) -> Place:
    """Return where a book goes, standing, its back along the compartment's longer side."""
    across = caddy.rotation[:, 0]
    yaw = comfortable(float(np.arctan2(-across[0], across[1])))
    spot = np.array([*region.position[:2], caddy.position[2] + 0.014 + below])
    # The walls keep the hand above: it falls the rest.
    return Place(spot, drop=0.045, tolerance=0.008, rotation=facing(yaw))


def _lying(rack: Pose, _region: Pose, _thing: str, _below: float) -> Place:
    """Return how a bottle lies on a rack's upper board: neck up the slope, beside the post.

    The board rises along the rack's y by 31.5 degrees, from the lip that the bottle stands on.
    """
    return Place(
        rack.of(np.array([-0.05, -0.0745, 0.237])),
        drop=0.003,
        rotation=slanting(-rack.rotation[:, 1], np.deg2rad(58.5)),
    )


_SPECIAL: dict[str, Callable[[Pose, Pose, str, float], Place]] = {
    "basket": _basket,
    "desk_caddy": _compartment,
    "microwave": _microwave,
    "wine_rack": _lying,
}
