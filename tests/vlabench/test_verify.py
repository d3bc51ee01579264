"""What is run again is compared to the last bit, and where two attempts part is said."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vlabench import Decision, EpisodeRecord, Outcome, ProcessRunner, Run, RunHeader, SerialRunner
from vlabench.demos.collect import prepare_recorded
from vlabench.errors import RecordError, UnknownNameError
from vlabench.evaluation import Evaluation, prepare
from vlabench.record import Ingested, Trace
from vlabench.verify import film_episode, parting, refuse_ingested, verify_run


def run_of(episodes: int) -> Run:
    evaluation = prepare("point-reach", "random", request={"tasks": "left", "episodes": episodes})
    records = SerialRunner().run(evaluation.stage, evaluation.policy, evaluation.plan.episodes)
    return Run(header=evaluation.header, episodes=tuple(records))


@pytest.fixture(scope="module")
def run() -> Run:
    return run_of(9)


def broken(record: EpisodeRecord) -> EpisodeRecord:
    return replace(record, outcome=Outcome.ERROR, error="it broke", progress=None)


def states_of(run: Run, **options: int) -> list[int]:
    return [found.then.episode.init_index for found in verify_run(run, **options)]


def test_a_sample_is_spread_over_the_plan_and_taken_backwards(run: Run) -> None:
    shuffled = replace(run, episodes=run.episodes[4:] + run.episodes[:4])
    assert states_of(shuffled, episodes=3, workers=1) == [8, 4, 0]
    assert states_of(run, episodes=1, workers=1) == [0]
    assert states_of(run, episodes=99, workers=1) == list(range(9))[::-1]


def test_errors_are_not_sampled_and_a_run_of_errors_is_refused(run: Run) -> None:
    half = tuple(broken(r) if i % 2 else r for i, r in enumerate(run.episodes))
    assert states_of(replace(run, episodes=half), episodes=9, workers=1) == [8, 6, 4, 2, 0]
    errors = replace(run, episodes=tuple(map(broken, run.episodes)))
    with pytest.raises(RecordError, match="holds no episode that ended in success or failure"):
        verify_run(errors, episodes=3)


@pytest.mark.parametrize(("then", "now"), [(1, 2), (2, 1), (8, 1)])
def test_episodes_run_again_with_another_number_of_workers(
    then: int, now: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []

    class Counted(ProcessRunner):
        def __init__(self, workers: int) -> None:
            counts.append(workers)
            super().__init__(workers)

    monkeypatch.setattr("vlabench.verify.ProcessRunner", Counted)
    provenance = replace(run.header.provenance, workers=then)
    recorded = replace(run, header=replace(run.header, provenance=provenance))
    assert [found.where for found in verify_run(recorded, episodes=1)] == [""]
    verify_run(recorded, episodes=1, workers=3)
    assert counts == [now, 3]


def test_whatever_differs_is_said_of_its_episode(run: Run) -> None:
    changed = list(run.episodes[:7])
    _, seeds, outcome, progress, without, trace, unknown = changed
    assert {r.outcome for r in changed} <= {Outcome.SUCCESS, Outcome.FAILURE}
    other = Outcome.FAILURE if outcome.outcome is Outcome.SUCCESS else Outcome.SUCCESS
    assert trace.trace
    changed[1] = replace(seeds, episode=replace(seeds.episode, scene_seed=1))
    changed[2] = replace(outcome, outcome=other, progress=None)
    changed[3] = replace(progress, outcome=Outcome.FAILURE, progress=0.125)
    changed[4] = replace(without, trace=None)
    changed[5] = replace(trace, trace=replace(trace.trace, actions=trace.trace.actions[:8]))
    changed[6] = replace(unknown, progress=None)
    assert progress.outcome is Outcome.FAILURE
    wheres = [
        found.where
        for found in verify_run(replace(run, episodes=tuple(changed)), episodes=7, workers=1)
    ][::-1]
    assert wheres == [
        "",
        "the recorded episode has other seeds than the plan's",
        f"the same trajectory was a {other} and is a {outcome.outcome}",
        f"the same trajectory had progress 0.125 and has {progress.progress}",
        "one of the two has no trajectory",
        "the policy's actions differ within control steps 1 to 10",
        "",
    ]


def trace(states: Sequence[str], actions: Sequence[str], digest: str = "a") -> Trace:
    return Trace(
        digest=digest * 32,
        states="".join(each * 8 for each in states),
        actions="".join(each * 8 for each in actions),
    )


@pytest.mark.parametrize(
    ("states", "actions", "where"),
    [
        ("abcd", "abcd", ""),
        ("xbcd", "abcd", "the initial state differs"),
        ("xbcd", "xbcd", "the initial state differs"),
        ("axcd", "abcd", "the simulator's state differs within control steps 1 to 10"),
        ("abxd", "abcd", "the simulator's state differs within control steps 11 to 20"),
        ("abxd", "abxd", "the policy's actions differ within control steps 11 to 20"),
        ("abxx", "axcd", "the policy's actions differ within control steps 1 to 10"),
        ("abcd", "abcx", "the policy's actions differ within control steps 21 to 30"),
        ("abc", "abc", "the policy's actions differ within control steps 21 to 30"),
        ("abc", "abcd", "the simulator's state differs within control steps 21 to 30"),
    ],
)
def test_two_trajectories_part_at_the_first_mark_that_differs(
    states: str, actions: str, where: str
) -> None:
    then = trace("abcd", "abcd")
    now = then if not where else trace(states, actions, digest="b")
    assert parting(then, now) == parting(now, then) == where


def test_a_film_is_where_it_was_asked_for_and_nothing_else_is_left(
    run: Run, tmp_path: Path
) -> None:
    key = run.episodes[3].episode.key
    found = film_episode(run, key, tmp_path / "film.mp4")
    assert (found.key, found.where) == (key, "")
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]
    assert (tmp_path / "film.mp4").stat().st_size > 0


def test_what_cannot_be_filmed_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="episode of this run"):
        film_episode(run, "point-reach/left#99", tmp_path / "film.mp4")
    with pytest.raises(RecordError, match=r"film\.avi: videos are MP4"):
        film_episode(run, run.episodes[0].episode.key, tmp_path / "film.avi")
    assert list(tmp_path.iterdir()) == []


def test_an_episode_that_breaks_now_says_why(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare_broken(header: RunHeader, **options: Any) -> Evaluation:
        evaluation = prepare_recorded(header, **options)

        class Broken(type(evaluation.policy)):  # type: ignore[misc]
            def act(self, *asked: object) -> Decision:
                raise ArithmeticError("it broke")

        policy = copy(evaluation.policy)
        policy.__class__ = Broken
        return replace(evaluation, policy=policy)

    monkeypatch.setattr("vlabench.verify.prepare_recorded", prepare_broken)
    (found,) = verify_run(run, episodes=1, workers=1)
    assert found.where == "an error now: ArithmeticError: it broke"
    with pytest.raises(RecordError, match=r"left#0 could not be filmed: (?s:.*) it broke"):
        film_episode(run, found.key, tmp_path / "film.mp4")
    assert not (tmp_path / "film.mp4").exists()


def test_a_run_of_another_tool_cannot_be_run_again(run: Run, tmp_path: Path) -> None:
    refuse_ingested(run)
    ingested = Ingested(format="csv", sources={}, states_known=True)
    theirs = replace(run, header=replace(run.header, ingested=ingested))
    with pytest.raises(RecordError, match="the run was ingested from csv"):
        refuse_ingested(theirs)
    with pytest.raises(RecordError, match="ingested from csv"):
        verify_run(theirs, episodes=1)
    with pytest.raises(RecordError, match="ingested from csv"):
        film_episode(theirs, run.episodes[0].episode.key, tmp_path / "film.mp4")
