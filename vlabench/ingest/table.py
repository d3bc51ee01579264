"""Plain CSV: a row an episode, columns `task` and `success`, and what else is known.

Columns, in any order and case: `task`, `success` (true, false, 1, 0, yes, no, success, failure;
empty or `error` where the episode broke), `episode`, `seed`, `steps`, `policy`, `suite`. Others are
ignored. Rows with equal task, episode and seed have equal initial states; without seeds nothing is
known.
"""

import csv
import io
from collections.abc import Mapping

from vlabench.ingest.found import Attempt, Found, index, whole

_SUCCESS = {
    **dict.fromkeys(("true", "1", "1.0", "yes", "success"), True),
    **dict.fromkeys(("false", "0", "0.0", "no", "failure"), False),
    **dict.fromkeys(("", "error"), None),
}


def fits(text: str) -> bool:
    """Whether the first line names the two columns that are needed."""
    return {"task", "success"} <= {name.strip().lower() for name in _first_row(text)}


def read(text: str, policy: str | None = None) -> Found:
    """Read the rows, of one policy where several are there.

    Raises:
        ValueError: If a column is missing, a value makes no sense, or there are several policies
            and none was chosen.
    """
    names = [name.strip().lower() for name in _first_row(text)]
    if missing := {"task", "success"} - set(names):
        raise ValueError(f"no column {', '.join(sorted(missing))}; there are {', '.join(names)}")
    reader = csv.DictReader(io.StringIO(text), fieldnames=names, strict=True)
    next(reader)
    rows = [(reader.line_num, row) for row in reader]
    policies = sorted({row["policy"] for _, row in rows if row.get("policy")})
    if len(policies) > 1 and policy not in policies:
        raise ValueError(f"the file is of several policies, {', '.join(policies)}; say --policy")
    chosen = [(n, row) for n, row in rows if len(policies) < 2 or row["policy"] == policy]
    count: dict[object, int] = {}
    attempts = tuple(_attempt(number, row, count) for number, row in chosen)
    return Found(
        format="csv",
        attempts=attempts,
        states_known=all(attempt.seed is not None for attempt in attempts),
        policy=policies[0] if len(policies) == 1 else policy,
    )


def _first_row(text: str) -> list[str]:
    return next(csv.reader(io.StringIO(text.partition("\n")[0])), [])


def _attempt(line: int, row: Mapping[str | None, str], count: dict[object, int]) -> Attempt:
    if None in row or None in row.values():
        raise ValueError(f"line {line} has another number of cells than the first")
    word = row["success"].strip().lower()
    if word not in _SUCCESS:
        raise ValueError(f"line {line}: success is {row['success']!r}, expected true or false")
    suite = row.get("suite", "").strip() or None
    place = suite, row["task"]
    number = _number(row, "episode", line)
    count[place] = count.get(place, 0) + 1
    return Attempt(
        suite=suite,
        task=row["task"],
        index=count[place] - 1 if number is None else index(number, f"line {line}"),
        success=_SUCCESS[word],
        seed=_number(row, "seed", line),
        steps=_number(row, "steps", line),
        error=f"line {line} says no outcome" if _SUCCESS[word] is None else None,
    )


def _number(row: Mapping[str | None, str], name: str, line: int) -> int | None:
    text = row.get(name, "").strip()
    if not text:
        return None
    try:
        value: object = int(text)
    except ValueError:
        value = text
    return whole(value, f"line {line}: {name}")
