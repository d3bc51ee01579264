r"""A table as LaTeX: `table`s with booktabs, to be read with `\input`."""

from collections.abc import Sequence
from itertools import pairwise, zip_longest
from textwrap import wrap

from vlabench.reports.model import Cell, Row, Table

_ROWS = 20
"""Of two lines each, as many as a page of `article` has room for beside caption and notes."""
_TEXT, _HEAD = 28, 11
"""Letters in a line of a text, and of a heading over numbers."""

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # these two would be read as options, were they first in a row
    "*": "{*}",
    "±": r"\ensuremath{\pm}",
    "\N{MULTIPLICATION SIGN}": r"\ensuremath{\times}",
    "π": r"\ensuremath{\pi}",
    "τ": r"\ensuremath{\tau}",
    "≥": r"\ensuremath{\geq}",
    "≤": r"\ensuremath{\leq}",
    "\N{MINUS SIGN}": "-",
    "\N{EN DASH}": "--",
    "→": r"\ensuremath{\rightarrow}",
    **{c: rf"\textsubscript{{{n}}}" for n, c in enumerate("₀₁₂₃₄₅₆₇₈₉")},
}


def table_latex(table: Table) -> str:
    r"""Return a table that is never wider than the text, in parts where it has too many rows.

    A document needs `booktabs` for its rules and `graphicx`, which makes a table smaller that would
    be too wide. What is under a number in other formats is under it here, in a smaller size.
    """
    if not table.listed:
        return f"% {_one_line(table.title)}\n{latex_text(f'{table.title}: {table.elsewhere}')}\n"
    parts = _parts(table.rows)
    blocks = len({row.group for row in table.rows}) > 1
    lines = [
        f"% {_one_line(table.title)}",
        r"% \usepackage{booktabs,graphicx} in the document's preamble, then \input this file.",
    ]
    for place, rows in enumerate(parts):
        label = rf"\label{{tab:{table.id}}}" if place == 0 else ""
        again = [r"\addtocounter{table}{-1}"] if place else []
        count = f" ({place + 1} of {len(parts)})" if len(parts) > 1 else ""
        lines += [
            r"\begin{table}",
            r"\centering",
            *again,
            rf"\caption{{{latex_text(table.title)}{count}}}{label}",
            *_tabular(table, rows, blocks=blocks),
            *(_note(note) for note in table.notes if place == len(parts) - 1),
            r"\end{table}",
        ]
    return "\n".join(lines) + "\n"


def latex_text(text: str) -> str:
    """Return a text that LaTeX sets as it is; what it has no letter for becomes a question mark."""
    shown = (_SPECIAL.get(c, c if c.isascii() else _letter(c)) for c in " ".join(text.split()))
    return "".join(shown)


def _letter(character: str) -> str:
    """Return a letter beyond ASCII if pdfLaTeX's own encoding (T1, UTF-8) has it."""
    return character if "À" <= character <= "ž" else "?"


def _parts(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """Return the rows in parts of about the same length, each of which a page has room for."""
    count = max(1, -(-len(rows) // _ROWS))
    ends = [len(rows) * place // count for place in range(count + 1)]
    return [rows[begin:end] for begin, end in pairwise(ends)]


def _tabular(table: Table, rows: Sequence[Row], *, blocks: bool) -> list[str]:
    align = "".join("l" if column.kind == "text" else "r" for column in table.columns)
    heads = [_wrapped(c.name, _HEAD if c.kind != "text" else _TEXT) for c in table.columns]
    deepest = max(map(len, heads))
    return [
        r"\setlength{\tabcolsep}{4pt}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        *_lines([[""] * (deepest - len(head)) + head for head in heads]),
        r"\midrule",
        *_body(rows, len(table.columns), blocks=blocks),
        r"\bottomrule",
        r"\end{tabular}}",
    ]


def _body(rows: Sequence[Row], width: int, *, blocks: bool) -> list[str]:
    lines, group = list[str](), None
    for row in rows:
        if blocks and row.group != group:
            lines += [r"\midrule"] * bool(lines)
            title = rf"\multicolumn{{{width}}}{{l}}{{\emph{{{latex_text(row.group)}}}}}"
            lines += [title + r" \\"] * bool(row.group)
        group = row.group
        lines += _lines([_cell(cell) for cell in row.cells])
    return lines


def _lines(cells: Sequence[list[str]]) -> list[str]:
    """Return the lines of a row, whose cells have a line or more each."""
    lines = [" & ".join(line) for line in zip_longest(*cells, fillvalue="")]
    end = r"\\[1pt]" if len(lines) > 1 else r"\\"
    return [*(rf"{line} \\[-3pt]" for line in lines[:-1]), f"{lines[-1]} {end}"]


def _cell(cell: Cell) -> list[str]:
    shown = _wrapped(cell.text, _TEXT)
    if cell.bold:
        shown = [rf"\textbf{{{line}}}" for line in shown]
    return [*shown, *([rf"\scriptsize {latex_text(cell.interval)}"] if cell.interval else [])]


def _wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of about `width` letters, as LaTeX."""
    lines = wrap(text, width, break_long_words=False)
    return [latex_text(line) for line in lines or [""]]


def _note(note: str) -> str:
    return rf"\par\smallskip{{\footnotesize\raggedright {latex_text(note)}\par}}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
