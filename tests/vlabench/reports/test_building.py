"""What a report says of runs whose outcomes are known."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from vlabench import EpisodeRecord, EpisodeSpec, Outcome, Rules, Run, RunHeader
from vlabench.errors import RecordError, SettingError, UnknownNameError
from vlabench.metrics.counts import OnError
from vlabench.metrics.curves import Curve
from vlabench.plan import PlanRequest
from vlabench.record import Ingested, Provenance, Seconds, Trace
from vlabench.reports.boards import best_of, make_boards, rate, rates_by_task, told_apart
from vlabench.reports.building import Request, build_report
from vlabench.reports.episodes import parted
from vlabench.reports.figures import drawn
from vlabench.reports.markdown import markdown_of
from vlabench.reports.model import Report, Table
from vlabench.reports.published import PublishedError
from vlabench.reports.requests import report_of_file
from vlabench.reports.series import scaling_figure, series_of_runs
from vlabench.store import read_results, write_run
from vlabench.table import Results, results_of

HEADER = RunHeader(
    suite_id="s",
    suite_version=1,
    protocol="p@1",
    plan_digest="plan",
    request=PlanRequest(episodes=20),
    policy_id="a",
    provenance=Provenance(started_at="now", vlabench="0"),
)
OUTCOMES = {"1": Outcome.SUCCESS, "0": Outcome.FAILURE, "x": Outcome.ERROR}


def run(tasks: Mapping[str, str], trace: str = "a", **header: object) -> Run:
    """A run from strings, one a task: `1101` is three successes of four, `x` an error."""
    episodes = tuple(
        EpisodeRecord(
            episode=EpisodeSpec(task_id=task, init_index=i, repeat=0, scene_seed=i, policy_seed=i),
            outcome=OUTCOMES[letter],
            steps=25,
            decisions=5,
            samples=10,
            flops=2e9,
            seconds=Seconds(simulator=1.0, render=0.5, policy=0.5),
            trace=Trace(
                digest=(trace + ("1" if letter == "1" else "0")) * 16,
                states="11111111" * 4,
                actions="0" * 16 + trace * 16,
            ),
            error="it broke" if letter == "x" else None,
        )
        for task, letters in tasks.items()
        for i, letter in enumerate(letters)
    )
    return Run(header=replace(HEADER, **header), episodes=episodes)  # type: ignore[arg-type]


def results(tasks: Mapping[str, str], **header: object) -> Results:
    return results_of(run(tasks, **header))


RATES_OF_A = {"g/0": "1" * 10 + "0" * 10, "h/0": "1" * 10 + "0" * 10}
A = results(RATES_OF_A)
B = results({"g/0": "1" * 20, "h/0": "1" * 11 + "0" * 9}, policy_id="b")


def table(report: Report, id_: str) -> dict[str, dict[str, str]]:
    """Return a table by its first column and its headings."""
    found = next(t for s in report.sections for t in s.tables if t.id == id_)
    names = [column.name for column in found.columns]
    return {
        row.cells[0].text: dict(zip(names, (cell.text for cell in row.cells), strict=True))
        for row in found.rows
    }


def bold(found: Table) -> dict[str, list[str]]:
    names = [column.name for column in found.columns]
    return {
        row.cells[0].text: [n for n, c in zip(names, row.cells, strict=True) if c.bold]
        for row in found.rows
    }


def test_the_verdict_on_the_reference_comes_first() -> None:
    report = build_report(Request(title="t", runs={"SFT": [A], "RL": [B]}))
    (finding,) = report.findings
    assert (finding.verdict, finding.where) == ("BETTER", "s v1 under p@1")
    assert finding.sentence.startswith("RL is BETTER than SFT by 27.5 points [")
    assert markdown_of(report).index("BETTER") < markdown_of(report).index("## s v1")


def test_groups_of_tasks_are_columns_and_their_rates_are_those_counted_by_hand() -> None:
    report = build_report(Request(title="t", runs={"SFT": [A], "RL": [B]}))
    rows = table(report, "s-v1-under-p-1-success")
    assert (rows["SFT"]["g"], rows["SFT"]["h"], rows["SFT"]["all tasks"]) == (
        "50.0",
        "50.0",
        "50.0",
    )
    assert (rows["RL"]["g"], rows["RL"]["h"], rows["RL"]["all tasks"]) == ("100.0", "55.0", "77.5")
    assert (rows["SFT"]["average rank"], rows["RL"]["average rank"]) == ("2", "1")
    assert (rows["SFT"]["n"], rows["SFT"]["errors"]) == ("40", "0")


def test_methods_that_are_as_good_share_the_mean_of_their_ranks() -> None:
    runs = {"SFT": [A], "RL": [B], "again": [results(RATES_OF_A, policy_id="c")]}
    rows = table(build_report(Request(title="t", runs=runs)), "s-v1-under-p-1-success")
    assert [rows[name]["average rank"] for name in runs] == ["2.5", "1", "2.5"]


def ingested(tasks: Mapping[str, str], of: Mapping[str, str], **header: object) -> Results:
    """Results as another tool's rows give them, with the colour of each task."""
    found = Ingested(
        format="csv", sources={}, states_known=True, unknown=("steps",), groups={"colour": of}
    )
    return results(tasks, ingested=found, **header)


