"""How many episodes a comparison needs, before they are run.

Power is that of the tests which decide: exact McNemar for pairs, the score test for independent
episodes. Rates, effects and discordance are shares, `0.05` is five points.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import NormalDist

import numpy as np

from vlabench.metrics.comparison import Rules
from vlabench.metrics.designs import Looks, always_valid, fixed, group_sequential
from vlabench.metrics.intervals import normal_quantile
from vlabench.metrics.stopping import course

_MOST = 10_000_000
"""Episodes; who needs more is told that there is no such number."""
_TAIL = 9.0
"""Standard deviations of the number of discordant pairs beyond which nothing is summed."""
_MOST_LOOKED_AT = 5000
"""Pairs up to which every end of a design is counted; half a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A comparison to be planned.

    Attributes:
        rate: Success rate of a.
        effect: Rate of b less that of a.
        discordance: Share of pairs in which one alone succeeds; None where nobody knows.
        power: Chance of telling the effect from 0.
    """

    rate: float
    effect: float
    discordance: float | None = None
    power: float = 0.8

    def __post_init__(self) -> None:
        _check_rates(self.rate, self.rate + self.effect, self.power)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """How many episodes answer a question.

    Attributes:
        design: What is assumed of the episodes.
        discordance: Share of pairs in which one alone succeeds; None without pairs.
        episodes: Of each run.
    """

    design: str
    discordance: float | None
    episodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What a design does, where the effect is true and where nothing is.

    Attributes:
        name: `fixed`, `obrien-fleming`, `pocock` or `always-valid`.
        design: When is looked, for people.
        power: Chance of telling the effect from 0.
        pairs: How many are run on average, if the effect is true.
        pairs_without: The same, if there is no difference.
        most: Pairs that may be run.
        wrong: Chance of BETTER or WORSE, if there is no difference.
        as_found: Mean of the effect as found, uncorrected, where it is told from 0; None where it
            never is.
    """

    name: str
    design: str
    power: float
    pairs: float
    pairs_without: float
    most: int
    wrong: float
    as_found: float | None


def ways(
    question: Question, *, looks: int, pairs: int | None = None, rules: Rules | None = None
) -> list[Way]:
    """Return what designs that stop do beside a fixed number of pairs, exactly, by recursion.

    Pairs are independent and of one task; where the question has no discordance, they have nothing
    in common.

    Args:
        question: What is to be told from 0.
        looks: Of the designs that plan them.
        pairs: That may be run; as many as the fixed design needs when None.
        rules: Margin within which a run ends as EQUIVALENT, and confidence.

    Raises:
        ValueError: If the effect is 0, or larger than the discordance allows, or there are fewer
            pairs than looks, or more than five thousand.
    """
    rules, effect = rules or Rules(), abs(question.effect)
    apart, without = (
        question.discordance or independent_discordance(question.rate, other)
        for other in (question.rate + question.effect, question.rate)
    )
    _check_paired(effect, apart, question.power)
    n = pairs or pairs_needed(effect, apart, power=question.power, confidence=rules.confidence)
    if not looks <= n <= _MOST_LOOKED_AT:
        raise ValueError(f"{looks} looks at {n} pairs; expected {looks} to {_MOST_LOOKED_AT} pairs")
    planned: list[Looks] = [Looks(count=looks), Looks(count=looks, spending="pocock")]
    found = []
    for design in (
        fixed(n, rules.confidence),
        *(group_sequential(each, n, rules.confidence) for each in planned),
        always_valid(n),
    ):
        there = course(design, (apart + effect) / 2, (apart - effect) / 2, rules=rules)
        none = course(design, without / 2, without / 2, rules=rules)
        found.append(
            Way(
                name=design.name,
                design=design.titled(),
                power=there.better,
                pairs=there.pairs,
                pairs_without=none.pairs,
                most=n,
                wrong=none.better + none.worse,
                as_found=there.as_found,
            )
        )
    return found


