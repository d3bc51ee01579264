"""Published numbers are those of their sources, and no more is said of them than their n allows."""

import re
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from vlabench.metrics.estimate import THESE_TASKS, Estimate
from vlabench.reports.model import Column, Table
from vlabench.reports.published import (
    Agreement,
    PublishedError,
    PublishedRow,
    estimate_of,
    find_published,
    read_published,
    replication,
    rows_of,
)
from vlabench.reports.requests import read_report_file

ROOT = Path(__file__).parents[3]
FOLDER, REPORT = ROOT / "results" / "published", ROOT / "reports" / "report.toml"
TABLES = find_published(FOLDER)
SUITES = ("Spatial", "Object", "Goal", "Long", "Average")
ONE_VIEW, OTHER = "LIBERO, OpenVLA-7B, one view", "LIBERO, other bases or rules"

FILE = """
title = "A table"
source = "A paper, Table 1"
protocol = "100 steps"
protocol_id = "openvla@1"
columns = ["Left", "Right", "Average"]
averages = { Average = ["Left", "Right"] }

[[rows]]
method = "First"
base = "Base"
block = "Block"
numbers = { Left = 90.0, Right = 80.1, Average = 85.1 }
n = 100
seeds = 2
status = "read"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table.toml"


def first(path: Path, *changes: tuple[str, str]) -> PublishedRow:
    """Return the row of the file above, changed."""
    text = FILE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return read_published(path).rows[0]


def measured(value: float, n: int, low: float = 0.0, high: float = 1.0) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=n, method="Wilson 95%", question=THESE_TASKS)


# ---- what is committed is what was published


@pytest.mark.parametrize(
    ("table", "method", "numbers"),
    [
        ("vla-rl-table-1", "Diffusion Policy", (78.3, 92.5, 68.3, 50.5, 72.4)),
        ("vla-rl-table-1", "Octo", (78.9, 85.7, 84.6, 51.1, 75.1)),
        ("vla-rl-table-1", "OpenVLA", (84.7, 88.4, 79.2, 53.7, 76.5)),
        ("vla-rl-table-1", "GRAPE", (87.6, 91.2, 82.2, 55.8, 79.2)),
        ("vla-rl-table-1", "π0-FAST", (96.4, 96.8, 88.6, 60.2, 85.5)),
        ("vla-rl-table-1", "VLA-RL", (90.2, 91.8, 82.2, 59.8, 81.0)),
        ("vla-rl-table-2", "VLA-RL", (90.2,)),
        ("vla-rl-table-2", "VLA-RL without process reward model", (85.8,)),
        ("vla-rl-table-2", "VLA-RL without curriculum", (88.0,)),
        ("vla-rl-table-2", "VLA-RL, temperature 1.0", (85.8,)),
        ("vla-rl-table-2", "VLA-RL without critic warm-up", (80.0,)),
        ("vla-rl-table-2", "VLA-RL, learning rate 2e-4", (0.2,)),
        ("vla-rl-figure-4", "VLA-RL after 0 steps", (84.0, 88.0, 79.2, 54.0, 76.3)),
        ("vla-rl-figure-4", "VLA-RL after 2,500 steps", (85.6, 88.8, 80.0, 55.8, 77.6)),
        ("vla-rl-figure-4", "VLA-RL after 5,000 steps", (88.2, 90.0, 79.8, 58.0, 79.0)),
        ("vla-rl-figure-4", "VLA-RL after 7,500 steps", (88.2, 90.0, 81.6, 55.8, 78.9)),
        ("vla-rl-figure-4", "VLA-RL after 10,000 steps", (90.2, 91.8, 82.2, 59.8, 81.0)),
        ("vla-rl-figure-4", "OpenVLA (SFT line)", (84.7, 88.4, 79.2, 53.7, 76.5)),
        ("ire-vla-table-1-metaworld", "SFT", (83, 56, 48, 40, 32, 28, 51)),
        ("ire-vla-table-1-metaworld", "PPO-Replay", (69, 80, 24, 32, 4, 36, 39)),
        ("ire-vla-table-1-metaworld", "iRe-VLA", (83, 100, 84, 84, 80, 96, 80)),
        ("ire-vla-table-1-franka-kitchen", "SFT", (84, 96, 70, 86, 43, 46, 98)),
        ("ire-vla-table-1-franka-kitchen", "PPO-Replay", (48, 64, 35, 96, 12, 30, 64)),
        ("ire-vla-table-1-franka-kitchen", "iRe-VLA", (90, 98, 82, 99, 83, 99, 100)),
        ("ire-vla-figure-5", "SFT", (83, 41, 51)),
        ("ire-vla-figure-5", "iRe-VLA-freeze", (75, 79, 61)),
        ("ire-vla-figure-5", "PPO-Replay", (69, 35, 39)),
        ("ire-vla-figure-5", "iRe-VLA", (84, 89, 81)),
        ("ire-vla-figure-6", "SFT", (73, 35, 37)),
        ("ire-vla-figure-6", "iRe-VLA", (74, 80, 61)),
        ("libero-related-work", "TGRPO", (90.4, 92.2, 81.0, 59.2, 80.7)),
        ("libero-related-work", "OpenVLA-OFT", (97.6, 98.4, 97.9, 94.5, 97.1)),
        ("libero-related-work", "π0", (96.8, 98.8, 95.8, 85.2, 94.2)),
        ("libero-related-work", "SimpleVLA-RL", (99.4, 99.1, 99.2, 98.5, 99.1)),
        ("libero-related-work", "RIPT-VLA (OpenVLA-OFT)", (98.6, 98.6, 99.0, 93.8, 97.5)),
        ("libero-related-work", "RIPT-VLA (QueST)", (95.6, 98.4, 92.7, 87.5, 93.6)),
        ("libero-related-work", "πRL: π0, few-shot SFT", (65.3, 64.4, 49.8, 51.2, 57.6)),
        ("libero-related-work", "πRL (π0, Flow-Noise)", (99.0, 99.2, 98.2, 93.8, 97.6)),
        ("libero-related-work", "πRL (π0.5, Flow-SDE)", (99.6, 100.0, 98.8, 93.0, 97.9)),
        ("libero-related-work", "VLA-RFT", (94.4, 94.4, 95.4, 80.2, 91.1)),
        ("libero-related-work", "SRPO", (98.8, 100.0, 99.4, 98.6, 99.2)),
        ("libero-related-work", "π0-FPO", (97.2, 97.3, 89.4, 65.3, 87.2)),
        ("rlinf-vla-130-tasks", "RLinf-VLA: SFT", (72.18, 71.48, 64.06, 48.44, 70.97, 65.43)),
        ("rlinf-vla-130-tasks", "RLinf-VLA, GRPO", (99.4, 99.8, 98.79, 93.95, 98.59, 98.11)),
        (
            "rlinf-libero-page",
            "RLinf, GRPO (older page)",
            (98.69, 99.6, 98.09, 93.45, 98.02, 97.85),
        ),
        ("ript-vla-libero-90", "RIPT-VLA (QueST)", (94.3,)),
        ("tgrpo-v1", "TGRPO v1", (91.0,)),
        ("conrft", "ConRFT", (96.3,)),
        ("rl4vla", "RL4VLA, PPO", (93.75, 79.15)),
    ],
)
def test_numbers_are_those_of_the_source(
    table: str, method: str, numbers: tuple[float, ...]
) -> None:
    row = TABLES[table].row(method)
    assert tuple(row.numbers) == TABLES[table].columns
    assert tuple(row.numbers.values()) == numbers


def test_every_file_is_read_and_every_row_has_its_origin() -> None:
    assert set(TABLES) == {path.stem for path in FOLDER.glob("*.toml")}
    rows = [row for table in TABLES.values() for row in table.rows]
    assert len(rows) >= 60
    for row in rows:
        assert re.search(r"arXiv \d{4}\.\d{5}|@ [0-9a-f]{7}|README|paper", row.source), row.source
        assert row.status in {"read", "read off a chart", "second hand"}
        assert row.protocol


def test_charts_are_said_to_be_charts() -> None:
    for name, table in TABLES.items():
        chart = "figure" in name
        for row in table.rows:
            assert (row.status == "read off a chart") is chart, (name, row.method)


def test_ranks_are_published_of_the_five_methods_without_pi0_fast() -> None:
    table = TABLES["vla-rl-table-1"]
    assert [(row.method, row.rank) for row in table.rows] == [
        ("Diffusion Policy", 4.0),
        ("Octo", 3.5),
        ("OpenVLA", 3.5),
        ("GRAPE", 2.3),
        ("π0-FAST", None),
        ("VLA-RL", 1.5),
    ]
    assert "Average ranks in the paper are of the five methods without π0-FAST." in table.notes
    assert not [row.method for row in table.rows if "rank" in row.note]


def test_the_report_shows_every_file_but_those_that_newer_numbers_replaced() -> None:
    shown = {paper.published for paper in read_report_file(REPORT).papers}
    assert set(TABLES) - shown == {"rlinf-libero-page", "tgrpo-v1"}
    readme = (FOLDER / "README.md").read_text("utf-8")
    assert "all of them but `rlinf-libero-page` and `tgrpo-v1`" in readme


def test_files_name_no_place_that_a_reader_does_not_have() -> None:
    for path in FOLDER.iterdir():
        assert not re.search(r"shared|papers\.md|/home|/work|/tmp", path.read_text("utf-8"))


def test_the_readme_names_every_file() -> None:
    readme = (FOLDER / "README.md").read_text("utf-8")
    assert [name for name in TABLES if f"`{name}`" not in readme] == []


def test_protocols_are_ones_that_vlabench_has() -> None:
    from vlabench_suites.libero.protocols import PROTOCOLS

    named = {row.protocol_id for table in TABLES.values() for row in table.rows} - {""}
    assert named >= {"openvla@1", "openpi@1", "simplevla-rl@1"}
    assert named <= {protocol.name for protocol in PROTOCOLS}


def test_n_stands_only_where_the_source_says_it_of_that_number() -> None:
    known = {
        (name, row.method): (row.n[table.columns[0]], row.seeds)
        for name, table in TABLES.items()
        if name.startswith(("vla-rl", "ire-vla", "libero"))
        for row in table.rows
        if row.n
    }
    assert known == {
        ("vla-rl-table-1", "Diffusion Policy"): (1500, 3),
        ("vla-rl-table-1", "Octo"): (1500, 3),
        ("vla-rl-table-1", "OpenVLA"): (1500, 3),
        ("vla-rl-table-1", "VLA-RL"): (500, None),
        ("vla-rl-table-2", "VLA-RL"): (500, None),
        ("vla-rl-figure-4", "VLA-RL after 10,000 steps"): (500, None),
        ("vla-rl-figure-4", "OpenVLA (SFT line)"): (1500, 3),
    }


def test_blocks_stay_apart() -> None:
    blocks = {
        row.method: row.block
        for name in ("vla-rl-table-1", "libero-related-work")
        for row in TABLES[name].rows
    }
    together = {method for method, block in blocks.items() if block == ONE_VIEW}
    assert together == {"OpenVLA", "GRAPE", "VLA-RL", "TGRPO"}
    assert set(blocks.values()) == {ONE_VIEW, OTHER}
    for table in TABLES.values():
        groups = [row.group for row in rows_of(table, table.columns)]
        changes = sum(a != b for a, b in pairwise(groups))
        assert changes == len(set(groups)) - 1


# ---- what is broken is refused in one line


def test_a_good_file_is_read(path: Path) -> None:
    row = first(path)
    assert row == PublishedRow(
        method="First",
        base="Base",
        block="Block",
        numbers={"Left": 90.0, "Right": 80.1, "Average": 85.1},
        n={"Left": 100, "Right": 100, "Average": 200},
        seeds=2,
        rank=None,
        status="read",
        source="A paper, Table 1",
        protocol="100 steps",
        protocol_id="openvla@1",
        note="",
    )
    assert read_published(path).id == "table"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = 2", "sedes = 2", "row 'First': unknown key 'sedes'; did you mean 'seeds'?"),
        ('title = "A table"', 'titel = "A"', "unknown key 'titel'; did you mean 'title'?"),
        ('title = "A table"', 'title = ""', "title or columns is empty, expected a line and"),
        ('base = "Base"\n', "", "row 'First': base is missing; expected text"),
        ('base = "Base"\n', 'base = ""\n', "row 'First': base is empty, expected a name"),
        ('method = "First"\n', "", "row 1: method is missing; expected text"),
        ("Left = 90.0", "Left = 104", "row 'First': Left is 104, expected percent, from 0 to 100"),
        ("Left = 90.0", "Left = -1", "row 'First': Left is -1, expected percent, from 0 to 100"),
        ("Left = 90.0", "Left = nan", "row 'First': Left is nan, expected percent, from 0"),
        ("Left = 90.0, ", "", "row 'First': numbers has Right, Average, expected 'Left', too"),
        (
            "Left = 90.0",
            "Left = 90.0, Up = 1",
            "row 'First': numbers has 'Up', expected only Left, Right, Average",
        ),
        (
            "Average = 85.1",
            "Average = 85.2",
            "row 'First': Average is 85.2, expected 85.05, the mean of Left, Right; where the "
            "source has it so, say why in average_differs",
        ),
        (
            "n = 100",
            'average_differs = "why not"',
            "row 'First': average_differs is 'why not', expected no such line",
        ),
        ("n = 100", "n = 0", "row 'First': n is 0, expected 1 or more, or no such line"),
        ("seeds = 2", "seeds = 0", "row 'First': seeds is 0, expected 1 or more"),
        ("seeds = 2", "rank = 0.5", "row 'First': rank is 0.5, expected 1, the best, or more"),
        ("seeds = 2", "rank = nan", "row 'First': rank is nan, expected 1, the best, or more"),
        ("seeds = 2", "seeds = 3", "row 'First': n is 100 with 3 seeds, expected the episodes of"),
        ("n = 100", "n = 10.5", "row 'First': n is 10.5, expected a whole number"),
        (
            'status = "read"',
            'status = "seen"',
            "row 'First': status is 'seen', expected one of 'read', 'read off a chart', 'second",
        ),
        ('source = "A paper, Table 1"\n', "", "row 'First': source is missing; expected words"),
        ('protocol = "100 steps"\n', "", "row 'First': protocol is missing; expected words"),
        ('["Left", "Right"] }', '["Left", "Up"] }', "averages: 'Average' is of ['Left', 'Up']"),
        ('["Left", "Right"] }', '["Average"] }', "averages: 'Average' is of ['Average']"),
        ('["Left", "Right", "Average"]', '["Left", "Left"]', "column 'Left' is there twice"),
        (FILE[FILE.index("[[rows]]") :], "", "rows is None, expected [[rows]], one or more"),
        (FILE[FILE.index("[[rows]]") :], "rows = []", "rows is [], expected [[rows]]"),
        (
            FILE[FILE.index("[[rows]]") :],
            2 * FILE[FILE.index("[[rows]]") :],
            "row 'First' is there twice, expected each method once",
        ),
        ('title = "A table"', "title", "is not TOML: "),
    ],
)
def test_a_broken_file_is_refused_in_one_line(path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(PublishedError) as error:
        first(path, (old, new))
    text = str(error.value)
    assert text.startswith(str(path))
    assert message in text
    assert "\n" not in text.replace("\\n", "")


def test_a_file_or_folder_that_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(PublishedError, match=r"nowhere\.toml cannot be read: No such file"):
        read_published(tmp_path / "nowhere.toml")
    with pytest.raises(PublishedError, match="nowhere is not a folder; expected one with TOML"):
        find_published(tmp_path / "nowhere")


def test_an_average_that_differs_in_its_source_says_why(path: Path) -> None:
    row = first(
        path,
        ("Average = 85.1", "Average = 86.0"),
        ("n = 100", 'note = "A note"\naverage_differs = "of three columns"'),
    )
    assert row.note == "A note; of three columns"
    assert row.n == {}


def test_an_average_may_be_rounded_either_way_at_a_half(path: Path) -> None:
    for average in ("85.0", "85.1"):  # of 85.05
        assert first(path, ("Average = 85.1", f"Average = {average}"))


def test_a_row_with_rules_of_its_own_does_not_inherit_their_name(path: Path) -> None:
    row = first(path, ("n = 100", 'protocol = "200 steps"'), ("seeds = 2", 'source = "Mine"'))
    assert (row.protocol, row.protocol_id, row.source) == ("200 steps", "", "Mine")


def test_a_method_that_is_not_there_is_said_to_be() -> None:
    with pytest.raises(PublishedError, match=r"conrft: no row of 'ConRTF'; known: ConRFT"):
        TABLES["conrft"].row("ConRTF")


# ---- intervals


def test_the_interval_is_wilsons_for_the_published_n() -> None:
    # 451 of 500: centre 0.905841 / 1.007683, half 1.959964 * 0.0134400 / 1.007683
    found = estimate_of(TABLES["vla-rl-table-1"].row("VLA-RL"), "Spatial")
    assert found is not None
    assert (found.value, found.n) == (0.902, 500)
    assert found.low == pytest.approx(0.898935 - 0.026141, abs=2e-6)
    assert found.high == pytest.approx(0.898935 + 0.026141, abs=2e-6)
    assert "computed by vlabench" in found.method
    assert "independent" in found.method


def test_an_average_has_the_episodes_of_all_its_columns() -> None:
    table = TABLES["vla-rl-table-1"]
    for method, n in (("VLA-RL", 4 * 500), ("OpenVLA", 4 * 3 * 500)):
        found = estimate_of(table.row(method), "Average")
        assert found is not None
        assert found.n == n
    # 0.81 of 2000: (0.81 + 0.000960) / 1.001921 = 0.809406, less and plus 0.017187
    found = estimate_of(table.row("VLA-RL"), "Average")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.792219, 0.826593), abs=2e-6)


def test_without_n_there_is_no_interval() -> None:
    row = TABLES["ire-vla-table-1-metaworld"].row("iRe-VLA")
    assert estimate_of(row, "Unseen 10") is None
    with pytest.raises(ValueError, match="'iRe-VLA' has no column 'Unseen', only Original 25"):
        estimate_of(row, "Unseen")


# ---- replication

SAME = {"method": "First", "base": "Base", "protocol": "openvla@1"}


def test_equal_rates_of_many_episodes_replicate(path: Path) -> None:
    # Wilson for 9000 of 10000, with Student's 1.960083, is 0.9 - 0.006035 and + 0.005728: together
    # 0.008320 either way.
    row = first(path, ("n = 100", "n = 10000"))
    found = replication(row, "Left", measured(0.9, 10000, 0.89, 0.91), claims=SAME)
    assert found.verdict is Agreement.REPLICATED
    assert found.difference is not None
    assert found.difference.low == pytest.approx(-0.008320, abs=1e-6)
    assert found.difference.high == pytest.approx(0.008320, abs=1e-6)
    assert found.sentence == (
        "measured 90.0 % [89.0, 91.0] of n = 10000, published 90.0 % [89.4, 90.6] of n = 10000: "
        "+0.0 points [-0.8, +0.8]; 0 is in it, and it is within 3 points"
    )


def test_the_margin_decides_between_replicated_and_undecided(path: Path) -> None:
    row = first(path, ("n = 100", "n = 10000"))
    for margin, verdict in ((0.0083, Agreement.UNDECIDED), (0.0084, Agreement.REPLICATED)):
        found = replication(row, "Left", measured(0.9, 10000), claims=SAME, margin=margin)
        assert found.verdict is verdict


def test_the_margin_holds_on_both_sides(path: Path) -> None:
    row = first(path, ("n = 100", "n = 10000"))
    for value in (0.895, 0.905):  # half a point off, 0.8 either way: to 1.3 points on one side
        found = replication(row, "Left", measured(value, 10000), claims=SAME, margin=0.01)
        assert found.verdict is Agreement.UNDECIDED


def test_a_difference_whose_interval_leaves_out_0_differs(path: Path) -> None:
    # With Student's 1.972017, 90 of 100: 0.8251 to 0.9450; 50 of 100: 0.4033 to 0.5967.
    row = first(path)
    found = replication(row, "Left", measured(0.5, 100, 0.4, 0.6), claims=SAME)
    assert found.verdict is Agreement.DIFFERS
    assert found.difference is not None
    # -0.4 - sqrt(0.0967**2 + 0.0450**2) and -0.4 + sqrt(0.0967**2 + 0.0749**2)
    assert found.difference.low == pytest.approx(-0.5067, abs=1e-4)
    assert found.difference.high == pytest.approx(-0.2776, abs=1e-4)
    assert "-40.0 points [-50.7, -27.8]; the interval leaves out 0" in found.sentence


def test_better_than_published_differs_too(path: Path) -> None:
    row = first(path)
    found = replication(row, "Right", measured(1.0, 100), claims=SAME)
    assert found.verdict is Agreement.DIFFERS
    assert found.difference is not None
    assert found.difference.low > 0


@pytest.mark.parametrize("n", [10, 50])
def test_the_interval_of_a_difference_covers_it(path: Path, n: int) -> None:
    """Over all outcomes of two samples; the normal quantile covers 30 and 90 % with 92.8 % only."""
    row = first(path)
    intervals = np.empty((n + 1, n + 1, 2))
    for a, b in product(range(n + 1), repeat=2):
        published = replace(row, numbers={"Left": 100 * a / n}, n={"Left": n})
        gap = replication(published, "Left", measured(b / n, n), claims=SAME).difference
        assert gap is not None
        intervals[a, b] = gap.low - 1e-12, gap.high + 1e-12
    for one, other in product((0.02, 0.3, 0.5, 0.9, 0.98), repeat=2):
        weights = np.outer(*(binom.pmf(range(n + 1), n, rate) for rate in (one, other)))
        low, high = intervals[..., 0], intervals[..., 1]
        covered = weights[(low <= other - one) & (other - one <= high)].sum()
        assert round(covered, 4) >= 0.935, (one, other)


def test_few_episodes_decide_nothing(path: Path) -> None:
    found = replication(first(path), "Left", measured(0.9, 100), claims=SAME)
    assert found.verdict is Agreement.UNDECIDED
    assert "0 is in it, and more than 3 points, too" in found.sentence


def test_without_n_only_the_measured_interval_speaks(path: Path) -> None:
    row = first(path, ("n = 100", ""), ("seeds = 2", ""))
    for low, where in ((0.85, "inside"), (0.91, "outside")):
        found = replication(row, "Left", measured(0.92, 100, low, 0.95), claims=SAME)
        assert found.verdict is Agreement.UNKNOWN_N
        assert found.difference is None
        assert f"the published 90.0 % is {where} that interval" in found.sentence


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        (
            SAME | {"base": "NanoVLA"},
            "base is 'NanoVLA', published is 'Base'",
        ),
        (
            SAME | {"protocol": "openvla-fast@1"},
            "protocol is 'openvla-fast@1', published is 'openvla@1'",
        ),
        (
            {"method": "First"},
            "the run names no base, published is 'Base'; "
            "the run names no protocol, published is 'openvla@1'",
        ),
    ],
)
def test_a_run_of_something_else_is_no_replication(
    path: Path, claims: dict[str, str], reason: str
) -> None:
    found = replication(first(path), "Left", measured(0.9, 10000), claims=claims)
    assert found.verdict is Agreement.NOT_THE_SAME
    assert found.sentence == reason
    assert found.difference is None


def test_published_rules_that_vlabench_does_not_have_are_not_replicated() -> None:
    row = TABLES["ire-vla-figure-5"].row("iRe-VLA")
    claims = {"method": "iRe-VLA", "base": "BLIP-2 3B", "protocol": ""}
    found = replication(row, "RL", measured(0.89, 500), claims=claims)
    assert found.verdict is Agreement.NOT_THE_SAME
    assert found.sentence.startswith("no protocol of vlabench has the published rules: Meta-World")


# ---- rows of a report


def test_rows_fit_a_report_and_carry_n_or_say_that_it_is_unknown() -> None:
    table = TABLES["vla-rl-table-1"]
    rows = rows_of(table, SUITES)
    report = Table(
        id="published",
        title=table.title,
        columns=(Column(name="method"), *(Column(name=name, kind="rate") for name in SUITES)),
        rows=rows,
    )
    cells = {row.cells[0].text: row.cells for row in report.rows}
    ours, grape = cells["VLA-RL"], cells["GRAPE"]
    assert (ours[1].text, ours[1].interval) == ("90.2", "87.3 to 92.5")
    assert ours[1].note.startswith(f"n = 500; {THESE_TASKS}; Wilson 95%, computed by vlabench")
    assert (grape[1].text, grape[1].interval) == ("87.6", "")
    assert grape[1].value == pytest.approx(0.876)
    assert grape[1].note == "n unknown; second hand"
    for part in ("base: OpenVLA-7B", "source: arXiv 2505.18719v1, Table 1 (read)", "seeds: not pu"):
        assert part in ours[0].note
    assert [row.group for row in rows] == 3 * [f"published: {OTHER}"] + 3 * [
        f"published: {ONE_VIEW}"
    ]


def test_a_column_that_was_not_published_is_no_zero() -> None:
    rows = rows_of(TABLES["tgrpo-v1"], ("Spatial", "Object"))
    assert [cell.text for cell in rows[0].cells] == ["TGRPO v1: SFT", "-", "86.4"]
    assert (rows[0].cells[1].value, rows[0].cells[1].note) == (None, "not published")
