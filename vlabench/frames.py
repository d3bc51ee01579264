"""Runs as one pandas table, for those who want to go on by themselves."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from vlabench.errors import MissingExtraError
from vlabench.record import EpisodeRecord, Outcome, Run, RunHeader
from vlabench.store import read_run

if TYPE_CHECKING:
    import pandas as pd


_NEVER_SAID = ("policy_digest", "privileged", "settings", "commit")
"""What no ingested run knows of itself, beside what its header names."""


def read_frame(paths: Path | str | Iterable[Path | str]) -> "pd.DataFrame":
    """Read runs into one table: a row an episode, with the columns of its run beside it.

    Rows are in the order of the files, and in each in the order in which episodes ended. `success`
    is `True`, `False`, or missing where the episode broke: an error is not a failure. `progress` is
    the share of the goal that was reached, NaN where the suite cannot say. What an ingested run
    does not say is missing too, `init` among it where that only numbers attempts. What its tasks
    are grouped by (`category`, `difficulty`) has columns of those names, last; `group_` stands
    before a name that another column has.

    Args:
        paths: One results file, or several.

    Raises:
        MissingExtraError: If pandas is not installed.
        RecordError: If a file cannot be read.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError("read_frame", "pandas", "frames") from error
    files = [paths] if isinstance(paths, Path | str) else list(paths)
    parts = [_frame(Path(path), read_run(Path(path))) for path in files]
    if not parts:
        raise ValueError("no results file to read")
    frame = pd.concat(parts, ignore_index=True)
    return frame.astype({"success": "boolean", "privileged": "boolean"})


def _frame(path: Path, run: Run) -> "pd.DataFrame":
    import pandas as pd

    frame = pd.DataFrame(_columns(run.episodes))
    for place, (name, value) in enumerate(_run_columns(path, run).items()):
        frame.insert(place, name, value)
    unknown = _unknown(run.header)
    missing = [name for name in frame if {name, str(name).partition("_")[0]} & unknown]
    frame[missing] = float("nan")
    groups = run.header.ingested.groups if run.header.ingested else {}
    for name, values in groups.items():
        frame[f"group_{name}" if name in frame else name] = frame["task"].map(values)
    return frame


def _unknown(header: RunHeader) -> set[str]:
    """Return the columns, or the beginnings of their names, that mean nothing in this run."""
    if header.ingested is None:
        return set()
    states = () if header.ingested.states_known else ("init",)
    return {*_NEVER_SAID, *states, *header.unknown}


def _run_columns(path: Path, run: Run) -> dict[str, object]:
    header = run.header
    return {
        "run": str(path),
        "suite": header.suite_id,
        "suite_version": header.suite_version,
        "protocol": header.protocol,
        "plan": header.plan_digest,
        "policy": header.policy_id,
        "policy_digest": header.policy_digest,
        "privileged": header.privileged,
        "settings": json.dumps(dict(header.settings), sort_keys=True),
        "seed": header.request.seed,
        "comparable": not header.fingerprint.mismatches,
        "commit": header.provenance.commit,
    }


def _columns(records: Iterable[EpisodeRecord]) -> dict[str, list[object]]:
    records = list(records)
    succeeded = {Outcome.SUCCESS: True, Outcome.FAILURE: False, Outcome.ERROR: None}
    return {
        "episode": [r.episode.key for r in records],
        "task": [r.episode.task_id for r in records],
        "init": [r.episode.init_index for r in records],
        "repeat": [r.episode.repeat for r in records],
        "scene_seed": [r.episode.scene_seed for r in records],
        "policy_seed": [r.episode.policy_seed for r in records],
        "outcome": [r.outcome.value for r in records],
        "success": [succeeded[r.outcome] for r in records],
        "progress": [float("nan") if r.progress is None else r.progress for r in records],
        "steps": [r.steps for r in records],
        "decisions": [r.decisions for r in records],
        "samples": [r.samples for r in records],
        "flops": [float("nan") if r.flops is None else r.flops for r in records],
        "seconds_simulator": [r.seconds.simulator for r in records],
        "seconds_render": [r.seconds.render for r in records],
        "seconds_policy": [r.seconds.policy for r in records],
        "peak_mb": [r.peak_mb for r in records],
        "trajectory": [None if r.trace is None else r.trace.digest for r in records],
        "error": [r.error for r in records],
    }
