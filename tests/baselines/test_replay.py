import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlabench import (
    EpisodeRecord,
    Outcome,
    Policy,
    Protocol,
    SerialRunner,
    Stage,
    load_policy,
    load_suite,
    make_plan,
    read_run,
)
from vlabench.errors import RecordError, SettingError, SpecMismatchError
from vlabench.evaluation import prepare
from vlabench.testing import check_policy

SUITE = load_suite("point-reach")
EPISODES = 3
LEFT_1 = "point-reach-left-1.npy"


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "run.jsonl"
    evaluation = prepare("point-reach", "random", request={"episodes": EPISODES})
    list(evaluation.keeping(path, actions=True).run(SerialRunner(), path))
    return path


def replay_of(path: Path, protocol: Protocol | None = None) -> Policy:
    return load_policy("replay", SUITE, protocol, {"run": str(path)})


def play(policy: Policy, protocol: Protocol | None = None, **plan: Any) -> list[EpisodeRecord]:
    rules = protocol or SUITE.protocol()
    stage = Stage(suite=SUITE, protocol=rules, wants=policy.observation)
    episodes = make_plan(SUITE, **{"episodes": EPISODES, **plan}).episodes
    return list(SerialRunner().run(stage, policy, episodes))


def trajectories(records: Any) -> Any:
    return {record.episode.key: (record.outcome, record.trace) for record in records}


def test_a_replay_is_the_recorded_run_to_the_last_bit(recorded: Path) -> None:
    assert trajectories(play(replay_of(recorded))) == trajectories(read_run(recorded).episodes)


def test_replay_keeps_the_contract_of_policies(recorded: Path) -> None:
    check_policy(replay_of(recorded), SUITE)


@pytest.mark.parametrize("replan_steps", [1, 3, 8, 20])
def test_nothing_is_skipped_when_only_a_part_of_a_chunk_is_executed(
    recorded: Path, replan_steps: int
) -> None:
    protocol = replace(SUITE.protocol(), replan_steps=replan_steps)
    again = play(replay_of(recorded, protocol), protocol)
    assert trajectories(again) == trajectories(read_run(recorded).episodes)


def test_a_chunk_has_8_actions_and_the_last_one_goes_on_at_the_end(recorded: Path) -> None:
    policy = replay_of(recorded)
    record = read_run(recorded).episodes[0]
    actions = np.load(recorded.parent / "run.actions" / "point-reach-left-0.npy")
    policy.reset(0, record.episode)
    chunks = [policy.act([0], [None]).actions[0] for _ in range(4)]  # type: ignore[list-item]
    assert {chunk.shape for chunk in chunks} == {(8, 1)}
    played = np.concatenate(chunks)
    assert np.array_equal(played[: len(actions)], actions)
    assert (played[len(actions) :] == actions[-1]).all()


def test_the_digest_is_of_names_and_bytes_of_the_actions(recorded: Path) -> None:
    folder = recorded.parent / "run.actions"
    before = replay_of(recorded).digest
    assert len(before) == 16
    assert replay_of(recorded).digest == before
    content = (folder / LEFT_1).read_bytes()
    (folder / LEFT_1).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    changed = replay_of(recorded).digest
    (folder / LEFT_1).write_bytes(content)
    assert replay_of(recorded).digest == before != changed
    (folder / "another.npy").write_bytes(content)
    assert replay_of(recorded).digest not in (before, changed)


def test_a_run_without_actions_is_refused_with_what_to_do(recorded: Path) -> None:
    (recorded.parent / "run.actions").rename(recorded.parent / "elsewhere")
    with pytest.raises(
        RecordError, match=r"run\.actions is missing.*vlabench run \.\.\. --actions"
    ):
        replay_of(recorded)


def test_a_missing_episode_is_refused_with_what_to_do(recorded: Path) -> None:
    (recorded.parent / "run.actions" / LEFT_1).unlink()
    with pytest.raises(RecordError, match=rf"{LEFT_1}.* is missing.*--actions"):
        replay_of(recorded)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((3, 1), np.float32), r"float32 of shape \[3, 1\]; the record says 20 steps"),
        (np.zeros((20, 1)), r"float64 of shape \[20, 1\]"),
        (np.zeros(20, np.float32), r"float32 of shape \[20\]"),
        (np.array([{}], dtype=object), "is not a file of recorded actions"),
        (b"", "is not a file of recorded actions"),
        (b"\x93NUMPY\x01\x00", "is not a file of recorded actions"),
    ],
    ids=["steps", "dtype", "shape", "pickle", "empty", "torn"],
)
def test_actions_that_are_not_the_records_are_refused(
    recorded: Path, content: Any, message: str
) -> None:
    path = recorded.parent / "run.actions" / LEFT_1
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(RecordError, match=message):
        replay_of(recorded)


def test_actions_of_another_width_are_refused_before_anything_runs(recorded: Path) -> None:
    wide = replace(SUITE.protocol(), action=replace(SUITE.protocol().action, size=7))
    with pytest.raises(SpecMismatchError, match=r"have 1 numbers.*accepts 7 numbers"):
        replay_of(recorded, wide)


def test_an_episode_that_the_run_does_not_have_is_an_error_and_the_rest_go_on(
    recorded: Path,
) -> None:
    records = play(replay_of(recorded), episodes=EPISODES + 1)
    broken = [r for r in records if r.outcome is Outcome.ERROR]
    assert [r.episode.init_index for r in broken] == [EPISODES, EPISODES]
    assert all("holds no actions of episode" in str(r.error) for r in broken)
    assert len(records) == 2 * (EPISODES + 1)


def test_an_episode_that_began_otherwise_is_not_taken_for_the_recorded_one(
    recorded: Path,
) -> None:
    records = play(replay_of(recorded), seed=1)
    assert {r.outcome for r in records} == {Outcome.ERROR}
    assert all("plan with the --seed of that run" in str(r.error) for r in records)


def test_episodes_that_were_errors_are_not_replayed(recorded: Path) -> None:
    lines = recorded.read_bytes().splitlines(keepends=True)
    broken = {**json.loads(lines[1]), "outcome": "error", "error": "it broke"}
    del broken["progress"]
    recorded.write_bytes(b"".join([lines[0], json.dumps(broken).encode() + b"\n", *lines[2:]]))
    (recorded.parent / "run.actions" / "point-reach-left-0.npy").unlink()
    records = play(replay_of(recorded))
    assert [r.episode.key for r in records if r.outcome is Outcome.ERROR] == ["point-reach/left#0"]


def test_a_run_must_be_named_and_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="needs --set run="):
        load_policy("replay", SUITE)
    with pytest.raises(RecordError, match="cannot read"):
        replay_of(tmp_path / "missing.jsonl")
