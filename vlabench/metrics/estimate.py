"""A number with its interval, and what its interval is about."""

from dataclasses import dataclass

THESE_TASKS = "success on these tasks, over initial states and policy draws like these"
PROGRESS = (
    "share of the goal reached on these tasks, over initial states and policy draws like these"
)
NEW_TASKS = "success on new tasks like these, of which these are a sample"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number that is never printed bare.

    Attributes:
        value: The number.
        low: Lower end of its interval.
        high: Upper end of its interval.
        n: Episodes behind it, or pairs of episodes where two runs are compared.
        method: How the interval was computed.
        question: The question that the interval answers.
    """

    value: float
    low: float
    high: float
    n: int
    method: str
    question: str
