"""Whoever looks all the time, and stops when it is decided, errs as rarely as was promised."""

from collections.abc import Sequence
from dataclasses import replace
from math import log

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import beta

from vlabench import EpisodeRecord, EpisodeSpec, Outcome, Rules, Run, RunHeader, Verdict
from vlabench.metrics.comparison import Subject
from vlabench.metrics.designs import Looks
from vlabench.metrics.sequential import (
    Decision,
    answers,
    betting_interval,
    decide,
    log_capital,
    obstacles,
    refuse,
)
from vlabench.metrics.significance import mcnemar
from vlabench.plan import Plan, PlanRequest, interleave, make_plan
from vlabench.record import Provenance, Trace
from vlabench.registry import load_suite

VALUES = np.array([-1.0, 0.0, 1.0])
RUNS, TASKS, STATES = 2000, 10, 50
RULES = Rules(margin=0.05)


def task_rates(mean: float) -> NDArray[np.float64]:
    """Rates of ten tasks as different as LIBERO's: the setting of docs/coverage.md."""
    spread = (1 - 0.2) / 0.2  # an intraclass correlation of 0.2
    return beta.ppf((np.arange(TASKS) + 0.5) / TASKS, mean * spread, (1 - mean) * spread)


def simulate(
    a: NDArray[np.float64], b: NDArray[np.float64], *, common: float = 0.7, runs: int = RUNS
) -> NDArray[np.int64]:
    """Draw runs of whole plans: how often b lost, tied and gained by each look, `[runs, looks, 3]`.

    In `common` of the pairs both sides have the same luck.
    """
    rng = np.random.default_rng(0)
    luck = rng.random((2, runs, STATES, TASKS))
    luck[1] = np.where(rng.random(luck[0].shape) < common, luck[0], luck[1])
    change = (luck[1] < b).astype(int) - (luck[0] < a)
    return np.stack([(change == value).sum(axis=2) for value in VALUES], axis=-1).cumsum(axis=1)


def stopped(counts: NDArray[np.int64], rules: Rules = RULES) -> tuple[dict[Verdict, float], float]:
    """Stop each run when it is decided; return how often with which verdict, and the mean pairs."""
    better, worse, same = answers(counts, VALUES, rules)
    decided = better | worse | same
    looks = np.where(decided.any(axis=1), decided.argmax(axis=1), STATES - 1)
    runs = np.arange(len(counts))
    shares = {
        Verdict.BETTER: better[runs, looks].mean(),
        Verdict.WORSE: worse[runs, looks].mean(),
        Verdict.EQUIVALENT: (same & ~better & ~worse)[runs, looks].mean(),
        Verdict.UNDERPOWERED: 1 - decided.any(axis=1).mean(),
    }
    return shares, float(looks.mean() + 1) * TASKS


HALF, NINE = task_rates(0.5), task_rates(0.9)
NULLS = {
    "equal rates": (HALF, HALF, 0.7),
    "equal rates, nothing in common": (HALF, HALF, 0.0),
    "rare failures": (NINE, NINE, 0.7),
    "better in some tasks, worse in others": (HALF, HALF[::-1], 0.7),
    "always better in half of the tasks": (np.arange(10) % 2, np.arange(1, 11) % 2, 0.0),
}


@pytest.mark.parametrize("name", NULLS)
def test_stopping_at_any_time_finds_no_difference_where_there_is_none_in_95_percent(
    name: str,
) -> None:
    a, b, common = NULLS[name]
    shares, _ = stopped(simulate(a, b, common=common))
    assert shares[Verdict.BETTER] + shares[Verdict.WORSE] <= 0.05


def test_a_test_for_a_fixed_number_of_pairs_does_not_keep_that_promise() -> None:
    # The same runs, stopped as soon as exact McNemar is below 5 %: what the rest is for.
    p_values = {}
    fooled = 0
    for run in simulate(HALF, HALF, runs=200)[..., [0, 2]]:
        for look in map(tuple, run):
            if look not in p_values:
                p_values[look] = mcnemar(*look)
        fooled += any(p_values[tuple(look)] < 0.05 for look in run)
    assert fooled / 200 > 0.1


