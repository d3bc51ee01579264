"""The GitHub Action and its workflow say what the commands take, and do what they say."""

import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from vlabench import load_suite, read_run
from vlabench.cli import app

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text())
    for path in (ROOT / ".github" / "workflows").glob("*.yml")
}
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
COMMAND = str(Path(sys.executable).parent / "vlabench")
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]


def calls(script: str) -> Iterator[list[str]]:
    """The words of every call of vlabench."""
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["vlabench"] and len(words) > 1:
            yield words[1:]


def options(words: list[str]) -> set[str]:
    return {word for word in words if word.startswith("--")}


def test_every_command_and_option_of_the_action_exists() -> None:
    scripts = [step["run"] for step in STEPS if "run" in step]
    found = [words for script in scripts for words in calls(script)]
    assert [words[0] for words in found] == ["run", "gate"]
    more = set(re.findall(r"more\+=\((--[\w-]+)", scripts[0]))
    assert more
    for words, extra in zip(found, (more, set()), strict=True):
        known = {name for p in COMMANDS[words[0]].params for name in p.opts}
        assert options(words) | extra <= known


def test_every_input_is_used_and_every_used_one_declared() -> None:
    used = set(re.findall(r"inputs\.([\w-]+)", str(ACTION["runs"])))
    assert used == set(ACTION["inputs"])
    assert [step for step in STEPS if "inputs." in step.get("run", "")] == []  # injection


def test_outputs_come_from_steps_that_write_them() -> None:
    scripts = {step["id"]: step["run"] for step in STEPS if "id" in step}
    for output in ACTION["outputs"].values():
        step, name = re.findall(r"steps\.(\w+)\.outputs\.(\w+)", output["value"])[0]
        assert f"{name}=" in scripts[step]


def combinations(matrix: dict[str, Any]) -> list[dict[str, str]]:
    """What a matrix stands for, as GitHub says: an inclusion that overwrites nothing adds to it."""
    axes = {name: values for name, values in matrix.items() if name != "include"}
    found = [dict(zip(axes, each, strict=True)) for each in itertools.product(*axes.values())]
    for more in matrix["include"]:
        kept = [name for name in axes if name in more]
        fits = [one for one in found if all(one[name] == more[name] for name in kept)]
        for one in fits:
            one |= more
        found += [dict(more)] if not fits else []
    return found


GATE = WORKFLOWS["regression.yml"]["jobs"]["gate"]
PLANS = combinations(GATE["strategy"]["matrix"])


def test_the_workflow_holds_every_committed_run_of_the_plan() -> None:
    found = {f"{plan['suite']}-{plan['policy']}.jsonl" for plan in PLANS}
    assert found == {path.name for path in (ROOT / "results" / "gate").iterdir()}


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan['suite']}-{plan['policy']}")
def test_the_workflow_asks_for_what_the_baseline_was_made_of(plan: dict[str, str]) -> None:
    (step,) = [step["with"] for step in GATE["steps"] if step.get("uses") == "./"]
    assert set(step) <= set(ACTION["inputs"])
    required = {name for name, declared in ACTION["inputs"].items() if declared.get("required")}
    assert required <= set(step)
    use = {
        name: re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda found: plan[found[1]], value)
        for name, value in step.items()
    }
    header = read_run(ROOT / use["baseline"]).header
    assert (header.suite_id, header.policy_id) == (use["suite"], use["policy"])
    assert header.request.tasks == use["tasks"]
    assert str(header.request.episodes) == use["episodes"]
    assert header.protocol == load_suite(use["suite"]).protocols[0].name
    assert str(header.request.seed) == use.get("seed", ACTION["inputs"]["seed"]["default"])
    assert header.settings == {}


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("baseline") / "run.jsonl"
    shared = ["--suite", "point-reach", "--policy", "point-reach-expert", "--set", "speed=0.6"]
    subprocess.run([COMMAND, "run", *shared, "--out", path, "--quiet"], check=True)
    return path


@pytest.mark.parametrize(
    ("changes", "code", "verdict"),
    [
        ({}, 0, "0"),
        ({"episodes": "3"}, 3, "3"),  # another plan
        ({"settings": "speed=0.65"}, 2, "2"),  # other trajectories, and few of them
        ({"settings": "speed=0.65", "underpowered": "pass"}, 0, "2"),
        ({"settings": "speed=0.3"}, 1, "1"),  # too slow to arrive
    ],
)
def test_the_steps_run_as_they_stand(
    tmp_path: Path, baseline: Path, changes: dict[str, str], code: int, verdict: str
) -> None:
    # What GitHub does: replace expressions, set the variables, run bash with -e and pipefail.
    inputs = {name: str(declared.get("default", "")) for name, declared in ACTION["inputs"].items()}
    inputs |= {
        "suite": "point-reach",
        "policy": "point-reach-expert",
        "settings": "speed=0.6\n",
        "baseline": str(baseline),
        "command": COMMAND,
    } | changes
    files = {name: tmp_path / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for step in STEPS[:2]:
        env = {name: filled(value, inputs, tmp_path) for name, value in step["env"].items()}
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", step["run"]],
            env={**os.environ, **env, **{name: str(path) for name, path in files.items()}},
            check=False,
        )
    assert done.returncode == code
    assert f"verdict={verdict}" in files["GITHUB_OUTPUT"].read_text()
    assert files["GITHUB_STEP_SUMMARY"].read_text().startswith("## ")
    assert (tmp_path / "vlabench-gate" / "gate.xml").is_file()


def filled(text: str, inputs: dict[str, str], temp: Path) -> str:
    text = text.replace("${{ runner.temp }}", str(temp))
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: inputs[found[1]], text)
