"""The messages of a log: what terminals do with colours, progress bars and columns, undone."""

import re
from collections.abc import Iterator

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
"""Colours, movements of the cursor and titles (ECMA-48)."""
_BAR = re.compile(r"(?:^|\s)?\d{1,3}%\|[^|\n]*\|(?:\s*[\d.kMG?]+/[\d.kMG?]+(?:\s*\[[^\]\n]*\])?)?")
"""tqdm's bar; a message that somebody prints meanwhile stands right behind it."""
_FRAME = str.maketrans(dict.fromkeys("│┃║╎╏┆┇┊┋━─╭╮╰╯┏┓┗┛┌┐└┘╸╺", " "))
"""What rich draws around and between columns."""
_PLACE = re.compile(r"\s+[\w./-]+\.py:\d+\s*$")
"""Where a message was logged, in rich's last column."""
_LEVEL = re.compile(r"^(?:\[[^\]]*\]|\s{9,})\s+(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\s{2,}")
"""How rich's first line of a message begins; the others are indented as far."""
_INDENT = re.compile(r"\s{12,}(?=\S)")


def messages(text: str) -> Iterator[tuple[int, str]]:
    """Yield the messages of a log and the number of each one's line.

    A carriage return ends one, as a progress bar does. Lines that rich folded are one message.
    """
    waiting: tuple[int, str] | None = None  # rich's message, which may go on in the next line
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if waiting and _INDENT.match(line) and not _LEVEL.match(line):
            waiting = waiting[0], f"{waiting[1]} {_plain(line).strip()}"
            continue
        if waiting:
            yield waiting
            waiting = None
        if _LEVEL.match(_ESCAPES.sub("", line)):
            waiting = number, _plain(line)
            continue
        for part in re.split(r"[\r\x0b\x0c\x85\u2028\u2029]", line):
            for piece in _BAR.sub("\n", _ESCAPES.sub("", part)).split("\n"):
                yield number, _PLACE.sub("", piece.translate(_FRAME)).rstrip()
    if waiting:
        yield waiting


def _plain(line: str) -> str:
    line = _BAR.sub("  ", _ESCAPES.sub("", line.replace("\r", "  ")))
    return _PLACE.sub("", line.translate(_FRAME)).rstrip()
