"""Pictures in files are drawn whatever the environment says of windows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DRAW = """
import os
from vlabench.drawing import figure_class
figure_class()().savefig({out!r})
assert os.environ["MPLBACKEND"] == {backend!r}
"""


@pytest.mark.parametrize(
    "backend", ["module://matplotlib_inline.backend_inline", "module://nowhere.at_all", "nonsense"]
)
def test_a_back_end_that_is_not_installed_is_not_asked_for(backend: str, tmp_path: Path) -> None:
    out = tmp_path / "empty.png"
    subprocess.run(
        [sys.executable, "-c", DRAW.format(out=str(out), backend=backend)],
        env={**os.environ, "MPLBACKEND": backend},
        check=True,
    )
    assert out.read_bytes().startswith(b"\x89PNG")
