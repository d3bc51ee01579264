"""What a terminal cannot show is spelt out, and no command ends with a UnicodeEncodeError."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

VLABENCH = str(Path(sys.executable).with_name("vlabench"))
PLAIN = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
LATIN = {"PYTHONIOENCODING": "latin-1"}


def vlabench(*arguments: str | Path, env: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    words = [VLABENCH, *map(str, arguments)]
    return subprocess.run(words, env={**os.environ, **env}, capture_output=True, check=False)


@pytest.mark.parametrize("env", [PLAIN, LATIN], ids=["C", "latin-1"])
def test_names_are_shown_on_terminals_that_lack_their_characters(
    env: dict[str, str], tmp_path: Path
) -> None:
    source, run = tmp_path / "x.csv", tmp_path / "run.jsonl"
    source.write_text("task,success\n拿起碗 ✓,1\nopen … it,0\n", "utf-8")
    done = vlabench("ingest", source, "--out", run, env=env)
    assert done.returncode == 0, done.stderr
    assert rb"unknown/\u62ff\u8d77\u7897 \u2713" in done.stdout
    refused = vlabench("show", tmp_path / "拿起.jsonl", env=LATIN)
    assert refused.returncode == 2
    assert rb"\u62ff\u8d77.jsonl: No such file" in refused.stderr
    report = vlabench("report", run, "--out", tmp_path / "report", "--formats", "md,csv", env=env)
    assert report.returncode == 0, report.stderr
    assert "拿起碗 ✓" in (tmp_path / "report" / "report.md").read_text("utf-8")


def test_pictures_are_drawn_of_names_without_glyphs_and_nothing_is_said(tmp_path: Path) -> None:
    source, run = tmp_path / "x.csv", tmp_path / "run.jsonl"
    source.write_text("task,success\n拿起碗,1\n開け,0\n", "utf-8")
    assert vlabench("ingest", source, "--out", run, env={}).returncode == 0
    done = vlabench("report", run, "--out", tmp_path / "r", env={"MPLBACKEND": "nonsense"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert "拿起碗" in (tmp_path / "r" / "report.html").read_text("utf-8")
    more = tmp_path / "more.csv"
    rows = [f"{task},{seed},{seed % 2},拿" for task in ("拿起碗", "開け") for seed in range(4)]
    more.write_text("\n".join(["task,seed,success,policy", *rows]), "utf-8")
    assert vlabench("ingest", more, "--out", tmp_path / "more.jsonl", env={}).returncode == 0
    done = vlabench("profile", tmp_path / "more.jsonl", "--out", tmp_path / "p", env={})
    assert (done.returncode, done.stderr) == (0, b"")


def test_results_are_read_and_decided_where_unix_modules_are_missing(tmp_path: Path) -> None:
    """Windows has neither fcntl nor resource; there, a cluster's results are looked at."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['fcntl'] = sys.modules['resource'] = None\n"
    )
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    source = tmp_path / "x.csv"
    source.write_text("task,episode,success\na,0,1\na,1,0\nb,0,1\nb,1,1\n", "utf-8")
    runs = [tmp_path / "one.jsonl", tmp_path / "other.jsonl"]
    for run in runs:
        done = vlabench("ingest", source, "--policy", run.stem, "--out", run, env=env)
        assert done.returncode == 0, done.stderr
    for words in (
        ("show", *runs),
        ("compare", *runs),
        ("gate", "--baseline", runs[0], "--candidate", runs[1], "--margin", "90"),
        ("report", *runs, "--out", tmp_path / "report", "--formats", "md,csv"),
    ):
        done = vlabench(*words, env=env)
        assert done.returncode == 0, done.stderr
