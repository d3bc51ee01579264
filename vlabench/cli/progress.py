"""What `vlabench run` shows while it runs: a live table on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vlabench.cli.output import visible
from vlabench.cli.tables import PlainConsole, duration, last_line, rate_text
from vlabench.evaluation import Evaluation
from vlabench.record import EpisodeRecord, Outcome, Run

_LINE_SECONDS = 15.0
"""Between two plain lines at the most, when a task takes longer than that."""


@dataclass(slots=True)
class Tally:
    """What is known of a run in progress."""

    evaluation: Evaluation
    by_task: dict[str, list[EpisodeRecord]] = field(default_factory=dict)
    planned: dict[str, int] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    found: int = 0
    new: list[EpisodeRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        for episode in self.evaluation.plan.episodes:
            self.planned[episode.task_id] = self.planned.get(episode.task_id, 0) + 1

    def begin(self, run: Run) -> None:
        """Take in what the file held already."""
        self.started, self.found = time.monotonic(), len(run.episodes)
        for record in run.episodes:
            self.by_task.setdefault(record.episode.task_id, []).append(record)

    def add(self, record: EpisodeRecord) -> None:
        """Take in a new record, in place of an error that was tried again."""
        records = self.by_task.setdefault(record.episode.task_id, [])
        records[:] = [r for r in records if r.episode.key != record.episode.key]
        records.append(record)
        self.new.append(record)

    @property
    def workers(self) -> int:
        """Simulators side by side."""
        return min(self.evaluation.header.provenance.workers, len(self.new))

    @property
    def records(self) -> list[EpisodeRecord]:
        """All of them."""
        return [record for records in self.by_task.values() for record in records]

    def seconds_left(self) -> float | None:
        """Extrapolate by control steps: a task's horizon is what its episodes may take."""
        horizon = self.evaluation.protocol.horizon
        done = sum(horizon(record.episode.task_id) for record in self.new)
        if not done:
            return None
        left = sum(
            horizon(task) * (count - len(self.by_task.get(task, ())))
            for task, count in self.planned.items()
        )
        return (time.monotonic() - self.started) * left / done

    def bottleneck(self) -> str:
        """Say where the time of the new episodes went, and what would help."""
        parts = {
            "simulation": sum(r.seconds.simulator for r in self.new),
            "drawing": sum(r.seconds.render for r in self.new),
            "the policy": sum(r.seconds.policy for r in self.new),
        }
        total = sum(parts.values())
        if not total:
            return ""
        most = max(parts, key=lambda name: parts[name])
        shares = ", ".join(f"{name} {value / total:.0%}" for name, value in parts.items())
        return f"bottleneck: {most} ({shares})"

    def summary(self) -> str:
        """One line: how far, how good, how long still."""
        done, total = len(self.records), len(self.evaluation.plan.episodes)
        left = self.seconds_left()
        eta = f", {duration(left)} left" if left is not None and done < total else ""
        return f"{done}/{total} episodes, {rate_text(self.records)}{eta}"


def follow(
    evaluation: Evaluation,
    records: Iterator[tuple[Run, EpisodeRecord | None]],
    path: Path,
    *,
    quiet: bool,
) -> None:
    """Consume a run and show how it goes on standard error."""
    tally = Tally(evaluation)
    console = PlainConsole(stderr=True)
    found, _ = next(records)
    tally.begin(found)
    if quiet:
        for _, record in records:
            if record is not None:
                tally.add(record)
        return
    _announce(tally, path)
    if console.is_terminal:
        _follow_live(tally, records, console)
    else:
        _follow_plain(tally, records)
    if tally.new:
        _say(tally.bottleneck())
        peak = max(record.peak_mb for record in tally.new)
        _say(f"memory: at most {peak:.0f} MB for each of {tally.workers} workers")


def _announce(tally: Tally, path: Path) -> None:
    header = tally.evaluation.header
    _say(f"{header.policy_id} on {header.suite_id} under {header.protocol}: {path}")
    for reason in header.fingerprint.mismatches:
        _say(f"NOT COMPARABLE with {header.protocol}: {reason}")
    if tally.found:
        _say(f"resumed: {tally.found} of {len(tally.evaluation.plan.episodes)} were recorded")


def _follow_plain(tally: Tally, records: Iterator[tuple[Run, EpisodeRecord | None]]) -> None:
    said = time.monotonic()
    for _, record in records:
        if record is None:
            continue
        tally.add(record)
        if record.outcome is Outcome.ERROR:
            _say(f"ERROR {record.episode.key}: {last_line(record.error or '')}")
        task = record.episode.task_id
        finished = len(tally.by_task[task]) == tally.planned[task]
        if finished or time.monotonic() - said > _LINE_SECONDS:
            said = time.monotonic()
            _say(f"{task}: {rate_text(tally.by_task[task])}; all: {tally.summary()}")


def _follow_live(
    tally: Tally, records: Iterator[tuple[Run, EpisodeRecord | None]], console: Console
) -> None:
    def picture() -> Group:
        rows = max(3, console.height - 6)
        return Group(_table(tally, rows), Text(tally.summary()), Text(tally.bottleneck()))

    with Live(picture(), console=console, refresh_per_second=4) as live:
        for _, record in records:
            if record is None:
                continue
            tally.add(record)
            if record.outcome is Outcome.ERROR:
                live.console.print(f"ERROR {record.episode.key}: {last_line(record.error or '')}")
            live.update(picture())


def _table(tally: Tally, rows: int) -> Table:
    """Show the tasks that moved last, as many as fit."""
    table = Table("task", "episodes", "success", box=None, pad_edge=False)
    moved = list(dict.fromkeys(r.episode.task_id for r in reversed(tally.new)))[:rows]
    for task in [task for task in tally.planned if task in moved]:
        records = tally.by_task[task]
        table.add_row(task, f"{len(records)}/{tally.planned[task]}", rate_text(records))
    return table


def _say(text: str) -> None:
    print(visible(text), file=sys.stderr, flush=True)
