"""`vlabench profile`: from run files to interquartile means and performance profiles."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from vlabench import ProcessRunner, prepare, read_run
from vlabench.cli import app
from vlabench.store import write_run

VLABENCH = str(Path(sys.executable).with_name("vlabench"))
EXPERT = "expert (privileged)"


def vlabench(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def evaluate(path: Path, policy: str, episodes: int = 8, **settings: str) -> Path:
    evaluation = prepare(
        "point-reach", policy, request={"episodes": episodes}, settings=dict(settings)
    )
    for _ in evaluation.run(ProcessRunner(1), path):
        pass
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three runs of one policy, whose speeds stand for trained seeds, and one of another."""
    folder = tmp_path_factory.mktemp("profile")
    experts = [
        evaluate(folder / f"{speed}.jsonl", "point-reach-expert", speed=speed)
        for speed in ("0.4", "0.45", "0.5")
    ]
    return [*experts, evaluate(folder / "random.jsonl", "random")]


@pytest.fixture
def named(runs: list[Path]) -> list[str]:
    """The same, as a command line that says what the trainings of one method are."""
    return [*(f"expert={path}" for path in runs[:3]), str(runs[3])]


def trained(path: Path, source: Path, checkpoint: str, **settings: str) -> Path:
    """A run as that of a checkpoint, with the outcomes of another."""
    run = read_run(source)
    header = replace(
        run.header, policy_digest=checkpoint, settings={"checkpoint": checkpoint, **settings}
    )
    write_run(path, replace(run, header=header))
    return path


def test_help_teaches() -> None:
    done = vlabench("profile", "--help")
    assert done.exit_code == 0
    assert "vlabench profile a-seed1.jsonl" in " ".join(done.stdout.split())


def test_help_says_what_a_run_of_one_method_is() -> None:
    said = " ".join(vlabench("profile", "--help").stdout.split())
    assert "A method has one run for each of its trainings" in said
    assert "NAME=FILE says which method a run is of" in said


def test_runs_are_grouped_by_name_and_no_number_is_bare(named: list[str]) -> None:
    done = vlabench("profile", *named)
    assert done.exit_code == 0, done.output
    assert f"{EXPERT}: 3 runs x 2 tasks x 8 initial states" in done.stdout
    assert "random: 1 run x 2 tasks x 8 initial states" in done.stdout
    for name in ("interquartile mean", "mean", "median", "optimality gap"):
        assert sum(f"  {name}  " in line for line in done.stdout.splitlines()) == 2
    assert "trainings like these: Wilson 95%" in done.stdout
    assert "of this one training: Wilson 95%" in done.stdout


def test_one_policy_under_two_settings_is_no_two_trainings(runs: list[Path]) -> None:
    done = vlabench("profile", *runs[:2])
    assert done.exit_code == 0, done.output
    for speed in ("0.4", "0.45"):
        assert f"point-reach-expert speed={speed} (privileged): 1 run x" in done.stdout


def test_checkpoints_are_trainings_until_a_name_says_otherwise(
    runs: list[Path], tmp_path: Path
) -> None:
    last = trained(tmp_path / "last.jsonl", runs[0], "a/9000")
    half = trained(tmp_path / "half.jsonl", runs[1], "a/4500")
    other = trained(tmp_path / "other.jsonl", runs[0], "a/9000", readout="likeliest")
    done = vlabench("profile", last, half, other)
    assert done.exit_code == 0, done.output
    assert "point-reach-expert (privileged): 2 runs x 2 tasks" in done.stdout
    assert "point-reach-expert readout=likeliest (privileged): 1 run x 2 tasks" in done.stdout
    done = vlabench("profile", f"last={last}", f"half={half}", f"other={other}")
    for name in ("last", "half", "other"):
        assert f"{name} (privileged): 1 run x 2 tasks" in done.stdout


def test_json_has_intervals_questions_and_the_profile(named: list[str]) -> None:
    found = json.loads(vlabench("profile", *named, "--json").stdout)
    expert, random = found["policies"]
    assert (expert["policy"], expert["runs"]) == (EXPERT, 3)
    assert random["iqm"]["value"] == 0  # it never reaches a mark
    assert random["iqm"]["low"] == 0 < random["iqm"]["high"]
    assert expert["iqm"]["low"] <= expert["iqm"]["value"] <= expert["iqm"]["high"]
    assert len(expert["profile"]["tau"]) == len(expert["profile"]["value"]) == 100
    assert expert["profile"]["question"].startswith("share above tau of scores of 8 initial states")
    assert found["files"] == []


def test_table_and_picture_hold_every_method(named: list[str], tmp_path: Path) -> None:
    done = vlabench("profile", *named, "--out", tmp_path / "new")
    assert done.exit_code == 0, done.output
    with (tmp_path / "new" / "profile.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["policy"] for row in rows[::100]] == [EXPERT, "random"]
    assert all(float(r["low"]) <= float(r["above"]) <= float(r["high"]) for r in rows)
    assert (tmp_path / "new" / "profile.png").read_bytes().startswith(b"\x89PNG")
    assert "profile.csv" in done.stdout
    assert "profile.png" in done.stdout


def test_what_cannot_be_profiled_is_one_clear_line(runs: list[Path], tmp_path: Path) -> None:
    other = evaluate(tmp_path / "other.jsonl", "random", episodes=4)
    for files, complaint in (
        ((runs[0], other), "runs differ in their plan"),
        ((runs[0], runs[0]), "run 2 has the checkpoint and settings of run 1"),
        ((tmp_path / "none.jsonl",), "none.jsonl is no file and no folder"),
        ((f"one={runs[0]}", f"one={runs[3]}"), "runs of two policies"),
        ((runs[0], "--out", other), "cannot write into"),
    ):
        done = subprocess.run(
            [VLABENCH, "profile", *map(str, files)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith("vlabench: ")
        assert done.stderr.count("\n") == 1
        assert complaint in done.stderr
