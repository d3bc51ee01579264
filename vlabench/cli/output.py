"""Standard output: JSON and nothing else where JSON was asked for, and nobody's text as markup."""

import io
import json
import math
import os
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from vlabench import strangers

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What moves the cursor, turns text around or is half a letter; not line ends and tabs."""


class _Ours(io.TextIOWrapper):
    """Standard output for what this program says; what others print goes to standard error."""

    def write(self, text: str) -> int:
        return super().write(text) if _ours() else sys.stderr.write(text)

    def fileno(self) -> int:
        return super().fileno() if _ours() else sys.stderr.fileno()

    @property
    def buffer(self) -> Any:
        return super().buffer if _ours() else sys.stderr.buffer


def prepare(arguments: Sequence[str]) -> None:
    """Make the standard streams safe for what a command with these arguments prints.

    With `--json`, policies and simulators that print do so on standard error, other processes and
    code that is not Python included.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever a terminal cannot show
    if "--json" in arguments and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.flush()
        ours = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        sys.stdout = _Ours(ours, encoding=sys.stdout.encoding, errors="backslashreplace")


def visible(text: str) -> str:
    r"""Return a text in which control characters are written out, as in `\x1b[31m`."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def print_json(content: object) -> None:
    """Print a JSON document; numbers that JSON does not have are null."""
    print(json_text(content))


def json_text(content: object) -> str:
    """Return a JSON document; paths are their text."""
    return json.dumps(_finite(content), indent=1, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def _ours() -> bool:
    """Whether it is this program that prints, and not what it calls."""
    main = threading.current_thread() is threading.main_thread()
    return main and not strangers.inside()
