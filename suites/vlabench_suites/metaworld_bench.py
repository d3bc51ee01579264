"""Meta-World's own loop and vlabench in turn, on the same tasks, seeds and actions.

The reference is the bare loop of `env.reset` and `env.step` that gymnasium documents, around
Meta-World's environment without wrappers, each of which would only add to its time.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench.measurement import Comparison, Measurement, Say
from vlabench.policy import Decision
from vlabench.record import Trace
from vlabench.runners.serial import SerialRunner
from vlabench.runners.slot import Stage, Tracer
from vlabench.spaces import ActionSpec, ObservationSpec
from vlabench.suite import Suite

TASKS = ("reach-v3", "pick-place-v3", "stick-pull-v3", "dial-turn-v3", "window-close-v3")
"""One of each kind: fixed goal, free object, two objects, hinge, slider."""

EPISODES = 4
CHUNK = 8
_STEPS = 500


class Script:
    """A policy that says what it was told to.

    Args:
        action: Its convention.
    """

    id, digest = "script", ""
    observation = ObservationSpec(state="hand-and-gripper", state_size=4)

    def __init__(self, action: ActionSpec) -> None:
        self.action = action
        self._actions: NDArray[np.float32] = np.zeros((0, 4), dtype=np.float32)
        self._asked = 0

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        self._actions, self._asked = actions_of(episode), 0

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        begin, self._asked = self._asked, self._asked + CHUNK
        return Decision(actions=self._actions[None, begin : begin + CHUNK])


def bench(suite: Suite, rounds: int, say: Say) -> Iterator[Measurement]:
    """Measure; takes about half a minute a round."""
    from vlabench_suites.metaworld import make_simulator

    episodes = Comparison(f"episodes of {_STEPS} steps or to success, chunk of {CHUNK}, no cameras")
    for name in TASKS:
        say(f"metaworld/{name}")
        simulator, todo = make_simulator(name), deque[EpisodeSpec]()
        protocol = suite.protocol()
        policy = Script(protocol.action)
        stage = Stage(suite=suite, protocol=protocol, wants=policy.observation)
        records = SerialRunner().run(stage, policy, iter(todo.popleft, None))
        for number in range(rounds * EPISODES + 1):
            spec = _episode(f"metaworld/{name}", number)
            todo.append(spec)
            started = perf_counter()
            record = next(records)
            seconds = perf_counter() - started
            if record.error is not None:
                raise RuntimeError(record.error)
            reference, trace = _play(simulator, spec)
            if not number:
                continue  # builds the scene
            equal = record.trace == trace
            episodes.add(spec.task_id, reference, seconds, equal=equal)
            spent = record.seconds
            episodes.spend(
                simulation=spent.simulator,
                observing=spent.render,
                policy=spent.policy,
                harness=seconds - spent.total,
            )
    yield episodes.measurement()


def actions_of(spec: EpisodeSpec) -> NDArray[np.float32]:
    """Return random actions, `[504, 4]`, that keep a direction for a while."""
    held = np.random.default_rng(spec.policy_seed).uniform(-1, 1, (_STEPS // CHUNK + 1, 4))
    return np.repeat(held, CHUNK, axis=0).astype(np.float32)


def _play(simulator: Any, spec: EpisodeSpec) -> tuple[float, Trace | None]:
    """Run the reference; return its seconds without hashing, and hashes of the trajectory."""
    actions = actions_of(spec)
    started = perf_counter()
    simulator.seed(spec.scene_seed)
    simulator.reset()
    seconds = perf_counter() - started
    scene = _scene(simulator)
    tracer = Tracer()
    tracer.begin(scene + _moving(simulator))
    for action in actions[:_STEPS]:
        started = perf_counter()
        _, _, _, truncated, info = simulator.step(action.copy())
        seconds += perf_counter() - started
        tracer.step(action, scene + _moving(simulator))
        if info["success"] or truncated:
            break
    return seconds, tracer.trace()


def _scene(simulator: Any) -> bytes:
    """Hash what does not move in an episode, as `MetaworldEnv.reset` does."""
    model, digest = simulator.model, blake2b(digest_size=16)
    for place in (model.body_pos, model.body_quat, model.site_pos, simulator._target_pos):
        digest.update(place.tobytes())
    return digest.digest()


def _moving(simulator: Any) -> bytes:
    data = simulator.data
    return bytes(data.qpos.tobytes() + data.qvel.tobytes() + data.mocap_pos.tobytes())


def _episode(task_id: str, number: int) -> EpisodeSpec:
    return EpisodeSpec(task_id=task_id, init_index=0, scene_seed=number, policy_seed=number)
