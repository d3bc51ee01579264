"""Gymnasium both ways."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from vlabench import (
    Decision,
    EpisodeRecord,
    EpisodeSpec,
    Observation,
    ObservationSpec,
    Outcome,
    ProcessRunner,
    Protocol,
    SerialRunner,
    Stage,
    Suite,
    Task,
    load_policy,
    load_suite,
    make_plan,
)
from vlabench.bridge import TaskEnv, suite_from_gymnasium
from vlabench.env import Step
from vlabench.errors import DrawingError, SettingError, SpecMismatchError, UnknownNameError
from vlabench.testing import check_suite
from vlabench_suites.point_reach import PointReachEnv

POINT = load_suite("point-reach")
EVERYTHING = POINT.protocol().observation
LEFT = np.array([-1], dtype=np.float32)


def left(**settings: Any) -> TaskEnv:
    return TaskEnv("point-reach", "point-reach/left", **settings)


# A task as an environment


@pytest.mark.parametrize("suite", ["point-reach", POINT], ids=["id", "suite"])
@pytest.mark.parametrize("wants", [None, EVERYTHING], ids=["state", "everything"])
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_gymnasiums_own_checker_has_nothing_to_say(
    suite: Any, wants: ObservationSpec | None, render_mode: str | None
) -> None:
    env = TaskEnv(suite, "point-reach/left", "standard", wants, render_mode=render_mode)
    check_env(env)  # warnings are errors here


def test_observations_hold_what_was_asked_for_and_no_more() -> None:
    seen, info = left().reset(seed=0)
    assert set(seen) == {"state"}
    assert info == {"success": False, "instruction": "reach the left mark"}
    env = left(wants=EVERYTHING)
    seen, _ = env.reset(seed=0)
    assert seen in env.observation_space
    assert seen["images"]["front"].shape == (16, 64, 3)
    assert seen["privileged"] == {"mark": np.array([-1.0])}
    assert set(left(wants=ObservationSpec(cameras=EVERYTHING.cameras)).reset()[0]) == {"images"}


def test_the_reward_is_1_when_the_goal_holds_and_the_episode_ends_there() -> None:
    env = left()
    env.reset(seed=0)
    steps = [env.step(LEFT) for _ in range(9)]
    while not steps[-1][2]:
        steps.append(env.step(LEFT))
    assert [(r, end, cut, info["success"]) for _, r, end, cut, info in steps] == [
        (0.0, False, False, False)
    ] * (len(steps) - 1) + [(1.0, True, False, True)]


def test_an_episode_is_cut_at_the_protocols_horizon_and_not_before() -> None:
    env = left()
    for _ in range(2):
        env.reset(seed=0)
        steps = [env.step(-LEFT) for _ in range(20)]
        assert [(terminated, truncated) for _, _, terminated, truncated, _ in steps] == [
            (False, False)
        ] * 19 + [(False, True)]


@pytest.mark.parametrize(
    ("step", "ends"),
    [
        (Step(success=False), (False, False)),
        (Step(success=True), (True, False)),
        (Step(success=False, done=True), (True, False)),
        (Step(success=False, done=True, timed_out=True), (False, True)),
        (Step(success=True, done=True, timed_out=True), (True, False)),
    ],
)
def test_an_end_for_want_of_time_is_a_truncation_and_any_other_is_none(
    step: Step, ends: tuple[bool, bool]
) -> None:
    suite = load_suite("point-reach")

    def make_env(task: Any, protocol: Any, wants: Any) -> Any:
        scene = suite.make_env(task, protocol, wants)
        scene.step = lambda action: step  # type: ignore[method-assign]
        return scene

    env = TaskEnv(replace(suite, make_env=make_env), "point-reach/left")
    env.reset(seed=0)
    assert env.step(LEFT)[2:4] == ends


def test_the_seed_decides_all_episodes_that_follow() -> None:
    def starts(seed: int) -> list[float]:
        env = left()
        first = env.reset(seed=seed)[0]["state"].item()
        return [first] + [env.reset()[0]["state"].item() for _ in range(4)]

    assert starts(3) == starts(3)
    assert len(set(starts(3))) == 5
    assert not set(starts(3)) & set(starts(4))


class FixedEnv:
    """Starts at its initial state's index."""

    def __init__(self, *_: Any, slope: float = 0.0) -> None:
        self._value = slope

    def reset(self, episode: EpisodeSpec) -> None:
        self._value = float(episode.init_index)

    def observe(self) -> Observation:
        return Observation(instruction="", state=np.array([self._value], dtype=np.float32))

    def close(self) -> None:
        pass


def fixed() -> Suite:
    tasks = tuple(replace(task, num_inits=7) for task in POINT.tasks)
    return replace(POINT, tasks=tasks, make_env=FixedEnv, film=None)


