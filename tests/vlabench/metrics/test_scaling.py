"""Laws come back from simulated success, intervals hold them, and flat is called flat."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import t as student

from vlabench import EpisodeRecord, EpisodeSpec, Outcome
from vlabench.errors import RecordError
from vlabench.metrics import points
from vlabench.metrics.curves import Curve
from vlabench.metrics.law import fit_law
from vlabench.metrics.points import PairedPoints
from vlabench.metrics.scaling import (
    Scaling,
    Trend,
    known_costs,
    pareto,
    scaling_of_curve,
    scaling_of_runs,
)
from vlabench.metrics.wording import law_sentences, scaling_sentence
from vlabench.plan import PlanRequest
from vlabench.record import Provenance, Run, RunHeader, Seconds
from vlabench.table import results_of

Rng = np.random.Generator
POWERS = np.array([1.0, 2, 4, 8, 16, 32])


def runs(success: NDArray[np.bool_], *, flops: float | None = 10.0) -> list[Run]:
    """Runs of success `[points, tasks, states]`; each point costs twice as much as the last."""
    return [
        Run(
            header=RunHeader(
                suite_id="s",
                suite_version=1,
                protocol="rules@1",
                plan_digest="plan",
                request=PlanRequest(episodes=success.shape[2]),
                policy_id="p",
                provenance=Provenance(started_at="", vlabench=""),
            ),
            episodes=tuple(
                EpisodeRecord(
                    episode=EpisodeSpec(
                        task_id=f"s/{task}", init_index=state, scene_seed=state, policy_seed=0
                    ),
                    outcome=Outcome.SUCCESS if good else Outcome.FAILURE,
                    decisions=5,
                    samples=5 * 2**point,
                    flops=None if flops is None else 5 * flops * 2**point,
                    seconds=Seconds(policy=0.005 * 2**point),
                )
                for (task, state), good in np.ndenumerate(of_point)
            ),
        )
        for point, of_point in enumerate(success)
    ]


def drawn(rng: Rng, rates: NDArray[np.float64], tasks: int = 5, states: int = 20) -> list[Run]:
    """Runs whose rates are these on average; some tasks and states are easier than others."""
    ease = rng.uniform(-0.1, 0.1, (tasks, 1)) + rng.uniform(-0.1, 0.1, (tasks, states))
    chance = np.clip(rates[:, None, None] + ease, 0, 1)
    return runs(rng.random(chance.shape) < chance)


def described(rng: Rng, rates: NDArray[np.float64], **sizes: int) -> Scaling:
    found = drawn(rng, rates, **sizes)
    return scaling_of_runs(found, list(POWERS[: len(rates)]), "samples")


@pytest.fixture
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a fifth of the time for many analyses, as `scripts/coverage` does."""
    monkeypatch.setattr(points, "_RESAMPLES", 400)


def test_points_worked_by_hand() -> None:
    # One task, four states, three points: 1, 3 and 2 of 4 succeed.
    success = np.array([[[1, 0, 0, 0]], [[0, 1, 1, 1]], [[0, 1, 1, 0]]], dtype=bool)
    found = scaling_of_runs(runs(success), [1, 2, 4], "samples")
    assert [p.success.value for p in found.points] == [0.25, 0.75, 0.5]
    assert [p.monotone for p in found.points] == [0.25, 0.625, 0.625]
    assert [p.oracle.value for p in found.points if p.oracle] == [0.25, 1.0, 1.0]
    assert [p.samples for p in found.points] == [1, 2, 4]
    assert [p.flops for p in found.points] == [10, 20, 40]
    assert [p.milliseconds for p in found.points] == pytest.approx([1, 2, 4])
    assert [bool(p.front) for p in found.points] == [True, True, False]
    # Doublings are -1, 0, 1 about their mean: the slope is (0.5 - 0.25) / 2.
    assert found.slope.value == pytest.approx(0.125)
    assert found.trend is Trend.NO_EVIDENCE
    assert found.no_law == "no evidence that success rises"


