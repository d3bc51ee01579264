"""Whether a change may be merged: a real regression is told from a harmless change, end to end."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from scipy.stats import binom
from typer.testing import CliRunner, Result

from vlabench import Decision, EpisodeSpec, Observation, Outcome, Rules, Run, SerialRunner, prepare
from vlabench.cli import app
from vlabench.gate.sentences import change
from vlabench.metrics import Estimate
from vlabench.metrics.regression import Status, judge_runs, same_trajectories
from vlabench.plan import make_plan
from vlabench.policy import Policy

EPISODES = 60
SEEDS = 80


class Shaken:
    """A policy whose actions get noise, from a generator of each episode."""

    def __init__(self, inner: Policy, noise: float) -> None:
        self.id, self.digest = inner.id, inner.digest
        self.observation, self.action = inner.observation, inner.action
        self._inner, self._noise = inner, noise
        self._generators: dict[int, np.random.Generator] = {}

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        seed = [episode.policy_seed, int(1000 * self._noise)]
        self._generators[slot] = np.random.default_rng(seed)
        self._inner.reset(slot, episode)

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        actions = self._inner.act(slots, observations).actions
        noise = [
            self._noise * self._generators[slot].normal(size=actions[0].shape) for slot in slots
        ]
        return Decision(actions=(actions + np.stack(noise)).astype(np.float32))


def run(folder: Path, *, noise: float = 0.0, policy: str = "point-reach-expert") -> Path:
    """Run the toy for real; its expert reaches the mark in nearly the steps there are."""
    settings = {"speed": "0.6"} if policy == "point-reach-expert" else {}
    evaluation = prepare(
        "point-reach",
        policy,
        request={"episodes": EPISODES},
        settings=settings,
        wrap=(lambda inner: Shaken(inner, noise)) if noise else None,
    )
    path = folder / f"{policy}.jsonl"
    for _ in evaluation.run(SerialRunner(), path):
        pass
    return path


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("baseline"))


@pytest.fixture(scope="module")
def shaken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("shaken"), noise=1.5)


@pytest.fixture(scope="module")
def touched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("touched"), noise=0.001)


def gate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["gate", *map(str, arguments)])


def hold(baseline: Path, candidate: Path, *more: str | Path) -> Result:
    return gate("--baseline", baseline, "--candidate", candidate, *more)


def test_noise_on_the_actions_is_a_regression(baseline: Path, shaken: Path) -> None:
    done = hold(baseline, shaken, "--margin", "5")
    assert done.exit_code == 1
    first, second, *rest = done.stdout.splitlines()
    assert first == "REGRESSION: 1 run against the baseline, margin 5 points"
    assert second.startswith("point-reach point-reach-expert: REGRESSION, -")
    assert f"n = {2 * EPISODES} pairs" in second
    lost = [line for line in rest if ": success then, failure now" in line]
    assert lost
    assert "the policy's actions differ within control steps 1 to 10" in lost[0]


def test_a_change_of_the_last_digits_is_none(baseline: Path, touched: Path) -> None:
    done = hold(baseline, touched, "--margin", "5")
    assert done.exit_code == 0
    assert "the whole interval is above -5 points" in done.stdout
    assert "to the last bit" not in done.stdout


def runs_of_many_seeds(noise: float) -> list[Run]:
    """Run the toy on one plan after the other, 60 episodes each."""
    evaluation = prepare(
        "point-reach",
        "point-reach-expert",
        settings={"speed": "0.6"},
        wrap=lambda inner: Shaken(inner, noise),
    )
    runs = []
    for seed in range(SEEDS):
        plan = make_plan(evaluation.suite, episodes=30, seed=seed)
        header = replace(evaluation.header, plan_digest=plan.digest, request=plan.request)
        records = SerialRunner().run(evaluation.stage, evaluation.policy, plan.episodes)
        runs.append(Run(header=header, episodes=tuple(records)))
    return runs


def statuses(then: list[Run], now: list[Run], margin: float) -> Counter[Status]:
    """Ask a gate about each pair, one at a time."""
    rules = Rules(margin=margin)
    names = [("baseline", "candidate")]
    judged = [judge_runs([pair], names=names, rules=rules) for pair in zip(then, now, strict=True)]
    return Counter(found.status for (found,) in judged)


def mean_success(runs: list[Run]) -> float:
    return float(np.mean([r.outcome is Outcome.SUCCESS for run in runs for r in run.episodes]))


def test_of_many_changes_the_gate_finds_the_bad_ones_and_lets_the_harmless_ones_be() -> None:
    # The expert's actions always have noise here, so that its success depends on luck. Another
    # draw of the same noise changes every trajectory and no rate; more noise costs 28 points.
    then, harmless, harmful = (runs_of_many_seeds(noise) for noise in (0.4, 0.401, 0.7))
    assert abs(mean_success(harmless) - mean_success(then)) < 0.01
    assert mean_success(harmful) < mean_success(then) - 0.26
    assert sum(same_trajectories(a, b) for a, b in zip(then, harmless, strict=True)) == 0

    # How often a promise was broken, and the most that is likely (99 %) where it is kept.
    false_alarms = statuses(then, harmless, margin=0.1)[Status.REGRESSION]
    assert false_alarms <= binom.ppf(0.99, SEEDS, 0.05)
    misses = statuses(then, harmful, margin=0.25)[Status.PASS]  # a fall by more than the margin
    assert misses <= binom.ppf(0.99, SEEDS, 0.025)
    found = statuses(then, harmful, margin=0.1)[Status.REGRESSION]
    assert found >= binom.ppf(0.01, SEEDS, 0.95)


def test_the_same_code_passes_at_once(baseline: Path, tmp_path: Path) -> None:
    done = hold(baseline, run(tmp_path), "--margin", "0.1")
    assert done.exit_code == 0
    assert "every episode went the same way, to the last bit" in done.stdout


def test_too_few_episodes_for_the_margin_exit_with_2(baseline: Path, touched: Path) -> None:
    done = hold(baseline, touched, "--margin", "0.5")
    assert done.exit_code == 2
    assert "a fall of 0.5 points is not excluded" in done.stdout
    assert "episodes would tell a fall of 0.5 points with 80 % power" in done.stdout


def test_a_missing_run_is_not_comparable_and_an_extra_one_is_named(
    baseline: Path, tmp_path: Path
) -> None:
    run(tmp_path, policy="noop")
    done = hold(baseline.parent, tmp_path)
    assert done.exit_code == 3
    assert "the candidate has no run of point-reach point-reach-expert" in done.stdout
    assert f"no baseline for {tmp_path / 'noop.jsonl'}" in done.stdout
    run(tmp_path)
    assert hold(baseline.parent, tmp_path).exit_code == 0


def test_the_worst_run_decides(baseline: Path, shaken: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    noop = run(both, policy="noop")
    (both / baseline.name).write_bytes(baseline.read_bytes())
    only = tmp_path / "only"
    only.mkdir()
    candidate = only / baseline.name
    candidate.write_bytes(baseline.read_bytes())
    assert hold(both, only).exit_code == 3  # one passes, one is missing
    candidate.write_bytes(shaken.read_bytes())
    done = hold(both, only)
    assert done.exit_code == 1  # one is worse, one is missing
    assert done.stdout.splitlines()[0].endswith("; 1 NOT COMPARABLE, 1 REGRESSION")
    assert hold(both, both).exit_code == 0
    assert "no baseline for" not in hold(both, both).stdout
    assert f"no baseline for {noop}" in hold(only, both).stdout


def test_two_policies_in_two_files_are_held_against_each_other(
    baseline: Path, tmp_path: Path
) -> None:
    done = hold(baseline, run(tmp_path, policy="noop"))
    assert done.exit_code == 1
    assert "point-reach noop against point-reach point-reach-expert: REGRESSION" in done.stdout


def test_two_runs_of_one_thing_are_refused(baseline: Path, tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_bytes(baseline.read_bytes())
    done = hold(baseline, tmp_path)
    assert done.exit_code == 3
    assert "holds two runs of point-reach point-reach-expert standard@1 speed=0.6" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--baseline", "nowhere.jsonl", "--candidate", "nowhere.jsonl"],
        ["--baseline", ".github", "--candidate", ".github"],
        ["--baseline", "README.md", "--candidate", "README.md"],
        ["--baseline", "README.md"],
        ["--margn", "3"],
    ],
)
def test_what_makes_no_sense_never_looks_like_underpowered(arguments: list[str]) -> None:
    done = gate(*arguments)
    assert done.exit_code == 3
    assert done.stderr


def test_a_margin_must_be_one(baseline: Path) -> None:
    assert hold(baseline, baseline, "--margin", "0").exit_code == 3
    assert gate("--help").exit_code == 0


def test_junit_has_a_case_for_the_run_and_each_task(
    baseline: Path, shaken: Path, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "gate.xml"
    hold(baseline, shaken, "--margin", "5", "--junit", path)
    root = ET.parse(path).getroot()
    assert root.tag == "testsuites"
    (suite,) = root
    cases = {case.get("name"): case for case in suite.findall("testcase")}
    assert list(cases) == ["the run", "point-reach/left", "point-reach/right"]
    failure = cases["the run"].find("failure")
    assert failure is not None
    assert failure.get("type") == "REGRESSION"
    assert "lost: point-reach/" in (failure.text or "")
    failed = sum(case.find("failure") is not None for case in cases.values())
    assert root.get("failures") == suite.get("failures") == str(failed)
    assert (root.get("tests"), root.get("errors"), root.get("skipped")) == ("3", "0", "0")


def test_the_text_says_how_many_changed_episodes_it_leaves_out(
    baseline: Path, shaken: Path
) -> None:
    changed = json.loads(hold(baseline, shaken, "--json").stdout)["entries"][0]["changed"]
    lines = hold(baseline, shaken).stdout.splitlines()
    assert sum(": success then, failure now" in line for line in lines) == 25
    assert f"  and {len(changed) - 25} more; --json lists all of them" in lines


@pytest.mark.parametrize("broken", ["--junit", "--summary"])
def test_where_one_file_cannot_be_written_none_is(
    broken: str, baseline: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    old.write_text("before\n")
    for other in (old, tmp_path / "new"):
        files = {"--junit": other, "--summary": other, broken: "/proc/nowhere/file"}
        done = hold(baseline, baseline, *(word for pair in files.items() for word in pair))
        assert done.exit_code == 3
        assert done.stdout == ""
        assert done.stderr.startswith("vlabench: cannot write /proc/nowhere/file: ")
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_text() == "before\n"


def test_junit_tells_missing_from_underpowered(
    baseline: Path, touched: Path, tmp_path: Path
) -> None:
    path, empty = tmp_path / "gate.xml", tmp_path / "other"
    run(empty, policy="noop")
    for candidate, kind in ((empty, "error"), (touched.parent, "skipped")):
        hold(baseline.parent, candidate, "--margin", "0.5", "--junit", path)
        assert ET.parse(path).getroot().find(f"testsuite/testcase/{kind}") is not None


def test_the_summary_has_the_verdict_first_and_is_appended(
    baseline: Path, shaken: Path, tmp_path: Path
) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    hold(baseline, shaken, "--margin", "5", "--summary", path)
    lines = path.read_text().splitlines()
    assert lines[:2] == ["before", "## REGRESSION: 1 run against the baseline, margin 5 points"]
    rows = [line for line in lines if line.startswith("| `point-reach/")]
    assert len(rows) == 25
    assert " more; `vlabench gate --json` lists all of them" in "\n".join(lines)
    assert all(line.count("|") == 5 for line in rows)


def test_lost_episodes_come_before_won_ones(shaken: Path, tmp_path: Path) -> None:
    found = json.loads(hold(shaken, run(tmp_path, noise=1.4), "--json").stdout)
    now = [one["now"] for one in found["entries"][0]["changed"]]
    assert now == sorted(now)  # failure, then success
    assert len(set(now)) == 2


def test_json_holds_all_of_it(baseline: Path, shaken: Path) -> None:
    found = json.loads(hold(baseline, shaken, "--json").stdout)
    assert found["status"] == "REGRESSION"
    (entry,) = found["entries"]
    assert entry["judgement"]["p_value"] < 0.001
    assert entry["same"] == 0
    assert {one["now"] for one in entry["changed"]} >= {"failure"}


ROOT = Path(__file__).parents[2]
OWN = ROOT / "results" / "gate"
LEARNED = ("libero-sft.jsonl", "libero-vla-rl.jsonl", "metaworld-sft.jsonl")


def own_margin() -> float:
    """The margin with which this project's own gate is run."""
    words = (ROOT / "scripts" / "gate").read_text().split()
    return float(words[words.index("--margin") + 1])


