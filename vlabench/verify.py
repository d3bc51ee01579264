"""Running recorded episodes again, to see whether they are what they were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree

import numpy as np

from vlabench.demos.collect import prepare_recorded
from vlabench.episode import EpisodeSpec
from vlabench.errors import RecordError, UnknownNameError
from vlabench.evaluation import Evaluation
from vlabench.record import EpisodeRecord, Outcome, Run, Trace
from vlabench.runners.processes import ProcessRunner
from vlabench.runners.slot import Film


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One episode, as it was recorded and as it ran again.

    Attributes:
        key: The episode.
        then: Its record.
        now: The record of the second attempt.
        where: When the two parted and who left first; empty when they are equal.
    """

    key: str
    then: EpisodeRecord
    now: EpisodeRecord
    where: str


def verify_run(
    run: Run,
    *,
    episodes: int,
    workers: int | None = None,
    settings: Mapping[str, str] | None = None,
) -> list[Difference]:
    """Run a sample of a run's episodes again and compare trajectories.

    The sample is spread evenly over the plan, taken backwards and, unless told otherwise, with
    another number of workers: none of these may make a difference. Errors are not sampled; they
    say nothing about the episode.

    Args:
        run: What was recorded.
        episodes: Size of the sample.
        workers: Simulators side by side; another number than the run had when None.
        settings: To change, of those the run had: `physics=reference` holds LIBERO's fast physics
            against its own code.

    Raises:
        RecordError: If the run holds no episode that can be compared, one that is not of its plan,
            or was ingested.
        VlabenchError: If the run cannot be prepared again here.
    """
    refuse_ingested(run)
    then = {r.episode.key: r for r in run.episodes if r.outcome is not Outcome.ERROR}
    if not then:
        raise RecordError("the run holds no episode that ended in success or failure")
    count = workers or (1 if run.header.provenance.workers > 1 else 2)
    evaluation = prepare_recorded(run.header, workers=count, settings=settings)
    planned = [episode for episode in evaluation.plan.episodes if episode.key in then]
    if foreign := then.keys() - {episode.key for episode in planned}:
        raise RecordError(
            f"the run holds {len(foreign)} episodes that are not of its plan, the first is "
            f"{min(foreign)}; was the file edited?"
        )
    sample = _spread(planned, episodes)[::-1]
    return _compare(evaluation, sample, then, ProcessRunner(count))


def film_episode(run: Run, key: str, path: Path) -> Difference:
    """Run one episode of a run again and film it.

    Raises:
        UnknownNameError: If the run does not hold the episode.
        RecordError: If the video cannot be written where it was asked for, or the run was ingested.
        VlabenchError: If the run cannot be prepared again here.
    """
    refuse_ingested(run)
    then = {record.episode.key: record for record in run.episodes}
    if key not in then:
        raise UnknownNameError("episode of this run", key, then)
    if path.suffix != ".mp4":
        raise RecordError(f"{path}: videos are MP4; name a file that ends in .mp4")
    evaluation = prepare_recorded(run.header).keeping(path, video="all")
    folder = path.absolute().parent / f".{path.stem}.part"
    film = Film(which="all", folder=folder)
    evaluation = replace(evaluation, stage=replace(evaluation.stage, film=film))
    episode = then[key].episode
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (difference,) = _compare(evaluation, [episode], then, ProcessRunner(1))
        if difference.now.outcome is Outcome.ERROR:
            raise RecordError(f"{key} could not be filmed: {_last_line(difference.now)}")
        film.path(episode).replace(path)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror}") from error
    finally:
        rmtree(folder, ignore_errors=True)
    return difference


def refuse_ingested(run: Run) -> None:
    """Raise a `RecordError` for a run that vlabench did not make, and so cannot run again."""
    if run.header.ingested:
        raise RecordError(
            f"the run was ingested from {run.header.ingested.format}, expected one of `vlabench "
            "run`: no other can be run again, because nothing is known of its rules and simulator"
        )


def parting(then: Trace, now: Trace) -> str:
    """Say when two trajectories parted and who left first; empty when they are equal."""
    if then == now:
        return ""
    states = _first_difference(then.states, now.states)
    actions = _first_difference(then.actions, now.actions)
    if states == 0:
        return "the initial state differs"
    mark = min(states, actions)
    what = "the policy's actions differ" if actions <= states else "the simulator's state differs"
    return f"{what} within control steps {(mark - 1) * then.every + 1} to {mark * then.every}"


def _first_difference(then: str, now: str) -> int:
    """Return the index of the first checkpoint, 8 digits each, that differs or is missing."""
    marks = [[text[i : i + 8] for i in range(0, len(text), 8)] for text in (then, now)]
    common = min(map(len, marks))
    return next((i for i in range(common) if marks[0][i] != marks[1][i]), common)


def _spread(episodes: Sequence[EpisodeSpec], count: int) -> list[EpisodeSpec]:
    places = np.linspace(0, len(episodes) - 1, min(count, len(episodes)))
    return [episodes[i] for i in sorted({round(place) for place in places})]


def _compare(
    evaluation: Evaluation,
    sample: Sequence[EpisodeSpec],
    then: dict[str, EpisodeRecord],
    runner: ProcessRunner,
) -> list[Difference]:
    again = {r.episode.key: r for r in runner.run(evaluation.stage, evaluation.policy, sample)}
    return [
        Difference(
            key=episode.key,
            then=then[episode.key],
            now=again[episode.key],
            where=_where(then[episode.key], again[episode.key]),
        )
        for episode in sample
    ]


def _last_line(record: EpisodeRecord) -> str:
    """Return the line of an error that says what happened."""
    return (record.error or "").strip().rpartition("\n")[2]


def _where(then: EpisodeRecord, now: EpisodeRecord) -> str:
    if then.episode != now.episode:
        return "the recorded episode has other seeds than the plan's"
    if now.outcome is Outcome.ERROR and then.outcome is not Outcome.ERROR:
        return f"an error now: {_last_line(now)}"
    if then.trace is None or now.trace is None:
        return "" if then.trace is now.trace else "one of the two has no trajectory"
    if then.trace != now.trace:
        return parting(then.trace, now.trace)
    if then.outcome is not now.outcome:
        return f"the same trajectory was a {then.outcome} and is a {now.outcome}"
    if None not in (then.progress, now.progress) and then.progress != now.progress:
        return f"the same trajectory had progress {then.progress} and has {now.progress}"
    return ""
