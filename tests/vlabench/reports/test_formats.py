"""One table, the same in every format."""

import csv
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from vlabench.errors import RecordError
from vlabench.metrics.estimate import Estimate
from vlabench.reports.latex import latex_text, table_latex
from vlabench.reports.markdown import markdown_of, table_markdown
from vlabench.reports.model import (
    Cell,
    Column,
    Figure,
    Finding,
    Report,
    Row,
    Section,
    Table,
    count_cell,
    number_cell,
    points_cell,
    rate_cell,
    told_apart,
)
from vlabench.reports.writing import stale_files, table_csv, write_report

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


def test_rows_that_are_not_listed_are_in_csv_and_markdown_and_latex_say_so() -> None:
    folded = replace(TABLE, listed=False)
    said = "tables/main.csv has all of them, and report.html shows them on request."
    assert said in table_markdown(folded)
    assert said in table_latex(folded)
    assert table_csv(folded) == table_csv(TABLE)
    for text in (table_markdown(folded), table_latex(folded)):
        assert "2 rows are not listed here" in text
        assert "theirs" not in text
    assert table_markdown(folded).endswith("In percent.")


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


WHOLE = f"""# A report

## Verdicts

- **BETTER** (s v1 under p@1): B is BETTER than A

## s v1 under p@1

Two runs.

### Success of 100 % & more\\_of\\_it

| method | goal | B - A | n |
| --- | ---: | ---: | ---: |
| *measured* |  |  |  |
| ours\\_1 \\| a\\*b | **50.0** [25.0 to 75.0] | -12.5 [-50.0 to +25.0] | 8 |
| *published: a block* |  |  |  |
| theirs | - | - | - |

In percent.

## Sources

| results file | SHA-256 |
| --- | --- |
| results/a.jsonl | `{"ab" * 32}` |
"""


def test_a_report_in_markdown_is_verdicts_sections_and_sources_with_nothing_else() -> None:
    assert markdown_of(REPORT) == WHOLE
    assert markdown_of(Report(title="*")) == "# \\*\n"


def test_a_title_that_a_table_has_from_its_section_is_there_once_and_pictures_come_last() -> None:
    figure = Figure(id="cost", title="Cost", caption="What it [costs].", draw=lambda canvas: None)
    section = Section(id="s", title=TABLE.title, tables=(TABLE,), figures=(figure,))
    report = Report(title="R", sections=(section,))
    found = markdown_of(report, figures="pictures").split("\n\n")
    assert found[1:] == [
        "## Success of 100 % & more\\_of\\_it",
        *table_markdown(TABLE).split("\n\n"),
        "![What it \\[costs\\].](pictures/cost.png)\n",
    ]


@pytest.mark.parametrize(
    ("groups", "shown"),
    [
        (["", ""], []),
        (["measured", "measured"], []),  # the only group says nothing
        (["published: a", "published: a"], ["published: a"]),
        (["a", "b", "b", "a"], ["a", "b", "a"]),
        (["", "a"], ["a"]),
    ],
)
def test_markdown_names_a_group_before_its_rows_where_that_says_something(
    groups: list[str], shown: list[str]
) -> None:
    rows = tuple(Row(cells=(Cell(text="x"), Cell(text="1")), group=group) for group in groups)
    table = Table(id="t", title="T", columns=(Column(name="a"), Column(name="b")), rows=rows)
    lines = table_markdown(table).splitlines()[2:]
    assert [line for line in lines if "x" not in line] == [f"| *{name}* |  |" for name in shown]
    assert len(lines) == len(groups) + len(shown)


def test_a_table_in_latex_is_all_of_it_and_nothing_else() -> None:
    assert table_latex(TABLE).splitlines() == [
        r"% Success of 100 % & more_of_it",
        r"% \usepackage{booktabs,graphicx} in the document's preamble, then \input this file.",
        r"\begin{table}",
        r"\centering",
        r"\caption{Success of 100 \% \& more\_of\_it}\label{tab:main}",
        r"\setlength{\tabcolsep}{4pt}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        r"\begin{tabular}{lrrr}",
        r"\toprule",
        r"method & goal & B - A & n \\",
        r"\midrule",
        r"\multicolumn{4}{l}{\emph{measured}} \\",
        r"ours\_1 \textbar{} a{*}b & \textbf{50.0} & -12.5 & 8 \\[-3pt]",
        r" & \scriptsize 25.0 to 75.0 & \scriptsize -50.0 to +25.0 &  \\[1pt]",
        r"\midrule",
        r"\multicolumn{4}{l}{\emph{published: a block}} \\",
        r"theirs & - & - & - \\",
        r"\bottomrule",
        r"\end{tabular}}",
        r"\par\smallskip{\footnotesize\raggedright In percent.\par}",
        r"\end{table}",
    ]
    assert table_latex(TABLE).endswith("\n")


def test_latex_has_a_letter_or_a_question_mark_for_every_character() -> None:
    assert latex_text("é ž 中 Ω") == "é ž ? ?"
    assert latex_text("a\n  b\t") == "a b"
    assert latex_text("±→≥≤τ₉") == (
        r"\ensuremath{\pm}\ensuremath{\rightarrow}\ensuremath{\geq}\ensuremath{\leq}"
        r"\ensuremath{\tau}\textsubscript{9}"
    )
    assert latex_text("[a]|<b>#$") == r"{[}a]\textbar{}\textless{}b\textgreater{}\#\$"


