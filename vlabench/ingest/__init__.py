"""Results of other tools as runs, so that every command that decides works on them.

A run made from them says so in its header, and what the files leave open stays open: fields are
null, protocol and suite have version 0, and the run says NOT COMPARABLE with runs of ours. Runs of
one format compare, paired where equal initial states are known to be.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from vlabench.errors import RecordError
from vlabench.ingest import lerobot, openvla, pattern, table, tree, vla_eval
from vlabench.ingest.found import Asked, Found
from vlabench.ingest.making import make_run
from vlabench.ingest.rows import NAMES
from vlabench.record import Run
from vlabench.text import decode

Format = Literal["auto", "lerobot", "vla-eval", "openvla", "csv", "json", "log"]
MOST_BYTES = 64 * 2**20
"""Of one file, some hundred thousand episodes: what is larger is something else."""
_POINTER = "version https://git-lfs.github.com/spec/"
"""What stands in a large file's place where a repository was fetched without Git LFS."""
_WANTED = {
    "lerobot": "lerobot-eval's eval_info.json",
    "vla-eval": "vla-eval's aggregate JSON",
    "json": "JSON or JSON Lines",
}
_NONE = (
    "none of lerobot's eval_info.json, vla-eval's aggregate JSON, JSON with a row an episode, an "
    "OpenVLA log, or CSV with columns task and success"
)


def ingest(
    paths: Sequence[Path],
    *,
    format: Format = "auto",
    suite: str | None = None,
    policy: str | None = None,
    columns: Sequence[str] = (),
    patterns: Sequence[str] = (),
) -> Run:
    """Read files of another tool into one run.

    Args:
        paths: Files of one format, of one policy; together they are the run.
        format: Who wrote them; found out from the content when `auto`.
        suite: Name of the suite, where the files do not say.
        policy: Name of the policy, where the files do not say; which one, where they hold several.
        columns: What columns mean, where their names do not say: `task=name,init=trial`. The words
            on the left are those of `vlabench.ingest.rows.NAMES`, and `group`.
        patterns: Regular expressions with named groups, for logs; see `vlabench.ingest.pattern`.

    Raises:
        RecordError: If a file cannot be read, is of no such format, is too large, or the files do
            not belong together.
    """
    named, groups = _meanings(columns)
    asked = Asked(
        suite=suite, policy=policy, columns=named, groups=groups, patterns=tuple(patterns)
    )
    names = _names(paths)
    found, sources = [], dict[str, str]()
    for name, path in zip(names, paths, strict=True):
        content = _bytes(path)
        digest = sha256(content).hexdigest()
        if digest in sources.values():
            twin = next(other for other, known in sources.items() if known == digest)
            raise RecordError(f"{path} has the same bytes as {twin}; give each file once")
        sources[name] = digest
        found.append(_read(path, _text(path, content), format, asked))
    return make_run(found, sources, asked, vlabench=_version())


