"""From another tool's file to a decision, with the commands that decide about our own runs."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from vlabench import read_frame, read_run
from vlabench.cli import app

DATA = Path(__file__).parents[1] / "data" / "ingest"
REAL = DATA / "real"
KNOWN = ("vla_eval_pi0_libero_10.json", "lerobot_0.3.3_pusht_act.json")
"""Files of tools that say which initial states their episodes had."""
UNKNOWN = ("lerobot_pusht_diffusion.json", "vla_eval_0.8.0_pusht_uniform.json")


def vlabench(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """The two policies of one file: the second fails where the first does, and 20 times more."""
    rows = ["policy,task,seed,success"]
    for policy, least in (("old", 10), ("new", 30)):
        rows += [f"{policy},reach,{seed},{seed >= least}" for seed in range(60)]
    source = tmp_path / "mine.csv"
    source.write_text("\n".join(rows) + "\n")
    paths = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    for path in paths:
        done = vlabench("ingest", source, "--policy", path.stem, "--suite", "lab", "--out", path)
        assert done.exit_code == 0, done.output
    return paths


def test_show_says_what_it_is(runs: tuple[Path, Path]) -> None:
    text = vlabench("show", runs[0]).stdout
    assert "old on lab v0 under csv@0" in text
    assert "ingested from csv; rules and simulator are unknown" in text
    assert "83.3%" in text


def test_compare_pairs_by_seed(runs: tuple[Path, Path]) -> None:
    done = vlabench("compare", *runs)
    assert done.exit_code == 0
    assert done.stdout.startswith("new is WORSE than old by 33.3 points [")
    assert "n = 60 pairs" in done.stdout


def test_the_gate_finds_the_regression_and_lists_it(runs: tuple[Path, Path]) -> None:
    old, new = runs
    done = vlabench("gate", "--baseline", old, "--candidate", new)
    assert done.exit_code == 1
    assert "lab/reach#10: success then, failure now" in done.stdout
    assert vlabench("gate", "--baseline", old, "--candidate", old, "--margin", "10").exit_code == 0


@pytest.fixture(scope="module", params=KNOWN)
def trainings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Two ingested runs of one policy on the same initial states, as of two trainings."""
    return twice(REAL / request.param, tmp_path_factory.mktemp("trainings"))


@pytest.fixture(scope="module", params=UNKNOWN)
def strangers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """The same, of a tool that does not say which initial states they had."""
    return twice(REAL / request.param, tmp_path_factory.mktemp("strangers"))


def twice(source: Path, folder: Path) -> list[Path]:
    """Ingest a file, and a copy in which the first success is none."""
    text = source.read_text()
    other = folder / f"other-{source.name}"
    other.write_text(re.sub(r'("success(?:es)?": \[?\s*)true', r"\1false", text, count=1))
    assert other.read_text() != text
    runs = []
    for file in (source, other):
        runs.append(folder / f"{file.stem}.jsonl")
        assert vlabench("ingest", file, "--out", runs[-1]).exit_code == 0
    return runs


@pytest.mark.parametrize(
    "command",
    [
        "show {a} {b}",
        "compare {a} {b}",
        "compare {a} {b} --unpaired",
        "gate --baseline {a} --candidate {b} --margin 50",
        "stability {a}",
        "stability {a} {b}",
        "stability {a} {b} --against {b} {a}",
        "profile {a} {b}",
        "profile one={a} other={b}",
        "report {a} {b} --formats md --out {out}",
        "report one={a} other={b} --formats md --out {out}",
        "report both={a} both={b} --formats md --out {out}",
    ],
)
def test_every_command_that_reads_runs_takes_ingested_ones(
    command: str, trainings: list[Path], tmp_path: Path
) -> None:
    a, b = trainings
    done = vlabench(*command.format(a=a, b=b, out=tmp_path / "report").split())
    assert done.exit_code == 0, (done.output, done.exception)


@pytest.mark.parametrize(
    "command",
    [
        "show {a} {b}",
        "compare {a} {b} --unpaired",
        "gate --baseline {a} --candidate {b} --margin 90 --unpaired",
        "profile {a}",
        "report one={a} other={b} --formats md --unpaired --out {out}",
        "report both={a} both={b} --formats md --unpaired --out {out}",
    ],
)
def test_those_whose_initial_states_are_unknown_only_where_that_does_not_matter(
    command: str, strangers: list[Path], tmp_path: Path
) -> None:
    a, b = strangers
    words = [*command.format(a=a, b=b, out=tmp_path / "report").split(), "--on-error", "exclude"]
    done = vlabench(*(words[:-2] if "show" in command else words))
    assert done.exit_code == 0, (done.output, done.exception)


def test_ingested_runs_read_into_one_frame_whichever_tool_they_are_of(
    trainings: list[Path], strangers: list[Path]
) -> None:
    paths = [*trainings, *strangers]
    assert len(read_frame(paths)) == sum(len(read_run(path).episodes) for path in paths)


