"""Results files: appended to, never rewritten, and whole whatever happens to the process."""

import errno
import hashlib
import json
import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typer.testing import CliRunner

from vlabench import (
    EpisodeRecord,
    EpisodeSpec,
    Outcome,
    Run,
    RunHeader,
    RunWriter,
    SerialRunner,
    locks,
    prepare,
    read_run,
    store,
)
from vlabench.cli import app
from vlabench.errors import RecordError, RunLockedError, StorageError
from vlabench.plan import PlanRequest
from vlabench.record import Fingerprint, Ingested, Provenance, Seconds, Trace
from vlabench.store import read_all, read_record, read_records, read_results, write_run
from vlabench.table import Results, Table, results_of, unfinished

ROOT = Path(__file__).parents[2]
COMMITTED = sorted((ROOT / "results").glob("*/*/*.jsonl"))

NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
TEXTS = st.text(max_size=12)  # half pairs included, as tracebacks with broken file names have them
TIMES = st.floats(0, 1e6)
TABLES = st.dictionaries(TEXTS, TEXTS, max_size=3)
HEX = st.text("0123456789abcdef", max_size=32)
SEEDS = st.integers(0, 2**32 - 1)

episode_specs = st.builds(
    EpisodeSpec,
    task_id=NAMES.map("suite/{}".format),
    init_index=st.integers(0, 99),
    repeat=st.integers(0, 9),
    scene_seed=SEEDS,
    policy_seed=SEEDS,
)
common: dict[str, st.SearchStrategy[Any]] = {
    "episode": episode_specs,
    "steps": st.integers(0, 10**6),
    "decisions": st.integers(0, 10**6),
    "samples": st.integers(0, 10**9),
    "flops": st.none() | st.floats(0, 1e20),
    "seconds": st.builds(Seconds, simulator=TIMES, render=TIMES, policy=TIMES),
    "trace": st.none() | st.builds(Trace, digest=HEX, states=HEX, actions=HEX),
}
PROGRESS = {Outcome.SUCCESS: st.just(1.0), Outcome.FAILURE: st.floats(0, 1)}
records = st.one_of(
    [
        st.builds(EpisodeRecord, outcome=st.just(outcome), progress=st.none() | share, **common)
        for outcome, share in PROGRESS.items()
    ]
) | st.builds(EpisodeRecord, outcome=st.just(Outcome.ERROR), error=TEXTS, **common)
runs = st.lists(records, max_size=6, unique_by=lambda record: record.episode.key)
headers = st.builds(
    RunHeader,
    suite_id=NAMES,
    suite_version=st.integers(1, 9),
    protocol=TEXTS,
    plan_digest=HEX,
    request=st.builds(PlanRequest, tasks=TEXTS, episodes=st.integers(1, 99), seed=SEEDS),
    policy_id=NAMES,
    policy_digest=HEX,
    privileged=st.booleans(),
    settings=TABLES,
    fingerprint=st.builds(
        Fingerprint,
        versions=TABLES,
        canaries=st.dictionaries(TEXTS, TIMES, max_size=2),
        mismatches=st.lists(TEXTS, max_size=2).map(tuple),
    ),
    provenance=st.builds(Provenance, started_at=TEXTS, vlabench=TEXTS, packages=TABLES),
    planned=st.dictionaries(NAMES.map("suite/{}".format), st.integers(1, 99), max_size=3),
)

HEADER = RunHeader(
    suite_id="suite",
    suite_version=1,
    protocol="standard@1",
    plan_digest="0123456789abcdef",
    request=PlanRequest(episodes=3),
    policy_id="policy",
    provenance=Provenance(started_at="2026-01-01T00:00:00+00:00", vlabench="0.1.0"),
)


def record(init_index: int, outcome: Outcome = Outcome.FAILURE) -> EpisodeRecord:
    return EpisodeRecord(
        episode=EpisodeSpec(
            task_id="suite/task", init_index=init_index, scene_seed=1, policy_seed=2
        ),
        outcome=outcome,
        error="it broke\n" if outcome is Outcome.ERROR else None,
    )


def write(path: Path, *episodes: EpisodeRecord, header: RunHeader = HEADER) -> Run:
    """Open a run, append to it, close it; return what was found there."""
    with RunWriter(path, header) as writer:
        for episode in episodes:
            writer.write(episode)
        return writer.run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


