"""Components of variance come back from simulated success, and intervals keep their promise."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from vlabench import EpisodeRecord, EpisodeSpec, Outcome, suite_rate
from vlabench.errors import RecordError
from vlabench.metrics.curves import (
    Curve,
    curve_ratios,
    stability_of_curves,
    time_under,
    worst_fall,
)
from vlabench.metrics.pivots import Pivot, around, between, mean_square, ratio, trusted_freedom
from vlabench.metrics.stability import Component, Stability, stability_of_runs, stability_ratio
from vlabench.metrics.wording import times_text
from vlabench.plan import PlanRequest
from vlabench.record import Provenance, Run, RunHeader
from vlabench.table import results_of

Rng = np.random.Generator


def runs(success: NDArray[np.bool_], policy: str = "p") -> list[Run]:
    """Runs of success `[trainings, tasks, states, repeats]`."""
    return [
        Run(
            header=RunHeader(
                suite_id="s",
                suite_version=1,
                protocol="rules@1",
                plan_digest="plan",
                request=PlanRequest(episodes=success.shape[2], repeats=success.shape[3]),
                policy_id=policy,
                policy_digest=f"seed {training}",
                provenance=Provenance(started_at="", vlabench=""),
            ),
            episodes=tuple(
                EpisodeRecord(
                    episode=EpisodeSpec(
                        task_id=f"s/{task}",
                        init_index=state,
                        repeat=repeat,
                        scene_seed=state,
                        policy_seed=repeat,
                    ),
                    outcome=Outcome.SUCCESS if good else Outcome.FAILURE,
                )
                for (task, state, repeat), good in np.ndenumerate(of_training)
            ),
        )
        for training, of_training in enumerate(success)
    ]


def component(found: Stability, name: str) -> Component:
    return next(c for c in found.components if c.name == name)


def variance(found: Stability, name: str) -> float:
    estimate = component(found, name).variance
    assert estimate is not None
    return estimate.value


def test_components_worked_by_hand() -> None:
    # Two trainings, one task, two states, two repeats. Cell means: 1, 1/2 and 1/2, 0.
    success = np.array([[[[1, 1], [1, 0]]], [[[0, 1], [0, 0]]]], dtype=bool)
    found = stability_of_runs(runs(success))
    # Draws: variances within cells are 0, 1/2, 1/2, 0; their mean is 1/4.
    assert variance(found, "sampling") == 0.25
    # States: means 3/4 and 1/4, mean square 1/8; trainings x states: cells are additive, 0.
    assert variance(found, "state") == 0.125
    assert variance(found, "training") == 0.125
    assert variance(found, "residual") == 0  # 0 - 1/4 / 2 is below 0
    assert found.mean.value == 0.5
    # Trainings 1/8 / 2, states 1/8 / 2, draws 1/4 / 8.
    assert found.deviation.value == pytest.approx((1 / 16 + 1 / 16 + 1 / 32) ** 0.5)
    by_what = {p.what: p.deviation.value for p in found.purchases if p.deviation}
    assert by_what["trainings"] == pytest.approx((1 / 32 + 1 / 16 + 1 / 64) ** 0.5)
    assert by_what["states"] == pytest.approx((1 / 16 + 1 / 32 + 1 / 64) ** 0.5)
    assert by_what["repeats"] == pytest.approx((1 / 16 + 1 / 16 + 1 / 64) ** 0.5)


@pytest.mark.parametrize(
    ("shape", "known"),
    [
        ((1, 3, 4, 1), {"task", "residual"}),
        ((1, 3, 4, 2), {"task", "state", "sampling"}),
        ((2, 3, 4, 1), {"task", "state", "training", "training x task", "residual"}),
        ((2, 1, 4, 2), {"state", "training", "sampling", "residual"}),
    ],
)
def test_what_a_design_cannot_tell_is_unknown_with_the_reason(
    shape: tuple[int, ...], known: set[str]
) -> None:
    found = stability_of_runs(runs(np.random.default_rng(0).random(shape) < 0.5))
    assert {c.name for c in found.components if c.variance} == known
    assert all(c.unknown for c in found.components if not c.variance)
    assert [p.what for p in found.purchases if p.unknown] == [
        what for what, one in (("repeats", shape[3] == 1), ("trainings", shape[0] == 1)) if one
    ]


def test_one_training_has_the_mean_and_interval_that_show_and_compare_print() -> None:
    (run,) = runs(np.random.default_rng(1).random((1, 4, 5, 2)) < 0.8)
    found, rate = stability_of_runs([run]).mean, suite_rate(run.episodes)
    assert (found.value, found.low, found.high, found.n) == (
        rate.value, rate.low, rate.high, rate.n,
    )  # fmt: skip


def linear(rng: Rng, shape: tuple[int, ...], deviations: dict[str, float]) -> NDArray[np.bool_]:
    """Success whose chance is a sum of uniform effects about one half."""
    g, t, s, _ = shape
    sizes = {"task": (1, t, 1), "state": (1, t, s), "training": (g, 1, 1), "residual": (g, t, s)}
    chance = 0.5 + sum(
        rng.uniform(-1, 1, sizes[name]) * 3**0.5 * deviation
        for name, deviation in deviations.items()
    )
    assert isinstance(chance, np.ndarray)
    return np.asarray(rng.random(shape) < np.broadcast_to(chance, shape[:3])[..., None])


DEVIATIONS = {"task": 0.1, "state": 0.1, "training": 0.05, "residual": 0.02}


def test_components_come_back_from_simulated_success() -> None:
    rng = np.random.default_rng(2)
    deviations = {"task": 0.08, "state": 0.08, "training": 0.04, "residual": 0.08}
    truth = {name: deviation**2 for name, deviation in deviations.items()}
    truth |= {"sampling": 0.25 - sum(truth.values()), "training x task": 0.0}
    found = [stability_of_runs(runs(linear(rng, (12, 6, 20, 2), deviations))) for _ in range(40)]
    for name, value in truth.items():
        assert np.mean([variance(f, name) for f in found]) == pytest.approx(value, abs=0.0025), name


@pytest.mark.parametrize("shape", [(3, 10, 10, 2), (5, 10, 10, 1), (1, 10, 10, 3)])
def test_intervals_of_components_hold_the_truth_in_19_of_20_cases(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    squares = {name: deviation**2 for name, deviation in DEVIATIONS.items()}
    truth = {"state": squares["state"], "training": squares["training"], "training x task": 0.0,
             "sampling": 0.25 - sum(squares.values())}  # fmt: skip
    if shape[0] == 1:  # one training's own states
        truth["state"] += squares["residual"]
    hits: list[bool] = []
    for _ in range(60):
        found = stability_of_runs(runs(linear(rng, shape, DEVIATIONS)))
        estimates = {c.name: c.variance for c in found.components if c.variance}
        hits += [
            estimates[name].low <= value <= estimates[name].high
            for name, value in truth.items()
            if name in estimates
        ]
    assert np.mean(hits) >= 0.93


@pytest.mark.parametrize("rate", [0.9, 0.98])
def test_rare_failures_do_not_make_intervals_too_sure(rate: float) -> None:
    rng, hits = np.random.default_rng(4), []
    for _ in range(60):
        tasks = rng.beta(8 * rate, 8 * (1 - rate), (1, 10, 1))
        states = rng.beta(4 * tasks + 1e-3, 4 * (1 - tasks) + 1e-3, (1, 10, 20))
        found = stability_of_runs(runs(rng.random((1, 10, 20, 2)) < states[..., None]))
        spread = float((tasks * (1 - tasks)).mean())
        truth = {"task": tasks.var(ddof=1), "state": spread / 5, "sampling": spread * 4 / 5}
        for name, value in truth.items():
            estimate = component(found, name).variance
            assert estimate is not None
            hits.append(estimate.low <= value <= estimate.high)
    assert np.mean(hits) >= 0.93


def test_the_error_of_the_mean_is_not_overstated_where_seeds_are_alike() -> None:
    rng, hits, shape = np.random.default_rng(10), [], (3, 5, 20, 1)
    tasks = np.array([0.8, 0.85, 0.9, 0.95, 1.0])
    truth = float((tasks * (1 - tasks)).mean() / 300) ** 0.5
    for _ in range(60):
        found = stability_of_runs(runs(rng.random(shape) < tasks[:, None, None]))
        hits.append(found.deviation.low <= truth <= found.deviation.high)
    assert np.mean(hits) >= 0.93


def test_noise_that_differs_from_seed_to_seed_is_known_less_well() -> None:
    rng = np.random.default_rng(11)
    relative = []
    for rates in ((0.8, 0.8, 0.8), (0.5, 0.95, 0.95)):
        chance = np.array(rates)[:, None, None, None]
        sampling = component(
            stability_of_runs(runs(rng.random((3, 10, 20, 2)) < chance)), "sampling"
        )
        assert sampling.variance is not None
        relative.append((sampling.variance.high - sampling.variance.low) / sampling.variance.value)
    assert relative[1] > 2 * relative[0]


def test_noise_that_differs_from_seed_to_seed_is_held_in_most_cases() -> None:
    rng, hits = np.random.default_rng(13), []
    truth = 1 / 6  # of p (1 - p), p from one half to 1
    for _ in range(60):
        chance = rng.uniform(0.5, 1.0, (5, 1, 1, 1))
        found = stability_of_runs(runs(rng.random((5, 5, 20, 2)) < chance))
        estimate = component(found, "sampling").variance
        assert estimate is not None
        hits.append(estimate.low <= truth <= estimate.high)
    assert np.mean(hits) >= 0.8


@pytest.mark.parametrize(("shape", "most"), [((1, 10, 10, 3), 1.6), ((3, 10, 10, 2), 3.2)])
def test_intervals_of_tasks_are_not_much_wider_than_estimates_differ(
    shape: tuple[int, ...], most: float
) -> None:
    rng, values, widths = np.random.default_rng(12), [], []
    tasks = np.linspace(0.3, 0.9, 10)
    for _ in range(60):
        found = stability_of_runs(runs(rng.random(shape) < tasks[:, None, None]))
        estimate = component(found, "task").variance
        assert estimate is not None
        values.append(estimate.value)
        widths.append(estimate.high - estimate.low)
    assert np.mean(values) == pytest.approx(tasks.var(ddof=1), rel=0.1)
    assert 1 < np.mean(widths) / (2 * 1.96 * np.std(values, ddof=1)) < most


def test_where_nothing_varies_the_interval_says_what_may_have_been_missed() -> None:
    found = stability_of_runs(runs(np.ones((3, 2, 10, 2), dtype=bool)))
    training = component(found, "training").deviation
    assert training is not None
    assert (training.value, training.low) == (0, pytest.approx(0, abs=0.1))
    assert training.high > 0.2  # three trainings that succeed say little about a fourth
    sampling = component(found, "sampling").variance
    assert sampling is not None
    assert 0 < sampling.high < 0.25 * 3.7 / 60 * 1.1  # 60 cells: three in 60 at most, about


def test_the_advice_is_what_lowers_the_error_of_the_mean_most() -> None:
    rng = np.random.default_rng(5)
    seeds = linear(rng, (6, 4, 20, 2), {"training": 0.15})
    states = linear(rng, (6, 4, 5, 2), {"state": 0.25})
    assert stability_of_runs(runs(seeds)).next.what == "trainings"
    assert stability_of_runs(runs(states)).next.what == "states"


def test_three_times_the_spread_is_about_three_times_as_stable() -> None:
    rng = np.random.default_rng(6)
    steady = runs(linear(rng, (40, 4, 50, 1), {"training": 0.05}))
    shaky = runs(linear(rng, (40, 4, 50, 1), {"training": 0.15}), "other")
    times = stability_ratio(steady, shaky)
    assert times.low < 3 < times.high
    assert times.value == pytest.approx(3, rel=0.35)
    back = stability_ratio(shaky, steady)
    assert back.value == pytest.approx(1 / times.value)


def test_the_ratio_of_few_trainings_covers_the_truth_and_is_wide() -> None:
    rng, hits, widths = np.random.default_rng(7), [], []
    for _ in range(60):
        a = runs(linear(rng, (3, 2, 50, 1), {"training": 0.08}))
        b = runs(linear(rng, (3, 2, 50, 1), {"training": 0.16}))
        times = stability_ratio(a, b)
        hits.append(times.low <= 2 <= times.high)
        widths.append(times.high / max(times.low, 1e-9))
    assert np.mean(hits) >= 0.93
    assert np.median(widths) > 20


def broken(run: Run, key: str) -> Run:
    return replace(
        run,
        episodes=tuple(
            replace(e, outcome=Outcome.ERROR, error="it broke") if e.episode.key == key else e
            for e in run.episodes
        ),
    )


def test_an_error_is_no_failure_unasked() -> None:
    one, other = runs(np.ones((2, 2, 4, 1), dtype=bool))
    both = [one, broken(other, "s/1#2")]
    with pytest.raises(RecordError, match="1 of 16 episodes are errors"):
        stability_of_runs(both)
    found = stability_of_runs(both, on_error="exclude")
    assert (found.left_out, found.mean.n, found.mean.value) == (1, 14, 1.0)
    assert stability_of_runs(both, on_error="as-failure").mean.value == 15 / 16


def edited(**changes: object) -> Callable[[Run], Run]:
    return lambda run: replace(run, header=replace(run.header, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edited(policy_digest="seed 0"), "run 2 has the checkpoint and settings of run 1"),
        (edited(policy_id="q"), "runs of two policies, p and q"),
        (edited(plan_digest="other"), "runs differ in their plan: plan in one, other in another"),
        (edited(protocol="rules@2"), "runs differ in their protocol"),
        (
            lambda run: replace(run, episodes=run.episodes[1:]),
            "not the same episodes have ended: 4 in the first run, 3 in another;",
        ),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(
    change: Callable[[Run], Run], message: str
) -> None:
    one, other = runs(np.ones((2, 2, 2, 1), dtype=bool))
    with pytest.raises(RecordError, match=message):
        stability_of_runs([one, change(other)])


def test_one_state_or_one_training_is_too_little() -> None:
    with pytest.raises(RecordError, match="fewer than two initial states"):
        stability_of_runs(runs(np.ones((2, 2, 1, 3), dtype=bool)))
    one = runs(np.ones((1, 2, 2, 1), dtype=bool))
    with pytest.raises(RecordError, match="one training has no spread"):
        stability_ratio(one, one)


def test_a_mean_square_has_the_chi_square_interval_of_its_variance() -> None:
    from scipy.stats import chi2

    pivot = mean_square(0.01, 9, np.random.default_rng(0))
    low, high = pivot.interval(0.95)
    assert low == pytest.approx(0.09 / chi2.ppf(0.975, 9), rel=0.03)
    assert high == pytest.approx(0.09 / chi2.ppf(0.025, 9), rel=0.05)


def test_ten_seeds_with_a_long_tail_say_less_about_their_spread_than_ten_normal_ones() -> None:
    rng = np.random.default_rng(0)
    normal = np.array([-1.5, -1.0, -0.6, -0.4, -0.1, 0.1, 0.4, 0.6, 1.0, 1.5])
    tail = np.append(np.full(9, 0.9) + 0.001 * np.arange(9), 0.5)
    assert between(normal, rng).freedom == 9
    assert between(tail, rng).freedom < 3
    assert between(tail[-5:], rng).freedom == 4  # too few to see a tail


def test_a_mean_near_one_has_its_longer_side_towards_the_middle() -> None:
    variance = Pivot(value=0.0004, draws=np.full(20_000, 0.0004), freedom=9)
    low, high = around(0.95, variance, np.random.default_rng(0)).interval(0.95)
    assert 0.95 - low > 1.3 * (high - 0.95)
    low, high = around(0.5, variance, np.random.default_rng(0)).interval(0.95)
    assert (low, high) == pytest.approx((0.461, 0.539), abs=0.002)


def test_a_ratio_of_two_mean_squares_has_the_f_interval() -> None:
    from scipy.stats import f

    above = mean_square(0.004, 4, np.random.default_rng(0))
    below = mean_square(0.001, 6, np.random.default_rng(1))
    low, high = ratio(above, below).interval(0.95)
    assert low == pytest.approx((4 / f.ppf(0.975, 4, 6)) ** 0.5, rel=0.05)
    assert high == pytest.approx((4 / f.ppf(0.025, 4, 6)) ** 0.5, rel=0.05)


def test_a_ratio_over_nothing_is_infinite_and_of_two_nothings_is_one() -> None:
    some = Pivot(value=4.0, draws=np.array([4.0, 0.0]), freedom=2)
    none = Pivot(value=0.0, draws=np.array([1.0, 0.0]), freedom=2)
    assert ratio(some, none).value == np.inf
    assert list(ratio(some, none).draws) == [2.0, 1.0]


def test_squares_of_rare_failures_are_trusted_less_than_normal_ones() -> None:
    stratum = np.zeros(200, dtype=np.int64)
    rng = np.random.default_rng(0)
    normal = trusted_freedom(rng.standard_normal(200) ** 2, stratum, 199)
    rare = trusted_freedom((rng.random(200) < 0.02).astype(float), stratum, 199)
    assert 120 < normal <= 199
    assert rare < 20


def curve(name: str, *success: float, n: int | None = 50) -> Curve:
    return Curve(
        name=name,
        unit="step",
        steps=tuple(100.0 * k for k in range(len(success))),
        success=success,
        n=None if n is None else (n,) * len(success),
    )


def test_falls_and_times_under_the_start_worked_by_hand() -> None:
    rates = np.array([0.4, 0.2, 0.7, 0.3, 0.6])
    assert worst_fall(rates) == pytest.approx(0.4)  # from 0.7 to 0.3
    # Below 0.4 from step 100 to 200 and from 300 to 500.
    assert time_under(np.array([0.0, 100, 200, 300, 500]), rates) == 300
    (fact,) = stability_of_curves([curve("a", 0.4, 0.2, 0.8)]).curves
    assert (fact.final, fact.under) == (0.8, 100)
    assert fact.mean == pytest.approx((0.3 + 0.5) / 2)


def test_a_fall_that_luck_explains_is_told_from_one_that_it_does_not() -> None:
    steady = stability_of_curves([curve("a", 0.5, 0.52, 0.48, 0.5, 0.54)]).curves[0]
    fallen = stability_of_curves([curve("a", 0.5, 0.9, 0.3, 0.9, 0.9)]).curves[0]
    unknown = stability_of_curves([curve("a", 0.5, 0.9, 0.3, n=None)]).curves[0]
    assert steady.fall_by_luck is not None
    assert fallen.fall_by_luck is not None
    assert steady.fall < steady.fall_by_luck
    assert fallen.fall > fallen.fall_by_luck
    assert unknown.fall_by_luck is None


def trained(rng: Rng, deviation: float, count: int, n: int = 100) -> list[Curve]:
    found = []
    for name in range(count):
        rates = np.clip(np.linspace(0.1, 1, 8) * (0.6 + deviation * rng.standard_normal()), 0, 1)
        found.append(curve(str(name), *(rng.binomial(n, rates) / n), n=n))
    return found


@pytest.mark.parametrize(("count", "n"), [(3, 100), (5, 50)])
def test_intervals_over_curves_hold_the_truth_with_few_seeds(count: int, n: int) -> None:
    rng, deviations, ratios = np.random.default_rng(8), [], []
    for _ in range(60):
        one, other = trained(rng, 0.08, count, n), trained(rng, 0.16, count, n)
        spread = stability_of_curves(one).final_deviation
        assert spread is not None
        deviations.append(spread.low <= 0.08 <= spread.high)
        times = curve_ratios(one, other)["final_deviation"]
        ratios.append(times.low <= 2 <= times.high)
    assert np.mean(deviations) >= 0.92
    assert np.mean(ratios) >= 0.92


def test_noise_of_episodes_is_no_spread_of_trainings() -> None:
    rng = np.random.default_rng(9)
    found = stability_of_curves(trained(rng, 0.0, 30, n=20)).final_deviation
    assert found is not None
    assert found.low == 0
    assert found.value < 0.06  # measured rates spread by 0.11
    assert not stability_of_curves(
        [curve("a", 0.1, 0.5, n=None), curve("b", 0.1, 0.6, n=None)]
    ).noise


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ([curve("a", 0.1, 0.5), curve("b", 0.1, 0.5, 0.6)], "a ends at step 100, b at 200"),
        ([curve("a", 0.1, 0.5), replace(curve("b", 0.1, 0.5), unit="iteration")], "counts step"),
        ([curve("a", 0.1, 0.5), curve("a", 0.1, 0.5)], "a is there twice"),
    ],
)
def test_curves_that_do_not_belong_together_are_refused(curves: list[Curve], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        stability_of_curves(curves)


@pytest.mark.parametrize(
    ("steps", "success", "message"),
    [
        ((0.0,), (0.5,), "a curve needs two"),
        ((0.0, 0.0), (0.5, 0.5), "do not grow"),
        ((0.0, 1.0), (0.5, 50.0), "a success of 50; expected a share"),
        ((0.0, 1.0), (0.5, np.nan), "a success of nan; expected a share"),
        ((0.0, np.nan), (0.5, 0.5), "a step of nan; expected a finite number"),
        ((0.0, np.inf), (0.5, 0.5), "a step of inf; expected a finite number"),
    ],
)
def test_what_is_no_curve_is_refused(
    steps: tuple[float, ...], success: tuple[float, ...], message: str
) -> None:
    with pytest.raises(RecordError, match=message):
        Curve(name="a", unit="step", steps=steps, success=success)


def test_a_rate_of_no_episodes_is_no_rate() -> None:
    with pytest.raises(RecordError, match="a: a rate of 0 episodes; expected 1 or more"):
        Curve(name="a", unit="step", steps=(0.0, 1.0), success=(0.5, 0.5), n=(10, 0))


def test_times_under_the_start_are_compared_as_shares_of_the_training() -> None:
    one = [curve("a", 0.4, 0.2, 0.5, 0.6, 0.7), curve("b", 0.4, 0.5, 0.6, 0.3, 0.7)]
    other = [curve("c", 0.4, 0.2, 0.3, 0.5, 0.6), curve("d", 0.4, 0.5, 0.3, 0.2, 0.6)]
    longer = [curve(name, 0.5, *[0.4] * 4, *[0.6] * 4) for name in "ef"]
    never = [curve(name, 0.4, 0.5, 0.6, 0.6, 0.7) for name in "gh"]
    # 100 of 400 steps against 200 of 400, and against 400 of 800.
    for against in (other, longer):
        times = curve_ratios(one, against)["under"]
        assert times.value == pytest.approx(2)
        assert times.low < 2 < times.high
    assert curve_ratios(never, one)["under"].value == np.inf
    assert curve_ratios(one, never)["under"].value == 0
    assert curve_ratios(never, never)["under"].value == 1
    assert times_text(curve_ratios(never, one)["under"]).endswith(", unbounded]")


def test_curves_of_either_method_have_to_belong_together() -> None:
    alone = replace(curve("c", 0.1, 0.5), unit="hour")
    pair = [curve("a", 0.1, 0.5), curve("b", 0.1, 0.4)]
    for sides in ((pair, [*pair, alone]), ([*pair, alone], pair)):
        with pytest.raises(RecordError, match="a counts step, c hour"):
            curve_ratios(*sides)


def test_one_curve_has_no_ratio() -> None:
    with pytest.raises(RecordError, match="one curve has no spread"):
        curve_ratios([curve("a", 0.1, 0.5)], [curve("b", 0.1, 0.5)])


def test_runs_and_results_are_as_stable() -> None:
    found = runs(np.random.default_rng(5).random((3, 2, 8, 2)) < 0.5)
    again = [results_of(run) for run in found]
    assert stability_of_runs(again) == stability_of_runs(found)
    assert stability_ratio(again, found) == stability_ratio(found, found)


def test_trainings_that_end_alike_leave_an_interval() -> None:
    """Three that end at 76 %: rounding makes their variance 1e-32, which is none."""
    finals = (0.76, 0.76, 0.76)
    assert np.var(finals, ddof=1) > 0
    found = stability_of_curves(
        [
            Curve(name=str(i), unit="step", steps=(0, 1), success=(0.5 + i / 50, final), n=(50, 50))
            for i, final in enumerate(finals)
        ]
    )
    assert found.final
    assert found.final.low < 0.7 < 0.8 < found.final.high
