"""The guard: a fall is measured on the log and told with what luck explains of it."""

from pathlib import Path

import pytest

from vlabench_baselines.common.guard import fall_of


def log(path: Path, successes: str, n: int = 100) -> Path:
    rows = [f"{i},{s},{n if s else ''}" for i, s in enumerate(successes.split())]
    path.write_text("iteration,success,success_n\n" + "\n".join(rows).replace("-", "") + "\n")
    return path


def test_a_collapse_is_told_as_one(tmp_path: Path) -> None:
    fall = fall_of(log(tmp_path / "log.csv", "0.5 - 0.8 0.1 0.3"))
    assert fall.notes["worst_fall"] == pytest.approx(0.7)
    assert fall.notes["fall_by_luck"] < 0.7
    assert "fell by 70.0 points from its best so far (it collapsed: up to" in fall.told
    assert fall.told.endswith("and ended at 30.0%")


def test_a_fall_as_luck_makes_it_is_told_to_be_one(tmp_path: Path) -> None:
    fall = fall_of(log(tmp_path / "log.csv", "0.50 0.52 0.48 0.51", n=20))
    assert fall.notes["worst_fall"] == pytest.approx(0.04)
    assert fall.notes["fall_by_luck"] > 0.04
    assert "(no more than luck explains: up to" in fall.told


def test_nothing_is_told_of_what_never_fell_or_was_tried_out_once(tmp_path: Path) -> None:
    assert fall_of(log(tmp_path / "log.csv", "0.5 - 0.5 0.8")).told == ""
    assert fall_of(log(tmp_path / "log.csv", "0.5 - -")) == ("", {})
