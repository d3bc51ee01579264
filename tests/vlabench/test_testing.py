"""Each contract check catches the defect that it is there for."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vlabench import (
    Decision,
    EpisodeSpec,
    Observation,
    ObservationSpec,
    Policy,
    Protocol,
    Step,
    Suite,
    Task,
    load_policy,
    load_suite,
)
from vlabench.testing import check_ids, check_policy, check_progress, check_protocols, check_suite
from vlabench_suites.point_reach import PointReachEnv

SUITE = load_suite("point-reach")
LEFT = ["point-reach/left"]


def broken(env: type[PointReachEnv]) -> Suite:
    return replace(SUITE, make_env=env)


def with_protocol(**changes: Any) -> Suite:
    return replace(SUITE, protocols=(replace(SUITE.protocol(), **changes),))


def with_tasks(*tasks: Task) -> Suite:
    return replace(SUITE, tasks=tasks)


def caught(check: Callable[[], None]) -> str:
    with pytest.raises(AssertionError) as found:
        check()
    message = str(found.value)
    assert "\n" not in message
    return message


def test_a_sound_suite_passes_with_all_its_tasks_and_without_drawing() -> None:
    check_suite(SUITE)
    check_suite(SUITE, LEFT, protocol="standard@1", draw=False)


@pytest.mark.parametrize(
    "task_id", ["left", "point-reach/", "/left", "a/b/c", "a/b c", "a/b*", "a/é"]
)
def test_a_task_id_that_cannot_be_typed_matched_or_saved_is_caught(task_id: str) -> None:
    suite = with_tasks(replace(SUITE.tasks[0], id=task_id))
    assert f"task id {task_id!r} is not of the form prefix/name" in caught(lambda: check_ids(suite))


def test_task_ids_whose_files_would_overwrite_each_other_are_caught() -> None:
    task = SUITE.tasks[0]
    suite = with_tasks(replace(task, id="a/b-c"), replace(task, id="a-b/c"))
    assert caught(lambda: check_suite(suite)) == "tasks 'a/b-c' and 'a-b/c' collide"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizons": (("other", 20),)}, "has no horizon for task 'point-reach/left'"),
        ({"horizons": (("point-reach", 0),)}, "has horizon 0 for task 'point-reach/left'"),
        ({"settle_steps": 5}, "settles with 0 numbers, its actions have 1"),
        ({"settle_action": (0.0, 0.0)}, "settles with 2 numbers, its actions have 1"),
    ],
)
def test_an_incomplete_protocol_is_caught(changes: dict[str, Any], message: str) -> None:
    assert message in caught(lambda: check_suite(with_protocol(**changes)))


def test_two_protocols_of_one_name_are_caught() -> None:
    suite = replace(SUITE, protocols=SUITE.protocols * 2)
    assert "repeats a protocol" in caught(lambda: check_protocols(suite))


def test_a_protocol_that_plans_more_states_than_there_are_is_caught() -> None:
    fixed = replace(SUITE.protocols[0], init_states="fixed")
    suite = replace(with_tasks(replace(SUITE.tasks[0], num_inits=3)), protocols=(fixed,))
    assert "cannot be planned" in caught(lambda: check_protocols(suite))


def test_a_scene_that_draws_from_a_generator_of_its_own_is_caught() -> None:
    class Env(PointReachEnv):
        def reset(self, episode: EpisodeSpec) -> None:
            super().reset(replace(episode, scene_seed=np.random.default_rng().integers(2**32)))

    message = caught(lambda: check_suite(broken(Env), LEFT))
    assert "point-reach/left#0 is not the same in two fresh scenes" in message
    assert "the initial state differs" in message


def test_a_scene_that_remembers_its_last_episode_is_caught() -> None:
    class Env(PointReachEnv):
        _worn = 0.0

        def step(self, action: Any) -> Step:
            self._worn += 1e-9
            self._position += self._worn
            return super().step(action)

    message = caught(lambda: check_suite(broken(Env), LEFT))
    assert "is not the same after point-reach/left#1 ran in its scene" in message
    assert "the state differs after action 1" in message


def test_initial_states_that_are_all_the_same_are_caught() -> None:
    class Env(PointReachEnv):
        def reset(self, episode: EpisodeSpec) -> None:
            self._position = 0.0

    message = caught(lambda: check_suite(broken(Env), LEFT))
    assert message == "point-reach/left#0 and point-reach/left#1 start in the same state"
    one = replace(broken(Env), tasks=(replace(SUITE.tasks[0], num_inits=1),))
    check_suite(replace(one, protocols=(replace(SUITE.protocol(), episodes_per_task=1),)))


def test_a_task_that_is_solved_before_it_begins_is_caught() -> None:
    class Env(PointReachEnv):
        def step(self, action: Any) -> Step:
            return Step(success=True)

    message = caught(lambda: check_suite(broken(Env), LEFT))
    assert message == "point-reach/left#0 is a success before anything is done"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda env: -0.5, "progress() is -0.5, not from 0 to 1"),
        (lambda env: float("nan"), "progress() is nan, not from 0 to 1"),
        (lambda env: 1.0, "progress() is 1.0 where success is False"),
        (lambda env: env.fewer(), "progress() is 0.5, and 0.25 when asked again"),
        (lambda env: env.moved(), "progress() changes the simulator's state"),
    ],
)
def test_progress_that_is_none_is_caught(answer: Callable[[Any], float], message: str) -> None:
    class Env(PointReachEnv):
        _answer = 1.0

        def progress(self) -> float:
            return answer(self)

        def fewer(self) -> float:
            self._answer /= 2
            return self._answer

        def moved(self) -> float:
            self._position += 1e-12
            return 0.5

    found = caught(lambda: check_suite(broken(Env), LEFT))
    assert found == f"point-reach/left#0: {message}"


def test_a_success_without_all_of_the_goal_is_caught() -> None:
    class Near(PointReachEnv):
        """Begins where every step is a success."""

        def reset(self, episode: EpisodeSpec) -> None:
            super().reset(episode)
            self._position = self._mark
            self._mark = 10 * self._mark

        def step(self, action: Any) -> Step:
            return Step(success=True)

    protocol = SUITE.protocol()
    env = Near(SUITE.task(*LEFT), protocol, protocol.observation)
    episode = EpisodeSpec(task_id=LEFT[0], init_index=0, scene_seed=0, policy_seed=0)
    message = caught(lambda: check_progress(env, episode, protocol.action))
    assert "progress() is 0.0 where success is True" in message


def test_a_scene_that_cannot_say_its_progress_keeps_the_contract() -> None:
    class Env(PointReachEnv):
        progress = None  # type: ignore[assignment]

    check_suite(broken(Env), LEFT)


class _Shows(PointReachEnv):
    """Shows what `alter` makes of an observation."""

    def alter(self, seen: Observation) -> Observation:
        raise NotImplementedError

    def observe(self) -> Observation:
        return self.alter(super().observe())


def _showing(**changes: Callable[[Observation], Any]) -> Suite:
    class Env(_Shows):
        def alter(self, seen: Observation) -> Observation:
            return replace(seen, **{name: change(seen) for name, change in changes.items()})

    return broken(Env)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"instruction": lambda o: "reach"}, "shows the instruction 'reach', the task's is"),
        ({"images": lambda o: {}}, "shows pictures {}, asked for were {'front': (16, 64, 3)}"),
        ({"images": lambda o: {"front": o.images["front"][:, :8]}}, "'front': (16, 8, 3)"),
        ({"images": lambda o: {"front": o.images["front"] / 255}}, "is float64, not uint8"),
        ({"state": lambda o: o.state.astype(np.float64)}, "a state float64 [1], expected float32"),
        ({"state": lambda o: np.zeros(2, np.float32)}, "a state float32 [2], expected float32 [1]"),
        ({"state": lambda o: o.state * np.nan}, "a state that is not finite"),
        ({"privileged": lambda o: {}}, "shows privileged state [], wanted: True"),
        ({"privileged": lambda o: {"mark": 1.0}}, "'mark' is not a float64 array"),
    ],
)
def test_an_observation_that_is_not_what_was_asked_for_is_caught(
    changes: dict[str, Any], message: str
) -> None:
    assert message in caught(lambda: check_suite(_showing(**changes), LEFT))


def test_privileged_state_that_nobody_asked_for_is_caught() -> None:
    class Env(PointReachEnv):
        def __init__(self, task: Task, protocol: Protocol, wants: ObservationSpec) -> None:
            super().__init__(task, protocol, replace(wants, privileged=True))

    honest = replace(SUITE.protocol().observation, privileged=False)
    suite = replace(with_protocol(observation=honest), make_env=Env)
    assert "shows privileged state ['mark'], wanted: False" in caught(lambda: check_suite(suite))


def test_observations_that_share_a_buffer_are_caught() -> None:
    class Env(PointReachEnv):
        _buffer = np.zeros((16, 64, 3), np.uint8)

        def draw(self, camera: Any) -> Any:
            self._buffer[:] = super().draw(camera)
            return self._buffer

    message = caught(lambda: check_suite(broken(Env), LEFT))
    assert "two observations share memory" in message
    check_suite(broken(Env), LEFT, draw=False)


def test_an_observation_that_a_later_step_changes_is_caught() -> None:
    class Env(PointReachEnv):
        """Copies for the second observation, but hands its own array out with the first."""

        _mine: Any = None

        def observe(self) -> Observation:
            seen = super().observe()
            self._mine = seen.state if self._mine is None else self._mine
            return seen

        def step(self, action: Any) -> Step:
            if self._mine is not None:
                self._mine += 1
            return super().step(action)

    assert "a later step changes an earlier" in caught(lambda: check_suite(broken(Env), LEFT))


def test_looking_that_moves_things_is_caught() -> None:
    class Env(PointReachEnv):
        def observe(self) -> Observation:
            self._position += 1e-12
            return super().observe()

    assert "observe() changes the simulator's state" in caught(
        lambda: check_suite(broken(Env), LEFT)
    )


def test_a_scene_that_cannot_be_closed_twice_is_caught() -> None:
    class Env(PointReachEnv):
        def close(self) -> None:
            del self._position

    with pytest.raises(AttributeError):
        check_suite(broken(Env), LEFT)


# Policies


class SoundPolicy:
    """Draws for each slot, and looks."""

    id = "sound"
    digest = ""
    observation = SUITE.protocol().observation
    action = SUITE.protocol().action

    def __init__(self) -> None:
        self.generators: dict[int, np.random.Generator] = {}

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        self.generators[slot] = np.random.default_rng(episode.policy_seed)

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        return Decision(actions=np.stack(list(map(self.chunk, slots, observations))))

    def chunk(self, slot: int, seen: Observation) -> Any:
        drawn = self.generators[slot].uniform(-1, 1, (4, 1)).astype(np.float32)
        return drawn * seen.state * seen.images["front"].mean(dtype=np.float32)


def test_a_sound_policy_passes() -> None:
    check_policy(SoundPolicy(), SUITE)
    check_policy(SoundPolicy(), SUITE, "standard", task_id="point-reach/right")
    check_policy(SoundPolicy(), with_tasks(replace(SUITE.tasks[0], num_inits=1)))


def test_a_policy_that_does_not_fit_is_caught() -> None:
    class Wide(SoundPolicy):
        action = replace(SoundPolicy.action, size=7)

    class Twice(SoundPolicy):
        observation = ObservationSpec(cameras=SoundPolicy.observation.cameras * 2)

    class Nameless(SoundPolicy):
        id = ""

    assert "cannot run on suite 'point-reach': action" in caught(
        lambda: check_policy(Wide(), SUITE)
    )
    assert "asks for a camera twice" in caught(lambda: check_policy(Twice(), SUITE))
    assert "a policy's id is ''" in caught(lambda: check_policy(Nameless(), SUITE))


def _answering(alter: Callable[[Any], Any]) -> Policy:
    class Altered(SoundPolicy):
        def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
            return Decision(actions=alter(super().act(slots, observations).actions))

    return Altered()


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda a: a[0], "shape [4, 1], expected [2, H >= 1, 1]"),
        (lambda a: a[:, :0], "shape [2, 0, 1]"),
        (lambda a: a[:1], "shape [1, 4, 1]"),
        (lambda a: np.repeat(a, 2, axis=2), "shape [2, 4, 2]"),
        (lambda a: a.astype(np.float64), "returns float64, expected float32"),
        (lambda a: a.tolist(), "returns list actions"),
        (lambda a: a / np.zeros_like(a[:, :1]), "not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_answer_of_a_wrong_form_is_caught(alter: Callable[[Any], Any], message: str) -> None:
    assert message in caught(lambda: check_policy(_answering(alter), SUITE))


def test_a_decision_that_is_overwritten_by_the_next_is_caught() -> None:
    buffer = np.zeros((2, 4, 1), np.float32)

    def into_buffer(actions: Any) -> Any:
        buffer[: len(actions)] = actions
        return buffer[: len(actions)]

    message = caught(lambda: check_policy(_answering(into_buffer), SUITE))
    assert message == "policy 'sound' changes a decision after it was handed over"


def test_a_policy_that_a_reset_does_not_seed_is_caught() -> None:
    class Unseeded(SoundPolicy):
        def reset(self, slot: int, episode: EpisodeSpec) -> None:
            self.generators.setdefault(slot, np.random.default_rng(episode.policy_seed))

    assert "the same way after a reset" in caught(lambda: check_policy(Unseeded(), SUITE))


def test_a_generator_that_slots_share_is_caught() -> None:
    class Shared(SoundPolicy):
        def reset(self, slot: int, episode: EpisodeSpec) -> None:
            self.generators = dict.fromkeys(range(9), np.random.default_rng(episode.policy_seed))

    message = caught(lambda: check_policy(Shared(), SUITE))
    assert "a slot is answered otherwise when another is asked in the same call" in message


def test_an_answer_that_depends_on_the_slots_number_is_caught() -> None:
    class Numbered(SoundPolicy):
        def chunk(self, slot: int, seen: Observation) -> Any:
            return super().chunk(slot, seen) + np.float32(slot)

    assert "slot 7 is answered otherwise than slot 1" in caught(
        lambda: check_policy(Numbered(), SUITE)
    )


def test_answers_in_the_order_of_slots_and_not_of_the_call_are_caught() -> None:
    class Sorted(SoundPolicy):
        def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
            order = np.argsort(slots)
            return super().act([slots[i] for i in order], [observations[i] for i in order])

    message = caught(lambda: check_policy(Sorted(), SUITE))
    assert "when the slots of a call are in another order" in message


def test_a_batch_that_moves_answers_is_caught_unless_it_is_tolerated() -> None:
    class Batched(SoundPolicy):
        def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
            actions = super().act(slots, observations).actions
            return Decision(actions=actions + np.float32(1e-6 * (len(slots) - 1)))

    assert "in the same call" in caught(lambda: check_policy(Batched(), SUITE))
    check_policy(Batched(), SUITE, tolerance=1e-5)


def test_the_shipped_policies_pass() -> None:
    for policy_id in ("noop", "random"):
        check_policy(load_policy(policy_id, SUITE), SUITE)
