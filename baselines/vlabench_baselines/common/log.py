"""A training's log: a CSV that a resumed training goes on with, and its picture."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlabench.drawing import figure_class, without_glyphs

_ACROSS = 4
"""Panels beside each other, at most."""


class Log:
    """Appends rows to a CSV file.

    Args:
        path: The file.
        columns: Its columns; the first is the step.
        step: The last row that the saved state knows of, -1 without a state. Rows beyond it are
            dropped: the training that wrote them was killed before it saved its state.
    """

    def __init__(self, path: Path, columns: Sequence[str], step: int) -> None:
        self._path, self._columns = path, list(columns)
        kept = [row for row in read_log(path) if int(row[columns[0]]) <= step]
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(kept)

    def add(self, row: Mapping[str, float | int | str]) -> None:
        """Append a row; columns that are missing stay empty."""
        with self._path.open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, self._columns).writerow(row)


def read_log(path: Path) -> list[dict[str, str]]:
    """Return the rows of a log; none if it is not there."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def draw_curves(path: Path, out: Path, panels: Mapping[str, Sequence[str]], title: str) -> None:
    """Draw columns of a log against its first one, with intervals where there are columns of them.

    Args:
        path: The log.
        out: The picture.
        panels: Panel title to the columns in it; panels without a number are left out.
        title: Of the whole picture.
    """
    rows = read_log(path)
    if not rows:
        return
    step = next(iter(rows[0]))
    shown = {
        name: [column for column in columns if any(row.get(column) for row in rows)]
        for name, columns in panels.items()
    }
    shown = {name: columns for name, columns in shown.items() if columns}
    across = min(_ACROSS, len(shown))
    down = -(-len(shown) // across)
    figure = figure_class()(figsize=(4.5 * across, 3.2 * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).flatten()
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    for axis, (name, columns) in zip(axes, shown.items(), strict=False):
        for column in columns:
            _draw_column(axis, rows, step, column)
        axis.set(title=name, xlabel=step)
        axis.grid(alpha=0.3)
        if name.startswith("loss"):
            axis.set_yscale("log")
        if name.startswith("success"):
            axis.set_ylim(-0.03, 1.03)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(frameon=False)
    figure.suptitle(title)
    with without_glyphs():
        figure.savefig(out, dpi=110)


def _draw_column(axis: Any, rows: Sequence[Mapping[str, str]], step: str, column: str) -> None:
    there = [row for row in rows if row[column]]
    x, y = [int(row[step]) for row in there], [float(row[column]) for row in there]
    marker = "o" if len(there) < 30 else ""
    (line,) = axis.plot(x, y, marker=marker, markersize=3, label=column)
    if all(row.get(f"{column}_low") and row.get(f"{column}_high") for row in there):
        low, high = ([float(row[f"{column}_{end}"]) for row in there] for end in ("low", "high"))
        axis.vlines(x, low, high, colors=line.get_color(), alpha=0.4)
