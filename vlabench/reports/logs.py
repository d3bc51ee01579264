"""Training curves from the logs that trainings write."""

import csv
from pathlib import Path

from vlabench.errors import RecordError
from vlabench.metrics.curves import Curve


def read_curve(path: Path, column: str = "success") -> Curve:
    """Read one column of a log against its first one; rows where it is empty are left out.

    Episodes behind a rate are in `COLUMN_n`, if there is such a column.

    Raises:
        RecordError: If the file cannot be read, has no such column, or holds no numbers there.
    """
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or ())
            rows = [row for row in reader if row.get(column)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordError(f"cannot read {path}: {error}") from error
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
        n=tuple(int(n) for n in _numbers(path, rows, counts)) if known else None,
    )


def _numbers(path: Path, rows: list[dict[str, str]], column: str) -> tuple[float, ...]:
    found = []
    for number, row in enumerate(rows, start=1):
        try:
            found.append(float(row[column]))
        except (TypeError, ValueError) as error:
            raise RecordError(
                f"{path}: {column} is {row[column]!r} in row {number} of those with a rate; "
                "expected a number"
            ) from error
    return tuple(found)
