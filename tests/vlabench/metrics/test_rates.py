"""No bare rate, and no rate in which an error became a failure unasked."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlabench import EpisodeRecord, EpisodeSpec, Outcome, success_rate, suite_rate
from vlabench.metrics import mean_of, rate_bounds
from vlabench.metrics.rates import (
    Tasks,
    bounds_of,
    mean_of_table,
    progress_of,
    rate_of,
    success_of,
)
from vlabench.metrics.variance import over_these_tasks
from vlabench.table import tabulate

# 50 examples, and no deadline: on a busy machine any call may take long.
property_test = settings(deadline=None, max_examples=50)
EPISODE = EpisodeSpec(task_id="s/t", init_index=0, scene_seed=0, policy_seed=0)


def records(successes: int, n: int, errors: int = 0) -> list[EpisodeRecord]:
    """`n` episodes that ended, `successes` of them well, and `errors` that broke.

    Each has an initial state of its own.
    """
    outcomes = [Outcome.SUCCESS] * successes + [Outcome.FAILURE] * (n - successes)
    return [
        EpisodeRecord(
            episode=replace(EPISODE, init_index=place),
            outcome=outcome,
            error="it broke" if outcome is Outcome.ERROR else None,
        )
        for place, outcome in enumerate(outcomes + [Outcome.ERROR] * errors)
    ]


def test_a_mean_does_not_depend_on_the_order_of_episodes() -> None:
    rng = np.random.default_rng(4)
    task = np.repeat([0, 2, 5], [7, 3, 9])
    state = np.concatenate([np.sort(rng.integers(0, 4, count)) for count in (7, 3, 9)])
    success = rng.integers(0, 2, 19).astype(float)
    order = rng.permutation(19)
    in_order, shuffled = (
        over_these_tasks(success[rows], task[rows], state[rows]) for rows in (np.arange(19), order)
    )
    assert in_order.units == shuffled.units == len(set(zip(task, state, strict=True)))
    for name in ("value", "variance", "episodes"):
        assert getattr(shuffled, name) == pytest.approx(getattr(in_order, name), rel=1e-12)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
    ],
)
def test_intervals_are_the_published_ones(successes: int, n: int, low: float, high: float) -> None:
    estimate = success_rate(records(successes, n))
    assert estimate.value == successes / n
    assert estimate.low == pytest.approx(low, abs=5e-5)
    assert estimate.high == pytest.approx(high, abs=5e-5)


def test_an_interval_worked_by_hand() -> None:
    # Ten of ten: (1 + z²/20 ± z·sqrt(z²/400)) / (1 + z²/10) is 1/(1 + z²/10) to 1; z² = 3.841459.
    estimate = success_rate(records(10, 10))
    assert (estimate.low, estimate.high) == (pytest.approx(1 / 1.3841459), pytest.approx(1))
    # With z = 1 (confidence 68.27 %), two of four: (0.5 + 1/8 ± sqrt(1/16 + 1/64)) / 1.25.
    one_sigma = success_rate(records(2, 4), confidence=0.6826894921370859)
    assert one_sigma.low == pytest.approx((0.625 - 0.2795084971874737) / 1.25)
    assert one_sigma.high == pytest.approx((0.625 + 0.2795084971874737) / 1.25)


def test_near_the_edge_the_outer_end_is_that_of_a_poisson_count() -> None:
    # Chi-square tables: 0.05 quantile with 2 degrees of freedom 0.10259; halved, over n = 29.
    estimate = success_rate(records(1, 29))
    assert estimate.low == pytest.approx(0.10259 / 2 / 29, abs=1e-6)
    assert estimate.high == pytest.approx(0.1718, abs=5e-5)  # Newcombe's, as before


COUNTS = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@property_test
@given(COUNTS)
def test_the_interval_is_a_part_of_0_to_1_and_about_the_rate(count: tuple[int, int]) -> None:
    estimate = success_rate(records(*count))
    assert 0 <= estimate.low < estimate.high <= 1
    assert estimate.low - 1e-12 <= estimate.value <= estimate.high + 1e-12


def test_the_rate_is_in_its_interval_to_the_last_bit() -> None:
    for n in range(1, 100):
        for successes in (0, n):
            estimate = success_rate(records(successes, n))
            assert estimate.low <= estimate.value <= estimate.high


@property_test
@given(COUNTS)
def test_success_and_failure_are_mirror_images(count: tuple[int, int]) -> None:
    successes, n = count
    one, other = success_rate(records(successes, n)), success_rate(records(n - successes, n))
    assert one.low == pytest.approx(1 - other.high)
    assert one.high == pytest.approx(1 - other.low)


@property_test
@given(COUNTS)
def test_more_episodes_or_less_confidence_make_it_narrower(count: tuple[int, int]) -> None:
    successes, n = count
    wide, more = success_rate(records(successes, n)), success_rate(records(4 * successes, 4 * n))
    less = success_rate(records(successes, n), confidence=0.8)
    assert more.high - more.low < wide.high - wide.low
    assert less.high - less.low < wide.high - wide.low


@property_test
@given(COUNTS, st.integers(0, 5), st.integers())
def test_the_order_of_episodes_changes_nothing(
    count: tuple[int, int], errors: int, seed: int
) -> None:
    ordered = records(*count, errors)
    shuffled = Random(seed).sample(ordered, len(ordered))
    for on_error in ("exclude", "as-failure"):
        assert success_rate(shuffled, on_error=on_error) == success_rate(ordered, on_error=on_error)


@property_test
@given(COUNTS, st.integers(1, 5))
def test_an_error_is_not_a_failure_unless_asked(count: tuple[int, int], errors: int) -> None:
    successes, n = count
    broken = records(successes, n, errors)
    with pytest.raises(ValueError, match=f"{errors} of {n + errors} episodes ended in an error"):
        success_rate(broken)
    assert success_rate(broken, on_error="exclude") == success_rate(records(successes, n))
    assert success_rate(broken, on_error="as-failure") == success_rate(
        records(successes, n + errors)
    )


def test_nothing_is_not_zero() -> None:
    with pytest.raises(ValueError, match="no episodes to count"):
        success_rate([])
    with pytest.raises(ValueError, match="no episodes to count"):
        success_rate(records(0, 0, errors=3), on_error="exclude")
    assert success_rate(records(0, 0, errors=3), on_error="as-failure").value == 0


def test_an_estimate_says_what_it_is() -> None:
    estimate = success_rate(records(3, 4), confidence=0.9)
    assert (estimate.n, estimate.method) == (4, "stratified Wilson 90%")
    assert "initial states and policy draws like these" in estimate.question


@pytest.mark.parametrize("confidence", [1.0, 1.5, -1.5])
def test_a_confidence_that_is_no_probability_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="range"):
        success_rate(records(3, 4), confidence=confidence)


def test_the_label_does_not_claim_certainty() -> None:
    assert success_rate(records(3, 4), confidence=0.999).method == "stratified Wilson 99.9%"


def repeated(states: str, repeats: int) -> list[EpisodeRecord]:
    """Episodes of one task: `10` twice is two states, each met twice, of which one succeeds."""
    return [
        replace(one, episode=replace(one.episode, repeat=repeat))
        for one in (record(place, letter) for place, letter in enumerate(states))
        for repeat in range(repeats)
    ]


def record(place: int, letter: str) -> EpisodeRecord:
    outcome = Outcome.SUCCESS if letter == "1" else Outcome.FAILURE
    return EpisodeRecord(episode=replace(EPISODE, init_index=place), outcome=outcome)


def test_repeats_of_one_state_say_nothing_of_others() -> None:
    estimate = success_rate(repeated("1", 50))
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (1, 0, 1, 50)


def test_few_states_that_were_met_often_are_few() -> None:
    """Two states of which one always succeeds: hardly anything is known of such states."""
    estimate = success_rate(repeated("10", 25))
    assert estimate.low < 0.06
    assert estimate.high > 0.94
    many = success_rate(repeated("10" * 20, 25))
    once = success_rate(records(20, 40))
    assert many.high - many.low == pytest.approx(once.high - once.low, rel=0.06)


def test_a_task_with_far_fewer_states_keeps_an_interval_of_its_own() -> None:
    """Nine tasks of 50, all solved, and one of which a single state was seen, and solved.

    By hand: the tenth alone may be solved as rarely as in 5 % of cases, a tenth of the mean.
    """
    table = suite(*["1" * 50] * 9, "1")
    estimate = suite_rate(table)
    nine = 1 - suite_rate(suite(*["1" * 50] * 9)).low
    assert estimate.low == pytest.approx(1 - ((0.9 * nine) ** 2 + (0.1 * 0.95) ** 2) ** 0.5)
    even = suite_rate(suite(*["1" * 50] * 10))
    assert even.low > 0.99 > 0.91 > estimate.low


def suite(*tasks: str, repeats: int = 1, steps: bool = False) -> list[EpisodeRecord]:
    """A suite from strings, one a task: `1101` is three successes of four, `x` an error."""
    outcome = {"1": Outcome.SUCCESS, "0": Outcome.FAILURE, "x": Outcome.ERROR}
    return [
        EpisodeRecord(
            episode=EpisodeSpec(
                task_id=f"s/{task}",
                init_index=index // repeats,
                repeat=index % repeats,
                scene_seed=index // repeats,
                policy_seed=index,
            ),
            outcome=outcome[letter],
            steps=(7 * index + 3 * task) % 11 if steps else 0,
            error="it broke" if letter == "x" else None,
        )
        for task, episodes in enumerate(tasks)
        for index, letter in enumerate(episodes)
    ]


SUITES = st.lists(st.text("01", min_size=3, max_size=12), min_size=2, max_size=5)
BOTH: list[Tasks] = ["these", "new"]


def test_a_suite_of_one_task_has_the_interval_of_that_task() -> None:
    for episodes in ("1", "0000", "1101", "1" * 30 + "0" * 20):
        alone, whole = success_rate(suite(episodes)), suite_rate(suite(episodes))
        assert whole.value == pytest.approx(alone.value, abs=1e-12)
        assert (whole.low, whole.high) == pytest.approx((alone.low, alone.high), abs=1e-9)


def test_tasks_weigh_alike_however_many_episodes_they_have() -> None:
    assert suite_rate(suite("1" * 90, "0" * 10)).value == 0.5


def test_differences_between_these_tasks_do_not_count() -> None:
    alike = suite_rate(suite("10" * 10, "10" * 10))
    apart = suite_rate(suite("1" * 20, "0" * 20))
    assert alike.value == apart.value == 0.5
    assert apart.high - apart.low < 0.5 * (alike.high - alike.low)
    pooled = success_rate(suite("10" * 10, "10" * 10))
    assert alike.high - alike.low == pytest.approx(pooled.high - pooled.low, rel=0.05)


def test_about_new_tasks_the_same_tasks_say_less_and_more_episodes_no_more() -> None:
    few, many = (suite("1" * n, "1" * n, "0" * n, "1" * n) for n in (10, 1000))
    widths = []
    for records_ in (few, many):
        these, new = (suite_rate(records_, tasks=tasks) for tasks in BOTH)
        assert new.high - new.low > 2 * (these.high - these.low)
        assert these.question != new.question
        widths.append(new.high - new.low)
    assert widths[0] == pytest.approx(widths[1], rel=0.05)
    with pytest.raises(ValueError, match="one task says nothing about new tasks"):
        suite_rate(suite("1101"), tasks="new")


def test_repeats_of_one_initial_state_are_no_new_states() -> None:
    states = "1011010010"
    once = suite_rate(suite(states, states))
    same = "".join(4 * letter for letter in states)  # every repeat comes out like the first
    repeated = suite_rate(suite(same, same, repeats=4))
    assert repeated.high - repeated.low == pytest.approx(once.high - once.low, rel=0.05)
    independent = suite_rate(suite(same, same))
    assert independent.high - independent.low < 0.6 * (once.high - once.low)


@property_test
@given(SUITES, st.sampled_from(BOTH), st.integers())
def test_suite_intervals_hold_the_rate_and_ignore_the_order(
    tasks: list[str], about: Tasks, seed: int
) -> None:
    ordered = suite(*tasks)
    estimate = suite_rate(ordered, tasks=about)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.low < estimate.high
    shuffled = Random(seed).sample(ordered, len(ordered))
    assert suite_rate(shuffled, tasks=about) == estimate


@property_test
@given(SUITES, st.sampled_from(BOTH))
def test_suite_intervals_mirror_success_and_failure(tasks: list[str], about: Tasks) -> None:
    one = suite_rate(suite(*tasks), tasks=about)
    flipped = [task.translate(str.maketrans("01", "10")) for task in tasks]
    other = suite_rate(suite(*flipped), tasks=about)
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-6)


@property_test
@given(SUITES)
def test_more_of_these_tasks_make_it_narrower(tasks: list[str]) -> None:
    one, four = suite_rate(suite(*tasks)), suite_rate(suite(*(4 * task for task in tasks)))
    assert four.high - four.low < one.high - one.low


def test_suite_rates_count_no_error_unasked() -> None:
    broken = suite("11x", "10x")
    with pytest.raises(ValueError, match="2 of 6 episodes ended in an error"):
        suite_rate(broken)
    assert suite_rate(broken, on_error="exclude") == suite_rate(suite("11", "10"))
    assert suite_rate(broken, on_error="as-failure").value == 0.5
    assert rate_bounds(broken) == (0.5, pytest.approx(5 / 6))


def test_the_mean_of_one_task_has_students_interval() -> None:
    from scipy import stats

    records_ = suite("1" * 9, steps=True)
    estimate = mean_of(records_, "steps")
    sample = [record.steps for record in records_]
    expected = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    assert estimate.value == pytest.approx(sum(sample) / 9, abs=1e-9)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected), abs=1e-9)


def test_means_need_two_states_and_no_errors() -> None:
    with pytest.raises(ValueError, match="one initial state says nothing about how steps vary"):
        mean_of(suite("1"), "steps")
    with pytest.raises(ValueError, match="1 of 3 episodes ended in an error"):
        mean_of(suite("11x"), "seconds")
    assert mean_of(suite("11x"), "seconds", on_error="exclude").n == 2


@given(tasks=st.lists(st.text("01x", min_size=2, max_size=12), min_size=2, max_size=5))
@property_test
def test_a_table_says_what_its_records_say(tasks: list[str]) -> None:
    records_ = [*suite(*tasks), *suite("10")]
    table = tabulate(records_)
    assert success_of(table, on_error="exclude") == success_rate(records_, on_error="exclude")
    assert success_of(table, on_error="as-failure") == success_rate(records_, on_error="as-failure")
    assert bounds_of(table) == rate_bounds(records_)
    for about in BOTH:
        found = rate_of(table, tasks=about, on_error="as-failure")
        assert found == suite_rate(records_, tasks=about, on_error="as-failure")


def test_what_is_unknown_has_no_mean() -> None:
    table = tabulate(suite("1101"), unknown=["seconds"])
    with pytest.raises(ValueError, match="seconds of these episodes are unknown"):
        mean_of_table(table, "seconds")
    assert mean_of_table(table, "steps") == mean_of(suite("1101"), "steps")


def graded(*tasks: list[float]) -> list[EpisodeRecord]:
    """A suite from shares of the goal, a list a task: 1 is a success."""
    plain = suite(*("".join("1" if share == 1 else "0" for share in shares) for shares in tasks))
    shares = [share for task in tasks for share in task]
    return [replace(r, progress=share) for r, share in zip(plain, shares, strict=True)]


SHARES = st.lists(
    st.lists(st.sampled_from([0.0, 0.25, 1 / 3, 0.9, 1.0]), min_size=2, max_size=9),
    min_size=1,
    max_size=4,
)


def test_progress_is_the_mean_over_tasks_of_the_share_that_was_reached() -> None:
    found = progress_of(tabulate(graded([0.5, 1.0, 0.0, 0.5], [0.25, 0.75])))
    assert (found.value, found.n) == (0.5, 6)
    assert found.low < 0.5 < found.high
    assert found.question.startswith("share of the goal reached on these tasks")


def test_an_interval_of_progress_worked_by_hand() -> None:
    # Four halves do not vary and are worth their number; their sum is two. With z = 1, two of four:
    # (0.5 + 1/8 ± sqrt(1/16 + 1/64)) / 1.25.
    found = progress_of(tabulate(graded([0.5] * 4)), confidence=0.6826894921370859)
    assert found.low == pytest.approx((0.625 - 0.2795084971874737) / 1.25)
    assert found.high == pytest.approx((0.625 + 0.2795084971874737) / 1.25)


@property_test
@given(SHARES)
def test_progress_is_at_least_success_and_in_its_interval(tasks: list[list[float]]) -> None:
    table = tabulate(graded(*tasks))
    found = progress_of(table)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.value >= rate_of(table).value - 1e-12


@property_test
@given(SUITES)
def test_where_goals_are_one_condition_progress_is_success(tasks: list[str]) -> None:
    table = tabulate(graded(*([float(letter) for letter in task] for task in tasks)))
    found, rate = progress_of(table), rate_of(table)
    assert replace(found, question=rate.question) == rate


def test_progress_that_is_unknown_has_no_mean() -> None:
    first, *rest = graded([0.5, 1.0, 0.0])
    with pytest.raises(ValueError, match="progress of 1 of 3 episodes is unknown"):
        progress_of(tabulate([replace(first, progress=None), *rest]))
    broken = [*rest, replace(first, outcome=Outcome.ERROR, error="it broke", progress=None)]
    with pytest.raises(ValueError, match="1 of 3 episodes ended in an error"):
        progress_of(tabulate(broken))
    assert progress_of(tabulate(broken), on_error="exclude").n == 2
