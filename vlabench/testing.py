"""The contracts that suites and policies keep, as checks for anybody's tests.

    from vlabench.testing import check_suite

    def test_my_suite_keeps_the_contract() -> None:
        check_suite(SUITE, ["my-suite/open-drawer"])

Every check raises an `AssertionError` with one sentence that says which promise is broken.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vlabench.env import Env, Graded, Observation
from vlabench.episode import EpisodeSpec
from vlabench.errors import PlanError, SpecMismatchError
from vlabench.plan import make_plan
from vlabench.policy import Policy
from vlabench.protocol import Protocol
from vlabench.spaces import ActionSpec, ObservationSpec, check_match
from vlabench.suite import Suite, Task

_TASK_ID = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
_STEPS = 5
_Chunks = list[NDArray[np.float32]]
_Views = Sequence[Observation]


def check_suite(
    suite: Suite,
    task_ids: Sequence[str] | None = None,
    *,
    protocol: str | None = None,
    draw: bool = True,
) -> None:
    """Check everything that a suite promises; two scenes are built for each task.

    Args:
        suite: The suite.
        task_ids: Tasks whose scenes are built; all of them when None.
        protocol: Name of the rules under which they are built; the suite's default when None.
        draw: Whether cameras are looked at as well; needs OpenGL in most suites.
    """
    check_ids(suite)
    check_protocols(suite)
    rules = suite.protocol(protocol)
    # A protocol may offer a camera in several sizes; whoever asks takes one of them.
    cameras = {camera.name: camera for camera in reversed(rules.observation.cameras) if draw}
    wants = replace(rules.observation, cameras=tuple(cameras.values()))
    for task in suite.tasks if task_ids is None else map(suite.task, task_ids):
        episodes = _two_episodes(suite, task, rules)

        def make_env(task: Task = task) -> Env:
            return suite.make_env(task, rules, wants)

        check_deterministic(make_env, episodes, rules.action)
        with _scene(make_env) as env:
            check_observations(env, episodes[0], task, rules.action, wants)
            check_starts_unsolved(env, episodes, rules)
            check_progress(env, episodes[0], rules.action)
            if task.num_inits != 1:
                check_initial_states(env, episodes)


def check_ids(suite: Suite) -> None:
    """Task ids are unique, are of the form `prefix/name`, and give unique file names."""
    stems: dict[str, str] = {}
    for task in suite.tasks:
        _require(
            _TASK_ID.fullmatch(task.id),
            f"task id {task.id!r} is not of the form prefix/name, in letters, digits and _ . -",
        )
        episode = EpisodeSpec(task_id=task.id, init_index=0, scene_seed=0, policy_seed=0)
        other = stems.setdefault(episode.file_stem, task.id)
        _require(stems[episode.file_stem] is task.id, f"tasks {other!r} and {task.id!r} collide")


def check_protocols(suite: Suite) -> None:
    """Every protocol has its own name, is complete, and can be planned for every task."""
    names = [protocol.name for protocol in suite.protocols]
    _require(len(set(names)) == len(names), f"suite {suite.id!r} repeats a protocol: {names}")
    for protocol in suite.protocols:
        where = f"protocol {protocol.name} of suite {suite.id!r}"
        for task in suite.tasks:
            horizon = dict(protocol.horizons).get(task.id.partition("/")[0])
            _require(horizon is not None, f"{where} has no horizon for task {task.id!r}")
            _require((horizon or 0) >= 1, f"{where} has horizon {horizon} for task {task.id!r}")
        settle, size = protocol.settle_action, protocol.action.size
        _require(
            len(settle) == size or (not settle and not protocol.settle_steps),
            f"{where} settles with {len(settle)} numbers, its actions have {size}",
        )
        try:
            make_plan(suite, protocol.name)
        except PlanError as error:
            raise AssertionError(f"{where} cannot be planned: {error}") from error


def check_deterministic(
    make_env: Callable[[], Env], episodes: Sequence[EpisodeSpec], action: ActionSpec
) -> None:
    """An episode and its actions decide the trajectory, in any scene, whatever ran there before."""
    first, other = episodes[0], episodes[-1]
    with _scene(make_env) as env:
        once = _trajectory(env, first, action)
        _trajectory(env, other, action)
        again = _trajectory(env, first, action)
    with _scene(make_env) as env:
        fresh = _trajectory(env, first, action)
    _require(
        once == fresh, f"{first.key} is not the same in two fresh scenes: {_when(once, fresh)}"
    )
    _require(
        once == again,
        f"{first.key} is not the same after {other.key} ran in its scene: {_when(once, again)}",
    )


def check_observations(
    env: Env, episode: EpisodeSpec, task: Task, action: ActionSpec, wants: ObservationSpec
) -> None:
    """Observations are what was asked for, are the policy's to keep, and change nothing."""
    env.reset(episode)
    before = env.state_bytes()
    first = env.observe()
    _require(env.state_bytes() == before, f"{task.id}: observe() changes the simulator's state")
    _check_observation(first, task, wants)
    copies = [array.copy() for array in _arrays(first)]
    second = env.observe()
    shared = [(a, b) for a in _arrays(first) for b in _arrays(second) if np.shares_memory(a, b)]
    _require(not shared, f"{task.id}: two observations share memory; they are the policy's to keep")
    for row in _actions(action):
        env.step(row)
    kept = all(map(np.array_equal, copies, _arrays(first)))
    _require(kept, f"{task.id}: a later step changes an earlier observation")