def test_groups_that_an_ingested_run_says_are_those_of_its_report() -> None:
    colours = {"g/0": "red", "g/1": "blue", "g/2": "red"}
    outcomes = {"g/0": "11", "g/1": "00", "g/2": "10"}
    runs = {"A": [ingested(outcomes, colours)]}
    report = build_report(Request(title="t", runs=runs))
    (row,) = table(report, "s-v1-under-p-1-success").values()
    assert (row["colour: red"], row["colour: blue"], row["all tasks"]) == ("75.0", "0.0", "50.0")
    rows = table(report, "s-v1-under-p-1-tasks")
    assert {task: cells["colour"] for task, cells in rows.items()} == colours
    asked = build_report(Request(title="t", runs=runs, groups={"first": "g/0"}))
    (row,) = table(asked, "s-v1-under-p-1-success").values()
    assert "first" in row
    assert "colour: red" not in row


def of_many_tasks(count: int, *, all_tasks: bool = False) -> Report:
    """Return the report of two ingested runs of one episode a task, of which they share half."""
    colours = {f"g/{n}": ("red", "green", "blue")[n % 3] for n in range(count)}
    one, other = ({task: str(int(n % k > 0)) for n, task in enumerate(colours)} for k in (2, 5))
    runs = {"A": [ingested(one, colours)], "B": [ingested(other, colours, policy_id="b")]}
    return build_report(Request(title="t", runs=runs, all_tasks=all_tasks))


def test_a_report_of_two_thousand_tasks_has_groups_first_and_tasks_on_request() -> None:
    report = of_many_tasks(2000)
    text = markdown_of(report)
    assert text.index("colour: red") < text.index("2000 rows are not listed here")
    assert "tables/s-v1-under-p-1-tasks.csv has all of them" in text
    assert "2000 tasks are too many for a figure; that of success is over all of them, and" in text
    assert "| g/1999 |" not in text
    assert len(text.splitlines()) < 60
    assert [figure.id for figure in report.sections[0].figures] == ["s-v1-under-p-1-success"]
    asked = markdown_of(of_many_tasks(2000, all_tasks=True))
    assert asked.count("\n| g/") == 2000
    assert "not listed" not in asked


def test_a_report_of_a_hundred_tasks_lists_and_draws_them() -> None:
    report = of_many_tasks(100)
    assert markdown_of(report).count("\n| g/") == 100
    assert [figure.id for figure in report.sections[0].figures] == [
        "s-v1-under-p-1-success",
        "s-v1-under-p-1-tasks",
    ]


@pytest.mark.parametrize("on_error", ["exclude", "as-failure"])
def test_rates_of_all_tasks_are_those_of_each(on_error: OnError) -> None:
    tasks = {"g/0": "1101", "g/1": "1101", "g/2": "x", "g/3": "01", "g/4": "1x01", "h/0": "1"}
    more = results({task: outcomes[::-1] for task, outcomes in tasks.items()}, policy_digest="2")
    for runs in ([results(tasks)], [results(tasks), more]):
        (board,) = make_boards({"A": runs, "B": [results({"g/9": "1"})]})
        for method in board.methods:
            assert rates_by_task(method, board.tasks, on_error) == [
                rate(method, [task], on_error) for task in board.tasks
            ]


