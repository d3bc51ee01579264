"""The script behind the papers' tables names what there is."""

import re
import subprocess
from pathlib import Path

import pytest

from vlabench import read_run
from vlabench.metrics.scaling import Trend
from vlabench.registry import policy_ids, recipe_paths
from vlabench.reports.series import series_of_runs

SCRIPT = Path(__file__).parents[1] / "scripts" / "experiments"
SWEEPS = SCRIPT.parents[1] / "results" / "sweeps"
TEXT = SCRIPT.read_text()


def test_without_a_name_it_says_what_it_takes() -> None:
    done = subprocess.run([SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert set(re.findall(r"scripts/experiments ([\w-]+)", done.stderr)) == set(
        re.findall(r"^  ([\w-]+)\) \w+ ;;", TEXT, re.MULTILINE)
    )


def test_every_recipe_and_policy_in_it_exists() -> None:
    (rows,) = re.findall(r"for row in (.+); do", TEXT)
    (methods,) = re.findall(r"for method in (.+); do", TEXT)
    recipes = {f"vla-rl-{row}" for row in rows.split()}
    recipes |= {f"{method}-metaworld-vision" for method in methods.split()}
    recipes |= set(re.findall(r"name=(vla-rl-[\w-]+)", TEXT))
    recipes |= {f"critic-{name}" for name in re.findall(r"^  critic ([\w-]+) ", TEXT, re.MULTILINE)}
    assert len(recipes) == 12
    assert recipes <= set(recipe_paths())
    assert {*methods.split(), *re.findall(r"--policy ([\w-]+)", TEXT)} <= set(policy_ids())


@pytest.mark.parametrize("asked", ["sft", "longer", "seventy 0", "table-2", "ire-vla"])
def test_what_results_hold_is_not_made_again(asked: str) -> None:
    done = subprocess.run(
        [SCRIPT, *asked.split()], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_committed_sweep_is_one_that_it_makes() -> None:
    loop = re.findall(r"for verifier in (.+); do\n    sweep ([\w-]+) ", TEXT)
    found = {f"{suite}-{one}" for names, suite in loop for one in names.split()}
    found |= {
        f"{a}-{b}" for a, b in re.findall(r"^  sweep (\S+) \S+ \S+ (\S+)$", TEXT, re.MULTILINE)
    }
    assert {folder.name for folder in SWEEPS.iterdir()} == found


@pytest.mark.parametrize(
    ("sweep", "trend"),
    [
        ("libero-consensus", Trend.RISES),
        ("libero-critic", Trend.FALLS),
        ("libero-critic-vote", Trend.RISES),
        ("libero-rprm", Trend.FALLS),
        ("libero-rprm-vote", Trend.RISES),
        ("point-reach-consensus", Trend.RISES),
        ("point-reach-critic", Trend.RISES),
        ("point-reach-rprm", Trend.RISES),
    ],
)
def test_what_more_samples_bring_is_what_the_pages_say(sweep: str, trend: Trend) -> None:
    runs = [read_run(path) for path in sorted((SWEEPS / sweep).glob("*.jsonl"))]
    assert sorted(int(run.header.settings["samples"]) for run in runs) == [1, 2, 4, 8, 16, 32]
    (found,) = series_of_runs(runs)
    assert found.scaling.trend is trend