def test_the_order_of_runs_changes_nothing() -> None:
    found = drawn(np.random.default_rng(0), 0.3 + 0.1 * np.arange(4))
    one = scaling_of_runs(found, [1, 2, 4, 8], "samples")
    other = scaling_of_runs(found[::-1], [8, 4, 2, 1], "samples")
    assert one == other


def test_a_law_without_noise_comes_back() -> None:
    a, b, c = fit_law(POWERS, 0.4 * POWERS**-0.7 + 0.15)
    assert (float(a), float(b), float(c)) == pytest.approx((0.4, 0.7, 0.15), rel=0.05)
    a, b, c = fit_law(POWERS, np.stack([0.5 / POWERS, 0.2 + 0.1 * POWERS]))
    assert (float(a[0]), float(b[0]), float(c[0])) == pytest.approx((0.5, 1.0, 0.0), abs=0.02)
    assert a[1] == 0  # errors that grow have no law


@pytest.mark.usefixtures("fewer_resamples")
def test_a_law_with_noise_comes_back_and_its_intervals_hold_it() -> None:
    rng, hits, values, fits = np.random.default_rng(1), [], [], []
    for _ in range(40):
        law = described(rng, 1 - (0.4 * POWERS**-0.7 + 0.25), tasks=5, states=60).law
        assert law is not None
        fits.append(law.fits)
        for estimate, truth in ((law.a, 0.4), (law.b, 0.7), (law.c, 0.25)):
            hits.append(estimate.low <= truth <= estimate.high)
        values.append((law.a.value, law.b.value, law.c.value))
    assert np.median(values, axis=0) == pytest.approx([0.4, 0.7, 0.25], rel=0.15)
    assert np.mean(hits) >= 0.9
    assert np.mean(fits) >= 0.95


@pytest.mark.usefixtures("fewer_resamples")
def test_each_number_of_a_law_says_what_it_is_and_how_its_interval_was_found() -> None:
    rates = 1 - (0.4 * POWERS**-0.7 + 0.25)
    law = described(np.random.default_rng(1), rates, tasks=5, states=60).law
    assert law is not None
    abouts = [estimate.question for estimate in (law.a, law.b, law.c)]
    assert [about.partition(", in ")[0] for about in abouts] == [
        "error that more removes, at the smallest N", "exponent", "error that stays",
    ]  # fmt: skip
    assert {about.partition(", in ")[2] for about in abouts} == {"error = a N^-b + c"}
    assert {estimate.method for estimate in (law.a, law.b, law.c)} == {
        "bootstrap over initial states 95%"
    }
    assert {estimate.n for estimate in (law.a, law.b, law.c)} == {300}


@pytest.mark.usefixtures("fewer_resamples")
def test_the_slope_holds_the_truth_in_19_of_20_cases() -> None:
    rng = np.random.default_rng(2)
    for slope in (0.0, 0.04):
        rates = 0.4 + slope * np.log2(POWERS[:4])
        found = [described(rng, rates, tasks=4, states=10).slope for _ in range(100)]
        assert np.mean([e.low <= slope <= e.high for e in found]) >= 0.92


@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize("rate", [0.5, 0.97])
def test_flat_is_no_evidence_of_scaling_in_19_of_20_cases(rate: float) -> None:
    rng = np.random.default_rng(3)
    found = [described(rng, np.full(4, rate), tasks=4, states=10) for _ in range(100)]
    wrong = [each for each in found if each.trend is not Trend.NO_EVIDENCE]
    assert len(wrong) <= 8
    assert all(each.law is None for each in wrong if each.trend is Trend.FALLS)


def test_rises_and_falls_are_seen() -> None:
    rng = np.random.default_rng(4)
    rising = described(rng, np.array([0.3, 0.5, 0.7, 0.75]), states=40)
    falling = described(rng, np.array([0.75, 0.6, 0.4, 0.3]), states=40)
    assert (rising.trend, falling.trend) == (Trend.RISES, Trend.FALLS)
    assert falling.law is None
    fit = [point.monotone for point in falling.points]
    assert fit == sorted(fit, reverse=True)


