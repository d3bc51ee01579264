"""`vlabench profile`: from run files to interquartile means and performance profiles."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from vlabench import ProcessRunner, prepare
from vlabench.cli import app

VLABENCH = str(Path(sys.executable).with_name("vlabench"))
EXPERT = "point-reach-expert (privileged)"


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


def test_help_teaches() -> None:
    done = vlabench("profile", "--help")
    assert done.exit_code == 0
    assert "vlabench profile a-seed1.jsonl" in " ".join(done.stdout.split())


def test_runs_are_grouped_by_policy_and_no_number_is_bare(runs: list[Path]) -> None:
    done = vlabench("profile", *runs)
    assert done.exit_code == 0, done.output
    assert f"{EXPERT}: 3 runs x 2 tasks x 8 initial states" in done.stdout
    assert "random: 1 run x 2 tasks x 8 initial states" in done.stdout
    for name in ("interquartile mean", "mean", "median", "optimality gap"):
        assert sum(f"  {name}  " in line for line in done.stdout.splitlines()) == 2
    assert "trainings like these: Wilson 95%" in done.stdout
    assert "of this one training: Wilson 95%" in done.stdout


def test_json_has_intervals_questions_and_the_profile(runs: list[Path]) -> None:
    found = json.loads(vlabench("profile", *runs, "--json").stdout)
    expert, random = found["policies"]
    assert (expert["policy"], expert["runs"]) == (EXPERT, 3)
    assert random["iqm"]["value"] == 0  # it never reaches a mark
    assert random["iqm"]["low"] == 0 < random["iqm"]["high"]
    assert expert["iqm"]["low"] <= expert["iqm"]["value"] <= expert["iqm"]["high"]
    assert len(expert["profile"]["tau"]) == len(expert["profile"]["value"]) == 100
    assert expert["profile"]["question"].startswith("share above tau of scores of 8 initial states")
    assert found["files"] == []


def test_table_and_picture_hold_every_policy(runs: list[Path], tmp_path: Path) -> None:
    done = vlabench("profile", *runs, "--out", tmp_path / "new")
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
        ((tmp_path / "none.jsonl",), "cannot read"),
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
