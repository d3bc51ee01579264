"""Scores of runs x tasks: worked by hand, against scipy, and their intervals keep the promise."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import trim_mean

from vlabench import EpisodeRecord, EpisodeSpec, Outcome, suite_rate
from vlabench.errors import RecordError
from vlabench.metrics.intervals import edged_wilson, normal_quantile
from vlabench.metrics.profiles import (
    TAUS,
    interquartile_mean,
    median_score,
    middle,
    profile_of_runs,
    resample,
    share_above,
)
from vlabench.plan import PlanRequest
from vlabench.record import Provenance, Run, RunHeader

ROOT = Path(__file__).parents[3]
SCRIPT: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "coverage"), run_name="script")
PAGE = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "coverage.md").read_text().splitlines()
    if line.startswith(("| IQM", "| *IQM", "| share of", "| median"))
]


def run(success: NDArray[np.bool_], digest: str, *, plan: str = "plan", broken: int = 0) -> Run:
    """One training's success `[tasks, states]`; the first `broken` episodes are errors."""
    outcomes = [Outcome.SUCCESS if good else Outcome.FAILURE for good in success.flat]
    outcomes[:broken] = [Outcome.ERROR] * broken
    return Run(
        header=RunHeader(
            suite_id="s",
            suite_version=1,
            protocol="rules@1",
            plan_digest=plan,
            request=PlanRequest(episodes=success.shape[1]),
            policy_id="p",
            policy_digest=digest,
            provenance=Provenance(started_at="", vlabench=""),
        ),
        episodes=tuple(
            EpisodeRecord(
                episode=EpisodeSpec(
                    task_id=f"s/{task}", init_index=state, scene_seed=state, policy_seed=0
                ),
                outcome=outcome,
                error="broke" if outcome is Outcome.ERROR else None,
            )
            for (task, state), outcome in zip(np.ndindex(success.shape), outcomes, strict=True)
        ),
    )


def first_of(*counts: int, states: int = 4) -> NDArray[np.bool_]:
    """Success in the first so many states of each task."""
    return np.arange(states) < np.array(counts)[:, None]


def test_the_middle_half_worked_by_hand() -> None:
    scores = np.array([1, 0.1, 0.8, 0, 0.4, 1, 0.2, 0.6])  # 0, 0.1 and 1, 1 are left off
    assert interquartile_mean(scores) == pytest.approx((0.2 + 0.4 + 0.6 + 0.8) / 4)


@pytest.mark.parametrize("states", [2, 8])
def test_two_states_of_all_tasks_join_those_of_each(states: int) -> None:
    """So that a task which always succeeded does not look certain, nor forget what it did."""
    scores = resample([np.ones((1, states)), np.zeros((1, states))])
    strange = 2 / (states + 2)
    always, never = scores.by_state.mean(axis=(0, 1))
    assert always == pytest.approx(1 - strange / 2, abs=0.02)
    assert never == pytest.approx(strange / 2, abs=0.02)
    assert (scores.states, scores.episodes) == (states, 2 * states)
    np.testing.assert_array_equal(scores.found, [[1.0, 0.0]])


@settings(deadline=None)  # the first call imports scipy
@given(st.lists(st.integers(0, 20), min_size=1, max_size=60))
def test_the_middle_half_is_what_scipy_trims_to(counts: list[int]) -> None:
    scores = np.array(counts) / 20
    assert interquartile_mean(scores) == pytest.approx(trim_mean(scores, 0.25))


def test_a_profile_worked_by_hand() -> None:
    # Scores 1, 1/2 of one training and 3/4, 0 of another.
    found = profile_of_runs([run(first_of(4, 2), "one"), run(first_of(3, 0), "two")])
    above = dict(zip(found.taus, (share.value for share in found.above), strict=True))
    assert (above[0.0], above[0.49], above[0.5], above[0.75]) == (0.75, 0.75, 0.5, 0.25)
    assert found.iqm.value == found.median.value == pytest.approx(0.625)
    assert found.mean.value == pytest.approx(0.5625)
    assert found.gap.value == pytest.approx(0.4375)
    assert (found.runs, found.tasks, found.states, found.iqm.n) == (2, 2, 4, 16)


def test_the_share_above_never_rises_with_the_threshold() -> None:
    success = np.random.default_rng(0).random((12, 10)) < 0.7
    shares = [share.value for share in profile_of_runs([run(success, "one")]).above]
    assert len(shares) == len(TAUS)
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_one_training_has_the_mean_and_interval_of_the_suite_and_says_it_is_one() -> None:
    only = run(np.random.default_rng(1).random((6, 10)) < 0.8, "one")
    found, rate = profile_of_runs([only]), suite_rate(only.episodes)
    assert (found.mean.value, found.mean.low, found.mean.high) == (rate.value, rate.low, rate.high)
    assert (found.gap.low, found.gap.high) == (1 - rate.high, 1 - rate.low)
    assert found.iqm.question.endswith("draws like these, of this one training")
    assert "runs" not in found.iqm.method


