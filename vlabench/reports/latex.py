r"""A table as LaTeX: a `table` with booktabs, to be read with `\input`."""

from vlabench.reports.model import Cell, Table

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
    r"""Return a table; a document needs `\usepackage{booktabs}` for it.

    What is under a number in other formats stands beside it, in a smaller size.
    """
    align = "".join("l" if column.kind == "text" else "r" for column in table.columns)
    lines = [
        f"% {_one_line(table.title)}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(table.title)}}}",
        rf"\label{{tab:{table.id}}}",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        " & ".join(latex_text(column.name) for column in table.columns) + r" \\",
        r"\midrule",
        *_body(table),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\smallskip{{\footnotesize {latex_text(note)}}}" for note in table.notes),
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


def _body(table: Table) -> list[str]:
    lines, group = list[str](), None
    blocks = len({row.group for row in table.rows}) > 1
    for row in table.rows:
        if blocks and row.group != group:
            lines += [r"\midrule"] * bool(lines)
            title = (
                rf"\multicolumn{{{len(table.columns)}}}{{l}}{{\emph{{{latex_text(row.group)}}}}}"
            )
            lines += [title + r" \\"] * bool(row.group)
        group = row.group
        lines.append(" & ".join(_cell(cell) for cell in row.cells) + r" \\")
    return lines


def _cell(cell: Cell) -> str:
    text = latex_text(cell.text)
    shown = rf"\textbf{{{text}}}" if cell.bold else text
    return rf"{shown} {{\scriptsize [{latex_text(cell.interval)}]}}" if cell.interval else shown


def _one_line(text: str) -> str:
    return " ".join(text.split())