def needs(question: Question) -> list[Need]:
    """Return what the question needs: for its discordance, or for three that bracket it.

    Raises:
        ValueError: If the effect is 0, or larger than the discordance allows.
    """
    rate, effect, apart = question.rate, question.effect, question.discordance
    independent = independent_discordance(rate, rate + effect)
    designs = (
        {"pairs, as measured": apart}
        if apart is not None
        else {
            "pairs that have nothing in common": independent,
            "pairs that disagree half as often": max(abs(effect), independent / 2),
            "pairs in which only one of both ever gains": abs(effect),
        }
    )
    found = [
        Need(
            design=design,
            discordance=share,
            episodes=pairs_needed(effect, share, power=question.power),
        )
        for design, share in designs.items()
    ]
    unpaired = unpaired_needed(rate, rate + effect, power=question.power)
    return [
        *found,
        Need(design="no pairs: different episodes", discordance=None, episodes=unpaired),
    ]


def independent_discordance(rate_a: float, rate_b: float) -> float:
    """Return how often one alone succeeds if pairs have nothing in common; with luck it is less."""
    return rate_a * (1 - rate_b) + rate_b * (1 - rate_a)


def connor(
    effect: float, discordance: float, *, power: float = 0.8, confidence: float = 0.95
) -> float:
    """Pairs that McNemar's asymptotic test needs, not rounded (Connor 1987, Biometrics 43:207-211).

    Args:
        effect: Rate of b less that of a.
        discordance: Share of pairs in which one alone succeeds.
        power: Chance of telling the effect from 0.
        confidence: One less the chance of seeing an effect where there is none.

    Raises:
        ValueError: If the effect is 0, or larger than the discordance allows.
    """
    _check_paired(effect, discordance, power)
    z, z_power = normal_quantile(confidence), NormalDist().inv_cdf(power)
    root = z * sqrt(discordance) + z_power * sqrt(discordance - effect**2)
    return root**2 / effect**2


def paired_power(n: int, effect: float, discordance: float, *, confidence: float = 0.95) -> float:
    """Chance that exact McNemar on `n` pairs tells an effect from 0: a sum over all tables.

    Raises:
        ValueError: If the effect is larger than the discordance allows.
    """
    from scipy.stats import binom

    _check_paired(effect or discordance, discordance, 0.5)
    spread = _TAIL * sqrt(n * discordance * (1 - discordance)) + 1
    first, last = max(0, int(n * discordance - spread)), min(n, ceil(n * discordance + spread))
    pairs = np.arange(first, last + 1)
    alpha = (1 - confidence) / 2
    most = binom.ppf(alpha, pairs, 0.5)
    most = np.where(binom.cdf(most, pairs, 0.5) <= alpha, most, most - 1)  # largest rejected count
    gain = (discordance + effect) / (2 * discordance)
    rejected = binom.cdf(most, pairs, gain) + binom.cdf(most, pairs, 1 - gain)
    return float((binom.pmf(pairs, n, discordance) * rejected).sum())


def pairs_needed(
    effect: float, discordance: float, *, power: float = 0.8, confidence: float = 0.95
) -> int:
    """Return the pairs that exact McNemar needs for `power`: a little more than Connor's number.

    Raises:
        ValueError: If the effect is 0, or larger than the discordance allows, or would need more
            than ten million pairs.
    """
    start = int(connor(effect, discordance, power=power, confidence=confidence))
    if start > _MOST:
        raise ValueError(f"an effect of {effect:g} needs more than {_MOST} pairs")

    def enough(n: int) -> bool:
        return paired_power(n, effect, discordance, confidence=confidence) >= power

    return _smallest(enough, max(1, start))


def fleiss(rate_a: float, rate_b: float, *, power: float = 0.8, confidence: float = 0.95) -> float:
    """Episodes of *each* run that the score test needs, not rounded.

    Fleiss, Levin & Paik 2003, Statistical Methods for Rates and Proportions, eq. 4.14.

    Raises:
        ValueError: If the rates are equal or none.
    """
    _check_rates(rate_a, rate_b, power)
    if rate_a == rate_b:
        raise ValueError("an effect of 0 needs infinitely many episodes")
    z, z_power = normal_quantile(confidence), NormalDist().inv_cdf(power)
    root = z * _null_deviation(rate_a, rate_b) + z_power * _deviation(rate_a, rate_b)
    return (root / (rate_b - rate_a)) ** 2


