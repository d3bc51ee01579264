"""Tests are those of scipy and statsmodels; letters mean what they say."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import boschloo_exact
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportions_ztest

from vlabench.metrics.significance import compact_letters, holm, mcnemar, unpaired_test

property_test = settings(deadline=None, max_examples=20)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 1), (5, 15), (15, 5), (7, 7), (0, 30), (3, 4)])
def test_mcnemar_is_that_of_statsmodels(only_a: int, only_b: int) -> None:
    expected = statsmodels_mcnemar([[10, only_a], [only_b, 4]], exact=True).pvalue
    assert mcnemar(only_a, only_b) == pytest.approx(expected, abs=1e-9)


def test_mcnemar_is_the_published_one() -> None:
    # Cavo: Fagerland, Lydersen & Laake 2014, Statistics in Medicine 33:2850-2875.
    assert mcnemar(16, 6) == pytest.approx(0.052479, abs=5e-7)
    assert mcnemar(0, 0) == 1


def test_the_unpaired_test_is_boschloos_where_that_can_be_computed() -> None:
    for a, n_a, b, n_b in ((3, 10, 9, 12), (20, 30, 28, 30)):
        p_value, name = unpaired_test(a, n_a, b, n_b)
        table = [[a, b], [n_a - a, n_b - b]]
        assert p_value == pytest.approx(boschloo_exact(table).pvalue, abs=1e-9)
        assert name == "Boschloo exact"
    assert unpaired_test(0, 10, 0, 20) == (1.0, "Boschloo exact")


def test_the_unpaired_test_of_many_episodes_is_the_score_test() -> None:
    p_value, name = unpaired_test(400, 500, 430, 500)
    assert p_value == pytest.approx(proportions_ztest([430, 400], [500, 500])[1], abs=1e-9)
    assert name == "score test"
    assert unpaired_test(500, 500, 500, 500) == (1.0, "score test")


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
