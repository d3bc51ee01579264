"""Labels of progress, read off a successful trajectory.

Reference: VLA-RL (arXiv 2505.18719, section 3.4). A trajectory is cut into segments where the
gripper opens or closes. Within a segment, keyframes are where the end effector comes to rest. The
actions that lead to a keyframe get a positive pseudo-reward.

What differs from the paper, or is left open there:
 1. No threshold is published; those of `Labelling` are ours, chosen by looking at LIBERO's and
    Meta-World's demonstrations.
 2. Openness is what the gripper is told, not what it does: a command is what every suite has.
    Commands are filtered, so that a policy that dithers opens no segment.
 3. "Near zero" is relative to the fast part of the same trajectory, and speeds are smoothed:
    demonstrations with noise on what is executed hardly stop anywhere.
 4. A segment ends with the step that changes the gripper, which is a keyframe; so is the last step.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlabench.recipe import at_least
from vlabench.spaces import ActionSpec, Gripper

_FAST = 0.9
"""Quantile of a trajectory's speeds that stands for moving: the maximum is noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """Thresholds; all are ours.

    Attributes:
        change: By how much openness, in [0, 1], must rise or fall to end a segment.
        slow: Share of the trajectory's fast speed under which the end effector rests.
        smooth: Steps over which speeds are averaged, and of openness the median is taken; odd.
        apart: Fewest steps between two keyframes, and before the first rest.
        reach: Steps before a keyframe, with itself, that lead to it.
    """

    change: float = 0.25
    slow: float = 0.3
    smooth: int = 5
    apart: int = 8
    reach: int = 8

    def __post_init__(self) -> None:
        at_least(self, 1, "apart", "reach")
        if self.smooth < 1 or self.smooth % 2 == 0:
            raise ValueError(f"smooth is {self.smooth}; expected an odd number, at least 1")
        for name in ("change", "slow"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a share in (0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What is known of the `T` steps of a success.

    Attributes:
        milestones: Steps at which the gripper changed, in order.
        keyframes: Those and the steps of rest, in order, without those that are too near to
            another; the last step is the last of them.
        ahead: Steps to the next keyframe, 0 at one, `[T]`.
        promising: Which steps lead to a keyframe, `[T]`.
        progress: Share of the keyframes reached when a step is done, linear between them, `[T]`.
    """

    milestones: tuple[int, ...]
    keyframes: tuple[int, ...]
    ahead: NDArray[np.int64]
    promising: NDArray[np.bool_]
    progress: NDArray[np.float64]


def label(openness: NDArray[np.floating], speed: NDArray[np.floating], how: Labelling) -> Labels:
    """Label the steps of a successful trajectory.

    Args:
        openness: Of the gripper, 0 closed to 1 open, `[T]`; constant where there is none.
        speed: Of the end effector during each step, in any unit, `[T]`.
        how: Thresholds.

    Raises:
        ValueError: If the two are of different lengths, or empty.
    """
    if openness.shape != speed.shape or openness.ndim != 1 or not len(speed):
        raise ValueError(
            f"openness is {list(openness.shape)} and speed {list(speed.shape)}; expected [T] both"
        )
    last = len(speed) - 1
    milestones = tuple(
        m for m in _milestones(_median(openness, how.smooth), how.change) if m < last
    )
    keyframes = _keyframes(speed, milestones, how)
    steps = np.arange(len(speed))
    ahead = np.array(keyframes)[np.searchsorted(keyframes, steps)] - steps
    shares = np.arange(len(keyframes) + 1) / len(keyframes)
    return Labels(
        milestones=milestones,
        keyframes=keyframes,
        ahead=ahead,
        promising=ahead < how.reach,
        progress=np.interp(steps, (-1, *keyframes), shares),
    )


def openness_of(actions: NDArray[np.floating], spec: ActionSpec) -> NDArray[np.float64]:
    """Return how far the gripper is told to open, 0 to 1, `[T]`; ones where there is none.

    Args:
        actions: Of a trajectory, `[T, A]`; the gripper is their last component.
        spec: Which sign closes it.
    """
    if spec.gripper is Gripper.NONE:
        return np.ones(len(actions))
    told = np.clip(actions[:, -1].astype(float), spec.low, spec.high)
    share: NDArray[np.float64] = (told - spec.low) / (spec.high - spec.low)
    return 1 - share if spec.gripper is Gripper.CLOSE_POSITIVE else share


def speed_of(places: NDArray[np.floating], every: int, steps: int) -> NDArray[np.float64]:
    """Return the end effector's speed in each of `T` steps, in units of a place per step, `[T]`.

    Args:
        places: Where it was at steps 0, `every`, 2 `every` and so on, `[M, 3]`.
        every: Steps from one to the next: 1 in a demonstration; in a run, those of a decision.
        steps: `T`. Behind the last place, the last speed goes on.
    """
    if len(places) < 2:
        return np.zeros(steps)
    each = np.linalg.norm(np.diff(places.astype(float), axis=0), axis=1) / every
    return np.pad(np.repeat(each, every), (0, steps), mode="edge")[:steps]


def _milestones(openness: NDArray[np.floating], change: float) -> list[int]:
    """Return the steps at which opening turns into closing or the reverse.

    A gripper that goes on closing, in however many steps, has changed once.
    """
    found, heading = list[int](), 0
    low = high = openness[0]
    for step, now in enumerate(openness):
        low, high = min(low, now), max(high, now)
        turned = 1 if now - low >= change else -1 if high - now >= change else heading
        if turned != heading:
            found.append(step)
            heading, low, high = turned, now, now
    return found


def _keyframes(
    speed: NDArray[np.floating], milestones: tuple[int, ...], how: Labelling
) -> tuple[int, ...]:
    """Return all keyframes: the ends of segments, and rests that are far enough from others."""
    smooth = _mean(speed, how.smooth)
    rests = smooth < how.slow * np.quantile(smooth, _FAST)
    last = len(speed) - 1
    fixed = [step for step in milestones if last - step >= how.apart] + [last]
    found, begin = list[int](), 0
    for end in fixed:
        for rest in _slowest(smooth, rests, begin, end):
            before = found[-1] if found else 0
            if min(rest - before, end - rest) >= how.apart:
                found.append(rest)
        if not found or end - found[-1] >= how.apart:
            found.append(end)
        begin = end + 1
    return tuple(found)


def _slowest(
    speed: NDArray[np.floating], rests: NDArray[np.bool_], begin: int, end: int
) -> list[int]:
    """Return the slowest step of each rest between two steps, a rest being steps in a row."""
    steps = np.arange(begin, end)
    steps = steps[rests[begin:end]]
    if not len(steps):
        return []
    runs = np.split(steps, np.flatnonzero(np.diff(steps) > 1) + 1)
    return [int(run[np.argmin(speed[run])]) for run in runs]


def _mean(values: NDArray[np.floating], width: int) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = _windows(values, width).mean(-1)
    return mean


def _median(values: NDArray[np.floating], width: int) -> NDArray[np.float64]:
    median: NDArray[np.float64] = np.median(_windows(values, width), axis=-1)
    return median


def _windows(values: NDArray[np.floating], width: int) -> NDArray[np.float64]:
    """Return what surrounds each value, `[T, width]`; the ends are repeated."""
    padded = np.pad(values.astype(float), width // 2, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, width)
