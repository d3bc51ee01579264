"""The policy that a training begins with, and what the improved one says of where it comes from."""

from dataclasses import replace
from pathlib import Path

from vlabench.provenance import provenance
from vlabench.recipe import Recipe
from vlabench.suite import Suite
from vlabench_baselines.nanovla.checkpoint import (
    Checkpoint,
    CheckpointError,
    Origin,
    read_checkpoint,
)
from vlabench_baselines.nanovla.config import Head
from vlabench_baselines.nanovla.shipped import FrontChoice, find_shipped


def read_start(
    folder: str, suite: Suite, *, front: FrontChoice = "auto", head: Head, who: str
) -> Checkpoint:
    """Read the checkpoint that is to be improved.

    Args:
        folder: Where it lies; empty for the `sft` that comes along for the suite.
        suite: Where it will act.
        front: Of the one that comes along.
        head: Which it has to have.
        who: Improves it, for messages.

    Raises:
        CheckpointError: If it is missing, damaged, of another suite, or has the other head.
    """
    path = Path(folder).expanduser() if folder else find_shipped("sft", suite, front)
    found = read_checkpoint(path)
    if not f"{suite.id}-".startswith(f"{found.origin.family}-"):
        raise CheckpointError(
            f"{path} was trained for suites of {found.origin.family!r}; it knows nothing of suite "
            f"{suite.id!r}"
        )
    if found.config.head != head:
        raise CheckpointError(
            f"{path} has a head of kind {found.config.head!r}; {who} improves those of kind "
            f"{head!r}"
        )
    return found


def origin_from(
    start: Checkpoint, recipe: Recipe, suite: Suite, *, steps: int, seed: int
) -> Origin:
    """Return where a policy comes from that began as another one.

    Args:
        start: That one.
        recipe: Which improved it.
        suite: Where.
        steps: Of the training.
        seed: Of the training.
    """
    here = provenance(suite, workers=1, gl="none")
    return replace(
        start.origin,
        suite=f"{suite.id}@{suite.version}",
        protocol=suite.training_protocol().name,
        recipe=f"{recipe.name} {recipe.digest}",
        commit=here.commit[:12] + ("+" if here.dirty else ""),
        vlabench=here.vlabench,
        steps=steps,
        seed=seed,
        started_from=start.digest,
    )
