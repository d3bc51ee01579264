"""The two sides of `bench.py`: LIBERO's own environment, and vlabench. Each in its own process."""

import os
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench.policy import Decision
from vlabench.protocol import Protocol
from vlabench.record import EpisodeRecord, Trace
from vlabench.runners.serial import SerialRunner
from vlabench.runners.slot import Stage, Tracer
from vlabench.spaces import ObservationSpec
from vlabench.suite import Task
from vlabench_suites.drawing import gl_backend
from vlabench_suites.libero.env import LiberoEnv, PhysicsName, make_env
from vlabench_suites.libero.loading import bddl_file, initial_states, prepare_imports

Actions = NDArray[np.float32]
_SPAWN = get_context("spawn")
_STOP_SECONDS = 10.0


class Played(NamedTuple):
    """An episode that one side ran.

    Attributes:
        seconds: All of it, but for hashing on the side of the reference.
        reset_seconds: Seeding, resetting and setting the initial state; 0 where not known apart.
        start: Hash of the state after that; empty where not known apart.
        trace: Hashes of the trajectory.
        pictures: Hash of what the policy saw, for each time it was asked.
        parts: Where the time went, in seconds.
    """

    seconds: float
    reset_seconds: float
    start: str
    trace: Trace | None
    pictures: tuple[str, ...]
    parts: dict[str, float]


class Moved(NamedTuple):
    """Control steps that one side ran: seconds, a hash of every state, where the time went."""

    seconds: float
    states: str
    parts: dict[str, float]


class Theirs:
    """LIBERO's own environment, driven as everybody does, but reset as a new one would be.

    `ControlEnv` gets the one constraint solve that a renderer costs `OffScreenRenderEnv`, and
    samplers that pile up reset by reset are cut back, because these decide the bits; see
    `ReferencePhysics`. Observables are LIBERO's own and updated as it does.
    """

    def __init__(self, task_id: str, chunk: int, cameras: bool) -> None:  # noqa: FBT001 - sent
        os.environ["MUJOCO_GL"] = gl_backend()  # both sides draw with the same library
        prepare_imports()
        from libero.libero.envs.env_wrapper import ControlEnv, OffScreenRenderEnv

        task, protocol = task_and_protocol(task_id)
        self._chunk, self._cameras = chunk, protocol.observation.cameras if cameras else ()
        self._states = initial_states(task.scene)
        self._settle = [np.array(protocol.settle_action)] * protocol.settle_steps
        path = str(bddl_file(task.scene))
        if cameras:
            size = self._cameras[0].height
            self._env: Any = OffScreenRenderEnv(
                bddl_file_name=path, camera_heights=size, camera_widths=size
            )
        else:
            self._env = ControlEnv(
                bddl_file_name=path,
                use_camera_obs=False,
                has_renderer=False,
                has_offscreen_renderer=False,
            )
            _solve_as_with_a_renderer(self._env.env)
        self._samplers = len(self._env.env.object_property_initializers)

    def warm_up(self) -> None:
        """Compile what is compiled at the first step."""
        self._env.step(self._settle[0])

    def play(self, spec: EpisodeSpec, actions: Actions) -> Played:
        """Run an episode with `actions`, `[H, 7]`."""
        del self._env.env.object_property_initializers[self._samplers :]
        started = perf_counter()
        self._env.seed(spec.scene_seed)
        self._env.reset()
        seen = self._env.set_init_state(self._states[spec.init_index])
        seconds = reset_seconds = perf_counter() - started
        model = self._env.sim.model._model
        placement = model.body_pos.tobytes() + model.body_quat.tobytes()
        start = _hash(placement + self._moving())
        started = perf_counter()
        for action in self._settle:
            seen = self._env.step(action)[0]
        seconds += perf_counter() - started
        tracer, pictures = Tracer(), []
        tracer.begin(placement + self._moving())
        for number, action in enumerate(actions):
            if self._cameras and number % self._chunk == 0:
                pictures.append(self._pictures(seen))
            started = perf_counter()
            seen, _, done, _ = self._env.step(action.copy())
            seconds += perf_counter() - started
            tracer.step(action, placement + self._moving())
            if done:
                break
        return Played(seconds, reset_seconds, start, tracer.trace(), tuple(pictures), {})

    def advance(self, actions: Actions) -> Moved:
        """Run `actions`, `[H, 7]`, from where the scene is."""
        seconds, states = 0.0, blake2b()
        for action in actions:
            started = perf_counter()
            self._env.step(action.copy())
            seconds += perf_counter() - started
            states.update(self._moving())
        return Moved(seconds, states.hexdigest(), {})

    def memory(self) -> float:
        """Return the most memory that this process has had, MB."""
        return peak_megabytes()

    def _moving(self) -> bytes:
        data = self._env.sim.data
        return bytes(data.qpos.tobytes() + data.qvel.tobytes())

    def _pictures(self, seen: dict[str, Any]) -> str:
        turned = (seen[f"{camera.name}_image"][::-1, ::-1] for camera in self._cameras)
        return _hash(b"".join(picture.tobytes() for picture in turned))


