"""A training's folder: whose it is, and the state that a killed training goes on from."""

from pathlib import Path
from typing import Any

import torch

from vlabench.errors import RecordError
from vlabench.recipe import Recipe

_STATE = "state.pt"


def claim(out: Path, recipe: Recipe) -> None:
    """Make the folder this recipe's, or find that it is.

    Raises:
        RecordError: If it is another recipe's.
    """
    mark = out / "recipe"
    if mark.is_file():
        if (found := mark.read_text().strip()) != recipe.digest:
            raise RecordError(
                f"{out} holds a training with recipe {found}, this recipe is {recipe.digest}; "
                "choose another --out, or delete it"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    mark.write_text(recipe.digest + "\n")


def save_state(out: Path, state: dict[str, Any]) -> None:
    """Write the state, whole or not at all."""
    part = out / f".{_STATE}.part"
    torch.save(state, part)
    part.replace(out / _STATE)


def load_state(out: Path, device: torch.device) -> dict[str, Any] | None:
    """Return the state; None if there is none. Nothing but tensors and plain values is read."""
    path = out / _STATE
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state
