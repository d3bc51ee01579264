"""LIBERO's own loop: what the fast physics is held against."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlabench_suites.libero.clock import ObservationClock, Seen
from vlabench_suites.libero.loading import bddl_file


class ReferencePhysics:
    """Steps and resets as LIBERO's `ControlEnv` does.

    It is `OffScreenRenderEnv` to the last bit, which everybody evaluates in, but for two things.
    No renderer is made; that it solves constraints once more when it is made is reproduced, because
    the last digits of all that follows depend on it. Observables are not updated but timed: they
    change nothing and cost much.

    And one leak is closed: LIBERO appends the samplers of open and closed doors anew at each reset
    and never removes any, so that where fixtures stand after `seed(s); reset()` depends on how
    often the environment was reset before. They are cut back to those of a new environment.

    Attributes:
        seen: What was measured last; None when nothing has moved since.
    """

    def __init__(self, scene: str) -> None:
        from libero.libero.envs.env_wrapper import ControlEnv

        self._control = ControlEnv(
            bddl_file_name=str(bddl_file(scene)),
            use_camera_obs=False,
            has_renderer=False,
            has_offscreen_renderer=False,
        )
        self.domain: Any = self._control.env
        self._num_samplers = len(self.domain.object_property_initializers)
        self._clock = ObservationClock()
        self._positions = np.zeros(0)
        self.seen: Seen | None = None
        self.domain._update_observables = self._sample
        self._initialize_sim = self.domain._initialize_sim
        self.domain._initialize_sim = self._initialize_as_with_a_renderer

    @property
    def model(self) -> Any:
        """The `mujoco.MjModel`; another one after each reset."""
        return self.domain.sim.model._model

    @property
    def data(self) -> Any:
        """The `mujoco.MjData`; another one after each reset."""
        return self.domain.sim.data._data

    def reset(self, seed: int, state: NDArray[np.float64] | None) -> None:
        """Seed, reset, and set the initial state, `[1 + nq + nv]`; the sampled one for None."""
        from robosuite.utils.errors import RandomizationError

        del self.domain.object_property_initializers[self._num_samplers :]
        self._control.seed(seed)
        while True:
            self._clock.reset()
            try:
                # `ControlEnv.reset` would swallow every error here and try forever
                self.domain.reset()
                break
            except RandomizationError:
                continue
        sampled = self._control.get_sim_state()
        self._control.set_init_state(sampled if state is None else state)

    def step(self, action: NDArray[np.float32]) -> None:
        """Run one control step with `action`, `[7]`."""
        self._control.step(action)

    def success(self) -> bool:
        """Say whether the goal holds now."""
        return bool(self.domain._check_success())

    def close(self) -> None:
        """Free the simulator."""
        self._control.close()

    def _initialize_as_with_a_renderer(self) -> None:
        self._initialize_sim()
        self.domain.sim.forward()

    def _sample(self, force: bool = False) -> None:  # noqa: FBT001 - robosuite's signature
        """Keep what robosuite's observables would have measured now."""
        positions = self.domain.sim.data.qpos.copy()
        if self._clock.tick(force=force):
            # After a forced measurement nothing moves before the next step.
            self.seen = None if force else Seen(self._positions, positions)
        self._positions = positions
