"""The literature's numbers: read strictly, given intervals where n is published, held against runs.

    title = "VLA-RL, Table 1: LIBERO's four suites"
    source = "arXiv 2505.18719v1, Table 1"
    protocol = "220/280/300/520 control steps, one view, 50 trials on each of 10 tasks"
    protocol_id = "openvla@1"
    columns = ["Spatial", "Object", "Goal", "Long", "Average"]
    averages = { Average = ["Spatial", "Object", "Goal", "Long"] }

    [[rows]]
    method = "VLA-RL"
    base = "OpenVLA-7B"
    block = "LIBERO, OpenVLA-7B, one view"
    numbers = { Spatial = 90.2, Object = 91.8, Goal = 82.2, Long = 59.8, Average = 81.0 }
    n = 500
    status = "read"

`results/published/README.md` explains every key.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from vlabench.errors import SettingError, VlabenchError
from vlabench.metrics.estimate import THESE_TASKS, Estimate
from vlabench.metrics.intervals import edged_wilson, newcombe, normal_quantile, student_quantile
from vlabench.recipe import fill
from vlabench.reports.model import Cell, Row, rate_cell

Status = Literal["read", "read off a chart", "second hand"]
"""Where a number was seen: where it was published, drawn in a chart, or quoted by somebody else."""


class PublishedError(VlabenchError):
    """A file of published numbers that is not what it claims to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """One published method.

    Attributes:
        method: Its name, once in a table.
        base: The model that it starts from.
        block: What it can be compared with: rows of one block, and no others.
        numbers: Column to success rate, percent.
        n: Column to all episodes behind its number; empty where that is not published.
        seeds: How many seeds those episodes are of; None where that is not published.
        rank: Its average rank as published, 1 the best; None where there is none.
        status: Where the numbers were seen.
        source: Paper and table, or repository, commit and file.
        protocol: The rules in words: step limit, views, states, trials.
        protocol_id: The protocol of vlabench with these rules; empty where there is none.
        note: What else there is to know.
    """

    method: str
    base: str
    block: str
    numbers: Mapping[str, float]
    n: Mapping[str, int]
    seeds: int | None
    rank: float | None
    status: Status
    source: str
    protocol: str
    protocol_id: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedTable:
    """One file of published numbers.

    Attributes:
        id: The file's name without its ending.
        title: One line.
        columns: Names of the numbers, in order; every row has all of them.
        rows: In the file's order.
        notes: What a reader must know, one sentence each.
    """

    id: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[PublishedRow, ...]
    notes: tuple[str, ...] = ()

    def row(self, method: str) -> PublishedRow:
        """Return the row of a method.

        Raises:
            PublishedError: If there is none.
        """
        for row in self.rows:
            if row.method == method:
                return row
        known = ", ".join(row.method for row in self.rows)
        raise PublishedError(f"{self.id}: no row of {method!r}; known: {known}")


class Agreement(StrEnum):
    """What a measured run of a published method says of the published number."""

    REPLICATED = "REPLICATED"  # the interval of the difference has 0 in it and is within the margin
    DIFFERS = "DIFFERS"  # it leaves out 0
    UNDECIDED = "UNDECIDED"  # neither: too few episodes to say
    UNKNOWN_N = "UNKNOWN N"  # no n is published, so the difference has no interval
    NOT_THE_SAME = "NOT THE SAME"  # method, base or protocol is not the published one


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """A verdict about a published number.

    Attributes:
        verdict: The verdict.
        sentence: With its numbers, or with the reason why there are none.
        difference: Measured less published, a share; None where it has no interval.
    """

    verdict: Agreement
    sentence: str
    difference: Estimate | None = None


def find_published(folder: Path) -> dict[str, PublishedTable]:
    """Read every TOML file of a folder; ids are the files' names without their ending, sorted.

    Raises:
        PublishedError: If there is no such folder, or a file is not what it claims to be.
    """
    if not folder.is_dir():
        raise PublishedError(f"{folder} is not a folder; expected one with TOML files")
    return {path.stem: read_published(path) for path in sorted(folder.glob("*.toml"))}


