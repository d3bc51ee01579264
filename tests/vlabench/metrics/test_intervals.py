"""Our intervals are those of the papers, of statsmodels, and of a slow way to compute them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from vlabench.metrics.intervals import (
    edged_wilson,
    newcombe,
    normal_quantile,
    tango,
    wilson,
)

Z = normal_quantile(0.95)
property_test = settings(deadline=None, max_examples=50)
DISCORDANT = st.integers(1, 80).flatmap(
    lambda n: st.integers(0, n).flatmap(
        lambda b: st.tuples(st.just(b), st.integers(0, n - b), st.just(n))
    )
)


def unpaired(a: int, n_a: int, b: int, n_b: int) -> tuple[Any, Any]:
    """Newcombe's interval on Wilson's."""
    return newcombe(a / n_a, wilson(a, n_a, Z), b / n_b, wilson(b, n_b, Z))


@pytest.mark.parametrize("n", [1, 2, 10, 51, 1000])
def test_wilson_is_that_of_statsmodels(n: int) -> None:
    count = np.arange(n + 1)
    for confidence in (0.8, 0.95, 0.99):
        found = wilson(count, n, normal_quantile(confidence))
        expected = proportion_confint(count, n, alpha=1 - confidence, method="wilson")
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_all_of_a_few_are_exact() -> None:
    """Of n that all succeeded, the lower end is the rate that does so in 5 % of cases."""
    for n in range(1, 7):
        low, high = edged_wilson(n, n, Z)
        assert float(low) ** n == pytest.approx(0.05)
        assert high == 1
        assert edged_wilson(0, n, Z)[1] == pytest.approx(1 - low)
    assert edged_wilson(7, 7, Z) == pytest.approx(wilson(7, 7, Z))


@property_test
@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.floats(0, n), st.just(n))))
def test_rounding_decides_nothing(counts: tuple[float, int]) -> None:
    count, n = counts
    low, high = edged_wilson(count, n, Z)
    near = edged_wilson(min(n, count + 1e-9), n, Z)
    assert (float(low), float(high)) == pytest.approx((float(near[0]), float(near[1])), abs=1e-6)
    mirrored = edged_wilson(n - count, n, Z)
    assert (float(low), float(high)) == pytest.approx(
        (1 - float(mirrored[1]), 1 - float(mirrored[0])), abs=1e-9
    )


def test_edges_differ_from_wilson_for_one_to_three_only() -> None:
    count = np.arange(51)
    (low, high), (plain_low, plain_high) = edged_wilson(count, 50, Z), wilson(count, 50, Z)
    assert list(np.flatnonzero(low < plain_low - 1e-12)) == [1, 2, 3]
    assert list(np.flatnonzero(high > plain_high + 1e-12)) == [47, 48, 49]
    assert (low <= plain_low + 1e-12).all()
    assert (high >= plain_high - 1e-12).all()


@pytest.mark.parametrize(
    ("a", "n_a", "b", "n_b", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17:873-890, table II, method 10 (theirs is a - b)
        (48, 80, 56, 70, -0.3339, -0.0524),
        (3, 10, 9, 10, -0.8090, -0.1705),
        (2, 7, 6, 7, -0.8062, -0.0582),
        (0, 29, 5, 56, -0.1926, 0.0381),
        (0, 20, 0, 10, -0.2775, 0.1611),
        (0, 10, 10, 10, -1.0000, -0.6075),
    ],
)
def test_unpaired_intervals_are_newcombes(
    a: int, n_a: int, b: int, n_b: int, low: float, high: float
) -> None:
    found = [-float(x) for x in unpaired(a, n_a, b, n_b)]
    assert found == pytest.approx([high, low], abs=5e-5)


def test_unpaired_intervals_are_those_of_statsmodels() -> None:
    for a, n_a, b, n_b in ((1, 10, 3, 12), (40, 50, 30, 60), (490, 500, 200, 400)):
        expected = confint_proportions_2indep(b, n_b, a, n_a, method="newcomb", compare="diff")
        assert [float(x) for x in unpaired(a, n_a, b, n_b)] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("table", "expected"),
    [  # Fagerland, Lydersen & Laake 2014, Statistics in Medicine 33:2850-2875: Bentur, Cavo
        ((1, 1, 7, 12), (-0.517, -0.026)),
        ((59, 6, 16, 80), (-0.1240, -0.0054)),
    ],
)
def test_paired_intervals_are_the_published_ones(
    table: tuple[int, int, int, int], expected: tuple[float, float]
) -> None:
    _, only_b, only_a, _ = table
    found = [float(x) for x in tango(only_b, only_a, sum(table), Z)]
    assert found == pytest.approx(expected, abs=5e-4)


def likelihood_interval(gained: int, lost: int, n: int) -> tuple[float, float]:
    """Tango's interval the slow way: the nuisance maximised by search, ends found by scipy."""

    def score(difference: float) -> float:
        def loss(rare: float) -> float:  # rare = share of `lost`; `gained` has rare + difference
            shares = np.array([rare + difference, rare, 1 - 2 * rare - difference])
            counts = np.array([gained, lost, n - gained - lost])
            return -float(np.sum(np.where(counts > 0, counts * np.log(shares), 0)))

        least, most = max(0, -difference) + 1e-12, (1 - difference) / 2 - 1e-12
        found = optimize.minimize_scalar(
            loss, bounds=(least, most), method="bounded", options={"xatol": 1e-12}
        )
        rare = found.x
        variance = n * (2 * rare + difference - difference**2)
        return float((gained - lost - n * difference) / np.sqrt(variance))

    found = (gained - lost) / n
    return (
        optimize.brentq(lambda d: score(d) - Z, -1 + 1e-6, found),
        optimize.brentq(lambda d: score(d) + Z, found, 1 - 1e-6),
    )


