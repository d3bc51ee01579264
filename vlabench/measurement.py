"""What `vlabench bench` reports: work done in a simulator's own loop and through vlabench."""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Say = Callable[[str], None]
"""Takes a line for whoever waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One kind of work, measured both ways in one run, in turn.

    Attributes:
        work: What was done, and in what the reference differs if it is not the simulator's own.
        reference: What it cost the reference.
        vlabench: What it cost vlabench: the same tasks, seeds and actions.
        unit: Of those two: seconds, summed over the run, or MB, the most that was seen.
        ratio: Reference over vlabench; the geometric mean over tasks where there are several, of
            the median over the turns of a task: others on the machine disturb one turn or another.
        equal: Whether states (and images, where there are any) were equal to the last bit; None
            where the work is not meant to give the same bits.
        ratios: The ratio of each task, by its id.
        parts: Where vlabench's time goes, by name, in seconds.
    """

    work: str
    reference: float
    vlabench: float
    ratio: float
    equal: bool | None
    unit: Literal["s", "MB"] = "s"
    ratios: tuple[tuple[str, float], ...] = ()
    parts: tuple[tuple[str, float], ...] = ()


Bench = Callable[[int, Say], Iterator[Measurement]]
"""Measures one suite in so many rounds, more being slower and steadier; yields as it goes."""


class Comparison:
    """Collects what one kind of work cost both ways, a pair at a time.

    Args:
        work: What is done; see `Measurement`.
        exact: Whether both are meant to give the same bits.
    """

    def __init__(self, work: str, *, exact: bool = True) -> None:
        self._work, self._exact = work, exact
        self._equal = True
        self._pairs: dict[str, list[tuple[float, float]]] = {}
        self._parts: dict[str, float] = {}

    def add(self, task_id: str, reference: float, vlabench: float, *, equal: bool = True) -> None:
        """Take in the seconds of one turn each."""
        self._pairs.setdefault(task_id, []).append((reference, vlabench))
        self._equal = self._equal and equal

    def spend(self, **seconds: float) -> None:
        """Take in where vlabench's time went."""
        for name, value in seconds.items():
            self._parts[name] = self._parts.get(name, 0.0) + value

    def measurement(self) -> Measurement:
        """Put it together.

        Raises:
            ValueError: If nothing was taken in.
        """
        ratios = {
            task: statistics.median(reference / ours for reference, ours in pairs)
            for task, pairs in self._pairs.items()
        }
        turns = [turn for pairs in self._pairs.values() for turn in pairs]
        return Measurement(
            work=self._work,
            reference=sum(reference for reference, _ in turns),
            vlabench=sum(ours for _, ours in turns),
            ratio=statistics.geometric_mean(ratios.values()),
            equal=self._equal if self._exact else None,
            ratios=tuple(ratios.items()),
            parts=tuple(self._parts.items()),
        )