def test_pairs_see_what_independent_episodes_do_not() -> None:
    # Ten states are always solved, ten never, and six of sixty gain.
    success = np.zeros((2, 1, 60), dtype=bool)
    success[:, 0, :30] = True
    success[1, 0, 30:38] = True
    paired = scaling_of_runs(runs(success), [1, 2], "samples")
    curve = Curve(name="c", unit="step", steps=(1, 2), success=(0.5, 38 / 60), n=(60, 60))
    assert paired.trend is Trend.RISES
    assert scaling_of_curve(curve).trend is Trend.NO_EVIDENCE


def test_nothing_that_moved_is_not_certainty() -> None:
    found = scaling_of_runs(runs(np.ones((2, 1, 10), dtype=bool)), [1, 2], "samples")
    assert found.trend is Trend.NO_EVIDENCE
    assert found.slope.low < -0.1
    assert found.slope.high > 0.1


def test_no_slope_reaches_beyond_what_rates_can_do() -> None:
    # Of two states neither moved; Student's interval would reach 12.7 times as far as the largest
    # standard error that is left: 635 points. Rates from 0 to 1 make slopes from -1 to 1 over one
    # doubling, and with places -1, 0, 1 from -1/2 to 1/2 over each of two.
    for places, most in (([1, 2], 1.0), ([1, 2, 4], 0.5)):
        slope = scaling_of_runs(
            runs(np.zeros((len(places), 1, 2), dtype=bool)), places, "samples"
        ).slope
        assert (slope.value, slope.low, slope.high) == pytest.approx((0, -most, most))


def test_four_of_forty_is_not_evidence_but_six_of_forty_is() -> None:
    # Student's test of slopes, with half a state more that moves in each direction.
    success = np.zeros((2, 1, 40), dtype=bool)
    for gained, trend in ((4, Trend.NO_EVIDENCE), (6, Trend.RISES)):
        success[1, 0, :gained] = True
        found = scaling_of_runs(runs(success), [1, 2], "samples")
        slopes = success[1, 0].astype(float)
        error = (slopes.var(ddof=1) / 40 + (1 / 40) ** 2) ** 0.5
        assert found.p_value == pytest.approx(2 * student.sf(slopes.mean() / error, 39))
        assert found.trend is trend


def test_nested_points_without_an_effect_are_rarely_evidence() -> None:
    """Of N samples half are those of N / 2, so that points are not exchangeable.

    Shuffling them called 10 to 13 % of such axes evidence.
    """
    rng, weights = np.random.default_rng(3), np.array([-1.5, -0.5, 0.5, 1.5]) / 5
    task, state = np.zeros(60, dtype=np.int64), np.arange(60)
    found = []
    for _ in range(1000):
        column = rng.random(60) < 0.7
        columns = [column]
        for _ in range(3):
            column = np.where(rng.random(60) < 0.5, column, rng.random(60) < 0.7)
            columns.append(column)
        points = PairedPoints(np.stack(columns, axis=1).astype(float), task, state)
        found.append(points.p_value(weights))
    assert 20 <= sum(p < 0.05 for p in found) <= 65


def test_the_best_of_several_episodes_counts_all_ways_to_draw_them() -> None:
    first = np.array(
        [1, 0, 0, 0, 0, 0, 0, 0.0]
    )  # one of the first state's four, none of the other's
    points = PairedPoints(
        np.stack([first, np.ones(8)], axis=1), np.zeros(8, dtype=int), np.repeat([0, 1], 4)
    )
    values = {count: points.best_of(count, 0.95) for count in (1, 2, 4, 5)}
    assert values.pop(5) is None
    assert {count: e.value for count, e in values.items() if e} == pytest.approx(
        {1: 0.125, 2: 0.25, 4: 0.5}  # 1 - 3/4, 1 - (3 of 6 pairs), 1 - 0 of the first state
    )
    best = values[2]
    assert best is not None
    assert best.low < 0.25 < best.high
    assert best.question.startswith("the best of 2 episodes, success on these tasks")