def unpaired_needed(
    rate_a: float, rate_b: float, *, power: float = 0.8, confidence: float = 0.95
) -> int:
    """Return the episodes of *each* run that the score test needs for `power`.

    Raises:
        ValueError: If the rates are equal or none.
    """
    return ceil(fleiss(rate_a, rate_b, power=power, confidence=confidence))


def unpaired_power(n: int, rate_a: float, rate_b: float, *, confidence: float = 0.95) -> float:
    """Chance that the score test on `n` episodes of each run tells the rates apart."""
    _check_rates(rate_a, rate_b, 0.5)
    deviation = _deviation(rate_a, rate_b)
    if deviation == 0:
        return float(rate_a != rate_b)
    z = normal_quantile(confidence) * _null_deviation(rate_a, rate_b)
    distance = abs(rate_b - rate_a) * sqrt(n)
    normal = NormalDist()
    return normal.cdf((distance - z) / deviation) + normal.cdf((-distance - z) / deviation)


def detectable(
    n: int,
    rate: float,
    *,
    discordance: float | None = None,
    paired: bool = True,
    power: float = 0.8,
    confidence: float = 0.95,
) -> float:
    """Return the smallest gain over `rate` that `n` episodes tell from 0, to 1e-6.

    Args:
        n: Pairs, or episodes of each run.
        rate: Success rate of a.
        discordance: Share of pairs in which one alone succeeds; as if independent when None.
        paired: Whether both run the same episodes.
        power: Chance of telling the effect from 0.
        confidence: One less the chance of seeing an effect where there is none.

    Raises:
        ValueError: If no gain is large enough.
    """
    _check_rates(rate, rate, power)
    largest = 1 - rate if discordance is None or not paired else min(1 - rate, discordance)

    def found(effect: float) -> float:
        if not paired:
            return unpaired_power(n, rate, rate + effect, confidence=confidence)
        apart = independent_discordance(rate, rate + effect) if discordance is None else discordance
        return paired_power(n, effect, apart, confidence=confidence)

    if largest <= 0 or found(largest) < power:
        raise ValueError(f"no gain over {rate:.1%} can be told from 0 in {n} episodes")
    low, high = 0.0, largest
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) >= power else (middle, high)
    return high


def _smallest(enough: Callable[[int], bool], start: int) -> int:
    """Return the smallest number from `start` on, doubling and halving the distance to it."""
    if enough(start):
        return start
    step = 1
    while not enough(start + step):
        step *= 2
    low, high = start + step // 2, start + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _deviation(rate_a: float, rate_b: float) -> float:
    return sqrt(rate_a * (1 - rate_a) + rate_b * (1 - rate_b))


def _null_deviation(rate_a: float, rate_b: float) -> float:
    middle = (rate_a + rate_b) / 2
    return sqrt(2 * middle * (1 - middle))


def _check_paired(effect: float, discordance: float, power: float) -> None:
    if effect == 0:
        raise ValueError("an effect of 0 needs infinitely many pairs")
    if not 0 < discordance <= 1 or abs(effect) > discordance + 1e-12:
        raise ValueError(
            f"an effect of {effect:g} with a discordance of {discordance:g} is impossible: where "
            "one alone succeeds less often than the rates differ"
        )
    _check_power(power)


def _check_rates(rate_a: float, rate_b: float, power: float) -> None:
    for rate in (rate_a, rate_b):
        if not 0 <= rate <= 1:
            raise ValueError(f"a success rate of {rate:g} is impossible; it lies from 0 to 1")
    _check_power(power)


def _check_power(power: float) -> None:
    if not 0 < power < 1:
        raise ValueError(f"a power of {power:g} is impossible; it lies between 0 and 1")
