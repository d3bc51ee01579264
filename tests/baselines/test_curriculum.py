"""The curriculum: what its formulas say, what it remembers, and what it draws."""

import json
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from vlabench import EpisodeSpec
from vlabench.recipe import fill
from vlabench_baselines.vla_rl.curriculum import Curriculum, CurriculumRecipe, weights


def episodes(tasks: int = 2, states: int = 3) -> list[EpisodeSpec]:
    return [
        EpisodeSpec(task_id=f"toy/{task}", init_index=state, scene_seed=state, policy_seed=0)
        for task in range(tasks)
        for state in range(states)
    ]


def recipe(**values: Any) -> CurriculumRecipe:
    return fill(CurriculumRecipe, values, "curriculum")


RATES = np.array([0.0, 0.5, 1.0])


def test_literal_is_equation_4() -> None:
    # exp(1), exp(0), exp(-1) over their sum, 4.08616
    found = weights(RATES, recipe(kind="literal", temperature=0.5))
    assert found == pytest.approx([0.66524, 0.24473, 0.09003], abs=1e-5)


def test_target_prefers_what_half_succeeds_in() -> None:
    # exp(-1), exp(0), exp(-1) over their sum, 1.73576
    found = weights(RATES, recipe(kind="target", temperature=0.5))
    assert found == pytest.approx([0.21194, 0.57612, 0.21194], abs=1e-5)


def test_uniform_prefers_nothing() -> None:
    assert weights(RATES, recipe(kind="uniform")) == pytest.approx([1 / 3] * 3)


def test_a_floor_mixes_uniform_sampling_in() -> None:
    found = weights(RATES, recipe(kind="literal", temperature=0.5, floor=0.25))
    # 0.75 of the formula, and 0.25 / 3
    assert found == pytest.approx([0.58226, 0.26688, 0.15086], abs=1e-5)


def test_a_cold_temperature_overflows_nothing() -> None:
    assert weights(RATES, recipe(temperature=1e-4)) == pytest.approx([1, 0, 0])


def test_a_state_never_tried_has_its_tasks_rate_and_a_task_never_tried_the_prior() -> None:
    first, second, third, *others = episodes()
    curriculum = Curriculum([first, second, third, *others], recipe(prior=0.25))
    curriculum.record(first, True)
    curriculum.record(first, True)
    curriculum.record(second, False)
    rates = [1.0, 0.0, 2 / 3, 0.25, 0.25, 0.25]
    assert curriculum.rates() == pytest.approx(rates)


def test_only_the_latest_outcomes_count() -> None:
    one, *_ = everything = episodes()
    curriculum = Curriculum(everything, recipe(window=2))
    for outcome in (True, True, False):
        curriculum.record(one, outcome)
    assert curriculum.rates()[0] == 0.5


def test_repeats_of_a_state_are_counted_as_that_state() -> None:
    curriculum = Curriculum(episodes(1, 1), recipe())
    drawn = curriculum.sample(4, np.random.default_rng(0))
    for one, outcome in zip(drawn, (True, False, False, False), strict=True):
        curriculum.record(one, outcome)
    assert curriculum.rates() == pytest.approx([0.25])


def test_no_two_episodes_of_a_sample_are_the_same() -> None:
    curriculum = Curriculum(episodes(), recipe())
    drawn = curriculum.sample(50, np.random.default_rng(0))
    assert len({one.key for one in drawn}) == 50
    assert len({one.policy_seed for one in drawn}) == 50
    assert {one.scene_seed for one in drawn} == {0, 1, 2}  # initial states stay what they are


@pytest.mark.parametrize("group", [1, 4])
def test_states_are_drawn_as_often_as_they_are_probable(group: int) -> None:
    everything = episodes()
    curriculum = Curriculum(everything, recipe(temperature=0.3, group=group))
    for one in everything[:3]:
        curriculum.record(one, one.init_index == 0)
    drawn = curriculum.sample(20_000, np.random.default_rng(1))
    count = Counter((one.task_id, one.init_index) for one in drawn)
    shares = [count[one.task_id, one.init_index] / 20_000 for one in everything]
    assert shares == pytest.approx(curriculum.probabilities().tolist(), abs=0.015)


def test_a_group_stays_at_one_task() -> None:
    curriculum = Curriculum(episodes(tasks=40, states=5), recipe(group=4))
    drawn = curriculum.sample(10, np.random.default_rng(0))
    tasks = [one.task_id for one in drawn]
    assert len(drawn) == 10
    assert sorted(Counter(tasks).values()) == [2, 4, 4]
    assert sum(task != after for task, after in pairwise(tasks)) == 2  # one block a task


def test_a_resumed_curriculum_draws_what_it_would_have_drawn() -> None:
    everything = episodes()
    before = Curriculum(everything, recipe(window=3, temperature=0.2))
    for place, one in enumerate(before.sample(12, np.random.default_rng(0))):
        before.record(one, place % 3 == 0)
    after = Curriculum(everything, recipe(window=3, temperature=0.2))
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    for curriculum in (before, after):
        curriculum.record(everything[0], True)  # the window goes on as well
    assert after.rates().tolist() == before.rates().tolist()
    luck = (np.random.default_rng(5), np.random.default_rng(5))
    assert after.sample(20, luck[0]) == before.sample(20, luck[1])


@pytest.mark.parametrize("given", [[], episodes()[:1] * 2])
def test_nothing_to_choose_from_and_doubles_are_refused(given: list[EpisodeSpec]) -> None:
    with pytest.raises(ValueError, match="expected one for each, and at least one"):
        Curriculum(given, recipe())


@pytest.mark.parametrize(
    "values", [{"temperature": 0.0}, {"window": 0}, {"floor": 1.5}, {"prior": -0.1}, {"states": 0}]
)
def test_recipes_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(values))} is .*; expected"):
        CurriculumRecipe(**values)
