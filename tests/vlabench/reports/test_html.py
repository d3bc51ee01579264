"""The page in a real browser: what it shows, and that it asks nobody for anything."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from vlabench.metrics.estimate import THESE_TASKS, Estimate
from vlabench.reports import html
from vlabench.reports.html import VIDEO_BYTES, html_of, write_html
from vlabench.reports.model import (
    Cell,
    Column,
    Discordant,
    Figure,
    Finding,
    Report,
    Row,
    Section,
    Side,
    Table,
    points_cell,
    rate_cell,
)
from vlabench.video import write_video

EVIL = "<script>document.title = 'broken in'</script><img src=x onerror=alert(1)> & \"quoted\""
OBJECTS = ("black bowl", "cream cheese", "wine bottle", "tomato sauce", "alphabet soup")
WHERE = ("libero v1 under openvla@1", "metaworld v1 under mt50@1")


def example(folder: Path) -> Report:
    """Return a report with everything there is: two comparisons, 45 episodes, two videos."""
    return Report(
        title="Does a second look help?",
        findings=(
            Finding(
                verdict="BETTER",
                sentence="sft, 8 samples is better than sft by 6.2 points [+2.9, +9.6].",
                reasons=("400 pairs: 41 solved by B alone, 16 by A alone.", "p = 0.0012, McNemar."),
                where=WHERE[0],
            ),
            Finding(
                verdict="UNDERPOWERED",
                sentence="Not told apart: +1.0 points [-3.1, +5.1].",
                reasons=("1 850 pairs would tell 3 points apart.",),
                where=WHERE[1],
            ),
        ),
        sections=(
            Section(
                id="libero",
                title=WHERE[0],
                text=("Both runs share one plan, so that they are compared pair by pair.", EVIL),
                tables=(success_table(), heat_table(), gap_table()),
                figures=(line_figure("success-by-steps"),),
            ),
            Section(
                id="metaworld",
                title=WHERE[1],
                tables=(long_table(),),
                figures=(line_figure("cost", size=(13.8, 3.6)), bar_figure()),
            ),
        ),
        discordant=tuple(episode(number, folder) for number in range(45)),
        sources={
            "results/libero/sft/one.jsonl": "9f86d081884c7d65" * 4,
            "results/libero/sft/eight.jsonl": "60303ae22b998861" * 4,
        },
    )


def estimate(successes: int, n: int = 50) -> Estimate:
    value = successes / n
    margin = 1.96 * (value * (1 - value) / n) ** 0.5
    return Estimate(
        value=value,
        low=max(0.0, value - margin),
        high=min(1.0, value + margin),
        n=n,
        method="Wilson's interval",
        question=THESE_TASKS,
    )


def success_table() -> Table:
    names = ("sft", "sft, 8 samples", "nanovla (privileged)", "OpenVLA", "pi0")
    rows = [
        Row(
            cells=(
                Cell(text=name, note=f"policy {name}; looks at agentview:128"),
                *(rate_cell(estimate(15 + 5 * i + 3 * j), bold=i == 2) for j in range(5)),
                Cell(text="400", value=400.0),
            ),
            group="measured here" if i < 3 else "published",
        )
        for i, name in enumerate(names)
    ]
    rates = ("spatial", "object", "goal", "10", "all tasks")
    return Table(
        id="libero-success",
        title="Success on LIBERO",
        columns=(
            Column(name="method"),
            *(Column(name=name, kind="rate") for name in rates),
            Column(name="n", kind="number", about="episodes"),
        ),
        rows=tuple(rows),
        notes=("In percent, with 95 % intervals.", "Bold: not significantly worse than the best."),
    )


def heat_table() -> Table:
    policies = [f"policy {letter}" for letter in "ABCDEFGH"]
    rows = tuple(
        Row(
            cells=(
                Cell(text=f"libero-goal/{task}", note=f"put the {OBJECTS[task % 5]} on the plate"),
                *(
                    rate_cell(None if (task, p) == (3, 2) else estimate((7 * task + 11 * p) % 51))
                    for p in range(len(policies))
                ),
            )
        )
        for task in range(40)
    )
    columns = (Column(name="task"), *(Column(name=name, kind="rate") for name in policies))
    return Table(id="libero-tasks", title="Success by task", columns=columns, rows=rows)


def gap_table() -> Table:
    """Return differences by task: one is missing, two are equal; the interval spans no column."""
    found = (0.1, -0.2, None, 0.3, 0.1)
    rows = tuple(
        Row(
            cells=(
                Cell(text=name),
                points_cell(
                    difference
                    and Estimate(
                        value=difference,
                        low=difference - 0.05,
                        high=difference + 0.05,
                        n=50,
                        method="Newcombe's interval",
                        question=THESE_TASKS,
                    )
                ),
            )
        )
        for name, difference in zip(("a2", "b", "a10", "d", "e"), found, strict=True)
    )
    columns = (Column(name="task"), Column(name="B - A", kind="points"))
    return Table(id="gaps", title="Differences by task", columns=columns, rows=rows)


def long_table() -> Table:
    rows = tuple(
        Row(cells=(Cell(text=f"task-{n}"), Cell(text=f"{n * 37 % 101}", value=float(n * 37 % 101))))
        for n in range(100)
    )
    columns = (Column(name="task"), Column(name="seconds", kind="number", about="of the policy"))
    return Table(id="long", title="What it cost", columns=columns, rows=rows)


def line_figure(name: str, size: tuple[float, float] = (6.4, 3.6)) -> Figure:
    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        for label, slope in (("sft", 0.4), ("sft, 8 samples", 0.6)):
            axes.plot([1, 2, 4, 8], [40 + slope * x * 8 for x in (1, 2, 3, 4)], "o-", label=label)
        axes.set_xscale("log", base=2)
        axes.set(xlabel="samples a decision", ylabel="success, %")
        axes.grid(alpha=0.3)
        axes.legend()

    caption = "More samples, more success."
    return Figure(id=name, title=f"Figure {name}", caption=caption, draw=draw, size=size)


def bar_figure() -> Figure:
    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        axes.bar(["one", "<two>", "three & four"], [1, 2, 3], hatch="//", facecolor="none")
        axes.imshow(np.eye(2), extent=(2.5, 3.5, 0, 1), aspect="auto", cmap="Blues")
        axes.set_xlim(-1, 4)

    return Figure(id="bars", title="Bars", caption="Bars, hatched.", draw=draw, size=(4.0, 2.5))


def episode(number: int, folder: Path) -> Discordant:
    key = f"libero-goal/{number % 10}#{number // 10}"
    outcomes = ("success", "failure") if number % 3 == 0 else ("failure", "success")
    lost = {2: ("gone.mp4", "huge.mp4")}.get(number, ("", ""))
    videos = [str(folder / name) for name in ("a.mp4", "b.mp4")] if number == 1 else lost
    one, other = (
        Side(
            name=name,
            outcome=outcome,
            steps=40 if number == 1 and outcome == "success" else 60 + 10 * (number % 7),
            video=video,
            film="" if number == 1 else f"vlabench replay {name}.jsonl {key}",
        )
        for name, outcome, video in zip(("sft", "eight"), outcomes, videos, strict=True)
    )
    return Discordant(
        where=WHERE[number % 2],
        task=f"libero-goal/{number % 10}",
        instruction=EVIL if number == 4 else f"put the {OBJECTS[number % 5]} on the plate",
        key=key,
        sides=(one, other),
        parted=None if number % 5 == 3 else 20,
        first=None if number % 5 in (3, 4) else 24,
    )


def frames(count: int, colour: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """Yield frames with a square that moves 4 pixels a step."""
    for step in range(count):
        frame = np.full((128, 128, 3), 235, dtype=np.uint8)
        at = min(4 * step, 104)
        frame[52:76, at : at + 24] = colour
        yield frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("report")
    write_video(found / "a.mp4", frames(71, (200, 60, 30)))
    write_video(found / "b.mp4", frames(41, (30, 90, 160)))
    (found / "huge.mp4").write_bytes(b"\0" * (VIDEO_BYTES + 1))
    write_html(example(found), found / "report.html")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.fail(
            "no chromium and no google-chrome in PATH: run scripts/setup, which installs it"
        )
    expect.set_options(timeout=30_000)  # a busy machine is slow, not wrong
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not work as root; the only page it sees is ours.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


class Open(Protocol):
    def __call__(self, address: str = "", /, **options: Any) -> Page: ...


@pytest.fixture
def open_page(browser: Browser, folder: Path) -> Iterator[Open]:
    """Open the example; when the test is over, nothing has complained and nothing was asked for."""
    url = (folder / "report.html").as_uri()
    contexts, problems, requests = [], [], []

    def open_(address: str = "", /, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}} | options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append(request.url.partition("#")[0]))
        page.goto(url + address)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert problems == []
    assert set(requests) == {url}


def first_cells(page: Page, table: str) -> list[str]:
    return page.locator(f"#table-{table} tbody tr:not(.group) th").all_inner_texts()


def sort(page: Page, table: str, column: str) -> None:
    page.locator(f"#table-{table}").get_by_role("button", name=column, exact=True).click()


def episode_page(page: Page) -> Locator:
    return page.locator("article.episode")


# What is in the file


def test_the_same_report_gives_the_same_bytes(folder: Path) -> None:
    write_html(example(folder), folder / "again.html")

    assert (folder / "again.html").read_bytes() == (folder / "report.html").read_bytes()


class Elements(HTMLParser):
    """Finds what is opened and not closed, or closed and not opened, and what links name."""

    ALONE = ("meta", "link", "input", "br", "img", "path", "use", "rect", "circle", "line")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.names: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.ALONE:
            self.open.append(tag)
        self.names += [value or "" for name, value in attrs if name == "id"]
        self.links += [
            (value or "")[1:] for name, value in attrs if name == "href" and value != "data:,"
        ]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        elif tag not in self.ALONE:
            self.wrong.append(f"</{tag}> in {self.open}")


def test_every_element_is_closed_and_every_link_leads_somewhere(folder: Path) -> None:
    page = re.sub(r"<svg.*?</svg>", "", (folder / "report.html").read_text("utf-8"), flags=re.S)
    found = Elements()
    found.feed(page)
    assert (found.open, found.wrong) == ([], [])
    assert set(found.links) >= {"findings", "episodes", "sources", "table-gaps", "figure-bars"}
    assert set(found.links) <= set(found.names)


@pytest.mark.parametrize(
    ("value", "sorted_by"),
    [
        (0.5, "0.5"),
        (-2, "-2.0"),
        (0.0, "0.0"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (float("nan"), None),
        (None, None),
    ],
)
def test_a_number_says_what_it_is_sorted_by_and_words_do_not(
    value: float | None, sorted_by: str | None
) -> None:
    cell = Cell(text="shown", value=value)
    columns = (Column(name="a"), Column(name="b", kind="number"))
    table = Table(id="t", title="T", columns=columns, rows=(Row(cells=(cell, cell)),))
    page = html_of(Report(title="R", sections=(Section(id="s", title="S", tables=(table,)),)))
    wanted = f'<td class="n" data-v="{sorted_by}">' if sorted_by else '<td class="n">'
    assert f'<th scope="row">shown</th>{wanted}shown</td>' in re.sub(r"\n\s*", "", page)


@pytest.mark.parametrize(
    ("rates", "shades"),
    [
        ((0.0, 0.5, 1.0), ["h0", "h10", "h20"]),
        ((0.024, 0.026, 1.5), ["h0", "h1", "h20"]),
        ((-0.5, None, float("nan")), ["h0", "", ""]),
        ((0.5, 0.5), ["", ""]),  # two columns are no field
    ],
)
def test_a_field_of_rates_has_a_shade_for_every_twentieth(
    rates: tuple[float | None, ...], shades: list[str]
) -> None:
    columns = (Column(name="a"), *(Column(name=str(i), kind="rate") for i in range(len(rates))))
    cells = (Cell(text="a"), *(Cell(text="r", value=rate) for rate in rates))
    table = Table(id="t", title="T", columns=columns, rows=(Row(cells=cells),))
    page = html_of(Report(title="R", sections=(Section(id="s", title="S", tables=(table,)),)))
    found = re.findall(r'<td class="n ?(h?\d*)"', page)
    assert found == shades


def episodes_of(report: Report) -> list[dict[str, Any]]:
    """What the page's script is told of its episodes."""
    begins = '<script type="application/json" id="episode-data">'
    text = html_of(report).partition(begins)[2].partition("</script>")[0]
    found: list[dict[str, Any]] = json.loads(text)["episodes"]
    return found