def test_trainings_say_that_they_are_the_sample_and_how_few() -> None:
    rng = np.random.default_rng(2)
    found = profile_of_runs([run(rng.random((6, 10)) < 0.8, str(k)) for k in range(3)])
    assert found.iqm.question.endswith("initial states, draws and trainings like these")
    assert found.iqm.method.endswith("runs as a whole, 2 degrees of freedom")


def test_three_equal_trainings_know_no_more_than_one() -> None:
    rng = np.random.default_rng(3)
    cells = [(rng.random((1, 10)) < rate).astype(float) for rate in np.linspace(0.2, 0.9, 8)]
    one, three = resample(cells), resample([np.repeat(cell, 3, axis=0) for cell in cells])
    for of in (middle, median_score, lambda scores: share_above(scores, 0.5)):
        first, second = of(one), of(three)
        assert (first.value, first.low) == pytest.approx((second.value, second.low), abs=0.1)
    assert (middle(one).low, middle(one).high) == pytest.approx(
        (middle(three).low, middle(three).high)
    )


def test_two_trainings_that_differ_leave_nearly_everything_open() -> None:
    apart = [np.stack([first_of(9, states=10)[0], first_of(5, states=10)[0]]) * 1.0] * 8
    found = middle(resample(apart))
    assert found.low < 0.1
    assert found.high > 0.95
    assert found.value == pytest.approx(0.7)


def test_nothing_but_success_is_not_certainty() -> None:
    scores = resample([np.ones((1, 5))] * 4)
    low, high = edged_wilson(20, 20, normal_quantile(0.95))
    assert (middle(scores).low, middle(scores).high) == (float(low), float(high))
    low, _ = edged_wilson(4, 4, normal_quantile(0.95))  # a share is worth four scores
    assert share_above(scores, 0.9).low == float(low)
    assert share_above(scores, 0.9).high == 1


def test_a_median_is_where_the_profile_may_cross_one_half() -> None:
    sure = median_score(resample([np.ones((1, 5))] * 10))
    assert (sure.value, sure.low, sure.high) == (1, 1, 1)  # of ten scores most are above 0.8
    open_ = median_score(resample([np.ones((1, 5)), np.zeros((1, 5))]))
    assert (open_.value, open_.low, open_.high) == (0.5, 0, 1)


def test_numbers_are_the_same_each_time() -> None:
    runs = [run(np.random.default_rng(k).random((5, 6)) < 0.6, str(k)) for k in range(2)]
    assert profile_of_runs(runs) == profile_of_runs(runs)


def test_runs_that_do_not_belong_together_are_refused() -> None:
    one, twin = run(first_of(4, 2), "one"), run(first_of(3, 0), "one")
    other = run(first_of(3, 0), "two", plan="another")
    with pytest.raises(RecordError, match="runs differ in their plan: plan in one, another"):
        profile_of_runs([one, other])
    with pytest.raises(RecordError, match="run 2 has the checkpoint and settings of run 1"):
        profile_of_runs([one, twin])


def test_errors_are_refused_or_leave_their_state_out_of_all_runs() -> None:
    whole, broken = run(first_of(4, 2), "one"), run(first_of(3, 0), "two", broken=1)
    with pytest.raises(RecordError, match="1 of 16 episodes are errors"):
        profile_of_runs([whole, broken])
    found = profile_of_runs([whole, broken], on_error="exclude")
    assert (found.left_out, found.iqm.n) == (1, 14)
    assert found.mean.value == pytest.approx(np.mean([1, 0.5, 2 / 3, 0]))


def test_intervals_in_use_cover_and_the_usual_bootstrap_of_runs_does_not() -> None:
    coverage = {name: [float(row[3].rstrip("%")) for row in PAGE if row[0] == name]
                for name in {row[0] for row in PAGE}}  # fmt: skip
    unused = coverage.pop("*IQM, runs resampled within each task, not used*")
    assert max(unused) < 90
    assert {name: len(cells) for name, cells in coverage.items()} == {
        "IQM": 8, "share of scores above one half": 8, "median score": 4,
    }  # fmt: skip
    assert min(cell for cells in coverage.values() for cell in cells) >= 93.5


@pytest.mark.parametrize("runs", [1, 3])
def test_simulated_cells_are_about_the_same_again(runs: int) -> None:
    for cell in SCRIPT["of_scores"](runs, 10, 0.5, evaluations=100):
        (row,) = (row for row in PAGE if row[:3] == [cell.interval, str(cell.n), cell.rate])
        assert 100 * cell.coverage == pytest.approx(float(row[3].rstrip("%")), abs=10)
        assert cell.width == pytest.approx(float(row[4]), rel=0.15)
