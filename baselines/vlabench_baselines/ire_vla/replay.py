"""D_RL: the moments of the policy's own successes, and what it did in them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from vlabench_baselines.common.actors import Actor
from vlabench_baselines.common.experience import gather
from vlabench_baselines.common.explore import Trajectory
from vlabench_baselines.nanovla.model import NanoVLA
from vlabench_baselines.nanovla.perception import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Successes of one iteration: `P` moments, chunks `[P, H, A]`, their weights `[P, H]`."""

    batch: Batch
    actions: Tensor
    weight: Tensor


class Replay:
    """Successes, one file for each iteration that had some.

    Args:
        folder: Where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: dict[str, _Part] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        return sum(len(part.batch) for part in self._parts.values())

    def add(
        self, name: str, trajectories: Sequence[Trajectory], model: NanoVLA, actor: Actor
    ) -> None:
        """Keep the successes among some trajectories.

        Args:
            name: Of the file; one that is there is written again. What comes before its first
                hyphen says of which task they are.
            trajectories: Of the suite that the model acts in.
            model: Its words number what is said, its chunk is what a label has.
            actor: Says what decisions mean.
        """
        kept = [replace(one, features=()) for one in trajectories if one.success]
        if not kept:
            return
        experience = gather(kept, model)
        assert experience.batch is not None
        with torch.no_grad():
            done = actor.actions(experience.chosen)
        missing = model.config.chunk - done.shape[1]
        weight = torch.ones(done.shape[:2])
        part = _Part(
            batch=experience.batch.pick(experience.moment),
            actions=torch.nn.functional.pad(done, (0, 0, 0, missing)),
            weight=torch.nn.functional.pad(weight, (0, missing)),
        )
        self._parts[name] = part
        _write(self._folder / f"{name}.pt", part)

    def load(self, names: Sequence[str]) -> None:
        """Take up what an interrupted training had kept; later files are not its own."""
        for name in names:
            self._parts[name] = _read(self._folder / f"{name}.pt")

    @property
    def names(self) -> list[str]:
        """Of the files, in order."""
        return list(self._parts)

    def draw(self, count: int, luck: torch.Generator) -> tuple[Batch, Tensor, Tensor]:
        """Return moments, chunks `[B, H, A]` and weights `[B, H]`, of one iteration's successes.

        Every task is as likely as the others, however many of them it has.

        Raises:
            RuntimeError: If there are none at all.
        """
        sizes = {name: len(part.batch) for name, part in self._parts.items()}
        wholes = Counter[str]()
        for name, size in sizes.items():
            wholes[_task_of(name)] += size
        shares = torch.tensor([size / wholes[_task_of(name)] for name, size in sizes.items()])
        part = list(self._parts.values())[int(torch.multinomial(shares, 1, generator=luck))]
        places = torch.randint(len(part.batch), (count,), generator=luck)
        return part.batch.pick(places), part.actions[places], part.weight[places]


def _task_of(name: str) -> str:
    return name.partition("-")[0]


def _write(path: Path, part: _Part) -> None:
    batch = {f.name: getattr(part.batch, f.name) for f in fields(Batch)}
    unfinished = path.with_suffix(".part")
    torch.save({**batch, "actions": part.actions, "weight": part.weight}, unfinished)
    unfinished.replace(path)


def _read(path: Path) -> _Part:
    whole: dict[str, Tensor] = torch.load(path, weights_only=True)
    actions, weight = whole.pop("actions"), whole.pop("weight")
    return _Part(batch=Batch(**whole), actions=actions, weight=weight)
