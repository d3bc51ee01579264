"""What the expert can do: each skill looks at the scene and gives the next action."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

import numpy as np

from vlabench_baselines.experts.libero.goal import kind
from vlabench_baselines.experts.libero.grasps import GRASPS, Grasp, Hold, Rim, holds
from vlabench_baselines.experts.libero.motion import (
    CLOSE,
    OPEN,
    Pose,
    Vector,
    off_by,
    servo,
)
from vlabench_baselines.experts.libero.places import Place
from vlabench_baselines.experts.libero.scene import Scene, clearance
from vlabench_baselines.experts.libero.shapes import Box, hand_boxes, touch

_TIP = 0.008
"""How far the fingers reach below the point between them."""
_SLOPE, _FUNNEL = 3.0, 0.008
"""Of the funnel above a goal: height over distance, and the distance where it starts."""


class Skill(Protocol):
    """One part of a task."""

    def achieved(self, scene: Scene) -> bool:
        """Return whether there is nothing (more) to do."""
        ...

    def act(self, scene: Scene) -> Vector | None:
        """Return the next action, `[7]`; None when this attempt has come to its end."""
        ...


def travel(
    scene: Scene, goal: Pose, gripper: float, *, obstacles: Iterable[Box], hover: float = 0.08
) -> Vector:
    """Move to a pose from above: over whatever stands in the way, then down a steep funnel."""
    ahead = clearance(scene.grip.position, goal.position, obstacles, radius=0.06, near=0.06)
    return _descend(scene.grip, goal, gripper, least=ahead + _TIP + 0.015, hover=hover)


def _descend(grip: Pose, goal: Pose, gripper: float, *, least: float, hover: float) -> Vector:
    """Move to a pose, no lower than `least` on the way and from `hover` above it at the end."""
    aside = goal.position[:2] - grip.position[:2]
    distance = float(np.linalg.norm(aside))
    _, angle = off_by(grip, goal)
    above = hover if angle > 0.35 else min(hover, _SLOPE * max(0.0, distance - _FUNNEL))
    height = max(goal.position[2] + above, least)
    # Too low: up first, sideways only as far as the height allows.
    lacking = height - float(grip.position[2])
    aside = aside * np.clip(1.0 - (lacking - 0.02) / 0.04, 0.0, 1.0)
    return servo(
        grip, Pose(np.array([*(grip.position[:2] + aside), height]), goal.rotation), gripper
    )


class Carry:
    """Pick something up and put it somewhere."""

    def __init__(
        self,
        thing: str,
        place: Callable[[Scene], Place],
        onto: Iterable[str],
        grasp: Grasp | None = None,
    ) -> None:
        self.thing, self._place, self._onto = thing, place, tuple(onto)
        self._kind = grasp or GRASPS[kind(thing)]
        self._phase = "reach"
        self._hold: Hold | None = None
        self._count = 0
        self._width = 1.0
        self._leave: Pose | None = None
        self._carried = np.eye(3)
        self._last = np.zeros(3)

    def achieved(self, scene: Scene) -> bool:
        place, now = self._place(scene), scene.poses[self.thing].position
        off = now - place.position
        return bool(np.linalg.norm(off[:2]) < 0.035 and -place.sinks < off[2] < 0.03)

    def act(self, scene: Scene) -> Vector | None:
        if self._phase == "reach":
            return self._reach(scene)
        if self._phase == "close":
            return self._close(scene)
        if self._phase == "carry":
            return self._carry(scene)
        return self._release(scene)

    def _go(self, phase: str) -> None:
        self._phase, self._count = phase, 0

    def _grasp(self, scene: Scene) -> Pose:
        thing = scene.poses[self.thing]
        if self._hold is None:
            self._hold = self._choose(scene, thing)
        return self._hold.on(thing)

    def _options(self, scene: Scene, thing: Pose) -> list[Hold]:
        return holds(thing, self._kind)

    def _choose(self, scene: Scene, thing: Pose) -> Hold:
        """Return the first hold where neither taking nor putting makes the hand touch anything."""
        options = self._options(scene, thing)
        others = scene.obstacles([self.thing])
        place = self._place(scene)
        there = Pose(place.position + np.array([0.0, 0.0, place.drop]), thing.rotation)
        surroundings = scene.obstacles([self.thing, *self._onto])

        def badness(hold: Hold) -> int:
            taking, putting = hand_boxes(hold.on(thing)), hand_boxes(hold.on(there))
            return 2 * any(touch(h, o) for h in taking for o in others) + any(
                touch(h, o) for h in putting for o in surroundings
            )

        return min(options, key=badness)

    def _reach(self, scene: Scene) -> Vector:
        goal = self._grasp(scene)
        off = goal.position - scene.grip.position
        _, angle = off_by(scene.grip, goal)
        if np.linalg.norm(off[:2]) < 0.007 and abs(off[2]) < 0.007 and angle < 0.15:
            self._go("close")
            self._carried = goal.rotation
            return self._close(scene)
        if np.linalg.norm(off[:2]) > 0.08 and self._count > 20:
            self._hold = None  # it has moved: choose again
        self._count += 1
        return travel(scene, goal, OPEN, obstacles=scene.obstacles([self.thing]))

    def _close(self, scene: Scene) -> Vector:
        goal = self._grasp(scene)
        distance, _ = off_by(scene.grip, goal)
        stopped = self._count > 4 and abs(scene.width - self._width) < 0.0004
        self._width = scene.width
        self._count += 1
        if distance > 0.03:
            self._go("reach")
        elif stopped:
            self._go("carry" if scene.width > 0.001 else "reach")
        return servo(scene.grip, goal, CLOSE)

    def _carry(self, scene: Scene) -> Vector:
        thing, grip = scene.poses[self.thing], scene.grip
        distance, _ = off_by(grip, self._grasp(scene))
        if distance > 0.04 or scene.width < 0.001:
            self._hold = None
            self._go("reach")
            return self._reach(scene)
        place = self._place(scene)
        off = thing.position - place.position
        if np.linalg.norm(off[:2]) < place.tolerance and (off[2] < place.drop or self._stuck(scene)):
            self._go("release")
            self._leave, self._width = grip, scene.width
            return self._release(scene)
        goal = self._goal(scene, place)
        if place.entry is not None:
            return self._enter(scene, place, goal)
        return self._descent(scene, place, goal)

    def _descent(self, scene: Scene, place: Place, goal: Pose) -> Vector:
        """Move over what stands in the way, and down."""
        thing, grip = scene.poses[self.thing], scene.grip
        ahead = clearance(
            thing.position,
            place.position,
            scene.obstacles([self.thing, *self._onto]),
            radius=0.06,
            near=0.06,
        )
        least = ahead + scene.hangs_below(self.thing) + grip.position[2] - thing.position[2] + 0.015
        return _descend(grip, goal, CLOSE, least=least, hover=0.08)

    def _goal(self, scene: Scene, place: Place) -> Pose:
        """Return the gripper's pose that puts the thing into its place, held as it is now."""
        grip, thing = scene.grip, scene.poses[self.thing]
        rotation = self._carried if place.rotation is None else place.rotation
        held = grip.rotation.T @ (grip.position - thing.position)
        return Pose(place.position + rotation @ held, rotation)

    def _enter(self, scene: Scene, place: Place, goal: Pose) -> Vector:
        """Move to the place through its entry: to the one, then straight to the other."""
        assert place.entry is not None
        way = place.position - place.entry
        off = goal.position - scene.grip.position
        length = float(np.linalg.norm(way))
        left = float(off @ way) / length
        aside = float(np.linalg.norm(off - left * way / length))
        _, angle = off_by(scene.grip, goal)
        if left < length + 0.02 and aside < 0.02 + 0.15 * max(left, 0.0) and angle < 0.3:
            return servo(scene.grip, goal, CLOSE, speed=0.8)
        before = Pose(goal.position - way, goal.rotation)
        ahead = clearance(
            scene.grip.position, before.position, scene.obstacles([self.thing]), radius=0.06, near=0.06
        )
        least = ahead + scene.hangs_below(self.thing) + 0.05
        return _descend(scene.grip, before, CLOSE, least=least, hover=0.0)

    def _stuck(self, scene: Scene) -> bool:
        """Return whether the gripper has hardly moved for a while: something is in its way."""
        moved = float(np.linalg.norm(scene.grip.position - self._last))
        self._last = scene.grip.position
        self._count = self._count + 1 if moved < 0.0015 else 0
        return self._count > 6

    def _release(self, scene: Scene) -> Vector | None:
        assert self._leave is not None
        self._count += 1
        if scene.width < min(self._width + 0.012, 0.075) and self._count < 8:
            return servo(scene.grip, self._leave, OPEN)
        place = self._place(scene)
        if place.entry is not None:
            back = self._leave.position + 1.2 * (place.entry - place.position)
            if off_by(scene.grip, Pose(back, self._leave.rotation))[0] > 0.03 and self._count < 30:
                return servo(scene.grip, Pose(back, self._leave.rotation), OPEN)
            self._go("reach")
            self._hold = None
            return None
        up = self._leave.position + np.array([0.0, 0.0, 0.08])
        if scene.grip.position[2] > up[2] - 0.02:
            self._go("reach")
            self._hold = None
            return None
        return servo(scene.grip, Pose(up, self._leave.rotation), OPEN)