def test_the_knee_is_where_the_gain_ends() -> None:
    rates = np.array([0.2, 0.5, 0.8, 0.8, 0.8])
    found = described(np.random.default_rng(5), rates, tasks=5, states=80)
    assert found.knee is not None
    assert found.knee.x == 4
    assert found.knee.sure > 0.8


@pytest.mark.parametrize(
    "rates", [(0.2, 0.4, 0.6, 0.8), (0.2, 0.25, 0.3, 0.8), (0.3, 0.3, 0.3, 0.8)]
)
def test_what_never_flattens_has_no_knee(rates: tuple[float, ...]) -> None:
    curve = Curve(name="c", unit="step", steps=(1, 2, 4, 8), success=rates, n=(500,) * 4)
    found = scaling_of_curve(curve)
    assert found.trend is Trend.RISES
    assert found.knee is None
    assert not any("bends" in line for line in law_sentences(found))


def test_a_rate_of_more_episodes_gives_way_less_to_the_monotone_fit() -> None:
    # 24 of 30 and 5 of 10 are put together: 29 of 40, not the middle of 0.8 and 0.5.
    curve = Curve(name="c", unit="step", steps=(1, 2, 4), success=(0.4, 0.8, 0.5), n=(10, 30, 10))
    found = [point.monotone for point in scaling_of_curve(curve).points]
    assert found == pytest.approx([0.4, 0.725, 0.725])
    falling = replace(curve, success=(0.9, 0.0, 0.4), n=(100, 30, 10))
    found = [point.monotone for point in scaling_of_curve(falling).points]
    assert found == pytest.approx([0.9, 0.1, 0.1])  # 4 of 40


def test_a_shape_that_is_no_power_law_is_said_not_to_fit() -> None:
    rates = np.array([0.15, 0.15, 0.2, 0.7, 0.8])
    law = described(np.random.default_rng(6), rates, tasks=5, states=40).law
    assert law is not None
    assert not law.fits
    assert law.off > 0.1


def test_a_law_needs_four_points_above_zero() -> None:
    rng = np.random.default_rng(7)
    found = drawn(rng, np.array([0.2, 0.5, 0.7, 0.8]), states=40)
    at_zero = scaling_of_runs(found, [0, 1, 2, 4], "samples")
    assert at_zero.trend is Trend.RISES
    assert at_zero.step == "range"
    assert at_zero.law is None
    assert at_zero.no_law == "a law takes 4 points above 0, found 3"


@pytest.mark.parametrize(
    ("counts", "excluded", "found"),
    [
        ((0, 3, 3), True, False),  # the interval leaves 0 out, the test finds nothing
        ((1, 5, 4), False, True),
        ((0, 4, 5), True, True),
    ],
)
def test_success_rises_where_the_interval_and_the_test_say_so_and_not_where_one_does(
    counts: tuple[int, ...], excluded: bool, found: bool
) -> None:
    curve = Curve(
        name="c",
        unit="step",
        steps=(1.0, 2.0, 4.0),
        success=tuple(count / 5 for count in counts),
        n=(5,) * 3,
    )
    scaling = scaling_of_curve(curve)
    assert (scaling.slope.low > 0, scaling.p_value < 0.05) == (excluded, found)
    assert (scaling.trend is Trend.RISES) == (excluded and found)


def test_training_steps_are_an_axis_too() -> None:
    steps = (100.0, 200.0, 400.0, 800.0, 1600.0)
    errors = 0.6 * (np.array(steps) / 100) ** -1.0 + 0.1
    curve = Curve(name="log.csv", unit="step", steps=steps, success=tuple(1 - errors), n=(400,) * 5)
    found = scaling_of_curve(curve)
    assert (found.axis, found.paired, found.trend) == ("step", False, Trend.RISES)
    assert found.law is not None
    assert found.law.unit == 100
    assert found.law.b.low < 1 < found.law.b.high
    with pytest.raises(RecordError, match="expected a column success_n"):
        scaling_of_curve(replace(curve, n=None))


