"""Results files: one JSON object a line, the header first, appended to and never rewritten.

Each line says what it is in `kind`: `header`, `episode`, or `resumed` (another process went on).
`docs/record.schema.json` describes them.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, fields
from functools import partial
from itertools import accumulate, chain
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, BinaryIO, Literal, Self

import msgspec
import numpy as np

from vlabench.children import deaf
from vlabench.episode import EpisodeSpec
from vlabench.errors import RecordError, RunLockedError, StorageError
from vlabench.locks import lock
from vlabench.plan import PlanRequest
from vlabench.record import (
    PROGRESS,
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
from vlabench.table import Columns, Results, Table

_EPISODE_FIELDS = {field.name for field in fields(EpisodeRecord)} - {"progress"}
"""What every episode's line has; progress is in those of suites that can say."""
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
_Blocks = Generator[list[bytes], None, None]

_STRANGE = (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError)
"""What a line that is no record of this format may raise."""
_ERROR = Outcome.ERROR.value
_BLOCK = 1 << 20
"""Bytes that are read at a time: some thousand lines."""
_MOST_HEADER = 64 << 20
"""Bytes of a first line; one of ten thousand tasks has one."""
_MUCH = 100 << 20
"""Bytes that take longer to read than processes to start."""
_EDITED = "was the file edited? Records are never overwritten, choose another --out"
_INSIDE = {"scene_seed": "episode", "policy_seed": "episode", "seed": "request"}


class RunWriter:
    """Appends episodes to one results file; opening the file again resumes the run.

    The file is locked while it is open, so two processes cannot write one run.

    Args:
        path: The file.
        header: What it has to begin with.
        planned: Every episode that it may hold; not checked when None.

    Raises:
        RecordError: If the file cannot be written, belongs to another run, or holds an episode
            that is not of the plan.
        RunLockedError: If another process is writing it.
    """

    def __init__(
        self, path: Path, header: RunHeader, planned: Iterable[EpisodeSpec] | None = None
    ) -> None:
        self.path = path
        self._resumed: Provenance | None = None  # to be said before the first record
        self._size = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            new = not path.exists()
            if not new and not (path.is_file() or path.is_dir()):
                raise RecordError(f"cannot write {path}: it is no regular file")
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise RecordError(f"cannot write {path}: {error.strerror}") from error
        try:
            lock(
                self._file,
                f"{path} is being written by another vlabench process; "
                "wait for it, or give this one another --out",
            )
            self.run = self._begin(header, planned)
        except BaseException as error:
            if new and not isinstance(error, RunLockedError) and not self._size:
                path.unlink(missing_ok=True)  # nothing was recorded
            self._file.close()
            raise

    def write(self, record: EpisodeRecord) -> None:
        """Append one episode; it is on disk when this returns.

        Raises:
            StorageError: If it cannot be written; the file holds whole lines all the same.
        """
        line = _line("episode", _episode_row(record))
        if self._resumed:
            line = _line("resumed", asdict(self._resumed)) + line
        self._append(line)
        self._resumed = None

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

    def _begin(self, header: RunHeader, planned: Iterable[EpisodeSpec] | None) -> Run:
        content = self.path.read_bytes()
        whole = _whole_lines(content)
        if _is_beginning_of_header(content):  # empty, or cut off within the very first line
            self._file.truncate(0)
            self._append(_line("header", _header_row(header)))
            _sync_folder(self.path.parent)
            return Run(header=header, episodes=())
        run = read_run(self.path)
        if differences := _differences(run.header, header):
            raise RecordError(
                f"{self.path} belongs to another run ({differences}); records are never "
                "overwritten, choose another --out"
            )
        if planned is not None:
            _check_planned(self.path, run, planned)
        self._file.truncate(len(whole))  # what a crash left of the last line
        self._size = len(whole)
        self._resumed = header.provenance
        return run

    def _append(self, lines: bytes) -> None:
        try:
            self._check_ours()
            left = memoryview(lines)
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._size)  # so that no line is half there
            raise StorageError(
                f"cannot write {self.path}: {error.strerror}; what ended before is kept, run the "
                "same command again to go on"
            ) from error
        self._size += len(lines)

    def _check_ours(self) -> None:
        """Refuse to write to a file that was removed, replaced or changed meanwhile."""
        found = os.fstat(self._file.fileno())
        try:
            same = os.path.samestat(found, self.path.stat())
        except FileNotFoundError:
            same = False
        if not same or found.st_size != self._size:
            raise StorageError(
                f"{self.path} was {'changed' if same else 'removed'} by somebody else while it was "
                "being written; nothing more is recorded in it"
            )


