"""iRe-VLA (arXiv 2501.16664): reinforcement and supervised learning in turn.

For each task: stage 1 improves the action head by PPO while the backbone is frozen, what it makes
of a moment being computed once; stage 2 clones the expert's demonstrations and the policy's own
successes, backbone (LoRA) and head. The other two methods of its tables are in the same program:
`ire-vla-freeze` freezes the backbone in stage 2 as well; `ppo-replay` trains everything in stage 1,
and stage 2 replays the demonstrations alone.

What differs from the paper, or is not in it:
 1. The policy is a NanoVLA, which decides on chunks of actions, not BLIP-2 3B on single ones.
 2. Its mean squared error gives no spread to explore with: a standard deviation for each number of
    an action is learned beside the head, from a recipe's value on, anew for each task.
 3. No number is published: PPO's, LoRA's, the shares of the two data sets, when a task is learnt.
    They are the recipe's.
 4. Stage 2 draws a batch from either set at each step; `share` weighs their losses. Of D_RL every
    task gives as much, or those that are easy would drown the others.
 5. `ppo-replay` has a critic head on the detached output of its backbone.
 6. Eyes and word embeddings belong to the backbone: LoRA leaves them as they are, `rank = 0` trains
    them too.
 7. Tasks may be gone through several times, in `rounds` of shorter stages; the paper's algorithm
    goes through them once and says nothing of how long. Noise may last (`explore.correlation`).

A training is one folder: `log.csv` and `curves.png`, `replay/` with the successes, `state.pt` to go
on from, and `checkpoint/`, the policy after the last task, as in the paper. Where an earlier one
was better by the validation plan, that one is beside it in `best/`.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vlabench.demos import demos_digest, read_demos
from vlabench.episode import EpisodeSpec
from vlabench.recipe import Recipe, fill
from vlabench.registry import load_suite
from vlabench.suite import Suite
from vlabench_baselines.common.actors import GaussianActor
from vlabench_baselines.common.data import Moments, moments, shifted
from vlabench_baselines.common.device import device_of, give_back_memory, no_denormals
from vlabench_baselines.common.experience import Experience, gather
from vlabench_baselines.common.expert import Demonstrations
from vlabench_baselines.common.explore import Arena, Explorer, Trajectory, make_arena
from vlabench_baselines.common.folder import claim, load_state, save_state
from vlabench_baselines.common.guard import Best, fall_of
from vlabench_baselines.common.learner import Learner, distance
from vlabench_baselines.common.log import Log, draw_curves
from vlabench_baselines.common.progress import Clock, Follower
from vlabench_baselines.common.rollout import columns, portrait, told, try_out
from vlabench_baselines.common.start import origin_from, read_start
from vlabench_baselines.ire_vla.recipe import IreVlaRecipe
from vlabench_baselines.ire_vla.replay import Replay
from vlabench_baselines.nanovla.backbone import add_lora, merge_lora
from vlabench_baselines.nanovla.checkpoint import (
    Checkpoint,
    Origin,
    save_checkpoint,
)
from vlabench_baselines.nanovla.heads import ContinuousHead, ValueHead
from vlabench_baselines.nanovla.model import NanoVLA, Understood

COLUMNS = (
    "iteration",
    "task",
    "stage",
    "episodes",
    "seconds",
    "exploring",
    "length",
    "entropy",
    "kl",
    "kl_start",
    "clipped",
    "gradient_norm",
    "value_error",
    "explained",
    "loss",
    "success",
    "success_low",
    "success_high",
    "success_n",
    "success_expert",
    "success_expert_low",
    "success_expert_high",
    "success_expert_n",
    "seconds_exploring",
    "seconds_learning",
    "seconds_validating",
)
_PANELS = {
    "success, greedily, of all tasks": ("success", "success_expert"),
    "success in exploring one task: the return": ("exploring",),
    "control steps": ("length",),
    "entropy, nats": ("entropy",),
    "KL, nats a decision": ("kl", "kl_start"),
    "critic": ("value_error", "explained"),
    "loss of stage 2": ("loss",),
    "seconds": ("seconds_exploring", "seconds_learning", "seconds_validating"),
}


def train(recipe: Recipe, out: Path, *, quiet: bool = False) -> Path:
    """Carry out an iRe-VLA recipe; the same again goes on where it stopped.

    Args:
        recipe: See `IreVlaRecipe`.
        out: The training's folder.
        quiet: Whether to say nothing.

    Returns:
        The folder of the checkpoint.

    Raises:
        SettingError: If the recipe says something else.
        CheckpointError: If it starts from a checkpoint that is missing or has action tokens.
        RecordError: If the folder holds another training.
        RunLockedError: If another process trains in it.
    """
    wanted, say = fill(IreVlaRecipe, recipe.values, f"recipe {recipe.name}"), Follower(quiet=quiet)
    suite, expert = load_suite(wanted.suite), load_suite(wanted.expert)
    start = read_start(wanted.start, suite, front=wanted.front, head="continuous", who="iRe-VLA")
    arena = make_arena(suite, wanted.settings, wanted.explore, start)
    arena.episodes(wanted.tasks, 1, wanted.seed)  # a wrong task is found before it begins
    demonstrations = Demonstrations(wanted.demos, expert, "*", start.config.cameras)
    with claim(out, recipe):
        folder = demonstrations.ready(out / "demos", say)
        say.say(f"reading {folder}")
        vision = start.config.front == "vision"
        blind = list(read_demos(folder, images=False, privileged=not vision))
        pictured = read_demos(folder, privileged=False) if vision else None
        demos = moments(blind, start.config, pictured)
        origin = origin_from(start, recipe, suite, steps=wanted.supervise.steps, seed=wanted.seed)
        origin = replace(origin, data=demos_digest(folder))
        trainer = _Trainer(wanted, arena, expert, start, origin, demos, out, say)
        with no_denormals():
            trainer.run()
        return trainer.finish().folder


class _Trainer:
    """One training: the policy, its successes, and what is needed to go on."""

    def __init__(
        self,
        wanted: IreVlaRecipe,
        arena: Arena,
        expert: Suite,
        start: Checkpoint,
        origin: Origin,
        demos: Moments,
        out: Path,
        say: Follower,
    ) -> None:
        self._wanted, self._arena, self._expert, self._origin = wanted, arena, expert, origin
        self._demos, self._out, self._say = demos, out, say
        self._device = device_of(wanted.device)
        torch.manual_seed(wanted.seed)
        self._model = start.load_model().to(self._device)
        self._before = start.load_model().to(self._device)
        tasks = [e.task_id for e in arena.episodes(wanted.tasks, 1, wanted.seed)]
        self._tasks = tasks * wanted.rounds
        self._replay = Replay(out / "replay")
        self._task, self._within, self._row, self._episodes, self._seconds = 0, 0, 0, 0, 0.0
        self._shares: list[float] = []
        self._reinforce: _Reinforce | None = None
        self._best = Best(0.0, 0, copy.deepcopy(self._model.state_dict()))
        self._resume()
        self._log = Log(out / "log.csv", COLUMNS, self._row - 1)

    def run(self) -> None:
        """Learn one task after the other, as many times as there are rounds."""
        if not self._row:
            self._add(Clock(), "start", self._validate(Clock(), expert=True))
        while self._task < len(self._tasks):
            self._say.say(f"task {self._task + 1} of {len(self._tasks)}: {self._tasks[self._task]}")
            self._explore_task()
            self._supervise()
            self._task, self._within, self._shares = self._task + 1, 0, []
            self._reinforce = None
            self._save()

    def _explore_task(self) -> None:
        """Stage 1: explore and learn until the task is learnt, or the iterations are over."""
        stage = self._wanted.reinforce
        reinforce = self._reinforce = self._reinforce or self._begin()
        frozen = self._wanted.method != "ppo-replay"
        explorer = Explorer(
            self._model,
            self._origin,
            reinforce.actor,
            execute=self._arena.execute,
            batched=self._wanted.explore.batched,
            keep_features=frozen,
            correlation=self._wanted.explore.correlation,
        )
        with self._arena.pool(explorer) as pool:
            steps = range(self._within, stage.iterations)
            for _ in self._say.track(steps, stage.iterations, "iterations", self._within):
                if self._learnt():
                    break
                clock = Clock()
                with clock.part("exploring"):
                    found = self._arena.explore(pool, explorer, self._draw())
                self._learn(reinforce, found, clock)
                self._say.note = f"exploring {self._shares[-1]:.1%}"

    def _learnt(self) -> bool:
        return len(self._shares) > 1 and min(self._shares[-2:]) >= self._wanted.reinforce.enough

    def _begin(self) -> "_Reinforce":
        """Begin stage 1: a new critic head and a new spread."""
        torch.manual_seed(self._wanted.seed * 1_000_003 + self._task)
        return _Reinforce(self._wanted, self._model, self._actor(self._model), self._device)

    def _actor(self, model: NanoVLA) -> GaussianActor:
        """Return who explores with a model, at the spread that every stage begins with."""
        assert isinstance(model.head, ContinuousHead)
        actor = GaussianActor(model.head, self._arena.execute, self._wanted.reinforce.std)
        return actor.to(self._device)

    def _draw(self) -> list[EpisodeSpec]:
        """Return the next episodes of the task: each iteration has initial states of its own."""
        count, task = self._wanted.explore.episodes, self._tasks[self._task]
        before = self._tasks[: self._task].count(task) * self._wanted.reinforce.iterations
        place = before + self._within
        whole = self._arena.episodes(task, (place + 1) * count, self._wanted.seed)
        return list(whole[place * count :])

    def _learn(self, reinforce: "_Reinforce", found: Sequence[Trajectory], clock: Clock) -> None:
        passed, number = divmod(self._task, len(self._tasks) // self._wanted.rounds)
        name = f"{number:02d}-{passed:02d}-{self._within:03d}"
        self._replay.add(name, found, self._model, reinforce.actor)
        luck = torch.Generator().manual_seed(self._wanted.seed * 1_000_003 + self._row)
        with clock.part("learning"):
            experience = gather(found, self._model)
            update = reinforce.learner.update(
                experience, luck, learn_policy=self._within >= self._wanted.reinforce.warmup
            )
            far = distance(
                experience, self._model, reinforce.actor, self._before, self._actor(self._before)
            )
        self._shares.append(sum(one.success for one in found) / len(found))
        self._episodes += len(found)
        self._within += 1
        values = {
            "exploring": self._shares[-1],
            "length": sum(one.steps for one in found) / len(found),
            "entropy": update.entropy,
            "kl": update.kl,
            "kl_start": far,
            "clipped": update.clipped,
            "gradient_norm": update.gradient_norm,
            "value_error": update.value_error,
            "explained": update.explained,
        }
        self._add(clock, "reinforce", values)
        self._save()
        give_back_memory()

    def _supervise(self) -> None:
        """Stage 2: clone the demonstrations and the successes."""
        clock, stage = Clock(), self._wanted.supervise
        luck = torch.Generator().manual_seed(self._wanted.seed * 1_000_003 + 500_000 + self._task)
        with clock.part("learning"), self._learning() as parameters:
            optimizer = torch.optim.AdamW(parameters, lr=stage.learning_rate, weight_decay=0.0)
            losses = []
            for step in self._say.track(range(stage.steps), stage.steps, "cloning"):
                for group in optimizer.param_groups:
                    group["lr"] = stage.learning_rate * _cosine(step, stage.steps)
                losses.append(self._clone(parameters, optimizer, step, luck))
        tail = losses[-max(1, len(losses) // 10) :]
        round_ends = (self._task + 1) % (len(self._tasks) // self._wanted.rounds) == 0
        found = self._validate(clock, expert=round_ends)
        self._add(clock, "supervise", {"loss": sum(tail) / len(tail), **found})

    def _clone(
        self,
        parameters: list[nn.Parameter],
        optimizer: torch.optim.Optimizer,
        step: int,
        luck: torch.Generator,
    ) -> float:
        stage, model, device = self._wanted.supervise, self._model, self._device
        places = torch.randint(len(self._demos), (stage.batch,), generator=luck)
        sets = [(1.0, self._demos.pick(places))]
        if self._wanted.method != "ppo-replay" and len(self._replay):
            own = self._replay.draw(stage.batch, luck)
            sets = [(1 - stage.share, sets[0][1]), (stage.share, own)]
        loss = torch.zeros((), device=device)
        for share, (batch, actions, weight) in sets:
            batch = batch.to(device)
            if stage.shift and batch.images.shape[1]:
                batch = shifted(batch, stage.shift, step, self._wanted.seed)
            loss = loss + share * model.loss(batch, actions.to(device), weight.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return float(loss.detach())

    @contextmanager
    def _learning(self) -> Iterator[list[nn.Parameter]]:
        """Let stage 2's parameters learn meanwhile; LoRA adapters are folded in at the end."""
        method, rank, model = self._wanted.method, self._wanted.supervise.rank, self._model
        adapted = method == "ire-vla" and rank > 0
        model.requires_grad_(method == "ppo-replay" or (method == "ire-vla" and not rank))
        if adapted:
            add_lora(model.backbone, rank)
        model.head.requires_grad_(True)
        yield [parameter for parameter in model.parameters() if parameter.requires_grad]
        if adapted:
            merge_lora(model.backbone)
        model.requires_grad_(False)

    def _validate(self, clock: Clock, *, expert: bool) -> dict[str, float]:
        """Run the validation plans, without noise: of tasks to improve, and of the expert's."""
        found: dict[str, float] = {}
        plans = [("success", self._arena.suite, self._wanted.tasks, 1)]
        if expert:
            plans.append(("success_expert", self._expert, "*", 5))
        with clock.part("validating"):
            for name, suite, tasks, fewer in plans:
                estimate = try_out(
                    self._model,
                    self._origin,
                    suite,
                    execute=self._arena.execute,
                    tasks=tasks,
                    episodes=max(1, self._wanted.validate_episodes // fewer),
                    settings=self._arena.settings,
                    workers=self._arena.workers,
                )
                self._say.say(f"{suite.id}: {told(estimate)}")
                found |= columns(estimate, name)
        if found["success"] >= self._best.success:
            weights = copy.deepcopy(self._model.state_dict())
            self._best = Best(found["success"], self._row, weights)
        return found

    def finish(self) -> Checkpoint:
        """Write the policy and the learning curves, and the best policy if that was another one."""
        log = self._out / "log.csv"
        fall = fall_of(log)
        notes = {
            "execute": self._arena.execute,
            "episodes": self._episodes,
            "seconds": round(self._seconds),
            "device": str(self._device),
            **fall.notes,
        }
        last = self._keep("checkpoint", portrait(self._model), notes)
        if self._best.iteration < self._row - 1:
            self._say.say(fall.told)
            best = portrait(self._model)
            best.load_state_dict(self._best.weights)
            notes |= {"iteration": self._best.iteration, "validation": self._best.success}
            self._keep("best", best, notes)
        draw_curves(log, self._out / "curves.png", _PANELS, self._origin.recipe)
        return last

    def _keep(self, name: str, model: NanoVLA, notes: dict[str, Any]) -> Checkpoint:
        checkpoint = save_checkpoint(self._out / name, model, self._origin, notes)
        self._say.say(f"{name} {checkpoint.digest}: {checkpoint.folder}")
        return checkpoint

    def _add(self, clock: Clock, stage: str, values: dict[str, float]) -> None:
        """Write a line of the log."""
        self._seconds += clock.total
        times = {f"seconds_{name}": value for name, value in clock.parts.items()}
        task = self._tasks[self._task]
        self._log.add(
            {
                "iteration": self._row,
                "task": task,
                "stage": stage,
                "episodes": self._episodes,
                "seconds": f"{self._seconds:.1f}",
                **{name: f"{value:.6g}" for name, value in {**values, **times}.items()},
            }
        )
        self._row += 1

    def _save(self) -> None:
        state: dict[str, Any] = {
            "task": self._task,
            "within": self._within,
            "row": self._row,
            "episodes": self._episodes,
            "seconds": self._seconds,
            "shares": self._shares,
            "replay": self._replay.names,
            "model": self._model.state_dict(),
            "best": tuple(self._best),
        }
        if self._reinforce:
            state["reinforce"] = self._reinforce.state_dict()
        save_state(self._out, state)

    def _resume(self) -> None:
        state = load_state(self._out, self._device)
        if state is None:
            return
        self._task, self._within, self._row = state["task"], state["within"], state["row"]
        self._episodes, self._seconds = state["episodes"], state["seconds"]
        self._shares = state["shares"]
        self._replay.load(state["replay"])
        self._model.load_state_dict(state["model"])
        self._best = Best(*state["best"])
        if "reinforce" in state:
            self._reinforce = self._begin()
            self._reinforce.load_state_dict(state["reinforce"])


class _Reinforce:
    """What stage 1 makes for one task: a critic head, a spread, and who learns."""

    def __init__(
        self, wanted: IreVlaRecipe, model: NanoVLA, actor: GaussianActor, device: torch.device
    ) -> None:
        whole = wanted.method == "ppo-replay"
        model.requires_grad_(whole)
        model.head.requires_grad_(True)
        self.actor = actor
        self.critic = ValueHead(model.config).to(device)

        def understand(experience: Experience, moments: torch.Tensor) -> Understood:
            return experience.understood(moments, model, device)

        def value(experience: Experience, moments: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                understood = understand(experience, moments)
            values: torch.Tensor = self.critic(*understood)
            return values

        learns = model.parameters() if whole else model.head.parameters()
        self.learner = Learner(
            wanted.ppo,
            self.actor,
            understand,
            value,
            [*learns, *self.actor.parameters()],
            self.critic.parameters(),
            device,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what an interrupted stage needs besides the policy."""
        return {
            "spread": self.actor.state_dict(),
            "critic": self.critic.state_dict(),
            "policy_optimizer": self.learner.policy_optimizer.state_dict(),
            "critic_optimizer": self.learner.critic_optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from it."""
        self.actor.load_state_dict(state["spread"])
        self.critic.load_state_dict(state["critic"])
        self.learner.policy_optimizer.load_state_dict(state["policy_optimizer"])
        self.learner.critic_optimizer.load_state_dict(state["critic_optimizer"])


def _cosine(step: int, steps: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * step / steps))
