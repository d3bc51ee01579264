"""The page on coverage is what the code computes, and no interval in use breaks its promise."""

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


def test_every_interval_in_use_covers_93_5_percent_at_least() -> None:
    used = [row for row in ROWS if not row[0].startswith("*")]
    assert len({row[0] for row in used}) == 10
    assert len(used) > 60
    assert [row for row in used if float(row[3].removesuffix("%")) < 93.5] == []


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


@pytest.mark.parametrize("new", [False, True])
def test_simulated_cells_are_about_the_same_again(new: bool) -> None:
    about = "new tasks" if new else "these tasks"
    for kind, rates in (("rate", (0.5,)), ("difference", (0.5, 0.55))):
        coverage, _ = SCRIPT[f"suite_{kind}"](50, *rates, new=new, draws=1000)
        text = ", ".join(f"{p:.0%}" for p in rates)
        (row,) = (r for r in ROWS if r[:3] == [f"suite {kind}, {about}", "50", text])
        assert 100 * coverage == pytest.approx(float(row[3].removesuffix("%")), abs=2.5)