@pytest.mark.parametrize("name", LEARNED)
def test_this_projects_own_gate_fires_when_a_policy_breaks_on_one_task(
    name: str, tmp_path: Path
) -> None:
    """Each task in turn fails wholly, on another way, beside runs that are the committed ones."""
    records = [json.loads(line) for line in (OWN / name).read_text().splitlines()]
    tasks = {r["episode"]["task_id"] for r in records if r["kind"] == "episode"}
    assert len(tasks) == 4
    for task in tasks:
        candidate = tmp_path / task.replace("/", "-")
        shutil.copytree(OWN, candidate)
        changed = [json.dumps(fallen(record, task)) for record in records]
        (candidate / name).write_text("\n".join(changed) + "\n")
        found = gate("--baseline", OWN, "--candidate", candidate, "--margin", own_margin())
        assert found.exit_code == 1, found.output
        assert f"task {task} alone is worse: -100.0 points" in found.output


def fallen(record: dict[str, Any], task: str) -> dict[str, Any]:
    """A record, as it were if its episode had gone another way and failed, if it is of the task."""
    if record["kind"] != "episode" or record["episode"]["task_id"] != task:
        return record
    trace = record["trace"] | {"digest": "f" * 32}
    return record | {"outcome": "failure", "progress": None, "trace": trace}


