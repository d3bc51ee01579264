"""The fast physics of a scene, with the timing of robosuite's observations."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vlabench.provenance import cache_folder
from vlabench_suites.libero.clock import ObservationClock, Seen
from vlabench_suites.libero.loading import bddl_file
from vlabench_suites.libero.model_cache import ModelCache
from vlabench_suites.libero.physics import Physics, build


class FastPhysics:
    """Steps and resets a scene without LIBERO's waste; see `physics.py`.

    Args:
        scene: Which one.
        mode: `exact`, or `single-solve` for training only.
        textures: Whether pictures will be drawn; without, the scene takes a third of the memory.

    Attributes:
        seen: What was measured last; None when nothing has moved since.
    """

    def __init__(self, scene: str, mode: Literal["exact", "single-solve"], *, textures: bool):
        self._control, pristine = build(
            bddl_file(scene),
            cache=ModelCache(cache_folder() / "models"),
            textures=textures,
            use_camera_obs=False,
            has_renderer=False,
            has_offscreen_renderer=False,
        )
        self.domain: Any = self._control.env
        self._physics = Physics(self.domain, pristine, mode)
        self._clock = ObservationClock()
        self.model, self.data = self._physics.model, self._physics.data
        self.success = self._physics.success
        self.seen: Seen | None = None

    def reset(self, seed: int, state: NDArray[np.float64] | None) -> None:
        """Seed, reset, and set the initial state, `[1 + nq + nv]`; the sampled one for None."""
        self._physics.reset(seed, state)
        self._clock.reset()
        self._clock.tick(force=True)  # `reset` measures, and so does `set_init_state`
        self._clock.tick(force=True)
        self.seen = None

    def step(self, action: NDArray[np.float32]) -> None:
        """Run one control step with `action`, `[7]`."""
        self._physics.step(action)
        measured = self._clock.control_step()
        if measured >= 0:
            before, after = self._physics.trace[measured : measured + 2]
            self.seen = Seen(before.copy(), after.copy())

    def close(self) -> None:
        """Free the simulator."""
        self._control.close()
