"""Checkpoints: a folder with `config.json` (what it is) and `model.safetensors` (the weights).

Beside the policy there may be judges of its chunks, `NAME.safetensors` each. Nothing is unpickled.
The config names all weights by their SHA-256, so that a folder put together from two is refused.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlabench.errors import StorageError, VlabenchError
from vlabench.spaces import ActionSpec, Gripper, Rotation
from vlabench_baselines.nanovla.config import NanoConfig, Readout, with_readout

if TYPE_CHECKING:
    from torch import nn

    from vlabench_baselines.nanovla.model import Judge, NanoVLA

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
        digest: Of weights and configs together, judges included, 16 hex digits.
        notes: Whatever else its maker wrote down.
        judges: The architecture of each judge that it carries, by name.
    """

    folder: Path
    config: NanoConfig
    origin: Origin
    digest: str
    notes: Mapping[str, Any] = field(default_factory=dict)
    judges: Mapping[str, NanoConfig] = field(default_factory=dict)

    def load_model(self) -> "NanoVLA":
        """Build the model and load its weights, on the CPU.

        Raises:
            CheckpointError: If the weights are not those of such a model.
        """
        from vlabench_baselines.nanovla.model import NanoVLA

        model = NanoVLA(self.config)
        _fill(model, self.folder / WEIGHTS)
        return model

    def load_judge(self, name: str) -> "Judge":
        """Build a judge and load its weights, on the CPU.

        Raises:
            CheckpointError: If it carries no such judge, or the weights are not those of one.
        """
        from vlabench_baselines.nanovla.model import Judge

        if name not in self.judges:
            raise CheckpointError(
                f"{self.folder} carries no judge {name!r}; it carries: "
                f"{', '.join(self.judges) or 'none'}. Take a checkpoint whose training made one, "
                "or verifier=consensus, which needs none"
            )
        judge = Judge(self.judges[name])
        _fill(judge, self.folder / _file_of(name))
        return judge


def save_checkpoint(
    folder: Path,
    model: "NanoVLA",
    origin: Origin,
    notes: Mapping[str, Any] | None = None,
    judges: Mapping[str, "Judge"] | None = None,
) -> Checkpoint:
    """Write a checkpoint; what lay there before is replaced, and its judges are removed.

    Args:
        folder: Created if it is missing.
        model: The weights.
        origin: Where it comes from.
        notes: Plain values to keep with it, such as the validation loss.
        judges: Verifiers of the model's chunks, by name; they see what it sees.

    Raises:
        ValueError: If a judge has no proper name, or is not for such a model.
    """
    judges = judges or {}
    for name, judge in judges.items():
        check_judge(name, judge.config, model.config)
    files = {WEIGHTS: _packed(model), **{_file_of(n): _packed(j) for n, j in judges.items()}}
    content = {
        "format": FORMAT,
        "weights": _sha256(files[WEIGHTS]),
        "model": model.config.to_json(),
        "origin": asdict(origin),
        "notes": dict(notes or {}),
    }
    if judges:
        content["judges"] = {
            name: {"weights": _sha256(files[_file_of(name)]), "model": judge.config.to_json()}
            for name, judge in judges.items()
        }
    folder.mkdir(parents=True, exist_ok=True)
    stale = _judge_files(folder) - set(files)
    for name, packed in files.items():
        _replace(folder / name, packed)
    _replace(folder / CONFIG, (json.dumps(content, indent=1) + "\n").encode())
    for name in stale:
        (folder / name).unlink(missing_ok=True)
    return read_checkpoint(folder)