class Script:
    """A policy that says what it was told to, and keeps the pictures it was shown.

    Args:
        wants: What it is shown.
        protocol: Its action convention.
        chunk: Actions for each decision.
    """

    id, digest = "script", ""

    def __init__(self, wants: ObservationSpec, protocol: Protocol, chunk: int) -> None:
        self.observation, self.action, self._chunk = wants, protocol.action, chunk
        self._asked: dict[int, int] = {}
        self._actions: dict[int, Actions] = {}
        self.seen: list[Observation] = []

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        """Begin to say what belongs to the episode."""
        self._asked[slot] = 0
        self._actions[slot] = actions_of(episode, 1000)
        self.seen = []

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        """Say the next chunks."""
        if self.observation.cameras:
            self.seen += observations
        chunks = []
        for slot in slots:
            begin = self._asked[slot] * self._chunk
            chunks.append(self._actions[slot][begin : begin + self._chunk])
            self._asked[slot] += 1
        return Decision(actions=np.stack(chunks))


class Ours:
    """vlabench: its serial runner, a policy, and the scene that the runner's slot keeps."""

    def __init__(self, task_id: str, chunk: int, cameras: bool, steps: int) -> None:  # noqa: FBT001
        self._task, protocol = task_and_protocol(task_id)
        offered = protocol.observation
        wants = replace(offered, privileged=False) if cameras else ObservationSpec(privileged=True)
        self._stage = stage(protocol, wants, steps)
        self._stage = replace(self._stage, suite=replace(self._stage.suite, make_env=self._keep))
        self._policy = Script(wants, protocol, chunk)
        self._todo: deque[EpisodeSpec] = deque()
        episodes = iter(self._todo.popleft, None)
        self._records: Iterator[EpisodeRecord] = SerialRunner().run(
            self._stage, self._policy, episodes
        )
        self._envs: dict[PhysicsName, LiberoEnv] = {}

    def warm_up(self) -> None:
        """Build the scene, and compile what is compiled at the first step."""
        self._play(episode(self._task.id, 0))

    def play(self, spec: EpisodeSpec) -> Played:
        """Run an episode through the serial runner."""
        started = perf_counter()
        record = self._play(spec)
        seconds = perf_counter() - started
        if record.error is not None:
            raise RuntimeError(record.error)
        spent = record.seconds
        parts = {
            "simulation": spent.simulator,
            "observing": spent.render,
            "policy": spent.policy,
            "harness": seconds - spent.total,
        }
        pictures = tuple(
            _hash(b"".join(picture.tobytes() for picture in seen.images.values()))
            for seen in self._policy.seen
        )
        return Played(seconds, 0.0, "", record.trace, pictures, parts)

    def follow(self, spec: EpisodeSpec, actions: Actions) -> None:
        """Bring a scene of single-solve physics about where the others are after an episode."""
        wants = self._stage.wants
        env = make_env(self._task, self._stage.protocol, wants, physics="single-solve")
        self._envs.setdefault("single-solve", env)
        self._envs["single-solve"].reset(spec)
        self.advance("single-solve", actions)

    def advance(self, physics: PhysicsName, actions: Actions) -> Moved:
        """Run `actions`, `[H, 7]`, from where the scene is: `LiberoEnv.step`, its halves timed."""
        simulation, states, clock = self._envs[physics]._physics, blake2b(), perf_counter
        stepping = judging = 0.0
        for action in actions:
            started = clock()
            simulation.step(action)
            stepped = clock()
            simulation.success()
            judging += clock() - stepped
            stepping += stepped - started
            states.update(simulation.data.qpos.tobytes() + simulation.data.qvel.tobytes())
        parts = {"physics and controller": stepping, "goal": judging}
        return Moved(stepping + judging, states.hexdigest(), parts)

    def resets(self, specs: Sequence[EpisodeSpec]) -> tuple[float, str]:
        """Return the mean seconds of a reset without settling, and a hash of the last state."""
        env, seconds = self._envs["exact"], 0.0
        states = env._states
        assert states is not None, "measured under a protocol with fixed initial states"
        for spec in specs:
            started = perf_counter()
            env._physics.reset(spec.scene_seed, states[spec.init_index])
            seconds += perf_counter() - started
        model, data = env._physics.model, env._physics.data
        state = (model.body_pos, model.body_quat, data.qpos, data.qvel)
        return seconds / len(specs), _hash(b"".join(part.tobytes() for part in state))

    def memory(self) -> float:
        """Return the most memory that this process has had, MB."""
        return peak_megabytes()

    def _play(self, spec: EpisodeSpec) -> EpisodeRecord:
        self._todo.append(spec)
        return next(self._records)

    def _keep(self, task: Task, protocol: Protocol, wants: ObservationSpec) -> LiberoEnv:
        self._envs["exact"] = make_env(task, protocol, wants)
        return self._envs["exact"]