def test_a_policy_that_fails_on_one_task_of_a_real_run_is_stopped(tmp_path: Path) -> None:
    """The toy's expert does nothing on one of its two tasks: five episodes of each are enough."""
    paths = [tmp_path / "then.jsonl", tmp_path / "now.jsonl"]
    for path, broken in zip(paths, (False, True), strict=True):
        evaluation = prepare(
            "point-reach",
            "point-reach-expert",
            request={"episodes": 5},
            wrap=Lame if broken else None,
        )
        for _ in evaluation.run(SerialRunner(), path):
            pass
    found = gate("--baseline", paths[0], "--candidate", paths[1], "--margin", 10, "--per-task")
    assert found.exit_code == 1, found.output
    lines = found.output.splitlines()
    (head,) = [i for i, line in enumerate(lines) if line.startswith("task ")]
    worst, other = lines[head + 1 : head + 3]
    assert worst.split()[1] == "REGRESSION"
    assert other.split()[1] in ("UNDERPOWERED", "NO")
    assert "0.031" in worst
    assert "a task is a REGRESSION at p 0.0313 or below" in lines[head + 3]


class Lame:
    """A policy that does nothing in one task."""

    def __init__(self, inner: Policy) -> None:
        self.id, self.digest = inner.id, inner.digest
        self.observation, self.action = inner.observation, inner.action
        self._inner = inner
        self._lame: dict[int, bool] = {}

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        self._lame[slot] = episode.task_id == "point-reach/right"
        self._inner.reset(slot, episode)

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        actions = np.array(self._inner.act(slots, observations).actions)
        for row, slot in enumerate(slots):
            if self._lame[slot]:
                actions[row] = 0
        return Decision(actions=actions)


