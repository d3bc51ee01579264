"""Results files: one JSON object a line, the header first, appended to and never rewritten.

Each line says what it is in `kind`: `header`, `episode`, or `resumed` (another process went on).
`docs/record.schema.json` describes them.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vlabench.episode import EpisodeSpec
from vlabench.errors import RecordError, RunLockedError
from vlabench.plan import PlanRequest
from vlabench.record import (
    SCHEMA,
    EpisodeRecord,
    Fingerprint,
    Ingested,
    Outcome,
    Provenance,
    Run,
    RunHeader,
    Seconds,
    Trace,
)

_EPISODE_FIELDS = {field.name for field in fields(EpisodeRecord)}
_NOTHING: Mapping[str, Any] = {
    "steps": 0,
    "decisions": 0,
    "samples": 0,
    "seconds": asdict(Seconds()),
    "peak_mb": 0.0,
    "scene_seed": 0,
    "policy_seed": 0,
    "seed": 0,
}
"""What stands in memory for what an ingested run does not say, and is null in its file."""
_INSIDE = {"scene_seed": "episode", "policy_seed": "episode", "seed": "request"}


class RunWriter:
    """Appends episodes to one results file; opening the file again resumes the run.

    The file is locked while it is open, so two processes cannot write one run.

    Raises:
        RecordError: If the file cannot be written, or belongs to another run.
        RunLockedError: If another process is writing it.
    """

    def __init__(self, path: Path, header: RunHeader) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        except OSError as error:
            raise RecordError(f"cannot write {path}: {error.strerror}") from error
        try:
            self._lock()
            self.run = self._begin(header)
        except BaseException:
            self._file.close()
            raise

    def write(self, record: EpisodeRecord) -> None:
        """Append one episode; it is on disk when this returns."""
        self._append("episode", asdict(record))

    def close(self) -> None:
        """Release the file. Safe to call twice."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunLockedError(
                f"{self.path} is being written by another vlabench process; "
                "wait for it, or give this one another --out"
            ) from error

    def _begin(self, header: RunHeader) -> Run:
        content = self.path.read_bytes()
        whole = _whole_lines(content)
        if _is_beginning_of_header(content):  # empty, or cut off within the very first line
            self._file.truncate(0)
            self._append("header", _header_row(header))
            return Run(header=header, episodes=())
        run = read_run(self.path)
        if differences := _differences(run.header, header):
            raise RecordError(
                f"{self.path} belongs to another run ({differences}); records are never "
                "overwritten, choose another --out"
            )
        self._file.truncate(len(whole))  # what a crash left of the last line
        self._append("resumed", asdict(header.provenance))
        return run

    def _append(self, kind: str, row: dict[str, Any]) -> None:
        self._file.write(_line(kind, row))
        self._file.flush()
        os.fsync(self._file.fileno())


def write_run(path: Path, run: Run) -> None:
    """Write a whole run at once, to a file that is not there yet.

    Raises:
        RecordError: If it is there, or cannot be written.
    """
    if path.exists():
        raise RecordError(f"{path} exists; records are never overwritten, choose another --out")
    unknown = run.header.unknown
    lines = [_line("episode", _with_nulls(asdict(record), unknown)) for record in run.episodes]
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"".join([_line("header", _header_row(run.header)), *lines]))
        part.replace(path)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror}") from error