def _sync_folder(folder: Path) -> None:
    """Let a new file's name be on disk, too, where file systems can be asked for that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _check_planned(path: Path, run: Run, planned: Iterable[EpisodeSpec]) -> None:
    """Refuse recorded episodes that the plan does not have, or has with other seeds.

    Raises:
        RecordError: With the name of the first.
    """
    wanted = {episode.key: episode for episode in planned}
    for record in run.episodes:
        key = record.episode.key
        if key not in wanted:
            raise RecordError(f"{path} holds episode {key}, which is not of its plan; {_EDITED}")
        if record.episode != wanted[key]:
            raise RecordError(
                f"{path} holds episode {key} with other seeds than its plan's: {record.episode}, "
                f"expected {wanted[key]}; {_EDITED}"
            )


def write_run(path: Path, run: Run) -> None:
    """Write a whole run at once, to a file that is not there yet.

    Raises:
        RecordError: If it is there, or cannot be written.
    """
    if path.exists():
        raise RecordError(f"{path} exists; records are never overwritten, choose another --out")
    unknown = run.header.unknown
    lines = [_line("episode", _with_nulls(_episode_row(r), unknown)) for r in run.episodes]
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"".join([_line("header", _header_row(run.header)), *lines]))
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise RecordError(f"cannot write {path}: {error.strerror}") from error


def read_run(path: Path) -> Run:
    """Read a results file, with everything that is in it.

    Raises:
        RecordError: If it cannot be read, is not a results file, has another schema, or records
            an episode twice.
    """
    with closing(_blocks(path)) as blocks:
        return _run(path, chain.from_iterable(blocks))


def _run(path: Path, lines: Iterator[bytes]) -> Run:
    header = _header(path, next(lines))
    episodes: dict[str, EpisodeRecord] = {}
    resumed, torn = [], False
    for number, line in enumerate(lines, start=2):
        if torn := not line.endswith(b"\n"):
            break
        entry = _entry(path, number, line, header.unknown)
        if isinstance(entry, Provenance):
            resumed.append(entry)
            continue
        earlier = episodes.pop(entry.episode.key, None)
        if earlier is not None and earlier.outcome is not Outcome.ERROR:
            raise _twice(path, number, entry.episode.key)
        episodes[entry.episode.key] = entry
    return Run(header=header, episodes=tuple(episodes.values()), resumed=tuple(resumed), torn=torn)


def read_results(path: Path, *, hashed: bool = True) -> Results:
    """Read a results file as numbers; it is never in memory as a whole.

    Args:
        path: The file.
        hashed: Whether `Results.sha256` is wanted, which is a third of the work.

    Raises:
        RecordError: As `read_run` does, in the same words.
    """
    digest, torn = hashlib.sha256(), False
    blocks = _blocks(path)
    with closing(_hashed(blocks, digest.update) if hashed else blocks) as given:
        (first,) = next(given)
        reading = _Reading(path, _header(path, first), place=len(first))
        for lines in given:
            torn = not lines[-1].endswith(b"\n")
            reading.add(lines[:-1] if torn else lines)
    table = reading.table()
    broken = np.flatnonzero(table.outcome < 0)
    broken = broken[np.argsort(table.place[broken])]
    return Results(
        path=path,
        header=reading.header,
        table=table,
        errors={table.key(int(row)): reading.errors[int(table.place[row])] for row in broken},
        resumed=tuple(reading.resumed),
        torn=torn,
        sha256=digest.hexdigest() if hashed else "",
    )


def read_all(paths: Sequence[Path], *, hashed: bool = True) -> list[Results]:
    """Read several results files, as `read_results` does; much of it in a process a core.

    For commands: processes import the program that is running, which must be safe to import.

    Raises:
        RecordError: As `read_results` does, of the first file that is wrong.
    """
    read = partial(read_results, hashed=hashed)
    if len(paths) < 2 or sum(path.stat().st_size for path in paths if path.is_file()) < _MUCH:
        return [read(path) for path in paths]
    count = min(len(paths), os.cpu_count() or 1)
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        with deaf():  # this process says that it was interrupted
            found = pool.map(read, paths)
        return list(found)


def read_record(path: Path, place: int) -> EpisodeRecord:
    """Read one record back; see `read_records`."""
    return read_records(path, [place])[0]


def read_records(path: Path, places: Iterable[int]) -> list[EpisodeRecord]:
    """Read some records back, in the order in which they are asked for.

    Args:
        path: A results file.
        places: Where the line of each begins, in bytes, as `Table.place` says.

    Raises:
        RecordError: If the file cannot be read, or no record begins at one of them.
    """
    try:
        with path.open("rb") as file:
            unknown = _header(path, file.readline()).unknown
            return [_record_at(file, place, unknown) for place in places]
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error


def _record_at(file: BinaryIO, place: int, unknown: Sequence[str]) -> EpisodeRecord:
    try:
        file.seek(place)
        record = _parsed(json.loads(file.readline()), unknown)
    except (OSError, *_STRANGE) as error:
        raise RecordError(
            f"{file.name}: no record begins at byte {place}; was the file changed?"
        ) from error
    if isinstance(record, Provenance):
        raise RecordError(f"{file.name}: no record begins at byte {place}, but a resumption")
    return record


class _Reading:
    """Adds up the lines of one results file.

    A block of lines is decoded by types. Where one of them is strange, every line of the block is
    read as `read_run` reads it, which finds words for what is wrong, or a meaning.
    """

    def __init__(self, path: Path, header: RunHeader, *, place: int) -> None:
        self.header = header
        self.errors: dict[int, str] = {}
        self.resumed: list[Provenance] = []
        self._path = path
        self._columns = Columns(header.unknown)
        self._decode = msgspec.json.Decoder(_line_type(header.unknown)).decode
        self._number, self._place = 2, place

    def add(self, lines: Sequence[bytes]) -> None:
        """Add the next lines of the file."""
        *places, self._place = accumulate(map(len, lines), initial=self._place)
        try:
            self._add(list(map(self._decode, lines)), places)
        except _STRANGE:
            self._add_slowly(lines, places)
        self._number += len(lines)

    def table(self) -> Table:
        """Return the episodes, each with its last record.

        Raises:
            RecordError: If an episode that ended is recorded again.
        """
        table = self._columns.table()  # rows of one episode are neighbours, in the file's order
        again = np.ones(max(0, len(table.place) - 1), dtype=bool)
        for column in (table.task, table.state, table.repeat):
            again &= column[1:] == column[:-1]
        twice = 1 + np.flatnonzero(again & (table.outcome[:-1] >= 0))
        if len(twice):
            first = twice[np.argmin(table.place[twice])]
            number = _number(self._path, int(table.place[first]))
            raise _twice(self._path, number, table.key(int(first)))
        return table.rows(np.flatnonzero(~np.append(again, False))) if again.any() else table

    def _add(self, records: Sequence[Any], places: Sequence[int]) -> None:
        errors = {
            place: record
            for place, record in zip(places, records, strict=True)
            if record.error is not None or record.outcome == _ERROR
        }
        if any(r.error is None or r.outcome != _ERROR for r in errors.values()):
            raise ValueError("outcome and error contradict each other")
        graded = [(PROGRESS[r.outcome], r.progress) for r in records if r.progress is not None]
        if not all(low <= progress <= high for (low, high), progress in graded):
            raise ValueError("outcome and progress contradict each other")
        self._columns.add(records, places)
        self.errors.update((place, record.error) for place, record in errors.items())

    def _add_slowly(self, lines: Sequence[bytes], places: Sequence[int]) -> None:
        for number, (line, place) in enumerate(zip(lines, places, strict=True), self._number):
            try:
                entry = _entry(self._path, number, line, self.header.unknown)
                if isinstance(entry, Provenance):
                    self.resumed.append(entry)
                else:
                    self._add([entry], [place])
            except RecordError:
                self.table()  # an episode that is recorded twice before this line comes first
                raise
            except _STRANGE as error:
                raise _no_record(self._path, number, error) from error


def _line_type(unknown: Collection[str]) -> Any:
    """Return the type of a line with an episode, in which what is unknown is null.

    It takes nothing that `_parsed` refuses.
    """
    count = Annotated[int, msgspec.Meta(ge=0)]

    def struct(name: str, *optional: tuple[str, Any, None], **types: Any) -> Any:
        known = [(field, None if field in unknown else kind) for field, kind in types.items()]
        return msgspec.defstruct(name, [*known, *optional], gc=False, forbid_unknown_fields=True)

    return struct(
        "Line",
        ("progress", float | None, None),
        kind=Literal["episode"],
        episode=struct(
            "Episode", task_id=str, init_index=int, repeat=int, scene_seed=int,
            policy_seed=int,
        ),
        outcome=Literal[tuple(outcome.value for outcome in Outcome)],
        steps=count,
        decisions=count,
        samples=count,
        flops=float | None,
        seconds=struct("Seconds", simulator=float, render=float, policy=float),
        peak_mb=float,
        trace=struct("Trace", digest=str, states=str, actions=str, every=count) | None,
        error=str | None,
    )  # fmt: skip


def _blocks(path: Path) -> _Blocks:
    """Give the lines of a file, the first alone and then many at a time, each with its end."""
    try:
        with path.open("rb") as file:
            lines = [file.readline(_MOST_HEADER)]  # no more: a device may have no end
            while lines:
                yield lines
                lines = file.readlines(_BLOCK)
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error


def _hashed(blocks: _Blocks, update: Callable[[bytes], None]) -> _Blocks:
    """Give blocks on, and hash each one meanwhile; hashing lets go of the interpreter."""
    with closing(blocks), ThreadPoolExecutor(1) as hasher:
        for lines in blocks:
            done = hasher.submit(update, b"".join(lines))
            yield lines
            done.result()


def _number(path: Path, place: int) -> int:
    """Return which line begins at a byte."""
    number = 1
    with closing(_blocks(path)) as blocks:
        for line in chain.from_iterable(blocks):
            if place <= 0:
                break
            number, place = number + 1, place - len(line)
    return number


def _is_beginning_of_header(content: bytes) -> bool:
    begins = b'{"kind": "header"'
    return b"\n" not in content and content[: len(begins)] == begins[: len(content)]


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def _entry(
    path: Path, number: int, line: bytes, unknown: Sequence[str]
) -> EpisodeRecord | Provenance:
    row = _row(path, number, line)
    try:
        return _parsed(row, unknown)
    except _STRANGE as error:
        raise _no_record(path, number, error) from error


def _parsed(row: Mapping[str, Any], unknown: Sequence[str]) -> EpisodeRecord | Provenance:
    return Provenance(**_without_kind(row)) if row["kind"] == "resumed" else _episode(row, unknown)


def _row(path: Path, number: int, line: bytes) -> Mapping[str, Any]:
    try:
        row = json.loads(line.rstrip(b"\r\n"))
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}:{number} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise RecordError(f"{path}:{number} is not a JSON object")
    return row


def _no_record(path: Path, number: int, error: Exception) -> RecordError:
    return RecordError(f"{path}:{number} is not a record of this format: {error}")


def _twice(path: Path, number: int, key: str) -> RecordError:
    return RecordError(f"{path}:{number}: episode {key} is recorded twice")


def _header(path: Path, line: bytes) -> RunHeader:
    row = _row(path, 1, line) if line.endswith(b"\n") else None
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
        header = RunHeader(
            ingested=ingested,
            planned=_planned(content.pop("planned", {})),
            request=PlanRequest(**content.pop("request")),
            provenance=Provenance(**content.pop("provenance")),
            cameras=tuple(content.pop("cameras")),
            fingerprint=Fingerprint(
                **{**fingerprint, "mismatches": tuple(fingerprint["mismatches"])}
            ),
            **content,
        )
        msgspec.convert(asdict(header), RunHeader)  # names that are lists, settings that are none
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path}:1 is not a header of this format: {error}") from error
    return header


def _episode(row: Mapping[str, Any], unknown: Sequence[str] = ()) -> EpisodeRecord:
    content = _without_kind(row)
    if missing := _EPISODE_FIELDS - content.keys():
        raise ValueError(f"{', '.join(sorted(missing))} missing")
    if unknown:
        content = _without_nulls(content, unknown)
    for name in ("steps", "decisions", "samples"):
        if type(content[name]) is not int or content[name] < 0:
            raise ValueError(f"{name} is {content[name]!r}, expected a count")
    episode, trace = EpisodeSpec(**content.pop("episode")), content.pop("trace")
    if not isinstance(episode.task_id, str):
        raise TypeError(f"task_id is {episode.task_id!r}, expected a name")
    return EpisodeRecord(
        episode=episode,
        outcome=Outcome(content.pop("outcome")),
        seconds=Seconds(**content.pop("seconds")),
        trace=None if trace is None else Trace(**trace),
        **content,
    )


def _ingested(row: Mapping[str, Any] | None) -> Ingested | None:
    if row is None:
        return None
    lists = {"unknown": tuple(row["unknown"]), "patterns": tuple(row.get("patterns", ()))}
    found = Ingested(**{**row, **lists})
    if strange := set(found.unknown) - _NOTHING.keys():
        raise ValueError(f"{', '.join(sorted(strange))} cannot be unknown")
    return found


def _planned(row: object) -> Mapping[str, int]:
    if not isinstance(row, dict) or any(type(n) is not int or n < 1 for n in row.values()):
        raise ValueError(f"planned is {row!r}, expected the episodes of each task, 1 or more")
    return row


_INGESTED = ("format", "sources", "states_known", "unknown")
"""What every ingested run's header says; the rest is left out where it is empty."""


def _header_row(header: RunHeader) -> dict[str, Any]:
    row = asdict(header)
    if row["ingested"] is None:  # most runs; their files are as they were before there were others
        del row["ingested"]
    else:
        row["ingested"] = {k: v for k, v in row["ingested"].items() if v or k in _INGESTED}
    if not row["planned"]:  # unknown, which is not none
        del row["planned"]
    return _with_nulls(row, header.unknown)


def _episode_row(record: EpisodeRecord) -> dict[str, Any]:
    row = asdict(record)
    if row["progress"] is None:  # lines of suites that cannot say are as they always were
        del row["progress"]
    return row


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