@pytest.mark.parametrize("gain", [-0.2, 0.0, 0.05, 0.2])
def test_the_interval_holds_the_truth_at_every_look_in_95_percent(gain: float) -> None:
    a, b = task_rates(0.5), task_rates(0.5 + gain)
    counts, truth = simulate(a, b), float((b - a).mean())
    above, below = log_capital(counts, VALUES, truth), log_capital(counts, -VALUES, -truth)
    missed = (np.maximum(above, below) >= log(40)).any(axis=1)
    assert missed.mean() <= 0.05


@pytest.mark.parametrize("falls", [True, False])
def test_a_difference_of_the_margin_is_called_equivalent_in_at_most_5_percent(
    falls: bool,
) -> None:
    fallen = NINE * (1 - 0.05 / NINE.mean())
    a, b = (NINE, fallen) if falls else (fallen, NINE)
    shares, _ = stopped(simulate(a, b, common=1.0))
    assert shares[Verdict.EQUIVALENT] <= 0.05


def test_a_difference_of_15_points_is_found_with_a_part_of_the_plan() -> None:
    shares, pairs = stopped(simulate(task_rates(0.5), task_rates(0.65)))
    assert shares[Verdict.BETTER] > 0.99
    assert pairs < 0.25 * TASKS * STATES
    shares, pairs = stopped(simulate(task_rates(0.5), task_rates(0.65), common=0.0))
    assert shares[Verdict.BETTER] > 0.95
    assert pairs < 0.4 * TASKS * STATES


def test_policies_that_rarely_differ_are_equivalent_before_the_plan_ends() -> None:
    shares, pairs = stopped(simulate(NINE, NINE))
    assert shares[Verdict.EQUIVALENT] > 0.9
    assert pairs < 0.7 * TASKS * STATES


def test_capital_is_that_of_even_bets_on_every_share() -> None:
    # Eight gains: the mean over shares of (1 + share) ** 8 is (2 ** 9 - 1) / 9.
    assert np.exp(log_capital(np.array([0, 0, 8]), VALUES, 0.0)) == pytest.approx(511 / 9, rel=1e-3)
    # One loss and one gain: of 1 - share ** 2, that is 2 / 3.
    assert np.exp(log_capital(np.array([1, 0, 1]), VALUES, 0.0)) == pytest.approx(2 / 3, rel=1e-3)
    # Against a mean of 0.25, a tie leaves 1 / 1.25 of what is bet: of 1 - share / 5, 0.9.
    assert np.exp(log_capital(np.array([0, 1, 0]), VALUES, 0.25)) == pytest.approx(0.9, rel=1e-3)


def test_eight_gains_and_no_loss_are_better_and_seven_are_not() -> None:
    # 255 / 8 = 31.9 is less than the 40 that are needed, 511 / 9 = 56.8 is more.
    assert betting_interval(np.array([0, 3, 7]), VALUES)[0] < 0
    assert not answers(np.array([0, 0, 7]), VALUES, RULES)[0]
    assert answers(np.array([0, 0, 8]), VALUES, RULES)[0]
    assert answers(np.array([8, 0, 0]), VALUES, RULES)[1]


def test_the_interval_begins_as_everything_and_is_symmetric() -> None:
    low, high = betting_interval(np.array([[0, 0, 0], [3, 40, 12], [12, 40, 3]]), VALUES)
    assert (low[0], high[0]) == pytest.approx((-1, 1))
    assert (low[1], high[1]) == pytest.approx((-high[2], -low[2]))
    assert low[1] < 9 / 55 < high[1]
    # Whoever is at an end is as rich as is needed to leave it out, and no richer.
    assert log_capital(np.array([3, 40, 12]), VALUES, low[1]) == pytest.approx(log(40))


