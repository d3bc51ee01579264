"""Tables with a row an episode: CSV, as spreadsheets, pandas and people write it.

Columns are found by their names, in any order and case, see `vlabench.ingest.rows`. Those with
other names are ignored. An episode whose success is empty, NaN or `error` broke.
"""

from vlabench.ingest.found import Asked, Found
from vlabench.ingest.rows import Row, choose, listed, read_rows
from vlabench.text import column_names, read_grid


def fits(text: str, asked: Asked) -> bool:
    """Whether the first line names the two columns that are needed."""
    try:
        return {"task", "success"} <= choose(column_names(text), asked).keys()
    except ValueError:  # it names them twice, or not what the user says: `read` explains that
        return True


def read(text: str, asked: Asked) -> Found:
    """Read the rows, of one policy where several are there.

    Raises:
        ValueError: As `read_grid` and `read_rows` do.
    """
    grid = read_grid(text)
    rows = [
        Row(where=f"line {number}", values=dict(zip(grid.names, cells, strict=True)))
        for number, cells in grid.rows
    ]
    if not rows:
        raise ValueError("no episode has ended in this csv file, expected a row an episode")
    return read_rows(rows, "csv", asked)


def columns(text: str) -> str:
    """Return the names of a table's columns for a sentence; empty where it is no table."""
    names = column_names(text)
    return listed(names) if all(map(str.isprintable, names)) else ""