def check_starts_unsolved(env: Env, episodes: Sequence[EpisodeSpec], protocol: Protocol) -> None:
    """No task is solved by keeping still for one control step."""
    still = protocol.settle_action or (0.0,) * protocol.action.size
    for episode in episodes:
        env.reset(episode)
        step = env.step(np.array(still, dtype=np.float32))
        _require(not step.success, f"{episode.key} is a success before anything is done")


def check_progress(env: Env, episode: EpisodeSpec, action: ActionSpec) -> None:
    """Progress is a share, 1 just where the goal holds; asking twice is asking once.

    There is nothing to check in a scene that cannot say.
    """
    if not isinstance(env, Graded):
        return
    env.reset(episode)
    for row in _actions(action):
        step = env.step(row)
        before = env.state_bytes()
        found, again = env.progress(), env.progress()
        _require(
            env.state_bytes() == before,
            f"{episode.key}: progress() changes the simulator's state",
        )
        _require(0 <= found <= 1, f"{episode.key}: progress() is {found}, not from 0 to 1")
        _require(
            again == found, f"{episode.key}: progress() is {found}, and {again} when asked again"
        )
        _require(
            (found == 1) == step.success,
            f"{episode.key}: progress() is {found} where success is {step.success}",
        )
        if step.done:
            break


def check_initial_states(env: Env, episodes: Sequence[EpisodeSpec]) -> None:
    """Different episodes of a task start differently."""
    starts: dict[bytes, str] = {}
    for episode in episodes:
        env.reset(episode)
        other = starts.setdefault(env.state_bytes(), episode.key)
        _require(other == episode.key, f"{other} and {episode.key} start in the same state")


def check_policy(
    policy: Policy,
    suite: Suite,
    protocol: str | None = None,
    *,
    task_id: str | None = None,
    tolerance: float = 0.0,
) -> None:
    """Check everything that a policy promises, in two episodes of one task.

    Args:
        policy: The policy.
        suite: Where it acts.
        protocol: Name of the rules; the suite's default when None.
        task_id: The task whose scene is built; the suite's first when None.
        tolerance: How far two answers may lie apart and be the same. Batched floating-point
            arithmetic may need more than 0; whatever needs it cannot be verified bit for bit.
    """
    rules, task = suite.protocol(protocol), suite.task(task_id or suite.tasks[0].id)
    _check_fits(policy, suite, rules)
    episodes = _two_episodes(suite, task, rules)
    with _scene(lambda: suite.make_env(task, rules, policy.observation)) as env:
        views = [_views(env, episode, rules.action) for episode in episodes]
    check_decisions(policy, episodes, views, rules.action)
    check_reset(policy, episodes, views, tolerance=tolerance)
    check_slots(policy, episodes, views, tolerance=tolerance)


