"""What `vlabench bench` reports: work done in a simulator's own loop and through vlabench."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One kind of work, measured both ways in one run, in turn.

    Attributes:
        work: What was done.
        reference_seconds: Time of the reference, summed over the rounds.
        vlabench_seconds: Time of vlabench for the same tasks, seeds and actions.
        ratio: Reference over vlabench; the geometric mean over tasks where there are several.
        equal: Whether states (and images, where there are any) were equal to the last bit; None
            where the work is not meant to give the same bits.
        parts: Where vlabench's time goes, by name, in seconds.
    """

    work: str
    reference_seconds: float
    vlabench_seconds: float
    ratio: float
    equal: bool | None
    parts: tuple[tuple[str, float], ...] = ()


Bench = Callable[[int], Iterator[Measurement]]
"""Measures one suite in so many rounds, more being slower and steadier; yields as it goes."""