def read_run(path: Path) -> Run:
    """Read a results file.

    Raises:
        RecordError: If it cannot be read, is not a results file, has another schema, or records
            an episode twice.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    whole = _whole_lines(content)
    rows = _rows(path, whole)
    header = _header(path, next(rows, None))
    episodes: dict[str, EpisodeRecord] = {}
    resumed = []
    for number, row in enumerate(rows, start=2):
        try:
            if row["kind"] == "resumed":
                resumed.append(Provenance(**_without_kind(row)))
                continue
            record = _episode(row, header.unknown)
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"{path}:{number} is not a record of this format: {error}") from error
        earlier = episodes.pop(record.episode.key, None)
        if earlier is not None and earlier.outcome is not Outcome.ERROR:
            raise RecordError(f"{path}:{number}: episode {record.episode.key} is recorded twice")
        episodes[record.episode.key] = record
    return Run(
        header=header,
        episodes=tuple(episodes.values()),
        resumed=tuple(resumed),
        torn=len(whole) < len(content),
    )


def _is_beginning_of_header(content: bytes) -> bool:
    begins = b'{"kind": "header"'
    return b"\n" not in content and content[: len(begins)] == begins[: len(content)]


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def _rows(path: Path, content: bytes) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RecordError(f"{path}:{number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise RecordError(f"{path}:{number} is not a JSON object")
        yield row


def _header(path: Path, row: Mapping[str, Any] | None) -> RunHeader:
    if row is None or row.get("kind") != "header":
        raise RecordError(f"{path} is not a vlabench results file: its first line is no header")
    if row.get("schema") != SCHEMA:
        raise RecordError(
            f"{path} has schema {row.get('schema')}; this version reads {SCHEMA}: "
            "use the vlabench version that wrote it"
        )
    try:
        content = _without_kind(row)
        fingerprint = content.pop("fingerprint")
        ingested = _ingested(content.pop("ingested", None))
        if ingested:
            content = _without_nulls(content, ingested.unknown)
        return RunHeader(
            ingested=ingested,
            request=PlanRequest(**content.pop("request")),
            provenance=Provenance(**content.pop("provenance")),
            cameras=tuple(content.pop("cameras")),
            fingerprint=Fingerprint(
                **{**fingerprint, "mismatches": tuple(fingerprint["mismatches"])}
            ),
            **content,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path}:1 is not a header of this format: {error}") from error


def _episode(row: Mapping[str, Any], unknown: Sequence[str] = ()) -> EpisodeRecord:
    content = _without_kind(row)
    if missing := _EPISODE_FIELDS - content.keys():
        raise ValueError(f"{', '.join(sorted(missing))} missing")
    if unknown:
        content = _without_nulls(content, unknown)
    for name in ("steps", "decisions", "samples"):
        if type(content[name]) is not int or content[name] < 0:
            raise ValueError(f"{name} is {content[name]!r}, expected a count")
    trace = content.pop("trace")
    return EpisodeRecord(
        episode=EpisodeSpec(**content.pop("episode")),
        outcome=Outcome(content.pop("outcome")),
        seconds=Seconds(**content.pop("seconds")),
        trace=None if trace is None else Trace(**trace),
        **content,
    )


def _ingested(row: Mapping[str, Any] | None) -> Ingested | None:
    if row is None:
        return None
    found = Ingested(**{**row, "unknown": tuple(row["unknown"])})
    if strange := set(found.unknown) - _NOTHING.keys():
        raise ValueError(f"{', '.join(sorted(strange))} cannot be unknown")
    return found


def _header_row(header: RunHeader) -> dict[str, Any]:
    row = asdict(header)
    if row["ingested"] is None:  # most runs; their files are as they were before there were others
        del row["ingested"]
    return _with_nulls(row, header.unknown)


def _line(kind: str, row: dict[str, Any]) -> bytes:
    text = json.dumps({"kind": kind, **dict(sorted(row.items()))}, allow_nan=False)
    return text.encode() + b"\n"


def _with_nulls(row: dict[str, Any], unknown: Sequence[str]) -> dict[str, Any]:
    """Return a row with null for what is unknown, of those fields that such a row has."""
    return _changed(row, unknown, lambda name, value: None)


def _without_nulls(row: dict[str, Any], unknown: Sequence[str]) -> dict[str, Any]:
    """Return a row with defaults for what is unknown, of those fields that such a row has."""

    def default(name: str, value: object) -> object:
        if value is not None:
            raise ValueError(f"{name} is {value!r}, expected null: the header says it is unknown")
        return _NOTHING[name]

    return _changed(row, unknown, default)


def _changed(
    row: dict[str, Any], unknown: Sequence[str], change: Callable[[str, object], object]
) -> dict[str, Any]:
    changed = {
        name: dict(value) if isinstance(value, dict) else value for name, value in row.items()
    }
    for name in unknown:
        place = changed.get(_INSIDE[name]) if name in _INSIDE else changed
        if place is not None and name in place:
            place[name] = change(name, place[name])
    return changed


def _without_kind(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "kind"}


def _differences(found: RunHeader, wanted: RunHeader) -> str:
    pairs = [(name, found.identity[name], value) for name, value in wanted.identity.items()]
    return "; ".join(f"{name}: {old} there, {new} here" for name, old, new in pairs if old != new)