def test_groups_that_are_asked_for_are_compared_each_by_itself() -> None:
    runs = {"SFT": [A], "RL": [B]}
    request = Request(title="t", runs=runs, groups={"first": "g/*", "second": "h/*"})
    pairs = next(
        t for s in build_report(request).sections for t in s.tables if t.id.endswith("-pairs")
    )
    cells = [[cell.text for cell in row.cells] for row in pairs.rows]
    assert [(row[2], row[4]) for row in cells] == [
        ("all", "+27.5"), ("first", "+50.0"), ("second", "+5.0")
    ]  # fmt: skip


def test_bold_is_what_is_not_significantly_worse_than_the_best() -> None:
    report = build_report(Request(title="t", runs={"SFT": [A], "RL": [B]}))
    found = bold(report.sections[0].tables[0])
    assert found["RL"] == ["g", "h", "all tasks"]
    assert found["SFT"] == ["h"]  # 10 of 20 against 11 of 20 may be luck; 10 against 20 is not


def test_methods_are_told_apart_by_the_states_that_they_began_from() -> None:
    (board,) = make_boards({"A": [A], "B": [B]})
    one, other = board.methods
    assert told_apart(one, other, ["g/0"], "raise") == pytest.approx(2 * 0.5**10)
    assert told_apart(one, other, ["h/0"], "raise") == 1.0
    assert best_of(board.methods, ["g/0"], "raise") == [False, True]


def test_trainings_of_a_method_are_one_row_and_say_how_many() -> None:
    more = results({"g/0": "1" * 16 + "0" * 4, "h/0": "1" * 20}, policy_digest="other")
    report = build_report(Request(title="t", runs={"SFT": [A, more]}))
    rows = table(report, "s-v1-under-p-1-success")
    assert rows["SFT (2 trainings)"]["all tasks"] == "70.0"  # (10 + 10 + 16 + 20) / 80
    assert rows["SFT (2 trainings)"]["n"] == "80"
    components = table(report, "s-v1-under-p-1-stability-sft")
    assert "training" in components
    (board,) = make_boards({"SFT": [A, more]})
    found = rate(board.methods[0], None, "raise")
    assert found is not None
    assert found.question.endswith("these 2 trainings")


def test_the_same_run_twice_is_no_second_training() -> None:
    with pytest.raises(RecordError, match="are runs of one checkpoint on one plan"):
        make_boards({"SFT": [A, A]})


def test_an_empty_run_has_nothing_to_report() -> None:
    with pytest.raises(RecordError, match="holds no episode yet"):
        make_boards({"SFT": [results({})]})


def test_runs_on_other_plans_are_other_rows() -> None:
    short = results({"g/0": "10"}, plan_digest="short", request=PlanRequest(episodes=2, seed=7))
    (board,) = make_boards({"SFT": [A, short]})
    assert [m.name for m in board.methods] == ["SFT, 20 states, seed 0", "SFT, 2 states, seed 7"]


def test_what_was_privileged_or_broke_is_said() -> None:
    broken = results({"g/0": "1x" * 10, "h/0": "1" * 20}, privileged=True, policy_id="c")
    request = Request(title="t", runs={"SFT": [A], "C": [broken]})
    with pytest.raises(RecordError, match=r"10 of 40 episodes broke; .* --on-error exclude"):
        build_report(request)
    report = build_report(replace(request, rules=Rules(on_error="exclude")))
    assert report.sections[0].text == (
        "C: 10 of 40 episodes broke; were they all failures or all successes, 75.0 or 100.0 % of "
        "all would be successes.",
    )
    assert "C (privileged)" in table(report, "s-v1-under-p-1-success")


def test_progress_is_shown_where_a_suite_knows_it() -> None:
    half = run({"g/0": "10", "h/0": "00"})
    episodes = tuple(
        replace(one, progress=1.0 if one.outcome is Outcome.SUCCESS else 0.5)
        for one in half.episodes
    )
    known = results_of(replace(half, episodes=episodes))
    report = build_report(Request(title="t", runs={"A": [known], "B": [A]}))
    rows = table(report, "s-v1-under-p-1-success")
    assert rows["A"]["progress"] == "62.5"  # (1 + 0.5 + 0.5 + 0.5) / 4
    assert rows["B"]["progress"] == "-"