def test_runs_of_unknown_policies_are_no_trainings_of_one_until_a_name_says_so(
    trainings: list[Path], tmp_path: Path
) -> None:
    a, b = trainings
    found = vlabench("profile", a, b).stdout
    for run in (a, b):
        assert f"unknown ({run.stem}): 1 run x" in found
    assert "both: 2 runs x" in vlabench("profile", f"both={a}", f"both={b}").stdout
    moved = tmp_path / a.name
    moved.write_bytes(b.read_bytes())
    found = vlabench("profile", a, moved).stdout
    for place in (1, 2):
        assert f"unknown ({a.stem} #{place}): 1 run x" in found


@pytest.mark.parametrize(
    "command",
    ["stability {a} {b}", "profile x={a} x={b}", "report both={a} both={b} --out {out}"],
)
def test_one_file_ingested_twice_is_one_training(command: str, tmp_path: Path) -> None:
    source = REAL / KNOWN[0]
    copy = tmp_path / "renamed.json"
    copy.write_bytes(source.read_bytes())
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for file, out in ((source, a), (copy, b)):
        assert vlabench("ingest", file, "--out", out).exit_code == 0
    done = vlabench(*command.format(a=a, b=b, out=tmp_path / "report").split())
    assert "files" in str(done.exception)
    assert not (tmp_path / "report").exists()


def test_what_was_planned_elsewhere_is_not_made_up(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    text = vlabench("ingest", DATA / "openvla.txt", "--out", path).stdout
    assert "this run has 2 to 3 episodes a task, and does not say how many were planned" in text
    notes = vlabench("compare", path, path, "--on-error", "exclude").stdout
    assert "(run) #1 has 2 to 3 episodes a task" in notes
    assert "not finished" not in notes
    assert "planned" not in path.read_text()


def test_without_known_states_it_takes_a_word(tmp_path: Path) -> None:
    lerobot = DATA / "lerobot_new.json"
    other = tmp_path / "other.json"
    other.write_text(lerobot.read_text().replace("true", "false", 1))
    for source in (lerobot, other):
        vlabench("ingest", source, "--out", tmp_path / f"{source.stem}.jsonl")
    paths = [tmp_path / "lerobot_new.jsonl", tmp_path / "other.jsonl"]
    done = vlabench("compare", *paths)
    assert done.exit_code == 2
    assert "say --unpaired" in done.stdout
    assert vlabench("compare", *paths, "--unpaired").exit_code == 0


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    assert vlabench("ingest", DATA / "openvla.txt", "--out", path).exit_code == 0
    before = path.read_bytes()
    again = vlabench("ingest", DATA / "lerobot_new.json", "--out", path)
    assert again.exit_code != 0
    assert "exists; records are never overwritten" in str(again.exception)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    paths = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for path in paths:
        done = vlabench("ingest", DATA / "vla_eval_aggregate.json", "--json", "--out", path)
        assert json.loads(done.stdout)["header"]["ingested"]["format"] == "vla-eval"
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_where_initial_states_are_unknown_nobody_is_told_to_repeat_them(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    assert vlabench("ingest", REAL / UNKNOWN[0], "--out", path).exit_code == 0
    said = vlabench("stability", path).stdout
    assert "unknown: the file does not say which episodes had one initial state" in said
    assert "--repeats" not in said


def test_thousands_of_tasks_are_a_short_summary_with_their_groups_first(tmp_path: Path) -> None:
    source, out = tmp_path / "many.csv", tmp_path / "run.jsonl"
    rows = [f"s,t{n},{'light' if n % 2 else 'dark'},{n % 3 > 0}" for n in range(1000)]
    source.write_text("\n".join(["suite,task,category,success", *rows]))
    lines = vlabench("ingest", source, "--out", out).stdout.splitlines()
    assert len(lines) < 15
    assert [line.split()[:2] for line in lines[3:5]] == [
        ["category:", "dark"],
        ["category:", "light"],
    ]
    assert f"1000 tasks: vlabench show --tasks {out}" in lines
    assert len(vlabench("show", "--tasks", out).stdout.splitlines()) > 1000
    groups = json.loads(vlabench("show", "--json", out).stdout)["groups"]
    assert groups["category: dark"]["success_rate"]["n"] == 500


def test_a_mapping_and_patterns_are_said_by_options(tmp_path: Path) -> None:
    rows, log = tmp_path / "rows.csv", tmp_path / "run.log"
    rows.write_text("robot,k,done\na,0,1\na,1,0\n")
    log.write_text("a 0 won\na 1 lost\n")
    commands = (
        [rows, "--map", "task=robot,init=k", "--map", "success=done"],
        [log, "--pattern", r"(?P<task>a) (?P<init>\d) ((?P<success>won)|(?P<failure>lost))"],
    )
    for place, command in enumerate(commands):
        out = tmp_path / f"{place}.jsonl"
        done = vlabench("ingest", *command, "--out", out)
        assert done.exit_code == 0, done.output
        assert [r.outcome.value for r in read_run(out).episodes] == ["success", "failure"]


def test_nothing_is_written_of_what_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "x.csv"
    source.write_text("task,success\na,1\na,perhaps\n")
    done = vlabench("ingest", source, "--out", tmp_path / "out" / "run.jsonl")
    assert "line 3: success is 'perhaps'" in str(done.exception)
    assert list(tmp_path.iterdir()) == [source]
