"""One table, the same in every format."""

import csv
import shutil
import subprocess
from pathlib import Path

import pytest

from vlabench.metrics.estimate import Estimate
from vlabench.reports.latex import latex_text, table_latex
from vlabench.reports.markdown import markdown_of, table_markdown
from vlabench.reports.model import (
    Cell,
    Column,
    Finding,
    Report,
    Row,
    Section,
    Table,
    points_cell,
    rate_cell,
)
from vlabench.reports.writing import table_csv

RATE = Estimate(value=0.5, low=0.25, high=0.75, n=8, method="Wilson 95%", question="these tasks")
LOSS = Estimate(value=-0.125, low=-0.5, high=0.25, n=8, method="Tango 95%", question="these tasks")
TABLE = Table(
    id="main",
    title="Success of 100 % & more_of_it",
    columns=(
        Column(name="method"),
        Column(name="goal", kind="rate"),
        Column(name="B - A", kind="points"),
        Column(name="n", kind="number"),
    ),
    rows=(
        Row(
            cells=(
                Cell(text="ours_1 | a*b"),
                rate_cell(RATE, bold=True),
                points_cell(LOSS),
                Cell(text="8", value=8.0),
            ),
            group="measured",
        ),
        Row(
            cells=(Cell(text="theirs"), rate_cell(None), points_cell(None), Cell(text="-")),
            group="published: a block",
        ),
    ),
    notes=("In percent.",),
)
REPORT = Report(
    title="A report",
    findings=(Finding(verdict="BETTER", sentence="B is BETTER than A", where="s v1 under p@1"),),
    sections=(Section(id="s", title="s v1 under p@1", text=("Two runs.",), tables=(TABLE,)),),
    sources={"results/a.jsonl": "ab" * 32},
)


def test_no_rate_is_bare() -> None:
    cell = rate_cell(RATE)
    assert (cell.text, cell.interval) == ("50.0", "25.0 to 75.0")
    assert cell.note == "n = 8; these tasks; Wilson 95%"
    assert points_cell(LOSS).text == "-12.5"
    assert points_cell(LOSS).interval == "-50.0 to +25.0"


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="table 'x' has 1 columns and a row of 2 cells"):
        Table(
            id="x",
            title="",
            columns=(Column(name="a"),),
            rows=(Row(cells=(Cell(text="1"), Cell(text="2"))),),
        )


def test_markdown_shows_intervals_blocks_and_what_is_best() -> None:
    text = table_markdown(TABLE)
    assert text.splitlines()[:2] == [
        "| method | goal | B - A | n |",
        "| --- | ---: | ---: | ---: |",
    ]
    assert "| ours\\_1 \\| a\\*b | **50.0** [25.0 to 75.0] | -12.5 [-50.0 to +25.0] | 8 |" in text
    assert "| *published: a block* |  |  |  |" in text
    assert text.endswith("In percent.")
    whole = markdown_of(REPORT)
    assert whole.startswith("# A report\n\n## Verdicts\n\n- **BETTER** (s v1 under p@1): B is")
    assert f"| results/a.jsonl | `{'ab' * 32}` |" in whole


def test_csv_has_numbers_and_the_ends_of_intervals() -> None:
    rows = list(csv.DictReader(table_csv(TABLE).splitlines()))
    assert rows[0]["goal"] == "50.0"
    assert (rows[0]["goal, low"], rows[0]["goal, high"]) == ("25.0", "75.0")
    assert (rows[0]["B - A, low"], rows[0]["B - A, high"]) == ("-50.0", "+25.0")
    assert rows[0]["group"] == "measured"
    assert rows[1]["goal"] == rows[1]["goal, low"] == rows[1]["n"] == ""
    assert rows[1]["goal, about"] == ""


def test_latex_sets_what_is_special_to_it_as_it_is() -> None:
    assert latex_text("50 % of a_b & {c} \\ ~x^2 π₀") == (
        r"50 \% of a\_b \& \{c\} \textbackslash{} \textasciitilde{}x\textasciicircum{}2 "
        r"\ensuremath{\pi}\textsubscript{0}"
    )


@pytest.mark.skipif(
    not shutil.which("pdflatex"), reason="needs pdflatex; scripts/setup installs it"
)
def test_latex_compiles(tmp_path: Path) -> None:
    strange = Table(
        id="strange",
        title="\\ { } % & # _ $ ~ ^ < > | ± \N{MULTIPLICATION SIGN} π τ ≥ ≤ \N{EN DASH} → é ž ₀ 中",
        columns=TABLE.columns,
        rows=TABLE.rows,
    )
    body = table_latex(TABLE) + table_latex(strange)
    document = (
        "\\documentclass{article}\n\\usepackage[T1]{fontenc}\n\\usepackage{booktabs}\n"
        f"\\begin{{document}}\n{body}\\end{{document}}\n"
    )
    (tmp_path / "all.tex").write_text(document, "utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert (tmp_path / "all.pdf").stat().st_size > 1000
