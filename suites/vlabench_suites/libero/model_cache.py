"""Compiled scenes on disk, because compiling one takes seconds and loading it a fraction of one.

A scene is named by what it was compiled from (MuJoCo's version, the XML that robosuite wrote and
the content of every file it mentions) and by a digest of its own bytes, `KEY-DIGEST.mjb`: a file
that was damaged is found out before MuJoCo reads it, which would simulate much of it without a
word. A digest inside the file would cost its size in memory to be taken off again. Files are
written elsewhere and renamed into place, so that any number of processes may use one folder; the
least recently used ones go when it is full.
"""

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FORMAT = 2
"""Raised when files written by an older version of this module must not be read."""

SUFFIX = ".mjb"
_LOG = logging.getLogger("vlabench")

_COMPILE = """
import ctypes, sys, mujoco
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG: it ends with who asked
mujoco.mj_saveModel(mujoco.MjModel.from_xml_string(sys.stdin.read()), sys.argv[1])
"""


class Pristine(NamedTuple):
    """Parts of a model that LIBERO changes after compiling it, as they were compiled."""

    body_pos: NDArray[np.float64]
    body_quat: NDArray[np.float64]
    site_rgba: NDArray[np.float32]


class ModelCache:
    """Compiles scenes, unless the folder has them.

    Args:
        folder: Made if it does not exist. None compiles always and keeps nothing.
        limit_bytes: How large the folder may grow; a scene has 80 to 290 MB.
    """

    def __init__(self, folder: Path | None, *, limit_bytes: int = 10 * 1024**3) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes

    def model(self, xml: str) -> Any:
        """Return the `mujoco.MjModel` of `xml`. A file that is damaged is replaced.

        Where the folder cannot be written, the scene is compiled here.
        """
        import mujoco

        if self._folder is None:
            return mujoco.MjModel.from_xml_string(xml)
        key = scene_key(xml)
        try:
            path = self._found(key) or self._compile(xml, key)
        except OSError as error:
            _LOG.warning("compiled scenes cannot be kept in %s: %s", self._folder, error.strerror)
            return mujoco.MjModel.from_xml_string(xml)
        return mujoco.MjModel.from_binary_path(str(path))

    def files(self) -> list[Path]:
        """Return the files of the folder, the least recently used one first."""
        if self._folder is None:
            return []
        used = []
        for path in self._folder.glob(f"*{SUFFIX}"):
            try:
                used.append((path.stat().st_mtime_ns, path))
            except FileNotFoundError:  # another process has just removed it
                continue
        return [path for _, path in sorted(used)]

    def clear(self) -> None:
        """Remove every file of the cache, and what a killed process left of one."""
        leftovers = self._folder.glob(f"*{SUFFIX}.part") if self._folder else ()
        for path in (*self.files(), *leftovers):
            path.unlink(missing_ok=True)

    def _found(self, key: str) -> Path | None:
        """Return a scene's file, if there is one that is as it was written."""
        assert self._folder is not None
        for path in self._folder.glob(f"{key}-*{SUFFIX}"):
            try:
                if path == self._place(key, path):
                    _touch(path)
                    return path
            except FileNotFoundError:  # another process made room
                continue
            _LOG.warning("%s was damaged and is made anew", path)
            path.unlink(missing_ok=True)
        return None

    def _place(self, key: str, file: Path) -> Path:
        """Return where a scene's file belongs."""
        assert self._folder is not None
        with file.open("rb") as content:
            digest = hashlib.file_digest(
                content, lambda: hashlib.blake2b(key.encode(), digest_size=16)
            )
        return self._folder / f"{key}-{digest.hexdigest()}{SUFFIX}"

    def _compile(self, xml: str, key: str) -> Path:
        """Compile in a process of its own: MuJoCo keeps half a gigabyte of what it read."""
        assert self._folder is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(suffix=f"{SUFFIX}.part", dir=self._folder)
        os.close(handle)
        part = Path(name)
        try:
            command = [sys.executable, "-c", _COMPILE, name]
            done = subprocess.run(command, input=xml, text=True, capture_output=True, check=False)
            if done.returncode:
                raise RuntimeError(f"MuJoCo cannot compile the scene: {done.stderr.strip()}")
            path = self._place(key, part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        self._shrink()
        return path

    def _shrink(self) -> None:
        sizes = {}
        for path in self.files():
            try:
                sizes[path] = path.stat().st_size
            except FileNotFoundError:
                continue
        excess = sum(sizes.values()) - self._limit_bytes
        for path, size in list(sizes.items())[:-1]:  # never the one just written
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size


@contextmanager
def cached_compiler(cache: ModelCache, *, textures: bool = True) -> Iterator[list[Pristine]]:
    """Let robosuite take its models from `cache` inside the `with`; yield what they were like.

    Args:
        cache: Where to look, and where to put what was not there.
        textures: Without, pictures are plain but the physics is the same, in a third of the memory.
    """
    from robosuite.utils.binding_utils import MjSim

    original, compiled = MjSim.from_xml_string, list[Pristine]()

    def compile_xml(xml: str) -> Any:
        sim = MjSim(cache.model(xml if textures else without_textures(xml)))
        compiled.append(Pristine(*(getattr(sim.model, n).copy() for n in Pristine._fields)))
        return sim

    MjSim.from_xml_string = compile_xml
    try:
        yield compiled
    finally:
        MjSim.from_xml_string = original


def without_textures(xml: str) -> str:
    """Replace the picture of each texture in a MuJoCo scene by a pixel."""
    root = ET.fromstring(xml)
    for texture in root.iter("texture"):
        files = [name for name in texture.attrib if name.startswith(("file", "grid"))]
        for name in files:
            del texture.attrib[name]
        texture.attrib.setdefault("builtin", "flat")
        flat = texture.get("type", "cube") == "2d"
        texture.attrib.update(width="1", height="1" if flat else "6")
    return ET.tostring(root, encoding="unicode")


def scene_key(xml: str) -> str:
    """Return the name of a scene: a digest of everything its compiled form depends on."""
    import mujoco

    digest = hashlib.blake2b(f"{FORMAT} {mujoco.__version__}\n{xml}".encode(), digest_size=20)
    for name in sorted(_mentioned_files(xml)):
        with Path(name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def _mentioned_files(xml: str) -> set[str]:
    """Return the files a scene is made of. robosuite writes absolute paths."""
    elements = ET.fromstring(xml).iter()
    return {v for e in elements for n, v in e.attrib.items() if n.startswith("file") and "/" in v}


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except PermissionError:  # somebody else's folder, which may be read
        pass