def test_costs_are_means_and_unknown_where_nobody_says() -> None:
    report = build_report(Request(title="t", runs={"SFT": [A]}))
    cells = table(report, "s-v1-under-p-1-costs")["SFT"]
    assert (cells["control steps"], cells["seconds"], cells["decisions"]) == ("25.0", "2.00", "5.0")
    assert (cells["samples"], cells["GFLOPs"], cells["ms"]) == ("2.0", "0.400", "100.00")


def test_costs_have_the_intervals_of_their_means() -> None:
    costs = ((10, 1, 2, 1e9), (20, 2, 4, 3e9), (30, 3, 6, 3e9), (40, 4, 8, 3e9))
    first = run({"g/0": "1111"})
    episodes = tuple(
        replace(one, steps=steps, decisions=decisions, samples=samples, flops=flops)
        for one, (steps, decisions, samples, flops) in zip(first.episodes, costs, strict=True)
    )
    report = build_report(
        Request(title="t", runs={"A": [results_of(replace(first, episodes=episodes))]})
    )
    found = next(t for t in report.sections[0].tables if t.id.endswith("-costs"))
    names = [column.name for column in found.columns]
    cells = dict(zip(names, found.rows[0].cells, strict=True))
    # Variance of steps 500 / 3, of their mean a quarter; Student's quantile with 3 is 3.1824.
    assert (cells["control steps"].text, cells["control steps"].interval) == ("25.0", "4.5 to 45.5")
    # 10 of 10; what is left of 1, 3, 3, 3 is 0, 1, 0, -1 over 2.5: variance 0.32 / 3, a quarter.
    assert (cells["GFLOPs"].text, cells["GFLOPs"].interval) == ("1.000", "0.480 to 1.520")
    assert (cells["samples"].text, cells["samples"].interval) == ("2.0", "")
    assert cells["samples"].note == (
        "n = 4; mean on these tasks, over initial states and policy draws like these; Student 95%"
    )
    assert cells["n"].text == "4"


def test_costs_of_one_episode_say_that_they_have_no_interval() -> None:
    report = build_report(Request(title="t", runs={"A": [results({"g/0": "1"})]}))
    found = next(t for t in report.sections[0].tables if t.id.endswith("-costs"))
    steps = found.rows[0].cells[1]
    assert (steps.text, steps.interval) == ("25.0", "")
    assert steps.note.endswith("one initial state has no interval")


def test_costs_of_a_policy_that_only_broke_are_unknown() -> None:
    broke = results({"g/0": "xx"})
    request = Request(title="t", runs={"A": [A], "B": [broke]}, rules=Rules(on_error="as-failure"))
    report = build_report(request)
    cells = table(report, "s-v1-under-p-1-costs")["B"]
    assert set(cells.values()) == {"B", "-", "0"}


def test_discordant_episodes_say_where_the_two_parted(tmp_path: Path) -> None:
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    write_run(paths[0], run({"g/0": "10"}))
    write_run(paths[1], run({"g/0": "11"}, trace="b", policy_id="b"))
    read = [read_results(path) for path in paths]
    report = build_report(Request(title="t", runs={"A": [read[0]], "B": [read[1]]}))
    (episode,) = report.discordant
    assert (episode.key, episode.task) == ("g/0#1", "g/0")
    assert [side.outcome for side in episode.sides] == ["failure", "success"]
    assert (episode.parted, episode.first) == (10, 20)  # two checkpoints are equal, 10 steps apart
    assert "vlabench replay" in episode.sides[0].film
    assert set(report.sources.values()) == {each.sha256 for each in read}


def test_of_very_many_discordant_episodes_some_are_shown_and_it_is_said(tmp_path: Path) -> None:
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    write_run(paths[0], run({"g/0": "10" * 1500}))
    write_run(paths[1], run({"g/0": "01" * 1500}, policy_id="b"))
    read = [read_results(path) for path in paths]
    report = build_report(Request(title="t", runs={"A": [read[0]], "B": [read[1]]}))
    assert len(report.discordant) == 1000
    assert report.discordant[0].key == "g/0#0"
    assert report.discordant[-1].key == "g/0#2999"
    assert "Of 3000 episodes that one run solved alone, 1000 are shown, spread over all." in (
        report.sections[0].text
    )


