"""`docs/record.schema.json` describes the lines that runs write."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from vlabench import Outcome, RunWriter, SerialRunner, prepare

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "record.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    path = tmp_path_factory.mktemp("run") / "run.jsonl"
    evaluation = prepare("point-reach", "random", request={"episodes": 2})
    found = [record for _, record in evaluation.run(SerialRunner(), path) if record is not None]
    broken = replace(found[0], outcome=Outcome.ERROR, error="boom", trace=None, progress=None)
    broken = replace(broken, episode=replace(broken.episode, repeat=7))
    with RunWriter(path, evaluation.header) as writer:  # also writes a line `resumed`
        writer.write(broken)
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_schema_is_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_every_line_of_a_run_is_described(rows: list[dict[str, Any]]) -> None:
    assert {row["kind"] for row in rows} == {"header", "episode", "resumed"}
    for row in rows:
        VALIDATOR.validate(row)


def test_a_line_with_a_field_too_many_or_too_few_is_not(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert not VALIDATOR.is_valid({**row, "surprise": 1})
        for name in row.keys() - {"progress", "planned"}:
            assert not VALIDATOR.is_valid({k: v for k, v in row.items() if k != name}), name


def test_progress_is_optional_and_a_share_and_1_for_a_success(rows: list[dict[str, Any]]) -> None:
    failure = next(row for row in rows if row.get("outcome") == "failure")
    error = next(row for row in rows if row.get("outcome") == "error")
    assert 0 <= failure["progress"] < 1
    assert VALIDATOR.is_valid({k: v for k, v in failure.items() if k != "progress"})
    for strange in (-0.1, 1.1, "half", None):
        assert not VALIDATOR.is_valid({**failure, "progress": strange})
    success = {**failure, "outcome": "success"}
    assert VALIDATOR.is_valid({**success, "progress": 1.0})
    assert not VALIDATOR.is_valid({**success, "progress": 0.5})
    assert not VALIDATOR.is_valid({**error, "progress": 0.5})


def test_a_header_says_what_was_planned_and_an_older_one_does_not(
    rows: list[dict[str, Any]],
) -> None:
    header = rows[0]
    assert header["planned"] == {"point-reach/left": 2, "point-reach/right": 2}
    assert VALIDATOR.is_valid({k: v for k, v in header.items() if k != "planned"})
    for strange in ({}, None, 4, ["point-reach/left"], {"t": 0}, {"t": "2"}, {"t": None}):
        assert not VALIDATOR.is_valid({**header, "planned": strange})


def test_an_error_without_a_text_is_not(rows: list[dict[str, Any]]) -> None:
    error = next(row for row in rows if row.get("outcome") == "error")
    assert not VALIDATOR.is_valid({**error, "error": None})
    assert not VALIDATOR.is_valid({**error, "outcome": "failure"})
