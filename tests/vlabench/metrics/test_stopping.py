"""What a rule for stopping does to a result is counted exactly, and put right."""

from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from vlabench.metrics.comparison import Rules, Verdict
from vlabench.metrics.designs import (
    Design,
    Looks,
    always_valid,
    fixed,
    group_sequential,
    marks,
)
from vlabench.metrics.power import independent_discordance, paired_power
from vlabench.metrics.stopping import (
    BETTER,
    GO_ON,
    SAME,
    WORSE,
    Course,
    End,
    Step,
    Stopped,
    corrected,
    course,
    ends,
    profile,
)

CHANGES = np.array([-1.0, 0.0, 1.0])
RULES = Rules(margin=0.05)
SHORT = Design(name="pocock", looks=(4, 6, 8), quantiles=(1.5, 1.5, 1.5))


def five(pairs: int, spending: str = "obrien-fleming") -> Design:
    return group_sequential(Looks(count=5, spending=spending), pairs, 0.95)  # type: ignore[arg-type]


def enumerated(
    run: Stopped, values: NDArray[np.float64], tasks: int, truth: float
) -> Iterator[tuple[float, float]]:
    """Every path of a run, one after the other: its chance, and the estimate where it stops."""
    chances, unit = profile(run.shares, values, truth), len(values) // 2
    sizes = [look * tasks for look in SHORT.looks]
    for path in product(range(len(values)), repeat=sizes[-1]):
        for look, size in enumerate(sizes):
            total = sum(path[:size]) - unit * size
            better, worse, low, high = (bound[look] for bound in run.bounds)
            if total >= better or total <= worse or low <= total <= high:
                break
        yield float(np.prod(chances[list(path)])), total / (unit * size)


@pytest.mark.parametrize(
    ("counts", "values", "verdict"),
    [
        ([0, 1, 3], CHANGES, Verdict.BETTER),
        ([2, 3, 1], CHANGES, Verdict.UNDERPOWERED),
        ([1, 1, 6], CHANGES, Verdict.BETTER),
    ],
)
def test_the_corrected_estimate_is_that_of_all_paths_one_by_one(
    counts: list[int], values: NDArray[np.float64], verdict: Verdict
) -> None:
    seen = np.array(counts)
    found = corrected(SHORT, seen, values, tasks=1, rules=RULES, verdict=verdict)
    run = Stopped(SHORT, seen, values, tasks=1, rules=RULES)
    run.end_with(verdict)
    estimate = float(seen @ values) / seen.sum()
    for truth, ties, level in zip(found, (0.5, 1.0, 0.0), (0.5, 0.025, 0.975), strict=True):
        ways = list(enumerated(run, values, 1, truth))
        assert sum(chance for chance, _ in ways) == pytest.approx(1)
        above = sum(chance for chance, end in ways if end > estimate + 1e-9)
        tied = sum(chance for chance, end in ways if abs(end - estimate) < 1e-9)
        assert above + ties * tied == pytest.approx(level, abs=1e-3)


def test_blocks_of_several_tasks_and_repeats_are_counted_alike() -> None:
    # Two tasks with two repeats each: values by halves, four states at the only two looks.
    design = Design(name="pocock", looks=(1, 2), quantiles=(1.0, 1.0))
    values = np.arange(-2, 3) / 2
    run = Stopped(design, np.array([0, 1, 1, 1, 1]), values, tasks=2, rules=RULES)
    chances = profile(run.shares, values, 0.2)
    expected = 0.0
    for path in product(range(5), repeat=4):
        for look, size in enumerate((2, 4)):
            total = sum(path[:size]) - 2 * size
            if run.judge(look, np.zeros(1, dtype=int), np.array([total]))[0, 0] != GO_ON:
                break
        expected += np.prod(chances[list(path)]) * (total / size > run.sum / run.states)
    assert run.above(0.2, ties=0.0) == pytest.approx(expected)


def real_judge(design: Design, rules: Rules, look: int, gained: NDArray, lost: NDArray) -> NDArray:
    """The rule itself, of counts, with no bound in between."""
    n = design.looks[look]
    apart = gained[:, None] + lost
    counts = np.stack(
        np.broadcast_arrays(lost[None], np.maximum(0, n - apart), gained[:, None]), axis=-1
    )
    said = marks(design, look, counts, CHANGES, rules=rules)
    codes = np.where(said.not_below() & said.not_above(), SAME, GO_ON)
    return np.where(said.better(), BETTER, np.where(said.worse(), WORSE, codes))


def all_ends(design: Design, gained: float, lost: float, rules: Rules = RULES) -> list[End]:
    """Every end of the rule itself, pair by pair."""
    pair = np.array([[1 - gained - lost, lost], [gained, 0.0]])
    steps = []
    for size in np.diff(design.looks, prepend=0):
        chances = np.ones((1, 1))
        for _ in range(size):
            grown = np.zeros((len(chances) + 1, len(chances) + 1))
            for row, column in np.argwhere(pair):
                grown[row : row + len(chances), column : column + len(chances)] += (
                    pair[row, column] * chances
                )
            chances = grown
        steps.append(Step(chances=chances))
    return list(ends(steps, lambda look, g, w: real_judge(design, rules, look, g, w)))


@pytest.mark.parametrize(
    "design",
    [always_valid(60), five(60), five(60, "pocock"), fixed(60, 0.95)],
    ids=lambda d: d.name,
)
def test_the_course_of_a_design_is_that_of_the_rule_itself(design: Design) -> None:
    rules = Rules(margin=0.2)
    found = course(design, 0.2, 0.05, rules=rules)
    every = all_ends(design, 0.2, 0.05, rules)
    for code, chance in ((BETTER, found.better), (WORSE, found.worse), (SAME, found.same)):
        expected = sum(float(end.chances[end.codes == code].sum()) for end in every)
        assert chance == pytest.approx(expected, abs=1e-9)
    pairs = sum(
        float(end.chances[end.codes != GO_ON].sum()) * design.looks[end.look] for end in every
    )
    assert found.pairs == pytest.approx(pairs, rel=1e-9)


