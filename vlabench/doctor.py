"""What `vlabench doctor` looks at."""

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from vlabench.errors import DrawingError, VlabenchError
from vlabench.provenance import cache_folder, fingerprint
from vlabench.registry import load_suite, require_packages, suite_ids
from vlabench.suite import Suite

_TESTED_BELOW = (3, 14)
Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        level: `ok`, `warn` (something is not possible here) or `fail` (something is wrong).
        what: What was looked at.
        found: What was found.
        advice: What to do; empty when nothing.
    """

    level: Level
    what: str
    found: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """Look at everything a run may need; each finding as soon as it is known."""
    yield _python()
    yield _writable(Path("results"), "fail", "run elsewhere, or name a file with --out")
    advice = "scenes are compiled again each time; VLABENCH_CACHE=FOLDER names another place"
    yield _writable(cache_folder(), "warn", advice)
    yield _video()
    seen: set[object] = set()
    for suite_id in suite_ids():
        try:
            suite = load_suite(suite_id)
        except VlabenchError as error:
            yield Finding(level="fail", what=f"suite {suite_id}", found=str(error))
            continue
        family = (suite.packages, suite.distributions)
        if suite.packages and family not in seen:
            seen.add(family)
            yield from _simulator(suite)


def _python() -> Finding:
    version = sys.version.split()[0]
    if sys.version_info >= _TESTED_BELOW:
        advice = f"tested below {_TESTED_BELOW[0]}.{_TESTED_BELOW[1]} only"
        return Finding(level="warn", what="python", found=version, advice=advice)
    return Finding(level="ok", what="python", found=version)


def _writable(folder: Path, level: Level, advice: str) -> Finding:
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    what = f"write access to {folder}"
    try:
        with tempfile.TemporaryFile(dir=existing):
            return Finding(level="ok", what=what, found="yes")
    except OSError as error:
        return Finding(level=level, what=what, found=str(error.strerror), advice=advice)


def _video() -> Finding:
    if find_spec("imageio_ffmpeg"):
        return Finding(level="ok", what="videos", found="imageio-ffmpeg is installed")
    advice = "pip install 'vlabench-harness[video]'"
    return Finding(level="warn", what="videos", found="not possible", advice=advice)


def _simulator(suite: Suite) -> Iterator[Finding]:
    missing = {extra for package, extra in suite.packages if find_spec(package) is None}
    if missing:
        advice = f"pip install 'vlabench-harness[{','.join(sorted(missing))}]'"
        yield Finding(level="warn", what=suite.id, found="not installed", advice=advice)
        return
    try:
        require_packages(suite)
    except VlabenchError as error:
        yield Finding(level="fail", what=suite.id, found=str(error))
        return
    gl, drawing = _drawing(suite)
    yield drawing
    try:
        found = fingerprint(suite, suite.protocol(), gl=gl)
    except Exception as error:  # noqa: BLE001 - whatever a broken simulator raises is the finding
        yield Finding(level="fail", what=suite.id, found=f"{type(error).__name__}: {error}")
        return
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    yield Finding(level="ok", what=f"{suite.id} versions", found=versions)
    for name, value in found.canaries.items():
        yield Finding(level="ok", what=f"{suite.id} canary", found=f"{name}: {value:.4f}")
    for mismatch in found.mismatches:
        advice = "install the pinned versions: pip install -c constraints.txt ..."
        what = f"{suite.id} as {suite.protocol().name}"
        yield Finding(level="fail", what=what, found=mismatch, advice=advice)


def _drawing(suite: Suite) -> tuple[str, Finding]:
    what = f"{suite.id} pictures"
    if suite.drawing is None:
        return "none", Finding(level="ok", what=what, found="need no OpenGL")
    try:
        gl = suite.drawing()
    except DrawingError as error:
        return "none", Finding(level="warn", what=what, found=str(error))
    chosen = " (MUJOCO_GL)" if os.environ.get("MUJOCO_GL") else ""
    return gl, Finding(level="ok", what=what, found=f"OpenGL by {gl}{chosen}")
