"""`vlabench stability`: from run files or training logs to what varies and what to buy next."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from vlabench import ProcessRunner, prepare
from vlabench.cli import app

ROOT = Path(__file__).parents[2]
(SFT,) = (ROOT / "results/libero/sft").glob("openvla-e20-*.jsonl")
VLABENCH = str(Path(sys.executable).with_name("vlabench"))


def vlabench(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(*arguments: str | Path, command: str = "stability") -> str:
    done = subprocess.run(
        [VLABENCH, command, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("vlabench: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four runs of one policy with other settings, which stand for four trained seeds."""
    folder = tmp_path_factory.mktemp("trainings")
    paths = []
    for speed in ("0.4", "0.45", "0.5", "0.55"):
        evaluation = prepare(
            "point-reach",
            "point-reach-expert",
            request={"episodes": 10, "repeats": 2},
            settings={"speed": speed},
        )
        paths.append(folder / f"{speed}.jsonl")
        for _ in evaluation.run(ProcessRunner(1), paths[-1]):
            pass
    return paths


def log(path: Path, *success: float, n: int = 40) -> Path:
    rows = [
        line
        for k, rate in enumerate(success)
        for line in (f"{100 * k},0.5,{rate},{n}", f"{100 * k + 50},0.4,,")
    ]
    path.write_text("\n".join(["step,loss,success,success_n", *rows]) + "\n")
    return path


def test_help_teaches_both_ways() -> None:
    done = vlabench("stability", "--help")
    assert done.exit_code == 0
    assert "--against other1.jsonl other2.jsonl" in " ".join(done.stdout.split())
    assert "--curve a/log.csv" in " ".join(done.stdout.split())


def test_one_run_says_what_it_cannot_tell() -> None:
    done = vlabench("stability", SFT)
    assert done.exit_code == 0
    assert "sft: 85.2% [" in done.stdout
    assert "unknown: run each initial state twice, --repeats 2" in " ".join(done.stdout.split())
    assert "42 (35 to 48)" in done.stdout  # of the variance, the share of tasks
    assert "unknown: add a run of another trained seed" in done.stdout
    assert "buy next: more initial states. All of it is about this one training" in done.stdout


def test_trainings_are_told_apart_from_states_and_draws(trainings: list[Path]) -> None:
    done = vlabench("stability", *trainings)
    assert done.exit_code == 0
    assert "4 trainings x 2 tasks x 10 initial states x 2 repeats" in done.stdout
    assert "unknown" not in done.stdout
    assert "buy next: more trained seeds" in done.stdout
    found = json.loads(vlabench("stability", *trainings, "--json").stdout)
    (method,) = found["methods"]
    by_name = {c["name"]: c["variance"]["value"] for c in method["components"]}
    assert by_name["sampling"] == 0  # the expert draws nothing
    assert by_name["training"] > 0.02
    assert found["times_as_stable"] is None


