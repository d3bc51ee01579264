"""Behaviour cloning of a NanoVLA: the policy that both papers start from.

References: OpenVLA's fine-tuning (arXiv 2406.09246) for action tokens; stage 0 of iRe-VLA
(arXiv 2501.16664, eq. 2) for continuous actions.

What differs from them:
 1. The model is a NanoVLA of about a million parameters, trained from nothing, not LoRA adapters
    on a pretrained VLM.
 2. A decision is a chunk of actions, as in OpenVLA-OFT (arXiv 2502.19645).
 3. Demonstrations are a scripted expert's, with noise on what is executed but not on the labels
    (DART, arXiv 1703.09327).
 4. What is kept is a running average of the weights.

A training is one folder: `demos/`, `log.csv` and `curves.png`, `state.pt` to go on from, and
`checkpoint/`. The same command goes on where it was killed, to the same losses.
"""

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlabench.demos import Demo, demos_digest, read_demos
from vlabench.demos.collect import choose_cameras
from vlabench.errors import SettingError
from vlabench.provenance import provenance
from vlabench.recipe import Recipe, fill
from vlabench.registry import load_suite
from vlabench.settings import parse_settings
from vlabench.spaces import Camera
from vlabench.suite import Suite
from vlabench_baselines.common.data import (
    DataError,
    Moments,
    moments,
    scales,
    shifted,
    split,
    words_of,
)
from vlabench_baselines.common.device import compiled, cores, device_of, no_denormals
from vlabench_baselines.common.expert import Demonstrations
from vlabench_baselines.common.folder import claim, load_state, save_state
from vlabench_baselines.common.log import Log, draw_curves
from vlabench_baselines.common.progress import Follower
from vlabench_baselines.common.rollout import columns, told, try_out
from vlabench_baselines.nanovla.checkpoint import Checkpoint, Origin, save_checkpoint
from vlabench_baselines.nanovla.config import NanoConfig
from vlabench_baselines.nanovla.model import NanoVLA, num_parameters
from vlabench_baselines.nanovla.perception import Batch
from vlabench_baselines.sft.recipe import SftRecipe, TrainingRecipe
from vlabench_baselines.sft.spotter import Spotter

COLUMNS = (
    "step",
    "seconds",
    "learning_rate",
    "loss",
    "gradient_norm",
    "loss_validation",
    "loss_spotting",
    "success",
    "success_low",
    "success_high",
    "success_n",
)
_PANELS = {
    "loss": ("loss", "loss_validation", "loss_spotting"),
    "success in training episodes": ("success",),
    "learning rate": ("learning_rate",),
}


def train(recipe: Recipe, out: Path, *, quiet: bool = False) -> Path:
    """Carry out an SFT recipe; the same again goes on where it stopped.

    Args:
        recipe: See `SftRecipe`.
        out: The training's folder.
        quiet: Whether to say nothing.

    Returns:
        The folder of the checkpoint.

    Raises:
        SettingError: If the recipe says something else.
        RecordError: If the folder holds another training.
        RunLockedError: If another process trains in it.
    """
    wanted, say = fill(SftRecipe, recipe.values, f"recipe {recipe.name}"), Follower(quiet=quiet)
    suite = load_suite(wanted.suite)
    if not f"{suite.id}-".startswith(f"{wanted.family}-"):
        raise SettingError(f"recipe {recipe.name}: family {wanted.family!r} has no {suite.id!r}")
    cameras = choose_cameras(suite.training_protocol(), wanted.model.cameras)
    demonstrations = Demonstrations(wanted.demos, suite, wanted.tasks, cameras)
    with claim(out, recipe):
        folder = demonstrations.ready(out / "demos", say)
        say.say(f"reading {folder}")
        vision = wanted.model.front == "vision"
        things = not vision or wanted.training.spot > 0
        demos = list(read_demos(folder, tasks=wanted.tasks, images=vision, privileged=things))
        if wanted.training.spot and not all(demo.privileged for demo in demos):
            raise DataError(
                f"{folder} does not say where things are, which training.spot = "
                f"{wanted.training.spot:g} needs; collect with `vlabench demos collect`, or set it "
                "to 0"
            )
        kept, aside = split(demos, wanted.training.aside)
        config = _config(wanted, cameras, kept)
        origin = _origin(wanted, suite, recipe, kept, demos_digest(folder, tasks=wanted.tasks))
        trainer = _Trainer(wanted, suite, config, origin, out, say)
        with no_denormals():
            trainer.run(moments(kept, config), moments(aside, config) if aside else None)
        return trainer.finish().folder