@given(header=headers, episodes=runs)
@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_written_is_what_is_read(
    header: RunHeader, episodes: list[EpisodeRecord], tmp_path: Path
) -> None:
    path = tmp_path / "run.jsonl"
    path.unlink(missing_ok=True)
    assert write(path, *episodes, header=header) == Run(header=header, episodes=())
    assert read_run(path) == Run(header=header, episodes=tuple(episodes))


@given(episodes=runs)
@settings(
    deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_record_is_on_disk_when_write_returns(
    episodes: list[EpisodeRecord], tmp_path: Path
) -> None:
    path = tmp_path / "run.jsonl"
    path.unlink(missing_ok=True)
    with RunWriter(path, HEADER) as writer:
        for count, episode in enumerate(episodes, start=1):
            writer.write(episode)
            assert read_run(path).episodes == tuple(episodes[:count])


def test_a_record_is_handed_to_the_disk_itself_before_write_returns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it is lost when the machine, and not only this process, goes down."""
    handed = []
    fsync = os.fsync

    def handing(descriptor: int) -> None:
        fsync(descriptor)
        if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:  # not its folder
            handed.append((path.stat().st_ino, path.read_bytes()))

    monkeypatch.setattr(os, "fsync", handing)
    with RunWriter(path, HEADER) as writer:
        for count in range(3):
            assert handed[-1] == (path.stat().st_ino, path.read_bytes())
            assert len(handed) == 1 + count
            writer.write(record(count))


def test_a_line_is_a_json_object_that_says_what_it_is(path: Path) -> None:
    write(path, record(0))
    write(path, record(1))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["kind"] for row in rows] == ["header", "episode", "resumed", "episode"]
    assert all(list(row) == ["kind", *sorted(row.keys() - {"kind"})] for row in rows)


def test_a_number_that_json_does_not_have_is_refused_and_nothing_is_written(path: Path) -> None:
    with RunWriter(path, HEADER) as writer:
        before = path.read_bytes()
        with pytest.raises(ValueError, match="JSON"):
            writer.write(replace(record(0), flops=float("nan")))
        assert path.read_bytes() == before


def test_a_line_torn_at_any_byte_is_found_and_costs_that_episode_only(path: Path) -> None:
    write(path, record(0), record(1, Outcome.SUCCESS))
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for length in reversed(range(len(whole))):
        os.truncate(path, length)
        if length < ends[0]:
            with pytest.raises(RecordError, match="its first line is no header"):
                read_run(path)
            continue
        found = read_run(path)
        assert found.torn == (length not in ends)
        assert len(found.episodes) == sum(end <= length for end in ends) - 1


def test_a_file_torn_at_any_byte_is_gone_on_with(path: Path) -> None:
    write(path, record(0), record(1))
    whole = path.read_bytes()
    first, second = (
        i + 1 for i, byte in enumerate(whole) if byte == ord("\n") and i + 1 < len(whole)
    )
    for length in (*range(0, first, 41), *range(first, len(whole), 7), len(whole)):
        path.write_bytes(whole[:length])
        there = [length >= second, length == len(whole)]
        found = write(path, *[record(i) for i in (0, 1) if not there[i]])
        assert len(found.episodes) == sum(there)
        run = read_run(path)
        assert not run.torn
        assert run.episodes == (record(0), record(1))


def test_nothing_that_stands_is_changed_by_going_on(path: Path) -> None:
    write(path, record(0))
    before = path.read_bytes()
    write(path, record(1))
    assert path.read_bytes().startswith(before)


def test_each_process_that_went_on_leaves_where_and_with_what(path: Path) -> None:
    write(path, record(0))
    later = replace(HEADER, provenance=Provenance(started_at="later", vlabench="0.2.0", workers=8))
    write(path, record(1), header=later)
    run = read_run(path)
    assert run.header == HEADER
    assert run.resumed == (later.provenance,)


def test_a_process_that_had_nothing_to_add_leaves_nothing(path: Path) -> None:
    write(path, record(0))
    before = path.read_bytes()
    write(path)
    with RunWriter(path, HEADER) as writer, pytest.raises(ValueError, match="JSON"):
        writer.write(replace(record(1), flops=float("nan")))
    assert path.read_bytes() == before


def test_an_error_may_be_tried_again_and_the_last_record_counts(path: Path) -> None:
    write(path, record(0, Outcome.ERROR), record(1))
    found = write(path, record(0, Outcome.ERROR))
    assert [r.outcome for r in found.episodes] == [Outcome.ERROR, Outcome.FAILURE]
    write(path, record(0, Outcome.SUCCESS))
    assert read_run(path).episodes == (record(1), record(0, Outcome.SUCCESS))
    assert path.read_bytes().count(b'"error": "it broke') == 2  # both are still there


@pytest.mark.parametrize("second", list(Outcome))
def test_an_episode_that_ended_is_not_recorded_twice(second: Outcome, path: Path) -> None:
    write(path, record(0, Outcome.SUCCESS), record(0, second))
    with pytest.raises(RecordError, match=r"run\.jsonl:3: episode suite/task#0 is recorded twice"):
        read_run(path)


def test_a_second_writer_is_refused_while_the_first_is_there(path: Path) -> None:
    with RunWriter(path, HEADER) as first:
        with pytest.raises(RunLockedError, match="written by another vlabench process"):
            RunWriter(path, HEADER)
        first.write(record(0))
    assert write(path).episodes == (record(0),)
    first.close()


def test_a_record_is_on_disk_when_it_is_written_and_so_is_the_name_of_its_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, int]] = []

    def fsync(handle: int) -> None:
        what = os.fstat(handle)
        synced.append(
            ("file", what.st_size) if what.st_ino == path.stat().st_ino else ("folder", 0)
        )

    monkeypatch.setattr(store.os, "fsync", fsync)
    with RunWriter(path, HEADER) as writer:
        assert synced == [("file", path.stat().st_size), ("folder", 0)]
        writer.write(record(0))
        assert synced[2:] == [("file", path.stat().st_size)]


@pytest.mark.parametrize("harm", ["removed", "changed"])
def test_a_file_that_somebody_removed_or_changed_is_not_written_on(harm: str, path: Path) -> None:
    with RunWriter(path, HEADER) as writer:
        writer.write(record(0))
        path.unlink() if harm == "removed" else path.write_bytes(b"")
        with pytest.raises(StorageError, match=rf"run\.jsonl was {harm} by somebody else"):
            writer.write(record(1))
    assert not path.exists() or not path.read_bytes()


def test_a_disk_that_is_full_keeps_whole_lines_and_the_run_goes_on_later(path: Path) -> None:
    """A limit on the size of files stands for a disk."""
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RunWriter(path, HEADER) as writer:
        writer.write(record(0))
        before = path.read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, kept[1]))
        try:
            with pytest.raises(StorageError, match=r"cannot write .*run\.jsonl: File too large"):
                writer.write(record(1))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, kept)
        assert path.read_bytes() == before
        writer.write(record(1))
    assert read_run(path).episodes == (record(0), record(1))


def test_a_file_that_could_not_be_begun_is_not_left_behind(path: Path) -> None:
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, kept[1]))
    try:
        with pytest.raises(StorageError, match="File too large"):
            RunWriter(path, HEADER)
        with pytest.raises(RecordError, match="File too large"):
            write_run(path, Run(header=HEADER, episodes=(record(0),)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert list(path.parent.iterdir()) == []


def test_a_pipe_or_device_is_no_results_file(path: Path) -> None:
    os.mkfifo(path)
    for place in (path, Path("/dev/null")):
        with pytest.raises(RecordError, match=f"cannot write {place}: it is no regular file"):
            RunWriter(place, HEADER)
    with pytest.raises(RecordError, match="/dev/zero is not a vlabench results file"):
        read_run(Path("/dev/zero"))


def test_a_file_system_without_locks_is_said_to_be_one_and_leaves_no_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(RecordError, match=r"no locks \(No locks available\); --no-lock goes on"):
        RunWriter(path, HEADER)
    assert not path.exists()
    locks.use_locks(wanted=False)
    try:
        write(path, record(0))
        assert read_run(path).episodes == (record(0),)
    finally:
        locks.use_locks(wanted=True)


def test_recorded_episodes_are_held_against_the_plan(path: Path) -> None:
    """Another task, another state and other seeds are named; what is missing is what is left."""
    plan = [record(number).episode for number in range(3)]
    write(path, record(0), record(1))
    with RunWriter(path, HEADER, plan) as writer:
        assert len(writer.run.episodes) == 2
    before = path.read_bytes()
    for wrong, message in (
        ([plan[0], replace(plan[1], scene_seed=7)], "#1 with other seeds than its plan's"),
        ([plan[0], replace(plan[1], policy_seed=7)], "#1 with other seeds than its plan's"),
        ([plan[0], replace(plan[1], task_id="suite/other")], "holds episode suite/task#1, which"),
        ([plan[0], plan[2]], "holds episode suite/task#1, which is not of its plan"),
    ):
        with pytest.raises(RecordError, match=message):
            RunWriter(path, HEADER, wrong)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("settings", ["chunk=4"]),
        ("settings", {"chunk": {"a": 1}}),
        ("policy_id", ["random"]),
        ("suite_version", "1"),
        ("request", {"tasks": "*", "episodes": "all"}),
        ("fingerprint", {"versions": [], "canaries": {}, "mismatches": []}),
        ("fingerprint", []),
    ],
)
def test_a_header_whose_fields_are_of_other_kinds_is_refused_in_one_line(
    field: str, value: object, path: Path
) -> None:
    write(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}) + "\n")
    for read in (read_run, read_results):
        with pytest.raises(
            RecordError, match=r"run\.jsonl:1 is not a header of this format"
        ) as said:
            read(path)
        assert "\n" not in str(said.value)


def test_a_resumption_is_no_record(path: Path) -> None:
    write(path, record(0))
    place = path.stat().st_size
    write(path, record(1))
    with pytest.raises(RecordError, match=f"no record begins at byte {place}, but a resumption"):
        read_record(path, place)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"suite_version": 2}, "suite: suite@1 there, suite@2 here"),
        ({"protocol": "other@1"}, "protocol: standard@1 there, other@1 here"),
        ({"plan_digest": "f" * 16}, "plan: 0123456789abcdef there, ffffffffffffffff here"),
        ({"policy_id": "other"}, "policy: policy there, other here"),
        ({"policy_digest": "abc"}, "policy digest:  there, abc here"),
        ({"settings": {"chunk": "4"}}, "settings: {} there, {'chunk': '4'} here"),
        (
            {"fingerprint": Fingerprint(versions={"mujoco": "3.3.0"})},
            "simulator versions: {} there",
        ),
    ],
)
def test_another_runs_file_is_refused_with_what_differs_and_left_alone(
    changes: dict[str, Any], message: str, path: Path
) -> None:
    write(path, record(0))
    before = path.read_bytes()
    with pytest.raises(RecordError) as found:
        RunWriter(path, replace(HEADER, **changes))
    assert message in str(found.value)
    assert path.read_bytes() == before
    write(path)  # the lock is free again


@pytest.mark.parametrize(
    "content",
    [
        b"somebody's notes\n",
        b"{}\n",
        b"[]\n",
        b'{"kind": "episode"}\n',
        b'{"kind": "header"}\n',
        b'{"kind": "header", "schema": 1}\n',
        b"\n",
        b"\xff\xfe\n",
        b'{"kind": "header", "schema": 1, "request": [], "provenance": {}, "fingerprint": {}}\n',
    ],
)
@pytest.mark.parametrize("use", [read_run, write], ids=["read", "write"])
def test_a_file_that_is_no_results_file_is_refused_and_left_alone(
    content: bytes, use: Callable[[Path], Run], path: Path
) -> None:
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"run\.jsonl"):
        use(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"my notes, in one line", b"PK\x03\x04 a picture", b"{}"])
def test_a_foreign_file_without_a_line_end_is_refused_and_left_alone(
    content: bytes, path: Path
) -> None:
    path.write_bytes(content)
    with pytest.raises(RecordError):
        write(path)
    assert path.read_bytes() == content


def test_another_schema_is_refused_with_both_numbers(path: Path) -> None:
    write(path)
    path.write_bytes(path.read_bytes().replace(b'"schema": 1', b'"schema": 7'))
    with pytest.raises(RecordError, match="has schema 7; this version reads 1"):
        read_run(path)


@pytest.mark.parametrize(
    "line",
    [
        '{"kind": "episode"}',
        '{"no": "kind"}',
        "not json",
        "3",
        "",
        '{"kind": "resumed"}',
        '{"kind": "header"}',
        '{"kind": "episode", "episode": {}, "outcome": "won", "seconds": {}, "trace": null}',
    ],
)
def test_a_line_that_is_no_record_is_named_by_its_number(line: str, path: Path) -> None:
    write(path, record(0))
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RecordError, match=r"run\.jsonl:3 is not"):
        read_run(path)


def test_an_outcome_and_an_error_that_contradict_each_other_are_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="outcome success with error"):
        replace(record(0), outcome=Outcome.SUCCESS, error="it broke")
    with pytest.raises(ValueError, match="outcome error with error None"):
        replace(record(0), outcome=Outcome.ERROR)
    write(path, record(0, Outcome.SUCCESS))
    path.write_bytes(path.read_bytes().replace(b'"success"', b'"error"'))
    with pytest.raises(RecordError, match="outcome error with error None"):
        read_run(path)


@pytest.mark.parametrize(
    ("outcome", "share"),
    [
        ("success", 0.5),
        ("success", 0),
        ("failure", 1.5),
        ("failure", -0.1),
        ("failure", float("nan")),
        ("error", 0.5),
        ("error", 1.0),
    ],
)
def test_progress_that_contradicts_the_outcome_is_refused(
    outcome: str, share: float, path: Path
) -> None:
    with pytest.raises(
        ValueError, match=f"outcome {outcome} with progress {share}, expected 1 for"
    ):
        replace(record(0, Outcome(outcome)), progress=share)
    write(path)
    error = "it broke" if outcome == "error" else None
    with path.open("a") as file:
        file.write(line_of({"outcome": outcome, "error": error, "progress": share}) + "\n")
    for read in (read_run, read_results):
        with pytest.raises(RecordError, match=rf"run\.jsonl:2 .* outcome {outcome} with progress"):
            read(path)


def test_progress_is_in_the_line_where_there_is_any_and_only_there(path: Path) -> None:
    graded = replace(record(1), progress=0.25)
    write(path, record(0), graded)
    whole = path.with_name("whole.jsonl")
    write_run(whole, Run(header=HEADER, episodes=(record(0), graded)))
    assert whole.read_bytes() == path.read_bytes()
    rows = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert [row.get("progress", "none") for row in rows] == ["none", 0.25]


def test_a_file_without_progress_is_gone_on_with(path: Path) -> None:
    """As a run that an older vlabench began."""
    write(path, record(0))
    write(path, replace(record(1), progress=0.25), record(2, Outcome.ERROR))
    assert [r.progress for r in read_run(path).episodes] == [None, 0.25, None]
    progress = read_results(path).table.progress
    assert progress[1] == 0.25
    assert np.isnan(progress[[0, 2]]).all()


def test_what_was_planned_is_in_the_header_where_it_is_known_and_only_there(path: Path) -> None:
    write(path, header=replace(HEADER, planned={"suite/b": 3, "suite/a": 3}))
    assert '"planned": {"suite/b": 3, "suite/a": 3}' in path.read_text()  # in the plan's order
    path.unlink()
    write(path, record(0))
    before = path.read_bytes()
    assert b"planned" not in before
    assert read_run(path).header == HEADER


def test_a_file_that_does_not_say_what_was_planned_is_gone_on_with(path: Path) -> None:
    """As a run that an older vlabench began."""
    write(path, record(0))
    write(path, record(1), header=replace(HEADER, planned={"suite/task": 3}))
    assert len(read_run(path).episodes) == 2
    assert read_run(path).header.planned == {}


@pytest.mark.parametrize("strange", ["3", '{"suite/task": 0}', '{"suite/task": "3"}', "null"])
def test_a_plan_that_is_none_is_refused(strange: str, path: Path) -> None:
    write(path, header=replace(HEADER, planned={"suite/task": 3}))
    text = path.read_text()
    path.write_text(text.replace('{"suite/task": 3}', strange))
    assert path.read_text() != text
    for read in (read_run, read_results):
        with pytest.raises(RecordError, match=r"run\.jsonl:1 is not a header of this format"):
            read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": ["chunk"]}, "Expected `object`, got `array` - at `$.settings`"),
        ({"settings": {"chunk": {"a": 1}}}, "Expected `str`, got `object`"),
        ({"policy_id": 3}, "Expected `str`, got `int` - at `$.policy_id`"),
        ({"suite_version": "1"}, "Expected `int`, got `str`"),
        ({"cameras": [1]}, "Expected `str`, got `int`"),
        ({"fingerprint": {"versions": {}, "canaries": {"x": "y"}, "mismatches": []}}, "float"),
        ({"ingested": ["csv"]}, "is not a header of this format"),
    ],
)
def test_a_foreign_header_is_refused_by_one_line_that_names_the_field(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.jsonl"
    write_run(path, Run(header=HEADER, episodes=()))
    row = json.loads(path.read_text())
    path.write_text(json.dumps(row | change) + "\n")
    for read in (read_run, read_results):
        with pytest.raises(RecordError, match=r"run\.jsonl:1 is not a header") as caught:
            read(path)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def unended(*tasks: str, planned: dict[str, int] | None = None, **request: Any) -> str:
    """What is said of a run with so many episodes of each task: `goal/0 goal/0 goal/1`."""
    count: Counter[str] = Counter()
    episodes = []
    for task in tasks:
        spec = EpisodeSpec(task_id=task, init_index=count[task], scene_seed=0, policy_seed=0)
        episodes.append(replace(record(0), episode=spec))
        count[task] += 1
    header = replace(HEADER, planned=planned or {}, request=PlanRequest(**request))
    return unfinished(results_of(Run(header=header, episodes=tuple(episodes))))


def test_an_unfinished_run_is_told_from_its_plan_with_the_tasks_that_are_missing() -> None:
    planned = {f"{suite}/{n}": 2 for suite in ("goal", "object") for n in range(3)}
    whole = [task for task in planned for _ in range(2)]
    assert unended(*whole, planned=planned, episodes=2) == ""
    assert unended(*whole[:6], planned=planned, episodes=2) == (
        "is not finished, 6 of 12 episodes, none of object/*"
    )
    assert unended(*whole[:7], planned=planned, episodes=2) == (
        "is not finished, 7 of 12 episodes, none of object/1, object/2"
    )
    assert unended(*whole[1:], planned=planned, episodes=2) == "is not finished, 11 of 12 episodes"
    assert unended(planned=planned, episodes=2) == (
        "is not finished, 0 of 12 episodes, none of goal/*, object/*"
    )
    many = {f"g/{n}": 1 for n in range(9)}
    assert unended("g/0", planned=many, episodes=1) == (
        "is not finished, 1 of 9 episodes, none of g/1, g/2, g/3, g/4, g/5 and 3 more"
    )


def test_an_older_file_is_held_to_the_tasks_that_it_has_and_that_were_asked_for_by_name() -> None:
    half = ["goal/0", "goal/0", "goal/1"]
    assert unended(*half, episodes=2) == "is not finished, 3 of 4 episodes"
    assert unended(*half, tasks="goal/0, goal/1", episodes=2, repeats=2) == (
        "is not finished, 3 of 8 episodes"
    )
    assert unended(*half, tasks="goal/0,goal/2,ob*/1", episodes=2) == (
        "is not finished, 3 of 6 episodes, none of goal/2"
    )


@pytest.mark.parametrize(
    "command",
    ["show {0}", "compare {0} {0}", "compare {0} {0} --unpaired",
     "gate --baseline {0} --candidate {0}"],
)  # fmt: skip
def test_every_command_says_how_much_of_its_plan_a_run_that_was_cut_short_is(
    command: str, path: Path
) -> None:
    evaluation = prepare("point-reach", "random", request={"episodes": 4})
    for _ in evaluation.run(SerialRunner(), path):
        pass
    whole = CliRunner().invoke(app, command.format(path).split())
    assert "not finished" not in whole.stdout
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    cut = CliRunner().invoke(app, command.format(path).split())
    assert "is not finished, 3 of 8 episodes, none of point-reach/right" in cut.stdout


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot read"):
        read_run(tmp_path / "missing.jsonl")
    for wrong in (tmp_path, Path("/proc/nowhere/run.jsonl")):
        with pytest.raises(RecordError, match="cannot write"):
            RunWriter(wrong, HEADER)


def columns(table: Table) -> dict[str, NDArray[Any]]:
    return {column.name: np.asarray(getattr(table, column.name)) for column in fields(table)}


def assert_same(found: Results, run: Run) -> None:
    """Hold what is read as numbers against what is read as records."""
    wanted = results_of(run)
    assert (found.header, found.resumed, found.torn) == (run.header, run.resumed, run.torn)
    assert list(found.errors.items()) == list(wanted.errors.items())
    for name, column in columns(wanted.table).items():
        if name != "place":
            np.testing.assert_array_equal(columns(found.table)[name], column, err_msg=name)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_numbers_are_those_of_the_records_in_every_committed_file(path: Path) -> None:
    found, run = read_results(path), read_run(path)
    assert_same(found, run)
    assert (found.path, found.sha256) == (path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert read_results(path, hashed=False).sha256 == ""
    keys = {episode.episode.key: episode for episode in run.episodes}
    places = found.table.place[:: len(run.episodes) // 7].tolist()
    for row, place in zip(range(0, len(run.episodes), len(run.episodes) // 7), places, strict=True):
        assert read_record(path, place) == keys[found.table.key(row)]


def test_much_is_read_in_other_processes_with_the_same_numbers_and_words(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_here(path: Path) -> Any:
        raise AssertionError(f"{path} was read in this process")

    write(path, record(0), record(1, Outcome.SUCCESS))
    paths = [path, *COMMITTED[:2]]
    wanted = [read_run(path) for path in paths]
    assert [found.path for found in read_all(paths)] == paths  # little: here
    monkeypatch.setattr(store, "_MUCH", 0)
    monkeypatch.setattr(store, "_blocks", read_here)
    for found, run in zip(read_all(paths), wanted, strict=True):
        assert_same(found, run)
    assert [found.sha256 for found in read_all(paths, hashed=False)] == [""] * 3
    path.write_bytes(b"notes")
    with pytest.raises(RecordError, match=f"{path} is not a vlabench results file"):
        read_all(paths)
    with pytest.raises(RecordError, match=r"cannot read .*nowhere"):
        read_all([path.with_name("nowhere"), path])


UNKNOWN = ("steps", "decisions", "samples", "seconds", "peak_mb", "scene_seed", "policy_seed")


@given(
    header=headers,
    episodes=runs,
    unknown=st.sets(st.sampled_from(UNKNOWN)),
    retried=st.sets(st.integers(0, 5)),
    cut=st.integers(0, 400),
    ends=st.sampled_from([b"\n", b"\r\n"]),
)
@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_numbers_are_those_of_the_records_whatever_happened_to_a_file(
    header: RunHeader,
    episodes: list[EpisodeRecord],
    unknown: set[str],
    retried: set[int],
    cut: int,
    ends: bytes,
    tmp_path: Path,
) -> None:
    """Errors, tried again or not; other processes; nulls; any text; a torn last line."""
    path = tmp_path / "run.jsonl"
    path.unlink(missing_ok=True)
    ingested = Ingested(format="csv", sources={}, states_known=True, unknown=tuple(unknown))
    write_run(path, Run(header=replace(header, ingested=ingested), episodes=tuple(episodes)))
    first, *lines = path.read_bytes().splitlines()
    broken = [
        json.dumps(
            {**json.loads(line), "outcome": "error", "error": "\ud800 broke", "progress": None}
        ).encode()
        for place, line in enumerate(lines)
        if place in retried
    ]
    resumed = json.dumps({"kind": "resumed", **asdict(header.provenance)}).encode()
    whole = ends.join([first, *broken, resumed, *lines, resumed[:cut]])
    path.write_bytes(whole)
    found = read_results(path)
    assert_same(found, read_run(path))
    assert found.sha256 == hashlib.sha256(whole).hexdigest()
    for row, place in enumerate(found.table.place.tolist()):
        assert read_record(path, place).episode.key == found.table.key(row)


@pytest.mark.parametrize("path", COMMITTED[-2:], ids=lambda path: path.parent.name)
def test_usual_lines_are_decoded_by_types_alone(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a million of them take a minute: the words for strange lines are not fast."""
    run = read_run(path)
    ingested = Ingested(format="csv", sources={}, states_known=True, unknown=UNKNOWN)
    with_nulls = tmp_path / "ingested.jsonl"
    write_run(with_nulls, replace(run, header=replace(run.header, ingested=ingested)))

    def slow(*_: object) -> None:
        raise AssertionError("a usual line was read slowly")

    monkeypatch.setattr("vlabench.store._entry", slow)
    for each in (path, with_nulls):
        assert len(read_results(each).table.outcome) == len(run.episodes)


def line_of(changes: dict[str, Any], init_index: int = 5) -> str:
    """A line that is right but for some fields; `episode.x` is a field of the episode."""
    row = {"kind": "episode", **asdict(record(init_index))}
    for name, value in changes.items():
        place, _, field = name.rpartition(".")
        (row[place] if place else row)[field] = value
    return json.dumps(row)


STRANGE = [
    "not json",
    "",
    "3",
    "[]",
    '{"kind": "episode"}',
    '{"no": "kind"}',
    '{"kind": "resumed"}',
    '{"kind": "header"}',
    line_of({}) + " {}",
    line_of({})[:-1],
    line_of({})[:-1] + ', "more": 1}',
    line_of({"outcome": "won"}),
    line_of({"outcome": "error"}),
    line_of({"error": "it broke"}),
    line_of({"outcome": "success", "progress": 0.5}),
    line_of({"progress": 1.5}),
    line_of({"progress": "half"}),
    line_of({"steps": -1}),
    line_of({"steps": None}),
    line_of({"decisions": 1.5}),
    line_of({"samples": True}),
    line_of({"seconds": None}),
    line_of({"seconds": {"waiting": 1.0}}),
    line_of({"trace": {"digest": "ab"}}),
    line_of({"episode": 7}),
    line_of({"episode.task_id": 7}),
    line_of({"episode.more": 7}),
    line_of({}, init_index=0),  # recorded twice
]


@pytest.mark.parametrize("line", STRANGE)
@pytest.mark.parametrize("after", ["", line_of({}, init_index=1), "{}"])
def test_what_is_wrong_is_said_in_the_same_words(line: str, after: str, path: Path) -> None:
    """With the first thing that is wrong first, also where an episode is recorded twice after."""
    write(path, record(0), record(1), record(2, Outcome.ERROR))
    with path.open("a") as file:
        file.write(line + "\n" + (after + "\n" if after else ""))
    with pytest.raises(RecordError) as wanted:
        read_run(path)
    with pytest.raises(RecordError) as found:
        read_results(path)
    assert str(found.value) == str(wanted.value)
    assert f"{path}:5" in str(found.value)


def test_an_episode_that_is_recorded_twice_comes_before_what_is_wrong_after_it(path: Path) -> None:
    write(path, record(0), record(1), record(0))
    with path.open("a") as file:
        file.write("not json\n")
    for read in (read_run, read_results):
        with pytest.raises(RecordError, match=r"run\.jsonl:4: episode suite/task#0 is recorded"):
            read(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"episode.init_index": 1.5},
        {"episode.init_index": "5"},
        {"episode.scene_seed": None},
        {"episode.repeat": 2**63},
        {"samples": 2**63},
        {"flops": "many"},
        {"trace": {"digest": "d" * 33, "states": "", "actions": ""}},
    ],
)
def test_a_value_that_is_no_number_of_its_column_is_named_by_its_line(
    changes: dict[str, Any], path: Path
) -> None:
    write(path, record(0))
    with path.open("a") as file:
        file.write(line_of(changes) + "\n")
    with pytest.raises(RecordError, match=r"run\.jsonl:3 is not a record of this format"):
        read_results(path)


