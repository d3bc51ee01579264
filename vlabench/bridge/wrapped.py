"""A registered gymnasium environment as a suite."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from vlabench.env import Env, Observation, Step
from vlabench.episode import EpisodeSpec
from vlabench.errors import DrawingError
from vlabench.protocol import Protocol
from vlabench.spaces import ActionSpec, Camera, Gripper, ObservationSpec, Rotation
from vlabench.suite import Suite, Task

# A time limit is the protocol's, and gymnasium's checks are for those who write environments.
_AS_IT_IS: dict[str, Any] = {"max_episode_steps": -1, "disable_env_checker": True}
Success = str | Callable[[Mapping[str, Any], float, bool], bool]


def suite_from_gymnasium(
    env_id: str,
    *,
    instruction: str,
    success: Success,
    horizon: int | None = None,
    id: str | None = None,
    version: int = 1,
    episodes_per_task: int = 20,
    env_settings: Mapping[str, Any] | None = None,
) -> Suite:
    """Wrap a registered gymnasium environment as a suite of one task, `<id>/<name>`.

    The environment is built here once, to measure it. Its observations become the state, flattened
    as `gymnasium.spaces.flatten` does; its picture, when it can draw here, is the camera `render`.
    Actions mean what they mean to the environment, clipped to its bounds. A discrete action is one
    number, rounded and clipped; its range reaches half a unit past both ends, so that a number
    drawn uniformly chooses uniformly.

    Args:
        env_id: As for `gymnasium.make`: `Pendulum-v1`, or `package.module:Name-v0`.
        instruction: The sentence that a policy is given.
        success: Key of `info`, there in every step, that says whether the goal holds; or a
            function of `info`, reward and `terminated` that says so.
        horizon: Control steps of an episode; the environment's own `max_episode_steps` when None.
        id: The suite's id; the environment's own in lower case when None.
        version: Raise it when `success` or the environment changes.
        episodes_per_task: Episodes of a plan that does not say how many.
        env_settings: Further arguments for `gymnasium.make`.

    Raises:
        ValueError: If there is no horizon, or a space is of a kind that does not become numbers.
        gymnasium.error.Error: If there is no such environment.
    """
    env = gymnasium.make(env_id, **_AS_IT_IS, **(env_settings or {}))
    env.close()
    assert env.spec is not None
    camera, spec, silence = _camera(env.spec, env.metadata)
    name = spec.id.rpartition("/")[2]
    suite_id = id or name.lower()
    recipe = _Recipe(spec=spec, success=success, camera=camera)
    return Suite(
        id=suite_id,
        version=version,
        tasks=(Task(id=f"{suite_id}/{name}", instruction=instruction, scene=spec.id),),
        protocols=(
            Protocol(
                id=f"horizon-{_horizon(env_id, spec, horizon)}",
                version=1,
                episodes_per_task=episodes_per_task,
                horizons=((suite_id, _horizon(env_id, spec, horizon)),),
                init_states="sampled",
                action=_action_spec(env_id, env.action_space),
                observation=ObservationSpec(
                    cameras=(camera,) if camera else (),
                    state=f"{name} observation",
                    state_size=_state_size(env_id, env.observation_space),
                ),
                source=f"gymnasium.make({env_id!r})",
            ),
        ),
        make_env=recipe.make_env,
        film=camera,
        distributions=_distributions(env),
        summary=f"the gymnasium environment {spec.id}{silence}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    """What it takes to build the environment again, in this process or in another.

    Attributes:
        spec: Gymnasium's own recipe; it holds the class when the class cannot be imported.
        success: As `suite_from_gymnasium` was given it.
        camera: What `render()` draws; None when it draws nothing.
    """

    spec: EnvSpec
    success: Success
    camera: Camera | None

    def make_env(self, task: Task, protocol: Protocol, wants: ObservationSpec) -> Env:
        """Build the environment."""
        return _GymnasiumEnv(self, task.instruction, wants)


class _GymnasiumEnv:
    """A gymnasium environment behind the harness's interface."""

    def __init__(self, recipe: _Recipe, instruction: str, wants: ObservationSpec) -> None:
        self._recipe, self._instruction, self._wants = recipe, instruction, wants
        # A spec is altered by `make`, and workers share nothing else either.
        self._env: gymnasium.Env[Any, Any] | None = gymnasium.make(
            deepcopy(recipe.spec), **_AS_IT_IS
        )
        self._seen: NDArray[Any] = np.zeros(0)
        self._reward = 0.0

    def reset(self, episode: EpisodeSpec) -> None:
        seen, _ = self._open.reset(seed=episode.scene_seed)
        self._look(seen, 0.0)

    def step(self, action: NDArray[np.float32]) -> Step:
        env = self._open
        seen, reward, terminated, truncated, info = env.step(_to_env(action, env.action_space))
        self._look(seen, float(reward))
        success = self._succeeded(info, terminated=bool(terminated))
        done, timed_out = bool(terminated or truncated), bool(truncated and not terminated)
        return Step(success, done=done, timed_out=timed_out)

    def observe(self) -> Observation:
        return Observation(
            instruction=self._instruction,
            images={camera.name: self.draw(camera) for camera in self._wants.cameras},
            state=self._seen.astype(np.float32),
        )

    def draw(self, camera: Camera) -> NDArray[np.uint8]:
        if camera != self._recipe.camera:
            raise DrawingError(
                f"{self._recipe.spec.id} draws {self._recipe.camera or 'nothing'}, not {camera}"
            )
        return np.array(self._open.render(), dtype=np.uint8)

    def state_bytes(self) -> bytes:
        """Return MuJoCo's positions and velocities if there are any, what is seen, the reward."""
        data = getattr(self._open.unwrapped, "data", None)
        parts = [getattr(data, "qpos", None), getattr(data, "qvel", None), self._seen, self._reward]
        return b"".join(np.asarray(part).tobytes() for part in parts if part is not None)

    def close(self) -> None:
        env, self._env = self._env, None
        if env is not None:
            env.close()

    @property
    def _open(self) -> gymnasium.Env[Any, Any]:
        if self._env is None:
            raise gymnasium.error.ClosedEnvironmentError(f"{self._recipe.spec.id} is closed")
        return self._env

    def _look(self, seen: Any, reward: float) -> None:
        # Flattening copies, so what is remembered does not change under the policy's hands.
        self._seen = np.array(spaces.flatten(self._open.observation_space, seen))
        self._reward = reward

    def _succeeded(self, info: Mapping[str, Any], *, terminated: bool) -> bool:
        success = self._recipe.success
        if not isinstance(success, str):
            return bool(success(info, self._reward, terminated))
        if success not in info:
            raise KeyError(
                f"info of {self._recipe.spec.id} has no {success!r}, it has {sorted(info)}; "
                "pass a function as success when the key is not there in every step"
            )
        return bool(info[success])


