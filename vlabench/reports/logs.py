"""Training curves from the logs that trainings write."""

from collections.abc import Callable, Iterator, Sequence
from math import isfinite, nan
from pathlib import Path

from vlabench.errors import RecordError
from vlabench.metrics.curves import Curve
from vlabench.text import column_names, decode, read_grid

_CLOCKS = (
    "",
    "unnamed: 0",
    "wall time",
    "wall_time",
    "walltime",
    "time",
    "timestamp",
    "_timestamp",
)
"""First columns that count no steps: TensorBoard's, wandb's, and the index that pandas writes."""
_STEPS = ("step", "steps", "_step", "global_step", "global step", "iteration", "epoch")


def read_curve(path: Path, column: str = "success") -> Curve:
    """Read one column of a log against its steps; rows where it is empty are left out.

    The first column counts steps, or `Step` where the first one is a clock, as in TensorBoard's
    CSV. Episodes behind a rate are in `COLUMN_n`, if there is such a column.

    Raises:
        RecordError: If the file cannot be read, has no such column, or holds no finite numbers
            there; or if episodes are no whole number, 1 or more.
    """
    text = _text(path)
    names = column_names(text)
    step = _steps(names)
    if not column or column == step or column not in names:
        some = ", ".join(name[:30] for name in names[:8]) + ", ..." * (len(names) > 8)
        raise RecordError(
            f"{path} has no column {column!r} beside its steps; found {some or 'nothing'}. "
            "Expected a CSV file whose first column counts steps; --column names another"
        )
    try:
        grid = read_grid(text, short=True)
    except ValueError as error:
        raise RecordError(f"cannot read {path}: it {error}") from error
    rows = [dict(zip(grid.names, cells, strict=True)) for _, cells in grid.rows]
    if grid.delimiter != ",":
        rows = [{name: cell.replace(",", ".") for name, cell in row.items()} for row in rows]
    rows = [row for row in rows if row[column]]
    counts = f"{column}_n"
    known = rows and all(row.get(counts) for row in rows)
    return Curve(
        name=str(path),
        unit=step,
        steps=_numbers(path, rows, step),
        success=_numbers(path, rows, column),
        n=_counts(path, rows, counts) if known else None,
    )


def _text(path: Path) -> str:
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise RecordError(f"cannot read {path}: it {error}") from error


def _steps(names: Sequence[str]) -> str:
    """Return the column that counts steps."""
    if names and names[0].lower() in _CLOCKS:
        for known in _STEPS:
            for name in names[1:]:
                if name.lower() == known:
                    return name
    return names[0] if names else ""


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
