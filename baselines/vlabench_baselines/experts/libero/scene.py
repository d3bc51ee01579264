"""What the expert makes of one privileged observation."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlabench.env import Observation
from vlabench_baselines.experts.libero.goal import kind
from vlabench_baselines.experts.libero.motion import Pose, Vector, pose_of
from vlabench_baselines.experts.libero.shapes import PARTS, Box, box_of

_FINGERS = slice(6, 8)
_CLIMB = 0.8
"""Metres up for a metre ahead: less than the 1 that full speed in both would give."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment.

    Attributes:
        poses: Of things, fixtures and places, by LIBERO's names.
        joints: Positions of fixtures' joints, by name.
        grip: The point between the fingers.
        width: Distance between the fingers, 0 to 0.08 m.
        boxes: What every thing and fixture fills.
    """

    poses: Mapping[str, Pose]
    joints: Mapping[str, float]
    grip: Pose
    width: float
    boxes: Mapping[str, tuple[Box, ...]]

    def obstacles(self, ignored: Iterable[str] = ()) -> list[Box]:
        """Return the boxes of everything but the `ignored`."""
        skip = set(ignored)
        return [box for name, boxes in self.boxes.items() if name not in skip for box in boxes]

    def parts(self, name: str, *, slides: str, by: float) -> list[Box]:
        """Return where the parts of a drawer will be when its joint is at `by`."""
        parts = [part for part in PARTS[kind(name)] if part.slides == slides]
        return [box_of(self.poses[name], part, by) for part in parts]

    def hangs_below(self, name: str) -> float:
        """Return how far a thing reaches below its own origin now, metres."""
        lowest = min(box.bottom for box in self.boxes[name])
        return float(self.poses[name].position[2] - lowest)


def look(observation: Observation) -> Scene:
    """Read an observation with privileged state."""
    seen = observation.privileged
    poses = {name: pose_of(value) for name, value in seen.items() if value.shape == (7,)}
    joints = {name: float(value[0]) for name, value in seen.items() if value.shape == (1,)}
    fingers: NDArray[np.float32] = observation.state[_FINGERS]
    return Scene(
        poses=poses,
        joints=joints,
        grip=poses.pop("gripper"),
        width=float(fingers[0] - fingers[1]),
        boxes={
            name: tuple(
                box_of(pose, part, joints.get(f"{name}_{part.slides}_level", 0.0))
                for part in PARTS[kind(name)]
            )
            for name, pose in poses.items()
            if kind(name) in PARTS
        },
    )


def clearance(
    start: Vector, goal: Vector, obstacles: Iterable[Box], *, radius: float, near: float
) -> float:
    """Return how high one has to be at `start` to pass over what stands in the way to `goal`.

    Seen from above, the way is straight; what stands further ahead asks for less, because there is
    time to climb.

    Args:
        start: `[3]`.
        goal: `[3]`.
        obstacles: What may stand there.
        radius: Half the width of what moves.
        near: Where the way is closer to the goal than this, nothing counts: it is for the descent.

    Returns:
        Metres above the world's origin, `-inf` where the way is free.
    """
    way = goal[:2] - start[:2]
    length = float(np.linalg.norm(way))
    if length <= near:
        return -np.inf
    along = np.linspace(0.0, length - near, 2 + int(length / 0.02))
    points = start[:2] + along[:, None] * way / length
    highest = -np.inf
    for box in obstacles:
        if box.top <= highest:
            continue
        # Distance to the rectangle that the box's axes span from above; boxes that lie on a side
        # are rare, and their circle will do.
        flat = abs(box.axes[2, 2]) > 0.9
        half = box.half[:2] if flat else np.full(2, float(np.linalg.norm(box.half)))
        local = (points - box.centre[:2]) @ (box.axes[:2, :2] if flat else np.eye(2))
        gaps = np.linalg.norm(np.maximum(np.abs(local) - half, 0.0), axis=1)
        if np.any(gaps < radius):
            first = float(along[np.argmax(gaps < radius)])
            highest = max(highest, box.top - _CLIMB * max(0.0, first - 0.02))
    return highest
