"""The command that says how fast: bench."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from vlabench.cli.options import Json
from vlabench.cli.output import print_json

if TYPE_CHECKING:
    from vlabench.measurement import Measurement
    from vlabench.suite import Suite

Suites = Annotated[
    list[str] | None,
    typer.Option(
        "--suite",
        help="Only this suite; again for more. [default: every one that is installed]",
        metavar="ID",
        show_default=False,
    ),
]
Rounds = Annotated[
    int, typer.Option("--rounds", min=1, help="How often all is done; more is steadier.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench")(bench)


def bench(suite: Suites = None, rounds: Rounds = 1, as_json: Json = False) -> None:
    """Measure simulators' own loops and vlabench in turn; exit 1 if bits differ."""
    from vlabench.cli.tables import print_rows

    reports: list[tuple[Suite, list[Measurement]]] = []
    for each in _measurable(suite):
        measurements: list[Measurement] = []
        reports.append((each, measurements))
        assert each.bench is not None, "those without were left out"
        for measurement in each.bench(rounds, _say):
            measurements.append(measurement)
            _say(f"{each.id}: {measurement.work}: {measurement.ratio:.2f} x")
    if as_json:
        print_json([_report(each, found) for each, found in reports])
    else:
        print_rows([_row(each, found) for each, all_found in reports for found in all_found])
    if any(found.equal is False for _, all_found in reports for found in all_found):
        _say("NOT EQUAL: something that must give the same bits did not; see the table")
        raise typer.Exit(1)


def _measurable(asked: Sequence[str] | None) -> "list[Suite]":
    """Return the suites to measure; those that share a measurement once."""
    from vlabench.errors import VlabenchError
    from vlabench.registry import load_suite, require_packages, suite_ids

    chosen = [load_suite(suite_id) for suite_id in asked or suite_ids()]
    if asked:
        for suite in chosen:
            require_packages(suite)
            if suite.bench is None:
                raise VlabenchError(
                    f"suite {suite.id!r} has nothing to measure: no simulator's own loop to be "
                    "held against"
                )
    found = {suite.bench: suite for suite in reversed(chosen) if suite.bench and _installed(suite)}
    if not found:
        raise VlabenchError("no installed suite has anything to measure; see: vlabench doctor")
    return list(reversed(found.values()))


def _installed(suite: "Suite") -> bool:
    return all(find_spec(package) is not None for package, _ in suite.packages)


def _row(suite: "Suite", found: "Measurement") -> dict[str, object]:
    equal = {True: "yes", False: "NO", None: "not meant to be"}[found.equal]
    total = sum(seconds for _, seconds in found.parts)
    parts = ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in found.parts if total)
    return {
        "work": f"{suite.id}: {found.work}",
        "reference": f"{found.reference:.4g} {found.unit}",
        "vlabench": f"{found.vlabench:.4g} {found.unit}",
        "ratio": f"{found.ratio:.2f}",
        "equal": equal if found.unit == "s" else "-",
        "where the time goes": parts or "-",
    }


def _report(suite: "Suite", measurements: "Sequence[Measurement]") -> dict[str, object]:
    from dataclasses import asdict

    from vlabench.errors import DrawingError
    from vlabench.provenance import provenance

    try:
        gl = suite.drawing() if suite.drawing else "none"
    except DrawingError:
        gl = "none"  # then nothing was drawn
    return {
        "suite": suite.id,
        "provenance": asdict(provenance(suite, workers=1, gl=gl)),
        "measurements": [
            {**asdict(each), "ratios": dict(each.ratios), "parts": dict(each.parts)}
            for each in measurements
        ],
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