def test_where_two_runs_part_is_said_in_words(folder: Path) -> None:
    def said(parted: int | None, first: int | None) -> str:
        one = replace(episode(0, folder), parted=parted, first=first)
        (found,) = episodes_of(Report(title="R", discordant=(one,)))
        return str(found["apart"])

    assert said(None, None) == "Where they part is unknown: there are no traces of both."
    assert said(20, None) == (
        "Both did the same for 20 control steps, and were never seen to part."
    )
    assert said(0, 10) == "Both did the same for 0 control steps, and no longer after 10."


def test_episodes_with_one_key_have_addresses_of_their_own(folder: Path) -> None:
    same = replace(episode(0, folder), key="a b/c#0")
    report = Report(title="R", discordant=(same, same, episode(1, folder), same))
    assert [found["id"] for found in episodes_of(report)] == [
        "episode-a%20b/c%230", "episode-a%20b/c%230~2",
        "episode-libero-goal/1%230", "episode-a%20b/c%230~3",
    ]  # fmt: skip


def test_nothing_in_the_file_points_elsewhere(folder: Path) -> None:
    text = (folder / "report.html").read_text()

    pointed = re.findall(r'(?:src|href|action|poster|srcset)="([^"]*)"', text)
    assert pointed
    assert [p for p in pointed if not p.startswith(("#", "data:"))] == []
    assert "url(http" not in text
    assert "@import" not in text


