"""What a file of another tool holds, whatever its format. What it does not say is None."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One episode.

    Attributes:
        task: Its task, without the suite.
        index: Which initial state, or which attempt where states are unknown.
        success: None where the episode broke, or where the file says neither.
        suite: The suite, where a file holds several.
        seed: What the scene was seeded with, `[0, 2**32)`.
        steps: Control steps.
        error: What broke.
    """

    task: str
    index: int
    success: bool | None
    suite: str | None = None
    seed: int | None = None
    steps: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file's content.

    Attributes:
        format: Who wrote it.
        attempts: The episodes.
        states_known: Whether equal indices (and seeds, where there are some) mean equal initial
            states in another file of this format.
        suite: The suite.
        policy: The policy.
        seed: The root of all seeds.
        started_at: When it was made, as it says.
        caveats: What a reader of the numbers must know.
    """

    format: str
    attempts: tuple[Attempt, ...]
    states_known: bool
    suite: str | None = None
    policy: str | None = None
    seed: int | None = None
    started_at: str | None = None
    caveats: tuple[str, ...] = ()


def whole(value: object, what: str) -> int | None:
    """Return a count or seed; None where there is none.

    Raises:
        ValueError: If it is something else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
        raise ValueError(f"{what} is {value!r}, expected a whole number from 0 to 2**32 - 1")
    return value


def index(value: int, what: str) -> int:
    """Return the number of an episode.

    Raises:
        ValueError: If it is negative, or larger than any number of episodes.
    """
    if not 0 <= value < 2**31:
        raise ValueError(f"{what} has the number {value}, expected one from 0 to 2**31 - 1")
    return value


def truth(value: object, what: str) -> bool:
    """Return whether a success was one: true, false, 1 or 0.

    Raises:
        ValueError: If it is something else.
    """
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise ValueError(f"{what} is {value!r}, expected true or false")
