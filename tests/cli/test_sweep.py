"""`vlabench sweep` runs a grid on the same episodes; `vlabench scaling` reads what there is."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vlabench import read_run

VLABENCH = str(Path(sys.executable).with_name("vlabench"))
SWEEP = ["sweep", "--suite", "point-reach", "--policy", "point-reach-expert", "--workers", "1"]
SPEEDS = "speed=0.3,0.4,0.5,0.6"


def vlabench(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [VLABENCH, *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A folder with a sweep in `grid`, and what it printed."""
    folder = tmp_path_factory.mktemp("sweep")
    done = vlabench(*SWEEP, "--set", SPEEDS, "--episodes", "10", "--out", "grid", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, done.stderr


@pytest.mark.parametrize("command", ["sweep", "scaling"])
def test_help_teaches(command: str, tmp_path: Path) -> None:
    done = vlabench(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"vlabench {command} " in done.stdout


def test_a_sweep_runs_one_plan_at_every_point(swept: tuple[Path, str, str]) -> None:
    folder, _, said = swept
    runs = [read_run(path) for path in sorted((folder / "grid").glob("*.jsonl"))]
    assert [run.header.settings["speed"] for run in runs] == ["0.3", "0.4", "0.5", "0.6"]
    assert len({run.header.plan_digest for run in runs}) == 1
    assert {len(run.episodes) for run in runs} == {20}
    assert "point 4 of 4: speed=0.6" in said


def test_the_first_line_says_what_more_of_it_does(swept: tuple[Path, str, str]) -> None:
    _, printed, _ = swept
    first = printed.splitlines()[0]
    assert first.startswith("success RISES with speed: +")
    assert "points [" in first
    assert "for each doubling of speed, p < 0.001, n = 20" in first


def test_table_and_picture_hold_every_point(swept: tuple[Path, str, str]) -> None:
    folder, printed, _ = swept
    assert "grid/scaling.csv" in printed
    with (folder / "grid" / "scaling.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["x"] for row in rows] == ["0.3", "0.4", "0.5", "0.6"]
    assert [float(row["success"]) for row in rows][-1] == 1
    assert {row["n"] for row in rows} == {"20"}
    assert (folder / "grid" / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_command_again_runs_nothing_and_longer_lists_add_points(
    swept: tuple[Path, str, str], tmp_path: Path
) -> None:
    folder, _, _ = swept
    for path in (folder / "grid").glob("*.jsonl"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    before = {path.name: len(read_run(path).episodes) for path in tmp_path.glob("*.jsonl")}
    longer = f"{SPEEDS},1"
    command = [*SWEEP, "--set", longer, "--episodes", "10", "--out", ".", "--json"]
    done = vlabench(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (series,) = json.loads(done.stdout)["series"]
    assert [point["x"] for point in series["points"]] == [0.3, 0.4, 0.5, 0.6, 1.0]
    after = {path.name: len(read_run(path).episodes) for path in tmp_path.glob("*.jsonl")}
    assert after == {**before, "speed=1.jsonl": 20}


def test_without_out_it_has_its_own_folder_which_longer_lists_share(tmp_path: Path) -> None:
    for speeds in ("0.5,1", "0.5,0.7,1"):
        done = vlabench(
            *SWEEP, "--set", f"speed={speeds}", "--episodes", "2", "--quiet", cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "results/sweeps/point-reach/point-reach-expert").iterdir()
    assert len(list(folder.glob("*.jsonl"))) == 3


def test_a_sweep_that_is_interrupted_goes_on(tmp_path: Path) -> None:
    command = [*SWEEP, "--set", "speed=0.3,0.5", "--episodes", "100", "--out", "grid"]
    process = subprocess.Popen(
        [VLABENCH, *command], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    first = tmp_path / "grid" / "speed=0.3.jsonl"
    while not first.exists() or first.read_bytes().count(b"\n") < 20:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert b"run the same command again" in said
    assert b"Traceback" not in said
    again = vlabench(*command, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "resumed: " in again.stderr
    assert len(read_run(first).episodes) == 200


def test_a_grid_of_two_settings_is_a_line_for_each_value_of_the_second(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra: pip install 'vlabench-harness[torch]'")
    done = vlabench(
        *("sweep", "--suite", "point-reach", "--policy", "sft", "--workers", "1"),
        *("--set", "temperature=0.5,8", "--set", "execute=2,4", "--set", "front=privileged"),
        *("--episodes", "3", "--out", "grid", "--json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [series["series"] for series in found["series"]] == ["execute=2", "execute=4"]
    assert {series["axis"] for series in found["series"]} == {"temperature"}
    assert found["series"][0]["points"][0]["flops"] > 0
    assert len(list((tmp_path / "grid").glob("*.jsonl"))) == 4
    other = vlabench("scaling", "grid", "--axis", "execute", "--json", cwd=tmp_path)
    labels = [series["series"] for series in json.loads(other.stdout)["series"]]
    assert labels == ["temperature=0.5", "temperature=8"]


def test_with_repeats_a_sweep_says_what_a_perfect_choice_among_episodes_reaches(
    tmp_path: Path,
) -> None:
    command = ["sweep", "--suite", "point-reach", "--policy", "sft", "--workers", "1"]
    settings = ["samples=1,2,4", "temperature=4", "verifier=consensus"]
    sets = [word for each in settings for word in ("--set", each)]
    done = vlabench(
        *command, *sets, "--episodes", "3", "--repeats", "2", "--out", ".", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "best of as many: a perfect choice among as many whole episodes" in done.stdout
    with (tmp_path / "scaling.csv").open() as file:
        one, two, four = csv.DictReader(file)
    assert one["best_of"] == one["success"]
    runs = read_run(tmp_path / "samples=1.jsonl").episodes
    solved = {
        (r.episode.task_id, r.episode.init_index) for r in runs if str(r.outcome) == "success"
    }
    assert float(two["best_of"]) == pytest.approx(len(solved) / 6, abs=1e-5)
    assert four["best_of"] == ""


def test_scaling_says_the_same_of_the_runs_and_places_them_where_it_is_told(
    swept: tuple[Path, str, str],
) -> None:
    folder, printed, _ = swept
    again = vlabench("scaling", "grid", "--out", "again", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[0] == printed.splitlines()[0]
    tables = [(folder / place / "scaling.csv").read_bytes() for place in ("grid", "again")]
    assert tables[0] == tables[1]
    files = sorted((folder / "grid").glob("*.jsonl"))
    moved = vlabench("scaling", *files, "--at", "1,2,4,8", "--json", cwd=folder)
    (series,) = json.loads(moved.stdout)["series"]
    assert [point["x"] for point in series["points"]] == [1, 2, 4, 8]


@pytest.fixture
def ingested(tmp_path: Path) -> list[str]:
    """Three runs of two policies in the same states, none with a setting; the second is best."""
    for name, policy, least in (("0", "sft", 30), ("1", "rl", 5), ("2", "rl", 10)):
        rows = [f"{policy},reach,{seed},{seed >= least}" for seed in range(60)]
        table = "\n".join(["policy,task,seed,success", *rows]) + "\n"
        (tmp_path / f"{name}.csv").write_text(table)
        done = vlabench(
            *("ingest", f"{name}.csv", "--suite", "lab", "--out", f"{name}.jsonl"), cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
    return ["0.jsonl", "1.jsonl", "2.jsonl"]


def test_runs_of_several_policies_are_one_axis_where_their_places_are_given(
    ingested: list[str], tmp_path: Path
) -> None:
    command = ["scaling", *ingested, "--at", "0,50,100", "--axis", "step", "--out", "out"]
    done = vlabench(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    # 30, 55 and 50 of 60 at 0, 1/2 and 1 of the range: the slope is (50 - 30) / 60.
    assert first.startswith("success RISES with step, over runs of sft and rl: +33.3 points [")
    assert [line.split()[-1] for line in rest if line[:1].isdigit()] == ["sft", "rl", "rl"]
    with (tmp_path / "out" / "scaling.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["x"], row["policy"]) for row in rows] == [
        ("0", "sft"), ("50", "rl"), ("100", "rl"),
    ]  # fmt: skip


def test_runs_that_differ_in_no_setting_are_an_axis_where_their_places_are_given(
    ingested: list[str], tmp_path: Path
) -> None:
    done = vlabench("scaling", *ingested[1:], "--at", "1,2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "for each doubling of place" in done.stdout.splitlines()[0]
    assert "policy" not in done.stdout
    done = vlabench("scaling", *ingested, "--at", "1,2", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--at has 2 numbers for 3 runs; expected one for each" in done.stderr
    done = vlabench("scaling", *ingested[1:], cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "or say where each is: --at 100,200,400" in done.stderr


def test_a_training_log_has_success_against_steps(tmp_path: Path) -> None:
    rows = "".join(f"{step},{1 - 50 / step},400\n" for step in (100, 200, 400, 800, 1600))
    (tmp_path / "log.csv").write_text("step,success,success_n\n" + rows)
    done = vlabench("scaling", "--curve", "log.csv", "--out", ".", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("success RISES with step: +")
    assert "N = step / 100" in done.stdout
    assert (tmp_path / "scaling.png").exists()


@pytest.mark.parametrize("option", [["--at", "1,2"], ["--axis", "step"]])
def test_a_training_log_has_places_of_its_own(option: list[str], tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,success,success_n\n0,0.1,50\n1,0.5,50\n2,0.6,50\n")
    done = vlabench("scaling", "--curve", "log.csv", *option, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"vlabench: {option[0]} is for results files; a training log has")


def test_errors_stop_the_reading_until_it_is_said_what_they_are(
    swept: tuple[Path, str, str], tmp_path: Path
) -> None:
    folder, _, _ = swept
    for path in (folder / "grid").glob("*.jsonl"):
        header, first, *rest = path.read_text().splitlines()
        if path.name == "speed=0.6.jsonl":
            broken = {**json.loads(first), "outcome": "error", "error": "it broke"}
            del broken["progress"]
            first = json.dumps(broken)
        (tmp_path / path.name).write_text("\n".join([header, first, *rest]) + "\n")
    command = [*SWEEP, "--set", SPEEDS, "--episodes", "10", "--out", ".", "--quiet"]
    done = vlabench(*command, cwd=tmp_path)
    assert done.returncode == 1
    assert "1 of 80 episodes are errors; --retry-errors runs them again" in done.stderr
    done = vlabench(*command, "--on-error", "exclude", cwd=tmp_path)
    assert done.returncode == 1
    assert "n = 19; 1 episodes broke somewhere and count nowhere" in done.stdout
    assert vlabench(*command, "--retry-errors", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "speed=1"], "nothing to go through in --set speed=1; give a list"),
        (["--set", "speed=1,,0.5"], "a value is empty; expected speed=1,2,4"),
        (["--set", "speed=1,1"], "1 is there twice"),
        (["--set", "speed=1,1.0"], "two values of speed are one number"),
        (["--set", "sped=1,0.5"], "nothing takes the setting 'sped'"),
        (["--set", "speed=0.5,fast"], "speed='fast', expected float"),
        (["--set", "speed=0.5,7"], "speed=7, expected in (0, 1]"),
        (["--set", SPEEDS, "--axis", "samples"], "--axis 'samples': the runs differ in speed"),
        (["--set", SPEEDS, "--at", "1,2"], "--at has 2 numbers for 4 values of speed"),
        (["--set", SPEEDS, "--at", "1,x"], "expected numbers, as in 100,200,400"),
        (["--set", SPEEDS, "--at", "1,2,3,nan"], "nan is no place on an axis; expected numbers"),
        (["--set", SPEEDS, "--at", "1,2,inf,4"], "inf is no place on an axis; expected numbers"),
        (["--set", SPEEDS, "--out", "file"], "file is a file; expected a folder"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_runs(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = vlabench(*SWEEP, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("vlabench: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        (["--set", SPEEDS, "--episodes", "3"], "plan: "),
        (["--set", "chunk=1,2", "--policy", "random"], "policy: point-reach-expert there, random"),
    ],
)
def test_a_folder_of_another_sweep_is_not_mixed_with(
    swept: tuple[Path, str, str], changes: list[str], difference: str
) -> None:
    folder, _, _ = swept
    before = sorted(path.name for path in (folder / "grid").iterdir())
    done = vlabench(*SWEEP, *changes, "--out", "grid", cwd=folder)
    assert done.returncode == 2
    assert "grid holds another sweep: speed=0.3.jsonl differs in " in done.stderr
    assert difference in done.stderr
    assert "Choose another --out" in done.stderr
    assert sorted(path.name for path in (folder / "grid").iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give results files, or training logs with --curve"),
        (["grid/speed=0.3.jsonl"], "the runs have the same settings"),
        (["empty"], "no results file in empty"),
        (["none.jsonl"], "cannot read none.jsonl"),
        (["grid", "grid/speed=0.3.jsonl"], "grid/speed=0.3.jsonl is there twice"),
        (["grid", "--at", "1,2,3,nan"], "nan is no place on an axis"),
    ],
)
def test_what_is_no_axis_is_one_clear_line(
    swept: tuple[Path, str, str], arguments: list[str], message: str
) -> None:
    folder, _, _ = swept
    (folder / "empty").mkdir(exist_ok=True)
    done = vlabench("scaling", *arguments, cwd=folder)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