def test_equal_trajectories_never_part() -> None:
    one = run({"g/0": "1"}).episodes[0]
    assert parted(one, one) is None
    assert parted(replace(one, trace=None), one) is None


def test_curves_have_a_table_of_falls() -> None:
    curve = Curve(name="0", unit="step", steps=(0, 1, 2), success=(0.5, 0.9, 0.6), n=(50, 50, 50))
    report = build_report(Request(title="t", trainings={"Reaching": {"RL": [curve]}}))
    cells = table(report, "trainings-reaching")["RL: 0"]
    assert (cells["final"], cells["worst fall"]) == ("60.0", "30.0")


def test_rates_of_a_curve_have_their_intervals() -> None:
    curve = Curve(name="0", unit="step", steps=(0, 1, 2), success=(0.5, 0.9, 0.6), n=(50, 50, 50))
    report = build_report(Request(title="t", trainings={"Reaching": {"RL": [curve]}}))
    _, final, mean, *_, under = report.sections[0].tables[0].rows[0].cells
    # Wilson's for 30 of 50 is 13.82 down and 12.39 up, for 25 of 50 13.36 either way, for 45 of 50
    # 11.36 and 5.65. Of the mean: a quarter, half and a quarter of them, squared and added.
    assert (final.text, final.interval) == ("60.0", "46.2 to 72.4")
    assert (mean.text, mean.interval) == ("72.5", "65.1 to 77.9")
    assert (final.note[:7], mean.note[:8]) == ("n = 50;", "n = 150;")
    assert under.note.startswith("by luck up to ")


def test_methods_of_several_trainings_have_verdicts_and_a_difference_over_trainings() -> None:
    others = [
        results({"g/0": "1" * 20, "h/0": "1" * n + "0" * (20 - n)}, policy_id="b", policy_digest=d)
        for n, d in ((14, "x"), (16, "y"), (18, "z"))
    ]
    report = build_report(Request(title="t", runs={"SFT": [A], "RL": others}))
    (finding,) = report.findings
    # 20 of 40 against 34, 36 and 38 of 40.
    assert finding.verdict == "BETTER"
    assert finding.sentence.startswith("RL is BETTER than SFT by 40.0 points [")
    assert "3 and 1 trainings, n = 40 initial states" in finding.sentence
    assert finding.sentence.endswith("about the methods")
    pairs = next(t for s in report.sections for t in s.tables if t.id.endswith("-pairs"))
    row = dict(zip([c.name for c in pairs.columns], pairs.rows[0].cells, strict=True))
    assert row["B - A"].text == row["B - A, these checkpoints"].text == "+40.0"
    # Student's of 35, 40 and 45 points, and as much again for the one: 40 -+ 4.303 * 5 * 1.155.
    low, high = (float(end) for end in row["B - A"].interval.split(" to "))
    assert low <= 15.2
    assert high >= 64.8
    near, far = (float(x) for x in row["B - A, these checkpoints"].interval.split(" to "))
    assert low < near < far < high
    assert not report.discordant


def test_methods_with_several_trainings_are_told_apart_by_how_steady_they_are() -> None:
    """By hand: final successes 5 points apart and 20 apart, hardly any noise of episodes."""

    def curves(*finals: float) -> list[Curve]:
        steps = (0, 1, 2)
        return [
            Curve(name=str(f), unit="step", steps=steps, success=(0.5, 0.8, f), n=(10**6,) * 3)
            for f in finals
        ]

    trainings = {
        "steady": curves(0.75, 0.7, 0.65),
        "wild": curves(0.7, 0.5, 0.3),
        "once": curves(1),
    }
    report = build_report(Request(title="t", trainings={"A B": trainings}))

    cells = table(report, "trainings-a-b-stability")
    assert [cells[m]["trainings"] for m in ("steady", "wild", "once")] == ["3", "3", "1"]
    assert (cells["steady"]["spread of final"], cells["wild"]["spread of final"]) == ("5.0", "20.0")
    assert (cells["wild"]["worst fall"], cells["wild"]["final"]) == ("30.0", "50.0")
    assert (cells["wild"]["spread of final, times"], cells["steady"]["worst fall, times"]) == (
        "4",
        "-",
    )
    assert cells["once"]["spread of final"] == "-"
    kinds = {column.name: column.kind for column in report.sections[-1].tables[1].columns}
    assert kinds["spread of final"] == kinds["worst fall"] == "points", "shades are for success"
    said = report.sections[-1].text[0]
    assert said.startswith("steady is 4 [0.6")
    assert "times as stable as wild: not shown, with 3 and 3 trainings" in said


