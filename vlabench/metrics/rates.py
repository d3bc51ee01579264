"""Success rates and their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Literal

from vlabench.record import EpisodeRecord, Outcome

OnError = Literal["raise", "exclude", "as-failure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number that is never printed bare.

    Attributes:
        value: The number.
        low: Lower end of its interval.
        high: Upper end of its interval.
        n: Episodes behind it.
        method: How the interval was computed.
        question: The question that the interval answers.
    """

    value: float
    low: float
    high: float
    n: int
    method: str
    question: str


def success_rate(
    records: Sequence[EpisodeRecord], *, on_error: OnError = "raise", confidence: float = 0.95
) -> Estimate:
    """Share of episodes that succeeded, with its Wilson score interval (Wilson 1927, eq. 1).

    Args:
        records: Episodes to count, in any order.
        on_error: What to do with episodes that broke. `exclude` makes the estimate depend on how
            often that happened; `as-failure` gives a lower bound.
        confidence: Coverage of the interval.

    Raises:
        ValueError: If there is nothing to count, or an episode broke and `on_error` is `raise`.
    """
    errors = sum(record.outcome is Outcome.ERROR for record in records)
    if errors and on_error == "raise":
        raise ValueError(f"{errors} of {len(records)} episodes ended in an error")
    n = len(records) - (errors if on_error == "exclude" else 0)
    if n == 0:
        raise ValueError("no episodes to count")
    rate = sum(record.outcome is Outcome.SUCCESS for record in records) / n
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return Estimate(
        value=rate,
        low=min(rate, max(0.0, centre - half)),  # rounding may put 0 of n outside, a little
        high=max(rate, min(1.0, centre + half)),
        n=n,
        method=f"Wilson {100 * confidence:g}%",
        question="success on these tasks, over initial states and policy draws like these",
    )
