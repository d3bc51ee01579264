"""`vlabench demos`, used as its users do: in a process of its own."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vlabench import Outcome, read_run
from vlabench.demos import read_demos

pytest.importorskip("h5py", reason="needs the extra: pip install 'vlabench-harness[demos]'")

VLABENCH = str(Path(sys.executable).with_name("vlabench"))
COLLECT = ["demos", "collect", "--suite", "point-reach", "--policy", "point-reach-expert"]


def vlabench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [VLABENCH, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.hdf5")
    }


def test_collecting_keeps_successes_and_says_which_tasks_have_fewer(tmp_path: Path) -> None:
    command = [*COLLECT, "--episodes", "9", "--out", "d", "--noise", "0.2", "--set", "speed=0.5"]
    done = vlabench(*command, "--camera", "front:64x16", "--workers", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = read_run(tmp_path / "d" / "run.jsonl").episodes
    kept = sum(record.outcome is Outcome.SUCCESS for record in records)
    assert 0 < kept < 18
    assert len(files(tmp_path / "d")) == kept
    assert f"{kept} demonstrations of 2 tasks" in done.stdout
    assert "fewer demonstrations than attempts: point-reach/left (" in done.stdout
    assert "pictures: front 64x16 upright full" in done.stdout
    assert "demos.noise=0.2" in done.stdout
    again = vlabench("demos", "show", "d", "--sheet", "sheet.png", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
    assert "drew one demonstration of 2 tasks: sheet.png" in again.stderr
    assert (tmp_path / "sheet.png").read_bytes()[:4] == b"\x89PNG"


def test_show_prints_json_that_a_script_can_read(tmp_path: Path) -> None:
    done = vlabench(*COLLECT, "--episodes", "2", "--out", "d", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["demos"] == 4
    assert summary["tasks"][0]["attempts"] == 2
    assert summary == json.loads(vlabench("demos", "show", "d", "--json", cwd=tmp_path).stdout)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_collection_that_is_interrupted_resumes_to_the_same_files(
    how: signal.Signals, tmp_path: Path
) -> None:
    command = [*COLLECT, "--episodes", "150", "--noise", "0.2", "--workers", "2"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert vlabench(*command, "--out", str(whole), cwd=tmp_path).returncode == 0
    slowly = [*command, "--workers", "1", "--out", str(broken)]  # not over before it is hit
    process = subprocess.Popen(
        [VLABENCH, *slowly], cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    run = broken / "run.jsonl"
    while not run.exists() or run.read_bytes().count(b"\n") < 10:
        time.sleep(0.005)
    process.send_signal(how)
    _, said = process.communicate()
    assert process.returncode == (130 if how is signal.SIGINT else -how)
    assert b"Traceback" not in said
    recorded = {r.episode for r in read_run(run).episodes if r.outcome is Outcome.SUCCESS}
    there = {demo.origin.episode for demo in read_demos(broken) if demo.origin}
    assert recorded <= there  # none is half-written, and none that is recorded is missing
    assert 0 < len(there) < 300
    found = len(read_run(run).episodes)
    again = vlabench(*command, "--out", str(broken), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert f"resumed: {found} of 300" in again.stderr
    assert files(broken) == files(whole)


def test_errors_are_dropped_and_give_exit_1(tmp_path: Path) -> None:
    record = ["run", "--suite", "point-reach", "--policy", "random", "--set", "chunk=1"]
    record += ["--protocol", "training", "--episodes", "1", "--actions", "--out", "a.jsonl"]
    assert vlabench(*record, cwd=tmp_path).returncode == 0
    command = ["demos", "collect", "--suite", "point-reach", "--policy", "replay"]
    command += ["--set", "run=a.jsonl", "--seed", "1", "--episodes", "1", "--out", "d"]
    done = vlabench(*command, cwd=tmp_path)  # that run had other seeds
    assert done.returncode == 1, done.stderr
    assert "0 demonstrations of 0 tasks" in done.stdout
    assert "ERROR point-reach/left#0" in done.stderr
    assert not files(tmp_path / "d")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "point-raech"], "Did you mean 'point-reach'?"),
        (["--policy", "random"], "need an expert that is asked at every step (--set chunk=1"),
        (["--policy", "metaworld-expert"], "metaworld-expert"),
        (["--protocol", "standard"], "protocol standard@1 of suite 'point-reach' is for evaluat"),
        (["--noise", "-1"], "noise is -1; expected a standard deviation between 0 and 1"),
        (["--noise", "nan"], "noise is nan"),
        (["--camera", "back:64"], "camera 'back:64' is none of what protocol training@1 shows"),
        (["--camera", "front", "--camera", "front:64x16"], "camera 'front:64x16' is asked for tw"),
        (["--tasks", "nowhere"], "no task of suite 'point-reach' matches 'nowhere'"),
        (["--episodes", "0"], "episodes is 0; it must be at least 1"),
        (["--set", "demos.noise=1"], "nothing takes the setting 'demos.noise'"),
        (["--out", "/proc/nowhere"], "cannot write /proc/nowhere/run.jsonl"),
        (["--out", "foreign.txt"], "cannot write foreign.txt/run.jsonl"),
        (["--out", "theirs"], "theirs holds demonstrations and no run.jsonl"),
    ],
)
def test_bad_input_gets_one_clear_line_and_exit_2(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "foreign.txt").write_text("somebody's notes\n")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "a.hdf5").write_text("")
    done = vlabench(*COLLECT, "--episodes", "1", "--out", "d", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(files(tmp_path)) == ["theirs/a.hdf5"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere does not exist; expected a folder or a file of demonstrations"),
        (["."], ". holds no *.hdf5"),
        (["x.hdf5"], "x.hdf5 cannot be read: "),
        (["d", "--sheet", "s.txt"], "s.txt: a sheet is one of .png, .pdf, .svg, .jpg"),
        (["d", "--sheet", "no/s.png"], "cannot write no/s.png: No such file or directory"),
    ],
)
def test_what_cannot_be_shown_gets_one_clear_line(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    if arguments[0] == "d":
        done = vlabench(*COLLECT, "--episodes", "1", "--out", "d", "--quiet", cwd=tmp_path)
        assert done.returncode == 0
    if arguments[0] == "x.hdf5":
        (tmp_path / "x.hdf5").write_text("notes")
    done = vlabench("demos", "show", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"vlabench: {message}")
