"""The command line, used as its users do: in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vlabench import EpisodeRecord, Outcome, read_run

VLABENCH = str(Path(sys.executable).with_name("vlabench"))
POINT = ["run", "--suite", "point-reach", "--policy", "random"]


def vlabench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [VLABENCH, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


def timeless(record: EpisodeRecord) -> tuple[Any, ...]:
    return record.episode, record.outcome, record.steps, record.decisions, record.trace


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "verify",
        "replay",
        "show",
        "compare",
        "power",
        "doctor",
        "list",
        "bench",
        "protocol diff",
        "protocol show",
        "cache info",
        "cache clear",
        "demos collect",
        "demos show",
        "gate",
        "ingest",
        "scaling",
        "stability",
        "sweep",
        "train",
    ],
)
def test_every_command_has_help(command: str, tmp_path: Path) -> None:
    done = vlabench(*command.split(), "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "Usage: vlabench" in done.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom vlabench.cli import app\n"
        "heavy = {'numpy', 'scipy', 'gymnasium', 'mujoco', 'torch', 'pandas', 'rich'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_comparing_imports_no_distributions_which_take_a_second(tmp_path: Path) -> None:
    runs = sorted(Path("results/likeliest").resolve().glob("*-e50.jsonl"))  # well apart
    assert len(runs) == 2
    code = (
        "import sys\nfrom vlabench.cli import main\n"
        "try:\n    main()\nfinally:\n    print('scipy.stats' in sys.modules, file=sys.stderr)"
    )
    for command in ("compare", "report", "show"):
        arguments = [command, *map(str, runs), *["--out", str(tmp_path)] * (command == "report")]
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "False"), done.stderr


def test_a_run_writes_its_file_and_prints_rates_with_n_and_interval(tmp_path: Path) -> None:
    done = vlabench(*POINT, "--episodes", "3", "--workers", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("results/point-reach/random/*.jsonl")
    assert len(read_run(path).episodes) == 6
    assert "95 % interval" in done.stdout
    assert "point-reach/left" in done.stdout
    assert "bottleneck: " in done.stderr


def test_the_same_command_again_adds_nothing(tmp_path: Path) -> None:
    command = [*POINT, "--episodes", "3", "--out", "run.jsonl", "--workers", "1"]
    assert vlabench(*command, cwd=tmp_path).returncode == 0
    before = (tmp_path / "run.jsonl").read_bytes()
    again = vlabench(*command, cwd=tmp_path)
    assert again.returncode == 0
    assert "resumed: 6 of 6" in again.stderr
    assert (tmp_path / "run.jsonl").read_bytes() == before


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_interrupted_resumes_to_the_same_records(
    how: signal.Signals, tmp_path: Path
) -> None:
    command = [*POINT, "--episodes", "400", "--workers", "2"]
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    assert vlabench(*command, "--out", str(whole), cwd=tmp_path).returncode == 0
    process = subprocess.Popen(
        [VLABENCH, *command, "--out", str(broken)], cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not broken.exists() or broken.read_bytes().count(b"\n") < 40:
        time.sleep(0.005)
    process.send_signal(how)
    _, said = process.communicate()
    assert process.returncode == (130 if how is signal.SIGINT else -how)
    if how is signal.SIGINT:
        assert b"run the same command again" in said
        assert b"Traceback" not in said
    found = len(read_run(broken).episodes)
    assert 0 < found < 800
    again = vlabench(*command, "--out", str(broken), cwd=tmp_path)
    assert again.returncode == 0
    assert f"resumed: {found} of 800" in again.stderr
    first, second = ({timeless(r) for r in read_run(p).episodes} for p in (whole, broken))
    assert first == second


def test_two_processes_cannot_write_one_run(tmp_path: Path) -> None:
    command = [*POINT, "--episodes", "2000", "--out", "run.jsonl", "--workers", "1"]
    with subprocess.Popen(
        [VLABENCH, *command], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as first:
        while not (tmp_path / "run.jsonl").exists():
            time.sleep(0.005)
        second = vlabench(*command, cwd=tmp_path)
        first.kill()
    assert second.returncode == 2
    assert "is being written by another vlabench process" in second.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "point-raech"], "Did you mean 'point-reach'?"),
        (["--policy", "randon"], "Did you mean 'random'?"),
        (["--protocol", "standart"], "Did you mean 'standard'?"),
        (["--tasks", "nowhere/*"], "no task of suite 'point-reach' matches 'nowhere/*'"),
        (["--tasks", ""], "no task of suite 'point-reach' matches ''"),
        (["--episodes", "0"], "episodes is 0; it must be at least 1"),
        (["--episodes", "-3"], "episodes is -3; it must be at least 1"),
        (["--repeats", "0"], "repeats is 0; it must be at least 1"),
        (["--seed", "-1"], "seed is -1; it must be at least 0"),
        (["--workers", "0"], "--workers"),
        (["--workers", "two"], "--workers is 'two', expected a whole number"),
        (["--retries"], "no such option: --retries (Possible options: --repeats,"),
        (["--video", "maybe"], "--video: 'maybe' is not one of 'none', 'failures', 'all'"),
        (["--episodes"], "option '--episodes' requires an argument"),
        (["--watchdog", "-1"], "--watchdog"),
        (["--max-errors", "0"], "--max-errors"),
        (["--set", "chunk"], "'chunk' is not of the form key=value"),
        (["--set", "chunks=3"], "nothing takes the setting 'chunks'"),
        (["--set", "chunk=many"], "chunk='many', expected int"),
        (["--set", "chunk=0"], "chunk"),
        (["--policy", "metaworld-expert"], "metaworld-expert"),
        (["--policy", "replay"], "needs --set run="),
        (["--policy", "replay", "--set", "run=missing.jsonl"], "cannot read missing.jsonl"),
        (["--out", "/proc/nowhere/run.jsonl"], "cannot write /proc/nowhere/run.jsonl"),
        (["--out", "."], "cannot write ."),
        (["--out", "foreign.txt"], "foreign.txt"),
    ],
)
def test_bad_input_gets_one_clear_line_and_exit_2(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign.txt"
    foreign.write_text("somebody's notes\n")
    done = vlabench(*POINT, "--episodes", "1", *arguments, cwd=tmp_path)  # the last one counts
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert done.stderr.startswith("vlabench: ")
    assert done.stderr.count("\n") == 1
    assert foreign.read_text() == "somebody's notes\n"
    assert not list(tmp_path.glob("results/**/*.jsonl"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "no such command 'rnu'. Did you mean 'run'? (see `vlabench --help`)"),
        (["run", "--policy", "random"], "missing option '--suite' (see `vlabench run --help`)"),
        (["list"], "missing argument 'what'. Choose from: suites, tasks,"),
        (["compare", "a", "b", "--margin", "wide"], "--margin is 'wide', expected a number"),
        (["power", "--rate", "104"], "--rate 104 is impossible"),
    ],
)
def test_a_command_line_that_cannot_be_read_gets_one_line_and_exit_2(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    done = vlabench(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"vlabench: {message}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [[], ["demos"], ["protocol"]])
def test_nothing_but_a_group_of_commands_gets_its_help(command: list[str], tmp_path: Path) -> None:
    done = vlabench(*command, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: vlabench")
    assert "Commands:" in done.stderr


def test_a_file_of_another_plan_is_refused_and_left_alone(tmp_path: Path) -> None:
    assert vlabench(*POINT, "--episodes", "1", "--out", "run.jsonl", cwd=tmp_path).returncode == 0
    before = (tmp_path / "run.jsonl").read_bytes()
    done = vlabench(*POINT, "--episodes", "2", "--out", "run.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    assert "belongs to another run (plan:" in done.stderr
    assert (tmp_path / "run.jsonl").read_bytes() == before


def test_show_prints_json_that_a_script_can_read(tmp_path: Path) -> None:
    assert vlabench(*POINT, "--episodes", "2", "--out", "run.jsonl", cwd=tmp_path).returncode == 0
    done = vlabench("show", "run.jsonl", "--json", cwd=tmp_path)
    shown = json.loads(done.stdout)
    assert shown["all"]["success_rate"]["n"] == 4
    assert shown["header"]["protocol"] == "standard@1"


def test_show_prints_one_json_document_for_several_runs(tmp_path: Path) -> None:
    for name, episodes in (("a.jsonl", "2"), ("b.jsonl", "3")):
        command = [*POINT, "--episodes", episodes, "--out", name]
        assert vlabench(*command, cwd=tmp_path).returncode == 0
    shown = json.loads(vlabench("show", "a.jsonl", "b.jsonl", "--json", cwd=tmp_path).stdout)
    assert [run["run"] for run in shown] == ["a.jsonl", "b.jsonl"]
    assert [run["all"]["success_rate"]["n"] for run in shown] == [4, 6]
    alone = json.loads(vlabench("show", "b.jsonl", "--json", cwd=tmp_path).stdout)
    assert alone == shown[1]


def test_show_has_progress_with_its_interval_where_a_run_has_it(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    assert vlabench(*POINT, "--episodes", "2", "--out", "run.jsonl", cwd=tmp_path).returncode == 0
    lines = path.read_text().splitlines()
    for number, share in enumerate((0.0, 0.5, 0.5, 1.0), start=1):
        row = {**json.loads(lines[number]), "progress": share}
        lines[number] = json.dumps({**row, "outcome": "success" if share == 1 else "failure"})
    path.write_text("\n".join(lines) + "\n")
    # Two of four: a Poisson count of 2 is at least 0.3554 in 95 % of cases, a fourth of it 8.9 %.
    assert "50.0% (8.9% to 91.1%)" in vlabench("show", "run.jsonl", cwd=tmp_path).stdout
    shown = json.loads(vlabench("show", "run.jsonl", "--json", cwd=tmp_path).stdout)
    assert (shown["all"]["progress"]["value"], shown["all"]["progress"]["n"]) == (0.5, 4)
    assert shown["all"]["success_rate"]["value"] == 0.25

    row = json.loads(lines[4])
    del row["progress"]
    path.write_text("\n".join([*lines[:4], json.dumps(row)]) + "\n")
    done = vlabench("show", "run.jsonl", cwd=tmp_path)
    assert "the progress of 1 episodes is unknown" in done.stdout
    assert done.stdout.count("% to ") == 4  # three of success, and progress of the other task

    rows = [{k: v for k, v in json.loads(x).items() if k != "progress"} for x in lines]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for arguments in ((), ("--json",)):
        assert "progress" not in vlabench("show", "run.jsonl", *arguments, cwd=tmp_path).stdout


@pytest.mark.parametrize("content", ["", "not json\n", "[1]\n", '{"kind": "episode"}\n'])
def test_show_refuses_what_is_no_results_file(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(content)
    done = vlabench("show", "x.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("vlabench: x.jsonl")
    assert len(done.stderr.splitlines()) == 1


def test_verify_runs_episodes_again_and_finds_them_equal(tmp_path: Path) -> None:
    assert vlabench(*POINT, "--episodes", "5", "--out", "run.jsonl", cwd=tmp_path).returncode == 0
    done = vlabench("verify", "run.jsonl", "--episodes", "6", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "6 of 6 episodes ran the same trajectory" in done.stdout


def test_verify_says_which_episode_differs_and_where_first(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    assert vlabench(*POINT, "--episodes", "1", "--out", str(path), cwd=tmp_path).returncode == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1]["trace"]["states"] = lines[1]["trace"]["states"][:8] + "0" * 16
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = vlabench("verify", str(path), cwd=tmp_path)
    assert done.returncode == 1
    assert "the simulator's state differs within control steps 1 to 10" in done.stdout
    assert "1 of 2 episodes ran the same trajectory" in done.stdout


def test_verify_says_where_the_same_trajectory_came_nearer(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    assert vlabench(*POINT, "--episodes", "1", "--out", str(path), cwd=tmp_path).returncode == 0
    header, *lines = map(json.loads, path.read_text().splitlines())
    lines[0]["progress"], found = 0.125, lines[0]["progress"]
    del lines[1]["progress"]  # as an older vlabench wrote it: nothing to compare
    path.write_text("".join(json.dumps(line) + "\n" for line in (header, *lines)))
    done = vlabench("verify", str(path), "--json", cwd=tmp_path)
    assert done.returncode == 1
    wheres = {row["episode"]: row["where"] for row in json.loads(done.stdout)["episodes"]}
    first, second = (f"{r['episode']['task_id']}#0" for r in lines)
    assert wheres[first] == f"the same trajectory had progress 0.125 and has {found}"
    assert wheres[second] == ""


def test_replay_films_an_episode_and_says_that_it_is_the_recorded_one(tmp_path: Path) -> None:
    assert vlabench(*POINT, "--episodes", "2", "--out", "run.jsonl", cwd=tmp_path).returncode == 0
    key = "point-reach/right#1"
    done = vlabench("replay", "run.jsonl", key, "--video", "film.mp4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "to the last bit" in done.stdout
    assert frames(tmp_path / "film.mp4") == read_step_count(tmp_path / "run.jsonl", key) + 1
    wrong = vlabench("replay", "run.jsonl", "point-reach/rihgt#1", "--video", "f.mp4", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "Did you mean" in wrong.stderr


@pytest.mark.parametrize(
    "command", [["verify"], ["replay", "lab/reach#0", "--video", "film.mp4"]], ids=lambda c: c[0]
)
def test_an_ingested_run_cannot_be_run_again(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("task,success\nreach,1\nreach,0\n")
    done = vlabench("ingest", "mine.csv", "--suite", "lab", "--out", "mine.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    name, *more = command
    refused = vlabench(name, "mine.jsonl", *more, cwd=tmp_path)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert line.startswith("vlabench: the run was ingested from csv, expected one of `vlabench run")
    assert not (tmp_path / "film.mp4").exists()


def test_videos_of_failures_are_kept_beside_the_results(tmp_path: Path) -> None:
    command = [*POINT, "--episodes", "3", "--out", "run.jsonl", "--video", "failures"]
    assert vlabench(*command, cwd=tmp_path).returncode == 0
    run = read_run(tmp_path / "run.jsonl")
    failures = {
        r.episode.key.replace("/", "-").replace("#", "-") + ".mp4"
        for r in run.episodes
        if r.outcome is Outcome.FAILURE
    }
    assert {path.name for path in (tmp_path / "run.videos").iterdir()} == failures


def test_recorded_actions_replay_to_the_same_trajectory(tmp_path: Path) -> None:
    done = vlabench(*POINT, "--episodes", "3", "--out", "a.jsonl", "--actions", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = vlabench(
        "run", "--suite", "point-reach", "--policy", "replay", "--set", "run=a.jsonl",
        "--episodes", "3", "--out", "b.jsonl", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    a, b = (
        {r.episode.key: r.trace for r in read_run(tmp_path / name).episodes}
        for name in ("a.jsonl", "b.jsonl")
    )
    assert a == b


def test_a_run_that_is_only_errors_is_stopped_and_can_be_retried(tmp_path: Path) -> None:
    assert vlabench(*POINT, "--episodes", "1", "--out", "a.jsonl", "--actions", cwd=tmp_path)
    command = ["run", "--suite", "point-reach", "--policy", "replay", "--set", "run=a.jsonl"]
    command += ["--episodes", "6", "--tasks", "left", "--out", "b.jsonl", "--workers", "1"]
    done = vlabench(*command, cwd=tmp_path)  # one episode is there, five were never recorded
    assert done.returncode == 1
    assert "5 episodes are errors" in done.stdout
    assert "5 of this kind: " in done.stdout
    run = read_run(tmp_path / "b.jsonl")
    assert sum(r.outcome is Outcome.ERROR for r in run.episodes) == 5
    again = vlabench(*command, "--retry-errors", cwd=tmp_path)
    assert again.returncode == 1
    assert len(read_run(tmp_path / "b.jsonl").episodes) == 6
    other = ["--seed", "1", "--out", "c.jsonl", "--max-errors", "3"]  # recorded with other seeds
    stopped = vlabench(*command, *other, cwd=tmp_path)
    assert stopped.returncode == 1
    assert "stopped with 3 episodes left: nothing but errors came back" in stopped.stderr
    assert len(read_run(tmp_path / "c.jsonl").episodes) == 3


def test_lists_are_complete_and_readable_by_scripts(tmp_path: Path) -> None:
    for what in ("suites", "tasks", "policies", "protocols"):
        rows = json.loads(vlabench("list", what, "--json", cwd=tmp_path).stdout)
        assert rows, what
    tasks = json.loads(
        vlabench("list", "tasks", "--suite", "libero", "--json", cwd=tmp_path).stdout
    )
    assert len(tasks) == 40


def test_two_protocols_can_be_held_side_by_side(tmp_path: Path) -> None:
    done = vlabench("protocol", "diff", "openvla", "openpi", "--json", cwd=tmp_path)
    fields = {row["field"] for row in json.loads(done.stdout)}
    assert fields == {"id", "replan_steps", "source"}
    wrong = vlabench("protocol", "diff", "openvla", "mt50", cwd=tmp_path)
    assert wrong.returncode == 2


def frames(path: Path) -> int:
    from imageio_ffmpeg import count_frames_and_secs

    return int(count_frames_and_secs(str(path))[0])


def read_step_count(path: Path, key: str) -> int:
    return next(r.steps for r in read_run(path).episodes if r.episode.key == key)


def test_an_unwritable_place_is_refused_before_anything_starts(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere; run as another user to see this")
    (tmp_path / "closed").mkdir(mode=0o500)
    done = vlabench(*POINT, "--out", "closed/run.jsonl", cwd=tmp_path)
    assert done.returncode == 2