class Drag(Carry):
    """Pinch the near edge of something flat and pull it over the table."""

    def _options(self, scene: Scene, thing: Pose) -> list[Hold]:
        # The edge that goes first: pushed from behind the plate slides under the fingers.
        assert isinstance(self._kind, Rim)
        way = (self._place(scene).position - thing.position)[:2]
        local = thing.rotation[:2, :2].T @ (way / np.linalg.norm(way))
        return holds(thing, replace(self._kind, only=(float(local[0]), float(local[1]))))

    def _descent(self, scene: Scene, place: Place, goal: Pose) -> Vector:
        return servo(scene.grip, goal, CLOSE)


class MoveAside(Carry):
    """Put something out of the way of a drawer, as long as the drawer is shut."""

    def __init__(self, thing: str, joint: str, start: Scene, spot: Vector) -> None:
        super().__init__(thing, lambda _: Place(spot), onto=())
        self._joint, self._from = joint, start.poses[thing].position

    def achieved(self, scene: Scene) -> bool:
        opened = scene.joints[self._joint] < -0.1
        return opened or super().achieved(scene)


def spot_beside(scene: Scene, thing: str, coming: Iterable[Box]) -> Vector | None:
    """Return the nearest spot for a thing where a hand can take it although boxes will come there.

    None where it is out of their way already, or where there is no such spot within 20 cm.
    """
    pose, others = scene.poses[thing], scene.obstacles([thing])
    coming = list(coming)

    def free(spot: Vector) -> bool:
        moved = Pose(spot, pose.rotation)
        body = [Box(b.centre + spot - pose.position, b.axes, b.half) for b in scene.boxes[thing]]
        if any(touch(b, o) for b in body for o in (*others, *coming)):
            return False
        for hold in holds(pose, GRASPS[kind(thing)])[:2]:  # those that turn the gripper least
            hand = [Box(h.centre, h.axes, h.half + 0.006) for h in hand_boxes(hold.on(moved))]
            if not any(touch(h, o) for h in hand for o in (*others, *coming)):
                return True
        return False

    for distance in np.arange(0.0, 0.2, 0.01):
        for angle in np.deg2rad(np.arange(90, 450, 15)):
            way = distance * np.array([np.cos(angle), np.sin(angle), 0.0])
            if free(pose.position + way):
                return None if distance == 0.0 else pose.position + way
    return None
