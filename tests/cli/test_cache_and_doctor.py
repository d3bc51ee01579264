"""`vlabench cache` and `vlabench doctor`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

VLABENCH = str(Path(sys.executable).with_name("vlabench"))


def vlabench(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VLABENCH_CACHE": str(cache)}
    return subprocess.run(
        [VLABENCH, *arguments], env=environment, cwd=cache.parent,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "a.mjb").write_bytes(b"x" * 3_000_000)
    (folder / "canaries-0.json").write_text("{}")
    (folder / "somebody-elses.txt").write_text("keep")
    return folder


def test_the_cache_says_where_it_is_and_how_large(cache: Path) -> None:
    found = json.loads(vlabench("cache", "info", "--json", cache=cache).stdout)
    assert found == {"folder": str(cache), "files": 2, "bytes": 3_000_002}


def test_clearing_the_cache_removes_what_vlabench_put_there_and_nothing_else(cache: Path) -> None:
    done = vlabench("cache", "clear", cache=cache)
    assert done.stdout == f"{cache}: removed 2 files, 3 MB\n"
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["somebody-elses.txt"]


@pytest.mark.sim
def test_the_doctor_finds_this_machine_sound(cache: Path) -> None:
    pytest.importorskip("libero", reason="needs the extra: pip install 'vlabench-harness[libero]'")
    done = vlabench("doctor", "--json", cache=cache)
    findings = json.loads(done.stdout)
    assert [f for f in findings if f["level"] == "fail"] == []
    assert done.returncode == 0
    looked_at = " ".join(f["what"] for f in findings)
    for what in ("python", "write access", "libero", "metaworld", "canary", "pictures"):
        assert what in looked_at