def test_plain_numbers_have_three_digits_and_counts_all() -> None:
    assert number_cell(1234.5) == Cell(text="1.23e+03", value=1234.5)
    assert number_cell(0.0) == Cell(text="0", value=0.0)
    assert count_cell(123456) == Cell(text="123456", value=123456.0)
    assert count_cell(0) == Cell(text="0", value=0.0)
    assert number_cell(None) == count_cell(None) == Cell(text="-")


def test_a_note_comes_after_what_is_known_and_stands_alone_where_nothing_is() -> None:
    known = "n = 8; these tasks; "
    assert rate_cell(RATE, note="by hand").note == f"{known}Wilson 95%; by hand"
    assert points_cell(LOSS, note="by hand").note == f"{known}Tango 95%; by hand"
    assert (points_cell(LOSS).value, points_cell(LOSS).note) == (-0.125, f"{known}Tango 95%")
    for cell in (rate_cell(None, note="not run"), points_cell(None, note="not run")):
        assert (cell.text, cell.value, cell.interval, cell.note) == ("-", None, "", "not run")


def test_two_parts_of_a_report_with_one_id_are_refused() -> None:
    twice = Section(id="t", title="T", tables=(TABLE,))
    with pytest.raises(ValueError, match="tables with one id: main"):
        Report(title="R", sections=(*REPORT.sections, twice))
    drawn = Figure(id="f", title="F", caption="", draw=lambda canvas: None)
    with pytest.raises(ValueError, match="figures with one id: f"):
        Report(title="R", sections=(Section(id="t", title="T", figures=(drawn, drawn)),))


def test_the_files_of_a_report_are_those_that_were_asked_for_and_those_to_open_come_first(
    tmp_path: Path,
) -> None:
    names = ["report.html", "report.md", "tables/main.tex", "tables/main.csv"]
    written = write_report(REPORT, tmp_path / "all", ("csv", "tex", "md", "html"))
    assert [str(path.relative_to(tmp_path / "all")) for path in written] == names
    assert written[1].read_text("utf-8") == WHOLE
    assert written[2].read_text("utf-8") == table_latex(TABLE)
    assert written[3].read_text("utf-8") == table_csv(TABLE)
    only = write_report(REPORT, tmp_path / "one", ("csv",))
    assert [path for path in (tmp_path / "one").rglob("*") if path.is_file()] == only
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match=r"cannot write into .*file"):
        write_report(REPORT, tmp_path / "file", ("md",))


def test_files_of_an_earlier_report_are_found_and_nobody_elses(tmp_path: Path) -> None:
    earlier = ["report.html", "figures/a.pdf", "figures/b.png", "tables/old.csv", "tables/old.tex"]
    others = ["notes.md", "tables/notes.txt", "figures/a.svg", "figures/deep/a.png", "main.tex"]
    for name in (*earlier, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "tables" / "folder.csv").mkdir()
    written = write_report(REPORT, tmp_path, ("md", "tex"))
    assert stale_files(tmp_path, written) == sorted(tmp_path / name for name in earlier)


def test_csv_has_numbers_and_the_ends_of_intervals() -> None:
    rows = list(csv.DictReader(table_csv(TABLE).splitlines()))
    assert rows[0]["goal"] == "50.0"
    assert (rows[0]["goal, low"], rows[0]["goal, high"]) == ("25.0", "75.0")
    assert (rows[0]["B - A, low"], rows[0]["B - A, high"]) == ("-50.0", "+25.0")
    assert rows[0]["group"] == "measured"
    assert rows[1]["goal"] == rows[1]["goal, low"] == rows[1]["n"] == ""
    assert rows[1]["goal, about"] == ""


def test_csv_has_no_cell_that_a_spreadsheet_takes_for_a_formula() -> None:
    names = ['=HYPERLINK("http://x")', "+cmd", "@x", "-2+3", "\ttab", "-12.5", "+3.0", "- plain"]
    rows = tuple(Row(cells=(Cell(text=name),), group="=1+1") for name in names)
    table = Table(id="t", title="T", columns=(Column(name="=method"),), rows=rows)
    head, *found = csv.reader(table_csv(table).splitlines())
    assert head == ["group", "'=method"]
    assert {group for group, _ in found} == {"'=1+1"}
    assert [name for _, name in found] == [
        '\'=HYPERLINK("http://x")', "'+cmd", "'@x", "'-2+3", "'\ttab", "-12.5", "+3.0", "'- plain"
    ]  # fmt: skip


def test_names_that_give_one_id_have_files_of_their_own() -> None:
    def section(title: str) -> Section:
        return Section(id="v0", title=title, tables=(replace(TABLE, id="v0-success"),))

    found = told_apart([section("套件"), section("スイート"), replace(section("x"), id="v0-2")])
    assert [part.id for part in found] == ["v0", "v0-2", "v0-2-2"]
    assert [part.tables[0].id for part in found] == ["v0-success", "v0-success-2", "v0-success-3"]
    assert [part.title for part in found] == ["套件", "スイート", "x"]
    assert Report(title="r", sections=found).sections == found  # which refuses equal ids


