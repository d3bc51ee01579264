"""Episodes in which one of two runs succeeded alone, and where the two parted."""

from collections.abc import Iterator
from pathlib import Path

from vlabench.errors import VlabenchError
from vlabench.evaluation import beside
from vlabench.record import EpisodeRecord, Outcome
from vlabench.reports.boards import Method
from vlabench.reports.model import Discordant, Side
from vlabench.runners.slot import file_stem
from vlabench.store import read_record
from vlabench.table import Results, Table


def discordant_episodes(where: str, a: Method, b: Method) -> list[Discordant]:
    """Return the episodes that one of two runs of one plan solved alone, in the plan's order.

    Args:
        where: Suite and protocol, for people.
        a: The reference, one run.
        b: What is held against it, one run.
    """
    one, other = a.runs[0], b.runs[0]
    instructions = _instructions(one)
    return [
        _episode(where, instructions, (a, b), (i, j)) for i, j in _apart(one.table, other.table)
    ]


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


def _apart(a: Table, b: Table) -> Iterator[tuple[int, int]]:
    """Yield the rows of episodes with two outcomes, neither of which is an error."""
    places = {b.key(j): j for j in range(len(b.outcome))}
    for i in range(len(a.outcome)):
        j = places.get(a.key(i))
        if j is not None and {int(a.outcome[i]), int(b.outcome[j])} == {0, 1}:
            yield i, j


def _episode(
    where: str,
    instructions: dict[str, str],
    methods: tuple[Method, Method],
    places: tuple[int, int],
) -> Discordant:
    runs = [method.runs[0] for method in methods]
    one, other = (_record(run, place) for run, place in zip(runs, places, strict=True))
    table, place = runs[0].table, places[0]
    task = table.tasks[table.task[place]]
    found = parted(one, other) if one and other else None
    return Discordant(
        where=where,
        task=task,
        instruction=instructions.get(task, ""),
        key=table.key(place),
        sides=(_side(methods[0], places[0], one), _side(methods[1], places[1], other)),
        parted=found and found[0],
        first=found and found[1],
    )


def _record(run: Results, place: int) -> EpisodeRecord | None:
    offset = int(run.table.place[place])
    return None if run.path is None or offset < 0 else read_record(run.path, offset)


def _side(method: Method, place: int, record: EpisodeRecord | None) -> Side:
    run = method.runs[0]
    video = _video(run.path, record) if run.path and record else ""
    repeatable = run.path is not None and run.header.ingested is None
    film = f"vlabench replay {run.path} '{run.table.key(place)}' --video episode.mp4"
    return Side(
        name=method.name,
        outcome=str(Outcome.SUCCESS if run.table.outcome[place] == 1 else Outcome.FAILURE),
        steps=int(run.table.steps[place]),
        video=video,
        film=film if repeatable and not video else "",
    )


def _video(path: Path, record: EpisodeRecord) -> str:
    """Return the video that `vlabench run --video` left of an episode beside its results file."""
    video = beside(path, "videos") / f"{file_stem(record.episode)}.mp4"
    return str(video) if video.is_file() else ""


def _instructions(run: Results) -> dict[str, str]:
    """Return what tasks ask for; nothing where the suite is not installed here."""
    from vlabench.registry import load_suite

    try:
        suite = load_suite(run.header.suite_id)
    except VlabenchError:
        return {}
    return {task.id: task.instruction for task in suite.tasks}