def test_the_status_survives_a_closed_pipe_and_a_crash_is_no_verdict(
    baseline: Path, tmp_path: Path
) -> None:
    program = "from vlabench.cli import main; main()"
    command = [sys.executable, "-c", program, "gate", "--baseline", str(baseline)]
    for extra in ([], ["--json"], ["--per-task"]):
        started = subprocess.Popen(
            [*command, "--candidate", str(baseline), *extra], stdout=subprocess.PIPE
        )
        assert started.stdout
        started.stdout.close()  # before anything is printed
        assert started.wait() == 0
    foreign = tmp_path / "foreign.jsonl"
    foreign.write_text('{"kind": "header"}\n')
    ended = subprocess.run(
        [*command, "--candidate", str(foreign)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 3
    assert ended.stderr.startswith("vlabench: ")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [[], ["--margin", "x"], ["--nonsense"], ["more"]])
def test_a_wrong_command_line_is_no_verdict_of_the_program_either(
    words: list[str], baseline: Path
) -> None:
    """2 is UNDERPOWERED, which a pipeline may let pass."""
    program = "from vlabench.cli import main; main()"
    command = [sys.executable, "-c", program, "gate", "--baseline", str(baseline)]
    ended = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    assert len(ended.stderr.splitlines()) == 1


def test_anything_unexpected_leaves_with_3(baseline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("nobody expected this")

    monkeypatch.setattr("vlabench.gate.hold", broken)
    found = gate("--baseline", baseline, "--candidate", baseline)
    assert found.exit_code == 3
    assert "the gate failed, which says nothing of the candidate: ZeroDivisionError" in found.stderr


def test_a_summary_lists_tasks_and_closes_what_it_opens(
    baseline: Path, shaken: Path, tmp_path: Path
) -> None:
    summary = tmp_path / "summary.md"
    gate("--baseline", baseline, "--candidate", shaken, "--per-task", "--summary", summary)
    text = summary.read_text()
    assert text.count("<details>") == text.count("</details>") == 1
    assert "| task | verdict | baseline | candidate | difference |" in text
    low, high = text.split("points \\[")[1].split("\\]")[0].split(", ")
    assert float(low) < float(high)


def test_a_difference_is_written_with_both_ends_and_what_it_counts() -> None:
    estimate = Estimate(value=-0.02, low=-0.041, high=0.001, n=500, method="m", question="q")
    assert change(estimate, paired=True) == "-2.0 points [-4.1, +0.1], n = 500 pairs"
    told = "-2.0 points [-4.1, +0.1], n = 500 or more of each, unpaired"
    assert change(estimate, paired=False) == told


def test_a_summary_has_numbers_where_there_are_some(
    baseline: Path, shaken: Path, tmp_path: Path
) -> None:
    rows = []
    for candidate in (shaken, run(tmp_path, policy="random")):
        summary = tmp_path / f"{candidate.stem}.md"
        gate("--baseline", baseline, "--candidate", candidate, "--summary", summary)
        rows += [line for line in summary.read_text().splitlines() if "| **" in line]
    assert rows[0].count(" points \\[") == 0  # cells are text, not escaped
    assert rows[0].count("%") >= 6
    assert "of 120 episodes" in rows[0]
    other = tmp_path / "other.jsonl"
    content = shaken.read_text().replace('"suite_version": 1', '"suite_version": 2')
    other.write_text(content)
    summary = tmp_path / "none.md"
    assert gate("--baseline", baseline, "--candidate", other, "--summary", summary).exit_code == 3
    (row,) = [line for line in summary.read_text().splitlines() if "| **" in line]
    assert row.endswith("| - | - | - | - |")