def _config(wanted: SftRecipe, cameras: tuple[Camera, ...], demos: list[Demo]) -> NanoConfig:
    model = {**asdict(wanted.model), "cameras": cameras}
    return NanoConfig(**model, words=words_of(demos), scales=scales(demos))


def _origin(
    wanted: SftRecipe, suite: Suite, recipe: Recipe, demos: list[Demo], data: str
) -> Origin:
    rules = suite.training_protocol()
    here = provenance(suite, workers=1, gl="none")
    return Origin(
        family=wanted.family,
        suite=f"{suite.id}@{suite.version}",
        protocol=rules.name,
        tasks=tuple(dict.fromkeys(demo.task_id for demo in demos)),
        state=rules.observation.state,
        action=rules.action,
        data=data,
        recipe=f"{recipe.name} {recipe.digest}",
        commit=here.commit[:12] + ("+" if here.dirty else ""),
        vlabench=here.vlabench,
        steps=wanted.training.steps,
        seed=wanted.training.seed,
    )


class _Trainer:
    """One training: the model, its average, and what it needs to go on."""

    def __init__(
        self,
        wanted: SftRecipe,
        suite: Suite,
        config: NanoConfig,
        origin: Origin,
        out: Path,
        say: Follower,
    ) -> None:
        self._wanted, self._suite, self._origin = wanted, suite, origin
        self._out, self._say = out, say
        self._training = training = wanted.training
        self._device = device_of(wanted.device)
        torch.manual_seed(training.seed)
        self._model = NanoVLA(config).to(self._device)
        self._average = copy.deepcopy(self._model).requires_grad_(False)
        self._spotter = Spotter(config).to(self._device) if training.spot else None
        spots = self._spotter.parameters() if self._spotter else ()
        self._optimizer = torch.optim.AdamW(
            [*self._model.parameters(), *spots],
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
            fused=True,
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: schedule(step, training)
        )
        self._losses = compiled(self._lose, self._device)
        self._step, self._seconds = 0, 0.0
        self._resume()
        self._log = Log(out / "log.csv", COLUMNS, self._step)

    def run(self, data: Moments, aside: Moments | None) -> None:
        """Train to the last step."""
        training, say = self._training, self._say
        say.say(
            f"{num_parameters(self._model)} parameters, {len(data)} moments on {self._device}, "
            f"step {self._step} of {training.steps}"
        )
        started, before = time.monotonic(), self._seconds
        batches = _batches(len(data), training, self._step)
        total = training.steps
        losses: list[Tensor] = []
        for places in say.track(batches, total, "training", self._step):
            loss, spots, norm = self._descend(data, places)
            losses.append(torch.stack([loss, spots]))
            self._step += 1
            self._seconds = before + time.monotonic() - started
            row: dict[str, float] = {}
            if self._due(training.log_every):
                row["loss"], row["loss_spotting"] = torch.stack(losses).mean(0).tolist()
                if self._spotter is None:
                    del row["loss_spotting"]
                row["gradient_norm"] = float(norm)
                row["learning_rate"] = float(self._schedule.get_last_lr()[0])
                say.note = f"loss {row['loss']:.4f}"
                losses.clear()
            if aside is not None and self._due(training.validate_every):
                row["loss_validation"] = self._validate(aside)
            if training.rollout_every and self._due(training.rollout_every):
                row.update(self._roll_out())
            if row:
                rounded = {name: f"{value:.6g}" for name, value in row.items()}
                self._log.add({"step": self._step, "seconds": f"{self._seconds:.1f}", **rounded})
            if self._due(training.save_every):
                self._save()

    def finish(self) -> Checkpoint:
        """Write the checkpoint and the learning curves."""
        notes = {
            "execute": self._wanted.execute or self._average.config.chunk,
            "seconds": round(self._seconds),
            "device": str(self._device),
        }
        checkpoint = save_checkpoint(self._out / "checkpoint", self._average, self._origin, notes)
        draw_curves(self._out / "log.csv", self._out / "curves.png", _PANELS, self._origin.recipe)
        self._say.say(f"checkpoint {checkpoint.digest}: {checkpoint.folder}")
        return checkpoint

    def _due(self, every: int) -> bool:
        return self._step % every == 0 or self._step == self._training.steps

    def _descend(self, data: Moments, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, actions, weight = data.pick(places)
        batch = batch.to(self._device)
        if self._training.shift and batch.images.shape[1]:
            batch = shifted(batch, self._training.shift, self._step, self._training.seed)
        with torch.autocast(self._device.type, torch.bfloat16, self._device.type == "cuda"):
            loss, spots = self._losses(batch, actions.to(self._device), weight.to(self._device))
        self._optimizer.zero_grad(set_to_none=True)
        (loss + self._training.spot * spots).backward()
        norm = nn.utils.clip_grad_norm_(self._model.parameters(), self._training.clip)
        self._optimizer.step()
        self._schedule.step()
        self._follow()
        return loss.detach(), spots.detach(), norm

    def _lose(self, batch: Batch, actions: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of cloning and that of saying where things are."""
        understood = self._model(batch)
        loss = self._model.head.loss(understood.tokens, understood.seen, actions, weight)
        if self._spotter is None:
            return loss, torch.zeros_like(loss)
        return loss, self._spotter.loss(understood, batch, self._model)

    @torch.no_grad()
    def _follow(self) -> None:
        """Let the average follow the model, closely at first."""
        decay = min(self._training.ema, (1 + self._step) / (10 + self._step))
        pairs = zip(self._average.parameters(), self._model.parameters(), strict=True)
        for average, now in pairs:
            average.lerp_(now, 1 - decay)

    @torch.no_grad()
    def _validate(self, aside: Moments) -> float:
        total = count = 0.0
        for places in torch.split(torch.arange(len(aside)), 4 * self._training.batch):
            batch, actions, weight = aside.pick(places)
            moved = (part.to(self._device) for part in (actions, weight))
            total += float(self._average.loss(batch.to(self._device), *moved)) * len(places)
            count += len(places)
        return total / count

    def _roll_out(self) -> dict[str, float]:
        estimate = try_out(
            self._average,
            self._origin,
            self._suite,
            execute=self._wanted.execute or None,
            tasks=self._wanted.tasks,
            episodes=self._training.rollout_episodes,
            settings=_suite_settings(self._wanted, self._suite),
            workers=cores(),
        )
        self._say.say(f"step {self._step}: {told(estimate)}")
        return columns(estimate)

    def _save(self) -> None:
        state = {
            "step": self._step,
            "seconds": self._seconds,
            "model": self._model.state_dict(),
            "average": self._average.state_dict(),
            "spotter": self._spotter.state_dict() if self._spotter else {},
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
        }
        save_state(self._out, state)

    def _resume(self) -> None:
        state = load_state(self._out, self._device)
        if state is None:
            return
        self._step, self._seconds = state["step"], state["seconds"]
        self._model.load_state_dict(state["model"])
        self._average.load_state_dict(state["average"])
        if self._spotter:
            self._spotter.load_state_dict(state["spotter"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])


def schedule(step: int, training: TrainingRecipe) -> float:
    """Return the share of the learning rate at a step: linear warm-up, then half a cosine."""
    if step < training.warmup:
        return (step + 1) / training.warmup
    progress = min(1.0, (step - training.warmup) / max(1, training.steps - training.warmup))
    return training.floor + (1 - training.floor) * 0.5 * (1 + math.cos(math.pi * progress))


def _batches(count: int, training: TrainingRecipe, begin: int) -> Iterator[Tensor]:
    """Yield the moments of every step from `begin`: each epoch in an order of its own.

    What a step sees depends on the seed and the step alone, so that resuming changes nothing.
    """
    size = min(training.batch, count)
    per_epoch = count // size
    order, epoch = torch.empty(0), -1
    for step in range(begin, training.steps):
        if step // per_epoch != epoch:
            epoch = step // per_epoch
            luck = torch.Generator().manual_seed(training.seed * 1_000_003 + epoch)
            order = torch.randperm(count, generator=luck)
        place = step % per_epoch * size
        yield order[place : place + size]


def _suite_settings(wanted: SftRecipe, suite: Suite) -> dict[str, Any]:
    """Return those settings of the demonstrations that are the suite's."""
    from vlabench.settings import settings_of

    known = settings_of(suite.make_env)
    chosen = {key: text for key, text in wanted.demos.settings.items() if key in known}
    return parse_settings(suite.make_env, chosen, f"suite {suite.id!r}")
