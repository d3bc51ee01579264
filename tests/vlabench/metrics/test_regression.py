"""The gate errs as rarely as it promises, in both directions, for all runs together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from vlabench import EpisodeRecord, EpisodeSpec, Outcome, Rules, Run, RunHeader
from vlabench.metrics.regression import (
    Judgement,
    Status,
    judge_runs,
    judge_tasks,
    same_trajectories,
)
from vlabench.plan import PlanRequest
from vlabench.record import Provenance, Trace
from vlabench.table import results_of

HEADER = RunHeader(
    suite_id="s",
    suite_version=1,
    protocol="p@1",
    plan_digest="plan",
    request=PlanRequest(episodes=50),
    policy_id="a",
    provenance=Provenance(started_at="now", vlabench="0"),
)
TASKS, STATES = 2, 50
OUTCOMES = (Outcome.FAILURE, Outcome.SUCCESS)
EPISODES = [
    [
        EpisodeRecord(
            episode=EpisodeSpec(
                task_id=f"s/{i // STATES}", init_index=i % STATES, scene_seed=i, policy_seed=i
            ),
            outcome=outcome,
        )
        for outcome in OUTCOMES
    ]
    for i in range(TASKS * STATES)
]


def run(success: NDArray[np.bool_]) -> Run:
    """A run of as many episodes as there are outcomes, `STATES` a task."""
    chosen = (EPISODES[i][int(good)] for i, good in enumerate(success))
    return Run(header=HEADER, episodes=tuple(chosen))


def outcomes(letters: str) -> Run:
    return run(np.array([letter == "1" for letter in letters]))


def judge(*pairs: tuple[Run, Run], margin: float = 0.03, **rules: str) -> list[Judgement]:
    chosen = Rules(margin=margin, **rules)  # type: ignore[arg-type]
    return judge_runs(pairs, names=[("then", "now")] * len(pairs), rules=chosen)


Table = tuple[tuple[int, int], ...]
"""Episodes lost and gained in each task; nothing else about outcomes decides."""


@cache
def status_of(*tables: Table, margin: float) -> Status:
    """The worst status of runs with these tables."""
    worst = (Status.REGRESSION, Status.UNDERPOWERED, Status.PASS)
    judged = judge(*(pair_with(table) for table in tables), margin=margin)
    return min((one.status for one in judged), key=worst.index)


def pair_with(table: Table) -> tuple[Run, Run]:
    then = "".join("1" * lost + "0" * (STATES - lost) for lost, _ in table)
    now = "".join(
        "0" * lost + "1" * gained + "0" * (STATES - lost - gained) for lost, gained in table
    )
    return outcomes(then), outcomes(now)


def simulate(
    rng: np.random.Generator, then: Sequence[float], now: Sequence[float], *, common: float = 0.7
) -> Table:
    """Draw two runs with these rates in the tasks; `common` of the episodes share their luck."""
    luck = rng.random((2, TASKS, STATES))
    luck[1] = np.where(rng.random((TASKS, STATES)) < common, luck[0], luck[1])
    a, b = luck < np.array([then, now])[:, :, None]
    counts = zip((a & ~b).sum(axis=1), (b & ~a).sum(axis=1), strict=True)
    return tuple(sorted((int(lost), int(gained)) for lost, gained in counts))


def statuses(
    times: int, then: Sequence[float], now: Sequence[float], *, runs: int = 1, margin: float = 0.1
) -> Counter[Status]:
    """How often each status is the worst of `runs` runs."""
    rng = np.random.default_rng(0)
    return Counter(
        status_of(*sorted(simulate(rng, then, now) for _ in range(runs)), margin=margin)
        for _ in range(times)
    )


def test_no_change_is_called_a_regression_in_at_most_5_percent_of_2000_gates() -> None:
    rates = (0.95, 0.7)
    assert statuses(2000, rates, rates)[Status.REGRESSION] <= 100


def test_the_promise_holds_for_several_runs_together() -> None:
    rates = (0.98, 0.9)
    assert statuses(200, rates, rates, runs=3)[Status.REGRESSION] <= 10


def test_a_fall_by_the_margin_passes_in_at_most_5_percent() -> None:
    assert statuses(500, (0.95, 0.8), (0.85, 0.7), margin=0.1)[Status.PASS] <= 25


def test_a_real_fall_is_found_and_a_harmless_change_passes() -> None:
    then = (0.95, 0.9)
    fallen = statuses(300, then, (0.75, 0.65))
    assert fallen[Status.REGRESSION] >= 240
    assert fallen[Status.PASS] == 0
    assert statuses(300, then, then)[Status.PASS] >= 240


def test_one_task_that_collapses_is_a_regression_though_the_mean_is_within_the_margin() -> None:
    # 12 of 50 lost in one of two tasks: 12 points in the mean, 0.5 ** 12 = 0.0002 in that task.
    then, now = "1" * 100, "1" * 50 + "0" * 12 + "1" * 38
    (found,) = judge((outcomes(then), outcomes(now)), margin=0.22)
    assert found.status is Status.REGRESSION
    assert [task.name for task in found.worse] == ["s/1"]
    (reason,) = found.reasons
    assert reason.startswith("task s/1 alone is worse: -24.0 points [")


def test_worse_by_surely_less_than_the_margin_is_no_regression() -> None:
    then, now = "1" * 100, "1" * 45 + "0" * 10 + "1" * 45
    (narrow,) = judge((outcomes(then), outcomes(now)), margin=0.02)
    assert narrow.status is Status.REGRESSION
    (wide,) = judge((outcomes(then), outcomes(now)), margin=0.4)
    assert wide.status is Status.PASS
    assert wide.reasons[1] == "worse, but surely by less than that"


def test_a_fall_among_many_runs_needs_more_than_one_alone() -> None:
    # 6 of 6 discordant pairs: one-sided p = 1/64 = 0.0156, below 0.01875, not below a fourth of it.
    spread = "1" * 47 + "000" + "1" * 47 + "000"
    fallen = (outcomes("1" * 100), outcomes(spread))
    unchanged = (outcomes("1" * 100), outcomes("1" * 100))
    (alone,) = judge(fallen)
    assert alone.p_value == pytest.approx(1 / 64)
    assert alone.status is Status.REGRESSION
    among = judge(fallen, *[unchanged] * 3)[0]
    assert among.p_value == pytest.approx(4 / 64)
    assert among.status is Status.UNDERPOWERED


def many(tasks: int, states: int, failed: dict[int, int]) -> Run:
    """A run that succeeds but in the first so many states of some tasks."""
    episodes = tuple(
        EpisodeRecord(
            episode=EpisodeSpec(
                task_id=f"s/{task}", init_index=state, scene_seed=state, policy_seed=state
            ),
            outcome=Outcome.FAILURE if state < failed.get(task, 0) else Outcome.SUCCESS,
        )
        for task in range(tasks)
        for state in range(states)
    )
    return Run(header=HEADER, episodes=episodes)


@pytest.mark.parametrize(
    ("tasks", "states", "margin"), [(50, 10, 0.03), (40, 5, 0.05), (4, 5, 0.1), (1, 5, 0.1)]
)
def test_one_task_that_fails_wholly_is_a_regression_on_every_plan(
    tasks: int, states: int, margin: float
) -> None:
    pair = (many(tasks, states, {}), many(tasks, states, {tasks - 1: states}))
    (found,) = judge(pair, margin=margin)
    assert found.status is Status.REGRESSION
    assert [task.name for task in found.worse] == [f"s/{tasks - 1}"]


def test_tasks_that_changed_beside_it_make_it_harder_only_where_they_could_tell() -> None:
    """Five states lost in one task: another with four changes costs nothing, one with five does."""
    beside = {0: 5, 1: 4}
    (found,) = judge((many(40, 5, {2: 1}), many(40, 5, beside | {2: 1})), margin=0.05)
    assert [task.name for task in found.worse] == ["s/0"]
    (found,) = judge((many(40, 5, {3: 5}), many(40, 5, {0: 5})), margin=0.05)
    assert found.worse == ()


def test_what_the_interval_shows_is_never_called_not_shown() -> None:
    """Four of four states lost in a task of four: the interval is far below 0, p is 1 / 16."""
    (found,) = judge((many(4, 4, {}), many(4, 4, {0: 4})), margin=0.1)
    assert found.comparison.evidence
    assert found.comparison.evidence.difference.high < -0.1
    assert found.status is Status.UNDERPOWERED
    (reason,) = found.reasons
    assert "none is shown" not in reason
    assert "the interval shows one of at least 1" in reason
    assert "which the exact test does not confirm (one-sided p = 0.062)" in reason


def test_a_single_task_is_one_hypothesis() -> None:
    """Five of five lost: 1 in 32 is enough where the task is the run, not a second time."""
    (found,) = judge((many(1, 6, {}), many(1, 6, {0: 5})), margin=0.1)
    assert found.status is Status.REGRESSION
    assert found.reasons[0].startswith("the interval is below 0")


def test_trajectories_that_are_equal_and_came_out_otherwise_are_not_comparable() -> None:
    trace = Trace(digest="0" * 32, states="0" * 8, actions="0" * 8)
    runs = [
        replace(one, episodes=tuple(replace(r, trace=trace) for r in one.episodes))
        for one in (many(4, 5, {}), many(4, 5, {0: 5}))
    ]
    (found,) = judge((runs[0], runs[1]), margin=0.1)
    assert found.status is Status.NOT_COMPARABLE
    assert "s/0#0 went the same way, to the last bit" in found.reasons[0]


def test_each_task_has_a_verdict_and_says_what_it_could_have_shown() -> None:
    pair = (many(3, 10, {2: 5}), many(3, 10, {0: 8, 2: 5}))
    (found,) = judge(pair, margin=0.3)
    worst, *others = judge_tasks(found, Rules(margin=0.3))
    assert (worst.effect.name, worst.status) == ("s/0", Status.REGRESSION)
    assert worst.p_value == pytest.approx(2**-8)
    assert {one.status for one in others} == {Status.PASS}  # 0 of 10: -27.8 points at worst
    assert worst.level == pytest.approx(1 / 32)
    # Five losses reject at 1 / 32: 10 states lose so many with 80 % at a fall of 7 of 10, not of 6.
    assert binom.sf(4, 10, 0.6) > 0.8 > binom.sf(4, 10, 0.5)
    assert [one.detectable for one in (worst, *others)] == [0.6] * 3
    least = next(n for n in range(4, 99) if binom.sf(4, n, 0.3) >= 0.8)
    assert [one.needed for one in (worst, *others)] == [least] * 3
    (alike,) = judge((many(3, 200, {}), many(3, 200, {})), margin=0.3)
    assert {one.status for one in judge_tasks(alike, Rules(margin=0.3))} == {Status.PASS}
    (short,) = judge((many(3, 4, {}), many(3, 4, {})), margin=0.3)
    assert [one.detectable for one in judge_tasks(short, Rules(margin=0.3))] == [None] * 3


def test_too_few_episodes_say_how_many_would_do() -> None:
    (found,) = judge((outcomes("1100"), outcomes("1010")))
    assert found.status is Status.UNDERPOWERED
    assert found.reasons == ("a fall of 3 points is not excluded, and none is shown",)
    assert found.comparison.needed
    assert found.comparison.needed.episodes > 1000


def test_the_same_trajectories_pass_at_once_however_few() -> None:
    trace = Trace(digest="0" * 32, states="0" * 8, actions="0" * 8)
    short = outcomes("1100")
    traced = replace(short, episodes=tuple(replace(r, trace=trace) for r in short.episodes))
    (found,) = judge((traced, traced))
    assert found.status is Status.PASS
    assert found.reasons == ("every episode went the same way, to the last bit",)
    other = replace(traced.episodes[0], trace=replace(trace, digest="1" * 32))
    (found,) = judge((traced, replace(traced, episodes=(other, *traced.episodes[1:]))))
    assert found.status is Status.UNDERPOWERED


def test_errors_left_out_do_not_hide_a_fall() -> None:
    then = outcomes("1" * 100)
    broken = [replace(r, outcome=Outcome.ERROR, error="it broke") for r in then.episodes[:15]]
    now = replace(then, episodes=(*broken, *then.episodes[15:]))
    (refused,) = judge((then, now), margin=0.1)
    assert refused.status is Status.NOT_COMPARABLE
    assert "has 15 errors" in refused.reasons[0]
    (left_out,) = judge((then, now), margin=0.1, on_error="exclude")
    assert left_out.status is Status.UNDERPOWERED
    assert left_out.reasons[0].endswith("speak against the candidate, it would be -15.0 points")
    (failures,) = judge((then, now), margin=0.1, on_error="as-failure")
    assert failures.status is Status.REGRESSION


def test_other_plans_are_judged_without_pairs() -> None:
    then = outcomes("1" * 90 + "0" * 10)
    fallen = outcomes("1" * 50 + "0" * 50)
    other = replace(fallen, header=replace(HEADER, plan_digest="another"))
    assert judge((then, other))[0].status is Status.NOT_COMPARABLE
    (found,) = judge_runs(
        [(then, other)], names=[("then", "now")], rules=Rules(margin=0.1, unpaired=True)
    )
    assert found.status is Status.REGRESSION
    assert [task.name for task in found.worse] == ["s/1"]


def test_another_suite_is_not_comparable() -> None:
    other = replace(outcomes("1100"), header=replace(HEADER, suite_id="t"))
    (found,) = judge((outcomes("1100"), other))
    assert found.status is Status.NOT_COMPARABLE
    assert found.reasons[0].startswith("suites differ")
    assert found.p_value is None


def test_only_hashes_that_are_there_are_equal() -> None:
    one = outcomes("1100")
    traced = [
        replace(r, trace=Trace(digest=digest * 32, states="0" * 8, actions="0" * 8))
        for r, digest in zip(one.episodes, "abcd", strict=True)
    ]
    other = [traced[0], replace(traced[1], trace=None), *traced[:1:-1]]
    then, now = (replace(one, episodes=tuple(episodes)) for episodes in (traced, other))
    assert same_trajectories(then, then) == 4
    assert same_trajectories(then, results_of(now)) == 3
    assert same_trajectories(one, one) == 0
    assert same_trajectories(then, replace(then, episodes=then.episodes[:3])) == 0
