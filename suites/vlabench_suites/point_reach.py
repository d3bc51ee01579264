"""A dot on a line that has to reach a mark. No simulator; for tests and for learning the API."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vlabench.env import Observation, Step
from vlabench.episode import EpisodeSpec
from vlabench.protocol import Protocol
from vlabench.spaces import ActionSpec, Camera, Gripper, ObservationSpec, Rotation
from vlabench.suite import Suite, Task

_MARKS = {"left": -1.0, "right": 1.0}
_FRONT = Camera(name="front", height=16, width=64)
_STANDARD = Protocol(
    id="standard",
    version=1,
    episodes_per_task=20,
    horizons=(("point-reach", 20),),
    init_states="sampled",
    action=ActionSpec(size=1, delta=True, rotation=Rotation.NONE, gripper=Gripper.NONE),
    observation=ObservationSpec(cameras=(_FRONT,), state="position", state_size=1, privileged=True),
    source="made for vlabench",
)
_TRAINING = replace(_STANDARD, id="training", purpose="training")


class PointReachEnv:
    """The dot starts near 0; the goal holds within 0.1 of the mark."""

    def __init__(self, task: Task, protocol: Protocol, wants: ObservationSpec) -> None:
        self._instruction = task.instruction
        self._mark = _MARKS[task.scene]
        self._wants = wants
        self._position = 0.0
        self._gap_at_start = self._gap()

    def reset(self, episode: EpisodeSpec) -> None:
        rng = np.random.default_rng(episode.scene_seed)
        self._position = float(rng.uniform(-0.2, 0.2))
        self._gap_at_start = self._gap()

    def step(self, action: NDArray[np.float32]) -> Step:
        self._position += 0.1 * float(np.clip(action[0], -1.0, 1.0))
        return Step(abs(self._position - self._mark) < 0.1)

    def progress(self) -> float:
        """Return how much of the gap at the start is closed; 0 where the dot moved away."""
        return max(0.0, 1 - self._gap() / self._gap_at_start)

    def observe(self) -> Observation:
        privileged = {"mark": np.array([self._mark])} if self._wants.privileged else {}
        return Observation(
            instruction=self._instruction,
            images={camera.name: self.draw(camera) for camera in self._wants.cameras},
            state=np.array([self._position], dtype=np.float32),
            privileged=privileged,
        )

    def draw(self, camera: Camera) -> NDArray[np.uint8]:
        """Draw the dot in white and the mark in green on a grey floor under a black sky."""
        image = np.zeros((camera.height, camera.width, 3), dtype=np.uint8)
        image[camera.height * 3 // 4 :] = 64
        for place, colour in ((self._mark, (0, 160, 0)), (self._position, (255, 255, 255))):
            column = int(np.clip((place + 1.25) / 2.5 * camera.width, 0, camera.width - 2))
            image[camera.height // 4 : camera.height * 3 // 4, column : column + 2] = colour
        return image

    def state_bytes(self) -> bytes:
        return np.float64(self._position).tobytes()

    def close(self) -> None:
        pass

    def _gap(self) -> float:
        """Return how far the dot is from where the goal holds."""
        return max(0.0, abs(self._position - self._mark) - 0.1)


SUITE = Suite(
    id="point-reach",
    version=1,
    tasks=tuple(
        Task(id=f"point-reach/{side}", instruction=f"reach the {side} mark", scene=side)
        for side in _MARKS
    ),
    protocols=(_STANDARD, _TRAINING),
    make_env=PointReachEnv,
    film=_FRONT,
    summary="a dot on a line; needs no simulator, for tests and for learning the API",
)