def test_against_takes_every_file_up_to_the_next_option(trainings: list[Path]) -> None:
    one, two, three, four = trainings
    done = vlabench("stability", one, four, "--against", two, three, "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert [method["trainings"] for method in found["methods"]] == [2, 2]
    times = found["times_as_stable"]
    assert times["value"] < 1  # speeds of 0.4 and 0.55 are further apart
    assert times["low"] < 1
    text = vlabench("stability", one, four, "--against", two, three).stdout
    assert "times as stable as B (point-reach-expert)" in text
    assert "not shown, with 2 and 2 trainings" in text


def test_training_logs_give_spread_falls_and_the_ratio(tmp_path: Path) -> None:
    steady = [log(tmp_path / f"a{k}.csv", 0.1, 0.6, 0.8 + 0.02 * k) for k in range(3)]
    shaky = [log(tmp_path / f"b{k}.csv", 0.5, 0.3, 0.2 + 0.3 * k) for k in range(3)]
    done = vlabench("stability", "--curve", *steady, "--against-curve", *shaky)
    assert done.exit_code == 0
    first = done.stdout.splitlines()[0]
    assert first.startswith("A (trainings) shows no spread, so that it is [")
    assert ", unbounded] times as stable as B (trainings)" in first
    found = json.loads(
        vlabench("stability", "--curve", *steady, "--against-curve", *shaky, "--json").stdout
    )
    (b0, *_) = found["methods"][1]["curves"]
    assert b0["fall"] == pytest.approx(0.3)
    assert b0["under"] == 100
    assert set(found["ratios"]) == {"final_deviation", "mean_deviation", "fall", "under"}
    assert found["ratios"]["final_deviation"]["high"] is None  # infinite: JSON has no such number


def test_a_ratio_to_nothing_is_said_to_be_none(tmp_path: Path) -> None:
    rising = [log(tmp_path / f"a{k}.csv", 0.1, 0.6, 0.8 + 0.01 * k) for k in range(3)]
    falling = [log(tmp_path / f"b{k}.csv", 0.5, 0.3, 0.2 + 0.1 * k) for k in range(3)]
    text = vlabench("stability", "--curve", *rising, "--against-curve", *falling).stdout
    under = "share of the training under the start: "
    assert under + "none in A (trainings), so that it is [" in text
    assert ", unbounded] times larger in B (trainings) than in A (trainings)" in text
    text = vlabench("stability", "--curve", *rising[:2], "--against-curve", *rising[1:]).stdout
    assert under + "none in either, so that there is no ratio" in text
    for words in text.split("\n"):
        assert not {"inf", "nan"} & set(re.findall(r"\w+", words))


def test_one_log_is_described_and_says_that_it_has_no_spread(tmp_path: Path) -> None:
    done = vlabench("stability", "--curve", log(tmp_path / "a.csv", 0.2, 0.9, 0.4))
    assert done.exit_code == 0
    assert "50.0" in done.stdout
    assert "one training has no spread" in done.stdout


def test_another_column_can_be_named(tmp_path: Path) -> None:
    path = log(tmp_path / "a.csv", 0.2, 0.9)
    done = vlabench("stability", "--curve", path, "--column", "loss", "--json")
    assert json.loads(done.stdout)["methods"][0]["noise"] is False


def test_what_cannot_be_read_is_one_clear_line(trainings: list[Path], tmp_path: Path) -> None:
    good = log(tmp_path / "a.csv", 0.1, 0.5)
    bad = tmp_path / "bad.csv"
    bad.write_text("step,success\n1,high\n2,0.5\n")
    one, two, *_ = trainings
    assert "found neither" in refused()
    assert "found both" in refused(one, "--curve", good)
    assert "--against names no file" in refused(one, "--against", "--json")
    assert "run 2 has the checkpoint and settings of run 1" in refused(one, one)
    assert "runs of two policies" in refused(one, SFT)
    assert "one training has no spread" in refused(one, "--against", two)
    assert "is a training log" in refused(good)
    assert "--against goes with runs" in refused("--curve", good, "--against", one)
    assert "no column 'reward'" in refused("--curve", good, "--column", "reward")
    assert "success is 'high' in row 1" in refused("--curve", bad)
    assert "cannot read" in refused("--curve", tmp_path / "none.csv")
    assert "is there twice" in refused("--curve", good, good)


@pytest.mark.parametrize("value", ["nan", "inf", "0", "-5", "10.5", "many"])
def test_episodes_of_a_log_are_a_whole_number_from_1_or_refused(value: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"step,success,success_n\n0,0.5,40\n10,0.6,{value}\n")
    why = f"{path}: success_n is '{value}' in row 2 of those with a rate; expected a whole number, "
    for command, arguments in (
        ("stability", ["--curve", path]),
        ("scaling", ["--curve", path]),
        ("report", [SFT, "--curve", f"x={path}", "--out", tmp_path / "report"]),
    ):
        assert why + "1 or more" in refused(*arguments, command=command)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_steps_and_rates_of_a_log_are_finite_or_refused(value: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"step,success\n0,0.5\n{value},0.6\n")
    assert f"{path}: step is '{value}' in row 2" in refused("--curve", path)
    path.write_text(f"step,success\n0,{value}\n10,0.6\n")
    assert f"{path}: success is '{value}' in row 1" in refused("--curve", path)


def test_a_log_that_cannot_be_opened_is_said_as_other_files_are(tmp_path: Path) -> None:
    assert refused("--curve", tmp_path) == f"vlabench: cannot read {tmp_path}: Is a directory\n"
    none = tmp_path / "none.csv"
    for command, arguments in (("stability", [none]), ("report", [f"x={none}"])):
        runs = [SFT, "--out", tmp_path] if command == "report" else []
        said = refused(*runs, "--curve", *arguments, command=command)
        assert said == f"vlabench: cannot read {none}: No such file or directory\n"


@pytest.mark.parametrize("command", ["stability", "profile"])
def test_a_run_without_an_episode_is_said_to_have_none(command: str, tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text(SFT.read_text().splitlines()[0] + "\n")
    assert "the run holds no episode yet; variance needs two" in refused(path, command=command)


def curve_of(path: Path, text: str | bytes, *arguments: str) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = vlabench("stability", "--curve", path, *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_log_of_tensorboard_counts_in_its_steps(tmp_path: Path) -> None:
    text = "Wall time,Step,Value\n1700000000.1,0,0.6\n1700000900.2,1000,0.4\n1700001000,2000,0.8\n"
    said = curve_of(tmp_path / "log.csv", text, "--column", "Value")
    assert "Step under the start" in said or "Steps under the start" in said
    assert " 1e+03 " in said or " 1000 " in said
    assert "Wall time" not in said


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffstep,success\n0,0.6\n10,0.4\n20,0.8\n",
        "step;success\n0;0,6\n10;0,4\n20;0,8\n",
        "\ufeffstep\tsuccess\r\n0\t0.6\r\n10\t0.4\r\n20\t0.8\r\n".encode("utf-16-le"),
        ",step,success\n0,0,0.6\n1,10,0.4\n2,20,0.8\n",
        "step,success\r0,0.6\r10,0.4\r20,0.8\r",
        "step,success\n0,0.6\n10,0.4\n20,0.8\n30\n",
    ],
    ids=["mark", "German", "UTF-16", "pandas", "carriage returns", "being written"],
)
def test_a_log_is_one_however_it_was_written(text: str | bytes, tmp_path: Path) -> None:
    plain = curve_of(tmp_path / "log.csv", "step,success\n0,0.6\n10,0.4\n20,0.8\n")
    assert curve_of(tmp_path / "log.csv", text) == plain


def test_a_row_that_is_there_twice_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("step,success\n0,0.1\n1000,0.3\n1000,0.3\n")
    assert "1000 comes after 1000; keep one row a step" in refused("--curve", path)
