"""What planned looks ask for is what others have published."""

import numpy as np
import pytest

from vlabench.metrics.intervals import normal_quantile
from vlabench.metrics.spending import boundaries, spent

FIVE = (1, 2, 3, 4, 5)


def test_five_looks_ask_for_what_the_programs_of_lan_and_demets_print() -> None:
    # Two-sided 5 %: Reboussin, DeMets, Kim & Lan 2000, Controlled Clinical Trials 21:190-207.
    found = boundaries(FIVE, 5, "obrien-fleming", 0.95)
    assert found == pytest.approx((4.877, 3.357, 2.680, 2.290, 2.031), abs=5e-4)
    found = boundaries(FIVE, 5, "pocock", 0.95)
    assert found == pytest.approx((2.438, 2.427, 2.410, 2.397, 2.386), abs=5e-4)


def test_four_looks_ask_for_what_another_program_prints() -> None:
    # One-sided 5 %, in the README of SeqBounds.jl; crossing both sides hardly ever happens.
    found = boundaries((1, 2, 3, 4), 4, "obrien-fleming", 0.9)
    assert found == pytest.approx((3.74955, 2.53993, 2.01604, 1.72014), abs=1e-4)


def test_a_single_look_asks_for_what_a_fixed_design_does() -> None:
    assert boundaries((7,), 7, "pocock", 0.95) == pytest.approx((normal_quantile(0.95),))


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
def test_all_of_the_error_is_spent_and_no_more_wherever_the_looks_are(spending: str) -> None:
    sizes = (10, 15, 60, 70, 100)
    asked = np.array(boundaries(sizes, 100, spending, 0.95))  # type: ignore[arg-type]
    steps = np.random.default_rng(0).normal(size=(200_000, len(sizes)))
    scores = (steps * np.sqrt(np.diff(sizes, prepend=0))).cumsum(axis=1) / np.sqrt(sizes)
    crossed = (np.abs(scores) >= asked).any(axis=1).mean()
    assert crossed == pytest.approx(0.05, abs=0.002)
    assert spent(1.0, spending, 0.025) == 0.025  # type: ignore[arg-type]


def test_a_plan_that_ends_early_spends_what_is_left_at_its_end() -> None:
    whole = boundaries(FIVE, 5, "obrien-fleming", 0.95)
    short = boundaries((1, 2, 3, 4), 5, "obrien-fleming", 0.95)
    assert short[:3] == pytest.approx(whole[:3])
    assert 1.96 < short[3] < whole[3]
