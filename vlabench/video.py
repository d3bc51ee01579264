"""Videos of episodes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAMES_PER_SECOND = 20


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]]) -> None:
    """Write an MP4 (H.264) of RGB frames, `[height, width, 3]`, at 20 frames a second.

    The file appears under its name when it is whole, never before.
    """
    import imageio.v2 as imageio

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.part.mp4")
    options: dict[str, Any] = {"fps": FRAMES_PER_SECOND, "macro_block_size": 2}
    try:
        writer: Any = imageio.get_writer(unfinished, format="FFMPEG", **options)
        with writer:
            for frame in frames:
                writer.append_data(frame)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)  # there is none if all went well
