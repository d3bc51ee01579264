"""`vlabench bench`: what it prints, and what it says when there is nothing to measure."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from vlabench import Suite, load_suite
from vlabench.cli import app, benching
from vlabench.errors import VlabenchError
from vlabench.measurement import Comparison, Measurement, Say


def made_suite(*, equal: bool) -> Suite:
    def bench(rounds: int, say: Say) -> Iterator[Measurement]:
        say("half-way")
        stepping = Comparison("steps")
        for number in range(rounds):
            stepping.add("a/0", 4.0 + number, 1.0, equal=equal)
            stepping.add("a/1", 9.0, 9.0)
        stepping.spend(physics=3.0, goal=1.0)
        yield stepping.measurement()
        training = Comparison("training", exact=False)
        training.add("a/0", 2.0, 1.0, equal=False)
        yield training.measurement()

    return replace(load_suite("point-reach"), bench=bench)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benching, "_measurable", lambda asked: [made_suite(equal=True)])


@pytest.mark.usefixtures("only")
def test_the_table_has_ratio_equality_and_parts() -> None:
    done = CliRunner().invoke(app, ["bench"])
    assert done.exit_code == 0, done.output
    steps, training = done.stdout.splitlines()[-2:]
    cells = "point-reach: steps 13 s 10 s 2.00 yes physics 75%, goal 25%"
    assert steps.split() == cells.split()
    assert "not meant to be" in training
    assert "half-way" in done.stderr


@pytest.mark.usefixtures("only")
def test_json_has_every_task_and_where_it_was_measured() -> None:
    done = CliRunner().invoke(app, ["bench", "--rounds", "2", "--json"])
    (report,) = json.loads(done.stdout)
    steps = report["measurements"][0]
    assert steps["ratios"] == {"a/0": 4.5, "a/1": 1.0}
    assert steps["equal"] is True
    assert steps["parts"] == {"physics": 3.0, "goal": 1.0}
    assert report["provenance"]["python"]


def test_bits_that_differ_are_exit_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benching, "_measurable", lambda asked: [made_suite(equal=False)])
    done = CliRunner().invoke(app, ["bench"])
    assert done.exit_code == 1
    assert "NOT EQUAL" in done.stderr


def test_a_suite_without_a_simulator_of_its_own_has_nothing_to_measure() -> None:
    done = CliRunner().invoke(app, ["bench", "--suite", "point-reach"])
    assert isinstance(done.exception, VlabenchError)  # `main` prints it and exits with 2
    assert "nothing to measure" in str(done.exception)
    assert "\n" not in str(done.exception)


def test_groups_of_one_simulator_are_measured_once() -> None:
    asked = ["libero", "libero-goal", "libero-10"]
    pytest.importorskip("libero")
    assert [suite.id for suite in benching._measurable(asked)] == ["libero"]


def test_a_comparison_is_the_geometric_mean_over_tasks_of_the_median_over_turns() -> None:
    work = Comparison("steps")
    for seconds in (8.0, 1.0, 80.0):
        work.add("a", seconds, 1.0)
    work.add("b", 2.0, 1.0)
    found = work.measurement()
    assert found.ratio == pytest.approx(4.0)
    assert (found.reference, found.vlabench) == (91.0, 4.0)
