"""Episodes in which one of two runs succeeded alone, and where the two parted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlabench.episode import EpisodeSpec
from vlabench.errors import VlabenchError
from vlabench.evaluation import beside
from vlabench.record import EpisodeRecord, Outcome
from vlabench.reports.boards import Method
from vlabench.reports.model import Discordant, Side
from vlabench.runners.slot import Film
from vlabench.store import read_records
from vlabench.table import Results, Table

MOST = 1000
"""Episodes of a comparison that a report shows."""


def discordant_episodes(where: str, a: Method, b: Method) -> list[Discordant]:
    """Return the episodes that one of two runs of one plan solved alone, in the plan's order.

    Of more than `MOST`, as many, spread over all.

    Args:
        where: Suite and protocol, for people.
        a: The reference, one run.
        b: What is held against it, one run.
    """
    one, other = a.runs[0], b.runs[0]
    instructions = _instructions(one)
    places = apart(one.table, other.table)
    places = places[spread(len(places), MOST)]
    records = (_records(run, places) for run in (one, other))
    return [
        _episode(where, instructions, (a, b), place, pair)
        for place, pair in zip(places.tolist(), zip(*records, strict=True), strict=True)
    ]


def spread(n: int, count: int) -> NDArray[np.int64]:
    """Return so many of the places 0 to n - 1, in order and as far apart as can be, or all."""
    return np.linspace(0, n - 1, min(count, n)).astype(np.int64)


def film_path(run: Path, episode: EpisodeSpec) -> Path:
    """Return where `vlabench run --video` leaves the video of an episode of a results file."""
    return Film(folder=beside(run, "videos")).path(episode)


def parted(a: EpisodeRecord, b: EpisodeRecord) -> tuple[int, int] | None:
    """Return the control steps up to which two episodes did the same, and those after which not.

    None where they never parted, one has no trace, or the initial states differ.
    """
    if a.trace is None or b.trace is None or a.trace.every != b.trace.every:
        return None
    first = min(
        _first_difference(getattr(a.trace, what), getattr(b.trace, what))
        for what in ("states", "actions")
    )
    if first == 0 or a.trace.digest == b.trace.digest:
        return None
    every = a.trace.every
    return (first - 1) * every, min(first * every, max(a.steps, b.steps))


def _first_difference(a: str, b: str) -> int:
    marks = [[text[i : i + 8] for i in range(0, len(text), 8)] for text in (a, b)]
    common = min(map(len, marks))
    return next((i for i in range(common) if marks[0][i] != marks[1][i]), common)


def apart(a: Table, b: Table) -> NDArray[np.int64]:
    """Return the rows of the same episodes, with two outcomes neither of which is an error."""
    both = (a.outcome >= 0) & (b.outcome >= 0)
    return np.flatnonzero(both & (a.outcome != b.outcome))


def _episode(
    where: str,
    instructions: dict[str, str],
    methods: tuple[Method, Method],
    place: int,
    records: tuple[EpisodeRecord | None, EpisodeRecord | None],
) -> Discordant:
    table = methods[0].runs[0].table
    task = table.tasks[table.task[place]]
    one, other = records
    found = parted(one, other) if one and other else None
    return Discordant(
        where=where,
        task=task,
        instruction=instructions.get(task, ""),
        key=table.key(place),
        sides=(_side(methods[0], place, one), _side(methods[1], place, other)),
        parted=found and found[0],
        first=found and found[1],
    )


def _records(run: Results, places: NDArray[np.int64]) -> Sequence[EpisodeRecord | None]:
    """Read the records of some rows; None of a run that has no file."""
    if run.path is None:
        return [None] * len(places)
    return read_records(run.path, run.table.place[places].tolist())


def _side(method: Method, place: int, record: EpisodeRecord | None) -> Side:
    run = method.runs[0]
    video = film_path(run.path, record.episode) if run.path and record else None
    filmed = video is not None and video.is_file()
    repeatable = run.path is not None and run.header.ingested is None
    film = f"vlabench replay {run.path} '{run.table.key(place)}' --video episode.mp4"
    return Side(
        name=method.name,
        outcome=str(Outcome.SUCCESS if run.table.outcome[place] == 1 else Outcome.FAILURE),
        steps=int(run.table.steps[place]),
        video=str(video) if filmed else "",
        film=film if repeatable and not filmed else "",
        run=str(run.path) if repeatable else "",
    )


def _instructions(run: Results) -> dict[str, str]:
    """Return what tasks ask for; nothing where the suite is not installed here."""
    from vlabench.registry import load_suite

    try:
        suite = load_suite(run.header.suite_id)
    except VlabenchError:
        return {}
    return {task.id: task.instruction for task in suite.tasks}