class Seat:
    """One side in a process of its own; it answers in the order that it was asked."""

    def __init__(self, side: type[Theirs] | type[Ours], *arguments: object) -> None:
        self._connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(
            target=_serve, args=(theirs, side, arguments), daemon=True, name=side.__name__
        )
        self._process.start()
        theirs.close()

    def start(self, method: str, *arguments: object) -> None:
        """Ask, and do not wait."""
        self._connection.send((method, arguments))

    def result(self) -> Any:
        """Wait for the answer.

        Raises:
            RuntimeError: If the side broke, or its process died.
        """
        try:
            answer, error = self._connection.recv()
        except EOFError:
            raise RuntimeError(f"the process of {self._process.name} died") from None
        if error:
            raise RuntimeError(f"{self._process.name} broke:\n{error}")
        return answer

    def call(self, method: str, *arguments: object) -> Any:
        """Ask and wait."""
        self.start(method, *arguments)
        return self.result()

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(_STOP_SECONDS)
        self._process.kill()
        self._process.join()


def stage(protocol: Protocol, wants: ObservationSpec, steps: int) -> Stage:
    """Return what a runner needs for episodes of so many steps."""
    from vlabench_suites.libero import LIBERO

    short = replace(protocol, horizons=tuple((name, steps) for name, _ in protocol.horizons))
    return Stage(suite=replace(LIBERO, protocols=(short,)), protocol=short, wants=wants)


def task_and_protocol(task_id: str) -> tuple[Task, Protocol]:
    """Find both."""
    from vlabench_suites.libero import LIBERO

    return LIBERO.task(task_id), LIBERO.protocol()


def actions_of(spec: EpisodeSpec, count: int) -> Actions:
    """Return random actions, `[count, 7]`, of this episode; kept for a while, so that they push."""
    rng = np.random.default_rng(spec.policy_seed)
    held = rng.uniform(-1, 1, (count // 4 + 1, 7))
    held[:, 2] -= 0.25  # towards the table
    return np.repeat(held, 4, axis=0)[:count].astype(np.float32)


def episode(task_id: str, number: int) -> EpisodeSpec:
    """Return an episode; each number has seeds of its own."""
    return EpisodeSpec(
        task_id=task_id, init_index=number % 50, scene_seed=number, policy_seed=number
    )


def peak_megabytes() -> float:
    """Return this process's peak of resident memory; `ru_maxrss` would count its parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))


def _solve_as_with_a_renderer(domain: Any) -> None:
    initialize = domain._initialize_sim

    def initialize_and_solve() -> None:
        initialize()
        domain.sim.forward()

    domain._initialize_sim = initialize_and_solve


def _hash(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def _serve(
    connection: Connection, side: type[Theirs] | type[Ours], arguments: tuple[Any, ...]
) -> None:
    """Build a side and answer until nobody asks."""
    player: Any = None
    while True:
        try:
            method, parameters = connection.recv()
        except (EOFError, OSError):
            # That was all, or the parent is gone. robosuite's OpenGL context complains at length
            # when the interpreter takes it apart, so that is left out.
            os._exit(0)
        try:
            player = player or side(*arguments)
            connection.send((getattr(player, method)(*parameters), ""))
        except Exception:  # noqa: BLE001 - shown by whoever asked
            connection.send((None, traceback.format_exc()))
