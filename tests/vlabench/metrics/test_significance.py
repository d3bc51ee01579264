"""Tests are those of scipy and statsmodels; letters mean what they say."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import boschloo_exact, hypergeom
from statsmodels.stats.contingency_tables import StratifiedTable
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportions_ztest

from vlabench.metrics.significance import (
    compact_letters,
    holm,
    mcnemar,
    sign_flip,
    tarone_holm,
    unpaired_test,
)

property_test = settings(deadline=None, max_examples=20)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 1), (5, 15), (15, 5), (7, 7), (0, 30), (3, 4)])
def test_mcnemar_is_that_of_statsmodels(only_a: int, only_b: int) -> None:
    expected = statsmodels_mcnemar([[10, only_a], [only_b, 4]], exact=True).pvalue
    assert mcnemar(only_a, only_b) == pytest.approx(expected, abs=1e-9)


def test_mcnemar_is_the_published_one() -> None:
    # Cavo: Fagerland, Lydersen & Laake 2014, Statistics in Medicine 33:2850-2875.
    assert mcnemar(16, 6) == pytest.approx(0.052479, abs=5e-7)
    assert mcnemar(0, 0) == 1


def counted(*counts: int) -> tuple[float, str]:
    """The test of one stratum."""
    return unpaired_test(*(np.array([count]) for count in counts))


STRATA = st.lists(
    st.tuples(st.integers(1, 6), st.integers(1, 6)).flatmap(
        lambda n: st.tuples(
            st.integers(0, n[0]), st.just(n[0]), st.integers(0, n[1]), st.just(n[1])
        )
    ),
    min_size=2,
    max_size=4,
)


@property_test
@given(STRATA)
def test_the_exact_test_of_strata_counts_every_table(strata: list[tuple[int, ...]]) -> None:
    """Given both margins of each stratum, all tables are gone through one by one."""
    chances: dict[int, float] = {}
    ranges = [range(n_b + 1) for *_, n_b in strata]
    for found in product(*ranges):
        chance = 1.0
        for x, (a, n_a, b, n_b) in zip(found, strata, strict=True):
            chance *= float(hypergeom.pmf(x, n_a + n_b, a + b, n_b))
        chances[sum(found)] = chances.get(sum(found), 0.0) + chance
    here = chances[sum(b for _, _, b, _ in strata)]
    expected = sum(chance for chance in chances.values() if chance <= here * (1 + 1e-7))
    a, n_a, b, n_b = np.array(strata).T
    p_value, name = unpaired_test(a, n_a, b, n_b)
    assert p_value == pytest.approx(min(1, expected), abs=1e-9)
    assert name == "exact stratified test"


def test_the_test_of_many_strata_is_that_of_cochran_mantel_and_haenszel() -> None:
    rng = np.random.default_rng(1)
    n_a, n_b = rng.integers(3000, 5000, (2, 4))
    a, b = rng.binomial(n_a, 0.6), rng.binomial(n_b, 0.62)
    tables = [np.array([[y, n - y], [x, m - x]]) for x, m, y, n in zip(a, n_a, b, n_b, strict=True)]
    expected = StratifiedTable(tables).test_null_odds().pvalue
    p_value, name = unpaired_test(a, n_a, b, n_b)
    assert p_value == pytest.approx(expected, rel=1e-6)
    assert name == "Cochran-Mantel-Haenszel test"


def test_tests_that_cannot_reject_cost_the_others_nothing() -> None:
    """By hand: 0.03 of 40, of which 39 could not be below 0.2; then two that could both."""
    alone = tarone_holm([0.03] + [1.0] * 39, [0.03] + [0.2] * 39, 0.04)
    assert alone == ([True] + [False] * 39, 0.04)
    both, level = tarone_holm([0.03, 0.03, 1.0], [0.03, 0.03, 0.3], 0.04)
    assert (both, level) == ([False, False, False], 0.02)
    steps, level = tarone_holm([0.001, 0.03], [0.001, 0.03], 0.04)  # the second is then alone
    assert (steps, level) == ([True, True], 0.04)
    assert tarone_holm([0.01, 0.015, 0.9], [0.0, 0.0, 0.0], 0.03)[0] == [True, True, False]
    assert tarone_holm([], [], 0.05) == ([], 0.05)


@property_test
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=9))
def test_flipping_signs_counts_every_choice_of_them(changes: list[float]) -> None:
    """All choices of signs are gone through one by one; the grid may count near ties as ties."""
    sizes = np.abs(changes)
    sums = np.array([np.dot(signs, sizes) for signs in product((-1, 1), repeat=len(changes))])
    total = abs(sum(changes))
    room = 2e-3 * sizes.sum()
    least, most = (float((np.abs(sums) >= total + x).mean()) for x in (room, -room))
    assert least - 1e-9 <= sign_flip(np.array(changes)) <= most + 1e-9


def test_flipping_signs_of_equal_changes_is_mcnemar() -> None:
    for up, down in ((0, 5), (7, 2), (30, 12), (0, 0)):
        changes = np.array([0.1] * up + [-0.1] * down + [0.0] * 9)
        assert sign_flip(changes) == pytest.approx(mcnemar(down, up), abs=1e-12)
    rng = np.random.default_rng(1)
    few = rng.normal(0.02, 1, 1000)
    assert sign_flip(few) == pytest.approx(sign_flip(np.append(few, [1e-3, -1e-3])), abs=0.01)


def test_the_unpaired_test_is_boschloos_where_that_can_be_computed() -> None:
    for a, n_a, b, n_b in ((3, 10, 9, 12), (20, 30, 28, 30)):
        p_value, name = counted(a, n_a, b, n_b)
        table = [[a, b], [n_a - a, n_b - b]]
        assert p_value == pytest.approx(boschloo_exact(table).pvalue, abs=1e-9)
        assert name == "Boschloo exact"
    assert counted(0, 10, 0, 20) == (1.0, "Boschloo exact")


def test_the_unpaired_test_of_many_episodes_is_the_score_test() -> None:
    p_value, name = counted(400, 500, 430, 500)
    assert p_value == pytest.approx(proportions_ztest([430, 400], [500, 500])[1], rel=0.01)
    assert name == "score test"
    assert counted(500, 500, 500, 500)[0] == 1.0


@property_test
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(list(expected), abs=1e-9)


def test_nothing_is_adjusted_to_nothing() -> None:
    assert holm([]) == []


def test_letters_of_an_example_worked_by_hand() -> None:
    # The best is above the two worst, the second above the worst: three overlapping groups.
    assert compact_letters(4, [(0, 2), (0, 3), (1, 3)]) == ["a", "ab", "bc", "c"]
    assert compact_letters(3, []) == ["a", "a", "a"]
    assert compact_letters(3, [(0, 1), (0, 2), (1, 2)]) == ["a", "b", "c"]
    assert compact_letters(1, []) == ["a"]


@property_test
@given(st.integers(2, 7).flatmap(lambda n: st.tuples(
    st.just(n), st.sets(st.sampled_from(list(combinations(range(n), 2)))))))  # fmt: skip
def test_two_share_a_letter_unless_they_are_different(
    items: tuple[int, set[tuple[int, int]]],
) -> None:
    count, different = items
    letters = compact_letters(count, different)
    for pair in combinations(range(count), 2):
        share = bool(set(letters[pair[0]]) & set(letters[pair[1]]))
        assert share == (pair not in different)
