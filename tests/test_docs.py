"""What the documentation says of the commands and of the measurements is true."""

import json
from pathlib import Path

from typer.main import get_command

from vlabench.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_every_command_is_in_the_readme() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert commands
    assert [name for name in commands if f"vlabench {name}" not in README] == []


def test_the_table_of_speeds_is_that_of_the_committed_measurement() -> None:
    table = (ROOT / "docs" / "bench.md").read_text()
    for suite in json.loads((ROOT / "docs" / "bench.json").read_text()):
        assert suite["provenance"]["dirty"] is False
        for row in suite["measurements"]:
            assert row["equal"] is not False
            line = next(line for line in table.splitlines() if row["work"] in line)
            assert f"| {row['ratio']:.2f} |" in line


def test_the_table_of_results_is_that_of_the_committed_report() -> None:
    report = (ROOT / "reports" / "report.md").read_text()
    table = README.partition("<!-- from reports/report.md")[2].partition("![")[0].splitlines()
    rows = [line for line in table if line.startswith("|")]
    assert len(rows) > 5
    assert "\n".join(rows) in report
    for name in ("reports/figures/paper-vla-rl-table-1.png", "reports/report.html"):
        assert name in README
        assert (ROOT / name).is_file()


def test_committed_runs_come_from_committed_code() -> None:
    from vlabench import read_run

    runs = [read_run(path) for path in sorted((ROOT / "results").rglob("*.jsonl"))]
    assert runs
    for run in runs:
        assert run.header.provenance.commit
        assert not run.header.provenance.dirty
        assert run.header.fingerprint.mismatches == ()
        assert len(run.episodes) > 0
