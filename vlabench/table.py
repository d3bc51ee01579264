"""Records as columns, so that a million of them take seconds, and megabytes."""

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlabench.record import EpisodeRecord, Outcome, Provenance, Run, RunHeader

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_OUTCOMES = {Outcome.FAILURE.value: 0, Outcome.SUCCESS.value: 1, Outcome.ERROR.value: -1}
_DIGEST = 32
"""Hex digits of a trajectory's hash."""
FEW_TASKS = 100
"""Tasks that are listed without being asked for."""
_MOST = 5
"""Names in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """One row an episode, sorted by task, initial state and repeat.

    Attributes:
        tasks: Names of the tasks, in natural order.
        task: Index into `tasks`, `[n]`.
        state: Index of the initial state, `[n]`.
        repeat: Which attempt at that state, `[n]`.
        seed: What the scene was seeded with, `[n]`; 0 where unknown.
        outcome: 1 success, 0 failure, -1 error, `[n]`.
        progress: Share of the goal that was reached, `[n]`; NaN where unknown, and for errors.
        steps: Control steps, `[n]`; 0 where unknown.
        decisions: How often the policy was asked, `[n]`; 0 where unknown.
        samples: Candidates that it evaluated, `[n]`; 0 where unknown.
        flops: Floating-point operations of the policy, `[n]`; NaN where unknown.
        simulator: Seconds spent on the scene, `[n]`; NaN where unknown.
        render: Seconds spent on drawing, `[n]`; NaN where unknown.
        policy: Seconds spent on the policy, `[n]`; NaN where unknown.
        peak_mb: Peak memory of the process that simulated it, `[n]`; NaN where unknown.
        trajectory: Hash of every state and action, hex, `[n]`; empty where there is none.
        place: Where the record's line begins in its file, in bytes, `[n]`; -1 from memory.
    """

    tasks: tuple[str, ...]
    task: Ints
    state: Ints
    repeat: Ints
    seed: Ints
    outcome: Ints
    progress: Floats
    steps: Ints
    decisions: Ints
    samples: Ints
    flops: Floats
    simulator: Floats
    render: Floats
    policy: Floats
    peak_mb: Floats
    trajectory: NDArray[np.bytes_]
    place: Ints

    @classmethod
    def join(cls, parts: Sequence["Table"]) -> "Table":
        """Return the rows of several tables that have the same `tasks`, sorted.

        Raises:
            ValueError: If there is none, or tasks differ.
        """
        if len({part.tasks for part in parts}) != 1:
            raise ValueError("tables of different tasks cannot be joined; expected the same tasks")
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS
        }
        return _sorted(parts[0].tasks, columns)

    @property
    def errors(self) -> int:
        """How many episodes broke."""
        return int((self.outcome < 0).sum())

    @property
    def seconds(self) -> Floats:
        """All the time of an episode, `[n]`; NaN where unknown."""
        return self.simulator + self.render + self.policy

    def of_task(self, code: int) -> "Table":
        """Return the rows of one task, an index into `tasks`; its columns are views of these."""
        begin, end = np.searchsorted(self.task, [code, code + 1])
        return self.rows(slice(begin, end))

    def rows(self, kept: NDArray[Any] | slice) -> "Table":
        """Return some of the rows: those of a mask `[n]`, of increasing indices, or of a slice."""
        columns: dict[str, Any] = {name: getattr(self, name)[kept] for name in _COLUMNS}
        return replace(self, **columns)

    def same_episodes(self, other: "Table") -> bool:
        """Whether both hold the same episodes, with the same scenes."""
        return self.tasks == other.tasks and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("task", "state", "repeat", "seed")
        )

    def key(self, index: int) -> str:
        """Return the name of an episode."""
        repeat = f"r{self.repeat[index]}" if self.repeat[index] else ""
        return f"{self.tasks[self.task[index]]}#{self.state[index]}{repeat}"


_COLUMNS = tuple(column.name for column in fields(Table) if column.name != "tasks")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Results:
    """A run as numbers: what `Run` is, without the traces.

    Attributes:
        path: Its file; None from memory.
        header: The first line.
        table: One row for each episode that ended.
        errors: Key of each episode that broke to its traceback, in the order in which they ended.
        resumed: One entry for every process that went on with the run.
        torn: Whether the last line was cut off by a crash.
        sha256: Of the file's bytes, 64 hex digits; empty from memory, or where it was not wanted.
    """

    path: Path | None = None
    header: RunHeader
    table: Table
    errors: Mapping[str, str] = field(default_factory=dict)
    resumed: tuple[Provenance, ...] = ()
    torn: bool = False
    sha256: str = ""


def results_of(run: Run | Results) -> Results:
    """Return a run as numbers; what is so already, as it is."""
    if isinstance(run, Results):
        return run
    return Results(
        header=run.header,
        table=tabulate(run.episodes, run.header.unknown),
        errors={r.episode.key: r.error for r in run.episodes if r.error is not None},
        resumed=run.resumed,
        torn=run.torn,
    )


def said_groups(run: Results) -> dict[str, tuple[str, ...]]:
    """Return what the tasks of an ingested run may be grouped by: `column: value` to tasks."""
    columns = run.header.ingested.groups if run.header.ingested else {}
    found: dict[str, list[str]] = {}
    for column, values in columns.items():
        for task in run.table.tasks:
            found.setdefault(f"{column}: {values.get(task, '-')}", []).append(task)
    return {name: tuple(found[name]) for name in sorted(found, key=natural)}


def contradiction(a: Table, b: Table) -> str:
    """Return the name of an episode that went the same way twice and came out otherwise, or "".

    Equal trajectories of one task are equal to the last bit, so that one of the outcomes is wrong.
    Errors contradict nothing: they come from outside.
    """
    if a.same_episodes(b) and not a.repeat.any():
        differ = (a.outcome != b.outcome) & (np.minimum(a.outcome, b.outcome) >= 0)
        rows = np.flatnonzero(differ & (a.trajectory == b.trajectory) & (a.trajectory != b""))
        return a.key(int(rows[0])) if len(rows) else ""
    seen: dict[tuple[str, int, bytes], int] = {}
    for table in (a, b):
        for row in np.flatnonzero((table.outcome >= 0) & (table.trajectory != b"")):
            where = (
                table.tasks[table.task[row]], int(table.state[row]), bytes(table.trajectory[row])
            )  # fmt: skip
            if seen.setdefault(where, int(table.outcome[row])) != table.outcome[row]:
                return table.key(int(row))
    return ""


def unfinished(run: Results) -> str:
    """Say of a run how much of its plan has ended: `is not finished, 65 of 200 episodes`.

    Tasks of which nothing has ended are named, those before one slash together where all of them
    are. Empty where nothing is missing, as far as is known: what an older vlabench wrote names its
    tasks only where `--tasks` did, and what another tool ran says nothing of its plan.
    """
    table, planned = run.table, _planned(run)
    counts = np.bincount(table.task, minlength=len(table.tasks)).tolist()
    ended = dict(zip(table.tasks, counts, strict=True))
    if run.header.ingested:
        least, most = min(ended.values(), default=0), max(ended.values(), default=0)
        uneven = f"has {least} to {most} episodes a task, and does not say how many were planned"
        return uneven if least < most else ""
    left = sum(max(0, count - ended.get(task, 0)) for task, count in planned.items())
    if not left:
        return ""
    whole = sum(planned.values())
    missing = [task for task in planned if not ended.get(task)]
    none = f", none of {_named(missing, planned)}" if missing else ""
    return f"is not finished, {whole - left} of {whole} episodes{none}"


def _planned(run: Results) -> Mapping[str, int]:
    """Return how many episodes of each task were planned, as far as is known."""
    if run.header.planned:
        return run.header.planned
    request = run.header.request
    asked = [part.strip() for part in request.tasks.split(",")]
    named = [part for part in asked if "/" in part and not set(part) & set("*?[")]
    return dict.fromkeys([*named, *run.table.tasks], request.episodes * request.repeats)


def _named(tasks: Sequence[str], planned: Collection[str]) -> str:
    """Name some of the planned tasks, in as few words as that takes."""

    def group(task: str) -> str:
        return f"{task.partition('/')[0]}/*"

    here, all_ = Counter(map(group, tasks)), Counter(map(group, planned))
    whole = {name for name, count in here.items() if 1 < count == all_[name]}
    names = list(dict.fromkeys(group(t) if group(t) in whole else t for t in tasks))
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more


def tabulate(records: Sequence[EpisodeRecord], unknown: Collection[str] = ()) -> Table:
    """Return the records as a table; their order changes nothing.

    Args:
        records: Of one run.
        unknown: Fields that mean nothing in it, `RunHeader.unknown`.
    """
    columns = Columns(unknown)
    columns.add(records, [-1] * len(records))
    return columns.table()


def natural(task_id: str) -> tuple[str, int, str]:
    """Return what to sort task ids by, so that task 10 comes after task 9."""
    suite, _, name = task_id.partition("/")
    return suite, int(name) if name.isdecimal() else -1, name


class Columns:
    """Columns that grow, a row a record, in the order in which records come.

    Args:
        unknown: Fields that mean nothing in this run: 0 or NaN, whatever records hold.
    """

    def __init__(self, unknown: Collection[str] = ()) -> None:
        self._unknown = {name for name in _READ if _FIELDS.get(name, name) in unknown}
        self._codes: dict[str, int] = {}
        self._numbers = {
            name: array("d" if name in _REAL else "q") for name in ("task", "place", *_READ)
        }
        self._digests = bytearray()

    def add(self, records: Sequence[Any], places: Sequence[int]) -> None:
        """Add records: `EpisodeRecord`, or anything with the same attributes.

        Raises:
            AttributeError, KeyError, OverflowError, TypeError, ValueError: If a value is not what
                its column holds; nothing is added then.
        """
        codes = self._codes
        new = {
            "task": array("q", [codes.setdefault(r.episode.task_id, len(codes)) for r in records]),
            "place": array("q", places),
            **{name: self._column(name, records) for name in _READ},
        }
        digests = _packed([r.trace.digest if r.trace else "" for r in records])
        for name, part in new.items():
            self._numbers[name].extend(part)
        self._digests += digests

    def table(self) -> Table:
        """Return what is there."""
        tasks = tuple(sorted(self._codes, key=natural))
        rank = np.empty(len(tasks), dtype=np.int64)
        rank[[self._codes[name] for name in tasks]] = np.arange(len(tasks))
        columns: dict[str, NDArray[Any]] = {k: np.asarray(v) for k, v in self._numbers.items()}
        columns["task"] = rank[columns["task"]]
        columns["trajectory"] = np.frombuffer(bytes(self._digests), dtype=f"S{_DIGEST}")
        return _sorted(tasks, columns)

    def _column(self, name: str, records: Sequence[Any]) -> "array[Any]":
        if name in self._unknown:
            return len(records) * (array("d", [nan]) if name in _REAL else array("q", [0]))
        values = _READ[name](records)
        if name not in _REAL:
            return array("q", values)
        try:
            return array("d", values)
        except TypeError:
            return array("d", [nan if value is None else value for value in values])


_READ: Mapping[str, Callable[[Sequence[Any]], list[Any]]] = {
    "state": lambda records: [r.episode.init_index for r in records],
    "repeat": lambda records: [r.episode.repeat for r in records],
    "seed": lambda records: [r.episode.scene_seed for r in records],
    "outcome": lambda records: [_OUTCOMES[str(r.outcome)] for r in records],
    "progress": lambda records: [r.progress for r in records],
    "steps": lambda records: [r.steps for r in records],
    "decisions": lambda records: [r.decisions for r in records],
    "samples": lambda records: [r.samples for r in records],
    "flops": lambda records: [r.flops for r in records],
    "simulator": lambda records: [r.seconds.simulator for r in records],
    "render": lambda records: [r.seconds.render for r in records],
    "policy": lambda records: [r.seconds.policy for r in records],
    "peak_mb": lambda records: [r.peak_mb for r in records],
}
"""How a column is read: with a loop inside, since a call for each record takes twice as long."""
_REAL = frozenset({"progress", "flops", "simulator", "render", "policy", "peak_mb"})
_FIELDS = {"seed": "scene_seed", "simulator": "seconds", "render": "seconds", "policy": "seconds"}
"""What a column's field is called in records, where otherwise."""


def _packed(digests: Sequence[str]) -> bytes:
    packed = "".join([digest.ljust(_DIGEST, "\0") for digest in digests]).encode("ascii")
    if len(packed) != _DIGEST * len(digests):
        longest = max(digests, key=len)
        raise ValueError(f"trace digest is {longest!r}, expected {_DIGEST} hex digits")
    return packed


def _sorted(tasks: tuple[str, ...], columns: Mapping[str, NDArray[Any]]) -> Table:
    order = np.lexsort([columns[name] for name in ("repeat", "state", "task")])  # task counts most
    ordered: dict[str, Any] = {name: column[order] for name, column in columns.items()}
    return Table(tasks=tasks, **ordered)