@pytest.mark.parametrize("content", [b"", b"{}\n", b"notes", b'{"kind": "header", "schema": 7}\n'])
def test_a_file_that_is_no_run_is_refused_in_the_same_words(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    messages = []
    for read in (read_run, read_results):
        with pytest.raises(RecordError) as found:
            read(path)
        messages.append(str(found.value))
    assert messages[0] == messages[1]
    with pytest.raises(RecordError, match="cannot read"):
        read_results(path.with_name("missing.jsonl"))


def test_a_record_is_read_back_from_where_it_begins_only(path: Path) -> None:
    write(path, record(0), record(1, Outcome.SUCCESS))
    found = read_results(path).table
    assert read_records(path, found.place[::-1].tolist()) == [record(1, Outcome.SUCCESS), record(0)]
    for place in (-1, 0, int(found.place[0]) + 1, path.stat().st_size):
        with pytest.raises(RecordError, match=f"no record begins at byte {place}"):
            read_record(path, place)


def test_a_resumption_is_not_read_back_as_a_record(path: Path) -> None:
    write(path, record(0))
    write(path, record(1))
    place = path.read_bytes().index(b'{"kind": "resumed"')
    with pytest.raises(RecordError, match=f"at byte {place}, but a resumption"):
        read_record(path, place)
    assert read_records(path, read_results(path).table.place.tolist()) == [record(0), record(1)]


_MEMORY = """
import sys
from pathlib import Path
from vlabench.store import read_results
read_results(Path(sys.argv[1]))
line = next(l for l in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in l)
print(int(line.split()[1]) * 1024)
"""


def test_a_large_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    peaks, sizes = [], []
    for count in (100, 20_000):
        path = tmp_path / f"{count}.jsonl"
        write_run(path, Run(header=HEADER, episodes=()))
        text = line_of({"trace": {"digest": "0" * 32, "states": "1" * 2000, "actions": "2" * 2000}})
        with path.open("a") as file:
            for index in range(count):
                file.write(text.replace('"init_index": 5', f'"init_index": {index}', 1) + "\n")
        done = subprocess.run(
            [sys.executable, "-c", _MEMORY, path], check=True, capture_output=True, text=True
        )
        peaks.append(int(done.stdout))
        sizes.append(path.stat().st_size)
    assert peaks[1] - peaks[0] < (sizes[1] - sizes[0]) / 4


def test_a_report_says_how_much_of_its_plan_a_run_that_was_cut_short_is(path: Path) -> None:
    evaluation = prepare("point-reach", "random", request={"episodes": 4})
    for _ in evaluation.run(SerialRunner(), path):
        pass
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    out = path.parent / "report"
    command = f"report mine={path} --formats md --out {out}"
    assert CliRunner().invoke(app, command.split()).exit_code == 0
    said = (out / "report.md").read_text()
    assert "mine is not finished, 3 of 8 episodes, none of point-reach/right." in said
