"""The script behind the papers' tables names what there is."""

import re
import subprocess
from pathlib import Path

from vlabench.registry import policy_ids, recipe_paths

SCRIPT = Path(__file__).parents[1] / "scripts" / "experiments"
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
