"""The gate's decision as Markdown, for `$GITHUB_STEP_SUMMARY` and comments on pull requests."""

from collections.abc import Iterator, Sequence

from vlabench.gate.report import Changed, Entry, Gate
from vlabench.gate.sentences import (
    change,
    headline,
    rates,
    sentence,
    task_change,
    task_rows,
    tasks_note,
)

_MOST = 25
"""Episodes listed for each run; GitHub cuts summaries off at 1 MiB, and readers before that."""


def summary(gate: Gate) -> str:
    """Return the Markdown: the verdict, a table of runs, worse tasks, episodes that changed."""
    return "\n".join(_lines(gate)) + "\n"


def _lines(gate: Gate) -> Iterator[str]:
    yield f"## {headline(gate)}"
    yield ""
    yield "| run | verdict | baseline | candidate | difference | same to the last bit |"
    yield "| --- | --- | --- | --- | --- | --- |"
    yield from (_row(entry) for entry in gate.entries)
    for entry in gate.entries:
        yield from ("", f"- {_text(sentence(entry))}")
        yield from (f"- note: {_text(note)}" for note in entry.judgement.comparison.notes)
        yield from (f"- {_text(t.name)}: {task_change(t)}" for t in entry.judgement.worse)
        if entry.tasks:
            yield from _tasks(entry, gate.margin)
        if entry.changed:
            yield from _changes(entry)
    for path in gate.extra:
        yield from ("", f"No baseline for `{_code(str(path))}`: nothing is said of it.")


def _row(entry: Entry) -> str:
    evidence = entry.judgement.comparison.evidence
    cells = ["-"] * 4
    if evidence is not None:
        paired = evidence.pairs is not None
        same = f"{entry.same} of {evidence.pairs.n} episodes" if evidence.pairs else "-"
        cells = [*rates(evidence), change(evidence.difference, paired=paired), same]
    return "| " + " | ".join([_text(entry.name), f"**{entry.judgement.status}**", *cells]) + " |"


def _tasks(entry: Entry, margin: float) -> Iterator[str]:
    rows = task_rows(entry)
    yield ""
    yield "| " + " | ".join(rows[0]) + " |"
    yield "| " + " | ".join("---" for _ in rows[0]) + " |"
    for row in rows:
        yield "| " + " | ".join(_text(cell) for cell in row.values()) + " |"
    yield from ("", f"{_text(entry.name)}: {tasks_note(entry, margin)}")


def _changes(entry: Entry) -> Iterator[str]:
    lost = sum(one.lost for one in entry.changed)
    yield ""
    yield (
        f"<details><summary>{_text(entry.name)}: {lost} episodes lost, "
        f"{len(entry.changed) - lost} otherwise changed</summary>"
    )
    yield ""
    yield from _table(entry.changed[:_MOST])
    if (left := len(entry.changed) - _MOST) > 0:
        yield from ("", f"and {left} more; `vlabench gate --json` lists all of them")
    yield from ("", "</details>")


def _table(changed: Sequence[Changed]) -> Iterator[str]:
    yield "| episode | baseline | candidate | where they part |"
    yield "| --- | --- | --- | --- |"
    for one in changed:
        where = one.where or "not known"
        yield f"| `{_code(one.key)}` | {one.then} | {one.now} | {_text(where)} |"


def _text(text: str) -> str:
    """Escape what Markdown or HTML would read: names may come from files of other people."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in "\\`*_[]|":
        escaped = escaped.replace(sign, "\\" + sign)
    return " ".join(escaped.split())


def _code(text: str) -> str:
    return " ".join(text.replace("`", "'").replace("|", "\\|").split())
