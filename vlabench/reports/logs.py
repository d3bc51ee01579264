"""Training curves from the logs that trainings write."""

import csv
from collections.abc import Callable, Iterator
from math import isfinite, nan
from pathlib import Path

from vlabench.errors import RecordError
from vlabench.metrics.curves import Curve


def read_curve(path: Path, column: str = "success") -> Curve:
    """Read one column of a log against its first one; rows where it is empty are left out.

    Episodes behind a rate are in `COLUMN_n`, if there is such a column.

    Raises:
        RecordError: If the file cannot be read, has no such column, or holds no finite numbers
            there; or if episodes are no whole number, 1 or more.
    """
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or ())
            rows = [row for row in reader if row.get(column)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise RecordError(f"cannot read {path}: {why}") from error
    if column not in names[1:]:
        some = ", ".join(name[:30] for name in names[:8]) + ", ..." * (len(names) > 8)
        raise RecordError(
            f"{path} has no column {column!r} after its first one; found {some or 'nothing'}. "
            "Expected a CSV file whose first column counts steps; --column names another"
        )
    steps = _numbers(path, rows, names[0])
    counts = f"{column}_n"
    known = rows and all(row.get(counts) for row in rows)
    return Curve(
        name=str(path),
        unit=names[0],
        steps=steps,
        success=_numbers(path, rows, column),
        n=_counts(path, rows, counts) if known else None,
    )


def _numbers(path: Path, rows: list[dict[str, str]], column: str) -> tuple[float, ...]:
    return tuple(_checked(path, rows, column, isfinite, "a finite number"))


def _counts(path: Path, rows: list[dict[str, str]], column: str) -> tuple[int, ...]:
    found = _checked(path, rows, column, _is_count, "a whole number, 1 or more")
    return tuple(int(n) for n in found)


def _is_count(value: float) -> bool:
    return value.is_integer() and value >= 1


def _checked(
    path: Path,
    rows: list[dict[str, str]],
    column: str,
    good: Callable[[float], bool],
    expected: str,
) -> Iterator[float]:
    for number, row in enumerate(rows, start=1):
        try:
            value = float(row[column])
        except (TypeError, ValueError):
            value = nan
        if not good(value):
            raise RecordError(
                f"{path}: {column} is {row[column]!r} in row {number} of those with a rate; "
                f"expected {expected}"
            )
        yield value