def test_videos_beyond_what_a_page_can_hold_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (folder / "a.mp4").stat().st_size
    monkeypatch.setattr(html, "VIDEOS_BYTES", size)  # room for the first of two

    text = html.html_of(Report(title="Two", discordant=(episode(1, folder),)))

    assert text.count("data:video/mp4;base64,") == 1
    assert f"{folder}/b.mp4 (0.0 MB) is not embedded" in text


def test_a_report_of_nothing_but_a_title_is_a_page(browser: Browser, tmp_path: Path) -> None:
    write_html(Report(title="Nothing yet"), tmp_path / "nothing.html")
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "nothing.html").as_uri())

    expect(page.get_by_role("heading", level=1)).to_have_text("Nothing yet")
    assert errors == []
    page.context.close()


def test_text_of_a_report_stays_text(open_page: Open) -> None:
    page = open_page("#episode-libero-goal/4%230")

    expect(page).to_have_title("Does a second look help?")
    expect(page.locator("#section-libero .prose").nth(1)).to_have_text(EVIL)
    expect(episode_page(page).locator("h3")).to_have_text(EVIL)
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2  # the page's own, and the episodes, which are data


def test_a_script_that_is_not_the_pages_own_does_not_run(browser: Browser, folder: Path) -> None:
    """Escaping is one wall; the policy is the other, shown by writing a script into the file."""
    text = (folder / "report.html").read_text()
    (folder / "forged.html").write_text(text.replace("<main", f"{EVIL}<main"))
    page = browser.new_page()
    page.goto((folder / "forged.html").as_uri())

    expect(page).to_have_title("Does a second look help?")
    assert page.locator("#content").count() == 1
    page.context.close()


