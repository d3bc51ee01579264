"""A slot: one simulator, and the episode that is being run in it."""

import logging
import sys
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vlabench.env import Env, Graded, Observation
from vlabench.episode import EpisodeSpec
from vlabench.protocol import Protocol
from vlabench.record import TRACE_EVERY, Outcome, Trace
from vlabench.spaces import ObservationSpec
from vlabench.strangers import account, call, is_interrupt
from vlabench.suite import Suite
from vlabench.video import write_video

Which = Literal["none", "failures", "all"]
_LOG = logging.getLogger("vlabench")


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """Which episodes to film, and where to.

    Attributes:
        which: `none`, `failures` (errors have no end to film) or `all`.
        folder: One video an episode is written here, named after its key.
    """

    which: Which = "none"
    folder: Path = Path()

    def wants(self, outcome: Outcome) -> bool:
        """Say whether an episode that ended so is filmed."""
        if self.which == "failures":
            return outcome is Outcome.FAILURE
        return self.which == "all" and outcome is not Outcome.ERROR

    def path(self, episode: EpisodeSpec) -> Path:
        """Return the video's path."""
        return self.folder / f"{episode.file_stem}.mp4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where a policy acts: everything a slot needs to build scenes and to end episodes.

    Attributes:
        suite: Whose tasks.
        protocol: The rules.
        wants: What the policy asked to see.
        settings: Parsed settings of the suite.
        film: Which episodes to film.
        actions_folder: Where the executed actions of each episode are kept; None keeps none.
    """

    suite: Suite
    protocol: Protocol
    wants: ObservationSpec
    settings: Mapping[str, Any] = field(default_factory=dict)
    film: Film = field(default_factory=Film)
    actions_folder: Path | None = None

    def make_env(self, task_id: str, wants: ObservationSpec | None = None) -> Env:
        """Build the scene of a task, for what the policy wants to see or for something else."""
        task = self.suite.task(task_id)
        wants = self.wants if wants is None else wants
        return self.suite.make_env(task, self.protocol, wants, **self.settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an episode ended, as far as a slot knows: what the policy cost is its caller's to add.

    Attributes:
        outcome: Success, failure or error.
        steps: Control steps executed.
        simulator_seconds: Building, resetting and stepping.
        render_seconds: Drawing for the policy.
        trace: Hashes of the trajectory; None when there was no first observation.
        error: Traceback of an error.
        peak_mb: Peak resident memory of the process so far, MB.
        progress: Share of the goal that was reached, from 0 to 1; None where the scene cannot say,
            and for errors.
    """

    outcome: Outcome
    steps: int
    simulator_seconds: float
    render_seconds: float
    trace: Trace | None
    error: str | None = None
    peak_mb: float = 0.0
    progress: float | None = None


class Tracer:
    """Hashes a trajectory as it happens; what comes between two checkpoints, in one go."""

    def __init__(self) -> None:
        self._states, self._actions = blake2b(digest_size=16), blake2b(digest_size=16)
        self._new_states: list[bytes] = []
        self._new_actions: list[NDArray[np.float32]] = []
        self._state_marks: list[str] = []
        self._action_marks: list[str] = []

    def begin(self, state: bytes) -> None:
        """Hash the settled initial state."""
        self._new_states.append(state)
        self._mark()

    def step(self, action: NDArray[np.float32], state: bytes) -> None:
        """Take in one action, `[A]`, which must not change any more, and the state it led to."""
        self._new_actions.append(action)
        self._new_states.append(state)
        if len(self._new_states) == TRACE_EVERY:
            self._mark()

    def trace(self) -> Trace | None:
        """Return the hashes so far; None before the initial state."""
        if self._new_states:
            self._mark()
        if not self._state_marks:
            return None
        whole = blake2b(self._states.digest() + self._actions.digest(), digest_size=16)
        return Trace(
            digest=whole.hexdigest(),
            states="".join(self._state_marks),
            actions="".join(self._action_marks),
        )

    def _mark(self) -> None:
        self._states.update(b"".join(self._new_states))
        self._actions.update(b"".join([action.tobytes() for action in self._new_actions]))
        self._new_states.clear()
        self._new_actions.clear()
        self._state_marks.append(self._states.copy().hexdigest()[:8])
        self._action_marks.append(self._actions.copy().hexdigest()[:8])


def film_episode(stage: Stage, episode: EpisodeSpec, actions: NDArray[np.float32]) -> None:
    """Run executed actions, `[steps, A]`, once more, this time drawing; write the video.

    An episode is filmed after it ended: drawing every step costs many times what simulating it
    does, and most episodes are never looked at.
    """
    camera = stage.suite.film
    assert camera is not None, "Evaluation.keeping refuses to film without a camera"
    env = stage.make_env(episode.task_id, ObservationSpec(cameras=(camera,)))

    def frames() -> Generator[NDArray[np.uint8]]:
        env.reset(episode)
        yield env.draw(camera)
        for action in actions:
            env.step(action)
            yield env.draw(camera)

    try:
        write_video(stage.film.path(episode), frames())
    finally:
        env.close()


def _progress(env: Env, *, success: bool) -> float | None:
    """Return the share of the goal that was reached; None where the scene cannot say."""
    if not isinstance(env, Graded):
        return None
    share = 1.0 if success else float(env.progress())
    if not 0 <= share <= 1:
        raise ValueError(f"progress() of the scene is {share}, expected a share from 0 to 1")
    return share


