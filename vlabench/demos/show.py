"""What a folder of demonstrations holds: in numbers, and on one sheet to look at."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlabench.demos.collect import RUN_FILE
from vlabench.demos.storage import Demo, demos_digest, first_of_each_task, natural, read_demos
from vlabench.drawing import figure_class, without_glyphs
from vlabench.errors import DemoError, MissingExtraError
from vlabench.record import EpisodeRecord, Outcome
from vlabench.spaces import Orientation
from vlabench.store import read_run

MOMENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""What a sheet shows of an episode, as parts of its length."""
SHEET_TASKS = 60
_INCHES = 1.6
_FORMATS = (".png", ".pdf", ".svg", ".jpg")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDemos:
    """The demonstrations of one task.

    Attributes:
        task: Its id, or the file's name where the task is not known.
        instruction: Its sentence.
        attempts: Episodes that were run; None where no results file says.
        errors: How many of them broke; None likewise.
        demos: Demonstrations.
        shortest: Steps of the shortest.
        mean: Steps on average.
        longest: Steps of the longest.
    """

    task: str
    instruction: str
    attempts: int | None
    errors: int | None
    demos: int
    shortest: int
    mean: float
    longest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionComponent:
    """One component of the labels, over all steps of all demonstrations.

    Attributes:
        low: Smallest value.
        q01: 1 % quantile.
        mean: Mean.
        q99: 99 % quantile.
        high: Largest value.
        std: Standard deviation.
        saturated: Fraction at one of the ends of the action range.
        noise: Root of the mean square of what was executed less what was wanted.
    """

    low: float
    q01: float
    mean: float
    q99: float
    high: float
    std: float
    saturated: float
    noise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a folder of demonstrations holds.

    Attributes:
        path: The folder, or the file.
        digest: Hash of what it holds, see `demos_digest`.
        demos: How many.
        steps: Their steps together.
        state_size: Numbers of the state.
        privileged: Names of privileged state in the first of them.
        cameras: Pictures.
        settings: What the collection was made with, in the words of its results file.
        tasks: Those with demonstrations, and those that were attempted.
        actions: The components of the labels.
    """

    path: str
    digest: str
    demos: int
    steps: int
    state_size: int
    privileged: tuple[str, ...]
    cameras: tuple[str, ...]
    settings: Mapping[str, str]
    tasks: tuple[TaskDemos, ...]
    actions: tuple[ActionComponent, ...]


def summarize(path: Path) -> Summary:
    """Read labels and states, and count.

    Raises:
        DemoError: If there is nothing, or something is not what it claims to be.
        RecordError: If the results file beside them is damaged.
    """
    run = read_run(path / RUN_FILE) if (path / RUN_FILE).is_file() else None
    records = run.episodes if run else ()
    demos: list[Demo] = []
    privileged: tuple[str, ...] = ()
    if run is None or any(record.outcome is Outcome.SUCCESS for record in records):
        demos = list(read_demos(path, images=False, privileged=False))
        privileged = tuple(next(read_demos(path, images=False)).privileged)
    cameras = dict.fromkeys(str(camera) for demo in demos for camera in demo.cameras.values())
    return Summary(
        path=str(path),
        digest=demos_digest(path) if demos else "",
        demos=len(demos),
        steps=sum(map(len, demos)),
        state_size=demos[0].state.shape[1] if demos else 0,
        privileged=privileged,
        cameras=tuple(cameras),
        settings=run.header.settings if run else {},
        tasks=tuple(_tasks(demos, records if run else None)),
        actions=tuple(_components(path, demos)),
    )


def contact_sheet(path: Path, out: Path) -> int:
    """Draw one demonstration of each task: five pictures, or its path where there are none.

    Args:
        path: The demonstrations.
        out: The picture to write; its suffix says the format.

    Returns:
        How many tasks there are; the first 60 of them are drawn.

    Raises:
        DemoError: If there is nothing to draw, or `out` cannot be written.
        MissingExtraError: If matplotlib is not installed.
    """
    if out.suffix not in _FORMATS:
        raise DemoError(f"{out}: a sheet is one of {', '.join(_FORMATS)}, by the file's suffix")
    figure_type = _figure_class()
    drawn = [_shown_pictures(demo) for demo in islice(first_of_each_task(path), SHEET_TASKS)]
    tasks = len(drawn) if len(drawn) < SHEET_TASKS else len({*map(_label, _lean(path))})
    columns = max(len(_panels(demo)) for demo in drawn)
    width, height = max(columns, 4) * _INCHES, _INCHES + 0.25
    strips = max(1, round(math.sqrt(len(drawn) * height / width)))  # about as wide as it is high
    rows = math.ceil(len(drawn) / strips)
    figure = figure_type(figsize=(strips * width, rows * height + 0.3), layout="constrained")
    for strip, part in enumerate(figure.subfigures(1, strips, squeeze=False)[0]):
        grid = part.subplots(rows, columns, squeeze=False)
        for row, demo in zip_longest(grid, drawn[strip * rows : (strip + 1) * rows]):
            _draw_row(row, demo)
    try:
        with without_glyphs():
            figure.savefig(out, dpi=120)
    except OSError as error:
        raise DemoError(f"cannot write {out}: {error.strerror}") from error
    return tasks


def _draw_row(row: Sequence[Any], demo: Demo | None) -> None:
    """Draw a task's demonstration into a row of axes, or leave the row empty."""
    for axes, draw in zip_longest(row, _panels(demo) if demo else ()):
        axes.tick_params(labelsize=5)
        if draw is None:
            axes.axis("off")
        else:
            draw(axes)
    if demo:
        row[0].set_title(f"{_label(demo)}: {demo.instruction}", fontsize=7, loc="left")