# Tables


def test_a_column_sorts_up_down_and_back_with_missing_values_last(open_page: Open) -> None:
    page = open_page()
    head = page.locator("#table-gaps th").nth(1)

    sort(page, "gaps", "B - A")
    assert first_cells(page, "gaps") == ["b", "a2", "e", "d", "a10"]
    expect(head).to_have_attribute("aria-sort", "ascending")
    sort(page, "gaps", "B - A")
    assert first_cells(page, "gaps") == ["d", "a2", "e", "b", "a10"]
    expect(head).to_have_attribute("aria-sort", "descending")
    sort(page, "gaps", "B - A")
    assert first_cells(page, "gaps") == ["a2", "b", "a10", "d", "e"]
    assert head.get_attribute("aria-sort") is None


def test_words_sort_with_the_numbers_in_them_in_order(open_page: Open) -> None:
    page = open_page()

    sort(page, "gaps", "task")

    assert first_cells(page, "gaps") == ["a2", "a10", "b", "d", "e"]


def test_rows_that_are_equal_stay_in_the_order_they_had(open_page: Open) -> None:
    page = open_page()

    sort(page, "gaps", "task")
    sort(page, "gaps", "task")
    sort(page, "gaps", "B - A")

    assert first_cells(page, "gaps") == ["b", "e", "a2", "d", "a10"]


def test_numbers_sort_as_numbers(open_page: Open) -> None:
    page = open_page()

    sort(page, "long", "seconds")

    shown = page.locator("#table-long tbody td").all_inner_texts()
    assert [int(text) for text in shown] == sorted(n * 37 % 101 for n in range(100))


def test_groups_stay_together_when_a_table_is_sorted(open_page: Open) -> None:
    page = open_page()

    sort(page, "libero-success", "spatial")
    sort(page, "libero-success", "spatial")

    names = page.locator("#table-libero-success tbody th").all_inner_texts()
    assert names == ["measured here", "nanovla (privileged)", "sft, 8 samples", "sft", "published",
                     "pi0", "OpenVLA"]  # fmt: skip


def test_a_filter_keeps_matching_rows_and_counts_them(open_page: Open) -> None:
    page = open_page()
    table = page.locator("#table-libero-tasks")

    table.get_by_label("Filter").fill("goal/1")
    expect(table.locator("output")).to_have_text("11 of 40 rows")
    visible = [row.is_visible() for row in table.locator("tbody tr").all()]
    assert [n for n, seen in enumerate(visible) if seen] == [1, *range(10, 20)]
    table.get_by_label("Filter").fill("nothing like it")
    expect(table.locator("output")).to_have_text("0 of 40 rows")
    expect(table.get_by_text("No row matches.")).to_be_visible()
    table.get_by_label("Filter").fill("")
    expect(table.locator("output")).to_have_text("40 rows")
    expect(table.get_by_text("No row matches.")).to_be_hidden()


def test_a_filter_hides_groups_without_a_match(open_page: Open) -> None:
    page = open_page()
    table = page.locator("#table-libero-success")

    table.get_by_label("Filter").fill("PI0")

    expect(table.get_by_text("published")).to_be_visible()
    expect(table.get_by_text("measured here")).to_be_hidden()


def test_notes_of_a_row_open_by_keyboard(open_page: Open) -> None:
    page = open_page()
    button = page.locator("#table-libero-success").get_by_role("button", name="pi0")

    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    notes = page.locator("#table-libero-success .details")
    expect(notes).to_contain_text("policy pi0; looks at agentview:128")
    expect(notes).to_contain_text("spatial: 70.0 (57.3 to 82.7)")
    expect(notes).to_contain_text(f"n = 50; {THESE_TASKS}; Wilson's interval")
    page.keyboard.press("Space")
    expect(notes).to_have_count(0)
    expect(button).to_have_attribute("aria-expanded", "false")


def test_notes_of_a_row_open_by_touch(open_page: Open) -> None:
    page = open_page(has_touch=True, viewport={"width": 360, "height": 740})

    page.locator("#table-gaps tbody tr").nth(1).locator("td").tap()

    notes = page.locator("#table-gaps .details")
    expect(notes).to_contain_text("Newcombe's interval")
    assert notes.locator("dl").bounding_box()["width"] <= 360


def test_a_rate_is_the_darker_the_higher_and_the_best_is_bold(open_page: Open) -> None:
    page = open_page(color_scheme="light")
    row = "#table-libero-success tbody tr:nth-child(4)"

    luminances = [luminance(background(page, f"{row} td:nth-child({i})")) for i in range(2, 7)]

    assert luminances == sorted(luminances, reverse=True)
    assert len(set(luminances)) == 5
    expect(page.locator(f"{row} strong").first).to_have_text("50.0")


# Tables of many rows


