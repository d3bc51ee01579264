"""What the expert can do: each skill looks at the scene and gives the next action."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

import numpy as np

from vlabench_baselines.experts.libero.goal import kind
from vlabench_baselines.experts.libero.grasps import GRASPS, Grasp, Hold, Rim, holds, lying
from vlabench_baselines.experts.libero.motion import (
    CLOSE,
    OPEN,
    Pose,
    Vector,
    off_by,
    servo,
)
from vlabench_baselines.experts.libero.places import DRAWER_FACE, Place
from vlabench_baselines.experts.libero.scene import Scene, clearance
from vlabench_baselines.experts.libero.shapes import Box, hand_boxes, touch

_TIP = 0.008
"""How far the fingers reach below the point between them."""


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
    # Two funnels: sink no deeper than the steep one, climb back only out of the flat one.
    steep = hover if angle > 0.35 else min(hover, 3.0 * max(0.0, distance - 0.008))
    flat = hover if angle > 0.5 else min(hover, max(0.0, distance - 0.012))
    bottom = max(goal.position[2] + flat, least)
    height = float(np.clip(grip.position[2], bottom, max(goal.position[2] + steep, bottom)))
    # Too low: up first, sideways only as far as the height allows.
    lacking = bottom - float(grip.position[2])
    aside = aside * np.clip(1.0 - (lacking - 0.006) / 0.03, 0.0, 1.0)
    spot = np.array([*(grip.position[:2] + aside), height])
    return servo(grip, Pose(spot, goal.rotation), gripper)


class Progress:
    """Tells when the gripper has stopped getting anywhere."""

    _STEPS, _DISTANCE, _ANGLE = 14, 0.012, 0.15

    def __init__(self) -> None:
        self._seen: list[Pose] = []

    def stalled(self, grip: Pose) -> bool:
        """Take the gripper's pose of this step."""
        self._seen = [*self._seen[-self._STEPS :], grip]
        distance, angle = off_by(self._seen[0], grip)
        full = len(self._seen) > self._STEPS
        return full and distance < self._DISTANCE and angle < self._ANGLE


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
        self._progress = Progress()
        self._failures = 0
        self._above: Pose | None = None

    def achieved(self, scene: Scene) -> bool:
        place, now = self._place(scene), scene.poses[self.thing].position
        off = now - place.position
        return bool(np.linalg.norm(off[:2]) < place.near and -place.sinks < off[2] < 0.03)

    def act(self, scene: Scene) -> Vector | None:
        if self._hold is None:
            self._hold = self._choose(scene, scene.poses[self.thing])
        if self._hold is None:
            return None  # it lies so that there is no way to take it
        if self._above is not None:
            return self._back_off(scene, self._above)
        if self._phase == "reach":
            return self._reach(scene)
        if self._phase == "close":
            return self._close(scene)
        if self._phase == "carry":
            return self._carry(scene)
        return self._release(scene)

    def _go(self, phase: str) -> None:
        self._phase, self._count, self._progress = phase, 0, Progress()

    def _back_off(self, scene: Scene, above: Pose) -> Vector | None:
        """Rise, after something was in the way, and then try again."""
        self._count += 1
        if above.position[2] - scene.grip.position[2] < 0.02 or self._count > 15:
            self._above = None
            self._go(self._phase)
            return self.act(scene)
        return servo(scene.grip, above, OPEN if self._phase == "reach" else CLOSE)

    def _stalls(self, scene: Scene) -> bool:
        """Return whether the way seems blocked; if so, `_back_off` comes next."""
        if not self._progress.stalled(scene.grip):
            return False
        up = np.array([0.0, 0.0, 0.1])
        self._above = Pose(scene.grip.position + up, scene.grip.rotation)
        self._count = 0
        return True

    def _grasp(self, scene: Scene) -> Pose:
        assert self._hold is not None
        return self._hold.on(scene.poses[self.thing])

    def _options(self, scene: Scene, thing: Pose) -> list[Hold]:
        return holds(thing, self._kind) or lying(thing, scene.boxes[self.thing][0])

    def _choose(self, scene: Scene, thing: Pose) -> Hold | None:
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

        ranked = sorted(options, key=badness)
        # After a failure the next best, but not one that is known to be obstructed.
        clear = [hold for hold in ranked if badness(hold) < 2] or ranked
        return clear[self._failures % len(clear)] if clear else None

    def _reach(self, scene: Scene) -> Vector:
        goal = self._grasp(scene)
        off = goal.position - scene.grip.position
        _, angle = off_by(scene.grip, goal)
        if np.linalg.norm(off[:2]) < 0.007 and abs(off[2]) < 0.007 and angle < 0.2:
            self._go("close")
            self._carried = goal.rotation
            return self._close(scene)
        if self._stalls(scene):
            self._failures += 1
            self._hold = None  # choose again
        return travel(scene, goal, OPEN, obstacles=scene.obstacles([self.thing]))

    def _close(self, scene: Scene) -> Vector:
        goal = self._grasp(scene)
        distance, _ = off_by(scene.grip, goal)
        stopped = self._count > 4 and abs(scene.width - self._width) < 0.0004
        self._width = scene.width
        self._count += 1
        if distance > 0.03:
            self._go("reach")
        elif stopped or self._count > 14:
            self._go("carry" if scene.width > 0.001 else "reach")
        return servo(scene.grip, goal, CLOSE)

    def _carry(self, scene: Scene) -> Vector | None:
        thing, grip = scene.poses[self.thing], scene.grip
        distance, _ = off_by(grip, self._grasp(scene))
        if distance > 0.04 or scene.width < 0.001:
            self._hold = None
            self._go("reach")
            return None if self.achieved(scene) else self.act(scene)  # it may have fallen well
        place = self._place(scene)
        off = thing.position - place.position
        goal = self._goal(scene, place)
        aside = float(np.linalg.norm(off[:2]))
        blocked = self._stalls(scene)
        if (aside < place.tolerance and off[2] < place.drop) or (blocked and aside < 0.03):
            self._above = None
            self._go("release")
            self._leave, self._width = grip, scene.width
            return self._release(scene)
        out = self._pull_out(scene)
        if out is not None:
            return out
        if place.entry is not None:
            return self._enter(scene, place, goal)
        return self._descent(scene, place, goal)

    def _pull_out(self, scene: Scene) -> Vector | None:
        """Move what stands in a drawer, its back edge still under the cabinet, to the front."""
        thing = scene.boxes[self.thing][0]
        for name, boxes in scene.boxes.items():
            if "cabinet" not in name or thing.bottom > boxes[0].top - 0.01:
                continue
            cabinet = scene.poses[name]
            local = cabinet.rotation.T @ (thing.centre - cabinet.position)
            inside = float(local[1] + thing.half[1] - DRAWER_FACE) + 0.003
            if (
                0.0 < inside < 0.03
                and abs(local[0]) < 0.1
                and thing.centre[2] > cabinet.position[2]
            ):
                ahead = np.array([0.0, -inside - 0.004, 0.001])
                spot = scene.grip.position + cabinet.rotation @ ahead
                return servo(scene.grip, Pose(spot, self._carried), CLOSE)
        return None

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
            scene.grip.position,
            before.position,
            scene.obstacles([self.thing]),
            radius=0.06,
            near=0.06,
        )
        least = ahead + scene.hangs_below(self.thing) + 0.05
        return _descend(scene.grip, before, CLOSE, least=least, hover=0.0)

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
