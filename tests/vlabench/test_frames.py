"""Runs as one pandas table."""

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from vlabench import read_frame, read_run, success_rate
from vlabench.errors import MissingExtraError, RecordError
from vlabench.ingest import ingest
from vlabench.store import write_run

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "ingest"
EXPERT = next((ROOT / "results/metaworld/metaworld-expert").glob("*.jsonl"))
RANDOM = next((ROOT / "results/libero/random").glob("*.jsonl"))


def test_a_row_is_an_episode_with_its_run_beside_it() -> None:
    frame = read_frame([EXPERT, RANDOM])
    expert, random = read_run(EXPERT), read_run(RANDOM)
    assert len(frame) == len(expert.episodes) + len(random.episodes)
    assert set(frame["policy"]) == {"metaworld-expert", "random"}
    rates = frame.groupby("policy")["success"].mean()
    assert rates["metaworld-expert"] == pytest.approx(success_rate(expert.episodes).value)
    row = frame.iloc[0]
    first = expert.episodes[0]
    assert (row["episode"], row["steps"]) == (first.episode.key, first.steps)
    assert first.trace
    assert row["trajectory"] == first.trace.digest
    assert row["protocol"] == "mt50@1"


def test_an_error_is_missing_not_false(tmp_path: Path) -> None:
    lines = RANDOM.read_text().splitlines()[:3]
    broken = {**json.loads(lines[2]), "outcome": "error", "error": "it broke"}
    path = tmp_path / "run.jsonl"
    path.write_text("\n".join([*lines[:2], json.dumps(broken)]) + "\n")
    frame = read_frame(path)
    assert frame["success"].isna().tolist() == [False, True]
    assert frame["outcome"].tolist() == ["failure", "error"]


def test_progress_is_missing_where_the_suite_cannot_say(tmp_path: Path) -> None:
    first, *lines = RANDOM.read_text().splitlines()[:3]
    lines[0] = json.dumps({**json.loads(lines[0]), "progress": 0.25})
    path = tmp_path / "run.jsonl"
    path.write_text("\n".join([first, *lines]) + "\n")
    frame = read_frame(path)
    assert frame["progress"][0] == 0.25
    assert frame["progress"].isna().tolist() == [False, True]


def ingested(path: Path, source: str) -> Path:
    write_run(path, ingest([DATA / source], policy="mine", suite="s"))
    return path


def test_what_an_ingested_run_does_not_say_is_missing_and_never_a_default(tmp_path: Path) -> None:
    frame = read_frame([RANDOM, ingested(tmp_path / "csv.jsonl", "plain.csv")])
    ours, theirs = (frame[frame["policy"] == policy] for policy in ("random", "mine"))
    assert len(theirs) == 4
    said = {"run", "suite", "suite_version", "protocol", "plan", "policy", "comparable", "episode"}
    said |= {"task", "init", "repeat", "scene_seed", "outcome", "success", "steps", "error"}
    known = [name for name in frame if theirs[name].notna().any()]
    assert set(known) == said
    assert frame["privileged"].dtype == "boolean"
    assert not ours["privileged"].any()
    assert ours[["privileged", "settings", "commit", "seed", "decisions"]].notna().all(axis=None)


def test_a_number_of_an_attempt_is_no_initial_state(tmp_path: Path) -> None:
    frame = read_frame(ingested(tmp_path / "lerobot.jsonl", "lerobot_new.json"))
    assert frame["init"].isna().all()
    assert frame["episode"].is_unique


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot read"):
        read_frame(str(tmp_path / "none.jsonl"))
    with pytest.raises(ValueError, match="no results file to read"):
        read_frame([])


def test_without_pandas_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_pandas(name: str, *arguments: Any, **settings: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *arguments, **settings)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    with pytest.raises(MissingExtraError, match=r"vlabench-harness\[frames\]"):
        read_frame(RANDOM)
