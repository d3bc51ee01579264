"""What sweep and scaling print and write: a table, a CSV file, a picture."""

import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from vlabench.errors import RecordError
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.scaling import Point, Scaling
from vlabench.metrics.wording import law_sentences, scaling_sentence
from vlabench.reports.figures import save_figure
from vlabench.reports.series import Series, scaling_figure

_COLUMNS = (
    "series", "axis", "x", "n", "success", "success_low", "success_high", "monotone",
    "oracle", "oracle_low", "oracle_high", "best_of", "best_of_low", "best_of_high",
    "samples", "flops", "milliseconds", "front", "policy",
)  # fmt: skip


def print_scaling(series: Sequence[Series], written: Sequence[Path], *, as_json: bool) -> None:
    """Print what success does, the points behind it, and which files were written."""
    from vlabench.cli.output import print_json
    from vlabench.cli.tables import console, print_rows

    if as_json:
        rows = [{"series": each.label, **asdict(each.scaling)} for each in series]
        print_json({"series": rows, "files": [str(path) for path in written]})
        return
    out = console()
    for each in series:
        lines = [scaling_sentence(each.scaling), *law_sentences(each.scaling)]
        for line in ([f"{each.label}:"] if each.label else []) + lines:
            out.print(line, soft_wrap=True, markup=False)
        print_rows(_rows(each.scaling))
    if any(point.oracle for each in series for point in each.scaling.points):
        out.print(
            "oracle: an episode counts if it succeeded at this point or before; luck alone makes "
            "it grow. front: no other point succeeds as often for less of this cost",
            soft_wrap=True,
        )
    if any(point.best_of for each in series for point in each.scaling.points):
        out.print(
            "best of as many: a perfect choice among as many whole episodes of the first point as "
            "a decision here has times its candidates; known as far as --repeats goes",
            soft_wrap=True,
        )
    for path in written:
        out.print(str(path), soft_wrap=True, markup=False)


def write_scaling(series: Sequence[Series], folder: Path, title: str) -> list[Path]:
    """Write `scaling.csv` and `scaling.png` into a folder and return their paths.

    Without matplotlib the picture is left out, and the user is told.

    Raises:
        RecordError: If a file cannot be written.
    """
    table, picture = folder / "scaling.csv", folder / "scaling.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(
                _csv_row(each, point) for each in series for point in each.scaling.points
            )
        save_figure(scaling_figure("scaling", series, title), picture)
    except ImportError:
        print(
            "vlabench: no picture: matplotlib is not installed. Install it with: pip install "
            "'vlabench-harness[report]'",
            file=sys.stderr,
        )
        return [table]
    except OSError as error:
        raise RecordError(f"cannot write into {folder}: {error.strerror}") from error
    return [table, picture]


def _rows(found: Scaling) -> list[dict[str, object]]:
    """Tabulate the points; whose they are, too, where they are of several policies."""
    several = len({point.policy for point in found.points}) > 1
    return [
        _row(found.axis, point) | ({"policy": point.policy} if several else {})
        for point in found.points
    ]


def _row(axis: str, point: Point) -> dict[str, object]:
    success, oracle, best = point.success, point.oracle, point.best_of
    row: dict[str, object] = {
        axis: f"{point.x:g}",
        "n": success.n,
        "success": f"{success.value:.1%}",
        "95 % interval": f"{success.low:.1%} to {success.high:.1%}",
        "monotone": f"{point.monotone:.1%}",
    }
    if oracle is not None:
        row["oracle"] = _with_interval(oracle)
        row["best of as many"] = _with_interval(best)
        row["samples"] = _amount(point.samples)
        row["FLOPs"] = _amount(point.flops)
        row["ms"] = _amount(point.milliseconds)
        row["front"] = ", ".join(point.front)
    return row


def _with_interval(found: Estimate | None) -> str:
    return f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}]" if found else "-"


def _amount(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _csv_row(series: Series, point: Point) -> dict[str, object]:
    oracle, best = point.oracle, point.best_of
    cells = {
        "series": series.label, "axis": series.scaling.axis, "x": point.x, "n": point.success.n,
        "success": point.success.value, "success_low": point.success.low,
        "success_high": point.success.high, "monotone": point.monotone,
        "oracle": oracle and oracle.value, "oracle_low": oracle and oracle.low,
        "oracle_high": oracle and oracle.high, "best_of": best and best.value,
        "best_of_low": best and best.low, "best_of_high": best and best.high,
        "samples": point.samples, "flops": point.flops,
        "milliseconds": point.milliseconds, "front": " ".join(point.front),
        "policy": point.policy,
    }  # fmt: skip
    return {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in cells.items()}