def _shown(observation: Observation, wants: ObservationSpec) -> Observation:
    """Return what a scene shows, if it is what was asked for."""
    size = np.shape(observation.state)
    if wants.state_size and size != (wants.state_size,):
        raise ValueError(f"the scene shows a state of shape {list(size)}, not [{wants.state_size}]")
    for camera in wants.cameras:
        picture, shape = observation.images.get(camera.name), (camera.height, camera.width, 3)
        if picture is None or picture.shape != shape or picture.dtype != np.uint8:
            raise ValueError(
                f"the scene shows no picture {camera.name!r} of shape {list(shape)} in uint8"
            )
    return observation


def _peak_mb() -> float:
    """Return the peak resident memory of this process, MB (10^6 bytes)."""
    try:
        # getrusage would do, but on Linux a process inherits its parent's peak there
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    except (OSError, IndexError, ValueError):
        import resource  # not on Windows, where runs are read

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


class Slot:
    """Keeps one scene and runs one episode after the other in it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._env: Env | None = None
        self._task_id = ""

    def begin(self, episode: EpisodeSpec) -> Observation | Ending:
        """Start an episode; return what the policy sees, or the ending if it broke at once."""
        self._episode, self._steps = episode, 0
        self._simulator = self._render = 0.0
        self._progress: float | None = None
        self._tracer, self._actions = Tracer(), list[NDArray[np.float32]]()
        self._attempt = self._attempt_episode(episode)
        return self.resume(None)

    def resume(self, chunk: NDArray[np.float32] | None) -> Observation | Ending:
        """Execute a chunk, `[H, A]`; return what the policy sees, or the ending."""
        try:
            return next(self._attempt) if chunk is None else self._attempt.send(chunk)
        except StopIteration as ended:
            return self._ending(ended.value, None)
        except BaseException as error:
            if is_interrupt(error):
                raise
            said = account()  # whatever broke belongs in the record
            self.close()  # a simulator that broke is not used again
            return self._ending(Outcome.ERROR, said)

    def abort(self, error: str) -> Ending:
        """End the episode because the policy broke; the scene is fine and stays."""
        self._attempt.close()
        return self._ending(Outcome.ERROR, error)

    def close(self) -> None:
        """Free the scene. Safe to call twice, also after an error in the simulator.

        One that cannot be freed is no fault of the episode that comes next: it is said, no more.
        """
        env, self._env = self._env, None
        if env is None:
            return
        try:
            call(env.close)
        except Exception as error:  # noqa: BLE001 - whatever a simulator raises
            _LOG.warning("the scene of %s cannot be closed: %r", self._task_id, error)

    def _attempt_episode(
        self, episode: EpisodeSpec
    ) -> Generator[Observation, NDArray[np.float32], Outcome]:
        """One episode, written as the loop it is: look, be given a chunk, execute it."""
        protocol, clock = self._stage.protocol, time.perf_counter
        horizon, replan = protocol.horizon(episode.task_id), protocol.replan_steps
        started = clock()
        env = self._env_for(episode.task_id)
        env.reset(episode)
        self._tracer.begin(env.state_bytes())
        self._simulator += clock() - started
        while True:
            started = clock()
            observation = _shown(env.observe(), self._stage.wants)
            self._render += clock() - started
            chunk = yield observation
            started = clock()
            for action in chunk[:replan]:
                executed = action.copy()  # a simulator may clip in place
                step = env.step(action)
                self._steps += 1
                self._actions.append(executed)
                self._tracer.step(executed, env.state_bytes())
                if step.success or step.done or self._steps == horizon:
                    self._progress = _progress(env, success=step.success)
                    self._simulator += clock() - started
                    return Outcome.SUCCESS if step.success else Outcome.FAILURE
            self._simulator += clock() - started

    def _env_for(self, task_id: str) -> Env:
        if self._env is None or task_id != self._task_id:
            self.close()
            self._env = self._stage.make_env(task_id)
            self._task_id = task_id
        return self._env

    def _ending(self, outcome: Outcome, error: str | None) -> Ending:
        trace = None
        try:
            trace = self._tracer.trace()
            self._keep(outcome)
        except Exception:  # noqa: BLE001 - a full disk belongs in the record as well
            outcome, error = Outcome.ERROR, error or account()
            self.close()
        return Ending(
            outcome=outcome,
            steps=self._steps,
            simulator_seconds=self._simulator,
            render_seconds=self._render,
            trace=trace,
            error=error,
            peak_mb=_peak_mb(),
            progress=None if outcome is Outcome.ERROR else self._progress,
        )

    def _keep(self, outcome: Outcome) -> None:
        """Write what the stage keeps of an episode beside its record."""
        stage = self._stage
        if stage.actions_folder is None and not stage.film.wants(outcome):
            return
        actions = np.array(self._actions, dtype=np.float32)
        actions = actions.reshape(-1, stage.protocol.action.size)
        if stage.actions_folder is not None:
            stage.actions_folder.mkdir(parents=True, exist_ok=True)
            np.save(stage.actions_folder / f"{self._episode.file_stem}.npy", actions)
        if stage.film.wants(outcome):
            film_episode(stage, self._episode, actions)
