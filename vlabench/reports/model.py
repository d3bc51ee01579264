"""What a report says, before any format: frozen values that every writer reads.

Text in it is plain. A writer escapes it for its format, and decides nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from vlabench.metrics.comparison import Comparison
from vlabench.metrics.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

Kind = Literal["text", "rate", "points", "number"]
"""What a column holds: words, a share in percent, a difference in points, a plain number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its heading.
        kind: What it holds; all but text is aligned right and sorted by value.
        about: What the numbers are, for whoever asks; empty where the heading says it.
    """

    name: str
    kind: Kind = "text"
    about: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: What is shown, without the interval: `71.1`, `-` where there is nothing.
        value: What to sort by; None sorts last. A share from 0 to 1 where the column is a rate.
        interval: What is shown beside or under it, smaller: `67.9 to 74.2`; empty for none.
        bold: Whether it is not significantly worse than the best of its column.
        note: What else there is to know: n, the question, the method. No cell with a rate lacks it.
    """

    text: str
    value: float | None = None
    interval: str = ""
    bold: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a table.

    Attributes:
        cells: One for each column.
        group: The block it stands in, such as `published`; rows of one group follow each other.
    """

    cells: tuple[Cell, ...]
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        id: Lower-case letters, digits and hyphens; its file's name.
        title: One line.
        columns: From left to right.
        rows: From top to bottom.
        notes: What a reader must know, one sentence each: n, intervals, what bold means.
        listed: Whether rows are read without being asked for. Where not, a page folds them, and
            Markdown and LaTeX have `elsewhere` in their place; CSV has them always.
    """

    id: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    listed: bool = True

    @property
    def elsewhere(self) -> str:
        """Where the rows are that are not listed."""
        return (
            f"{len(self.rows)} rows are not listed here, unless `vlabench report` has --tasks: "
            f"tables/{self.id}.csv has all of them, and report.html shows them on request."
        )

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(
                    f"table {self.id!r} has {len(self.columns)} columns and a row of "
                    f"{len(row.cells)} cells"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A picture.

    Attributes:
        id: As a table's.
        title: One line.
        caption: What it shows, in sentences, for whoever cannot see it, too.
        draw: Draws it on an empty canvas, which has its size already.
        size: Width and height, inches.
    """

    id: str
    title: str
    caption: str
    draw: Callable[["Canvas"], None]
    size: tuple[float, float] = (6.4, 3.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a report.

    Attributes:
        id: As a table's.
        title: Its heading.
        text: Paragraphs before its tables.
        tables: Its tables.
        figures: Its figures.
    """

    id: str
    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A comparison's answer, which a report begins with.

    Attributes:
        verdict: In a word or two: `BETTER`.
        sentence: With its numbers.
        reasons: Why, one sentence each.
        where: Suite and protocol.
        comparison: Which it is the answer of.
    """

    verdict: str
    sentence: str
    reasons: tuple[str, ...] = ()
    where: str = ""
    comparison: Comparison | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of two runs in an episode.

    Attributes:
        name: Of the run.
        outcome: `success` or `failure`.
        steps: Control steps.
        video: MP4 of it, beside the report or anywhere else; empty where it was not filmed.
        film: The command that films it.
        run: The results file that it can be run again from; empty where it cannot.
    """

    name: str
    outcome: str
    steps: int
    video: str = ""
    film: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discordant:
    """An episode in which one of two runs succeeded alone.

    Attributes:
        where: Suite and protocol.
        task: The task's id.
        instruction: What it asks for; empty where the suite is not installed.
        key: The episode's.
        sides: The reference, and what was held against it.
        parted: Control steps after which both had still done the same; None without traces.
        first: Control steps after which they had not; None without traces.
    """

    where: str
    task: str
    instruction: str
    key: str
    sides: tuple[Side, Side]
    parted: int | None = None
    first: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All of it.

    Attributes:
        title: One line.
        findings: Verdicts, which come first.
        sections: In order.
        discordant: Episodes to look at.
        sources: Name of each results file to the SHA-256 of its bytes.
    """

    title: str
    findings: tuple[Finding, ...] = ()
    sections: tuple[Section, ...] = ()
    discordant: tuple[Discordant, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what in ("tables", "figures"):
            ids = [part.id for section in self.sections for part in getattr(section, what)]
            if twice := {id_ for id_ in ids if ids.count(id_) > 1}:
                raise ValueError(f"{what} with one id: {', '.join(sorted(twice))}")


_Part = TypeVar("_Part", Section, Table, Figure)


def told_apart(sections: Iterable[Section]) -> tuple[Section, ...]:
    """Return the sections with ids that no other part of its kind has, as files and links need.

    Ids hold letters and digits alone, so that names which differ in other signs, or are in another
    script, give the same one: all but the first get a number.
    """
    seen: dict[tuple[str, str], int] = {}

    def alone(part: _Part) -> _Part:
        kind = type(part).__name__
        count = seen[kind, part.id] = seen.get((kind, part.id), 0) + 1
        return part if count == 1 else alone(replace(part, id=f"{part.id}-{count}"))

    return tuple(
        alone(
            replace(
                section,
                tables=tuple(map(alone, section.tables)),
                figures=tuple(map(alone, section.figures)),
            )
        )
        for section in sections
    )


def rate_cell(rate: Estimate | None, *, bold: bool = False, note: str = "") -> Cell:
    """Return a success rate in percent, with its interval, n and question; `-` for None."""
    if rate is None:
        return Cell(text="-", note=note)
    known = f"n = {rate.n}; {rate.question}; {rate.method}"
    return Cell(
        text=f"{100 * rate.value:.1f}",
        value=rate.value,
        interval=f"{100 * rate.low:.1f} to {100 * rate.high:.1f}",
        bold=bold,
        note=f"{known}; {note}" if note else known,
    )


def points_cell(difference: Estimate | None, *, note: str = "") -> Cell:
    """Return a difference in points, with its sign, interval and n; `-` for None."""
    if difference is None:
        return Cell(text="-", note=note)
    known = f"n = {difference.n}; {difference.question}; {difference.method}"
    return Cell(
        text=f"{100 * difference.value:+.1f}",
        value=difference.value,
        interval=f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}",
        note=f"{known}; {note}" if note else known,
    )


def number_cell(value: float | None) -> Cell:
    """Return a number of three digits; `-` for None."""
    return Cell(text="-") if value is None else Cell(text=f"{value:.3g}", value=value)


def count_cell(n: int | None) -> Cell:
    """Return a count; `-` for None."""
    return Cell(text="-") if n is None else Cell(text=str(n), value=float(n))
