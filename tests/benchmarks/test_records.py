"""A million records: how long `show`, `compare` and `report` take, and how much memory.

`make bench` runs these. Each command is a process of its own, as a user would start it; its
processor seconds and its peak memory are in `extra_info`. Memory is asserted, speed never.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vlabench import RunHeader
from vlabench.plan import PlanRequest
from vlabench.record import Provenance, Run
from vlabench.store import write_run

_TASKS = 40
_RECORDS = 1_000_000
_MOST = 1000
"""Megabytes."""
_LINE = (
    '{{"kind": "episode", "decisions": {steps}, "episode": {{"task_id": "libero-spatial/{task}", '
    '"init_index": {state}, "repeat": 0, "scene_seed": {seed}, "policy_seed": {seed}}}, '
    '"error": null, "flops": 1310238720.0, "outcome": "{outcome}", "peak_mb": 473.9, '
    '"samples": {steps}, "seconds": {{"simulator": 3.259826, "render": 0.05{state}, '
    '"policy": 0.{seed}}}, "steps": {steps}, "trace": {{"digest": "{digest}", '
    '"states": "{states}", "actions": "{actions}", "every": 10}}}}\n'
)
_CHECKPOINTS = 21
"""Of a trace of 200 control steps, 8 digits each."""
_COMMAND = """
import resource, sys
from pathlib import Path
from vlabench.cli import main
try:
    main()
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    print(used.ru_utime + used.ru_stime, int(peak) / 1000, file=sys.stderr)
"""


def make_run(path: Path, records: int, policy: str, rate: float) -> Path:
    """Write a run; equal numbers of records make equal plans."""
    header = RunHeader(
        suite_id="libero",
        suite_version=1,
        protocol="openvla@1",
        plan_digest="0" * 16,
        request=PlanRequest(episodes=records // _TASKS),
        policy_id=policy,
        policy_digest=policy,
        provenance=Provenance(started_at="", vlabench=""),
    )
    write_run(path, Run(header=header, episodes=()))
    draws = random.Random(policy)
    with path.open("a") as file:
        for index in range(records):
            state, task = divmod(index, _TASKS)
            digits = draws.randbytes(16 + 8 * _CHECKPOINTS).hex()
            line = _LINE.format(
                task=task,
                state=state,
                seed=index,
                steps=draws.randrange(50, 200),
                outcome="success" if draws.random() < rate else "failure",
                digest=digits[:32],
                states=digits[32 : 32 + 8 * _CHECKPOINTS],
                actions=digits[-8 * _CHECKPOINTS :],
            )
            file.write(line)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose gigabytes go when the test does."""
    yield tmp_path
    for path in tmp_path.glob("*.jsonl"):
        path.unlink()


def run_command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _COMMAND, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def measure(benchmark: Any, *arguments: str | Path) -> str:
    """Run a command once; note what it took."""
    done = benchmark.pedantic(run_command, args=arguments, rounds=1)
    seconds, megabytes = map(float, done.stderr.splitlines()[-1].split())
    benchmark.extra_info.update(cpu_seconds=round(seconds, 2), peak_mb=round(megabytes))
    assert megabytes < _MOST
    return str(done.stdout)


def test_a_million_records_are_shown(benchmark: Any, folder: Path) -> None:
    path = make_run(folder / "run.jsonl", _RECORDS, "policy", 0.8)
    shown = measure(benchmark, "show", path)
    assert f"of n = {_RECORDS}" in shown


def test_a_million_records_are_compared(benchmark: Any, folder: Path) -> None:
    each = _RECORDS // 2
    paths = [
        make_run(folder / f"{policy}.jsonl", each, policy, rate)
        for policy, rate in (("worse", 0.8), ("better", 0.81))
    ]
    said = measure(benchmark, "compare", *paths)
    assert said.startswith("better is BETTER than worse by ")
    assert f"n = {each} pairs" in said


def test_a_million_records_are_reported(benchmark: Any, folder: Path) -> None:
    each = _RECORDS // 2
    paths = [
        make_run(folder / f"{policy}.jsonl", each, policy, rate)
        for policy, rate in (("worse", 0.8), ("better", 0.81))
    ]
    out = folder / "report"
    measure(benchmark, "report", *paths, "--out", out)
    assert f"n = {each} pairs" in (out / "report.md").read_text()


@pytest.fixture
def of_many_tasks(folder: Path) -> list[Path]:
    """Two runs of 10,030 tasks of one episode, as LIBERO-Plus has them."""
    draws = random.Random(0)
    paths = []
    for policy, rate in (("worse", 0.6), ("better", 0.66)):
        lines = ["task,success,category,difficulty"]
        lines += [
            f"libero-{n % 4}/pick_up_the_black_bowl_and_place_it_on_the_plate_view_{n}_0_100_0,"
            f"{int(draws.random() < rate)},category {n % 7},{n % 5}"
            for n in range(10_030)
        ]
        (folder / f"{policy}.csv").write_text("\n".join(lines) + "\n")
        paths.append(folder / f"{policy}.jsonl")
        asked = ("--out", paths[-1], "--policy", policy, "--suite", "libero-plus")
        run_command("ingest", folder / f"{policy}.csv", *asked)
    return paths


def test_ten_thousand_tasks_are_compared(benchmark: Any, of_many_tasks: list[Path]) -> None:
    said = measure(benchmark, "compare", *of_many_tasks)
    assert said.startswith("better is BETTER than worse by ")
    assert len(said.splitlines()) < 40


def test_ten_thousand_tasks_are_reported(
    benchmark: Any, of_many_tasks: list[Path], folder: Path
) -> None:
    out = folder / "report"
    measure(benchmark, "report", *of_many_tasks, "--out", out)
    assert "10030 rows are not listed here" in (out / "report.md").read_text()
    assert (out / "report.html").stat().st_size < 3e6
    (table,) = (out / "tables").glob("*-tasks.csv")
    assert len(table.read_text().splitlines()) == 10_031


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_ten_thousand_tasks_of_one_episode_are_ingested(
    benchmark: Any, folder: Path, suffix: str
) -> None:
    """As LIBERO-plus has them: cost grows as the number of tasks, and nobody has to scroll."""
    rows = [
        {"task_suite": "plus", "task_id": n, "task_name": f"open_{n}", "category": f"c{n % 7}",
         "episode_idx": 0, "success": n % 3 > 0}
        for n in range(10_030)
    ]  # fmt: skip
    source = folder / f"rows.{suffix}"
    if suffix == "csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    else:
        lines = [json.dumps(row) for row in rows]
    source.write_text("\n".join(lines) + "\n")
    said = measure(benchmark, "ingest", source, "--out", folder / "run.jsonl")
    assert "category: c6" in said
    assert len(said.splitlines()) < 20
