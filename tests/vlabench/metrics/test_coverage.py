"""The page on coverage is what the code computes, and no interval in use breaks its promise."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "coverage"), run_name="script")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "coverage.md").read_text().splitlines()
    if line.startswith("| ") and line.endswith(" |") and "%" in line
]

BELOW = [[f"{parameter}, runs", "100", "0.3 N^-1 + 0.02, 6 points"] for parameter in ("b", "c")]
"""The page says so, and why; their standard error is 0.8 points."""


def test_every_interval_in_use_covers_93_5_percent_at_least() -> None:
    used = [row for row in ROWS if not row[0].startswith("*")]
    assert len({row[0] for row in used}) == 42
    assert len(used) > 400
    low = [row for row in used if float(row[3].removesuffix("%")) < 93.5]
    assert [row[:3] for row in low] == BELOW
    assert all(float(row[3].removesuffix("%")) > 93 for row in low)


def test_what_is_not_used_is_not_used_for_a_reason() -> None:
    plain = [row for row in ROWS if row[0] == "*plain Wilson, not used*"]
    assert min(float(row[3].removesuffix("%")) for row in plain) < 93.5


@pytest.mark.parametrize(
    ("name", "function", "n", "rates"),
    [
        ("Wilson, one task", "one_rate", 10, (0.98,)),
        ("Wilson, one task", "one_rate", 500, (0.02,)),
        ("Tango, one task, pairs", "pairs", 50, (0.5, 0.55)),
        ("Newcombe, one task, unpaired", "two_rates", 50, (0.98, 0.93)),
    ],
)
def test_exact_cells_are_computed_again(
    name: str, function: str, n: int, rates: tuple[float, ...]
) -> None:
    first = (SCRIPT["edged_wilson"],) if function == "one_rate" else ()
    coverage, width = SCRIPT[function](*first, n, *rates)
    rate = ", ".join(f"{p:.0%}" for p in rates)
    assert [name, str(n), rate, f"{coverage:.1%}", f"{width:.3f}"] in ROWS


def test_the_best_of_several_is_covered_as_the_page_says() -> None:
    coverage, width = SCRIPT["best_of"](50, 0.5, 4, 8)
    row = ["best of as many", "50", "50%, 4 of 8 repeats", f"{coverage:.1%}", f"{width:.3f}"]
    assert row in ROWS


@pytest.mark.parametrize("new", [False, True])
def test_simulated_cells_are_about_the_same_again(new: bool) -> None:
    about = "new tasks" if new else "these tasks"
    for kind, rates in (("rate", (0.5,)), ("difference", (0.5, 0.55))):
        coverage, _ = SCRIPT[f"suite_{kind}"](50, *rates, new=new, draws=1000)
        text = ", ".join(f"{p:.0%}" for p in rates)
        (row,) = (r for r in ROWS if r[:3] == [f"suite {kind}, {about}", "50", text])
        assert 100 * coverage == pytest.approx(float(row[3].removesuffix("%")), abs=2.5)


@pytest.mark.parametrize(
    ("part", "design"),
    [
        ("of_trainings", ("Trainings", 3, 10, 2, 0.9, 0.01)),
        ("of_differences", ("Trainings", 3, 50, 1, 0.9, 0.01)),
        ("of_curves", ("Trained", 3, 50, 0.9, 0.1)),
        ("of_axis", ("Axis", 6, 10, (0.3, 1.0, 0.02))),
    ],
)
def test_cells_of_stability_and_scaling_are_about_the_same_again(
    part: str, design: tuple[Any, ...]
) -> None:
    kind, *sizes = design
    cells = list(SCRIPT[part](SCRIPT[kind](*sizes), evaluations=60))
    assert len(cells) >= 2
    for cell in cells:
        (row,) = (r for r in ROWS if r[:3] == [cell.interval, str(cell.n), cell.rate])
        assert 100 * cell.coverage == pytest.approx(float(row[3].removesuffix("%")), abs=10)
        if row[4] != "-":  # some ratio is infinite
            assert cell.width == pytest.approx(float(row[4]), rel=0.3)


def test_the_page_has_one_section_for_each_part_of_the_script() -> None:
    sections = re.split(r"(?=\n## )", (ROOT / "docs" / "coverage.md").read_text())
    titles = [section.splitlines()[1].lower() for section in sections[1:]]
    assert len(sections) == len(SCRIPT["PARTS"])
    assert titles[1:] == ["## stability", "## scaling"]
