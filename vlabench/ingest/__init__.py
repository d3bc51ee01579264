"""Results of other tools as runs, so that every command that decides works on them.

A run made from them says so in its header, and what the files leave open stays open: fields are
null, protocol and suite have version 0, and the run says NOT COMPARABLE with runs of ours. Runs of
one format compare, paired where equal initial states are known to be.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from vlabench.errors import RecordError
from vlabench.ingest import lerobot, openvla, table, vla_eval
from vlabench.ingest.found import Found
from vlabench.ingest.making import make_run
from vlabench.record import Run

Format = Literal["auto", "lerobot", "vla-eval", "openvla", "csv"]
MOST_BYTES = 64 * 2**20
"""Of one file, some hundred thousand episodes: what is larger is something else."""
_POINTER = "version https://git-lfs.github.com/spec/"
"""What stands in a large file's place where a repository was fetched without Git LFS."""
_WANTED = {"lerobot": "lerobot-eval's eval_info.json", "vla-eval": "vla-eval's aggregate JSON"}
_NONE = (
    "none of lerobot's eval_info.json, vla-eval's aggregate JSON, an OpenVLA log, or CSV with "
    "columns task and success"
)


def ingest(
    paths: Sequence[Path],
    *,
    format: Format = "auto",
    suite: str | None = None,
    policy: str | None = None,
) -> Run:
    """Read files of another tool into one run.

    Args:
        paths: Files of one format, of one policy; together they are the run.
        format: Who wrote them; found out from the content when `auto`.
        suite: Name of the suite, where the files do not say.
        policy: Name of the policy, where the files do not say; which one, where they hold several.

    Raises:
        RecordError: If a file cannot be read, is of no such format, is too large, or the files do
            not belong together.
    """
    found, sources = [], {}
    for path in paths:
        content = _bytes(path)
        if path.name in sources:
            raise RecordError(f"{path}: two files are called {path.name}; rename one of them")
        sources[path.name] = sha256(content).hexdigest()
        found.append(_read(path, _text(path, content), format, policy))
    return make_run(found, sources, suite=suite, policy=policy, vlabench=_version())


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
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path} is not text: byte {error.start} is not UTF-8") from error
    if text.startswith(_POINTER):
        raise RecordError(f"{path} is a pointer of Git LFS, expected the file; run git lfs pull")
    return text


def _read(path: Path, text: str, format: Format, policy: str | None) -> Found:
    chosen = _guess(path, text) if format == "auto" else format
    try:
        if chosen == "openvla":
            found = openvla.read(text)
        elif chosen == "csv":
            found = table.read(text, policy)
        else:
            found = (lerobot if chosen == "lerobot" else vla_eval).read(_json(text))
    except json.JSONDecodeError as error:
        raise RecordError(
            f"{path} is not JSON, expected {_WANTED[chosen]} ({error}); say another --format, or "
            "none to have it found out"
        ) from error
    except KeyError as error:
        raise RecordError(f"{path} is no {chosen} file: field {error} is missing") from error
    except (TypeError, AttributeError) as error:
        raise RecordError(f"{path} is no {chosen} file: {error}") from error
    except (ValueError, csv.Error, RecursionError) as error:
        raise RecordError(f"{path}: {error}") from error
    if not found.attempts:
        raise RecordError(
            f"{path}: no episode has ended in this {chosen} file, expected at least one"
        )
    return found


def _guess(path: Path, text: str) -> Format:
    if text.lstrip()[:1] == "{":
        try:
            content = _json(text)
        except (ValueError, RecursionError) as error:
            raise RecordError(f"{path} begins like JSON and is not: {error}") from error
        return _guess_json(path, content)
    if table.fits(text):
        return "csv"
    if openvla.fits(text):
        return "openvla"
    raise RecordError(f"{path} is {_NONE}; say --format to see what is missing")


def _guess_json(path: Path, content: Mapping[str, object]) -> Format:
    if lerobot.fits(content):
        return "lerobot"
    if vla_eval.fits(content):
        return "vla-eval"
    if content.get("kind") == "header":
        raise RecordError(f"{path} is a vlabench results file already")
    for key, value in content.items():
        if isinstance(value, dict) and (lerobot.fits(value) or vla_eval.fits(value)):
            raise RecordError(
                f"{path} has results one level down, under {key[:80]!r}, expected them at the top; "
                "make what stands there a file of its own"
            )
    keys = ", ".join(repr(key) for key in content)[:200] or "none"
    raise RecordError(f"{path} is {_NONE}; its keys are {keys}")


def _json(text: str) -> Mapping[str, object]:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise TypeError(f"the JSON is a {type(content).__name__}, expected an object")
    return content


def _version() -> str:
    try:
        return version("vlabench-harness")
    except PackageNotFoundError:
        return "unknown"
