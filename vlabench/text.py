"""Text files of other programs: what they are encoded in, and tables with a row a line.

Spreadsheets, pandas and people write the same table in many ways. All that are told apart safely
are read; what is not is refused by a line that names the cause.
"""

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_KINDS = {
    b"PK\x03\x04": "a zip archive or a spreadsheet, expected text; save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "a spreadsheet, expected text; save the sheet as CSV",
    b"\x1f\x8b": "compressed with gzip, expected text; run gunzip",
    b"BZh": "compressed with bzip2, expected text; run bunzip2",
    b"\xfd7zXZ": "compressed with xz, expected text; run unxz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd, expected text; run unzstd",
    b"PAR1": "Parquet, expected text; write it as CSV or JSON Lines",
    b"\x89HDF": "HDF5, expected text; write what it holds as CSV or JSON Lines",
    b"\x93NUMPY": "a NumPy array, expected text; write it as CSV or JSON Lines",
    b"\x80\x04": "a pickle, expected text; write what it holds as CSV or JSON Lines",
    b"SQLite": "an SQLite database, expected text; write its table as CSV",
    b"%PDF": "a PDF, expected text",
    b"\x89PNG": "a picture, expected text",
}  # fmt: skip
"""First bytes of files that people hand over instead of text."""
_DELIMITERS = ",;\t|"
_FORMULA = tuple("=+-@\t\r")
_LONGEST = 2**20
"""Characters of a cell."""


def decode(content: bytes) -> str:
    """Return text: UTF-8, or UTF-16 with a byte-order mark; the mark is no part of it.

    Raises:
        ValueError: If it is another kind of file, or encoded otherwise; the message goes behind
            the file's name.
    """
    mark, encoding = next((pair for pair in _MARKS if content.startswith(pair[0])), (b"", "utf-8"))
    for start, kind in _KINDS.items():
        if content.startswith(start):
            raise ValueError(f"is {kind}")
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        name, place = encoding.upper(), error.start + len(mark)
        raise ValueError(
            f"is not text: byte {place} is not {name}; save it as UTF-8 if it is text"
        ) from error
    if (place := text.find("\0")) >= 0:
        raise ValueError(
            f"is not text: character {place} is NUL; save it as UTF-8 if it is text in UTF-16"
        )
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table with a row a line.

    Attributes:
        names: Of the columns, as they are written; several may be empty.
        rows: The number of each row's line, and its cells, as many as there are names.
        delimiter: What stands between cells.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    delimiter: str

    def column(self, place: int) -> list[str]:
        """Return the cells of one column."""
        return [cells[place] for _, cells in self.rows]


def column_names(text: str) -> tuple[str, ...]:
    """Return the names in the first line of a table; none where there are no two."""
    try:
        _, first = next(_cells(text, _delimiter(text)))
    except (StopIteration, csv.Error):
        return ()
    return tuple(first) if len(first) > 1 else ()


def read_grid(text: str, *, short: bool = False) -> Grid:
    """Read a table: commas, semicolons, tabs or bars between cells, any line ends.

    Empty lines are no rows. Cells lose the blanks around them.

    Args:
        text: The table.
        short: Whether a row may have too few cells, as the last one while it is being written.

    Raises:
        ValueError: If there is no first line with names, a name is there twice, or a row has
            another number of cells.
    """
    delimiter = _delimiter(text)
    lines = _cells(text, delimiter)
    try:
        _, names = next(lines, (0, []))
        if twice := [name for place, name in enumerate(names) if name and name in names[:place]]:
            raise ValueError(
                f"column {twice[0]!r} is there twice, expected each once; rename or drop one"
            )
        rows = tuple(
            (number, _row(number, cells + [""] * (short * (len(names) - len(cells))), len(names)))
            for number, cells in lines
        )
    except csv.Error as error:
        raise ValueError(f"is no table of cells: {error}") from error
    if not names:
        raise ValueError("is empty, expected a first line with the names of columns")
    return Grid(names=tuple(names), rows=rows, delimiter=delimiter)


def plain_cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula; numbers as they are.

    A text that begins as formulas do gets an apostrophe before it, as OWASP advises
    (https://owasp.org/www-community/attacks/CSV_Injection).
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA) or _is_number(value):
        return value
    return f"'{value}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _row(number: int, cells: Sequence[str], count: int) -> tuple[str, ...]:
    if len(cells) != count and (len(cells) < count or any(cells[count:])):
        raise ValueError(
            f"line {number} has another number of cells than the first, {len(cells)}, expected "
            f"{count}"
        )
    return tuple(cells[:count])


def _delimiter(text: str) -> str:
    """Return what separates most names in the first line that says something."""
    first = _said(text)
    if first.lower().startswith("sep=") and len(first) == 5:
        return first[4]
    quoted = first.split('"')[::2]  # what stands between quotation marks separates nothing
    counts = {mark: sum(part.count(mark) for part in quoted) for mark in _DELIMITERS}
    return max(counts, key=lambda mark: counts[mark])


def _said(text: str) -> str:
    """Return the first line that is not empty; a megabyte of it at most."""
    lines = (line for line in text[:_LONGEST].splitlines() if line.strip())
    return next(lines, "").strip(" \r\n")


def _cells(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Give each line's number and its cells; lines without any are left out."""
    before = csv.field_size_limit(_LONGEST)  # csv has one for the whole process
    try:
        lines = io.StringIO(text, newline=None)  # any line end is one
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped) and not (reader.line_num == 1 and _is_hint(cells, text)):
                yield reader.line_num, stripped
    finally:
        csv.field_size_limit(before)


def _is_hint(cells: Sequence[str], text: str) -> bool:
    """Whether the first line is Excel's, which says what separates cells."""
    return cells[0].lower().startswith("sep=") and _said(text).lower().startswith("sep=")
