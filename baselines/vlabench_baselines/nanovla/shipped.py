"""The checkpoints that come along, and policies made of checkpoints.

Shipped checkpoints lie in `checkpoints/METHOD-FAMILY-FRONT`, `sft-libero-privileged`. Importing
this imports no torch.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from vlabench.errors import MissingExtraError, SettingError
from vlabench.policy import Policy
from vlabench.suite import Suite
from vlabench_baselines.nanovla.checkpoint import Checkpoint, CheckpointError, read_checkpoint

FrontChoice = Literal["auto", "privileged", "vision"]
SHIPPED = Path(__file__).parents[1] / "checkpoints"


def make_policy(
    method: str,
    suite: Suite,
    *,
    front: FrontChoice = "auto",
    checkpoint: Path | None = None,
    temperature: float = 0.0,
    execute: int | None = None,
) -> Policy:
    """Make a policy of a checkpoint; see `sft.policy.make` for the arguments."""
    for package in ("torch", "safetensors"):
        if find_spec(package) is None:
            raise MissingExtraError(f"policy {method!r}", package, "torch")
    found = read_checkpoint(checkpoint or find_shipped(method, suite, front))
    _check_family(found, suite)
    if checkpoint and front not in ("auto", found.config.front):
        raise SettingError(f"front={front}, and {checkpoint} is a {found.config.front} model")
    if not 0 <= temperature <= 10:
        raise SettingError(f"temperature={temperature:g}, expected a number from 0 to 10")
    if execute is not None and not 1 <= execute <= found.config.chunk:
        raise SettingError(
            f"execute={execute}, expected 1 to {found.config.chunk}: {found.folder.name} decides "
            f"on {found.config.chunk} actions at once"
        )
    import torch

    from vlabench_baselines.nanovla.policy import NanoPolicy

    # Several threads round differently from one, and take longer for so small a model.
    torch.set_num_threads(1)
    return NanoPolicy(
        method,
        found.load_model(),
        found.origin,
        digest=found.digest,
        temperature=temperature,
        execute=execute or found.notes.get("execute"),
    )


def find_shipped(method: str, suite: Suite, front: FrontChoice = "auto") -> Path:
    """Return the shipped checkpoint of a method for a suite.

    Raises:
        CheckpointError: If there is none.
    """
    shipped = sorted(path.name for path in SHIPPED.glob(f"{method}-*") if path.is_dir())
    fronts = ("privileged", "vision") if front == "auto" else (front,)
    for kind in fronts:
        for name in shipped:
            family = name.removeprefix(f"{method}-").removesuffix(f"-{kind}")
            if name.endswith(f"-{kind}") and _of_family(suite, family):
                return SHIPPED / name
    what = "" if front == "auto" else f" with front={front}"
    raise CheckpointError(
        f"no checkpoint of {method!r} for suite {suite.id!r}{what} comes along; there are: "
        f"{', '.join(shipped) or 'none'}. Train one with `vlabench train`, and name it with: "
        "--set checkpoint=FOLDER"
    )


def _of_family(suite: Suite, family: str) -> bool:
    return suite.id == family or suite.id.startswith(f"{family}-")


def _check_family(found: Checkpoint, suite: Suite) -> None:
    if not _of_family(suite, found.origin.family):
        raise CheckpointError(
            f"{found.folder} was trained for suites of {found.origin.family!r}, on "
            f"{found.origin.suite}; it knows nothing of suite {suite.id!r}"
        )