def test_initial_states_are_drawn_or_chosen() -> None:
    env = TaskEnv(fixed(), "point-reach/left")
    drawn = [env.reset(seed=i)[0]["state"].item() for i in range(60)]
    assert set(drawn) == set(range(7))
    assert env.reset(options={"init_index": 5})[0]["state"] == 5
    for wrong in (-1, 7):
        with pytest.raises(ValueError, match=f"init_index is {wrong}.*0 to 6"):
            env.reset(options={"init_index": wrong})
    with pytest.raises(ValueError, match="unknown options"):
        env.reset(options={"init_indx": 5})


def test_choosing_an_initial_state_does_not_change_the_episodes_after_it() -> None:
    def then(options: dict[str, Any] | None) -> list[float]:
        env = TaskEnv(fixed(), "point-reach/left")
        env.reset(seed=1, options=options)
        return [env.reset()[0]["state"].item() for _ in range(10)]

    assert then(None) == then({"init_index": 3})


def test_rendering_draws_the_films_camera() -> None:
    env = left(render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    assert picture.shape == (16, 64, 3)
    without = left()
    without.reset(seed=0)
    assert without.render() is None


def test_a_scene_that_is_rendered_is_built_to_be_drawn() -> None:
    built: list[ObservationSpec] = []

    class Env(PointReachEnv):
        def __init__(self, task: Task, protocol: Protocol, wants: ObservationSpec) -> None:
            super().__init__(task, protocol, wants)
            built.append(wants)

    suite = replace(POINT, make_env=Env)
    for render_mode in (None, "rgb_array"):
        env = TaskEnv(suite, "point-reach/left", render_mode=render_mode)
        seen, _ = env.reset(seed=0)
        assert set(seen) == {"state"}
    assert [wants.cameras for wants in built] == [(), (POINT.film,)]
    first = env.render()
    env.step(LEFT)
    assert not np.array_equal(first, env.render())
    assert np.array_equal(env.render(), env.render())


def test_what_cannot_be_is_refused_when_the_environment_is_made() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'point-reach/left'"):
        TaskEnv("point-reach", "point-reach/lef")
    with pytest.raises(SettingError, match="does not take speed; it takes no settings"):
        left(speed=3)
    with pytest.raises(SettingError, match="does not take speed; it takes slope"):
        TaskEnv(fixed(), "point-reach/left", speed=3)
    with pytest.raises(SpecMismatchError, match="nothing to observe"):
        left(wants=ObservationSpec())
    with pytest.raises(SpecMismatchError, match="state: the policy needs 'joints' of 7"):
        left(wants=ObservationSpec(state="joints", state_size=7))
    with pytest.raises(DrawingError, match="render_mode is 'human'"):
        left(render_mode="human")
    with pytest.raises(DrawingError, match="render_mode is 'rgb_array'"):
        TaskEnv(fixed(), "point-reach/left", render_mode="rgb_array")


def test_steps_before_a_reset_and_actions_of_a_wrong_shape_are_refused() -> None:
    env = left(render_mode="rgb_array")
    for too_early in (lambda: env.step(LEFT), env.render):
        with pytest.raises(gymnasium.error.ResetNeeded):
            too_early()
    env.reset()
    with pytest.raises(ValueError, match=r"shape \(2,\), expected \(1,\)"):
        env.step(np.zeros(2, dtype=np.float32))
    env.close()
    env.close()
    env.reset(seed=0)  # builds another


@pytest.mark.parametrize(
    "vectorise",
    [
        SyncVectorEnv,
        AsyncVectorEnv,
        lambda envs: AsyncVectorEnv(envs, context="spawn"),
    ],
    ids=["sync", "async", "spawn"],
)
def test_tasks_run_side_by_side(
    vectorise: Callable[[list[Callable[[], TaskEnv]]], gymnasium.vector.VectorEnv[Any, Any, Any]],
) -> None:
    sides = ("left", "right")
    envs = vectorise(
        [
            lambda side=side: TaskEnv("point-reach", f"point-reach/{side}", wants=EVERYTHING)
            for side in sides
        ]
    )
    try:
        seen, info = envs.reset(seed=5)
        alone = [
            TaskEnv("point-reach", f"point-reach/{side}").reset(seed=5 + i)[0]["state"]
            for i, side in enumerate(sides)
        ]
        assert np.array_equal(seen["state"], alone)
        assert seen["images"]["front"].shape == (2, 16, 64, 3)
        assert list(info["instruction"]) == ["reach the left mark", "reach the right mark"]
        for _ in range(15):
            _, reward, terminated, _, info = envs.step(np.array([[-1], [-1]], dtype=np.float32))
            if terminated.any():
                break
        assert list(reward) == [1.0, 0.0]
        assert list(info["success"]) == [True, False]
    finally:
        envs.close()


# An environment as a suite


class CountEnv(gymnasium.Env[Any, Any]):
    """Counts up to 5; draws its count; observations are a dictionary, actions one of 3."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - gymnasium's

    def __init__(self, render_mode: str | None = None, goal: int = 5, gives_up: int = 99) -> None:
        self.render_mode, self._goal, self._gives_up = render_mode, goal, gives_up
        self.observation_space = gymnasium.spaces.Dict(
            {
                "count": gymnasium.spaces.Box(-99, 99, (2,), np.float64),
                "kind": gymnasium.spaces.Discrete(3),
            }
        )
        self.action_space = gymnasium.spaces.Discrete(3, start=-1)
        self._count = np.zeros(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._count[:] = 0, self.np_random.uniform()
        self._steps = 0
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        assert action in self.action_space
        self._count[0] += action
        self._steps += 1
        info = {"won": self._count[0] >= self._goal}
        return self._seen(), 0.0, False, self._steps >= self._gives_up, info

    def render(self) -> Any:
        return np.full((4, 6, 3), self._count[0], dtype=np.uint8)

    def _seen(self) -> Any:
        return {"count": self._count, "kind": 1}  # its own array, as careless environments do


class BoxEnv(gymnasium.Env[Any, Any]):
    """Takes a `[2, 2]` action with bounds of its own for each number; shows what it was given."""

    def __init__(self) -> None:
        low = np.array([[-1, -2], [0, -1]], dtype=np.float64)
        self.action_space = gymnasium.spaces.Box(low, low + 3, dtype=np.float64)
        self.observation_space = self.action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.np_random.uniform(self.action_space.low, self.action_space.high), {}

    def step(self, action: Any) -> Any:
        assert action in self.action_space
        return action, 0.0, False, False, {}


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    registry = dict(gymnasium.registry)
    gymnasium.register("here/Count-v1", CountEnv, max_episode_steps=30)
    gymnasium.register("Box-v0", BoxEnv)
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(registry)


def count(**settings: Any) -> Suite:
    return suite_from_gymnasium(
        "here/Count-v1", **{"instruction": "count to 5", "success": "won", **settings}
    )


class Always:
    """A policy that answers with one action."""

    digest = ""
    id = "always"

    def __init__(self, suite: Suite, *action: float, wants: ObservationSpec) -> None:
        self.action, self.observation = suite.protocol().action, wants
        self._chunk = np.array([action], dtype=np.float32)
        self.seen: list[Observation] = []

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        pass

    def act(self, slots: Any, observations: Any) -> Decision:
        self.seen += observations
        return Decision(actions=np.stack([self._chunk] * len(slots)))


def run(
    runner: Any, suite: Suite, *action: float, wants: ObservationSpec | None = None
) -> tuple[list[EpisodeRecord], Always]:
    policy = Always(suite, *action, wants=wants or ObservationSpec())
    stage = Stage(suite=suite, protocol=suite.protocol(), wants=policy.observation)
    records = list(runner.run(stage, policy, make_plan(suite, episodes=2).episodes))
    return sorted(records, key=lambda record: record.episode.key), policy


def test_a_wrapped_environment_is_a_suite_of_one_task() -> None:
    suite = count()
    assert suite.id == "count-v1"
    assert [(task.id, task.instruction) for task in suite.tasks] == [
        ("count-v1/Count-v1", "count to 5")
    ]
    assert suite.protocol().name == "horizon-30@1"
    assert suite.protocol().horizon("count-v1/Count-v1") == 30
    named = count(id="counting", version=3, horizon=12, episodes_per_task=4)
    assert (named.id, named.version, named.tasks[0].id) == ("counting", 3, "counting/Count-v1")
    assert len(make_plan(named).episodes) == 4
    assert named.protocol().horizon("counting/Count-v1") == 12


def test_a_wrapped_environment_keeps_the_contract_of_suites() -> None:
    check_suite(count())
    check_suite(suite_from_gymnasium("Box-v0", instruction="", success="won", horizon=9), [])
    check_suite(
        suite_from_gymnasium("MountainCarContinuous-v0", instruction="up", success=at_the_end)
    )


def at_the_end(info: Mapping[str, Any], reward: float, terminated: bool) -> bool:
    return terminated


@pytest.mark.parametrize("runner", [SerialRunner(), ProcessRunner(2)], ids=["serial", "processes"])
def test_a_wrapped_environment_runs_also_where_it_is_not_registered(runner: Any) -> None:
    wants = count().protocol().observation
    records, policy = run(runner, count(), 1.0, wants=wants)
    assert [(r.outcome, r.steps, r.error) for r in records] == [(Outcome.SUCCESS, 5, None)] * 2
    for seen in policy.seen:
        count_now, _, *kind = seen.state.tolist()
        assert kind == [0, 1, 0]  # one-hot, as gymnasium flattens
        assert (seen.images["render"] == count_now).all()
    assert {seen.state[0] for seen in policy.seen} == set(range(5))


def test_both_runners_record_the_same() -> None:
    serial, processes = (
        [(r.episode, r.outcome, r.steps, r.trace) for r in run(runner, count(), 0.0)[0]]
        for runner in (SerialRunner(), ProcessRunner(2))
    )
    assert serial == processes


@pytest.mark.parametrize(
    ("number", "chosen"), [(0.4, 0), (0.6, 1), (-0.6, -1), (1.5, 1), (-1.5, -1), (9, 1), (-9, -1)]
)
def test_a_discrete_action_is_a_number_rounded_and_clipped(number: float, chosen: int) -> None:
    suite = count()
    env = suite.make_env(suite.tasks[0], suite.protocol(), suite.protocol().observation)
    env.reset(make_plan(suite, episodes=1).episodes[0])
    env.step(np.array([number], dtype=np.float32))
    assert env.observe().state[0] == chosen
    assert (suite.protocol().action.low, suite.protocol().action.high) == (-1.5, 1.5)


def test_box_actions_are_reshaped_and_clipped_to_bounds_of_their_own() -> None:
    suite = suite_from_gymnasium("Box-v0", instruction="", success=at_the_end, horizon=3)
    assert suite.protocol().action.size == 4
    assert (suite.protocol().action.low, suite.protocol().action.high) == (-2, 3)
    records, policy = run(SerialRunner(), suite, -9, 0.5, 9, 1, wants=suite.protocol().observation)
    assert {record.outcome for record in records} == {Outcome.FAILURE}
    assert policy.seen[1].state.tolist() == [-1, 0.5, 3, 1]


def test_the_environments_own_end_is_a_failure_unless_it_is_a_success() -> None:
    records, _ = run(SerialRunner(), count(env_settings={"gives_up": 4}), 1.0)
    assert [(r.outcome, r.steps) for r in records] == [(Outcome.FAILURE, 4)] * 2
    records, _ = run(SerialRunner(), count(env_settings={"gives_up": 4, "goal": 4}), 1.0)
    assert [(r.outcome, r.steps) for r in records] == [(Outcome.SUCCESS, 4)] * 2


def test_a_missing_success_is_an_error_and_not_a_failure() -> None:
    records, _ = run(SerialRunner(), count(success="is_success"), 1.0)
    assert {record.outcome for record in records} == {Outcome.ERROR}
    assert "has no 'is_success', it has ['won']" in str(records[0].error)


def test_success_may_be_a_function_of_info_reward_and_terminated() -> None:
    suite = count(success=lambda info, reward, terminated: info["won"] and reward == 0.0)
    assert run(SerialRunner(), suite, 1.0)[0][0].outcome is Outcome.SUCCESS


def test_an_environment_without_a_horizon_needs_one() -> None:
    with pytest.raises(ValueError, match="Box-v0 names no max_episode_steps; pass horizon"):
        suite_from_gymnasium("Box-v0", instruction="", success="won")
    with pytest.raises(ValueError, match="horizon is 0"):
        count(horizon=0)


def test_spaces_that_do_not_become_numbers_are_refused() -> None:
    class Unbounded(BoxEnv):
        def __init__(self) -> None:
            super().__init__()
            self.action_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))

    class Sequence(BoxEnv):
        def __init__(self) -> None:
            super().__init__()
            self.observation_space = gymnasium.spaces.Sequence(gymnasium.spaces.Discrete(2))

    gymnasium.register("Unbounded-v0", Unbounded, max_episode_steps=3)
    gymnasium.register("Sequence-v0", Sequence, max_episode_steps=3)
    with pytest.raises(ValueError, match="action space of Unbounded-v0"):
        suite_from_gymnasium("Unbounded-v0", instruction="", success="won")
    with pytest.raises(ValueError, match="observation space of Sequence-v0"):
        suite_from_gymnasium("Sequence-v0", instruction="", success="won")


def test_an_environment_that_cannot_draw_has_no_camera_and_says_why() -> None:
    class Blind(CountEnv):
        def render(self) -> Any:
            raise gymnasium.error.DependencyNotInstalled("paint is not installed")

    gymnasium.register("Blind-v0", Blind, max_episode_steps=30)
    suite = suite_from_gymnasium("Blind-v0", instruction="", success="won")
    assert suite.film is None
    assert "paint is not installed" in suite.summary
    assert count().film == count().protocol().observation.cameras[0]


def test_there_and_back_again() -> None:
    suite = count()
    env = TaskEnv(suite, suite.tasks[0].id, render_mode="rgb_array")
    with pytest.warns(UserWarning, match="normalized space"):  # its actions are -1, 0 and 1
        check_env(env)
    assert load_policy("random", suite).action == suite.protocol().action
