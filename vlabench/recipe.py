"""Recipes: what a training run is made of, in TOML, read strictly.

    trainer = "sft"
    suite = "libero"

    [training]
    steps = 20000

A trainer describes what it takes as a frozen dataclass; `fill` makes one of a table, and says which
key is unknown, missing or of another type. What its numbers may be, the dataclass says itself, with
`at_least` and `above`.
"""

import hashlib
import json
import math
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vlabench.errors import SettingError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A recipe as it was read, changes included.

    Attributes:
        name: The file's name without its ending.
        trainer: Who knows what to do with it.
        values: Everything else, as nested tables.
    """

    name: str
    trainer: str
    values: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Hash of what it says, 16 hex digits."""
        text = json.dumps([self.trainer, self.values], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_recipe(path: Path, changes: Mapping[str, str] | None = None) -> Recipe:
    """Read a recipe and change some of its values.

    Args:
        path: A TOML file.
        changes: Dotted key to a TOML value: `{"training.steps": "100"}`. Text needs no quotes.

    Raises:
        SettingError: If it is not there, is not TOML, names no trainer, or a key that is to be
            changed goes through something that is not a table.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingError(f"recipe {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"recipe {path} is not TOML: {error}") from error
    for key, text in (changes or {}).items():
        _change(values, key, _toml_value(text), path)
    trainer = values.pop("trainer", None)
    if not isinstance(trainer, str):
        raise SettingError(f'recipe {path} names no trainer; expected a line like: trainer = "sft"')
    return Recipe(name=path.stem, trainer=trainer, values=values)


def fill(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Make a dataclass of a table.

    Args:
        cls: A dataclass; fields without a default have to be there.
        values: The table.
        where: What messages call it.

    Raises:
        SettingError: With the key, what was found and what was expected.
    """
    assert is_dataclass(cls)
    hints = get_type_hints(cls)
    known = {field.name: field for field in fields(cls)}
    for key in values:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
            raise SettingError(f"{where}: unknown key {key!r}; {hint}")
    for name, field in known.items():
        optional = field.default is not MISSING or field.default_factory is not MISSING
        if name not in values and not optional:
            raise SettingError(f"{where}: {name} is missing; expected {_describe(hints[name])}")
    parts = {key: _value(hints[key], value, f"{where}: {key}") for key, value in values.items()}
    try:
        return cls(**parts)
    except ValueError as error:
        raise SettingError(f"{where}: {error}") from error


def at_least(values: object, least: int, *names: str) -> None:
    """Refuse fields that are less, infinite or not a number; for `__post_init__`.

    Raises:
        ValueError: With the first one, what was found and what was expected.
    """
    for name in names:
        if not least <= (value := getattr(values, name)) < math.inf:
            raise ValueError(f"{name} is {value}; expected at least {least}")


def above(values: object, bound: int, *names: str) -> None:
    """Refuse fields that are not more, infinite or not a number; for `__post_init__`.

    Raises:
        ValueError: With the first one, what was found and what was expected.
    """
    for name in names:
        if not bound < (value := getattr(values, name)) < math.inf:
            raise ValueError(f"{name} is {value}; expected a number above {bound}")


def _value(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind) and isinstance(kind, type) and isinstance(value, Mapping):
        return fill(kind, value, where)
    if get_origin(kind) in (Union, types.UnionType):
        for one in get_args(kind):
            if one is not type(None) and _fits(one, value):
                return _value(one, value, where)
    elif get_origin(kind) is tuple and isinstance(value, list):
        inner = get_args(kind)[0]
        return tuple(_value(inner, item, where) for item in value)
    elif _fits(kind, value):
        return float(value) if kind is float else value
    raise SettingError(f"{where} is {value!r}, expected {_describe(kind)}")


def _fits(kind: Any, value: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if get_origin(kind) is tuple:
        return isinstance(value, list)
    if is_dataclass(kind):
        return isinstance(value, Mapping)
    if get_origin(kind) is dict:
        of = get_args(kind)[1]
        return isinstance(value, Mapping) and all(_fits(of, item) for item in value.values())
    return isinstance(kind, type) and isinstance(value, kind)


def _describe(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(repr, get_args(kind)))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_describe(one) for one in get_args(kind) if one is not type(None))
    if get_origin(kind) is tuple:
        return f"a list of {_describe(get_args(kind)[0])}"
    if is_dataclass(kind):
        return "a table"
    if get_origin(kind) is dict:
        return f"a table of {_describe(get_args(kind)[1])}"
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(
        kind, str(kind)
    )


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _change(values: dict[str, Any], key: str, value: Any, path: Path) -> None:
    *tables, last = key.split(".")
    for place in tables:
        values = values.setdefault(place, {})
        if not isinstance(values, dict):
            raise SettingError(f"recipe {path}: {key!r} goes through {place!r}, not a table")
    values[last] = value