@pytest.mark.parametrize("counts", [(6, 16, 161), (1, 7, 21), (30, 20, 100), (9, 2, 40)])
def test_tangos_closed_form_is_the_maximum_of_the_likelihood(
    counts: tuple[int, int, int],
) -> None:
    assert [float(x) for x in tango(*counts, Z)] == pytest.approx(
        likelihood_interval(*counts), abs=1e-6
    )


def test_tango_with_no_discordant_pair_is_wilsons_end() -> None:
    # With b = c = 0 the score equation becomes that of 0 of n, Tango 1998, section 4.
    low, high = tango(0, 0, 44, Z)
    assert float(high) == pytest.approx(float(wilson(0, 44, Z)[1]), abs=1e-9)
    assert float(low) == pytest.approx(-float(high), abs=1e-9)


@property_test
@given(DISCORDANT)
def test_swapping_a_and_b_negates_the_interval(counts: tuple[int, int, int]) -> None:
    gained, lost, n = counts
    low, high = tango(gained, lost, n, Z)
    mirrored = tango(lost, gained, n, Z)
    assert (float(low), float(high)) == pytest.approx((-mirrored[1], -mirrored[0]), abs=1e-12)


@property_test
@given(DISCORDANT)
def test_the_interval_holds_the_difference_and_shrinks_with_n(
    counts: tuple[int, int, int],
) -> None:
    gained, lost, n = counts
    low, high = tango(gained, lost, n, Z)
    assert -1 <= low <= (gained - lost) / n <= high <= 1
    less, more = tango(4 * gained, 4 * lost, 4 * n, Z)
    assert more - less < high - low


def test_an_interval_of_arrays_is_that_of_their_elements() -> None:
    gained, lost = np.array([0, 3, 10, 10]), np.array([0, 5, 0, 9])
    together = np.stack(tango(gained, lost, 20, Z))
    alone = np.array([tango(b, c, 20, Z) for b, c in zip(gained, lost, strict=True)]).T
    np.testing.assert_array_equal(together, alone)
