"""A report's files: each is a pure function of the report, byte for byte."""

import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

from vlabench.errors import MissingExtraError, RecordError
from vlabench.reports.latex import table_latex
from vlabench.reports.markdown import markdown_of
from vlabench.reports.model import Cell, Report, Table
from vlabench.text import plain_cell

_Job = tuple[list[Path], Callable[..., None]]
FORMATS = ("md", "html", "tex", "csv", "png", "pdf")


def write_report(report: Report, out: Path, formats: tuple[str, ...] = FORMATS) -> list[Path]:
    """Write `report.md`, `report.html`, `tables/*.tex`, `tables/*.csv`, `figures/*.png`, `*.pdf`.

    Args:
        report: What it says.
        out: The folder.
        formats: Some of `FORMATS`.

    Returns:
        The files, the ones to open first.

    Raises:
        MissingExtraError: If matplotlib or jinja2 is not installed.
        RecordError: If a file cannot be written.
    """
    try:
        written = list[Path]()
        for paths, write in _jobs(report, out, formats):
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
            write(*paths)
            written += paths
    except OSError as error:
        raise RecordError(f"cannot write into {out}: {error.strerror}") from error
    except ImportError as error:
        raise MissingExtraError("a report", str(error.name), "report") from error
    return written


def stale_files(out: Path, written: Collection[Path]) -> list[Path]:
    """Return the files in a report's folder that look like an earlier report's.

    They are where a report's files are, with the endings of those; whether a report or somebody
    else put them there cannot be known, so nothing here deletes one.

    Args:
        out: The folder.
        written: What `write_report` has just written there.
    """
    places = [out / "report.html", out / "report.md"]
    places += [path for folder in ("tables", "figures") for path in (out / folder).glob("*.*")]
    found = (path for path in places if path.suffix[1:] in FORMATS and path.is_file())
    return sorted(set(found) - set(written))


def table_csv(table: Table) -> str:
    """Return a table as CSV, the ends of intervals in columns of their own.

    Rates and points are in percent, as shown. No cell is a formula to a spreadsheet.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    wide = [
        column.kind in ("rate", "points") or any(row.cells[place].interval for row in table.rows)
        for place, column in enumerate(table.columns)
    ]
    names = (_csv_names(c.name, wide=w) for c, w in zip(table.columns, wide, strict=True))
    writer.writerow(map(plain_cell, ["group", *chain.from_iterable(names)]))
    for row in table.rows:
        cells = (_csv_cells(cell, wide=w) for cell, w in zip(row.cells, wide, strict=True))
        writer.writerow(map(plain_cell, [row.group, *chain.from_iterable(cells)]))
    return text.getvalue()


def _csv_names(name: str, *, wide: bool) -> list[str]:
    return [name, f"{name}, low", f"{name}, high", f"{name}, about"] if wide else [name]


def _csv_cells(cell: Cell, *, wide: bool) -> list[str]:
    shown = "" if cell.text == "-" else cell.text
    low, _, high = cell.interval.partition(" to ")
    return [shown, low, high, cell.note] if wide else [shown]


def _jobs(report: Report, out: Path, formats: Collection[str]) -> Iterator[_Job]:
    """Yield what is to be written, and who writes it there; files to open come first."""
    from vlabench.reports.figures import save_figure
    from vlabench.reports.html import write_html

    if "html" in formats:
        yield [out / "report.html"], partial(write_html, report)
    if "md" in formats:
        yield [out / "report.md"], partial(_write, markdown_of(report))
    for table in (table for section in report.sections for table in section.tables):
        for suffix, render in _RENDERERS.items():
            if suffix in formats:
                path = out / "tables" / f"{table.id}.{suffix}"
                yield [path], partial(_write, render(table))
    for figure in (figure for section in report.sections for figure in section.figures):
        names = [f"{figure.id}.{suffix}" for suffix in ("png", "pdf") if suffix in formats]
        if names:
            yield [out / "figures" / name for name in names], partial(save_figure, figure)


_RENDERERS: Mapping[str, Callable[[Table], str]] = {"tex": table_latex, "csv": table_csv}


def _write(text: str, path: Path) -> None:
    path.write_text(text, "utf-8")