def _to_env(action: NDArray[np.float32], space: gymnasium.Space[Any]) -> Any:
    """Turn `[A]` numbers into an action of the environment's own kind, within its bounds."""
    if isinstance(space, spaces.Discrete):
        first = int(space.start)
        return space.dtype.type(np.clip(np.rint(action[0]), first, first + int(space.n) - 1))
    assert isinstance(space, spaces.Box)
    shaped = np.clip(action.reshape(space.shape), space.low, space.high)
    if np.issubdtype(space.dtype, np.integer):
        shaped = np.rint(shaped)
    return shaped.astype(space.dtype)


def _action_spec(env_id: str, space: gymnasium.Space[Any]) -> ActionSpec:
    if isinstance(space, spaces.Discrete):
        size, low = 1, float(space.start) - 0.5
        high = low + float(space.n)
    elif isinstance(space, spaces.Box) and space.is_bounded():
        size, low, high = spaces.flatdim(space), float(space.low.min()), float(space.high.max())
    else:
        raise ValueError(
            f"the action space of {env_id} is {space}; only Discrete and Box with finite bounds "
            "can be wrapped"
        )
    return ActionSpec(
        size=size, delta=False, rotation=Rotation.NONE, gripper=Gripper.NONE, low=low, high=high
    )


def _state_size(env_id: str, space: gymnasium.Space[Any]) -> int:
    if not space.is_np_flattenable:
        raise ValueError(f"the observation space of {env_id} is {space}, which cannot be flattened")
    return spaces.flatdim(space)


def _horizon(env_id: str, spec: EnvSpec, horizon: int | None) -> int:
    steps = gymnasium.spec(spec.id).max_episode_steps if horizon is None else horizon
    if steps is None:
        raise ValueError(f"{env_id} names no max_episode_steps; pass horizon=...")
    if steps < 1:
        raise ValueError(f"horizon is {steps}; it must be at least 1")
    return steps


def _camera(spec: EnvSpec, metadata: Mapping[str, Any]) -> tuple[Camera | None, EnvSpec, str]:
    """Draw once; return the camera, the recipe that draws, and why there is none."""
    if "rgb_array" not in metadata.get("render_modes", ()):
        return None, spec, ""
    drawing = replace(spec, kwargs={**spec.kwargs, "render_mode": "rgb_array"})
    try:
        env = gymnasium.make(deepcopy(drawing), **_AS_IT_IS)
        try:
            env.reset(seed=0)
            height, width, _ = np.asarray(env.render()).shape
        finally:
            env.close()
    except Exception as error:  # noqa: BLE001 - whatever renderers raise where nothing can draw
        return None, spec, f" (no pictures here: {error})"
    return Camera(name="render", height=height, width=width), drawing, ""


def _distributions(env: gymnasium.Env[Any, Any]) -> tuple[str, ...]:
    """Return whose versions decide what the environment does."""
    package = type(env.unwrapped).__module__.partition(".")[0]
    try:
        found = {"gymnasium", distribution(package).name}
    except PackageNotFoundError:  # a distribution of another name; finding it reads all of them
        found = {"gymnasium", *packages_distributions().get(package, ())}
    if hasattr(getattr(env.unwrapped, "data", None), "qpos"):
        found.add("mujoco")
    return tuple(sorted(found))
