"""One simulated scene. Suites implement this; runners drive it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vlabench.episode import EpisodeSpec
from vlabench.spaces import Camera


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a policy is shown when it is asked. The arrays are the policy's to keep.

    Attributes:
        instruction: The task's sentence.
        images: Camera name to an RGB picture, `[height, width, 3]` uint8.
        state: Proprioception, `[S]` float32.
        privileged: Simulator state by name, float64; empty unless the policy asked for it. By
            convention `[7]` is the pose of a thing or a place (position, quaternion w x y z),
            `gripper` that of the point between the fingers, and `[1]` the position of a joint;
            whatever else a suite's own experts need has other shapes.
    """

    instruction: str
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    state: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    privileged: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """What one action led to.

    Attributes:
        success: Whether the task's goal holds now.
        done: Whether the simulator refuses further actions. Not the same as success.
        timed_out: Whether it does so for want of time alone: what gymnasium calls truncated.
    """

    success: bool
    done: bool = False
    timed_out: bool = False


class Env(Protocol):
    """A scene for one task. Not thread-safe; one process drives one Env."""

    def reset(self, episode: EpisodeSpec) -> None:
        """Put the scene in the episode's initial state and let it settle."""
        ...

    def step(self, action: NDArray[np.float32]) -> Step:
        """Apply one action, `[A]`, for one control step. Draws nothing."""
        ...

    def observe(self) -> Observation:
        """Show what the policy asked for; cameras are drawn here and nowhere else."""
        ...

    def draw(self, camera: Camera) -> NDArray[np.uint8]:
        """Draw one picture of the scene as it is, `[height, width, 3]`. Changes no state.

        Any camera will do, in a scene that was built for a policy that looks at one: a scene that
        nobody looks at may have been built without what pictures need.
        """
        ...

    def state_bytes(self) -> bytes:
        """Return the simulator's full state, to be hashed by whoever verifies the episode."""
        ...

    def close(self) -> None:
        """Free the simulator. Safe to call twice."""
        ...


@runtime_checkable
class Graded(Protocol):
    """A scene that can say how much of its goal was reached. An `Env` need not."""

    def progress(self) -> float:
        """Return the share of the task's goal that is reached now, from 0 to 1.

        It is 1 just where the last step was a success. Asking changes no state.
        """
        ...
