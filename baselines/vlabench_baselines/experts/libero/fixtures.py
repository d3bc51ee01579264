"""Skills for what is built in: drawers, the stove's knob, the microwave's door."""

import numpy as np

from vlabench_baselines.experts.libero.motion import (
    CLOSE,
    DOWN,
    OPEN,
    Matrix,
    Pose,
    Vector,
    about,
    comfortable,
    facing,
    off_by,
    servo,
    slanting,
)
from vlabench_baselines.experts.libero.scene import Scene
from vlabench_baselines.experts.libero.shapes import hand_boxes, touch
from vlabench_baselines.experts.libero.skills import Progress, travel

_HANDLE = {"top": 0.184, "middle": 0.1105, "bottom": 0.041}
"""Height of a drawer's handle in the cabinet's frame, metres."""
_PULLED, _SHUT = -0.15, 0.0
"""Joint positions at which a drawer counts as open (LIBERO: below -0.14) and closed."""


class OpenDrawer:
    """Grip the handle from the front and pull."""

    def __init__(self, cabinet: str, level: str) -> None:
        self._cabinet, self._level = cabinet, level
        self._joint = f"{cabinet}_{level}_level"
        self._phase = "reach"
        self._count = 0
        self._near = False

    def achieved(self, scene: Scene) -> bool:
        return scene.joints[self._joint] < _PULLED + 0.008

    def _handle(self, scene: Scene, slide: float, out: float) -> Pose:
        """Return the gripper's pose at the handle, `out` metres before it."""
        cabinet = scene.poses[self._cabinet]
        rotation = slanting(cabinet.rotation[:, 1], np.deg2rad(80))
        spot = cabinet.of(np.array([-0.0025, -0.1015 + slide, _HANDLE[self._level]]))
        return Pose(spot - out * rotation[:, 2], rotation)

    def act(self, scene: Scene) -> Vector | None:
        slide = scene.joints[self._joint]
        handle = self._handle(scene, slide, 0.0)
        distance, angle = off_by(scene.grip, handle)
        if self._phase == "reach":
            if distance < 0.010 and angle < 0.2:
                self._phase, self._count = "close", 0
            else:
                return self._reach(scene, slide, handle)
        if self._phase == "leave" or slide < _PULLED:
            return self._let_go(scene, handle)
        if distance > 0.035:
            self._phase = "reach"
            return self._reach(scene, slide, handle)
        self._count += 1
        if self._count < 8:
            return servo(scene.grip, handle, CLOSE)
        return servo(scene.grip, self._handle(scene, slide - 0.05, 0.0), CLOSE)

    def _reach(self, scene: Scene, slide: float, handle: Pose) -> Vector:
        before = self._handle(scene, slide, 0.09)
        local = handle.rotation.T @ (scene.grip.position - handle.position)
        _, angle = off_by(scene.grip, handle)
        aside = float(np.linalg.norm(local[:2]))
        # In front of the handle and turned: straight in. Elsewhere: to the point before it.
        if angle < 0.25 and -0.12 < local[2] < 0.02 and aside < (0.02 if not self._near else 0.03):
            self._near = True
            return servo(scene.grip, handle, OPEN, speed=0.8)
        self._near = False
        return travel(scene, before, OPEN, obstacles=scene.obstacles(), hover=0.0)

    def _let_go(self, scene: Scene, handle: Pose) -> Vector | None:
        if self._phase != "leave":
            self._phase, self._count = "leave", 0
        self._count += 1
        if self._count < 5:
            return servo(scene.grip, Pose(scene.grip.position, handle.rotation), OPEN)
        local = handle.rotation.T @ (scene.grip.position - handle.position)
        if local[2] < -0.06 or self._count > 20:
            self._phase = "reach"
            return None
        back = Pose(handle.position - 0.1 * handle.rotation[:, 2], handle.rotation)
        return servo(scene.grip, back, OPEN)


