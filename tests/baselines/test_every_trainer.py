"""What every registered trainer promises, and no trainer tests for itself."""

import fcntl
from pathlib import Path

import pytest

from vlabench.errors import RecordError, RunLockedError
from vlabench.recipe import read_recipe
from vlabench.registry import find_recipe, load_trainer, recipe_paths
from vlabench_baselines import TRAINERS

RECIPES = {
    "critic": "critic-point-reach",
    "ire-vla": "ire-vla-metaworld-privileged",
    "sft": "sft-point-reach",
    "vla-rl": "vla-rl-point-reach",
}
"""The quickest recipe of each trainer; nothing here gets as far as learning."""


def trainings() -> list[object]:
    marks = {"ire-vla": pytest.mark.sim}
    return [pytest.param(name, id=name, marks=marks.get(name, ())) for name in TRAINERS]


def test_every_trainer_is_tested_here_and_has_a_recipe() -> None:
    assert set(RECIPES) == set(TRAINERS)
    assert {read_recipe(path).trainer for path in recipe_paths().values()} == set(TRAINERS)


@pytest.mark.parametrize("trainer", trainings())
def test_a_folder_that_another_process_trains_in_is_left_alone(
    trainer: str, tmp_path: Path
) -> None:
    recipe = read_recipe(find_recipe(RECIPES[trainer]))
    with (tmp_path / "recipe").open("w") as mark:
        mark.write(recipe.digest)
        mark.flush()
        fcntl.flock(mark, fcntl.LOCK_EX)
        with pytest.raises(RunLockedError, match=r"another .* trains in .* choose another --out"):
            load_trainer(trainer)(recipe, tmp_path, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe"]


@pytest.mark.parametrize("trainer", trainings())
def test_a_folder_of_another_recipe_is_left_alone(trainer: str, tmp_path: Path) -> None:
    (tmp_path / "recipe").write_text("another\n")
    with pytest.raises(RecordError, match=r"holds a training with recipe another, .* --out"):
        load_trainer(trainer)(read_recipe(find_recipe(RECIPES[trainer])), tmp_path, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe"]


@pytest.mark.parametrize("trainer", trainings())
def test_a_folder_that_cannot_be_written_is_one_clear_line(trainer: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    recipe = read_recipe(find_recipe(RECIPES[trainer]))
    with pytest.raises(RecordError, match=r"cannot write .*file.*: Not a directory"):
        load_trainer(trainer)(recipe, tmp_path / "file" / "out", quiet=True)