def _figure_class() -> Any:
    try:
        return figure_class()
    except ImportError as error:
        raise MissingExtraError("a contact sheet", "matplotlib", "demos") from error


def _label(demo: Demo) -> str:
    return demo.task_id or demo.source.stem


def _lean(path: Path) -> Iterator[Demo]:
    return read_demos(path, images=False, privileged=False)


def _tasks(demos: Iterable[Demo], records: Iterable[EpisodeRecord] | None) -> Iterator[TaskDemos]:
    by_task: dict[str, list[Demo]] = {}
    attempts: dict[str, list[EpisodeRecord]] = {}
    for demo in demos:
        by_task.setdefault(_label(demo), []).append(demo)
    for record in records or ():
        attempts.setdefault(record.episode.task_id, []).append(record)
    for task in sorted({*by_task, *attempts}, key=natural):
        found, tried = by_task.get(task, []), attempts.get(task, [])
        lengths = [len(demo) for demo in found] or [0]
        yield TaskDemos(
            task=task,
            instruction=found[0].instruction if found else "",
            attempts=None if records is None else len(tried),
            errors=None if records is None else sum(r.outcome is Outcome.ERROR for r in tried),
            demos=len(found),
            shortest=min(lengths),
            mean=sum(lengths) / len(lengths),
            longest=max(lengths),
        )


def _components(path: Path, demos: Sequence[Demo]) -> Iterator[ActionComponent]:
    if len(sizes := {demo.actions.shape[1] for demo in demos}) > 1:
        raise DemoError(f"{path}: actions have {sorted(sizes)} components, expected one number")
    if not demos:
        return
    wanted = np.concatenate([demo.actions for demo in demos]).astype(np.float64)
    executed = np.concatenate([demo.executed for demo in demos])
    ends = [(demo.actions <= demo.low) | (demo.actions >= demo.high) for demo in demos]
    saturated = np.concatenate(ends).mean(axis=0)
    for column, values in enumerate(wanted.T):
        q01, q99 = np.quantile(values, [0.01, 0.99])
        yield ActionComponent(
            low=float(values.min()),
            q01=float(q01),
            mean=float(values.mean()),
            q99=float(q99),
            high=float(values.max()),
            std=float(values.std()),
            saturated=float(saturated[column]),
            noise=float(np.sqrt(np.mean((executed[:, column] - values) ** 2))),
        )


def _steps(demo: Demo) -> list[int]:
    return [round(moment * (len(demo) - 1)) for moment in MOMENTS]


def _shown_pictures(demo: Demo) -> Demo:
    """Return the demonstration with the pictures of `MOMENTS` alone."""
    pictures = {name: images[_steps(demo)] for name, images in demo.images.items()}
    return replace(demo, images=pictures)


def _panels(demo: Demo) -> list[Callable[[Any], None]]:
    """Return what draws each panel of a demonstration's row."""
    if demo.images:
        return [
            partial(_draw_picture, demo=demo, camera=camera, moment=moment)
            for camera in demo.images
            for moment in range(len(MOMENTS))
        ]
    size = demo.state.shape[1]
    if size >= 3:  # by every suite's convention the hand's position comes first
        return [partial(_draw_path, demo=demo, axes_of_state=pair) for pair in ((0, 1), (0, 2))]
    return [partial(_draw_course, demo=demo)]


def _draw_picture(axes: Any, *, demo: Demo, camera: str, moment: int) -> None:
    axes.imshow(_upright(demo.images[camera][moment], demo.cameras[camera].orientation))
    axes.set_xlabel(f"{camera}, step {_steps(demo)[moment]}", fontsize=5)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_path(axes: Any, *, demo: Demo, axes_of_state: tuple[int, int]) -> None:
    across, up = (demo.state[:, axis] for axis in axes_of_state)
    axes.plot(across, up, linewidth=0.8)
    axes.plot(across[0], up[0], "o", markersize=2)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(f"{'xyz'[axes_of_state[0]]} to {'xyz'[axes_of_state[1]]}, m", fontsize=5)


def _draw_course(axes: Any, *, demo: Demo) -> None:
    axes.plot(demo.state, linewidth=0.8)
    axes.set_xlabel("state, by step", fontsize=5)


def _upright(picture: NDArray[np.uint8], orientation: Orientation) -> NDArray[np.uint8]:
    if orientation is Orientation.UPSIDE_DOWN:
        return picture[::-1]
    return picture[:, ::-1] if orientation is Orientation.MIRRORED else picture
