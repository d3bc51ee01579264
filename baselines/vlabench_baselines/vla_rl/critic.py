"""A critic of chunks: how probably one leads to success, and how soon. A verifier picks by it.

VLA-RL's value model judges moments and cannot tell chunks of one moment apart; what takes the best
of several samples has to (Cobbe et al., arXiv 2110.14168, train such a verifier on the outcomes of
a model's own solutions, as is done here). The policy runs in training episodes; of each decision
the critic learns the discounted outcome, `gamma ** (decisions left)` after a success and 0 after a
failure, by cross-entropy.

The result is the policy's checkpoint with one judge more, `critic`; the policy is the same. An
episode counts as failed where time ran out, as it does when it is evaluated.

A training is one folder: `episodes/` has what each task's episodes gave, so that the same command
goes on where it was killed, and `checkpoint/`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vlabench.errors import SettingError
from vlabench.recipe import Recipe, above, at_least, fill
from vlabench.registry import load_suite
from vlabench_baselines.common.actors import TokenActor
from vlabench_baselines.common.device import device_of, no_denormals
from vlabench_baselines.common.experience import gather
from vlabench_baselines.common.explore import (
    Arena,
    Explorer,
    ExploreRecipe,
    Trajectory,
    make_arena,
)
from vlabench_baselines.common.fitting import fit
from vlabench_baselines.common.folder import claim
from vlabench_baselines.common.progress import Follower
from vlabench_baselines.common.start import read_start
from vlabench_baselines.nanovla.checkpoint import Checkpoint, save_checkpoint
from vlabench_baselines.nanovla.config import NanoConfig
from vlabench_baselines.nanovla.heads import TokenHead
from vlabench_baselines.nanovla.model import Judge, NanoVLA
from vlabench_baselines.nanovla.perception import Batch
from vlabench_baselines.vla_rl.rprm import auc

NAME = "critic"
"""Of the judge in the checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticRecipe:
    """The whole of it.

    Attributes:
        suite: Where the policy runs.
        tasks: Globs over task ids.
        start: The policy's checkpoint; empty for the `sft` that comes along for the suite.
        temperature: Of the action tokens that are drawn.
        settings: Of the suite, as `--set` gives them.
        explore: How episodes are run; `episodes` of each task.
        gamma: Discount per decision.
        dim: Width of the critic's backbone.
        depth: Layers of it.
        steps: Of the optimizer.
        batch: Moments of a task in a step.
        mix: Tasks in a step.
        learning_rate: The highest of one cycle.
        aside: Share of each task's episodes that it is measured on.
        seed: Of everything random.
        device: `auto` is the GPU if there is one.
    """

    suite: str
    tasks: str = "*"
    start: str = ""
    temperature: float = 1.0
    settings: dict[str, str] = field(default_factory=dict)
    explore: ExploreRecipe = field(default_factory=lambda: ExploreRecipe(episodes=20))
    gamma: float = 0.98
    dim: int = 64
    depth: int = 2
    steps: int = 1500
    batch: int = 48
    mix: int = 8
    learning_rate: float = 1e-3
    aside: float = 0.2
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        at_least(self, 1, "dim", "depth", "steps", "batch", "mix")
        at_least(self, 0, "seed")
        above(self, 0, "temperature", "learning_rate")
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma is {self.gamma}; expected a number in (0, 1]")
        if not 0 < self.aside < 1:
            raise ValueError(f"aside is {self.aside}; expected a share in (0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What one task's episodes gave: `P` decisions.

    Attributes:
        batch: What was seen.
        chunks: What was executed, `[P, E, A]`.
        value: The discounted outcome, `[P]`.
        episode: Whose decision it is, `[P]`.
    """

    batch: Batch
    chunks: Tensor
    value: Tensor
    episode: Tensor

    def __len__(self) -> int:
        return len(self.value)

    def pick(self, places: Tensor) -> "Outcomes":
        """Return some of the decisions."""
        return Outcomes(
            batch=self.batch.pick(places),
            chunks=self.chunks[places],
            value=self.value[places],
            episode=self.episode[places],
        )


def train(recipe: Recipe, out: Path, *, quiet: bool = False) -> Path:
    """Carry out a critic's recipe; the same again goes on where it stopped.

    Args:
        recipe: See `CriticRecipe`.
        out: The training's folder.
        quiet: Whether to say nothing.

    Returns:
        The folder of the checkpoint.

    Raises:
        SettingError: If the recipe says something else.
        CheckpointError: If it starts from a checkpoint that is missing or has no action tokens.
        RecordError: If the folder holds another training.
        RunLockedError: If another process trains in it.
    """
    wanted, say = fill(CriticRecipe, recipe.values, f"recipe {recipe.name}"), Follower(quiet=quiet)
    suite = load_suite(wanted.suite)
    start = read_start(wanted.start, suite, head="tokens", who="a critic of chunks")
    arena = make_arena(suite, wanted.settings, wanted.explore, start)
    arena.episodes(wanted.tasks, 1, wanted.seed)  # a wrong task is found before it begins
    config = _config(start, wanted, arena.execute)
    with claim(out, recipe):
        parts = _explore(wanted, arena, start, out / "episodes", say)
        learnt, aside = zip(*(_split(part, wanted.aside) for part in parts), strict=True)
        with no_denormals():
            judge = train_critic(learnt, config, wanted, say)
        told = measured(judge, aside)
        say.say(f"critic on decisions of episodes aside: {told}")
        judges = {name: start.load_judge(name) for name in start.judges if name != NAME}
        notes = {**start.notes, NAME: f"{recipe.name} {recipe.digest}; {told}"}
        folder = out / "checkpoint"
        found = save_checkpoint(
            folder, start.load_model(), start.origin, notes, {**judges, NAME: judge}
        )
        say.say(f"checkpoint {found.digest}: {found.folder}")
        return found.folder


def outcomes_of(
    trajectories: Sequence[Trajectory], model: NanoVLA, actor: TokenActor, gamma: float
) -> Outcomes:
    """Return what the decisions of some episodes led to."""
    experience = gather(trajectories, model)
    assert experience.batch is not None
    values = [
        float(one.success) * gamma ** torch.arange(len(one) - 1, -1, -1) for one in trajectories
    ]
    counts = torch.tensor([len(one) for one in trajectories])
    with torch.no_grad():
        chunks = actor.actions(experience.chosen)
    return Outcomes(
        batch=experience.batch.pick(experience.moment),
        chunks=chunks,
        value=torch.cat(values).float(),
        episode=torch.repeat_interleave(torch.arange(len(counts)), counts),
    )


def train_critic(
    parts: Sequence[Outcomes], config: NanoConfig, recipe: CriticRecipe, say: Follower
) -> Judge:
    """Train a critic of chunks on what was done in several tasks."""
    device = device_of(recipe.device)
    torch.manual_seed(recipe.seed)
    luck = torch.Generator().manual_seed(recipe.seed)
    judge = Judge(config).to(device)
    fit(
        judge,
        lambda: _loss(judge, parts, recipe, luck),
        steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        what="critic of chunks",
        say=say,
    )
    return judge.cpu().eval().requires_grad_(False)


def _loss(
    judge: Judge, parts: Sequence[Outcomes], recipe: CriticRecipe, luck: torch.Generator
) -> Tensor:
    """Return the mean cross-entropy of decisions in some tasks."""
    device, losses = judge.head.low.device, list[Tensor]()
    count = min(recipe.mix, len(parts))
    for place in torch.randperm(len(parts), generator=luck)[:count].tolist():
        part = parts[place]
        some = part.pick(torch.randint(len(part), (recipe.batch,), generator=luck))
        logits = judge(some.batch.to(device), some.chunks.to(device).unsqueeze(1)).squeeze(1)
        value = some.value.to(device)
        losses.append(functional.binary_cross_entropy_with_logits(logits, value))
    return torch.stack(losses).mean()


@torch.no_grad()
def measured(judge: Judge, parts: Sequence[Outcomes]) -> str:
    """Say how well a critic tells decisions of successes from those of failures, within tasks."""
    found = []
    for part in parts:
        score = judge(part.batch, part.chunks.unsqueeze(1)).squeeze(1).numpy()
        good = part.value.numpy() > 0
        found.append(auc(score[good], score[~good]))
    known = [each for each in found if np.isfinite(each)]
    if not known:
        return "no task with successes and failures aside"
    return f"AUC {np.mean(known):.3f}, the mean of {len(known)} tasks that had both"


def _config(start: Checkpoint, recipe: CriticRecipe, execute: int) -> NanoConfig:
    try:
        return replace(
            start.config,
            chunk=execute,
            dim=recipe.dim,
            depth=recipe.depth,
            head_dim=recipe.dim,
        )
    except ValueError as error:
        raise SettingError(f"critic: {error}") from error


def _explore(
    wanted: CriticRecipe, arena: Arena, start: Checkpoint, folder: Path, say: Follower
) -> list[Outcomes]:
    """Run the episodes of every task that the folder does not hold yet; return all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    model = start.load_model().eval().requires_grad_(False)
    assert isinstance(model.head, TokenHead)
    actor = TokenActor(model.head, arena.execute, wanted.temperature)
    episodes = arena.episodes(wanted.tasks, wanted.explore.episodes, wanted.seed)
    tasks = list(dict.fromkeys(episode.task_id for episode in episodes))
    files = {task: folder / f"{task.replace('/', '-')}.pt" for task in tasks}
    left = [task for task in tasks if not files[task].is_file()]
    explorer = Explorer(
        model,
        start.origin,
        actor,
        execute=arena.execute,
        batched=wanted.explore.batched,
        correlation=wanted.explore.correlation,
    )
    with arena.pool(explorer) as pool:
        for task in say.track(left, len(tasks), "tasks", len(tasks) - len(left)):
            found = arena.explore(pool, explorer, [e for e in episodes if e.task_id == task])
            _write(files[task], outcomes_of(found, model, actor, wanted.gamma))
    return [_read(files[task]) for task in tasks]


def _split(part: Outcomes, share: float) -> tuple[Outcomes, Outcomes]:
    """Set the last `share` of the episodes aside, at least one."""
    many = int(part.episode.max()) + 1
    last = many - max(1, round(share * many))
    places = torch.arange(len(part))
    return part.pick(places[part.episode < last]), part.pick(places[part.episode >= last])


def _write(path: Path, part: Outcomes) -> None:
    batch = {f.name: getattr(part.batch, f.name) for f in fields(Batch)}
    own = {f.name: getattr(part, f.name) for f in fields(Outcomes) if f.name != "batch"}
    unfinished = path.with_suffix(".part")
    torch.save({**batch, **own}, unfinished)
    unfinished.replace(path)


def _read(path: Path) -> Outcomes:
    whole: dict[str, Tensor] = torch.load(path, weights_only=True)
    batch = Batch(**{f.name: whole.pop(f.name) for f in fields(Batch)})
    return Outcomes(batch=batch, **whole)
