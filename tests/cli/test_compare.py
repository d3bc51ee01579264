"""From two run files to a decision in one command."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from vlabench.cli import app

ROOT = Path(__file__).parents[2]
EXPERT = next((ROOT / "results/metaworld/metaworld-expert").glob("*.jsonl"))
RANDOM = next((ROOT / "results/libero/random").glob("*.jsonl"))


def vlabench(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def altered(source: Path, path: Path, policy: str, outcomes: dict[str, str], every: int) -> Path:
    """A copy of a run in which every so many episodes went another way and came out otherwise."""
    header, *lines = source.read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows[::every]:
        row["outcome"] = outcomes.get(row["outcome"], row["outcome"])
        row["trace"] = row["trace"] and row["trace"] | {"digest": policy[:4].encode().hex() * 4}
        row["error"] = "it broke" if row["outcome"] == "error" else None
    head = {**json.loads(header), "policy_id": policy}
    path.write_text("".join(json.dumps(row) + "\n" for row in [head, *rows]))
    return path


@pytest.fixture
def worse(tmp_path: Path) -> Path:
    return altered(EXPERT, tmp_path / "worse.jsonl", "clumsy", {"success": "failure"}, 10)


def test_the_first_line_is_the_verdict_with_its_numbers(worse: Path) -> None:
    done = vlabench("compare", EXPERT, worse)
    assert done.exit_code == 0
    first, *rest = done.stdout.splitlines()
    assert first.startswith("clumsy is WORSE than metaworld-expert by ")
    assert "n = 500 pairs, p < 0.001" in first
    text = "\n".join(rest)
    assert "metaworld/assembly-v3" in text
    assert "all, new tasks like these" in text
    assert "decided by: stratified Tango 95%" in text
    assert vlabench("compare", worse, EXPERT).stdout.startswith("metaworld-expert is BETTER than")


def test_a_run_is_equivalent_to_itself() -> None:
    done = vlabench("compare", EXPERT, EXPERT, "--margin", "1")
    assert done.exit_code == 0
    assert " is EQUIVALENT to " in done.stdout.splitlines()[0]


def test_too_few_episodes_say_how_many_are_needed(tmp_path: Path) -> None:
    other = altered(RANDOM, tmp_path / "other.jsonl", "lucky", {"failure": "success"}, 20)
    done = vlabench("compare", RANDOM, other)
    assert done.exit_code == 0
    assert done.stdout.startswith("UNDERPOWERED: lucky less random is 5.0 points [")
    assert "pairs would tell 3 points from 0 with 80 % power" in done.stdout


def test_runs_of_different_suites_are_not_comparable() -> None:
    for more in ([], ["--unpaired"]):
        done = vlabench("compare", EXPERT, RANDOM, *more)
        assert done.exit_code == 2
        assert done.stdout.startswith(
            "random and metaworld-expert are NOT COMPARABLE: suites differ"
        )


def test_errors_need_a_word(tmp_path: Path) -> None:
    broken = altered(EXPERT, tmp_path / "broken.jsonl", "fragile", {"success": "error"}, 50)
    assert vlabench("compare", EXPERT, broken).exit_code == 2
    done = vlabench("compare", EXPERT, broken, "--on-error", "exclude")
    assert done.exit_code == 0
    assert "n = 490 pairs" in done.stdout
    told = "10 of 500 of fragile; counted against fragile the difference would be -2.0 points"
    assert f"note: episodes that broke are left out, {told}" in done.stdout
    done = vlabench("compare", EXPERT, broken, "--on-error", "as-failure")
    assert f"note: episodes that broke count as failures, {told}" in done.stdout


def test_what_errors_leave_open_is_told_of_many_runs_too(worse: Path, tmp_path: Path) -> None:
    broken = altered(EXPERT, tmp_path / "broken.jsonl", "fragile", {"success": "error"}, 50)
    done = vlabench("compare", EXPERT, worse, broken, "--on-error", "exclude")
    assert done.exit_code == 0
    assert "left out, 10 of 500 of fragile; counted against fragile the" in done.stdout


def test_several_files_of_one_name_are_trainings_of_one_method(worse: Path, tmp_path: Path) -> None:
    again = altered(EXPERT, tmp_path / "again.jsonl", "again", {"success": "failure"}, 4)
    done = vlabench("compare", f"mine={worse}", f"mine={again}", f"theirs={EXPERT}")
    assert done.exit_code == 0
    first, *rest = done.stdout.splitlines()
    assert first.startswith(
        "UNDERPOWERED: theirs less mine is 17."
    )  # two seeds say hardly anything
    assert "1 and 2 trainings, n = 500 initial states, p = 0." in first
    assert "about the methods; more trainings would tell more" in first
    for about in ("trainings like these", "these checkpoints", "new tasks like these"):
        assert any(f"all, {about}" in line for line in rest)


def test_a_folder_is_all_its_runs(worse: Path, tmp_path: Path) -> None:
    again = altered(EXPERT, tmp_path / "again.jsonl", "again", {"success": "failure"}, 4)
    theirs = f"theirs={EXPERT}"
    named = vlabench("compare", f"mine={tmp_path}", theirs)
    assert named.exit_code == 0
    each = vlabench("compare", f"mine={again}", f"mine={worse}", theirs)
    assert named.stdout == each.stdout
    assert vlabench("compare", tmp_path).stdout == vlabench("compare", again, worse).stdout
    nothing = vlabench("compare", tmp_path / "nowhere", EXPERT)
    assert str(nothing.exception) == f"{tmp_path / 'nowhere'} is no file and no folder"


def test_one_training_twice_or_one_method_alone_is_refused(worse: Path) -> None:
    done = vlabench("compare", f"mine={worse}", f"mine={worse}", EXPERT)
    assert done.exit_code == 2
    assert "mine has one training twice; give one run for each training" in done.stdout
    done = vlabench("compare", f"mine={worse}", f"mine={EXPERT}")
    assert done.exit_code == 2
    assert "found mine alone, which cannot be compared; expected two runs" in done.stderr


def test_many_runs_get_letters(worse: Path, tmp_path: Path) -> None:
    alike = altered(EXPERT, tmp_path / "alike.jsonl", "alike", {}, 1)
    done = vlabench("compare", EXPERT, worse, alike)
    assert done.exit_code == 0
    assert done.stdout.startswith("best: metaworld-expert, 98.4% [")
    assert "not told apart from alike" in done.stdout.splitlines()[0]
    assert "clumsy is WORSE than metaworld-expert" in done.stdout


def test_json_holds_all_of_it(worse: Path) -> None:
    found = json.loads(vlabench("compare", EXPERT, worse, "--json").stdout)
    (comparison,) = found["comparisons"]
    assert comparison["verdict"] == "WORSE"
    assert comparison["evidence"]["difference"]["n"] == 500
    assert len(comparison["evidence"]["tasks"]) == 50
    assert found["letters"] == {"metaworld-expert": "a", "clumsy": "b"}


def test_what_makes_no_sense_is_refused() -> None:
    assert vlabench("compare", EXPERT).exit_code == 2
    assert vlabench("compare", EXPERT, EXPERT, "--margin", "0").exit_code == 2
    assert vlabench("compare", EXPERT, EXPERT, "--margin", "300").exit_code == 2


def test_power_says_how_many_episodes() -> None:
    done = vlabench("power", "--rate", "95", "--effect", "-5", "--episodes", "400")
    assert done.exit_code == 0
    assert done.stdout.startswith("463 episodes of each run, the same ones, tell 90.0% from 95.0%")
    assert "435 without pairs" in done.stdout.splitlines()[0]
    found = json.loads(vlabench("power", "--rate", "90", "--discordance", "10", "--json").stdout)
    assert [need["discordance"] for need in found["needs"]] == [0.1, None]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rate", "0.9"], "did you mean 90?"),
        (["--rate", "99"], "impossible"),
        (["--rate", "90", "--discordance", "3"], "one alone succeeds less often"),
        (["--rate", "90", "--effect", "0"], "infinitely many"),
    ],
)
def test_impossible_questions_are_refused(arguments: list[str], message: str) -> None:
    done = vlabench("power", *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


def test_show_answers_both_questions_about_a_suite() -> None:
    text = vlabench("show", EXPERT).stdout
    assert "mean over tasks, these tasks: 98.4% [96.9%, 99.2%] of n = 500" in text
    assert "mean over tasks, new tasks like these: 98.4% [" in text
    shown = json.loads(vlabench("show", EXPERT, "--json").stdout)
    assert set(shown["suite"]) == {"these tasks", "new tasks like these"}


@pytest.fixture
def many(tmp_path: Path) -> tuple[Path, Path]:
    """Two ingested runs of 150 tasks, one episode each, in two categories; one gains five."""
    paths = []
    for name, gained in (("old", 0), ("new", 5)):
        rows = ["task,success,category"]
        for task in range(150):
            success = task % 3 == 0 or (task % 3 == 1 and task < 3 * gained)
            rows.append(f"t{task},{int(success)},{'camera' if task < 90 else 'light'}")
        source, path = tmp_path / f"{name}.csv", tmp_path / f"{name}.jsonl"
        source.write_text("\n".join(rows) + "\n")
        done = vlabench(
            "ingest", source, "--out", path, "--policy", name, "--map", "group=category"
        )
        assert done.exit_code == 0, done.output
        paths.append(path)
    return paths[0], paths[1]


def test_of_many_tasks_groups_come_first_and_tasks_on_request(many: tuple[Path, Path]) -> None:
    done = vlabench("compare", *many)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[2:4]] == ["category: camera", "category: light"]
    assert not any(re.match(r"\S*t\d+ ", line) for line in lines)
    assert "150 tasks, of which after Holm none alone differs; --tasks lists them" in lines
    assert len(lines) < 25
    listed = vlabench("compare", *many, "--tasks").stdout.splitlines()
    assert sum(bool(re.match(r"\S*t\d+ ", line)) for line in listed) == 150
    assert [line.split("  ")[0] for line in listed[2:4]] == ["category: camera", "category: light"]
    found = json.loads(vlabench("compare", *many, "--json").stdout)["comparisons"][0]["evidence"]
    assert len(found["tasks"]) == 150
    gained = [t["name"].rpartition("/")[2] for t in found["tasks"] if t["states"]["better"]]
    assert sorted(gained) == ["t1", "t10", "t13", "t4", "t7"]