def read_published(path: Path) -> PublishedTable:
    """Read one file of published numbers, strictly.

    Raises:
        PublishedError: With file, row, value and what was expected, at the first thing wrong.
    """
    values = _toml(path)
    rows = values.pop("rows", None)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise PublishedError(f"{path}: rows is {rows!r}, expected [[rows]], one or more")
    try:
        file = fill(_File, values, str(path))
        read = [_row(file, row, f"{path}: {_label(row, i)}") for i, row in enumerate(rows, 1)]
    except SettingError as error:
        raise PublishedError(str(error)) from error
    if twice := repeated(row.method for row in read):
        raise PublishedError(f"{path}: row {twice!r} is there twice, expected each method once")
    return PublishedTable(
        id=path.stem, title=file.title, columns=file.columns, rows=tuple(read), notes=file.notes
    )


def estimate_of(row: PublishedRow, column: str, *, confidence: float = 0.95) -> Estimate | None:
    """Return a published rate with the interval that its n gives; None where n is not published.

    The interval is Wilson's, put right near the edges (`vlabench.metrics.intervals.edged_wilson`),
    and vlabench's own, not the source's. All of `n` are taken as independent episodes, those of
    several seeds too. An average's are those of all its columns, taken as if of one rate, which
    makes its interval a little wide.

    Raises:
        ValueError: If the row has no such column.
    """
    value = _number(row, column) / 100
    n = row.n.get(column)
    if n is None:
        return None
    low, high = edged_wilson(value * n, n, normal_quantile(confidence))
    return Estimate(
        value=value,
        low=float(low),
        high=float(high),
        n=n,
        method=f"Wilson {100 * confidence:g}%, computed by vlabench from the published n, "
        "episodes taken as independent",
        question=THESE_TASKS,
    )


def replication(
    row: PublishedRow,
    column: str,
    measured: Estimate,
    *,
    claims: Mapping[str, str],
    margin: float = 0.03,
    confidence: float = 0.95,
) -> Replication:
    """Say whether a measured rate is the published one.

    Only a run of the published method, on the published base, under the published protocol can
    replicate a number or contradict it; a small model is not a replication of a 7B model. So the
    run has to say all three, and anything else is refused with the verdict NOT THE SAME.

    Args:
        row: The published method.
        column: Which of its numbers.
        measured: The same rate of the run. Its n counts as independent episodes.
        claims: What the run is: `method`, `base` and `protocol`, the last as `openvla@1`.
        margin: How far apart two rates may be and still be the same, a share.
        confidence: Coverage of the difference's interval (Newcombe 1998, SiM 17:873-890, method 10,
            `vlabench.metrics.intervals.newcombe`, with Student's quantile).

    Raises:
        ValueError: If the row has no such column.
    """
    if reasons := _reasons(row, claims):
        return Replication(verdict=Agreement.NOT_THE_SAME, sentence="; ".join(reasons))
    published = estimate_of(row, column, confidence=confidence)
    if published is None:
        return _without_n(_number(row, column), measured)
    gap = _difference(published, measured, confidence)
    if gap.low > 0 or gap.high < 0:
        verdict, why = Agreement.DIFFERS, "the interval leaves out 0"
    elif -margin <= gap.low and gap.high <= margin:
        verdict, why = Agreement.REPLICATED, f"0 is in it, and it is within {100 * margin:g} points"
    else:
        verdict, why = (
            Agreement.UNDECIDED,
            f"0 is in it, and more than {100 * margin:g} points, too",
        )
    sentence = (
        f"measured {_words(measured)}, published {_words(published)}: {100 * gap.value:+.1f} "
        f"points [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]; {why}"
    )
    return Replication(verdict=verdict, sentence=sentence, difference=gap)


