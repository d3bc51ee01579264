"""No bare rate, and no rate in which an error became a failure unasked."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlabench import EpisodeRecord, EpisodeSpec, Outcome, success_rate

# 50 examples, and no deadline: on a busy machine any call may take long.
property_test = settings(deadline=None, max_examples=50)
EPISODE = EpisodeSpec(task_id="s/t", init_index=0, scene_seed=0, policy_seed=0)


def records(successes: int, n: int, errors: int = 0) -> list[EpisodeRecord]:
    """`n` episodes that ended, `successes` of them well, and `errors` that broke."""
    outcomes = [Outcome.SUCCESS] * successes + [Outcome.FAILURE] * (n - successes)
    ended = [EpisodeRecord(episode=EPISODE, outcome=outcome) for outcome in outcomes]
    return (
        ended + [EpisodeRecord(episode=EPISODE, outcome=Outcome.ERROR, error="it broke")] * errors
    )


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_the_published_ones(successes: int, n: int, low: float, high: float) -> None:
    estimate = success_rate(records(successes, n))
    assert estimate.value == successes / n
    assert estimate.low == pytest.approx(low, abs=5e-5)
    assert estimate.high == pytest.approx(high, abs=5e-5)


def test_an_interval_worked_by_hand() -> None:
    # One of one: (1 + z²/2 ± z·sqrt(z²/4)) / (1 + z²) is 1/(1 + z²) to 1; z² = 3.841459.
    estimate = success_rate(records(1, 1))
    assert (estimate.low, estimate.high) == (pytest.approx(1 / 4.841459), pytest.approx(1))
    # With z = 1 (confidence 68.27 %), two of four: (0.5 + 1/8 ± sqrt(1/16 + 1/64)) / 1.25.
    one_sigma = success_rate(records(2, 4), confidence=0.6826894921370859)
    assert one_sigma.low == pytest.approx((0.625 - 0.2795084971874737) / 1.25)
    assert one_sigma.high == pytest.approx((0.625 + 0.2795084971874737) / 1.25)


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
    assert (estimate.n, estimate.method) == (4, "Wilson 90%")
    assert "initial states and policy draws like these" in estimate.question


@pytest.mark.parametrize("confidence", [1.0, 1.5, -1.5])
def test_a_confidence_that_is_no_probability_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="range"):
        success_rate(records(3, 4), confidence=confidence)


def test_the_label_does_not_claim_certainty() -> None:
    assert success_rate(records(3, 4), confidence=0.999).method == "Wilson 99.9%"