def check_decisions(
    policy: Policy, episodes: Sequence[EpisodeSpec], views: Sequence[_Views], action: ActionSpec
) -> None:
    """Decisions are `[B, H, A]`, finite, float32, and stay as they were handed over."""
    slots = range(len(episodes))
    for slot, episode in enumerate(episodes):
        policy.reset(slot, episode)
    given: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    for seen in zip(*views, strict=True):
        decision = policy.act(list(slots), list(seen))
        actions, who = decision.actions, f"policy {policy.id!r}"
        _require(isinstance(actions, np.ndarray), f"{who} returns {type(actions).__name__} actions")
        shape = actions.shape
        _require(
            len(shape) == 3
            and shape[0] == len(slots)
            and shape[1] >= 1
            and shape[2] == action.size,
            f"{who} returns actions of shape {list(shape)}, expected "
            f"[{len(slots)}, H >= 1, {action.size}]",
        )
        _require(actions.dtype == np.float32, f"{who} returns {actions.dtype}, expected float32")
        _require(np.isfinite(actions).all(), f"{who} returns an action that is not finite")
        _require(decision.num_samples >= 1, f"{who} counts {decision.num_samples} samples")
        given.append((actions, actions.copy()))
    kept = all(np.array_equal(now, then) for now, then in given)
    _require(kept, f"policy {policy.id!r} changes a decision after it was handed over")


def check_reset(
    policy: Policy,
    episodes: Sequence[EpisodeSpec],
    views: Sequence[_Views],
    *,
    tolerance: float = 0.0,
) -> None:
    """After a reset the same episode gets the same actions, whatever was asked before."""
    once = _alone(policy, 0, episodes[0], views[0])
    _alone(policy, 0, episodes[-1], views[-1])
    again = _alone(policy, 0, episodes[0], views[0])
    _require(
        _same(once, again, tolerance),
        f"policy {policy.id!r} does not answer {episodes[0].key} the same way after a reset",
    )


def check_slots(
    policy: Policy,
    episodes: Sequence[EpisodeSpec],
    views: Sequence[_Views],
    *,
    tolerance: float = 0.0,
) -> None:
    """What a slot is answered depends on that slot alone; `views` are what two episodes show."""
    who = f"policy {policy.id!r}"
    alone = [_alone(policy, slot, episodes[slot], views[slot]) for slot in (0, 1)]
    elsewhere = _alone(policy, 7, episodes[1], views[1])
    _require(
        _same(alone[1], elsewhere, tolerance),
        f"{who}: slot 7 is answered otherwise than slot 1 would be",
    )
    count = len(views[0])
    for what, order in (
        ("when another is asked in the same call", [[0, 1]] * count),
        ("when the slots of a call are in another order", [[1, 0]] * count),
        ("when another is asked in between", [[1], [0]] * count),
        ("when another was asked all it is asked before", [[0]] * count + [[1]] * count),
    ):
        mixed = _mixed(policy, order, episodes, views)
        same = all(_same(alone[slot], mixed[slot], tolerance) for slot in (0, 1))
        _require(same, f"{who}: a slot is answered otherwise {what}")


def _check_fits(policy: Policy, suite: Suite, rules: Protocol) -> None:
    _require(isinstance(policy.id, str) and policy.id, f"a policy's id is {policy.id!r}")
    _require(isinstance(policy.digest, str), f"policy {policy.id!r} has digest {policy.digest!r}")
    cameras = [camera.name for camera in policy.observation.cameras]
    _require(
        len(set(cameras)) == len(cameras),
        f"policy {policy.id!r} asks for a camera twice: {cameras}",
    )
    try:
        check_match(
            suite.id,
            rules.observation,
            rules.action,
            policy_id=policy.id,
            needed=policy.observation,
            produced=policy.action,
        )
    except SpecMismatchError as error:
        raise AssertionError(str(error)) from error


