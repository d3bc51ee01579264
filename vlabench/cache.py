"""The cache folder: what can be computed again and takes long to (compiled scenes, canaries)."""

from dataclasses import dataclass
from pathlib import Path

from vlabench.provenance import cache_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheInfo:
    """What the cache holds.

    Attributes:
        folder: Where it is.
        files: How many.
        bytes: How large together.
    """

    folder: Path
    files: int
    bytes: int


def cache_info() -> CacheInfo:
    """Look at the cache."""
    sizes = [path.stat().st_size for path in _files()]
    return CacheInfo(folder=cache_folder(), files=len(sizes), bytes=sum(sizes))


def clear_cache() -> CacheInfo:
    """Remove every file of the cache; return what it held.

    Runs that are going on keep what they have loaded, and compile again what they have not.
    """
    info = cache_info()
    for path in _files():
        path.unlink(missing_ok=True)
    return info


def _files() -> list[Path]:
    """Return the files that vlabench itself writes there, and no others."""
    folder = cache_folder()
    return [
        *folder.glob("canaries-*.json"),
        *folder.glob(".canaries-*.part"),
        *folder.glob("models/*.mjb*"),
    ]