def test_the_front_holds_what_nothing_beats() -> None:
    assert pareto([1, 2, 3, 4], [0.2, 0.5, 0.4, 0.5]) == [True, True, False, False]
    assert pareto([1, 1], [0.5, 0.5]) == [True, True]


def test_costs_that_are_unknown_or_all_the_same_make_no_front() -> None:
    success = np.zeros((2, 1, 4), dtype=bool)
    unknown = scaling_of_runs(runs(success, flops=None), [1, 2], "samples").points
    assert unknown[0].flops is None
    assert known_costs(unknown, "flops") == []
    same = [replace(point, milliseconds=1 + 0.01 * k) for k, point in enumerate(unknown)]
    assert known_costs(same, "milliseconds") == []
    assert unknown[0].front == ("samples", "milliseconds")


def broken(run: Run) -> Run:
    first, *rest = run.episodes
    return replace(run, episodes=(replace(first, outcome=Outcome.ERROR, error="it broke"), *rest))


def test_an_error_is_no_failure_unasked() -> None:
    one, other = runs(np.ones((2, 2, 3), dtype=bool))
    with pytest.raises(RecordError, match="1 of 12 episodes are errors"):
        scaling_of_runs([one, broken(other)], [1, 2], "samples")
    found = scaling_of_runs([one, broken(other)], [1, 2], "samples", on_error="exclude")
    assert [p.success.n for p in found.points] == [5, 5]
    assert found.left_out == 1
    found = scaling_of_runs([one, broken(other)], [1, 2], "samples", on_error="as-failure")
    assert found.points[1].success.value == pytest.approx(5 / 6)


def test_what_is_no_axis_is_refused() -> None:
    one, other = runs(np.ones((2, 2, 3), dtype=bool))
    with pytest.raises(RecordError, match="two runs are at samples = 2"):
        scaling_of_runs([one, other], [2, 2], "samples")
    with pytest.raises(RecordError, match="1 point of samples"):
        scaling_of_runs([one], [2], "samples")
    stranger = replace(other, header=replace(other.header, policy_id="q"))
    with pytest.raises(RecordError, match="no points of one axis, unless --at says where"):
        scaling_of_runs([one, stranger], [1, 2], "samples")
    for odd in (np.nan, np.inf):
        with pytest.raises(RecordError, match="no place on an axis"):
            scaling_of_runs([one, other], [1, odd], "samples")
    planned = replace(other, header=replace(other.header, plan_digest="other"))
    with pytest.raises(RecordError, match="runs differ in their plan"):
        scaling_of_runs([one, planned], [1, 2], "samples")
    short = replace(other, episodes=other.episodes[1:])
    with pytest.raises(RecordError, match="have ended: 6 at one point, 5 at another;"):
        scaling_of_runs([one, short], [1, 2], "samples")


def test_several_policies_are_points_of_one_axis_where_that_is_said() -> None:
    one, other = runs(np.array([[[0, 0, 0, 0]], [[1, 1, 0, 0]]], dtype=bool))
    start = replace(one, header=replace(one.header, policy_id="start"))
    found = scaling_of_runs([other, start], [10, 0], "step", several_policies=True)
    assert [(p.x, p.policy, p.success.value) for p in found.points] == [
        (0, "start", 0.0), (10, "p", 0.5),
    ]  # fmt: skip
    assert scaling_sentence(found).startswith("NO EVIDENCE of scaling, over runs of start and p: ")


def test_runs_and_results_scale_alike() -> None:
    found = drawn(np.random.default_rng(7), np.array([0.3, 0.5, 0.7]))
    wanted = scaling_of_runs(found, [1, 2, 4], "samples")
    assert scaling_of_runs([results_of(run) for run in found], [1, 2, 4], "samples") == wanted
