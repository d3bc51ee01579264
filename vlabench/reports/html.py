"""A report as one HTML file that needs nothing else: no network, no other file, no server."""

import json
import math
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vlabench.reports.figures import svg_of
from vlabench.reports.model import Cell, Column, Discordant, Report, Row, Side, Table
from vlabench.video import FRAMES_PER_SECOND

VIDEO_BYTES = 4_000_000
"""A longer video is named, not embedded."""

VIDEOS_BYTES = 64_000_000
"""All videos together; those that come after are named."""

_VERDICTS = {
    "BETTER": ("better", "▲"),
    "WORSE": ("worse", "▼"),
    "EQUIVALENT": ("equivalent", "="),
    "UNDERPOWERED": ("underpowered", "?"),
    "NOT COMPARABLE": ("not-comparable", "≠"),
}
_HEAT_COLUMNS = 3
_MANY = 100
"""Rows that a page holds; those of a longer table are data, and become rows when they are seen."""


def write_html(report: Report, path: Path) -> None:
    """Write a report as one HTML file, which opens without a network; see `html_of`."""
    path.write_text(html_of(report, path.parent), encoding="utf-8", newline="\n")


def html_of(report: Report, folder: Path = Path()) -> str:
    """Return a report as one HTML page; the same report and videos give the same text.

    Every text of the report is untrusted and stays text. The page's own style and script are
    admitted by their hashes, so that the browser runs no other and asks nobody for anything
    (Content Security Policy Level 3, W3C).

    Args:
        report: What it says.
        folder: Where videos are looked for that are not where their names say.

    Raises:
        ImportError: If jinja2 or matplotlib is not installed.
    """
    import jinja2
    from markupsafe import Markup

    page = files("vlabench.reports") / "page"
    template, style, script = (
        (page / name).read_text(encoding="utf-8")
        for name in ("template.html.jinja", "report.css", "report.js")
    )
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"sortable": _sortable, "heat": _heat, "blocks": _blocks}
    environment.filters["data"] = lambda table: Markup(_json(_data(table)))
    environment.tests |= {"noted": _noted, "heated": _heated, "many": _many}
    episodes, films = _episodes(report.discordant, folder)
    return environment.from_string(template).render(
        report=report,
        verdicts=_VERDICTS,
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        svg_of=lambda figure: Markup(svg_of(figure)),
        episodes=episodes,
        filmed=sum(any(side["video"] for side in episode["sides"]) for episode in episodes),
        films=films,
        data=Markup(_json({"rate": FRAMES_PER_SECOND, "episodes": episodes})),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Film:
    id: str
    title: str
    source: str
    size: int  # of the file, bytes


def _policy(style: str, script: str) -> str:
    """Return a Content-Security-Policy that admits this style and script, and what is embedded."""
    hashes = [b64encode(sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
    )


def _json(value: object) -> str:
    """Return JSON that cannot end the element it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _blocks(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Return rows by group, each group as often as others interrupt it."""
    return [(group, list(block)) for group, block in groupby(rows, key=lambda row: row.group)]


def _many(table: Table) -> bool:
    return len(table.rows) > _MANY


def _data(table: Table) -> dict[str, list[Any]]:
    """Return the rows of a long table: what differs once, column by column, and who has it.

    A cell is its text, interval, note, what it is sorted by, its shade, and 1 where it is bold;
    what is empty at its end is left out.
    """
    heated = _heated(table)
    kinds, places = list[list[Any]](), list[list[int]]()
    for number, column in enumerate(table.columns):
        shaded = heated and number > 0 and column.kind == "rate"
        found: dict[Cell, int] = {}
        places.append([found.setdefault(row.cells[number], len(found)) for row in table.rows])
        kinds.append([_packed(cell, column, shaded=shaded) for cell in found])
    return {
        "cells": kinds,
        "rows": places,
        "groups": [[group, len(block)] for group, block in _blocks(table.rows)],
    }


def _packed(cell: Cell, column: Column, *, shaded: bool) -> list[str | int]:
    parts: list[str | int] = [
        cell.text, cell.interval, cell.note, _sortable(cell, column),
        _heat(cell) if shaded else "", int(cell.bold),
    ]  # fmt: skip
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    return parts


def _noted(row: Row) -> bool:
    return any(cell.note for cell in row.cells)


def _sortable(cell: Cell, column: Column) -> str:
    """Return what a number is sorted by, as JavaScript reads it; empty for none and for words."""
    if column.kind == "text" or cell.value is None or math.isnan(cell.value):
        return ""
    if math.isinf(cell.value):
        return "Infinity" if cell.value > 0 else "-Infinity"
    return repr(float(cell.value))


def _heated(table: Table) -> bool:
    """Say whether a table is a field of rates, which is read by its colours first."""
    return sum(column.kind == "rate" for column in table.columns) >= _HEAT_COLUMNS


def _heat(cell: Cell) -> str:
    """Return the class of a rate's shade, of 21; a class, as the policy forbids styles."""
    if cell.value is None or math.isnan(cell.value):
        return ""
    return f"h{round(20 * min(1.0, max(0.0, cell.value)))}"


def _episodes(
    discordant: Sequence[Discordant], folder: Path
) -> tuple[list[dict[str, Any]], list[_Film]]:
    """Return what the explorer shows of each episode, and the videos that are embedded."""
    films: list[_Film] = []
    episodes = [
        {
            "id": anchor,
            "where": episode.where,
            "task": episode.task,
            "instruction": episode.instruction,
            "key": episode.key,
            "parted": episode.parted,
            "first": episode.first,
            "apart": _apart(episode),
            "alone": " and ".join(s.name for s in episode.sides if s.outcome == "success"),
            "sides": [_side(episode, side, folder, films) for side in episode.sides],
        }
        for anchor, episode in zip(_anchors(discordant), discordant, strict=True)
    ]
    return episodes, films


def _side(
    episode: Discordant, side: Side, folder: Path, films: list[_Film]
) -> dict[str, str | int]:
    """Return what the explorer shows of a side; its video joins the films if there is room."""
    content, lost = _video(side, folder, VIDEOS_BYTES - sum(film.size for film in films))
    if content:
        film = _Film(
            id=f"film-{len(films) + 1}",
            title=f"{episode.key}, {side.name}: {side.outcome} after {side.steps} steps",
            source=f"data:video/mp4;base64,{b64encode(content).decode()}",
            size=len(content),
        )
        films.append(film)
    return {
        "name": side.name,
        "outcome": side.outcome,
        "steps": side.steps,
        "film": side.film,
        "video": films[-1].id if content else "",
        "lost": lost,
    }


def _anchors(discordant: Sequence[Discordant]) -> Iterator[str]:
    """Yield a name for each episode's address, by its key, which other comparisons may share."""
    seen: Counter[str] = Counter()
    for episode in discordant:
        seen[episode.key] += 1
        again = f"~{seen[episode.key]}" if seen[episode.key] > 1 else ""
        yield f"episode-{quote(episode.key, safe='/')}{again}"


def _video(side: Side, folder: Path, room: int) -> tuple[bytes, str]:
    """Return the bytes of a side's video, or why there are none; neither where it has no video."""
    if not side.video:
        return b"", ""
    found = next((p for p in (Path(side.video), folder / side.video) if p.is_file()), None)
    if found is None:
        return b"", f"{side.video} is not there."
    size = found.stat().st_size
    if size > min(VIDEO_BYTES, room):
        limits = f"at most {VIDEO_BYTES / 1e6:g} MB each and {VIDEOS_BYTES / 1e6:g} MB in all are"
        return b"", f"{side.video} ({size / 1e6:.1f} MB) is not embedded: {limits}."
    return found.read_bytes(), ""


def _apart(episode: Discordant) -> str:
    """Say where two runs part."""
    if episode.parted is None:
        return "Where they part is unknown: there are no traces of both."
    same = f"Both did the same for {episode.parted} control steps"
    if episode.first is None:
        return f"{same}, and were never seen to part."
    return f"{same}, and no longer after {episode.first}."
