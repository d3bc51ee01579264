"""`vlabench train`, used as its users do: in a process of its own."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the extra: pip install 'vlabench-harness[train]'")
pytest.importorskip("h5py", reason="needs the extra: pip install 'vlabench-harness[train]'")

VLABENCH = str(Path(sys.executable).with_name("vlabench"))
QUICK = [
    *("--set", "demos.episodes=6", "--set", "training.steps=40", "--set", "training.save_every=10"),
    *("--set", "training.validate_every=20", "--set", "training.rollout_every=0"),
]


def vlabench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [VLABENCH, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_recipe_by_name_trains_into_a_folder_and_prints_the_checkpoint(tmp_path: Path) -> None:
    done = vlabench("train", "sft-point-reach", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "training/sft-point-reach/checkpoint\n"
    assert "collecting demonstrations of point-reach-expert" in done.stderr
    folder = tmp_path / "training" / "sft-point-reach"
    found = {path.name for path in folder.iterdir()}
    assert found == {"checkpoint", "curves.png", "demos", "log.csv", "recipe", "state.pt"}
    run = vlabench(
        *("run", "--suite", "point-reach", "--policy", "sft", "--episodes", "2", "--workers", "1"),
        *("--set", f"checkpoint={folder / 'checkpoint'}", "--out", "run.jsonl", "--quiet"),
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    before = (folder / "log.csv").read_bytes()
    again = vlabench("train", "sft-point-reach", *QUICK, "--quiet", cwd=tmp_path)
    assert (again.returncode, again.stdout, again.stderr) == (0, done.stdout, "")
    assert (folder / "log.csv").read_bytes() == before


def test_an_interrupted_training_says_how_to_go_on_and_does(tmp_path: Path) -> None:
    longer = [text.replace("steps=40", "steps=3000") for text in QUICK]
    command = ["train", "sft-point-reach", *longer, "--out", "t"]
    process = subprocess.Popen(
        [VLABENCH, *command], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not (tmp_path / "t" / "state.pt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert b"interrupted; run the same command again to go on" in said
    assert b"Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sft-libro"], "no recipe is called 'sft-libro'. Did you mean 'sft-libero-privileged'?"),
        (["none.toml"], "recipe none.toml cannot be read: No such file or directory"),
        (["sft-point-reach", "--set", "training.step=3"], "did you mean 'steps'?"),
        (["sft-point-reach", "--set", "steps"], "--set 'steps' is not of the form key=value"),
        (["sft-point-reach", "--set", "suite=nowhere"], "no suite is called 'nowhere'"),
        (["sft-point-reach", "--set", "tasks=middle"], "no task of suite 'point-reach' matches"),
        (["sft-point-reach", "--set", "trainer=ppo2"], "no trainer is called 'ppo2'"),
        (["sft-point-reach", "--set", "demos.folder=nowhere"], "nowhere does not exist"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_line(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    done = vlabench("train", *arguments, "--out", "t", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("vlabench: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "t").exists()


def test_recipes_are_listed(tmp_path: Path) -> None:
    done = vlabench("list", "recipes", cwd=tmp_path)
    assert done.returncode == 0
    assert "sft-libero-privileged" in done.stdout


def test_a_training_that_is_done_has_its_checkpoint_though_it_cannot_draw(tmp_path: Path) -> None:
    (tmp_path / "out" / "curves.png").mkdir(parents=True)  # no picture can be written there
    quick = [*QUICK, "--out", "out"]
    done = vlabench("train", "sft-point-reach", *quick, cwd=tmp_path)
    assert done.returncode != 0
    assert (tmp_path / "out" / "checkpoint").is_dir()