def plan_of(episodes: int, repeats: int = 1, seed: int = 0) -> Plan:
    return make_plan(load_suite("point-reach"), episodes=episodes, repeats=repeats, seed=seed)


def test_any_number_of_first_blocks_is_balanced_and_nothing_is_lost() -> None:
    plan = plan_of(6, repeats=2)
    blocks = interleave(plan)
    assert sorted(e.key for block in blocks for e in block) == sorted(e.key for e in plan.episodes)
    for block in blocks:
        assert [e.task_id for e in block] == ["point-reach/left"] * 2 + ["point-reach/right"] * 2
        assert [e.repeat for e in block] == [0, 1, 0, 1]
        assert block[0].init_index == block[1].init_index
    assert interleave(plan) == blocks


def test_the_order_of_states_is_drawn_by_the_seed_for_each_task() -> None:
    def orders(seed: int) -> list[list[int]]:
        blocks = interleave(plan_of(20, seed=seed))
        return [[block[task].init_index for block in blocks] for task in (0, 1)]

    left, right = orders(0)
    assert left != right
    assert left != sorted(left)
    assert orders(1)[0] != left


HEADER = RunHeader(
    suite_id="point-reach",
    suite_version=1,
    protocol="standard@1",
    plan_digest=plan_of(100).digest,
    request=PlanRequest(episodes=100),
    policy_id="a",
    provenance=Provenance(started_at="now", vlabench="0"),
)
PLAN = plan_of(100)
BLOCKS = interleave(PLAN)
LETTERS = {"0": Outcome.FAILURE, "1": Outcome.SUCCESS, "E": Outcome.ERROR}


def records(letters: str, blocks: Sequence[Sequence] = BLOCKS) -> list[EpisodeRecord]:
    """Records of first episodes, one letter each, in the order of the blocks."""
    episodes = [episode for block in blocks for episode in block]
    return [
        EpisodeRecord(
            episode=episode,
            outcome=LETTERS[letter],
            error="it broke" if letter == "E" else None,
        )
        for episode, letter in zip(episodes, letters, strict=False)
    ]


def reference(letters: str, blocks: Sequence[Sequence] = BLOCKS) -> Run:
    return Run(header=HEADER, episodes=tuple(records(letters, blocks)))


FAILS = reference("0" * 200)


def decided(b: Sequence[EpisodeRecord], a: Run = FAILS, **rules: str | float) -> Decision:
    return decide(a, b, BLOCKS, names=("A", "B"), rules=Rules(**{"margin": 0.05, **rules}))  # type: ignore[arg-type]


def test_the_numbers_of_a_decision_are_those_of_the_blocks_that_count() -> None:
    found = decided(records("11" * 4 + "1"))
    assert found.verdict is Verdict.BETTER
    assert found.settled
    assert (found.looks, found.size, found.most) == (4, 2, 200)
    assert (found.recorded, found.surplus) == (9, 1)
    assert found.seen
    assert found.seen.difference.n == found.seen.pairs.only_b == 8
    assert found.seen.difference.value == found.seen.rate_b.value == 1
    assert found.seen.rate_a.value == 0
    low, _ = betting_interval(np.array([0, 0, 8]), VALUES)
    assert found.seen.difference.low == low


def test_what_comes_after_the_decision_changes_nothing() -> None:
    early, late = decided(records("11" * 4)), decided(records("11" * 4 + "00" * 90))
    assert replace(late, recorded=8, surplus=0) == early
    assert late.surplus == 180


def test_a_block_counts_when_all_of_it_has_ended() -> None:
    found = decided(records("1" * 7))
    assert found.verdict is Verdict.UNDERPOWERED
    assert not found.settled
    assert (found.looks, found.surplus) == (3, 1)
    assert decided(records("1")).seen is None


