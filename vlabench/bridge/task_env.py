"""A task as a `gymnasium.Env`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from vlabench.env import Env
from vlabench.episode import EpisodeSpec
from vlabench.errors import DrawingError, SettingError, SpecMismatchError
from vlabench.protocol import Protocol
from vlabench.registry import load_suite, require_packages
from vlabench.settings import settings_of
from vlabench.spaces import ObservationSpec, check_match
from vlabench.suite import Suite
from vlabench.video import FRAMES_PER_SECOND

_LARGEST = float(np.finfo(np.float32).max)  # gymnasium's checker warns about infinite limits


class TaskEnv(gymnasium.Env[dict[str, Any], NDArray[np.float32]]):
    """One task of a suite as a gymnasium environment, for training and for other people's code.

    Observations are a dictionary: `state` is `[S]` float32; `images` maps a camera's name to its
    picture, `[height, width, 3]` uint8; `privileged` maps names to float64 arrays. Each is there
    only when it is asked for. The reward is 1.0 in the step in which the task's goal holds, else
    0.0. An episode terminates when the goal holds or the simulator refuses to go on, and is
    truncated at the protocol's horizon.

    The instruction is in `info` of every step, and in `instruction`, but not in observations: it
    is the same throughout, and few learners take text.

    `reset(seed=...)` decides everything about the episodes that follow. The option `init_index`
    chooses one of the task's initial states; without it one is drawn.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": FRAMES_PER_SECOND}  # noqa: RUF012 - gymnasium's

    def __init__(
        self,
        suite: str | Suite,
        task_id: str,
        protocol: str | None = None,
        wants: ObservationSpec | None = None,
        *,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        """Prepare a task. The simulator is built by the first reset.

        Args:
            suite: A suite or its id.
            task_id: Which task.
            protocol: Name of the rules; the suite's default when None.
            wants: What observations hold; the protocol's state alone when None, because drawing
                costs many times what simulating does. With privileged state the simulator is
                built here, since only it knows the sizes.
            render_mode: `rgb_array` for `render()` to show the suite's film camera. Where
                observations hold no picture, it is drawn in every step, asked for or not.
            settings: Settings of the suite, as values and not as text.

        Raises:
            UnknownNameError: If there is no such suite, task or protocol.
            MissingExtraError: If the suite's simulator is not installed.
            SettingError: If the suite does not take one of the settings.
            SpecMismatchError: If the protocol does not show what is wanted, or nothing is wanted.
            DrawingError: If pictures are wanted and there is no camera or nothing can draw.
        """
        self._suite = load_suite(suite) if isinstance(suite, str) else suite
        self._task = self._suite.task(task_id)
        self._protocol = self._suite.protocol(protocol)
        self._wants = _checked_wants(self._suite, self._protocol, wants)
        self._settings = _checked_settings(self._suite, settings)
        require_packages(self._suite)
        if self._suite.drawing is not None and (self._wants.cameras or render_mode):
            self._suite.drawing()  # raises now rather than in the middle
        self._env: Env | None = None
        self._picture: NDArray[np.uint8] | None = None
        self._steps = 0
        self._horizon = self._protocol.horizon(task_id)
        self._set_up_rendering(render_mode)
        action = self._protocol.action
        self.action_space = spaces.Box(action.low, action.high, (action.size,), np.float32)
        self.observation_space = self._make_observation_space()
        self.spec = EnvSpec(  # lets gymnasium's tools make another one like this
            id=task_id,
            entry_point="vlabench.bridge:TaskEnv",
            order_enforce=False,
            disable_env_checker=True,
            kwargs={
                "suite": suite,
                "task_id": task_id,
                "protocol": protocol,
                "wants": wants,
                "render_mode": render_mode,
                **settings,
            },
        )

    @property
    def instruction(self) -> str:
        """The task's sentence."""
        return self._task.instruction

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode; return the first observation and info.

        Args:
            seed: Begins a new sequence of episodes; None goes on with the last one.
            options: `init_index` chooses the initial state.

        Raises:
            ValueError: If there is no such option or no such initial state.
        """
        super().reset(seed=seed)
        self._running().reset(self._next_episode(options or {}))
        self._steps = 0
        return self._observe(), self._info(success=False)

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Apply one action, `[A]`; return observation, reward, terminated, truncated, info.

        Raises:
            ResetNeeded: If no episode was begun.
            ValueError: If the action has another shape.
        """
        if self._env is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        action = np.asarray(action, dtype=np.float32)
        if action.shape != self.action_space.shape:
            raise ValueError(
                f"action has shape {action.shape}, expected {self.action_space.shape} "
                f"for task {self._task.id!r}"
            )
        step = self._env.step(action)
        self._steps += 1
        terminated = step.success or (step.done and not step.timed_out)
        truncated = not terminated and (step.done or self._steps >= self._horizon)
        reward = float(step.success)
        return self._observe(), reward, terminated, truncated, self._info(success=step.success)

    def render(self) -> NDArray[np.uint8] | None:
        """Draw the scene as it is, `[height, width, 3]`; None without a render mode.

        Raises:
            ResetNeeded: If no episode was begun.
        """
        if self.render_mode is None or self._suite.film is None:
            return None
        if self._env is None:
            raise gymnasium.error.ResetNeeded("call reset() before render()")
        return self._env.draw(self._suite.film) if self._picture is None else self._picture.copy()

    def close(self) -> None:
        """Free the simulator; the next reset builds another. Safe to call twice."""
        env, self._env = self._env, None
        if env is not None:
            env.close()

    def _running(self) -> Env:
        if self._env is None:
            wants, film = self._wants, self._suite.film
            if self.render_mode is not None and film is not None and not wants.cameras:
                wants = replace(wants, cameras=(film,))  # else the scene may not be drawable
            self._env = self._suite.make_env(self._task, self._protocol, wants, **self._settings)
        return self._env

    def _next_episode(self, options: Mapping[str, Any]) -> EpisodeSpec:
        if unknown := set(options) - {"init_index"}:
            raise ValueError(f"unknown options {sorted(unknown)}; known: init_index")
        count = self._task.num_inits
        # Drawn even when it is chosen, so that a choice does not change the episodes after it.
        scene_seed, drawn = self.np_random.integers(2**32), self.np_random.integers(count or 1)
        init_index = int(options.get("init_index", drawn))
        if init_index < 0 or (count is not None and init_index >= count):
            raise ValueError(
                f"init_index is {init_index}; task {self._task.id!r} has "
                f"{'no negative ones' if count is None else f'0 to {count - 1}'}"
            )
        return EpisodeSpec(
            task_id=self._task.id,
            init_index=init_index,
            scene_seed=int(scene_seed),
            policy_seed=int(scene_seed),
        )

    def _observe(self) -> dict[str, Any]:
        seen, wants = self._running().observe(), self._wants
        shown: dict[str, Any] = {}
        if wants.state_size:
            shown["state"] = seen.state
        if wants.cameras:
            shown["images"] = dict(seen.images)
        else:
            self._picture = next(iter(seen.images.values()), None)
        if wants.privileged:
            shown["privileged"] = dict(seen.privileged)
        return shown

    def _info(self, *, success: bool) -> dict[str, Any]:
        return {"success": success, "instruction": self._task.instruction}

    def _set_up_rendering(self, render_mode: str | None) -> None:
        if self._suite.film is None:
            self.metadata = {**self.metadata, "render_modes": []}
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise DrawingError(
                f"render_mode is {render_mode!r}; suite {self._suite.id!r} has "
                f"{self.metadata['render_modes']}"
            )
        self.render_mode = render_mode

    def _make_observation_space(self) -> spaces.Dict:
        wants = self._wants
        shown: dict[str, spaces.Space[Any]] = {}
        if wants.state_size:
            shown["state"] = spaces.Box(-_LARGEST, _LARGEST, (wants.state_size,), np.float32)
        if wants.cameras:
            shown["images"] = spaces.Dict(
                {
                    c.name: spaces.Box(0, 255, (c.height, c.width, 3), np.uint8)
                    for c in wants.cameras
                }
            )
        if wants.privileged:
            shown["privileged"] = self._measure_privileged()
        return spaces.Dict(shown)

    def _measure_privileged(self) -> spaces.Dict:
        """Look once: which privileged arrays there are is the simulator's to say."""
        env = self._running()
        env.reset(EpisodeSpec(task_id=self._task.id, init_index=0, scene_seed=0, policy_seed=0))
        found = env.observe().privileged
        return spaces.Dict(
            {
                name: spaces.Box(-_LARGEST, _LARGEST, value.shape, np.float64)
                for name, value in found.items()
            }
        )


def _checked_wants(
    suite: Suite, protocol: Protocol, wants: ObservationSpec | None
) -> ObservationSpec:
    shown = protocol.observation
    if wants is None:
        wants = ObservationSpec(state=shown.state, state_size=shown.state_size)
    if wants == ObservationSpec():
        raise SpecMismatchError(
            f"nothing to observe: {protocol.name} of suite {suite.id!r} shows no state; "
            "pass wants=ObservationSpec(cameras=...)"
        )
    if len({camera.name for camera in wants.cameras}) < len(wants.cameras):
        raise SpecMismatchError(
            f"a camera is asked for twice: {', '.join(map(str, wants.cameras))}"
        )
    check_match(
        suite.id,
        shown,
        protocol.action,
        policy_id="TaskEnv",
        needed=wants,
        produced=protocol.action,
    )
    return wants


def _checked_settings(suite: Suite, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    known = settings_of(suite.make_env)
    if unknown := sorted(set(settings) - set(known)):
        raise SettingError(
            f"suite {suite.id!r} does not take {', '.join(unknown)}; "
            f"it takes {', '.join(known) or 'no settings'}"
        )
    return settings
