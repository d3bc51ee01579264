"""`vlabench run --until-decided` stops when it is decided, whatever the workers do."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from vlabench import read_run
from vlabench.cli import app

VLABENCH = str(Path(sys.executable).with_name("vlabench"))
RUN = ["run", "--suite", "point-reach", "--policy", "point-reach-expert", "--episodes", "100"]
SLOW, FAST = ["--set", "speed=0.5"], ["--set", "speed=0.6"]
UNTIL = ["--against", "a.jsonl", "--until-decided", "--margin", "5"]


def vlabench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [VLABENCH, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


def inside(*arguments: str | Path) -> Result:
    """The same in this process: for what ends before any worker starts."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole run of the slow policy, `a.jsonl`, which fails now and then."""
    path = tmp_path_factory.mktemp("until")
    done = vlabench(*RUN, *SLOW, "--out", "a.jsonl", "--workers", "1", cwd=path)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def better(folder: Path) -> subprocess.CompletedProcess[str]:
    """What the fast policy's run printed; it is in `b.jsonl`."""
    return vlabench(*RUN, *FAST, *UNTIL, "--out", "b.jsonl", "--workers", "1", cwd=folder)


def verdict(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What was decided, but for what came too late to count."""
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for name in ("recorded", "surplus", "path"):
        del found[name]
    return found


def test_the_first_line_is_the_verdict_and_the_rest_says_what_it_took(
    folder: Path, better: subprocess.CompletedProcess[str]
) -> None:
    assert better.returncode == 0, better.stderr
    first, *rest = better.stdout.splitlines()
    assert " is BETTER than " in first
    assert "of at most 200 pairs, about these policies" in first
    assert re.search(
        r"by \d+\.\d points \[.*\], corrected for stopping \(\d+\.\d as found\), n =", first
    )
    text = "\n".join(rest)
    assert "decided by: betting confidence sequence 95%, " in text
    assert " as found, difference in success on these tasks" in text
    assert "of the plan's 200 pairs; a comparison of fixed size takes all 200" in text
    assert "`vlabench compare` takes whole runs only" in text
    assert "less point-reach-expert" in better.stderr  # the running interval
    assert 16 <= len(read_run(folder / "b.jsonl").episodes) < 150


PLANNED = {
    "always valid": [],
    "five looks": ["--looks", "5"],
    "four looks": ["--looks", "4", "--spending", "pocock"],
}


@pytest.mark.parametrize("looks", PLANNED)
def test_any_number_of_workers_decides_the_same(looks: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").symlink_to(folder / "a.jsonl")
    command = [*RUN, *FAST, *UNTIL, *PLANNED[looks], "--json"]
    one, three = (
        vlabench(*command, "--out", f"{name}.jsonl", "--workers", name[-1], cwd=tmp_path)
        for name in ("by1", "by3")
    )
    found = verdict(three)
    assert found["sentence"].startswith("point-reach-expert (by3) is BETTER than ")
    same = json.loads(json.dumps(found).replace("(by3)", "(by1)"))
    assert verdict(one) == same


def test_planned_looks_are_named_and_come_after_equal_parts_of_the_plan(folder: Path) -> None:
    command = [*RUN, *FAST, *UNTIL, "--looks", "5", "--out", "five.jsonl", "--workers", "2"]
    done = vlabench(*command, "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert " is BETTER than " in first
    text = "\n".join(rest)
    assert "the sign test rejects at this look's level" in text
    assert (
        "decided by: repeated confidence interval 95%, stratified Tango at 3.357 standard" in text
    )
    assert "5 looks, O'Brien-Fleming-type spending" in text
    assert "look 2 of 5, which come after 40, 80, 120, 160, 200 pairs" in text
    found = verdict(vlabench(*command, "--json", cwd=folder))
    assert (found["design"], found["planned_looks"]) == ("obrien-fleming", [40, 80, 120, 160, 200])
    assert (found["looks"], found["seen"]["difference"]["n"]) == (2, 80)
    assert found["subject"] == "these policies"
    assert found["seen"]["corrected"]["low"] > 0


def test_a_bounded_plan_has_its_looks_in_what_may_be_run(folder: Path) -> None:
    done = vlabench(
        *RUN, "--set", "speed=0.50", *UNTIL, "--looks", "2", "--max-episodes", "41",
        "--out", "bounded.jsonl", "--quiet", cwd=folder,
    )  # fmt: skip
    first, *rest = done.stdout.splitlines()
    assert first.startswith("UNDERPOWERED: ")
    assert ", corrected for stopping (0.0 as found), n = 40 of at most 40 pairs" in first
    assert "look 2 of 2, which come after 20, 40 pairs" in "\n".join(rest)


def test_an_episode_that_went_one_way_and_came_out_in_two_is_named(
    folder: Path, tmp_path: Path
) -> None:
    a = tmp_path / "a.jsonl"
    header, *lines = (folder / "a.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        row["outcome"] = {"success": "failure", "failure": "success"}[row["outcome"]]
        row["progress"] = 1.0 if row["outcome"] == "success" else 0.5
    a.write_text("".join(f"{line}\n" for line in [header, *map(json.dumps, rows)]))
    done = vlabench(
        *RUN, *SLOW, "--against", str(a), "--until-decided", "--out", str(tmp_path / "b.jsonl"),
        "--workers", "1", "--quiet", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert " are NOT COMPARABLE: point-reach/" in done.stdout
    assert " went the same way, to the last bit, in point-reach-expert (a) and in " in done.stdout


def test_the_same_command_again_runs_nothing_and_says_the_same(
    folder: Path, better: subprocess.CompletedProcess[str]
) -> None:
    before = read_run(folder / "b.jsonl").episodes
    again = vlabench(*RUN, *FAST, *UNTIL, "--out", "b.jsonl", "--workers", "2", cwd=folder)
    assert again.returncode == 0
    assert again.stdout == better.stdout
    assert read_run(folder / "b.jsonl").episodes == before


def test_the_file_is_that_of_the_plan_which_a_plain_run_finishes_for_compare(
    folder: Path, better: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    a, b = folder / "a.jsonl", tmp_path / "b.jsonl"
    b.write_bytes((folder / "b.jsonl").read_bytes())
    refused = inside("compare", a, b)
    assert refused.exit_code == 2
    assert "not the same episodes have ended" in refused.stdout
    done = vlabench(*RUN, *FAST, "--out", str(b), "--workers", "1", "--quiet", cwd=tmp_path)
    assert done.returncode == 0
    assert inside("compare", a, b).stdout.startswith("point-reach-expert (b) is BETTER than ")
    whole = vlabench(*RUN, *FAST, *UNTIL, "--out", str(b), "--json", cwd=folder)
    assert json.loads(whole.stdout)["sentence"] == better.stdout.splitlines()[0]


def test_a_run_that_is_killed_goes_on_to_the_same_decision(folder: Path) -> None:
    # The same policy: 106 ties are needed for a margin of 5 points.
    command = [*RUN, "--set", "speed=0.50", *UNTIL, "--workers", "2", "--json"]
    whole = vlabench(*command, "--out", "c.jsonl", cwd=folder)
    assert verdict(whole)["verdict"] == "EQUIVALENT"
    (folder / "whole").mkdir()
    (folder / "c.jsonl").rename(folder / "whole" / "c.jsonl")
    path = folder / "c.jsonl"
    process = subprocess.Popen(
        [VLABENCH, *command, "--out", "c.jsonl"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not path.exists() or path.read_bytes().count(b"\n") < 20:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = len(read_run(path).episodes)
    assert found
    again = vlabench(*command, "--out", "c.jsonl", cwd=folder)
    assert verdict(again) == verdict(whole)
    assert verdict(again)["seen"]["difference"]["n"] == 106


def test_at_most_so_many_episodes_are_run_and_whole_looks_only(folder: Path) -> None:
    done = vlabench(
        *RUN, *FAST, *UNTIL, "--max-episodes", "7", "--out", "few.jsonl", "--quiet", cwd=folder
    )
    assert done.returncode == 0
    assert done.stdout.startswith("UNDERPOWERED: ")
    assert "n = 6 of at most 6 pairs" in done.stdout
    assert "a comparison of fixed size needs about" in done.stdout
    assert len(read_run(folder / "few.jsonl").episodes) == 6


def broken(source: Path, path: Path, every: int) -> Path:
    """A copy of a run in which every so many episodes broke."""
    header, *lines = source.read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["kind"] == "episode"]
    for row in rows[::every]:
        row["outcome"], row["error"] = "error", "it broke"
        del row["progress"]
    path.write_text("".join(f"{line}\n" for line in [header, *map(json.dumps, rows)]))
    return path


def test_an_error_stops_the_run_until_somebody_says_what_it_counts_as(
    folder: Path, better: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    b = broken(folder / "b.jsonl", tmp_path / "b.jsonl", every=30)
    command = [*RUN, *FAST, *UNTIL, "--out", str(b), "--workers", "1", "--quiet"]
    before = len(read_run(b).episodes)
    refused = vlabench(*command, cwd=folder)
    assert refused.returncode == 2
    assert "are NOT COMPARABLE: point-reach-expert (b) has an error in " in refused.stdout
    assert len(read_run(b).episodes) == before
    excluded = vlabench(*command, "--on-error", "exclude", cwd=folder)
    assert excluded.returncode == 0
    assert " is BETTER than " in excluded.stdout
    assert "errors are left out; counted against B" in excluded.stdout
    repeated = vlabench(*command, "--retry-errors", cwd=folder)
    assert repeated.returncode == 0
    assert repeated.stdout.splitlines()[0] == better.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "a.jsonl"], "--against without --until-decided"),
        (["--margin", "5"], "--margin without --until-decided"),
        (["--max-episodes", "50", "--on-error", "exclude"], "--max-episodes, --on-error without"),
        (["--until-decided"], "--until-decided needs a run to decide against: --against RUN"),
        (["--until-decided", "--against", "none.jsonl"], "cannot read none.jsonl"),
        ([*UNTIL, "--margin", "0"], "--margin 0"),
        ([*UNTIL, "--margin", "300"], "--margin 300"),
        ([*UNTIL, "--max-episodes", "0"], "--max-episodes"),
        ([*UNTIL, "--max-episodes", "1"], "--max-episodes 1 is too few for a single look"),
        ([*UNTIL, "--out", "a.jsonl"], "choose another --out"),
        (["--looks", "5"], "--looks without --until-decided"),
        ([*UNTIL, "--spending", "pocock"], "--spending without --looks says nothing"),
        ([*UNTIL, "--looks", "5", "--spending", "x"], "--spending"),
        ([*UNTIL, "--looks", "1"], "--looks"),
        ([*UNTIL, "--looks", "101"], "--looks 101 is more than there are blocks"),
        ([*UNTIL, "--looks", "5", "--max-episodes", "8"], "expected 2 to 4"),
    ],
)
def test_what_makes_no_sense_gets_a_clear_error(
    arguments: list[str], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    done = inside(*RUN, *FAST, "--out", "x.jsonl", *arguments)
    assert done.exit_code == 2 or isinstance(done.exception, Exception)
    assert message in done.output + str(done.exception)
    assert not (folder / "x.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--episodes", "50"], "plans differ: point-reach-expert (a) has --episodes 100, "),
        (["--seed", "1"], "plans differ: point-reach-expert (a) has --seed 0, "),
        (["--protocol", "training"], "protocols differ: standard@1 in point-reach-expert (a), "),
        (["--tasks", "left"], "plans differ: point-reach-expert (a) has --tasks '*', "),
    ],
)
def test_another_plan_is_refused_with_what_to_say_and_nothing_about_a_run_that_never_began(
    arguments: list[str], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    done = inside(*RUN, *FAST, *UNTIL, "--out", "x.jsonl", *arguments)
    assert done.exit_code == 2
    assert "are NOT COMPARABLE: " + message in done.stdout
    assert "not finished" not in done.stdout
    assert "--unpaired" not in done.stdout
    assert not (folder / "x.jsonl").exists()


def test_a_reference_must_be_whole_and_without_errors(folder: Path, tmp_path: Path) -> None:
    a, torn = folder / "a.jsonl", tmp_path / "torn.jsonl"
    torn.write_text("".join(line + "\n" for line in a.read_text().splitlines()[:51]))
    command = [*RUN, *FAST, "--until-decided", "--out", tmp_path / "x.jsonl", "--against"]
    done = inside(*command, torn)
    assert done.exit_code == 2
    assert "has 50 of the plan's 200 episodes" in done.stdout
    done = inside(*command, broken(a, tmp_path / "broken.jsonl", every=50), "--json")
    assert done.exit_code == 2
    found = json.loads(done.stdout)
    assert found["verdict"] == "NOT COMPARABLE"
    assert "has 4 errors among 200 episodes" in found["sentence"]
    assert not (tmp_path / "x.jsonl").exists()