def rows_of(table: PublishedTable, columns: Sequence[str]) -> tuple[Row, ...]:
    """Return rows for a report's table: the method, then one cell for each of `columns`.

    A number without a published n has no interval and says so; `-` stands where the table has no
    such column. The group is `published: ` and the row's block; rows of one block follow each
    other, blocks are in the order in which the file begins them.
    """
    blocks = list(dict.fromkeys(row.block for row in table.rows))
    ordered = sorted(table.rows, key=lambda row: blocks.index(row.block))
    return tuple(
        Row(
            cells=(_method_cell(row), *(_rate_cell(row, column) for column in columns)),
            group=f"published: {row.block}",
        )
        for row in ordered
    )


@dataclass(frozen=True, kw_only=True)
class _File:
    """A file as it is written, without its rows."""

    title: str
    columns: tuple[str, ...]
    source: str = ""
    protocol: str = ""
    protocol_id: str = ""
    averages: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.title or not self.columns:
            raise ValueError("title or columns is empty, expected a line and one column or more")
        if twice := repeated(self.columns):
            raise ValueError(f"column {twice!r} is there twice")
        plain = [column for column in self.columns if column not in self.averages]
        for average, parts in self.averages.items():
            if average not in self.columns or not parts or not set(parts) <= set(plain):
                raise ValueError(
                    f"averages: {average!r} is of {list(parts)}, expected a column and those that "
                    f"it averages, out of {', '.join(plain)}"
                )


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A row as it is written."""

    method: str
    base: str
    block: str
    numbers: dict[str, float]
    status: Status
    source: str = ""
    protocol: str = ""
    protocol_id: str = ""
    n: int | None = None
    seeds: int | None = None
    rank: float | None = None
    average_differs: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("method", "base", "block"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty, expected a name")
        for name in ("n", "seeds"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ValueError(f"{name} is {count}, expected 1 or more, or no such line")
        if self.rank is not None and not self.rank >= 1:
            raise ValueError(f"rank is {self.rank:g}, expected 1, the best, or more")
        if self.n is not None and self.seeds is not None and self.n % self.seeds:
            raise ValueError(
                f"n is {self.n} with {self.seeds} seeds, expected the episodes of all seeds "
                "together, as many of each"
            )


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise PublishedError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PublishedError(f"{path} is not TOML: {error}") from error


def _label(row: Mapping[str, Any], index: int) -> str:
    return f"row {row['method']!r}" if row.get("method") else f"row {index}"


def repeated(names: Iterable[str]) -> str | None:
    """Return the first name that is there a second time; None if none is."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _row(file: _File, values: Mapping[str, Any], where: str) -> PublishedRow:
    row = fill(_Row, values, where)
    _check_numbers(file, row, where)
    _check_averages(file, row, where)
    # A row with rules of its own does not inherit the name of the table's.
    rules = row if row.protocol else file
    source = row.source or file.source
    for name, text in (("source", source), ("protocol", rules.protocol)):
        if not text:
            raise PublishedError(
                f"{where}: {name} is missing; expected words, in the row or at the top of the file"
            )
    return PublishedRow(
        method=row.method,
        base=row.base,
        block=row.block,
        numbers={column: float(row.numbers[column]) for column in file.columns},
        n=_episodes(file, row.n),
        seeds=row.seeds,
        rank=row.rank,
        status=row.status,
        source=source,
        protocol=rules.protocol,
        protocol_id=rules.protocol_id,
        note="; ".join(text for text in (row.note, row.average_differs) if text),
    )


def _episodes(file: _File, n: int | None) -> dict[str, int]:
    if n is None:
        return {}
    return {column: n * len(file.averages.get(column, (column,))) for column in file.columns}


