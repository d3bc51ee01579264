"""Figures as files and as SVG: the same bytes, whatever the user's matplotlib is set to."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib.figure
import numpy as np
import pytest

from vlabench.metrics import Estimate
from vlabench.reports.drawing import success_figure
from vlabench.reports.figures import save_figure, svg_of
from vlabench.reports.model import Figure


def figure(name: str = "curves", *, size: tuple[float, float] = (4.0, 2.5)) -> Figure:
    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        axes.plot([1, 10, 100], [0.1, 0.5, 0.9], "o--", label="B <b>bold</b> & more")
        axes.set_xscale("log")
        axes.set_xlim(5, 50)
        axes.legend()

    return Figure(id=name, title='A "title" & more', caption="A caption.", draw=draw, size=size)


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_a_figure_gives_the_same_bytes_whatever_matplotlib_is_set_to(
    tmp_path: Path, suffix: str
) -> None:
    save_figure(figure(), tmp_path / f"one{suffix}")
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "savefig.dpi": 20}):
        save_figure(figure(), tmp_path / f"two{suffix}")

    one = (tmp_path / f"one{suffix}").read_bytes()
    assert one == (tmp_path / f"two{suffix}").read_bytes()
    assert b"CreationDate" not in one
    assert b"Software" not in one


def test_a_picture_has_150_dots_an_inch(tmp_path: Path) -> None:
    save_figure(figure(size=(4.0, 2.5)), tmp_path / "one.png")

    header = (tmp_path / "one.png").read_bytes()[16:24]
    assert [int.from_bytes(header[i : i + 4], "big") for i in (0, 4)] == [600, 375]


def test_a_pdf_embeds_no_type_3_font(tmp_path: Path) -> None:
    save_figure(figure(), tmp_path / "one.pdf")

    content = (tmp_path / "one.pdf").read_bytes()
    assert b"/Subtype /Type3" not in content
    assert b"/FontFile2" in content


def test_a_suffix_that_is_no_figures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"one\.svg: a figure is one of \.png, \.pdf"):
        save_figure(figure(), tmp_path / "one.svg")


def test_drawing_leaves_matplotlibs_settings_alone(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)

    svg_of(figure())
    save_figure(figure(), tmp_path / "one.pdf")

    assert dict(matplotlib.rcParams) == before


RATE = Estimate(value=0.5, low=0.4, high=0.6, n=80, method="Wilson 95%", question="these tasks")


def drawn_axes(rates: dict[str, dict[str, Estimate | float | None]]) -> Any:
    canvas = matplotlib.figure.Figure()
    success_figure("success", "libero", rates).draw(canvas)
    return canvas.axes[0]


@pytest.mark.parametrize("groups", [("all tasks",), ("Goal", "Long")])
def test_twenty_methods_look_different(groups: tuple[str, ...]) -> None:
    axes = drawn_axes({f"m{i}": dict.fromkeys(groups, RATE) for i in range(20)})
    lines = [container.lines[0] for container in axes.containers]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 20


def test_of_one_group_every_method_has_its_name_beside_its_rate() -> None:
    axes = drawn_axes({"B": {"Goal": RATE}, "$A": {"Goal": None}, "paper's": {"Goal": 0.875}})
    assert [label.get_text() for label in axes.get_yticklabels()] == ["B", r"\$A", "paper's"]
    (measured,), (bare,) = axes.containers, [x for x in axes.lines if x.get_mfc() == "none"]
    assert measured.lines[0].get_xydata().tolist() == [[50, 0]]
    (arms,) = measured.lines[2]
    assert arms.get_segments()[0] == pytest.approx(np.array([[40, 0], [60, 0]]))
    assert bare.get_xydata().tolist() == [[87.5, 2]]
    assert axes.get_ylim() == (2.6, -0.6)  # the first one on top
    assert axes.get_xlabel() == "success, %: Goal"
    assert axes.get_legend() is None


def test_an_svg_is_the_same_twice_and_shares_no_id_with_another() -> None:
    one, again, other = svg_of(figure()), svg_of(figure()), svg_of(figure("others"))

    assert one == again
    ids = [
        {e.get("id") for e in ElementTree.fromstring(svg).iter()} - {None} for svg in (one, other)
    ]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_an_svg_is_plain_text_and_nothing_but_the_pages_colours() -> None:
    root = ElementTree.fromstring(svg_of(figure()))

    assert root.tag == "svg"
    assert root.get("aria-label") == 'A "title" & more'
    assert (root.get("width"), root.get("height")) == ("384", "240")
    assert {e.tag for e in root.iter()} <= {"svg", "g", "defs", "path", "use", "text", "tspan",
                                            "clipPath", "rect"}  # fmt: skip
    assert not [e for e in root.iter() if e.get("style") or "#000000" in e.attrib.values()]
    assert "B <b>bold</b> & more" in {e.text for e in root.iter("text")}
    assert root.get("fill") == "currentColor"
    assert {e.get("fill") for e in root.iter("text")} == {None}