def test_a_ratio_to_trainings_that_never_fell_is_said_to_have_no_bound() -> None:
    def curves(*falls: float) -> list[Curve]:
        return [
            Curve(
                name=str(f), unit="step", steps=(0, 1, 2), success=(0.5, 0.8, 0.8 - f), n=(100,) * 3
            )
            for f in falls
        ]

    trainings = {"steady": curves(0, -0.01, -0.02), "wild": curves(0.3, 0.2, 0.1)}
    report = build_report(Request(title="t", trainings={"A": trainings}))
    assert table(report, "trainings-a-stability")["wild"]["worst fall, times"] == "unbounded"


@pytest.mark.parametrize(
    ("setting", "costs"),
    [("samples", ["GFLOPs", "ms"]), ("temperature", ["samples", "GFLOPs", "ms"])],
)
def test_a_sweep_has_a_row_for_each_point_and_names_no_cost_twice(
    setting: str, costs: list[str]
) -> None:
    runs = [
        results({"g/0": "1" * won + "0" * (20 - won)}, settings={setting: str(value)})
        for value, won in ((1, 5), (2, 10), (4, 15))
    ]
    (section,) = build_report(Request(title="t", sweeps={"more of it": runs})).sections
    (found,) = section.tables
    assert [column.name for column in found.columns] == [
        setting, "success", "oracle", *costs, "on the front of"
    ]  # fmt: skip
    assert [row.cells[1].text for row in found.rows] == ["25.0", "50.0", "75.0"]
    assert [row.cells[-2].text for row in found.rows] == ["100"] * 3
    assert section.text[0].startswith(f"Success RISES with {setting}: +")
    assert section.figures


def test_numbers_on_a_sweeps_axes_keep_apart() -> None:
    runs = [
        results({"g/0": "1" * won + "0" * (20 - won)}, settings={"samples": str(samples)})
        for samples, won in ((1, 5), (2, 10), (4, 15), (8, 16))
    ]
    (one,) = series_of_runs(runs)
    points = tuple(
        replace(point, flops=flops, milliseconds=flops / 1e6)
        for point, flops in zip(one.scaling.points, (3.9e5, 1.9e6, 2.1e6, 4.5e6), strict=True)
    )
    figure = scaling_figure("f", [replace(one, scaling=replace(one.scaling, points=points))], "t")
    with drawn(figure) as canvas:
        canvas.draw_without_rendering()
        samples, flops, milliseconds = canvas.axes
        assert "2 M" in [tick.get_text() for tick in flops.xaxis.get_ticklabels()]
        assert "0.5" in [tick.get_text() for tick in milliseconds.xaxis.get_ticklabels()]
        for axes in (samples, flops, milliseconds):
            low, high = axes.get_xlim()
            ticks = [tick for tick in axes.xaxis.get_ticklabels(which="both") if tick.get_text()]
            shown = [tick for tick in ticks if low <= tick.get_position()[0] <= high]
            boxes = [tick.get_window_extent() for tick in shown]
            assert len(boxes) >= 3
            assert all(a.x1 < b.x0 for a, b in pairwise(sorted(boxes, key=lambda box: box.x0)))


