"""A training's folder: whose it is, and the state that a killed training goes on from."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from vlabench.errors import RecordError, StorageError
from vlabench.locks import lock
from vlabench.recipe import Recipe

_STATE = "state.pt"


@contextmanager
def claim(out: Path, recipe: Recipe) -> Iterator[None]:
    """Make the folder this recipe's, or find that it is; no other process trains in it meanwhile.

    Raises:
        RecordError: If it is another recipe's, or cannot be written.
        RunLockedError: If another process trains in it.
    """
    path = out / "recipe"
    try:
        out.mkdir(parents=True, exist_ok=True)
        mark = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror}") from error
    with mark:
        try:
            lock(
                mark,
                f"another vlabench process trains in {out}; wait for it, or choose another --out",
            )
        except RecordError:
            if not path.stat().st_size:
                path.unlink()
            raise
        mark.seek(0)
        found = mark.read().strip()
        if found and found != recipe.digest:
            raise RecordError(
                f"{out} holds a training with recipe {found}, this recipe is {recipe.digest}; "
                "choose another --out, or delete it"
            )
        if not found:
            mark.write(recipe.digest + "\n")
            mark.flush()
        yield


def save_state(out: Path, state: dict[str, Any]) -> None:
    """Write the state, whole or not at all.

    Raises:
        StorageError: If it cannot be written; the last one is kept.
    """
    part = out / f".{_STATE}.part"
    try:
        torch.save(state, part)
        part.replace(out / _STATE)
    except (OSError, RuntimeError) as error:  # the latter is what torch says of a full disk
        with suppress(OSError):
            part.unlink(missing_ok=True)
        reason = str(error).partition("\n")[0]
        raise StorageError(
            f"cannot write {out / _STATE}: {reason}; the last one is kept"
        ) from error


def load_state(out: Path, device: torch.device) -> dict[str, Any] | None:
    """Return the state; None if there is none. Nothing but tensors and plain values is read."""
    path = out / _STATE
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state