def _check_numbers(file: _File, row: _Row, where: str) -> None:
    for column in file.columns:
        if column not in row.numbers:
            raise PublishedError(
                f"{where}: numbers has {', '.join(row.numbers) or 'nothing'}, expected "
                f"{column!r}, too"
            )
    for column, number in row.numbers.items():
        if column not in file.columns:
            raise PublishedError(
                f"{where}: numbers has {column!r}, expected only {', '.join(file.columns)}"
            )
        if not 0 <= number <= 100:
            raise PublishedError(f"{where}: {column} is {number}, expected percent, from 0 to 100")


def _check_averages(file: _File, row: _Row, where: str) -> None:
    excuse = row.average_differs
    for average, parts in file.averages.items():
        mean = fmean(row.numbers[part] for part in parts)
        found = row.numbers[average]
        if abs(found - mean) <= _rounding(row.numbers.values()):
            continue
        if not row.average_differs:
            raise PublishedError(
                f"{where}: {average} is {found}, expected {mean:g}, the mean of "
                f"{', '.join(parts)}; where the source has it so, say why in average_differs"
            )
        excuse = ""
    if excuse:
        raise PublishedError(
            f"{where}: average_differs is {excuse!r}, expected no such line, because every "
            "average is the mean of its columns"
        )


def _rounding(numbers: Iterable[float]) -> float:
    """Return half a unit of the last decimal of the number that has most of them."""
    decimals = max(len(f"{number:g}".partition(".")[2]) for number in numbers)
    return 0.5 / 10.0**decimals + 1e-9  # 57.65 may be a little more than that in binary


def _number(row: PublishedRow, column: str) -> float:
    if column not in row.numbers:
        known = ", ".join(row.numbers)
        raise ValueError(f"{row.method!r} has no column {column!r}, only {known}")
    return row.numbers[column]


def _reasons(row: PublishedRow, claims: Mapping[str, str]) -> list[str]:
    """Return why a run is not of what was published, a clause each; empty if it is."""
    published = {"method": row.method, "base": row.base, "protocol": row.protocol_id}
    reasons = []
    for name, expected in published.items():
        if not expected:
            reasons.append(f"no {name} of vlabench has the published rules: {row.protocol}")
        elif name not in claims:
            reasons.append(f"the run names no {name}, published is {expected!r}")
        elif claims[name] != expected:
            reasons.append(f"{name} is {claims[name]!r}, published is {expected!r}")
    return reasons


def _without_n(number: float, measured: Estimate) -> Replication:
    inside = measured.low <= number / 100 <= measured.high
    return Replication(
        verdict=Agreement.UNKNOWN_N,
        sentence=f"measured {_words(measured)}; the published {number:.1f} % is "
        f"{'inside' if inside else 'outside'} that interval, and without its n no more can be said",
    )


def _difference(published: Estimate, measured: Estimate, confidence: float) -> Estimate:
    z = student_quantile(max(1, published.n + measured.n - 2), confidence)
    ends = (edged_wilson(each.value * each.n, each.n, z) for each in (published, measured))
    low, high = newcombe(published.value, next(ends), measured.value, next(ends))
    return Estimate(
        value=measured.value - published.value,
        low=float(low),
        high=float(high),
        n=published.n + measured.n,
        method=f"Newcombe {100 * confidence:g}%, independent episodes",
        question="measured less published, on these tasks",
    )


def _words(rate: Estimate) -> str:
    return f"{100 * rate.value:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}] of n = {rate.n}"


def _method_cell(row: PublishedRow) -> Cell:
    known = (
        f"base: {row.base}",
        f"protocol: {row.protocol}",
        f"source: {row.source} ({row.status})",
        f"seeds: {row.seeds or 'not published'}",
    )
    return Cell(text=row.method, note="; ".join((*known, row.note) if row.note else known))


def _rate_cell(row: PublishedRow, column: str) -> Cell:
    if column not in row.numbers:
        return rate_cell(None, note="not published")
    rate = estimate_of(row, column)
    if rate is not None:
        return rate_cell(rate, note=row.status)
    number = row.numbers[column]
    return Cell(text=f"{number:.1f}", value=number / 100, note=f"n unknown; {row.status}")
