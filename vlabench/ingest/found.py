"""What a file of another tool holds, whatever its format. What it does not say is None."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One episode.

    Attributes:
        task: Its task, without the suite.
        index: Which initial state, or which attempt where states are unknown.
        success: None where the episode broke, or where the file says neither.
        suite: The suite, where a file holds several.
        number: Which of several tasks of one name it is; empty where the file does not say.
        repeat: Which attempt at that state.
        seed: What the scene was seeded with, `[0, 2**32)`.
        steps: Control steps.
        error: What broke.
        groups: What its task is counted under: `{"category": "light"}`.
    """

    task: str
    index: int
    success: bool | None
    suite: str | None = None
    number: str = ""
    repeat: int = 0
    seed: int | None = None
    steps: int | None = None
    error: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file's content.

    Attributes:
        format: Who wrote it.
        attempts: The episodes.
        states_known: Whether equal indices (and seeds, where there are some) mean equal initial
            states in another file of this format.
        missing: What would have to be there for states to be known.
        suite: The suite.
        policy: The policy.
        seed: The root of all seeds.
        started_at: When it was made, as it says.
        caveats: What a reader of the numbers must know.
    """

    format: str
    attempts: tuple[Attempt, ...]
    states_known: bool
    missing: str = ""
    suite: str | None = None
    policy: str | None = None
    seed: int | None = None
    started_at: str | None = None
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user says about the files.

    Attributes:
        suite: The suite, where they do not say.
        policy: The policy, where they do not say; which one, where they hold several.
        columns: What a column means to its name, where that is not a common one; what tables group
            by is in `groups`.
        groups: Names of columns that tables may group by.
        patterns: Regular expressions with named groups, for the lines of a log.
    """

    suite: str | None = None
    policy: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


def whole(value: object, what: str) -> int | None:
    """Return a count or seed; None where there is none.

    Raises:
        ValueError: If it is something else.
    """
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
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
