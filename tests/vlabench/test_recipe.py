"""Recipes are read strictly, and say what is wrong with them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from vlabench.errors import SettingError, UnknownNameError
from vlabench.recipe import fill, read_recipe
from vlabench.registry import find_recipe, load_trainer, recipe_paths


@dataclass(frozen=True, kw_only=True)
class Oven:
    degrees: int
    fan: bool = False
    gas: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Cake:
    flavour: Literal["plain", "nut"] = "plain"
    layers: tuple[str, ...] = ()
    name: str | None = None
    oven: Oven
    notes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.layers) > 3:
            raise ValueError(f"{len(self.layers)} layers, expected at most 3")


TEXT = """
trainer = "bake"
layers = ["base", "top"]
[oven]
degrees = 180
gas = 1
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "cake.toml"
    file.write_text(TEXT)
    return file


def test_a_recipe_fills_a_dataclass(path: Path) -> None:
    recipe = read_recipe(path)
    assert (recipe.name, recipe.trainer) == ("cake", "bake")
    cake = fill(Cake, recipe.values, "recipe cake")
    assert cake == Cake(layers=("base", "top"), oven=Oven(degrees=180, gas=1.0))
    assert isinstance(cake.oven.gas, float)


def test_values_can_be_changed_and_change_the_digest(path: Path) -> None:
    changes = {"oven.degrees": "200", "flavour": "nut", "notes.who": "me", "oven.fan": "true"}
    recipe = read_recipe(path, changes)
    cake = fill(Cake, recipe.values, "recipe cake")
    assert (cake.oven.degrees, cake.oven.fan) == (200, True)
    assert (cake.flavour, cake.notes) == ("nut", {"who": "me"})
    assert recipe.digest != read_recipe(path).digest == read_recipe(path).digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"oven.degree": "1"}, "recipe cake: oven: unknown key 'degree'; did you mean 'degrees'?"),
        ({"xyz": "1"}, "recipe cake: unknown key 'xyz'; known: flavour, layers, name, oven, notes"),
        ({"oven.degrees": "hot"}, "recipe cake: oven: degrees is 'hot', expected a whole number"),
        ({"oven.degrees": "1.5"}, "recipe cake: oven: degrees is 1.5, expected a whole number"),
        ({"oven.fan": "1"}, "recipe cake: oven: fan is 1, expected true or false"),
        ({"flavour": "mud"}, "recipe cake: flavour is 'mud', expected one of 'plain', 'nut'"),
        ({"layers": "3"}, "recipe cake: layers is 3, expected a list of text"),
        ({"oven": "3"}, "recipe cake: oven is 3, expected a table"),
        ({"layers": "['a', 'b', 'c', 'd']"}, "recipe cake: 4 layers, expected at most 3"),
        ({"name": "3"}, "recipe cake: name is 3, expected text"),
    ],
)
def test_wrong_values_are_named(path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError) as found:
        fill(Cake, read_recipe(path, changes).values, "recipe cake")
    assert str(found.value) == message


def test_missing_values_are_named() -> None:
    with pytest.raises(SettingError, match="x: oven is missing; expected a table"):
        fill(Cake, {}, "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"trainer = ", "is not TOML"),
        (b"\xff", "is not TOML"),
        (b"a = 1", 'names no trainer; expected a line like: trainer = "sft"'),
        (b"trainer = 3", "names no trainer"),
    ],
)
def test_files_that_are_no_recipes_are_refused(path: Path, text: bytes, message: str) -> None:
    path.write_bytes(text)
    with pytest.raises(SettingError, match=message):
        read_recipe(path)


def test_a_change_cannot_go_through_a_value(path: Path) -> None:
    with pytest.raises(SettingError, match=r"'layers\.x' goes through 'layers', not a table"):
        read_recipe(path, {"layers.x": "1"})


def test_recipes_are_found_by_name_and_by_path(path: Path) -> None:
    assert find_recipe(str(path)) == path
    assert find_recipe("sft-point-reach") == recipe_paths()["sft-point-reach"]
    with pytest.raises(UnknownNameError, match=r"no recipe is called .sft-pont-reach.\. Did you"):
        find_recipe("sft-pont-reach")
    with pytest.raises(SettingError, match=r"cannot be read: No such file"):
        read_recipe(find_recipe("nowhere.toml"))


@pytest.mark.parametrize("name", recipe_paths())
def test_every_recipe_that_comes_along_has_a_trainer(name: str) -> None:
    pytest.importorskip("torch")
    assert callable(load_trainer(read_recipe(recipe_paths()[name]).trainer))
