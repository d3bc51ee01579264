"""A report's files: each is a pure function of the report, byte for byte."""

import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path

from vlabench.errors import MissingExtraError, RecordError
from vlabench.reports.latex import table_latex
from vlabench.reports.markdown import markdown_of
from vlabench.reports.model import Report, Table

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

    Rates and points are in percent, as shown.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["group", *(name for c in table.columns for name in _csv_names(c.name, c.kind))]
    )
    for row in table.rows:
        cells = [
            part
            for column, cell in zip(table.columns, row.cells, strict=True)
            for part in _csv_cells(column.kind, cell.text, cell.interval, cell.note)
        ]
        writer.writerow([row.group, *cells])
    return text.getvalue()


def _csv_names(name: str, kind: str) -> list[str]:
    return (
        [name]
        if kind in ("text", "number")
        else [name, f"{name}, low", f"{name}, high", f"{name}, about"]
    )


def _csv_cells(kind: str, text: str, interval: str, note: str) -> list[str]:
    shown = "" if text == "-" else text
    if kind in ("text", "number"):
        return [shown]
    low, _, high = interval.partition(" to ")
    return [shown, low, high, note]


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