def test_csv_keeps_the_interval_of_a_plain_number() -> None:
    columns = (Column(name="GFLOPs", kind="number"), Column(name="n", kind="number"))
    cost = Cell(text="1.31", value=1.31, interval="1.30 to 1.32", note="n = 8; a mean")
    table = Table(id="t", title="Cost", columns=columns, rows=(Row(cells=(cost, Cell(text="8"))),))
    assert table_csv(table).splitlines() == [
        'group,GFLOPs,"GFLOPs, low","GFLOPs, high","GFLOPs, about",n',
        ",1.31,1.30,1.32,n = 8; a mean,8",
    ]


def test_latex_sets_what_is_special_to_it_as_it_is() -> None:
    assert latex_text("50 % of a_b & {c} \\ ~x^2 π₀") == (
        r"50 \% of a\_b \& \{c\} \textbackslash{} \textasciitilde{}x\textasciicircum{}2 "
        r"\ensuremath{\pi}\textsubscript{0}"
    )


def compiled(folder: Path, body: str, preamble: str = "") -> str:
    """Return the log of a document in class article, whose text is 345 pt wide."""
    if not shutil.which("pdflatex"):
        missing = "needs pdflatex, which `scripts/setup tests` installs"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    document = (
        "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n"
        f"{preamble}\n\\begin{{document}}\n{body}\\end{{document}}\n"
    )
    (folder / "all.tex").write_text(document, "utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (folder / "all.pdf").stat().st_size > 1000
    return done.stdout


def assert_fits(log: str) -> None:
    too_wide = [float(points) for points in re.findall(r"Overfull .hbox .([\d.]+)pt", log)]
    assert max(too_wide, default=0) < 3
    assert "Overfull \\vbox" not in log
    assert "Float too large" not in log


@pytest.mark.parametrize("preamble", ["", "\\usepackage[T1]{fontenc}"])
def test_latex_compiles(tmp_path: Path, preamble: str) -> None:
    strange = Table(
        id="strange",
        title="\\ { } % & # _ $ ~ ^ < > | ± \N{MULTIPLICATION SIGN} π τ ≥ ≤ \N{EN DASH} → é ž ₀ 中",
        columns=TABLE.columns,
        rows=[Row(cells=(Cell(text=start), *TABLE.rows[1].cells[1:])) for start in ("[1pt]", "*")],
    )
    assert_fits(compiled(tmp_path, table_latex(TABLE) + table_latex(strange), preamble))


def test_every_table_of_the_report_fits_a_page_and_stays_readable(tmp_path: Path) -> None:
    tables = sorted((Path(__file__).parents[3] / "reports" / "tables").glob("*.tex"))
    assert len(tables) >= 20
    widths = (
        "\\let\\shrunk\\resizebox\n"
        "\\renewcommand{\\resizebox}[3]"
        "{\\sbox0{#3}\\typeout{WIDTH \\the\\wd0}\\shrunk{#1}{#2}{#3}}"
    )
    log = compiled(tmp_path, "".join(f"\\input{{{path}}}\\clearpage\n" for path in tables), widths)
    assert_fits(log)
    natural = [float(pt) for pt in re.findall(r"WIDTH ([\d.]+)pt", log)]
    assert len(natural) >= len(tables)
    assert max(natural) < 345 / 0.55  # of ten points, letters are more than 5.5 high


def test_latex_has_intervals_under_their_numbers_and_names_its_packages() -> None:
    lines = table_latex(TABLE).splitlines()
    assert lines[1].startswith(r"% \usepackage{booktabs,graphicx}")
    row = lines.index(r"ours\_1 \textbar{} a{*}b & \textbf{50.0} & -12.5 & 8 \\[-3pt]")
    assert lines[row + 1] == (
        r" & \scriptsize 25.0 to 75.0 & \scriptsize -50.0 to +25.0 &  \\[1pt]"
    )


def test_latex_breaks_long_names_and_tables_that_are_longer_than_a_page() -> None:
    name = "SFT, four trainings (privileged, 4 trainings)"
    rows = [Row(cells=(Cell(text=f"task {i}"), rate_cell(RATE))) for i in range(50)]
    table = Table(
        id="long",
        title="Long",
        columns=(Column(name="task"), Column(name=name, kind="rate")),
        rows=tuple(rows),
        notes=("A note.",),
    )
    text = table_latex(table)
    assert [text.count(f"task {i} &") for i in range(50)] == [1] * 50
    assert [line for line in text.splitlines() if "caption" in line] == [
        r"\caption{Long (1 of 3)}\label{tab:long}",
        r"\caption{Long (2 of 3)}",
        r"\caption{Long (3 of 3)}",
    ]
    assert text.count(r"\addtocounter{table}{-1}") == 2  # one table has one number
    assert text.count("A note.") == 1
    assert max(len(line) for line in text.splitlines() if line.startswith(" & ")) < 40