def many_rows(count: int, *, listed: bool = False) -> Report:
    """Return a report of so many tasks, of which those of a colour are solved equally often."""
    colours = ("red", "green", "blue", EVIL)
    rows = tuple(
        Row(
            cells=(
                Cell(text=f"g/task {n}"),
                Cell(text=colours[n % 4]),
                rate_cell(None if n == 7 else estimate(n % 4), bold=n == 4),
                rate_cell(estimate(n % 5)),
                rate_cell(estimate(50)),
            ),
            group="g" if n < count // 2 else "h",
        )
        for n in range(count)
    )
    names = ("A", "B", "C")
    columns = (
        Column(name="task"),
        Column(name="colour"),
        *(Column(name=name, kind="rate") for name in names),
    )
    table = Table(id="tasks", title="Success by task", columns=columns, rows=rows, listed=listed)
    return Report(title="Many", sections=(Section(id="s", title="S", tables=(table,)),))


@pytest.fixture
def unfold(browser: Browser, tmp_path: Path) -> Iterator[Callable[[Report], Page]]:
    """Open a report in a page; when the test is over, nothing has complained."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    problems: list[str] = []

    def unfold(report: Report) -> Page:
        write_html(report, tmp_path / "many.html")
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto((tmp_path / "many.html").as_uri())
        return page

    yield unfold
    context.close()
    assert problems == []


def test_a_page_grows_by_little_with_every_row() -> None:
    sizes = [len(html_of(many_rows(count)).encode()) for count in (1000, 2000, 4000)]
    assert sizes[2] - sizes[1] < 2000 * 40
    assert sizes[2] - sizes[1] < 2.2 * (sizes[1] - sizes[0])


def test_many_rows_are_folded_and_are_built_a_page_at_a_time(
    unfold: Callable[[Report], Page],
) -> None:
    page = unfold(many_rows(250))
    table = page.locator("#table-tasks")
    expect(table.locator("tbody")).to_have_count(0)

    table.get_by_text("250 rows").first.click()

    assert first_cells(page, "tasks") == [f"g/task {n}" for n in range(100)]
    expect(table.get_by_text("1 to 100 of 250")).to_be_visible()
    expect(table.get_by_label("Earlier rows")).to_be_disabled()
    table.get_by_label("Later rows").click()
    assert first_cells(page, "tasks") == [f"g/task {n}" for n in range(100, 200)]
    expect(table.locator(".group")).to_have_text(["g", "h"])
    table.get_by_label("Later rows").click()
    assert first_cells(page, "tasks") == [f"g/task {n}" for n in range(200, 250)]
    expect(table.get_by_label("Later rows")).to_be_disabled()


def test_many_rows_look_and_open_as_those_of_other_tables(unfold: Callable[[Report], Page]) -> None:
    page = unfold(many_rows(250, listed=True))
    table = page.locator("#table-tasks")
    row = table.locator("tbody tr").nth(4)  # the group's heading is the first

    assert row.locator("td").all_inner_texts()[:2] == [EVIL, "6.0\n0.0 to 12.6"]
    expect(row.locator("td").nth(1)).to_have_class("n h1")
    expect(row.locator("td").nth(3)).to_have_class("n h20")
    expect(table.locator("strong")).to_have_text(["0.0"])
    row.get_by_role("button").click()
    expect(table.locator(".details")).to_contain_text(f"n = 50; {THESE_TASKS}; Wilson's interval")
    expect(page).to_have_title("Many")


def test_many_rows_are_filtered_and_sorted_all_of_them(unfold: Callable[[Report], Page]) -> None:
    page = unfold(many_rows(250, listed=True))
    table = page.locator("#table-tasks")

    table.get_by_label("Filter").fill("BLUE")
    expect(table.locator("output")).to_have_text("62 of 250 rows")
    assert first_cells(page, "tasks") == [f"g/task {n}" for n in range(2, 250, 4)]
    sort(page, "tasks", "B")
    sort(page, "tasks", "B")
    expect(table.locator("th").nth(3)).to_have_attribute("aria-sort", "descending")
    blue = range(2, 250, 4)  # in two groups, which stay together; equal ones in their order
    assert first_cells(page, "tasks") == [
        f"g/task {n}" for n in sorted(blue, key=lambda n: (n >= 125, -(n % 5), n))
    ]
    sort(page, "tasks", "B")
    table.get_by_label("Filter").fill("nothing like it")
    expect(table.get_by_text("No row matches.")).to_be_visible()
    table.get_by_label("Filter").fill("")
    sort(page, "tasks", "A")
    table.get_by_label("Later rows").click()
    assert first_cells(page, "tasks")[24] == "g/task 7"  # the last of its group: it has no rate


def test_a_long_name_stays_in_its_column(unfold: Callable[[Report], Page]) -> None:
    report = many_rows(101, listed=True)
    (section,) = report.sections
    (table,) = section.tables
    name = Cell(text="libero-plus/" + "put_the_black_bowl_on_the_plate_" * 4)
    rows = tuple(replace(row, cells=(name, *row.cells[1:])) for row in table.rows)
    section = replace(section, tables=(replace(table, rows=rows),))
    page = unfold(replace(report, sections=(section,)))

    inside = page.locator("#table-tasks tbody th button").first
    assert inside.evaluate("e => e.scrollWidth - e.clientWidth") <= 0
    cell = page.locator("#table-tasks tbody th[scope=row]").first
    assert inside.bounding_box()["width"] <= cell.bounding_box()["width"]


def test_without_javascript_it_is_said_where_many_rows_are(
    browser: Browser, tmp_path: Path
) -> None:
    write_html(many_rows(250), tmp_path / "many.html")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "many.html").as_uri())

    said = page.locator("#table-tasks noscript p")
    expect(said).to_be_visible()
    expect(said).to_contain_text("tables/tasks.csv has them")
    expect(page.locator(".many")).to_be_hidden()
    context.close()


# Episodes


def test_the_list_holds_one_page_of_any_number_of_episodes(
    browser: Browser, tmp_path: Path
) -> None:
    many = tuple(episode(number, tmp_path) for number in range(5000) if number not in (1, 2))
    write_html(Report(title="Many", discordant=many), tmp_path / "many.html")
    page = browser.new_page()
    page.goto((tmp_path / "many.html").as_uri())

    assert page.locator("#episode-list li").count() == 20
    assert page.evaluate("document.querySelectorAll('*').length") < 300
    page.get_by_label("Later in the list").click()
    expect(page.locator(".pages span")).to_have_text("21 to 40 of 4998")
    page.context.close()


def test_episodes_are_found_by_a_filter(open_page: Open) -> None:
    page = open_page()
    master = page.locator(".master")

    master.get_by_label("Filter").fill("only sft wine")
    expect(master.locator("output")).to_have_text("3 of 45 episodes")
    keys = master.locator(".key").all_inner_texts()
    assert keys == ["libero-goal/2#1", "libero-goal/7#2", "libero-goal/2#4"]  # 12, 27 and 42
    expect(page.locator("#episodes .prose")).to_contain_text("“filmed” finds the one with films")
    master.get_by_label("Filter").fill("filmed")
    expect(master.locator("output")).to_have_text("1 of 45 episodes")
    master.get_by_label("Filter").fill("unheard of")
    expect(master.get_by_text("No episode matches.")).to_be_visible()


def test_an_episode_opens_by_mouse_and_its_address_names_it(open_page: Open) -> None:
    page = open_page()

    page.locator("#episode-list a").nth(2).click()

    shown = episode_page(page)
    expect(shown).to_contain_text(
        "Only eight succeeded. Both did the same for 20 control steps, and"
    )
    expect(shown).to_contain_text("no longer after 24.")
    expect(shown).to_contain_text("gone.mp4 is not there.")
    expect(shown).to_contain_text("huge.mp4 (4.0 MB) is not embedded")
    expect(shown.locator("code").first).to_have_text("vlabench replay sft.jsonl libero-goal/2#0")
    assert page.url.endswith("#episode-libero-goal/2%230")


def test_an_episode_opens_by_keyboard_and_j_and_k_go_on(open_page: Open) -> None:
    page = open_page()

    page.locator("#episode-list a").first.focus()
    page.keyboard.press("Enter")
    expect(episode_page(page).locator(".where")).to_contain_text("libero-goal/0#0")
    expect(episode_page(page)).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(episode_page(page).locator(".where")).to_contain_text("libero-goal/2#0")
    page.keyboard.press("k")
    expect(episode_page(page).locator(".where")).to_contain_text("libero-goal/1#0")
    assert page.url.endswith("#episode-libero-goal/1%230")


def test_next_and_previous_stay_within_what_the_filter_left(open_page: Open) -> None:
    page = open_page()
    page.locator(".master").get_by_label("Filter").fill("only sft wine")

    page.locator("#episode-list a").first.click()
    expect(page.get_by_role("button", name="Previous")).to_be_disabled()
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Next").click()

    expect(episode_page(page).locator(".where")).to_contain_text("libero-goal/2#4")
    expect(episode_page(page).locator(".place")).to_have_text("3 of 3")
    expect(page.get_by_role("button", name="Next")).to_be_disabled()


def test_a_link_opens_the_episode_it_names(open_page: Open) -> None:
    page = open_page("#episode-libero-goal/2%234")

    expect(episode_page(page).locator(".where")).to_contain_text("libero-goal/2#4")
    expect(episode_page(page)).to_be_in_viewport()
    current = page.locator("#episode-list [aria-current]")
    expect(current).to_contain_text("libero-goal/2#4")  # number 43, on the list's third page
    page.goto(page.url.replace("2%234", "9%239"))
    expect(episode_page(page)).to_contain_text("This report has no such episode.")


def test_a_link_opens_the_table_it_names(open_page: Open) -> None:
    page = open_page("#table-long")

    expect(page.locator("#table-long h3")).to_be_in_viewport()


def test_where_two_runs_part_is_drawn_to_scale(open_page: Open) -> None:
    """Of 70 steps the first 20 are alike, and by the 24th they are not."""
    page = open_page("#episode-libero-goal/1%230")

    bars = episode_page(page).locator(".bar")
    wide = bars.nth(0).bounding_box()["width"]
    parts = [
        [
            bars.nth(i).locator(f".{part}").bounding_box()["width"]
            for part in ("alike", "between", "rest")
        ]
        for i in range(2)
    ]
    assert parts[0] == pytest.approx([wide * 20 / 70, wide * 4 / 70, wide * 46 / 70], abs=0.5)
    assert parts[1] == pytest.approx([wide * 20 / 70, wide * 4 / 70, wide * 16 / 70], abs=0.5)


TIMES = "videos => videos.map(video => video.currentTime)"


def test_both_films_go_by_one_control_step_by_step(open_page: Open) -> None:
    """Frame 24 of both begins at 1.2 s; its middle is 1.225 s."""
    page = open_page("#episode-libero-goal/1%230")
    videos = episode_page(page).locator("video")
    expect(videos).to_have_count(2)

    page.get_by_role("button", name="Where they part").click()
    assert videos.evaluate_all(TIMES) == pytest.approx([1.225, 1.225])
    episode_page(page).focus()
    page.keyboard.press("ArrowRight")
    assert videos.evaluate_all(TIMES) == pytest.approx([1.275, 1.275])
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(episode_page(page).locator(".player output")).to_have_text("step 23 of 70, 1.15 s")
    page.get_by_label("Control step").focus()
    page.keyboard.press("ArrowRight")
    expect(episode_page(page).locator(".player output")).to_have_text("step 24 of 70, 1.20 s")


def test_both_films_play_and_pause_together(open_page: Open) -> None:
    page = open_page("#episode-libero-goal/1%230")
    videos = episode_page(page).locator("video")
    button = page.locator(".play")

    episode_page(page).focus()
    page.keyboard.press("Space")
    expect(button).to_have_text("Pause")
    said = episode_page(page).locator(".player output")
    expect(said).to_have_text(re.compile(r"step ([4-9]|\d\d) of 70"))
    page.keyboard.press("Space")
    expect(button).to_have_text("Play")
    one, other = videos.evaluate_all(TIMES)
    assert one == other > 0.15
    assert videos.evaluate_all("videos => videos.map(video => video.paused)") == [True, True]


def test_films_play_to_their_end_and_from_the_start_again(open_page: Open) -> None:
    page = open_page("#episode-libero-goal/1%230")
    said = episode_page(page).locator(".player output")

    page.get_by_label("Control step").fill("66")
    page.locator(".play").click()
    expect(said).to_have_text("step 70 of 70, 3.50 s")
    expect(page.locator(".play")).to_have_text("Play")
    page.locator(".play").click()
    expect(said).to_have_text(re.compile(r"step [0-5]?\d of 70"))


def test_the_command_that_films_an_episode_can_be_copied(open_page: Open) -> None:
    page = open_page(
        "#episode-libero-goal/2%230", permissions=["clipboard-read", "clipboard-write"]
    )

    page.get_by_role("button", name="Copy").first.click()

    expect(episode_page(page).get_by_text("Copied.")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "vlabench replay sft.jsonl libero-goal/2#0"


# For everybody


@pytest.mark.parametrize("size", [(360, 740), (1440, 900)])
def test_the_page_never_scrolls_sideways(open_page: Open, size: tuple[int, int]) -> None:
    page = open_page("#episode-libero-goal/1%230", viewport={"width": size[0], "height": size[1]})
    page.locator("#table-libero-tasks .more").first.click()

    wide = page.evaluate("""() => {
        const later = document.querySelectorAll(".table, figure");
        for (const element of later) element.style.contentVisibility = "visible";
        return [document.documentElement.scrollWidth, document.body.scrollWidth];
    }""")

    assert max(wide) <= size[0]
    table = page.locator("#table-libero-tasks .scroll")
    assert table.evaluate("e => e.scrollWidth > e.clientWidth") == (size[0] == 360)


def test_letters_of_a_wide_figure_can_be_read_on_a_phone(open_page: Open) -> None:
    """It scrolls in its own frame: letters as high as a narrow figure's."""
    page = open_page(viewport={"width": 360, "height": 740})

    def height(figure: str) -> float:
        letters = page.locator(f"#figure-{figure} svg text").filter(has_text="success, %")
        letters.scroll_into_view_if_needed()
        return letters.bounding_box()["width"]  # written upwards

    assert height("cost") == pytest.approx(height("success-by-steps"), rel=0.1)
    assert page.locator("#figure-cost .scroll").evaluate("e => e.scrollWidth > e.clientWidth")