def _check_observation(seen: Observation, task: Task, wants: ObservationSpec) -> None:
    _require(
        seen.instruction == task.instruction,
        f"{task.id} shows the instruction {seen.instruction!r}, the task's is {task.instruction!r}",
    )
    expected = {camera.name: (camera.height, camera.width, 3) for camera in wants.cameras}
    shown = {name: image.shape for name, image in seen.images.items()}
    _require(shown == expected, f"{task.id} shows pictures {shown}, asked for were {expected}")
    for name, image in seen.images.items():
        _require(
            image.dtype == np.uint8, f"{task.id}: picture {name!r} is {image.dtype}, not uint8"
        )
    if wants.state_size:
        _require(
            seen.state.shape == (wants.state_size,) and seen.state.dtype == np.float32,
            f"{task.id} shows a state {seen.state.dtype} {list(seen.state.shape)}, expected "
            f"float32 [{wants.state_size}]",
        )
    _require(np.isfinite(seen.state).all(), f"{task.id} shows a state that is not finite")
    _require(
        bool(seen.privileged) == wants.privileged,
        f"{task.id} shows privileged state {sorted(seen.privileged)}, wanted: {wants.privileged}",
    )
    for name, value in seen.privileged.items():
        _require(
            isinstance(value, np.ndarray) and value.dtype == np.float64,
            f"{task.id}: privileged {name!r} is not a float64 array",
        )


def _two_episodes(suite: Suite, task: Task, rules: Protocol) -> tuple[EpisodeSpec, ...]:
    """Plan two episodes: of two initial states where there are two, else two attempts at one."""
    one = task.num_inits == 1
    plan = make_plan(
        suite, rules.name, tasks=task.id, episodes=1 if one else 2, repeats=2 if one else 1
    )
    return plan.episodes


@contextmanager
def _scene(make_env: Callable[[], Env]) -> Iterator[Env]:
    with closing(make_env()) as env:
        yield env
        env.close()  # once more than needed: it must be safe


def _actions(action: ActionSpec) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return rng.uniform(action.low, action.high, (_STEPS, action.size)).astype(np.float32)


def _trajectory(env: Env, episode: EpisodeSpec, action: ActionSpec) -> list[bytes]:
    """Return the state after the reset and after each action, until the simulator is done."""
    env.reset(episode)
    states = [env.state_bytes()]
    for row in _actions(action):
        step = env.step(row)
        states.append(env.state_bytes())
        if step.done:
            break
    return states


def _views(env: Env, episode: EpisodeSpec, action: ActionSpec) -> list[Observation]:
    """Return what three decisions of an episode would see."""
    env.reset(episode)
    seen = [env.observe()]
    for row in _actions(action)[:2]:
        env.step(row)
        seen.append(env.observe())
    return seen


def _alone(policy: Policy, slot: int, episode: EpisodeSpec, views: _Views) -> _Chunks:
    policy.reset(slot, episode)
    return [policy.act([slot], [view]).actions[0].copy() for view in views]


def _mixed(
    policy: Policy,
    order: Sequence[Sequence[int]],
    episodes: Sequence[EpisodeSpec],
    views: Sequence[_Views],
) -> list[_Chunks]:
    """Ask for the slots in the given order of calls; return each slot's chunks."""
    chunks: list[_Chunks] = [[], []]
    for slot in (0, 1):
        policy.reset(slot, episodes[slot])
    for slots in order:
        seen = [views[slot][len(chunks[slot])] for slot in slots]
        actions = policy.act(slots, seen).actions
        for row, slot in enumerate(slots):
            chunks[slot].append(actions[row].copy())
    return chunks


def _same(a: _Chunks, b: _Chunks, tolerance: float) -> bool:
    return all(
        x.shape == y.shape and bool(np.all(np.abs(x - y) <= tolerance))
        for x, y in zip(a, b, strict=True)
    )


def _when(a: Sequence[bytes], b: Sequence[bytes]) -> str:
    differ = [x != y for x, y in zip(a, b, strict=False)]
    first = differ.index(True) if True in differ else len(differ)
    return f"the state differs after action {first}" if first else "the initial state differs"


def _arrays(seen: Observation) -> list[NDArray[np.generic]]:
    return [*seen.images.values(), seen.state, *seen.privileged.values()]


def _require(condition: object, message: str) -> None:
    """Raise what `assert` would; `python -O` must not switch a check off."""
    if not condition:
        raise AssertionError(message)
