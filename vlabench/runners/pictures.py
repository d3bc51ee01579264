"""Pictures between processes: through shared memory, not through a pipe."""

from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.context import SpawnContext

import numpy as np

from vlabench.env import Observation
from vlabench.spaces import Camera


class PictureBlock:
    """Room for one picture of each camera, shared by a worker and its parent.

    The two take turns: a worker writes when it observes, and does not go on before the parent has
    answered, so one block is enough and nothing is locked.
    """

    def __init__(self, cameras: Sequence[Camera], context: SpawnContext) -> None:
        self._cameras = tuple(cameras)
        size = sum(camera.height * camera.width * 3 for camera in cameras)
        self._memory = context.RawArray("B", size) if size else None

    def put(self, observation: Observation) -> Observation:
        """Keep the pictures here; return the observation without them."""
        if self._memory is None:
            return observation
        room, start = np.frombuffer(self._memory, dtype=np.uint8), 0
        for camera in self._cameras:
            picture = observation.images[camera.name]
            room[start : start + picture.size] = picture.reshape(-1)
            start += picture.size
        return replace(observation, images={})

    def take(self, observation: Observation) -> Observation:
        """Return the observation with the pictures put here, copied: they are the policy's."""
        if self._memory is None:
            return observation
        room, start, images = np.frombuffer(self._memory, dtype=np.uint8), 0, {}
        for camera in self._cameras:
            shape = (camera.height, camera.width, 3)
            end = start + camera.height * camera.width * 3
            images[camera.name] = room[start:end].reshape(shape).copy()
            start = end
        return replace(observation, images=images)