def read_checkpoint(folder: Path, *, readout: Readout | None = None) -> Checkpoint:
    """Read and check a checkpoint, all but the weights' meaning.

    Args:
        folder: Where it lies.
        readout: How its tokens are read off, instead of what it says itself; the digest is then
            that of a checkpoint that says so.

    Raises:
        CheckpointError: If files are missing, too large, foreign, damaged or do not belong
            together.
    """
    _require(folder, CONFIG, WEIGHTS)
    content = _content(folder / CONFIG)
    _check_digest(folder / WEIGHTS, content["weights"])
    try:
        if readout:
            content["model"] = with_readout(content["model"], readout)
        config, origin = NanoConfig.from_json(content["model"]), _origin(content["origin"])
        notes, named = dict(content["notes"]), dict(content.get("judges", {}))
        judges = {name: NanoConfig.from_json(judge["model"]) for name, judge in named.items()}
        for name, judge in judges.items():
            check_judge(name, judge, config)
        sums = {_file_of(name): judge["weights"] for name, judge in named.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{folder / CONFIG} describes no NanoVLA: {error}") from error
    _require(folder, CONFIG, WEIGHTS, *sums)
    for name, found in sums.items():
        _check_digest(folder / name, found)
    described = [content["model"], content["weights"], *([named] if named else [])]
    digest = _sha256(json.dumps(described, sort_keys=True).encode())[:16]
    return Checkpoint(
        folder=folder, config=config, origin=origin, digest=digest, notes=notes, judges=judges
    )


def _require(folder: Path, *names: str) -> None:
    if not folder.exists():
        raise CheckpointError(
            f"{folder} does not exist; expected a folder with {' and '.join(names)}, as `vlabench "
            "train` writes"
        )
    for name in names:
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder} is not a checkpoint: it has no file {name}; expected a folder with "
                f"{' and '.join(names)}, as `vlabench train` writes"
            )
        if (size := (folder / name).stat().st_size) > _MOST_BYTES:
            raise CheckpointError(
                f"{folder / name} has {size} bytes; at most {_MOST_BYTES} are read"
            )


def _check_digest(path: Path, named: object) -> None:
    found = _sha256(path.read_bytes())
    if found != named:
        raise CheckpointError(
            f"{path} has SHA-256 {found[:16]} and {CONFIG} names {str(named)[:16]}: the file is "
            "damaged or from another checkpoint"
        )


def check_judge(name: str, judge: NanoConfig, policy: NanoConfig) -> None:
    """Refuse a name that is no plain file's, and a judge that cannot judge this policy.

    Raises:
        ValueError: With what does not fit.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or _file_of(name) == WEIGHTS:
        raise ValueError(f"judge {name!r}; expected lower-case letters and digits, not 'model'")
    for what in ("front", "cameras", "words", "state_size", "action_size"):
        if getattr(judge, what) != getattr(policy, what):
            raise ValueError(f"judge {name!r} and the policy have different {what}")
    if judge.chunk > policy.chunk:
        raise ValueError(f"judge {name!r} wants {judge.chunk} actions of {policy.chunk}")


def _judge_files(folder: Path) -> set[str]:
    """Return the files of the judges that lie in a folder and are named by its config."""
    try:
        named = dict(_content(folder / CONFIG).get("judges", {}))
    except (OSError, CheckpointError, TypeError, ValueError):
        return set()
    return {path.name for path in folder.glob("*.safetensors") if path.stem in named}


def _file_of(judge: str) -> str:
    return f"{judge}.safetensors"


def _packed(module: "nn.Module") -> bytes:
    from safetensors.torch import save

    return save({k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()})


def _fill(module: "nn.Module", path: Path) -> None:
    """Load a file's weights into a module, and leave it ready for evaluation."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        module.load_state_dict(load(path.read_bytes()))
    except (SafetensorError, RuntimeError) as error:
        first = str(error).strip().splitlines()
        reason = " ".join(line.strip() for line in first[:2])[:200]
        raise CheckpointError(
            f"{path} does not hold the weights that {CONFIG} describes: {reason}"
        ) from error
    for name, weight in module.state_dict().items():
        if weight.is_floating_point() and not weight.isfinite().all():
            raise CheckpointError(
                f"{path} holds weights that are not finite, in {name}: its training diverged, or "
                "it was changed afterwards"
            )
    module.eval().requires_grad_(False)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (RecursionError, ValueError) as error:
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
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
