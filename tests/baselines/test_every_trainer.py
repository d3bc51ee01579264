"""What every registered trainer promises, and no trainer tests for itself."""

import fcntl
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from vlabench.errors import RecordError, RunLockedError, SettingError
from vlabench.recipe import fill, read_recipe
from vlabench.registry import find_recipe, load_trainer, recipe_paths
from vlabench_baselines import TRAINERS
from vlabench_baselines.ire_vla.recipe import IreVlaRecipe
from vlabench_baselines.sft.recipe import SftRecipe
from vlabench_baselines.vla_rl.critic import CriticRecipe
from vlabench_baselines.vla_rl.recipe import VlaRlRecipe

RECIPES = {
    "critic": "critic-point-reach",
    "ire-vla": "ire-vla-metaworld-privileged",
    "sft": "sft-point-reach",
    "vla-rl": "vla-rl-point-reach",
}
"""The quickest recipe of each trainer; nothing here gets as far as learning."""

SAID = {"critic": CriticRecipe, "ire-vla": IreVlaRecipe, "sft": SftRecipe, "vla-rl": VlaRlRecipe}
"""What each trainer's recipes may say."""


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


def numbers(said: object, under: str = "") -> Iterator[tuple[str, bool]]:
    """Yield the dotted key of each number that a recipe may say, and whether it is a whole one."""
    assert is_dataclass(said)
    for field in fields(said):
        value = getattr(said, field.name)
        if is_dataclass(value):
            yield from numbers(value, f"{under}{field.name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield under + field.name, isinstance(value, int)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_no_number_of_a_recipe_may_be_negative_infinite_or_none(trainer: str) -> None:
    path, said = recipe_paths()[RECIPES[trainer]], SAID[trainer]
    keys = dict(numbers(fill(said, read_recipe(path).values, "it")))
    assert len(keys) > 10
    for key, whole in keys.items():
        *tables, last = key.split(".")
        for value in ("-1",) if whole else ("-1.0", "nan", "inf"):
            where = ": ".join(["it", *tables, f"{last} is {value}"])
            with pytest.raises(SettingError, match=rf"^{where}\b.*; expected "):
                fill(said, read_recipe(path, {key: value}).values, "it")