def test_no_number_is_broken_into_two_lines(open_page: Open) -> None:
    """A table as wide as a report's: where it has to shrink, names break and numbers do not."""
    page = open_page(viewport={"width": 700, "height": 740})

    lines = page.locator("#table-libero-success td:last-child").evaluate_all(
        """cells => cells.map(cell => {
            const range = document.createRange();
            range.selectNodeContents(cell);
            return range.getClientRects().length;
        })"""
    )

    assert lines == [1] * 5


def test_the_first_column_stays_in_sight(open_page: Open) -> None:
    page = open_page(viewport={"width": 360, "height": 740})
    scroll = page.locator("#table-libero-tasks .scroll")
    scroll.scroll_into_view_if_needed()

    scroll.evaluate("e => e.scrollTo(400, 200)")

    name = page.locator("#table-libero-tasks tbody th").nth(5)
    assert name.bounding_box()["x"] == pytest.approx(scroll.bounding_box()["x"], abs=1)
    head = page.locator("#table-libero-tasks thead th").nth(5)
    assert head.bounding_box()["y"] == pytest.approx(scroll.bounding_box()["y"], abs=1)


TEXTS = (
    ".prose", ".where", ".contents a", ".contents ol ol a", "figcaption", "summary", ".note",
    ".finding.better h3", ".finding.underpowered h3", ".sort", "tbody th", ".group th", "td small",
    ".h0", ".h10", ".h20", ".h20 small", ".tools output", "#episode-list .key",
    "#episode-list .alone", "#episode-list .apart", ".turn button", "button:disabled", ".legend",
    ".success .outcome", ".failure .outcome", ".film code", "#sources code",
)  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_on_light_and_on_dark(open_page: Open, scheme: str) -> None:
    """At least 4.5 to 1 (WCAG 2.2, success criterion 1.4.3)."""
    page = open_page("#episode-libero-goal/0%230", color_scheme=scheme)

    found = dict(zip(TEXTS, page.evaluate(f"all => all.map({DRAWN})", TEXTS), strict=True))
    contrasts = {text: contrast(*colours) for text, colours in found.items()}

    assert {text: value for text, value in contrasts.items() if value < 4.5} == {}