def _meanings(said: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return what `--map` says: a meaning to its column, and the columns to group by."""
    parts: list[str] = []
    for text in said:
        for part in text.split(","):
            if "=" in part or not parts:
                parts.append(part)
            else:  # a column's name with a comma in it
                parts[-1] += f",{part}"
    columns, groups = dict[str, str](), list[str]()
    for part in parts:
        role, equals, name = (piece.strip() for piece in part.partition("="))
        if not equals or role not in (*NAMES, "group"):
            raise RecordError(
                f"--map {part!r} says nothing; expected MEANING=COLUMN with a meaning out of "
                f"{', '.join(NAMES)}, group"
            )
        if role == "group":
            groups.append(name)
        elif columns.setdefault(role, name) != name:
            raise RecordError(f"--map says {role} twice, {columns[role]!r} and {name!r}; say one")
    return columns, tuple(groups)


def _names(paths: Sequence[Path]) -> list[str]:
    """Return a name of each file that no other has: as much of its path as that takes."""
    absolute = [path.absolute().parts for path in paths]
    for deep in range(1, max(map(len, absolute), default=1) + 1):
        names = ["/".join(parts[-deep:]) for parts in absolute]
        if len(set(names)) == len(names):
            return names
    twice = next(path for place, path in enumerate(paths) if path in paths[:place])
    raise RecordError(f"{twice} is given twice; give each file once")


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise RecordError(
            f"{path} has more than {MOST_BYTES // 2**20} MiB, expected results; split it"
        )
    return content


def _text(path: Path, content: bytes) -> str:
    try:
        text = decode(content)
    except ValueError as error:
        raise RecordError(f"{path} {error}") from error
    if text.startswith(_POINTER):
        raise RecordError(f"{path} is a pointer of Git LFS, expected the file; run git lfs pull")
    if not text.strip():
        raise RecordError(f"{path} is empty: it is {_NONE}")
    return text


def _read(path: Path, text: str, format: Format, asked: Asked) -> Found:
    chosen = _guess(path, text, asked) if format == "auto" else format
    try:
        found = _parsed(chosen, text, asked)
    except json.JSONDecodeError as error:
        raise RecordError(
            f"{path} is not JSON, expected {_WANTED[chosen]} ({error}); say another --format, or "
            "none to have it found out"
        ) from error
    except KeyError as error:
        raise RecordError(f"{path} is no {chosen} file: field {error} is missing") from error
    except (TypeError, AttributeError) as error:
        raise RecordError(f"{path} is no {chosen} file: {error}") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: {error}") from error
    if not found.attempts:
        raise RecordError(
            f"{path}: no episode has ended in this {chosen} file, expected at least one"
        )
    return found


def _parsed(chosen: Format, text: str, asked: Asked) -> Found:
    if chosen == "log":
        return pattern.read(text, asked)
    if chosen == "openvla":
        return openvla.read(text)
    if chosen == "csv":
        return table.read(text, asked)
    if chosen == "json":
        return tree.read(tree.parse(text), asked)
    content = _object(tree.parse(text))
    return lerobot.read(content) if chosen == "lerobot" else vla_eval.read(content)


def _object(parsed: tree.Values) -> Mapping[str, Any]:
    content = parsed.values[0][1]
    if not isinstance(content, dict):
        raise TypeError(f"the JSON is a {type(content).__name__}, expected an object")
    return content


def _guess(path: Path, text: str, asked: Asked) -> Format:
    if asked.patterns:
        return "log"
    if text.lstrip()[0] in "{[":
        try:
            return _guess_json(path, tree.parse(text), asked)
        except (ValueError, RecursionError) as error:
            if not openvla.fits(text):  # whose lines may begin with a time in brackets
                raise RecordError(f"{path} begins like JSON and is not: {error}") from error
            return "openvla"
    if table.fits(text, asked):
        return "csv"
    if openvla.fits(text):
        return "openvla"
    raise RecordError(f"{path} is {_NONE}{_advice(text)}")


def _advice(text: str) -> str:
    """Say how a file of an unknown form can be read."""
    if names := table.columns(text):
        if "rate" in names.lower():
            return f"; its columns are {names}: rates, and no row an episode"
        return f"; its columns are {names}. Say which is which: --map task=COLUMN,success=COLUMN"
    return (
        "; say how a log's lines are written: --pattern 'Task (?P<task>.+): (?P<success>.+)', or "
        "--format to see what is missing"
    )


def _guess_json(path: Path, parsed: tree.Values, asked: Asked) -> Format:
    content = parsed.values[0][1]
    if isinstance(content, dict) and content.get("kind") == "header":
        raise RecordError(f"{path} is a vlabench results file already")
    if not isinstance(content, dict) or len(parsed.values) > 1 or asked.columns or asked.groups:
        return "json"
    if lerobot.fits(content):
        return "lerobot"
    if vla_eval.fits(content):
        return "vla-eval"
    for key, value in content.items():
        if isinstance(value, dict) and (lerobot.fits(value) or vla_eval.fits(value)):
            raise RecordError(
                f"{path} has results one level down, under {key[:80]!r}, expected them at the top; "
                "make what stands there a file of its own"
            )
    return "json"


def _version() -> str:
    try:
        return version("vlabench-harness")
    except PackageNotFoundError:
        return "unknown"
