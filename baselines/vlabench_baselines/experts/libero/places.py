"""Where a thing goes when the goal says that it is on or in something."""

from dataclasses import dataclass

import numpy as np

from vlabench_baselines.experts.libero.goal import kind
from vlabench_baselines.experts.libero.grasps import GRASPS
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
_DRAWER_FACE, _DRAWER_FRONT = -0.078, -0.065
"""Along the cabinet's y: its face, and the inside of a closed drawer's front."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thing's origin shall be.

    Attributes:
        position: `[3]`.
        drop: From how far above it the thing may be let go.
        tolerance: How far aside it may be let go.
        sinks: How far below it a thing that was let go may come to rest.
        rotation: Of the gripper when it lets go; as when it took the thing if None.
        entry: A place to come through and leave through, straight; from above if None.
    """

    position: Vector
    drop: float = 0.01
    tolerance: float = 0.01
    sinks: float = 0.03
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
    aside = np.array([shift, 0.0, 0.0])
    pose = scene.poses[target]
    if not rest:  # another thing
        height = {"plate": 0.004, "akita_black_bowl": 0.03, "white_bowl": 0.02}.get(
            kind(target), 0.01
        )
        return Place(pose.position + np.array([0.0, 0.0, height + below]) + aside)
    if not owner:  # a piece of the table
        level = start.poses[thing].position[2]
        return Place(np.array([*pose.position[:2], level]) + aside)
    stand = scene.poses[owner]
    level = rest.partition("_")[0]
    if "cabinet" in owner and rest.endswith("_region") and level in LEVELS:
        slide = scene.joints[f"{owner}_{level}_level"]
        # In the middle of what has come out; further to the front in lower drawers, because the
        # handles of the upper ones stick out over them.
        middle = 0.5 * (_DRAWER_FACE + _DRAWER_FRONT + slide)
        if level != "top":
            middle = min(middle, _DRAWER_FRONT + slide + 0.056)
        spot = stand.of(np.array([0.0035, middle, _DRAWER_FLOOR[level] + below]))
        return Place(spot + aside, drop=0.03 if level == "top" else 0.015)
    if kind(owner) == "basket":
        # The hand does not fit between the walls: it stays above them, whatever it holds.
        height = max(0.03 + below, 0.130 - GRASPS[kind(thing)].height)
        spot = np.array([*pose.position[:2], stand.position[2] + height])
        return Place(spot + aside, drop=0.01, tolerance=0.015, sinks=0.15)
    if kind(owner) == "microwave":
        # The hand hardly fits between the walls; the door, when it is closed, pushes a mug in.
        spot = np.array([-0.04, -0.015, 0.026 + below])
        return Place(stand.of(spot), entry=stand.of(spot + np.array([0.0, -0.13, 0.02])), tolerance=0.015)
    if kind(owner) == "desk_caddy":
        return _compartment(stand, pose, below)
    if kind(owner) == "wine_rack":
        return _lying(stand)
    if kind(owner) == "flat_stove":
        return Place(np.array([*pose.position[:2], stand.position[2] + 0.027 + below]) + aside)
    if kind(owner) == "wooden_tray":
        return Place(np.array([*pose.position[:2], stand.position[2] + 0.015 + below]) + aside)
    return Place(pose.position + np.array([0.0, 0.0, 0.002 + below]) + aside)


def _compartment(caddy: Pose, region: Pose, below: float) -> Place:
    """Return where a book goes, standing, its back along the compartment's longer side."""
    across = caddy.rotation[:, 0]
    yaw = comfortable(float(np.arctan2(-across[0], across[1])))
    spot = np.array([*region.position[:2], caddy.position[2] + 0.014 + below])
    # The walls keep the hand above: it falls the rest.
    return Place(spot, drop=0.045, tolerance=0.008, rotation=facing(yaw))


def _lying(rack: Pose) -> Place:
    """Return how a bottle lies on a rack's upper board: neck up the slope, beside the post.

    The board rises along the rack's y by 31.5 degrees, from the lip that the bottle stands on.
    """
    return Place(
        rack.of(np.array([-0.05, -0.0745, 0.237])),
        drop=0.003,
        rotation=slanting(-rack.rotation[:, 1], np.deg2rad(58.5)),
    )
