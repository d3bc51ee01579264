"""Tests, and what many of them together allow to say."""

from collections.abc import Collection, Sequence
from functools import lru_cache
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_EXACT_TABLES = 40_000
"""Largest product of both sample sizes for which Boschloo's test is computed; seconds beyond."""
_TINY = 1e-9
_MANY = 1_000
"""Changes from which their sum with random signs is taken to be normal."""
_GRID = 20_000
"""Steps into which the sum of all changes is divided."""
_EXACT_EPISODES = 20_000
"""Episodes of all strata for which the exact stratified test is computed."""


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value of McNemar's test (McNemar 1947, Psychometrika 12:153-157).

    Of the pairs in which one alone succeeded, half should be b's: a sign test.
    """
    from scipy.special import betainc

    less, more = sorted((only_a, only_b))
    return min(1.0, 2 * float(betainc(more, less + 1, 0.5))) if less < more else 1.0


def sign_flip(changes: Floats) -> float:
    """Two-sided p-value that changes are as likely the other way round (Fisher 1935, section 21).

    Of their sum, each with either sign: McNemar's test where all are as large, as single pairs of
    tasks with equally many states are, and else one of the same weighted mean as an interval has.
    Summed over all signs on a grid of sums; normal where changes are very many.

    Args:
        changes: Of initial states, each times its weight in the mean, `[n]`.
    """
    sizes = np.abs(changes)
    sizes = sizes[sizes > _TINY * sizes.max(initial=0.0)]
    total = abs(float(changes.sum()))
    if not len(sizes):
        return 1.0
    if np.ptp(sizes) <= _TINY * sizes.max():
        up, down = int((changes > 0).sum()), int((changes < 0).sum())
        return mcnemar(down, up)
    if len(sizes) > _MANY:
        return float(2 * NormalDist().cdf(-total / float((sizes**2).sum()) ** 0.5))
    steps = np.maximum(1, np.round(sizes / sizes.sum() * _GRID)).astype(np.int64)
    reach = int(steps.sum())
    chances = np.zeros(2 * reach + 1)
    chances[reach] = 1.0
    for step in steps.tolist():
        chances = (np.roll(chances, step) + np.roll(chances, -step)) / 2
    found = total / float(sizes.sum()) * reach
    far = np.abs(np.arange(-reach, reach + 1)) >= found - 0.5 * len(steps) ** 0.5
    return min(1.0, float(chances[far].sum()))


def unpaired_test(successes_a: Ints, n_a: Ints, successes_b: Ints, n_b: Ints) -> tuple[float, str]:
    """Return the two-sided p-value that rates are equal within each stratum, and the test's name.

    One stratum: Boschloo's exact test (1970, Statistica Neerlandica 24:1-35), uniformly more
    powerful than Fisher's. Several: the exact conditional test of a common odds ratio (Mehta, Patel
    & Gray 1985, JASA 80:969-973), whose tables as improbable as the one found count. Large samples:
    the score test, over strata that of Cochran, Mantel & Haenszel (1959, JNCI 22:719-748).

    Args:
        successes_a: Of each stratum, `[k]`.
        n_a: Episodes, `[k]`.
        successes_b: The same of the other run.
        n_b: Episodes.
    """
    both, size = successes_a + successes_b, n_a + n_b
    telling = (n_a > 0) & (n_b > 0) & (both > 0) & (both < size)
    if len(telling) == 1 and int(n_a[0]) * int(n_b[0]) <= _EXACT_TABLES:
        return _boschloo(int(successes_a[0]), int(n_a[0]), int(successes_b[0]), int(n_b[0]))
    if not telling.any():
        return 1.0, "exact stratified test"
    tables = [values[telling] for values in (successes_b, n_b, both, size)]
    if len(telling) > 1 and int(size[telling].sum()) <= _EXACT_EPISODES:
        return _exact_strata(*tables), "exact stratified test"
    found, n, m, t = tables
    variance = float((n * (t - n) * m * (t - m) / (t**2 * np.maximum(1, t - 1))).sum())
    excess = float((found - n * m / t).sum())
    name = "score test" if len(telling) == 1 else "Cochran-Mantel-Haenszel test"
    return 2 * NormalDist().cdf(-abs(excess) / sqrt(variance)), name


def _boschloo(successes_a: int, n_a: int, successes_b: int, n_b: int) -> tuple[float, str]:
    from scipy.stats import boschloo_exact

    if successes_a + successes_b in (0, n_a + n_b):
        return 1.0, "Boschloo exact"
    table = [[successes_a, successes_b], [n_a - successes_a, n_b - successes_b]]
    return float(boschloo_exact(table).pvalue), "Boschloo exact"


def _exact_strata(found: Ints, n: Ints, both: Ints, size: Ints) -> float:
    """Sum the chances of all totals of `found` as improbable, given both margins of each stratum.

    Args:
        found: Successes of one run, `[k]`.
        n: Its episodes, `[k]`.
        both: Successes of both runs, `[k]`.
        size: Episodes of both, `[k]`.
    """
    chances = np.ones(1)
    for row in zip(n.tolist(), both.tolist(), size.tolist(), strict=True):
        chances = np.convolve(chances, _hypergeometric(*row))
    at = int((found - np.maximum(0, both + n - size)).sum())
    alike = chances <= chances[at] * (1 + 1e-7)
    return min(1.0, float(chances[alike].sum()))


@lru_cache(maxsize=4096)
def _hypergeometric(n: int, both: int, size: int) -> Floats:
    """Chances of each possible number of successes among `n` of `size` episodes with `both`."""
    from scipy.special import gammaln

    def choose(above: int, below: Ints) -> Floats:
        found: Floats = gammaln(above + 1) - gammaln(below + 1) - gammaln(above - below + 1)
        return found

    found = np.arange(max(0, both + n - size), min(both, n) + 1)
    logs = choose(both, found) + choose(size - both, n - found) - choose(size, np.array(n))
    chances: Floats = np.exp(logs)
    return chances


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that no true hypothesis is rejected with 95 % (Holm 1979, SJS 6:65-70)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, steps)
    return [float(value) for value in adjusted]


def tarone_holm(
    p_values: Sequence[float], least: Sequence[float], level: float
) -> tuple[list[bool], float]:
    """Say which hypotheses are rejected, all together with an error of at most `level`.

    Those whose test could not have rejected whatever came out cost the others nothing (Tarone 1990,
    Biometrics 46:515-522; step by step, Hommel & Krummenauer 1998, Biometrical Journal 40:673-681).

    Args:
        p_values: One for each hypothesis.
        least: The smallest p-value that each test could have had.
        level: Chance of any false rejection.

    Returns:
        Whether each is rejected, and the level of each single test in the last step.
    """
    rejected = np.zeros(len(p_values), dtype=bool)
    p, floor = np.asarray(p_values, dtype=np.float64), np.asarray(least, dtype=np.float64)
    while True:
        left = floor[~rejected]
        counts = range(1, len(left) + 1)
        single = level / next((k for k in counts if (left <= level / k).sum() <= k), 1)
        new = ~rejected & (p <= single)
        if not new.any():
            return [bool(each) for each in rejected], single
        rejected |= new


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
