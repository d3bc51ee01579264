"""From results files to a report in one command, and the same report byte for byte."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from vlabench import Outcome, SerialRunner, prepare, read_run
from vlabench.cli import app

SLOW, FAST = {"speed": "0.45"}, {"speed": "0.9"}


def run(folder: Path, speed: dict[str, str], episodes: int = 20) -> Path:
    """Run the toy for real: a slow expert runs out of time in some episodes."""
    evaluation = prepare(
        "point-reach", "point-reach-expert", request={"episodes": episodes}, settings=speed
    )
    path = folder / f"speed-{speed['speed']}.jsonl"
    for _ in evaluation.run(SerialRunner(), path):
        pass
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return run(folder, SLOW), run(folder, FAST)


def report(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_two_files_become_a_decision_and_every_format(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    done = report(f"slow={runs[0]}", f"fast={runs[1]}", "--out", tmp_path / "r")
    assert done.exit_code == 0, done.output
    first, *rest = done.output.splitlines()
    assert first.startswith("point-reach v1 under standard@1: fast is BETTER than slow by ")
    assert rest[:2] == [str(tmp_path / "r" / "report.html"), str(tmp_path / "r" / "report.md")]
    found = digests(tmp_path / "r")
    endings = {Path(name).suffix for name in found}
    assert endings == {".html", ".md", ".tex", ".csv", ".png", ".pdf"}
    assert "BETTER" in (tmp_path / "r" / "report.md").read_text()


def test_a_report_is_a_pure_function_of_its_records(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "other"):
        assert report(*runs, "--out", tmp_path / name).exit_code == 0
        monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert digests(tmp_path / "one") == digests(tmp_path / "other")


def test_runs_of_one_policy_are_named_by_the_setting_in_which_they_differ(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    done = report(*runs, "--out", tmp_path, "--formats", "md", "--json")
    found = json.loads(done.output)
    assert [Path(path).name for path in found["files"]] == ["report.md"]
    (verdict,) = found["verdicts"]
    assert verdict["verdict"] == "BETTER"
    assert "point-reach-expert speed=0.9 is BETTER" in verdict["sentence"]


def test_json_has_the_numbers_of_each_verdict_as_compare_has_them(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    done = report(*runs, "--out", tmp_path, "--formats", "md", "--json", "--margin", "5")
    (verdict,) = json.loads(done.output)["verdicts"]
    slow, fast = ([r.outcome is Outcome.SUCCESS for r in read_run(path).episodes] for path in runs)
    difference = verdict["evidence"]["difference"]
    assert difference["value"] == pytest.approx((sum(fast) - sum(slow)) / 40)
    assert 0 < difference["low"] < difference["value"] < difference["high"] <= 1
    assert difference["n"] == 40
    # Whoever is fast succeeds always: all discordant pairs are on one side.
    assert verdict["evidence"]["p_adjusted"] == pytest.approx(2 * 0.5 ** (40 - sum(slow)))
    assert verdict.pop("where") == "point-reach v1 under standard@1"
    compared = CliRunner().invoke(app, ["compare", *map(str, runs), "--margin", "5", "--json"])
    (row,) = json.loads(compared.output)["comparisons"]
    for one in (verdict, row):  # the two name runs in their own ways
        del one["a"], one["b"], one["sentence"], one["notes"]
    assert verdict == row


def test_runs_that_cannot_be_compared_have_no_numbers(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    other = run(tmp_path, FAST, episodes=3)
    done = report(runs[0], other, "--out", tmp_path / "r", "--formats", "md", "--json")
    (verdict,) = json.loads(done.output)["verdicts"]
    assert (verdict["verdict"], verdict["evidence"]) == ("NOT COMPARABLE", None)


def test_files_of_an_earlier_report_are_named_and_left(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "r"
    asked = (*runs, "--out", out, "--formats")
    assert report(*asked, "md,csv,png").stderr == ""
    assert report(*asked, "md,csv,png").stderr == ""
    notes, mine = out / "tables" / "notes.txt", out / "figures" / "mine.png"
    for path in (notes, mine):
        path.write_text("mine")
    (out / "tables" / "old-success.csv").write_text("an earlier report's")
    done = report(*asked, "csv,png", "--json")
    assert json.loads(done.stdout)["files"]
    assert done.stderr == (
        f"vlabench: not of this report, and still in {out}: figures/mine.png, report.md, "
        "tables/old-success.csv; delete what is stale\n"
    )
    assert (notes.read_text(), mine.read_text()) == ("mine", "mine")


def test_of_many_stale_files_the_number_is_said(runs: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    for place in range(13):
        (tmp_path / "tables" / f"old-{place:02}.csv").write_text("")
    done = report(runs[0], "--out", tmp_path, "--formats", "md")
    assert "tables/old-09.csv and 3 more; delete what is stale" in done.stderr


def test_of_more_than_a_hundred_tasks_groups_are_shown_and_tasks_are_there_on_request(
    tmp_path: Path,
) -> None:
    lines = [f"task-{n},{int(n % 3 > 0)},{'light' if n % 2 else 'noise'}" for n in range(300)]
    (tmp_path / "rows.csv").write_text("\n".join(["task,success,category", *lines, ""]))
    run = tmp_path / "run.jsonl"
    ingest = ["ingest", str(tmp_path / "rows.csv"), "--out", str(run), "--suite", "plus"]
    done = CliRunner().invoke(app, ingest)
    assert done.exit_code == 0, done.output
    formats = ("--formats", "md,tex,csv")
    written = []
    for name, options in (("few", ()), ("all", ("--tasks",))):
        done = report(run, "--out", tmp_path / name, *formats, *options)
        assert done.exit_code == 0, done.output
        (tex,) = (tmp_path / name / "tables").glob("*-tasks.tex")
        texts = (tmp_path / name / "report.md", tex, tex.with_suffix(".csv"))
        written.append([path.read_text() for path in texts])
        assert "category: light" in written[-1][0]
    few, every = written
    assert [text.count("task-1") > 0 for text in few] == [False, False, True]
    assert [text.count("task-1") for text in every] == [111, 111, 111]
    assert few[2] == every[2]


def test_a_folder_is_all_its_runs(runs: tuple[Path, Path], tmp_path: Path) -> None:
    done = report(runs[0].parent, "--out", tmp_path, "--formats", "csv")
    assert done.exit_code == 0, done.output
    (table,) = tmp_path.glob("tables/*-success.csv")
    assert len(table.read_text().splitlines()) == 3


def copies(runs: tuple[Path, Path], folder: Path) -> tuple[Path, Path]:
    """Copy both runs, so that films beside one test's are not beside another's."""
    slow, fast = (Path(shutil.copy(run, folder)) for run in runs)
    return slow, fast


def films(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.mp4"))


def embedded(page: Path) -> int:
    return page.read_text().count('src="data:video/mp4;base64,')


def test_missing_films_are_made_once_and_shown(runs: tuple[Path, Path], tmp_path: Path) -> None:
    slow, fast = copies(runs, tmp_path)
    asked = (slow, fast, "--formats", "html", "--film", "2", "--out")

    done = report(*asked, tmp_path / "one")
    assert done.exit_code == 0, done.output
    assert done.stderr.count(": filmed point-reach/") == 4
    kept = films(tmp_path)
    stems = {path.partition("/")[2] for path in kept}
    assert kept == [f"{run.stem}.videos/{stem}" for run in (slow, fast) for stem in sorted(stems)]
    assert len(stems) == 2
    assert embedded(tmp_path / "one" / "report.html") == 4
    assert [path.name for path in tmp_path.glob(".*")] == []

    made = digests(tmp_path)
    again = report(*asked, tmp_path / "other")
    assert again.stderr == ""
    assert made.items() <= digests(tmp_path).items()
    assert digests(tmp_path / "one") == digests(tmp_path / "other")


def test_a_film_shows_what_was_recorded_or_is_none(runs: tuple[Path, Path], tmp_path: Path) -> None:
    slow, fast = copies(runs, tmp_path)
    fast.write_text(re.sub(r'"states": "\w{8}', '"states": "00000000', fast.read_text()))

    done = report(slow, fast, "--out", tmp_path / "r", "--film", "1", "--formats", "html")
    assert done.exit_code == 0, done.output
    *_, problem = done.stderr.splitlines()
    assert problem.startswith(f"vlabench: {fast}: no film of point-reach/")
    assert problem.endswith("not the recorded trajectory: the initial state differs")
    assert [Path(film).parent.name for film in films(tmp_path)] == [f"{slow.stem}.videos"]
    assert embedded(tmp_path / "r" / "report.html") == 1
    assert not fast.with_suffix(".videos").exists()


def test_a_run_that_cannot_be_run_again_here_is_said_once(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    paths = copies(runs, tmp_path)
    for path in paths:
        path.write_text(path.read_text().replace('"policy_digest": "', '"policy_digest": "0'))

    done = report(*paths, "--out", tmp_path / "r", "--film", "3", "--formats", "html", "--json")
    assert done.exit_code == 0, done.output
    assert [line.partition(" and what")[0] for line in done.stderr.splitlines()] == [
        f"vlabench: {path}: no films: the run was made with policy digest 0" for path in paths
    ]
    assert json.loads(done.stdout)["verdicts"]
    assert films(tmp_path) == []


def test_where_there_is_nothing_to_film_that_is_said(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    done = report(runs[0], "--out", tmp_path, "--film", "1", "--formats", "html")
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith("vlabench: nothing to film")


FILE = """
title = "Results"
margin = 5
[[methods]]
name = "slow"
runs = ["{0}"]
"""


def test_a_reports_file_needs_no_option_and_takes_those_of_writing(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "report.toml"
    path.write_text(FILE.format(runs[0]))
    done = report(path, "--out", tmp_path / "r", "--formats", "csv,md", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["verdicts"] == []
    assert (tmp_path / "r" / "report.md").read_text().startswith("# Results")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("5", "nan", "margin is nan, expected more than 0 and less than 100 points"),
        ("5", "300", "margin is 300, expected more than 0 and less than 100 points"),
        ("5", "0", "margin is 0, expected"),
        ("margin = 5", 'on_error = "foo"', "on_error is 'foo', expected one of 'raise', 'excl"),
        ("5", '"5"', "margin is '5', expected a number"),
    ],
)
def test_a_reports_file_is_held_to_what_its_values_can_be(
    old: str,
    new: str,
    message: str,
    runs: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vlabench.cli import main

    (tmp_path / "x.toml").write_text(FILE.replace(old, new, 1).format(runs[0]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["vlabench", "report", "x.toml", "--out", "r"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"vlabench: x.toml: {message}")
    assert said.count("\n") == 1
    assert not Path("r").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--margin", "5"], "--margin beside x.toml says nothing: a report's file decides that"),
        (["--margin", "3"], "--margin beside x.toml"),  # the default, and said all the same
        (
            ["--title", "T", "--curve", "a=b", "--sweep", "a=b", "--unpaired"],
            "--title, --curve, --sweep, --unpaired beside x.toml",
        ),
        (["--on-error", "exclude"], "--on-error beside x.toml"),
        (["run.jsonl"], "x.toml is a report's file, which stands alone and names its runs itself; "
         "found run.jsonl beside it"),
        (["x.toml"], "found x.toml beside it"),
    ],
)  # fmt: skip
def test_what_a_reports_file_decides_is_refused_beside_it(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_text(FILE.format("run.jsonl"))
    done = report("x.toml", *arguments, "--out", "r")
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert not Path("r").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.jsonl"], "nothing.jsonl is no file and no folder"),
        (["nothing.toml"], "nothing.toml cannot be read"),
        (["{}", "--formats", "docx"], "'docx' is unknown; known: md, html"),
        (["{}", "--formats", ""], "--formats '' names none; known: md, html, tex, csv, png, pdf"),
        (["{}", "--formats", " , "], "names none; known: md, html"),
        (["x={0}", "x={0}"], "are runs of one checkpoint on one plan, and both are called 'x'"),
        (["{}", "--margin", "500"], "margin"),
        (["{}", "--film", "1", "--formats", "md,csv"], "leaves it out; add html"),
        (["{}", "--curve", "{}"], "has no column 'success'"),
    ],
)
def test_wrong_input_gets_one_line_and_leaves_nothing(
    arguments: list[str],
    message: str,
    runs: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vlabench.cli import main

    given = [argument.format(runs[0]) for argument in arguments]
    monkeypatch.setattr("sys.argv", ["vlabench", "report", *given, "--out", str(tmp_path / "r")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "r").exists()
