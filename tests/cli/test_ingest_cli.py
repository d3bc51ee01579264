"""From another tool's file to a decision, with the commands that decide about our own runs."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from vlabench.cli import app

DATA = Path(__file__).parents[1] / "data" / "ingest"


def vlabench(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """The two policies of one file: the second fails where the first does, and 20 times more."""
    rows = ["policy,task,seed,success"]
    for policy, least in (("old", 10), ("new", 30)):
        rows += [f"{policy},reach,{seed},{seed >= least}" for seed in range(60)]
    source = tmp_path / "mine.csv"
    source.write_text("\n".join(rows) + "\n")
    paths = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    for path in paths:
        done = vlabench("ingest", source, "--policy", path.stem, "--suite", "lab", "--out", path)
        assert done.exit_code == 0, done.output
    return paths


def test_show_says_what_it_is(runs: tuple[Path, Path]) -> None:
    text = vlabench("show", runs[0]).stdout
    assert "old on lab v0 under csv@0" in text
    assert "ingested from csv; rules and simulator are unknown" in text
    assert "83.3%" in text


def test_compare_pairs_by_seed(runs: tuple[Path, Path]) -> None:
    done = vlabench("compare", *runs)
    assert done.exit_code == 0
    assert done.stdout.startswith("new is WORSE than old by 33.3 points [")
    assert "n = 60 pairs" in done.stdout


def test_the_gate_finds_the_regression_and_lists_it(runs: tuple[Path, Path]) -> None:
    old, new = runs
    done = vlabench("gate", "--baseline", old, "--candidate", new)
    assert done.exit_code == 1
    assert "lab/reach#10: success then, failure now" in done.stdout
    assert vlabench("gate", "--baseline", old, "--candidate", old, "--margin", "10").exit_code == 0


def test_without_known_states_it_takes_a_word(tmp_path: Path) -> None:
    lerobot = DATA / "lerobot_new.json"
    other = tmp_path / "other.json"
    other.write_text(lerobot.read_text().replace("true", "false", 1))
    for source in (lerobot, other):
        vlabench("ingest", source, "--out", tmp_path / f"{source.stem}.jsonl")
    paths = [tmp_path / "lerobot_new.jsonl", tmp_path / "other.jsonl"]
    done = vlabench("compare", *paths)
    assert done.exit_code == 2
    assert "say --unpaired" in done.stdout
    assert vlabench("compare", *paths, "--unpaired").exit_code == 0


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    assert vlabench("ingest", DATA / "openvla.txt", "--out", path).exit_code == 0
    before = path.read_bytes()
    again = vlabench("ingest", DATA / "lerobot_new.json", "--out", path)
    assert again.exit_code != 0
    assert "exists; records are never overwritten" in str(again.exception)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    paths = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for path in paths:
        done = vlabench("ingest", DATA / "vla_eval_aggregate.json", "--json", "--out", path)
        assert json.loads(done.stdout)["header"]["ingested"]["format"] == "vla-eval"
    assert paths[0].read_bytes() == paths[1].read_bytes()
