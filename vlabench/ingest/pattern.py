"""Logs of any form, by patterns that the user says: regular expressions with named groups.

Every message is searched with each pattern. The group `success` ends an episode, and so does
`failure`, where words for either are no common ones. The episode has what the other groups found
before it: `suite`, `task`, `number` and `policy` hold until they are found again, `episode`,
`init`, `seed`, `steps`, `repeat` and `error` for one episode. Groups with other names are what
tables may group by.
"""

import re
from collections.abc import Sequence

from vlabench.ingest.found import Asked, Found
from vlabench.ingest.lines import messages
from vlabench.ingest.rows import NAMES, Row, read_rows

_FAILURE = "failure"
_ONCE = ("init", "episode", "repeat", "seed", "success", "steps", "error")


def read(text: str, asked: Asked) -> Found:
    """Read a log by `asked.patterns`.

    Raises:
        ValueError: If a pattern is none, none has a group `success`, nothing matches, or as
            `read_rows` does.
    """
    patterns = [_compiled(pattern) for pattern in asked.patterns]
    names = dict.fromkeys(name for pattern in patterns for name in pattern.groupindex)
    words = _FAILURE in names  # then what the groups find decides nothing but which one it was
    if "success" not in names:
        raise ValueError(f"no --pattern has a group success, as in {_EXAMPLE}")
    rows = _rows(text, patterns, words=words)
    if not rows:
        raise ValueError(
            f"no line matches a --pattern with the group success: {asked.patterns[-1]}"
        )
    meant = Asked(
        suite=asked.suite,
        policy=asked.policy,
        columns={role: role if role in names else "" for role in NAMES},
        groups=tuple(name for name in names if name not in (*NAMES, _FAILURE)),
    )
    return read_rows(rows, "log", meant)


_EXAMPLE = r"--pattern 'Task (?P<task>.+?) episode (?P<episode>\d+): (?P<success>\w+)'"


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"--pattern {pattern!r} is no regular expression: {error}") from error


def _rows(text: str, patterns: Sequence[re.Pattern[str]], *, words: bool) -> list[Row]:
    rows: list[Row] = []
    values: dict[str, object] = {}
    for number, message in messages(text):
        for pattern in patterns:
            if (match := pattern.search(message)) is None:
                continue
            values |= {name: found for name, found in match.groupdict().items() if found}
            if words and values.keys() & {"success", _FAILURE}:
                values["success"] = _FAILURE not in values
            if "success" in values:
                rows.append(Row(where=f"line {number}", values=dict(values)))
                values = {
                    name: value for name, value in values.items() if name not in (*_ONCE, _FAILURE)
                }
    names = dict.fromkeys(name for pattern in patterns for name in pattern.groupindex)
    empty = dict.fromkeys(names)
    return [Row(where=row.where, values={**empty, **row.values}) for row in rows]
