"""A report, or one of its tables, as Markdown for a repository or a pull request."""

from vlabench.reports.model import Cell, Report, Row, Section, Table


def markdown_of(report: Report, figures: str = "figures") -> str:
    """Return a report as Markdown.

    Args:
        report: What it says.
        figures: Folder of its pictures, relative to the file.
    """
    parts = [f"# {_plain(report.title)}"]
    if report.findings:
        lines = [
            f"- **{_plain(f.verdict)}** ({_plain(f.where)}): {_plain(f.sentence)}"
            for f in report.findings
        ]
        parts += ["## Verdicts", "\n".join(lines)]
    for section in report.sections:
        parts += _section(section, figures)
    if report.sources:
        rows = [f"| {_plain(name)} | `{digest}` |" for name, digest in report.sources.items()]
        parts += ["## Sources", "\n".join(["| results file | SHA-256 |", "| --- | --- |", *rows])]
    return "\n\n".join(parts) + "\n"


def table_markdown(table: Table) -> str:
    """Return a table as Markdown, its notes below it."""
    notes = "\n".join(f"{_plain(note)}" for note in table.notes)
    shown = _rows(table) if table.listed else _plain(table.elsewhere)
    return shown + (f"\n\n{notes}" if notes else "")


def _rows(table: Table) -> str:
    heads = [_plain(column.name) for column in table.columns]
    rules = ["---" if column.kind == "text" else "---:" for column in table.columns]
    lines = [_line(heads), _line(rules)]
    group, blocks = "", _has_blocks(table)
    for row in table.rows:
        if row.group != group and blocks:
            lines.append(_line([f"*{_plain(row.group)}*", *[""] * (len(heads) - 1)]))
        group = row.group
        lines.append(_line(_cells(row)))
    return "\n".join(lines)


def _section(section: Section, figures: str) -> list[str]:
    parts = [f"## {_plain(section.title)}", *map(_plain, section.text)]
    for table in section.tables:
        heading = [f"### {_plain(table.title)}"] if table.title != section.title else []
        parts += [*heading, table_markdown(table)]
    for figure in section.figures:
        parts.append(f"![{_plain(figure.caption)}]({figures}/{figure.id}.png)")
    return parts


def _has_blocks(table: Table) -> bool:
    """Whether the groups of rows say something that the first column does not."""
    groups = {row.group for row in table.rows}
    return len(groups) > 1 or any(group and ":" in group for group in groups)


def _cells(row: Row) -> list[str]:
    return [_cell(cell) for cell in row.cells]


def _cell(cell: Cell) -> str:
    text = _plain(cell.text)
    shown = f"**{text}**" if cell.bold else text
    return f"{shown} [{_plain(cell.interval)}]" if cell.interval else shown


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(text: str) -> str:
    """Return a text that Markdown leaves as it is."""
    for character in "\\`*_[]<>|":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())
