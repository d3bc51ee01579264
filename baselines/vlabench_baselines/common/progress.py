"""How far a training is (a bar on a terminal, lines elsewhere), and what took how long."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")
_LINE_SECONDS = 30.0


class Clock:
    """Seconds that each part of something took."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside as this part's."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.parts[name] = self.parts.get(name, 0.0) + time.monotonic() - started

    @property
    def total(self) -> float:
        """All parts together."""
        return sum(self.parts.values())


class Follower:
    """Says how far things are, on stderr.

    Args:
        quiet: Says nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet, self._said = quiet, 0.0
        self._live = sys.stderr.isatty() and not quiet
        self.note = ""

    def say(self, text: str) -> None:
        """Print one line."""
        if not self._quiet:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def track(self, steps: Iterable[T], total: int, what: str, done: int = 0) -> Iterator[T]:
        """Yield `steps`, of which `done` of `total` were behind us already.

        What `note` is set to meanwhile is shown beside the bar.
        """
        if self._live:
            yield from self._bar(steps, total, what, done)
            return
        started = self._said = time.monotonic()
        for count, step in enumerate(steps, start=1):
            yield step
            now = time.monotonic()
            if now - self._said > _LINE_SECONDS:
                self._said = now
                left = (now - started) / count * (total - done - count)
                self.say(f"{what}: {done + count}/{total}, {left / 60:.1f} min left {self.note}")

    def _bar(self, steps: Iterable[T], total: int, what: str, done: int) -> Iterator[T]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task(what, total=total, completed=done, note="")
            for step in steps:
                yield step
                progress.update(task, advance=1, note=self.note)
