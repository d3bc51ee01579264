"""Figures as SVG for a page, and as PNG and PDF files: the same figure gives the same bytes."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from vlabench.drawing import figure_class, without_glyphs
from vlabench.reports.model import Figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

PIXELS_PER_INCH = 150

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is the same everywhere
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # TrueType: conferences refuse matplotlib's own Type 3
    "svg.fonttype": "none",
}
_FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"dpi": PIXELS_PER_INCH, "metadata": {"Software": None}},
    ".pdf": {"metadata": {"CreationDate": None, "Creator": None, "Producer": None}},
}


def save_figure(figure: Figure, *paths: Path) -> None:
    """Write a figure as PNG (150 dots per inch) or PDF, by each file's suffix, on white.

    Raises:
        ValueError: If the suffix is neither.
        ImportError: If matplotlib is not installed.
    """
    for path in paths:
        if path.suffix not in _FORMATS:
            known = ", ".join(_FORMATS)
            raise ValueError(f"{path}: a figure is one of {known}, by the file's suffix")
    with drawn(figure) as canvas:
        for path in paths:
            canvas.savefig(path, **_FORMATS[path.suffix])
            canvas.set_layout_engine("none")  # laid out once; every format would do it again


def svg_of(figure: Figure) -> str:
    """Return a figure as an `<svg>` element for an HTML page.

    The page shows through it. Text stays text, in the page's font; black is the page's colour of
    text, so that it can be read on dark paper, too. There is no style in it, which a strict
    Content-Security-Policy would forbid, and no id that another figure of the page could have.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    text = io.StringIO()
    with drawn(figure) as canvas:
        canvas.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(text.getvalue())
    used = {ref for element in root.iter() for ref in _references(element)}
    for parent in root.iter():
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        _make_plain(element, used)
    width, height = (round(96 * inches) for inches in figure.size)
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib |= {"viewBox": box, "width": str(width), "height": str(height)}
    # Where nothing is said SVG fills with black; matplotlib says nothing of text and of black.
    root.attrib |= {"role": "img", "aria-label": figure.title, "fill": "currentColor"}
    return ElementTree.tostring(root, encoding="unicode")


@contextmanager
def drawn(figure: Figure) -> Iterator["Canvas"]:
    """Draw on a canvas of the figure's size, whatever the user's matplotlibrc says."""
    canvas_class = figure_class()
    import matplotlib

    with matplotlib.rc_context(), without_glyphs():
        matplotlib.rcdefaults()
        # Ids in an SVG are hashes of what they name and of this; without it, of a random number.
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": figure.id})
        canvas = canvas_class(figsize=figure.size, layout="constrained")
        figure.draw(canvas)
        yield canvas


def _local(name: str) -> str:
    """Return a name without its namespace, as HTML wants it."""
    return name.rpartition("}")[2]


def _references(element: ElementTree.Element) -> Iterator[str]:
    """Yield the ids that an element refers to, as `#id` or as `url(#id)`."""
    for name, value in element.attrib.items():
        if _local(name) == "href" and value.startswith("#"):
            yield value[1:]
        for part in value.split("url(#")[1:]:
            yield part.partition(")")[0]


def _make_plain(element: ElementTree.Element, used: set[str]) -> None:
    """Turn styles into attributes and black into the page's colour; drop ids that nobody uses.

    Every style that matplotlib 3.10 and later writes is an attribute of SVG, too; before, text had
    the shorthand `font`, which is none (https://github.com/matplotlib/matplotlib/pull/28504).
    """
    found = {_local(name): value for name, value in element.attrib.items()}
    for rule in found.pop("style", "").split(";"):
        name, _, value = rule.partition(":")
        if value and name.strip() != "font-family":
            found[name.strip()] = value.strip()
    if found.get("id") not in used:
        found.pop("id", None)
    black = {name: "currentColor" for name, value in found.items() if value == "#000000"}
    element.tag = _local(element.tag)
    element.attrib.clear()
    element.attrib |= found | black
    element.text, element.tail = (
        None if not text or text.isspace() else text for text in (element.text, element.tail)
    )