def test_light_and_dark_are_the_readers_choice(open_page: Open) -> None:
    page = open_page(color_scheme="light")
    paper = luminance(background(page, "body"))

    page.get_by_role("button", name="Dark").click()
    assert luminance(background(page, "body")) < 0.05 < 0.9 < paper
    page.reload()
    assert luminance(background(page, "body")) < 0.05
    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")


def test_figures_are_drawn_in_the_pages_colours(open_page: Open) -> None:
    page = open_page(color_scheme="dark")
    text = page.locator("#figure-bars svg text").first

    expect(page.get_by_role("img", name="Bars")).to_be_visible()
    assert text.evaluate("e => getComputedStyle(e).fill") == page.locator("body").evaluate(
        "e => getComputedStyle(e).color"
    )
    assert page.locator("svg [style], svg style").count() == 0


def test_no_two_elements_have_one_id(open_page: Open) -> None:
    page = open_page("#episode-libero-goal/1%230")

    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")

    assert sorted(ids) == sorted(set(ids))
    missing = page.evaluate("""[...document.querySelectorAll("[href^='#'], [clip-path]")]
        .map(e => /#([^")]+)/.exec(e.getAttribute("href") ?? e.getAttribute("clip-path"))[1])
        .filter(id => !document.getElementById(id) && !id.startsWith("episode-"))""")
    assert missing == []


