"""What is wrong with a command's arguments, in one line as all errors are."""

import re
from collections.abc import Mapping
from typing import Any

import typer

_EXPECTED = {"float_parsing": "a number", "int_parsing": "a whole number"}
"""What was expected, by what pydantic calls the error that typer leaves as the cause of its own."""


def refusal(error: typer.TyperException) -> str:
    """Say what the arguments are and should be; the help itself where there were none."""
    said = error.format_message()
    if said.startswith("Usage: "):
        return said
    option, found = getattr(error, "param", None), _found(error)
    if option and (expected := _EXPECTED.get(found.get("type", ""))):
        said = f"{option.opts[0]} is {found['input']!r}, expected {expected}"
    said = re.sub("^Invalid value(?: for '?([^':]+)'?)?: (?:Value error, )?", _name, said)
    said = " ".join(said.split()).rstrip(".")
    command = ctx.command_path if (ctx := getattr(error, "ctx", None)) else "vlabench"
    return f"vlabench: {said[0].lower()}{said[1:]} (see `{command} --help`)"


def _name(match: re.Match[str]) -> str:
    return f"{match[1]}: " if match[1] else ""


def _found(error: typer.TyperException) -> Mapping[str, Any]:
    """Return pydantic's account of a value that it could not read; empty for other errors."""
    errors = getattr(error.__cause__, "errors", None)
    return errors()[0] if errors else {}