def test_successes_that_end_early_decide_nothing_before_their_turn() -> None:
    # B is as good as A. All its successes have ended, its failures, which last longer, have not.
    rng = np.random.default_rng(0)
    both = ["".join(rng.choice(["0", "1"], 200)) for _ in "ab"]
    a, b = reference(both[0]), records(both[1])
    quick = [record for record in b if record.outcome is Outcome.SUCCESS]
    slow = [record for record in b if record.outcome is Outcome.FAILURE]
    naive = [decide(a, quick, [[r.episode] for r in quick], names=("A", "B"), rules=RULES)]
    assert naive[0].verdict is Verdict.BETTER  # what counting in the order of arrival would say
    for known in range(0, len(slow) + 1, 10):
        assert decided([*quick, *slow[:known]], a).verdict is Verdict.UNDERPOWERED


@pytest.mark.parametrize("seed", range(5))
def test_the_decision_does_not_depend_on_the_order_in_which_episodes_end(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = reference("".join(rng.choice(["0", "1"], 200, p=[0.5, 0.5])))
    b = records("".join(rng.choice(["0", "1"], 200, p=[0.15, 0.85])))
    whole = decided(b, a)
    assert whole.verdict is Verdict.BETTER
    arrived: list[EpisodeRecord] = []
    for index in rng.permutation(len(b)):
        arrived.append(b[index])
        if (found := decided(arrived, a)).settled:
            break
    assert replace(found, recorded=0, surplus=0) == replace(whole, recorded=0, surplus=0)


def test_equal_runs_are_equivalent_and_the_margin_says_when() -> None:
    found = decided(records("0" * 200), margin=0.05)
    assert found.verdict is Verdict.EQUIVALENT
    assert found.seen
    assert found.seen.difference.n == 106  # 105 ties are enough, and a block is two pairs
    narrow = decided(records("0" * 200), margin=0.01)
    assert narrow.verdict is Verdict.UNDERPOWERED
    assert narrow.settled
    assert "reaches beyond 1 points" in narrow.reasons[0]


def test_better_by_surely_less_than_the_margin_says_both() -> None:
    # One look at 400 tasks, 40 of which gain.
    block = [
        EpisodeSpec(task_id=f"s/{task}", init_index=0, scene_seed=task, policy_seed=task)
        for task in range(400)
    ]
    a, b = reference("0" * 400, [block]), records("1" * 40 + "0" * 360, [block])
    found = decide(a, b, [block], names=("A", "B"), rules=Rules(margin=0.2))
    assert found.verdict is Verdict.BETTER
    assert found.reasons[1] == "the whole interval is within 20 points of 0: real, and small"


def test_an_error_stops_the_decision_when_its_turn_comes_unless_somebody_says_what_it_is() -> None:
    letters = "11" * 3 + "1E" + "11" * 4
    found = decided(records(letters))
    assert found.verdict is Verdict.NOT_COMPARABLE
    assert found.settled
    assert found.reasons[0].startswith("B has an error in point-reach/right#")
    assert "--on-error exclude or as-failure" in found.reasons[0]
    assert found.seen
    assert found.seen.difference.n == 6
    assert not decided(records(letters[:7])).settled  # the error's block is not whole
    assert decided(records("11" * 4 + "1E")).verdict is Verdict.BETTER  # it was decided before


def test_an_error_left_out_is_replaced_by_the_next_state_of_its_task() -> None:
    found = decided(records("11" * 3 + "1E" + "11"), on_error="exclude")
    assert found.verdict is Verdict.BETTER
    assert found.seen
    assert found.seen.difference.n == 8
    assert (found.looks, found.surplus) == (4, 0)
    # Ten pairs: nine gains and one that broke.
    assert found.seen.bounds == pytest.approx((0.9, 1.0))


def test_an_error_as_failure_is_one() -> None:
    found = decided(records("11" * 3 + "1E" + "11"), on_error="as-failure")
    failed = decided(records("11" * 3 + "10" + "11"))
    assert found == failed


def test_an_error_of_the_reference_is_one_too() -> None:
    a = reference("00" * 3 + "0E" + "00" * 96)
    assert decided(records("11" * 5), a).verdict is Verdict.NOT_COMPARABLE
    excluded = decided(records("11" * 5), a, on_error="exclude")
    assert excluded.seen
    assert excluded.seen.difference.n == 8
    assert excluded.seen.bounds == pytest.approx((0.9, 1.0))


def test_repeats_of_an_initial_state_count_as_one() -> None:
    # Eight pairs, but four states; four gains make (2 ** 5 - 1) / 5 = 6.2, far from 40.
    blocks = interleave(plan_of(100, repeats=2))
    a = reference("0" * 400, blocks)
    for states, verdict in ((4, Verdict.UNDERPOWERED), (8, Verdict.BETTER)):
        b = records("11" * states, blocks)
        found = decide(a, b, blocks, names=("A", "B"), rules=RULES)
        assert found.verdict is verdict
        assert found.seen
        assert found.seen.difference.n == 2 * states


PLANNED = Looks(count=5)


def planned(b: Sequence[EpisodeRecord], a: Run = FAILS, **options: bool) -> Decision:
    return decide(a, b, BLOCKS, names=("A", "B"), rules=RULES, looks=PLANNED, **options)


def test_planned_looks_come_after_blocks_nearest_to_equal_parts() -> None:
    assert Looks(count=5).at(100) == (20, 40, 60, 80, 100)
    assert Looks(count=4).at(10) == (3, 5, 8, 10)
    assert Looks(count=3).at(3) == (1, 2, 3)
    for count in (1, 4):
        with pytest.raises(ValueError, match="looks at 3 blocks"):
            Looks(count=count).at(3)


def test_nothing_is_decided_between_planned_looks() -> None:
    assert planned(records("1" * 39)).seen is None
    assert planned(records("1" * 39)).reasons == ("the first look comes after 40 pairs",)
    found = planned(records("1" * 41))
    assert found.verdict is Verdict.BETTER
    assert found.settled
    assert (found.looks, found.planned_looks) == (1, (40, 80, 120, 160, 200))
    assert (found.design, found.surplus) == ("obrien-fleming", 1)
    assert found.seen
    assert found.seen.difference.n == 40
    assert "at 4.877 standard deviations" in found.seen.difference.method


def test_between_looks_the_numbers_are_those_of_the_last_one() -> None:
    letters = "10" * 10 + "00" * 10
    found = planned(records(letters + "1" * 30))
    assert (found.verdict, found.settled, found.looks) == (Verdict.UNDERPOWERED, False, 1)
    assert replace(found, recorded=40, surplus=0) == planned(records(letters))


@pytest.mark.parametrize("seed", range(3))
def test_planned_looks_do_not_depend_on_the_order_in_which_episodes_end(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = reference("".join(rng.choice(["0", "1"], 200, p=[0.5, 0.5])))
    b = records("".join(rng.choice(["0", "1"], 200, p=[0.25, 0.75])))
    whole = planned(b, a)
    assert whole.verdict is Verdict.BETTER
    arrived: list[EpisodeRecord] = []
    for index in rng.permutation(len(b)):
        arrived.append(b[index])
        if (found := planned(arrived, a)).settled:
            break
    assert replace(found, recorded=0, surplus=0) == replace(whole, recorded=0, surplus=0)


def test_a_planned_look_needs_interval_and_sign_test_to_agree() -> None:
    # Of 40 states 22 gained: to the sign test enough, p = 2.4e-7 is below 5.4e-7, but not to the
    # interval, sqrt(22) = 4.69 is below 4.877.
    for gained, verdict in ((26, Verdict.BETTER), (22, Verdict.UNDERPOWERED)):
        assert planned(records("1" * gained + "0" * (40 - gained))).verdict is verdict
    found = planned(records("0" * 26 + "1" * 14), reference("1" * 200))
    assert found.verdict is Verdict.WORSE
    # 6 of 100: to the interval enough, sqrt(6) = 2.45 is above 2.157, but p = 1/64 is above 0.0155.
    b, twice = records("1" * 6 + "0" * 94), Looks(count=2, spending="pocock")
    found = decide(FAILS, b, BLOCKS, names=("A", "B"), rules=RULES, looks=twice)
    assert found.reasons == (
        "the interval leaves out 0, but the sign test does not reject at this look's level",
    )


def test_equal_runs_are_equivalent_at_a_planned_look() -> None:
    found = planned(records("0" * 200))
    assert found.verdict is Verdict.EQUIVALENT
    assert found.seen
    assert found.seen.difference.n in found.planned_looks[:-1]


def test_the_last_planned_look_is_at_all_that_is_left_where_episodes_broke() -> None:
    letters = "10" * 6 + "00" * 89 + "E0" * 5
    rules = replace(RULES, on_error="exclude", margin=0.01)

    def last(count: int) -> Decision:
        b = records(letters)[:count]
        return decide(FAILS, b, BLOCKS, names=("A", "B"), rules=rules, looks=PLANNED)

    assert (last(198).settled, last(198).looks) == (False, 4)
    found = last(200)
    assert (found.verdict, found.settled, found.looks) == (Verdict.BETTER, True, 5)
    assert found.seen
    assert found.seen.difference.n == 190


@pytest.mark.parametrize("looks", [None, PLANNED])
def test_five_looks_and_looks_at_any_time_err_in_5_percent_whatever_tasks_do(
    looks: Looks | None,
) -> None:
    # Ten tasks, better in some and worse in others by as much; 200 runs that find nothing else.
    plan = [
        EpisodeSpec(task_id=f"s/{task}", init_index=state, scene_seed=task, policy_seed=state)
        for state in range(20)
        for task in range(TASKS)
    ]
    blocks = [plan[start : start + TASKS] for start in range(0, len(plan), TASKS)]
    rates, rng = np.tile([HALF, HALF[::-1]], (20, 1, 1)), np.random.default_rng(0)
    wrong = 0
    for _ in range(200):
        a, b = (
            "".join("01"[int(x)] for x in (rng.random((20, TASKS)) < rates[:, side]).ravel())
            for side in (0, 1)
        )
        found = decide(
            reference(a, blocks), records(b, blocks), blocks,
            names=("A", "B"), rules=RULES, looks=looks,
        )  # fmt: skip
        wrong += found.verdict in (Verdict.BETTER, Verdict.WORSE)
    assert wrong / 200 <= 0.05


@pytest.mark.parametrize("looks", [None, PLANNED])
def test_the_difference_is_corrected_once_the_run_has_ended(looks: Looks | None) -> None:
    def asked(letters: str) -> Decision:
        return decide(
            FAILS, records(letters), BLOCKS,
            names=("A", "B"), rules=RULES, looks=looks, correct=True,
        )  # fmt: skip

    early = asked("1" * 40)
    assert early.seen
    assert early.seen.corrected
    assert early.seen.corrected.n == early.seen.difference.n
    assert early.seen.corrected.low > 0
    going_on = asked("10" * 5 + "00" * 20)
    assert going_on.seen
    assert not going_on.settled
    assert going_on.seen.corrected is None
    ended = asked("1" * 7 + "0" * 193)
    assert ended.seen
    assert ended.seen.corrected
    assert ended.seen.corrected.low < 0.035 < ended.seen.corrected.high


def test_a_plan_with_one_look_has_nothing_to_correct() -> None:
    found = decide(FAILS, records("11"), BLOCKS[:1], names=("A", "B"), rules=RULES, correct=True)
    assert found.settled
    assert found.seen
    assert found.seen.corrected is None


def traced(found: Sequence[EpisodeRecord], digest: str) -> list[EpisodeRecord]:
    trace = Trace(digest=digest, states="", actions="")
    return [replace(record, trace=trace) for record in found]


@pytest.mark.parametrize("looks", [None, PLANNED])
def test_an_episode_that_went_one_way_and_came_out_in_two_ends_the_decision(
    looks: Looks | None,
) -> None:
    a = reference("0" * 200)
    a = replace(a, episodes=tuple(traced(a.episodes, "f" * 32)))
    same, other = (
        traced(records("0" * 200), "f" * 32), traced(records("1" * 200), "e" * 32)
    )  # fmt: skip

    def asked(b: Sequence[EpisodeRecord]) -> Decision:
        return decide(a, b, BLOCKS, names=("A", "B"), rules=RULES, looks=looks)

    assert asked(same[:4]).verdict is Verdict.UNDERPOWERED
    false = replace(same[3], outcome=Outcome.SUCCESS)
    found = asked([*same[:3], false])
    assert (found.verdict, found.settled) == (Verdict.NOT_COMPARABLE, True)
    assert found.reasons[0].startswith(
        f"{false.episode.key} went the same way, to the last bit, in A and in B, and came out as"
    )
    assert not asked([*same[:2], false]).settled  # its block is not whole
    late = [*other[:40], replace(same[41], outcome=Outcome.SUCCESS), *other[41:]]
    assert asked(late).verdict is Verdict.BETTER  # it was decided before


def test_a_refusal_says_what_it_is_about() -> None:
    trained = replace(HEADER, policy_digest="d")
    found = obstacles(FAILS, trained, PLAN.episodes, names=("A", "B"), rules=RULES)
    assert found.subject is Subject.CHECKPOINTS
    assert refuse(found).subject is Subject.CHECKPOINTS


def refusal(a: Run, header: RunHeader = HEADER, **rules: str) -> tuple[str, ...]:
    found = obstacles(a, header, PLAN.episodes, names=("A", "B"), rules=Rules(**rules))  # type: ignore[arg-type]
    return found.reasons if found.verdict is Verdict.NOT_COMPARABLE else ()


def test_a_whole_run_of_the_same_plan_is_a_reference() -> None:
    assert refusal(FAILS) == ()


def test_what_compare_refuses_is_refused_before_it_runs() -> None:
    assert refusal(FAILS, replace(HEADER, suite_id="libero"))[0].startswith("suites differ")
    assert refusal(FAILS, replace(HEADER, protocol="x@1"))[0].startswith("protocols differ")
    assert refusal(FAILS, replace(HEADER, plan_digest="x"))[0].startswith("plans differ")


def test_another_plan_is_named_by_the_options_that_made_it() -> None:
    other = replace(HEADER, plan_digest="x", request=PlanRequest(tasks="left", episodes=160))
    assert refusal(FAILS, other) == (
        "plans differ: A has --tasks '*' --episodes 100, B would have --tasks left --episodes 160; "
        "a decision takes the same episodes, so say --tasks '*' --episodes 100",
    )


def test_a_refusal_says_nothing_of_episodes_of_a_run_that_never_began() -> None:
    other = replace(HEADER, plan_digest="x", request=PlanRequest(episodes=160))
    for a, header in ((FAILS, other), (reference("0" * 80), HEADER), (reference(""), HEADER)):
        found = obstacles(a, header, PLAN.episodes, names=("A", "B"), rules=RULES)
        said = "; ".join((*found.reasons, *found.notes))
        assert "B is not finished" not in said
        assert "B has no episodes" not in said
        assert "--unpaired" not in said
    assert found.reasons[0].startswith("A has 0 of the plan's 200 episodes")


def test_a_run_that_was_stopped_is_no_reference() -> None:
    assert refusal(reference("0" * 80)) == (
        "A has 80 of the plan's 200 episodes; the same `vlabench run` again finishes it",
    )


def test_errors_of_a_reference_need_a_word() -> None:
    broken = reference("0E" * 100)
    assert refusal(broken)[0].startswith("A has 100 errors among 200 episodes")
    assert refusal(broken, on_error="exclude") == ()
    assert refusal(broken, on_error="as-failure") == ()