class CloseDrawer:
    """Push the front with closed fingers."""

    _TILT = np.deg2rad(45)
    """Enough for the hand to stay clear of the handles above the one that is pushed."""

    def __init__(self, cabinet: str, level: str) -> None:
        self._cabinet, self._level = cabinet, level
        self._joint = f"{cabinet}_{level}_level"
        self._spot: Vector | None = None
        self._progress = Progress()
        self._failures = self._rising = 0

    def achieved(self, scene: Scene) -> bool:
        return scene.joints[self._joint] > _SHUT

    def _rotation(self, cabinet: Pose) -> Matrix:
        across, into = cabinet.rotation[:, 0], cabinet.rotation[:, 1]
        yaw = comfortable(float(np.arctan2(-across[0], across[1])))
        return about(np.cross(DOWN, into), self._TILT) @ facing(yaw)

    def _choose(self, scene: Scene) -> Vector:
        """Return where to push a closed drawer, in the cabinet's frame: where there is room."""
        cabinet = scene.poses[self._cabinet]
        height = _HANDLE[self._level] - 0.006
        # The handle's middle, its ends, and the front beside it.
        along = ((-0.0025, -0.118), (0.03, -0.118), (-0.035, -0.118), (0.085, -0.087))
        spots = [np.array([*spot, height]) for spot in (*along, (-0.085, -0.087))]
        others = scene.obstacles([self._cabinet])
        slide = scene.joints[self._joint]

        def crowded(spot: Vector) -> bool:
            before = cabinet.of(spot + np.array([0.0, slide - 0.04, 0.0]))
            hand = hand_boxes(Pose(before, self._rotation(cabinet)), opening=0.0, length=0.08)
            return any(touch(h, o) for h in hand for o in others)

        return sorted(spots, key=crowded)[self._failures % len(spots)]

    def act(self, scene: Scene) -> Vector | None:
        if self.achieved(scene):
            self._spot = None
            return None
        if self._spot is None:
            self._spot = self._choose(scene)
        cabinet = scene.poses[self._cabinet]
        into = cabinet.rotation[:, 1]
        rotation = self._rotation(cabinet)
        contact = cabinet.of(self._spot + np.array([0.0, scene.joints[self._joint], 0.0]))
        before = Pose(contact - 0.03 * into, rotation)
        local = cabinet.rotation.T @ (scene.grip.position - contact)
        _, angle = off_by(scene.grip, before)
        if self._progress.stalled(scene.grip):
            self._failures, self._rising, self._progress = self._failures + 1, 10, Progress()
            self._spot = None
        if self._rising > 0:
            self._rising -= 1
            up = scene.grip.position + np.array([0.0, 0.0, 0.05])
            return servo(scene.grip, Pose(up, scene.grip.rotation), CLOSE)
        aligned = abs(local[0]) < 0.02 and abs(local[2]) < 0.012 and angle < 0.3
        if aligned and -0.08 < local[1] < 0.02:
            return servo(scene.grip, Pose(contact + 0.05 * into, rotation), CLOSE)
        return travel(scene, before, CLOSE, obstacles=scene.obstacles(), hover=0.05)


class TurnKnob:
    """Grip the stove's knob from above and turn it."""

    def __init__(self, stove: str, *, on: bool) -> None:
        self._stove, self._on = stove, on
        self._phase = "reach"
        self._count = 0

    def achieved(self, scene: Scene) -> bool:
        angle = scene.joints[f"{self._stove}_button"]
        return angle >= 0.5 if self._on else angle < 0.0

    def act(self, scene: Scene) -> Vector | None:
        stove = scene.poses[self._stove]
        angle = scene.joints[f"{self._stove}_button"]
        if self._phase == "leave" or self.achieved(scene):
            return self._let_go(scene)
        # The knob's ridge lies along the stove's x at angle 0 and is 24 mm wide. Half a turn makes
        # no difference to it; a quarter, at least, the arm can do either way.
        ridge = (angle + np.pi / 2) % np.pi - np.pi / 2
        grip = Pose(stove.of(np.array([-0.004, 0.0, 0.033])), stove.rotation @ facing(ridge))
        distance, turn = off_by(scene.grip, grip)
        if self._phase == "reach":
            if distance < 0.008 and turn < 0.15:
                self._phase, self._count = "turn", 0
            else:
                return travel(scene, grip, OPEN, obstacles=scene.obstacles([self._stove]))
        if distance > 0.03:
            self._phase = "reach"
        self._count += 1
        if self._count < 7:
            return servo(scene.grip, grip, CLOSE)
        ahead = 0.6 if self._on else -0.6
        return servo(scene.grip, Pose(grip.position, about(-DOWN, ahead) @ grip.rotation), CLOSE)

    def _let_go(self, scene: Scene) -> Vector | None:
        if self._phase != "leave":
            self._phase, self._count = "leave", 0
        self._count += 1
        top = scene.poses[self._stove].position[2] + 0.033
        if scene.grip.position[2] > top + 0.05:
            self._phase = "reach"
            return None
        up = scene.grip.position + np.array([0.0, 0.0, 0.05 if self._count > 3 else 0.0])
        return servo(scene.grip, Pose(up, scene.grip.rotation), OPEN)


class CloseMicrowave:
    """Sweep the open door shut from outside, with closed fingers."""

    def __init__(self, microwave: str) -> None:
        self._name = microwave

    def achieved(self, scene: Scene) -> bool:
        return scene.joints[f"{self._name}_microjoint"] > -0.004

    def act(self, scene: Scene) -> Vector | None:
        if self.achieved(scene):
            return None
        oven = scene.poses[self._name]
        angle = scene.joints[f"{self._name}_microjoint"]

        def beside(turn: float, out: float) -> Pose:
            """Return the pose at radius 0.22 of the door, `out` metres before its face."""
            arm = np.array([np.cos(turn), np.sin(turn), 0.0])
            normal = np.array([np.sin(turn), -np.cos(turn), 0.0])  # out of the oven
            spot = np.array([-0.172, -0.088, 0.165]) + 0.22 * arm + (0.023 + out) * normal
            return Pose(oven.of(spot), facing(0.0))

        touching = beside(angle, 0.0)
        local = scene.grip.position - touching.position
        normal = oven.rotation @ np.array([np.sin(angle), -np.cos(angle), 0.0])
        out, level = float(local @ normal), float(local[2])
        along = float(np.linalg.norm(local - out * normal - np.array([0.0, 0.0, level])))
        if -0.01 < out < 0.09 and abs(level) < 0.03 and along < 0.06:
            return servo(scene.grip, beside(angle + 0.12, -0.02), CLOSE)
        return travel(scene, beside(angle, 0.05), CLOSE, obstacles=scene.obstacles())
