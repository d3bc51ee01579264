"""`--set key=value`: text into the keyword-only parameters of a suite or a policy.

What can be set is what a factory's signature lists, with its type and default: there is no second
place to declare it.
"""

import inspect
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from math import isfinite
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vlabench.errors import SettingError

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def settings_of(factory: Callable[..., object]) -> dict[str, inspect.Parameter]:
    """Return the keyword-only parameters of a factory, by name."""
    parameters = inspect.signature(factory).parameters.values()
    return {p.name: p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def split_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """Read `key=value` texts.

    Raises:
        SettingError: If one has no `=`, or a key is there twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise SettingError(f"--set {pair!r} is not of the form key=value")
        if key in found:
            raise SettingError(f"--set {key} is given twice: {found[key]!r} and {value!r}")
        found[key] = value
    return found


def assign_settings(
    settings: Mapping[str, str], owners: Mapping[str, Callable[..., object]]
) -> dict[str, dict[str, str]]:
    """Hand each setting to the one owner that takes it.

    Args:
        settings: Text values by name.
        owners: Who may take settings, by a name that a message can use.

    Raises:
        SettingError: If nobody or more than one takes a setting.
    """
    taken: dict[str, dict[str, str]] = {owner: {} for owner in owners}
    names = {owner: settings_of(factory) for owner, factory in owners.items()}
    for key, value in settings.items():
        takers = [owner for owner in owners if key in names[owner]]
        if not takers:
            known = "; ".join(f"{o}: {', '.join(names[o]) or 'nothing'}" for o in owners)
            raise SettingError(f"nothing takes the setting {key!r}. What can be set: {known}")
        if len(takers) > 1:
            raise SettingError(f"both {takers[0]} and {takers[1]} take the setting {key!r}")
        taken[takers[0]][key] = value
    return taken


def parse_settings(
    factory: Callable[..., object], settings: Mapping[str, str], owner: str
) -> dict[str, Any]:
    """Turn text values into what the factory's annotations ask for.

    Raises:
        SettingError: If the factory takes no such setting, lacks one without a default, or the
            text is not of its type.
    """
    parameters = settings_of(factory)
    hints = get_type_hints(factory)
    for key in settings:
        if key not in parameters:
            takes = ", ".join(parameters) or "no settings"
            raise SettingError(f"{owner} does not take the setting {key!r}; it takes {takes}")
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in settings:
            raise SettingError(f"{owner} needs --set {name}=...")
    return {key: _parse(key, text, hints.get(key, str), owner) for key, text in settings.items()}


def _parse(key: str, text: str, kind: Any, owner: str) -> Any:
    """Read `text` as the first of the kinds of a union that it can be read as."""
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    for one in kinds:
        if one is type(None):
            continue
        for value in _readings(text, one):
            return value
    expected = " or ".join(_describe(one) for one in kinds if one is not type(None))
    raise SettingError(f"{owner}: {key}={text!r}, expected {expected}")


def _readings(text: str, kind: Any) -> Iterator[Any]:
    """Yield what `text` means as a `kind`; nothing if it means nothing."""
    if choices := _choices(kind):
        yield from (value for name, value in choices.items() if name == text)
    elif kind is bool:
        if text.lower() in _TRUE + _FALSE:
            yield text.lower() in _TRUE
    elif kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            return
        if isfinite(value):
            yield value
    elif kind in (str, Path):
        yield kind(text)
    else:
        raise TypeError(
            f"a setting cannot be a {kind}; use bool, int, float, str, Path, an Enum or Literal"
        )


def _choices(kind: Any) -> dict[str, Any]:
    """Return what can be chosen from, by its text; nothing for kinds that are no choice."""
    if get_origin(kind) is Literal:
        return {str(choice): choice for choice in get_args(kind)}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {str(member.value): member for member in kind}
    return {}


def _describe(kind: Any) -> str:
    if choices := _choices(kind):
        return "one of " + ", ".join(choices)
    return "true or false" if kind is bool else str(kind.__name__)
