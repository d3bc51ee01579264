"""Tests, and what many of them together allow to say."""

from collections.abc import Collection, Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np

_EXACT_TABLES = 40_000
"""Largest product of both sample sizes for which Boschloo's test is computed; seconds beyond."""


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value of McNemar's test (McNemar 1947, Psychometrika 12:153-157).

    Of the pairs in which one alone succeeded, half should be b's: a sign test.
    """
    from scipy.special import betainc

    less, more = sorted((only_a, only_b))
    return min(1.0, 2 * float(betainc(more, less + 1, 0.5))) if less < more else 1.0


def unpaired_test(successes_a: int, n_a: int, successes_b: int, n_b: int) -> tuple[float, str]:
    """Return the two-sided p-value that two rates are equal, and the name of the test.

    Boschloo's exact test (1970, Statistica Neerlandica 24:1-35), uniformly more powerful than
    Fisher's; the score test with a pooled variance where both samples are large.
    """
    if n_a * n_b <= _EXACT_TABLES:
        from scipy.stats import boschloo_exact

        table = [[successes_a, successes_b], [n_a - successes_a, n_b - successes_b]]
        if successes_a + successes_b in (0, n_a + n_b):
            return 1.0, "Boschloo exact"
        return float(boschloo_exact(table).pvalue), "Boschloo exact"
    pooled = (successes_a + successes_b) / (n_a + n_b)
    variance = pooled * (1 - pooled) * (1 / n_a + 1 / n_b)
    if variance == 0:
        return 1.0, "score test"
    z = (successes_b / n_b - successes_a / n_a) / sqrt(variance)
    return 2 * NormalDist().cdf(-abs(z)), "score test"


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that no true hypothesis is rejected with 95 % (Holm 1979, SJS 6:65-70)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, steps)
    return [float(value) for value in adjusted]


def compact_letters(count: int, different: Collection[tuple[int, int]]) -> list[str]:
    """Give each of `count` items letters such that two share one unless they are different.

    Insert and absorb (Piepho 2004, Journal of Computational and Graphical Statistics 13:456-466).
    Letters follow the order of the items, so hand them over with the best first.

    Args:
        count: How many items.
        different: Pairs of items that were told apart.
    """
    columns = [frozenset(range(count))]
    for one, other in sorted((min(pair), max(pair)) for pair in different):
        split = [
            part
            for column in columns
            for part in (
                (column - {one}, column - {other}) if {one, other} <= column else (column,)
            )
        ]
        columns = _absorb(split)
    columns.sort(key=sorted)
    return ["".join(_letter(i) for i, column in enumerate(columns) if item in column)
            for item in range(count)]  # fmt: skip


def _absorb(columns: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    unique = list(dict.fromkeys(columns))
    return [column for column in unique if not any(column < other for other in unique)]


def _letter(index: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return letters[index] if index < len(letters) else f"({index + 1})"
