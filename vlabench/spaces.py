"""What an action or an observation means, not only how long it is."""

from dataclasses import dataclass
from enum import StrEnum

from vlabench.errors import SpecMismatchError


class Rotation(StrEnum):
    """How the rotational part of an end-effector action is written."""

    NONE = "none"
    AXIS_ANGLE = "axis-angle"
    EULER_XYZ = "euler-xyz"


class Gripper(StrEnum):
    """Which sign closes the gripper."""

    NONE = "none"
    CLOSE_POSITIVE = "close-positive"
    CLOSE_NEGATIVE = "close-negative"


class Orientation(StrEnum):
    """Which way up a picture is. Policies are trained on one and fail on another."""

    UPRIGHT = "upright"
    MIRRORED = "mirrored"  # upright, left and right exchanged: a bottom-up picture turned by 180°
    UPSIDE_DOWN = "upside-down"  # bottom row first, as OpenGL returns it


class Quality(StrEnum):
    """How a picture is drawn; part of the protocol, because policies see the difference."""

    FULL = "full"  # the simulator's own settings
    FAST = "fast"  # no multisampling, no shadows, no reflections


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """One RGB picture, `[height, width, 3]` uint8.

    Attributes:
        name: The simulator's name of the camera.
        height: Pixels.
        width: Pixels.
        orientation: Which way up the picture is handed over.
        quality: How it is drawn.
    """

    name: str
    height: int
    width: int
    orientation: Orientation = Orientation.UPRIGHT
    quality: Quality = Quality.FULL

    def __str__(self) -> str:
        size = f"{self.width}x{self.height}"
        return f"{self.name} {size} {self.orientation} {self.quality}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSpec:
    """The action convention of a suite or a policy.

    Attributes:
        size: Length `A` of one action vector.
        delta: True when positions are offsets from the current pose, False when absolute.
        rotation: How rotations are written.
        gripper: Which sign closes the gripper.
        low: Smallest meaningful value of every component; simulators clip what is below.
        high: Largest meaningful value of every component; simulators clip what is above.
    """

    size: int
    delta: bool
    rotation: Rotation
    gripper: Gripper
    low: float = -1.0
    high: float = 1.0

    def __str__(self) -> str:
        kind = "delta" if self.delta else "absolute"
        return (
            f"{self.size} numbers in [{self.low:g}, {self.high:g}], {kind}, "
            f"rotation {self.rotation}, gripper {self.gripper}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationSpec:
    """What a suite shows under a protocol, or what a policy needs.

    Attributes:
        cameras: Pictures.
        state: Name of the convention of the proprioceptive vector; empty when there is none.
        state_size: Length `S` of that vector; 0 when there is none.
        privileged: Whether simulator state that no robot has (object poses) is shown.
    """

    cameras: tuple[Camera, ...] = ()
    state: str = ""
    state_size: int = 0
    privileged: bool = False


def check_match(
    suite_id: str,
    offered: ObservationSpec,
    accepted: ActionSpec,
    *,
    policy_id: str,
    needed: ObservationSpec,
    produced: ActionSpec,
) -> None:
    """Refuse to start when a policy and a suite disagree.

    Raises:
        SpecMismatchError: With every disagreement, so that one run is enough to see them all.
    """
    problems = []
    if produced != accepted:
        problems.append(f"action: the policy produces {produced}; the suite accepts {accepted}")
    shown = ", ".join(map(str, offered.cameras)) or "no camera"
    problems += [
        f"camera: the policy needs {camera}; the suite shows {shown}"
        for camera in needed.cameras
        if camera not in offered.cameras
    ]
    names = [camera.name for camera in needed.cameras]
    problems += [
        f"camera: the policy needs {name} twice; pictures are handed over by name"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    if needed.state_size and (needed.state, needed.state_size) != (
        offered.state,
        offered.state_size,
    ):
        problems.append(
            f"state: the policy needs {needed.state!r} of {needed.state_size} numbers; "
            f"the suite shows {offered.state!r} of {offered.state_size}"
        )
    if needed.privileged and not offered.privileged:
        problems.append("privileged state: the policy needs it; the suite shows none")
    if problems:
        raise SpecMismatchError(
            f"policy {policy_id!r} cannot run on suite {suite_id!r}: " + "; ".join(problems)
        )