FILE = """
title = "t"
published = "."
[[methods]]
name = "SFT"
runs = ["a.jsonl"]
[[methods]]
name = "RL"
runs = ["b*.jsonl"]
[[papers]]
published = "paper"
suite = "s"
methods = ["SFT", "RL"]
columns = { Goal = "g/*", All = "*" }
"""
PAPER = """
title = "The paper's table"
source = "arXiv 0000.00000"
protocol = "theirs"
columns = ["Goal", "All"]
[[rows]]
method = "RL"
base = "7B"
block = "one view"
numbers = { Goal = 60.0, All = 70.5 }
n = 500
status = "read"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "a.jsonl", run({"g/0": "10" * 10, "h/0": "1" * 20}))
    write_run(tmp_path / "b.jsonl", run({"g/0": "1" * 20, "h/0": "1" * 20}, policy_id="b"))
    (tmp_path / "report.toml").write_text(FILE)
    (tmp_path / "paper.toml").write_text(PAPER)
    return tmp_path


def test_a_papers_table_has_our_rows_and_apart_from_them_the_published_ones(folder: Path) -> None:
    (folder / "report.toml").rename(folder / "r.txt")  # the published folder holds papers alone
    report = report_of_file(folder / "r.txt")
    found = report.sections[0].tables[0]
    assert [row.group for row in found.rows] == [
        "measured: s v1 under p@1", "measured: s v1 under p@1", "published: one view"
    ]  # fmt: skip
    assert [[c.text for c in row.cells] for row in found.rows] == [
        ["SFT", "50.0", "75.0", "40"], ["RL", "100.0", "100.0", "40"], ["RL", "60.0", "70.5", "500"]
    ]  # fmt: skip
    assert "RL, Goal: NOT THE SAME: base is 'b', published is '7B'" in report.sections[0].text[0]


def test_a_method_of_ours_may_be_a_published_one_of_another_name(folder: Path) -> None:
    (folder / "report.toml").rename(folder / "r.txt")
    (folder / "r.txt").write_text(FILE + 'same = { SFT = "RL" }\n')
    (folder / "paper.toml").write_text(
        PAPER.replace('protocol = "theirs"', 'protocol = "theirs"\nprotocol_id = "p@1"').replace(
            '"7B"', '"a"'
        )
    )
    section = report_of_file(folder / "r.txt").sections[0]
    # Policy a under p@1 is what was published; b is not, though its name is.
    assert [line.partition(" [")[0] for line in section.text] == [
        "SFT (published: RL), Goal: UNDECIDED: measured 50.0 %",
        "SFT (published: RL), All: UNDECIDED: measured 75.0 %",
        "RL, Goal: NOT THE SAME: base is 'b', published is 'a'.",
    ]
    with drawn(section.figures[0]) as canvas:
        legend = canvas.axes[0].get_legend()
        assert [text.get_text() for text in legend.get_texts()] == [
            "SFT", "RL", "RL, published (a)"
        ]  # fmt: skip


def test_a_figure_over_steps_has_the_published_values_of_the_same_steps(folder: Path) -> None:
    (folder / "report.toml").rename(folder / "r.txt")
    steps = 'steps = { 0 = "SFT", 9 = "RL" }\nsame = { RL = "RL" }\n'
    (folder / "r.txt").write_text(FILE + steps)
    section = report_of_file(folder / "r.txt").sections[0]
    with drawn(section.figures[0]) as canvas:
        hollow = [line for line in canvas.axes[0].lines if line.get_markerfacecolor() == "none"]
        places = [(list(line.get_xdata()), list(line.get_ydata())) for line in hollow]
        assert places == [([9.0], [60.0]), ([9.0], [70.5])]
    assert "hollow what is published" in section.figures[0].caption


def test_a_papers_table_without_a_suite_is_of_published_rows_alone_and_says_so(
    folder: Path,
) -> None:
    (folder / "report.toml").rename(folder / "r.txt")
    ours = 'suite = "s"\nmethods = ["SFT", "RL"]\ncolumns = { Goal = "g/*", All = "*" }\n'
    (folder / "r.txt").write_text(FILE.replace(ours, 'note = "A note."\n'))
    section = report_of_file(folder / "r.txt").sections[0]
    assert section.text == ("Published rows only: no run of vlabench is held against them.",)
    (found,) = section.tables
    assert [row.group for row in found.rows] == ["published: one view"]
    assert [cell.text for cell in found.rows[0].cells] == ["RL", "60.0", "70.5", "500"]
    assert found.notes[1:] == ("A note.", "Source: arXiv 0000.00000 (read).")
    assert not section.figures


def test_a_figure_of_ours_alone_is_not_drawn_again(folder: Path) -> None:
    (folder / "report.toml").rename(folder / "r.txt")
    (folder / "r.txt").write_text(FILE.replace('methods = ["SFT", "RL"]', 'methods = ["SFT"]'))
    section = report_of_file(folder / "r.txt").sections[0]
    assert (section.text, section.figures) == ((), ())
    assert len(section.tables[0].rows) == 2


def test_published_average_ranks_stand_beside_ours(folder: Path) -> None:
    (folder / "report.toml").rename(folder / "r.txt")
    (folder / "paper.toml").write_text(PAPER + "rank = 2.3\n")
    found = report_of_file(folder / "r.txt").sections[0].tables[0]
    assert found.columns[3].name == "average rank"
    # Ours have one column of a group of tasks, so no rank.
    assert [row.cells[3].text for row in found.rows] == ["-", "-", "2.3"]


def test_a_papers_row_counts_the_episodes_that_its_columns_are_of(folder: Path) -> None:
    (folder / "report.toml").rename(folder / "r.txt")
    (folder / "r.txt").write_text(FILE.replace(', All = "*"', ""))
    rows = report_of_file(folder / "r.txt").sections[0].tables[0].rows
    assert [[c.text for c in row.cells] for row in rows[:2]] == [
        ["SFT", "50.0", "20"], ["RL", "100.0", "20"]
    ]  # fmt: skip


def test_a_papers_table_that_names_no_method_has_all(folder: Path) -> None:
    (folder / "report.toml").rename(folder / "r.txt")
    (folder / "r.txt").write_text(FILE.replace('methods = ["SFT", "RL"]\n', ""))
    rows = report_of_file(folder / "r.txt").sections[0].tables[0].rows
    assert [row.cells[0].text for row in rows] == ["SFT", "RL", "RL"]


def test_what_is_in_papers_tables_alone_is_in_no_other_and_is_no_contender(folder: Path) -> None:
    (folder / "report.toml").rename(folder / "r.txt")
    whole = report_of_file(folder / "r.txt")
    (folder / "r.txt").write_text(
        FILE.replace('runs = ["b*.jsonl"]', 'runs = ["[b].jsonl"]\npapers_only = true')
    )
    found = report_of_file(folder / "r.txt")
    assert found.sections[0].tables == whole.sections[0].tables
    assert [row.cells[0].text for row in found.sections[1].tables[0].rows] == ["SFT"]
    assert whole.findings
    assert not found.findings
    assert found.sources == whole.sources


TRAININGS = 'trainings = [{{ name = "five tasks", curves = {} }}]\ntitle ='


@pytest.mark.parametrize(
    ("old", "new", "kind", "message"),
    [
        ('published = "paper"', 'published = "papr"', UnknownNameError, "Did you mean 'paper'?"),
        ('"SFT", "RL"]', '"SFT", "PPO"]', SettingError, "names method 'PPO', which has no run on"),
        ('suite = "s"', 'suite = "t"', SettingError, "no method has a run on suite 't'"),
        ('Goal = "g/*"', 'Goal = "x/*"', SettingError, "no task of s v1 under p@1 matches 'x/*'"),
        ("All =", "Everything =", SettingError, "paper has no column 'Everything'"),
        ('"b*.jsonl"', '"c*.jsonl"', RecordError, "no file matches"),
        ("title =", "titel =", SettingError, "unknown key 'titel'; did you mean 'title'?"),
        ("title =", TRAININGS.format("{}"), SettingError, "'five tasks' names no method"),
        ("title =", TRAININGS.format("{ A = [] }"), SettingError, "has a method without a log"),
        ('name = "RL"', 'name = "SFT"', SettingError, "[[methods]] has 'SFT' twice; expected each"),
        (
            "columns =",
            'same = { PPO = "RL" }\ncolumns =',
            SettingError,
            "paper: same names 'PPO', expected a method of this table: SFT, RL",
        ),
        (
            "columns =",
            'same = { SFT = "PPO" }\ncolumns =',
            PublishedError,
            "paper: no row of 'PPO'; known: RL",
        ),
        ('suite = "s"\n', "", SettingError, "'paper' has columns, methods and no suite"),
        ("columns =", "steps =", SettingError, "'paper' has suite 's' and no columns"),
        (
            "[[papers]]",
            '[[papers]]\npublished = "paper"\n[[papers]]',
            SettingError,
            "[[papers]] has 'paper' twice; expected each",
        ),
    ],
)
def test_a_wrong_file_gets_one_line(
    old: str, new: str, kind: type[Exception], message: str, folder: Path
) -> None:
    (folder / "report.toml").unlink()
    (folder / "r.txt").write_text(FILE.replace(old, new, 1))
    with pytest.raises(kind) as caught:
        report_of_file(folder / "r.txt")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
