"""matplotlib for pictures in files, whatever the environment says of windows."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING
from warnings import catch_warnings, filterwarnings

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure_class() -> "type[Figure]":
    """Return `matplotlib.figure.Figure`, which draws into files without a back end.

    matplotlib cannot be imported where MPLBACKEND names a back end that is not installed, as in
    what a notebook starts. It is imported without the variable then, which stays as it was.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        module = import_module("matplotlib.figure")
    except ValueError:
        asked = os.environ.pop("MPLBACKEND", None)
        if asked is None:
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            del sys.modules[name]  # what the failed import left, without matplotlib itself
        try:
            module = import_module("matplotlib.figure")
        finally:
            os.environ["MPLBACKEND"] = asked
    figure: type[Figure] = module.Figure
    return figure


@contextmanager
def without_glyphs() -> Iterator[None]:
    """Let names in a script that the font lacks be drawn as boxes, without a warning for each."""
    with catch_warnings():
        filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield
