"""Checkpoints: a folder with `config.json` (what it is) and `model.safetensors` (the weights).

Nothing is unpickled. The config names the weights by their SHA-256, so that a folder put together
from two is refused.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlabench.errors import VlabenchError
from vlabench.spaces import ActionSpec, Gripper, Rotation
from vlabench_baselines.nanovla.config import NanoConfig

if TYPE_CHECKING:
    from vlabench_baselines.nanovla.model import NanoVLA

FORMAT = "nanovla-1"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
_MOST_BYTES = 200_000_000
"""More than ten times the largest model that this code trains."""


class CheckpointError(VlabenchError):
    """A checkpoint that is not what it claims to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a checkpoint comes from and what it fits.

    Attributes:
        family: Of the suites it acts in, what their ids begin with: `libero`.
        suite: `id@version` of the suite it was trained in.
        protocol: `id@version` of the protocol it was trained under.
        tasks: The tasks whose demonstrations it saw.
        state: Name of the convention of the proprioceptive vector.
        action: The action convention.
        data: Digest of its training data.
        recipe: The recipe's name and its digest.
        commit: Git commit that trained it, `+` behind it if the checkout was changed.
        vlabench: Version of vlabench.
        steps: Training steps.
        seed: Of the training.
        started_from: Digest of the checkpoint the training began with; empty for none.
    """

    family: str
    suite: str
    protocol: str
    tasks: tuple[str, ...]
    state: str
    action: ActionSpec
    data: str
    recipe: str
    commit: str
    vlabench: str
    steps: int
    seed: int
    started_from: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint that was read and checked.

    Attributes:
        folder: Where it lies.
        config: The architecture.
        origin: Where it comes from.
        digest: Of weights and config together, 16 hex digits.
        notes: Whatever else its maker wrote down.
    """

    folder: Path
    config: NanoConfig
    origin: Origin
    digest: str
    notes: Mapping[str, Any] = field(default_factory=dict)

    def load_model(self) -> "NanoVLA":
        """Build the model and load its weights, on the CPU.

        Raises:
            CheckpointError: If the weights are not those of such a model.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        from vlabench_baselines.nanovla.model import NanoVLA

        model = NanoVLA(self.config)
        path = self.folder / WEIGHTS
        try:
            model.load_state_dict(load(path.read_bytes()))
        except (SafetensorError, RuntimeError) as error:
            first = str(error).strip().splitlines()
            reason = " ".join(line.strip() for line in first[:2])[:200]
            raise CheckpointError(
                f"{path} does not hold the weights that {CONFIG} describes: {reason}"
            ) from error
        model.eval().requires_grad_(False)
        return model


def save_checkpoint(
    folder: Path, model: "NanoVLA", origin: Origin, notes: Mapping[str, Any] | None = None
) -> Checkpoint:
    """Write a checkpoint; what lay there before is replaced.

    Args:
        folder: Created if it is missing.
        model: The weights.
        origin: Where it comes from.
        notes: Plain values to keep with it, such as the validation loss.
    """
    from safetensors.torch import save

    weights = save({k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()})
    content = {
        "format": FORMAT,
        "weights": hashlib.sha256(weights).hexdigest(),
        "model": model.config.to_json(),
        "origin": asdict(origin),
        "notes": dict(notes or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / WEIGHTS, weights)
    _replace(folder / CONFIG, (json.dumps(content, indent=1) + "\n").encode())
    return read_checkpoint(folder)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read and check a checkpoint, all but the weights' meaning.

    Raises:
        CheckpointError: If files are missing, too large, foreign, damaged or do not belong
            together.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder} is not a checkpoint: it has no file {name}; expected a folder with "
                f"{CONFIG} and {WEIGHTS}, as `vlabench train` writes"
            )
        if (size := (folder / name).stat().st_size) > _MOST_BYTES:
            raise CheckpointError(
                f"{folder / name} has {size} bytes; at most {_MOST_BYTES} are read"
            )
    content = _content(folder / CONFIG)
    found = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    if found != content["weights"]:
        raise CheckpointError(
            f"{folder / WEIGHTS} has SHA-256 {found[:16]} and {CONFIG} names "
            f"{str(content['weights'])[:16]}: the file is damaged or from another checkpoint"
        )
    try:
        config, origin = NanoConfig.from_json(content["model"]), _origin(content["origin"])
        notes = dict(content["notes"])
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{folder / CONFIG} describes no NanoVLA: {error}") from error
    described = json.dumps([content["model"], found], sort_keys=True)
    digest = hashlib.sha256(described.encode()).hexdigest()[:16]
    return Checkpoint(folder=folder, config=config, origin=origin, digest=digest, notes=notes)


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise CheckpointError(
            f"{path} has format {found!r}, expected {FORMAT!r}: it is not a NanoVLA checkpoint, or "
            "one from another version of vlabench"
        )
    missing = {"weights", "model", "origin", "notes"} - set(content)
    if missing:
        raise CheckpointError(f"{path} lacks {sorted(missing)}")
    return dict(content)


def _origin(values: dict[str, Any]) -> Origin:
    if unknown := set(values) - {f.name for f in fields(Origin)}:
        raise ValueError(f"unknown fields {sorted(unknown)}")
    spec = values["action"]
    action = ActionSpec(
        **{**spec, "rotation": Rotation(spec["rotation"]), "gripper": Gripper(spec["gripper"])}
    )
    return Origin(**{**values, "action": action, "tasks": tuple(values["tasks"])})


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
