"""Which episodes there are, and that each is what it is whatever is planned beside it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vlabench import EpisodeSpec, Plan, Suite, load_suite, make_plan
from vlabench.demos.storage import demo_path
from vlabench.errors import PlanError, UnknownNameError

# 50 examples, and no deadline: on a busy machine any call may take long.
property_test = settings(deadline=None, max_examples=50)
SUITE = load_suite("point-reach")
COUNTS = st.integers(1, 30)
REPEATS = st.integers(1, 4)
SEEDS = st.integers(0, 2**63)
GOLDEN_SEEDS = [
    (2823818561, 3332336216),
    (869355857, 3200539531),
    (506821942, 2297944317),
    (4235891863, 251472273),
]
GOLDEN_DIGEST = "582fe91c5dc5fe07"


@property_test
@given(episodes=COUNTS, repeats=REPEATS, seed=SEEDS)
def test_every_state_of_every_task_is_planned_once_for_each_repeat(
    episodes: int, repeats: int, seed: int
) -> None:
    plan = make_plan(SUITE, episodes=episodes, repeats=repeats, seed=seed)
    assert [(e.task_id, e.init_index, e.repeat) for e in plan.episodes] == [
        (task.id, init_index, repeat)
        for task in SUITE.tasks
        for init_index in range(episodes)
        for repeat in range(repeats)
    ]
    assert len({e.key for e in plan.episodes}) == len(plan.episodes)
    for episode in plan.episodes:
        assert 0 <= episode.scene_seed < 2**32
        assert 0 <= episode.policy_seed < 2**32


@property_test
@given(few=COUNTS, many=COUNTS, repeats=REPEATS, more=REPEATS, seed=SEEDS)
def test_planning_more_changes_no_episode_that_was_planned(
    few: int, many: int, repeats: int, more: int, seed: int
) -> None:
    few, many = sorted((few, many))
    repeats, more = sorted((repeats, more))
    part = make_plan(SUITE, tasks="left", episodes=few, repeats=repeats, seed=seed)
    whole = make_plan(SUITE, episodes=many, repeats=more, seed=seed)
    assert set(part.episodes) <= set(whole.episodes)


@property_test
@given(episodes=COUNTS, seed=SEEDS)
def test_repeats_share_the_scene_and_not_the_policys_draws(episodes: int, seed: int) -> None:
    plan = make_plan(SUITE, episodes=episodes, repeats=2, seed=seed)
    for first, second in zip(plan.episodes[::2], plan.episodes[1::2], strict=True):
        assert first.scene_seed == second.scene_seed
        assert first.policy_seed != second.policy_seed


@property_test
@given(a=SEEDS, b=SEEDS)
def test_another_seed_is_another_plan(a: int, b: int) -> None:
    assume(a != b)
    one, other = (make_plan(SUITE, episodes=2, seed=seed) for seed in (a, b))
    assert one.digest != other.digest
    assert not {e.scene_seed for e in one.episodes} & {e.scene_seed for e in other.episodes}


def test_protocols_are_compared_on_the_same_scenes_and_draws() -> None:
    rules = SUITE.protocol()
    suite = replace(SUITE, protocols=(rules, replace(rules, id="longer")))
    one, other = (make_plan(suite, name, episodes=5) for name in ("standard", "longer"))
    assert one.episodes == other.episodes
    assert one.digest != other.digest


def test_a_new_version_of_a_suite_has_new_scenes() -> None:
    old, new = (make_plan(replace(SUITE, version=v), episodes=5).episodes for v in (1, 2))
    assert not {e.scene_seed for e in old} & {e.scene_seed for e in new}


@pytest.mark.parametrize(
    "ask", [{"tasks": "left,right"}, {"tasks": "point-reach/*"}, {"tasks": " right , left "}, {}]
)
def test_two_ways_to_ask_for_the_same_episodes_are_one_plan(ask: dict[str, Any]) -> None:
    assert make_plan(SUITE, episodes=20, **ask).digest == make_plan(SUITE).digest


@pytest.mark.parametrize("ask", [{"episodes": 19}, {"repeats": 2}, {"seed": 1}, {"tasks": "left"}])
def test_whatever_changes_an_episode_changes_the_digest(ask: dict[str, Any]) -> None:
    assert make_plan(SUITE, **ask).digest != make_plan(SUITE).digest


def test_the_digest_and_the_seeds_are_those_of_earlier_versions() -> None:
    plan = make_plan(SUITE, episodes=2)
    assert [(e.scene_seed, e.policy_seed) for e in plan.episodes] == GOLDEN_SEEDS
    assert plan.digest == GOLDEN_DIGEST


def _suite_with_three_states() -> Suite:
    fixed, training = (
        replace(protocol, init_states=states)
        for protocol, states in zip(SUITE.protocols, ("fixed", "sampled"), strict=True)
    )
    tasks = tuple(replace(task, num_inits=3) for task in SUITE.tasks)
    return replace(SUITE, tasks=tasks, protocols=(fixed, training))


def test_initial_states_are_never_reused() -> None:
    suite = _suite_with_three_states()
    assert len(make_plan(suite, episodes=3).episodes) == 6
    for ask in ({"episodes": 4}, {}):
        with pytest.raises(PlanError, match=r"has 3 initial states and .*use repeats"):
            make_plan(suite, **ask)


def test_sampled_states_never_run_out() -> None:
    assert len(make_plan(_suite_with_three_states(), "training", episodes=4).episodes) == 8


def test_training_shares_no_episode_with_evaluation() -> None:
    seeds = [
        {(e.task_id, e.scene_seed) for e in make_plan(SUITE, name, episodes=500).episodes}
        for name in ("standard", "training")
    ]
    assert len(seeds[0]) == len(seeds[1]) == 1000
    assert not seeds[0] & seeds[1]


def test_a_protocol_for_training_cannot_use_fixed_states() -> None:
    with pytest.raises(ValueError, match="trains on the initial states of evaluations"):
        replace(SUITE.protocol("training"), init_states="fixed")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"episodes": 0}, "episodes is 0; it must be at least 1"),
        ({"repeats": -1}, "repeats is -1; it must be at least 1"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"episodes": 10**11}, f"{2 * 10**11} episodes; at most 2000000 can be planned"),
        ({"repeats": 10**11}, r"repeats are \d+ episodes; at most 2000000 can be planned"),
        ({"tasks": "middle"}, "matches 'middle'; see: vlabench list tasks --suite point-reach"),
        ({"tasks": "left,middle"}, "matches 'middle'"),
        ({"tasks": ""}, "matches ''"),
        ({"tasks": " , "}, "matches ' , '"),
        ({"tasks": "LEFT"}, "matches 'LEFT'"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(ask: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        make_plan(SUITE, **ask)


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'standard'"):
        make_plan(SUITE, "standart")
    with pytest.raises(UnknownNameError, match="Did you mean 'standard@1'"):
        make_plan(SUITE, "standard@2")


def test_a_plan_keeps_what_was_asked_for() -> None:
    plan: Plan = make_plan(SUITE, tasks="left", repeats=2, seed=7)
    request = plan.request
    assert (request.tasks, request.episodes, request.repeats, request.seed) == ("left", 20, 2, 7)
    assert (plan.suite_id, plan.suite_version, plan.protocol) == ("point-reach", 1, "standard@1")


def test_tasks_whose_names_differ_have_files_of_other_names() -> None:
    names = [
        "s/a-b",
        "s/a/b",
        "s/a#b",
        "s/a%2Fb",
        "s/a\\b",
        "s/a b",
        "s/碗",
        "s/椀",
        "s/a-0",
        "s/a",
    ]
    specs = [
        EpisodeSpec(task_id=name, init_index=index, scene_seed=0, policy_seed=0)
        for name in names
        for index in (0, 1)
    ]
    stems = {spec.file_stem for spec in specs}
    assert len(stems) == len(specs)
    assert not any(set("/\\#") & set(stem) for stem in stems)
    assert len({demo_path(Path(), spec).parent for spec in specs}) == len(names)
    long = [EpisodeSpec(task_id=f"s/{'碗' * 200}{n}", init_index=0, scene_seed=0, policy_seed=0)
            for n in range(2)]  # fmt: skip
    assert len({spec.file_stem for spec in long}) == 2
    assert all(len(spec.file_stem.encode()) < 250 for spec in long)
    kept = EpisodeSpec(task_id="libero-goal/3", init_index=2, repeat=1, scene_seed=0, policy_seed=0)
    assert kept.file_stem == "libero-goal-3-2r1"  # as films have been called since the first
