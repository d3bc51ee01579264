"""Records as arrays, so that a million of them take a second."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlabench.record import EpisodeRecord, Outcome

OnError = Literal["raise", "exclude", "as-failure"]
Ints = NDArray[np.int64]

_CODES = {Outcome.FAILURE: 0, Outcome.SUCCESS: 1, Outcome.ERROR: -1}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """One row an episode, sorted by task, initial state and repeat.

    Attributes:
        tasks: Names of the tasks, in natural order.
        task: Index into `tasks`, `[n]`.
        state: Index of the initial state, `[n]`.
        repeat: Which attempt at that state, `[n]`.
        seed: What the scene was seeded with, `[n]`.
        outcome: 1 success, 0 failure, -1 error, `[n]`.
    """

    tasks: tuple[str, ...]
    task: Ints
    state: Ints
    repeat: Ints
    seed: Ints
    outcome: Ints

    @property
    def errors(self) -> int:
        """How many episodes broke."""
        return int((self.outcome < 0).sum())

    def same_episodes(self, other: "Table") -> bool:
        """Whether both hold the same episodes, with the same scenes."""
        mine, theirs = self._keys(), other._keys()
        return (
            self.tasks == other.tasks
            and mine.shape == theirs.shape
            and bool((mine == theirs).all())
        )

    def key(self, index: int) -> str:
        """Return the name of an episode."""
        repeat = f"r{self.repeat[index]}" if self.repeat[index] else ""
        return f"{self.tasks[self.task[index]]}#{self.state[index]}{repeat}"

    def _keys(self) -> Ints:
        return np.stack([self.task, self.state, self.repeat, self.seed])


def tabulate(records: Sequence[EpisodeRecord]) -> Table:
    """Return the records as a table; their order changes nothing."""
    names = [record.episode.task_id for record in records]
    tasks = tuple(sorted(set(names), key=natural))
    codes = {name: code for code, name in enumerate(tasks)}
    columns = np.array(
        [
            [codes[name] for name in names],
            [record.episode.init_index for record in records],
            [record.episode.repeat for record in records],
            [record.episode.scene_seed for record in records],
            [_CODES[record.outcome] for record in records],
        ],
        dtype=np.int64,
    )
    task, state, repeat, seed, outcome = columns[:, np.lexsort(columns[2::-1])]
    return Table(tasks=tasks, task=task, state=state, repeat=repeat, seed=seed, outcome=outcome)


def natural(task_id: str) -> tuple[str, int, str]:
    """Return what to sort task ids by, so that task 10 comes after task 9."""
    suite, _, name = task_id.partition("/")
    return suite, int(name) if name.isdigit() else -1, name


def refuse_errors(errors: int, n: int, on_error: OnError) -> None:
    """Raise if episodes broke and nobody said what to do about it.

    Raises:
        ValueError: If so.
    """
    if errors and on_error == "raise":
        raise ValueError(f"{errors} of {n} episodes ended in an error")