@pytest.mark.parametrize("truth", [0.0, 0.3])
@pytest.mark.parametrize("name", ["always-valid", "obrien-fleming", "pocock"])
def test_over_all_ends_of_the_rule_the_estimate_is_as_often_too_high_as_too_low(
    name: str, truth: float
) -> None:
    # The rule looks at gained and lost pairs, the correction at their difference alone; ends that
    # come in less than one of 250 runs are left out.
    design = {"always-valid": always_valid(15), "obrien-fleming": five(15)}.get(
        name, five(15, "pocock")
    )
    high = low = covered = known = 0.0
    for end in all_ends(design, 0.2 + truth / 2, 0.2 - truth / 2):
        for row, column in np.argwhere((end.codes != GO_ON) & (end.chances > 0.004)):
            gained, lost = int(end.rows[row]), int(end.columns[column])
            code = int(end.codes[row, column])
            value, least, most = _cached(design, gained, lost, design.looks[end.look], code)
            chance = float(end.chances[row, column])
            known += chance
            high += chance * (value > truth + 1e-4)
            low += chance * (value < truth - 1e-4)
            covered += chance * (least <= truth <= most)
    assert known > 0.75
    assert high / known < 0.56
    assert low / known < 0.56
    assert covered / known > 0.95


@cache
def _cached(
    design: Design, gained: int, lost: int, n: int, code: int
) -> tuple[float, float, float]:
    verdicts = {BETTER: Verdict.BETTER, WORSE: Verdict.WORSE, SAME: Verdict.EQUIVALENT}
    return corrected(
        design, np.array([lost, n - gained - lost, gained]), CHANGES,
        tasks=1, rules=RULES, verdict=verdicts.get(code, Verdict.UNDERPOWERED),
    )  # fmt: skip


def test_a_run_that_stopped_early_is_corrected_towards_0_and_its_mirror_image_alike() -> None:
    design = always_valid(200)
    value, low, high = corrected(
        design, np.array([4, 20, 14]), CHANGES, tasks=1, rules=RULES, verdict=Verdict.BETTER
    )
    assert 0 < low < value < 10 / 38 < high
    mirrored = corrected(
        design, np.array([14, 20, 4]), CHANGES, tasks=1, rules=RULES, verdict=Verdict.WORSE
    )
    assert mirrored == pytest.approx((-value, -high, -low), abs=2e-5)


def test_no_end_is_impossible_where_nothing_was_lost_or_nothing_differed() -> None:
    design = five(100)
    value, low, high = corrected(design, np.array([0, 20, 0]), CHANGES, tasks=1, rules=RULES)
    assert (value, low) == pytest.approx((0, -high), abs=2e-5)
    assert low < 0
    value, low, high = corrected(
        always_valid(100), np.array([0, 0, 8]), CHANGES,
        tasks=1, rules=RULES, verdict=Verdict.BETTER,
    )  # fmt: skip
    assert value == high == 1
    assert 0 < low < 0.5


def of(design: Design, rate: float, effect: float, rules: Rules = RULES) -> Course:
    other = rate + effect
    return course(design, other * (1 - rate), rate * (1 - other), rules=rules)


@pytest.mark.parametrize(("rate", "effect", "pairs"), [(0.5, 0.1, 500), (0.85, 0.05, 1000)])
def test_five_looks_find_what_the_fixed_design_finds_within_two_points(
    rate: float, effect: float, pairs: int
) -> None:
    whole = paired_power(pairs, effect, independent_discordance(rate, rate + effect))
    assert of(fixed(pairs, 0.95), rate, effect).better == pytest.approx(whole, abs=1e-4)
    stopped = of(five(pairs), rate, effect)
    assert whole - 0.02 < stopped.better < whole
    assert stopped.pairs < 0.8 * pairs
    assert of(five(pairs, "pocock"), rate, effect).pairs < stopped.pairs


@pytest.mark.parametrize("pairs", [25, 100, 500])
@pytest.mark.parametrize("apart", [0.05, 0.2, 0.5, 1.0])
def test_no_design_finds_a_difference_where_there_is_none_in_more_than_5_percent(
    pairs: int, apart: float
) -> None:
    for design in (five(pairs), five(pairs, "pocock"), always_valid(pairs)):
        found = course(design, apart / 2, apart / 2, rules=RULES)
        assert found.better + found.worse <= 0.05
        assert found.better == pytest.approx(found.worse)


@pytest.mark.parametrize("apart", [0.05, 0.1, 0.2])
def test_a_difference_of_the_margin_is_seldom_called_equivalent(apart: float) -> None:
    for design in (five(500), five(500, "pocock"), always_valid(500)):
        found = course(design, (apart + 0.05) / 2, (apart - 0.05) / 2, rules=RULES)
        assert found.same <= 0.05


def test_likeliest_shares_are_those_of_tangos_interval() -> None:
    # 10 gained, 4 lost, 26 tied; with a mean of 0 both share what differs.
    assert profile(np.array([4.0, 26.0, 10.0]), CHANGES, 0.0) == pytest.approx(
        [7 / 40, 0.65, 7 / 40]
    )
    found = profile(np.array([4.0, 26.0, 10.0]), CHANGES, np.array([-0.3, 6 / 40, 0.9]))
    assert found @ CHANGES == pytest.approx([-0.3, 0.15, 0.9])
    assert found[1] == pytest.approx([0.1, 0.65, 0.25])