def test_the_first_tab_leads_past_the_contents(open_page: Open) -> None:
    page = open_page()

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.locator("#content")).to_be_focused()


def test_without_javascript_tables_texts_episodes_and_films_are_there(open_page: Open) -> None:
    page = open_page(java_script_enabled=False)

    expect(page.locator("#table-gaps tbody tr").first).to_be_visible()
    expect(page.locator("noscript li")).to_have_count(45)
    expect(page.locator("noscript li").nth(2)).to_contain_text(
        "vlabench replay sft.jsonl libero-goal/2#0"
    )
    expect(page.locator(".films video")).to_have_count(2)
    expect(page.locator(".films video").first).to_be_visible()
    for element in page.locator(".scripted").all():
        expect(element).to_be_hidden()


def test_print_shows_all_of_a_table_on_white(open_page: Open) -> None:
    page = open_page(color_scheme="dark")

    page.emulate_media(media="print")

    assert background(page, "body") == [255, 255, 255]
    expect(page.locator(".contents")).to_be_hidden()
    scroll = page.locator("#table-long .scroll")
    assert scroll.evaluate("e => e.scrollHeight - e.clientHeight") <= 1


# Colours, as the browser draws them

DRAWN = """selector => {
    const element = document.querySelector(selector);
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const layers = ["#fff"];
    for (let e = element; e; e = e.parentElement) {
        layers.splice(1, 0, getComputedStyle(e).backgroundColor);
    }
    const drawn = (colours) => {
        for (const colour of colours) {
            context.fillStyle = colour;
            context.fillRect(0, 0, 1, 1);
        }
        return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    return [drawn([...layers, getComputedStyle(element).color]), drawn(layers)];
}"""

Colour = list[int]


def background(page: Page, selector: str) -> Colour:
    """Return the red, green and blue, 0 to 255, that are behind an element's text."""
    return page.evaluate(DRAWN, selector)[1]


def contrast(text: Colour, behind: Colour) -> float:
    """Return the contrast of two colours (WCAG 2.2, glossary)."""
    bright, dark = sorted((luminance(text), luminance(behind)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: Colour) -> float:
    """Return the relative luminance of a colour (WCAG 2.2, glossary)."""
    parts = [c / 255 for c in colour]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_contrast_is_computed_as_the_standard_says() -> None:
    assert luminance([255, 255, 255]) == pytest.approx(1)
    assert luminance([119, 119, 119]) == pytest.approx(
        0.1845, abs=1e-4
    )  # the grey of 4.48 on white
