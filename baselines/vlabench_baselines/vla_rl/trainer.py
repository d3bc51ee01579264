"""VLA-RL (arXiv 2505.18719): trajectory-level PPO on action tokens.

What differs from the paper:
 1. The policy is a NanoVLA, trained whole, not LoRA adapters on OpenVLA-7B; one policy for all
    tasks of a recipe, not one for each suite.
 2. A decision is a chunk of actions, of which the first few are executed, as the SFT policy does;
    its probability is still that of all its tokens together (eq. 1). There is no end-of-sequence
    token in it, and no token besides the bins.
 3. Old log-probabilities are those of the draw. The code published with the paper overwrites them
    with the new ones, so that its ratio is always 1 and its clip never acts.
 4. Episodes that time cut short are bootstrapped; the published code takes them for ended.
 5. Exploring and learning take turns in one process: the learner's weights are the policy's.
 6. Initial states come from the suite's training protocol. The published code trains on the 50
    states that it evaluates on.
 7. Advantages are normalised within an iteration; a switch of `[ppo]`.
 8. The process reward model is of the policy's own family (`rprm.py`), the paper's is a VLM.
 9. Where nothing is drawn, tokens are read off as the start says: at the median; in the paper, at
    the likeliest. Exploring and learning do not depend on it, the validation plan does.

A training is one folder: `log.csv` and `curves.png`, `state.pt` to go on from, `snapshots/` and
`checkpoint/`, which is the best by a validation plan, the start included. The same command goes on
where it was killed.
"""

import copy
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlabench.recipe import Recipe, fill
from vlabench.registry import load_suite
from vlabench.runners.processes import Pool
from vlabench_baselines.common.actors import TokenActor
from vlabench_baselines.common.device import device_of, give_back_memory, no_denormals
from vlabench_baselines.common.experience import Experience, gather
from vlabench_baselines.common.explore import Arena, Explorer, Trajectory, make_arena
from vlabench_baselines.common.folder import claim, load_state, save_state
from vlabench_baselines.common.guard import Best, fall_of
from vlabench_baselines.common.learner import Learner, Update, distance
from vlabench_baselines.common.log import Log, draw_curves
from vlabench_baselines.common.progress import Clock, Follower
from vlabench_baselines.common.rollout import columns, portrait, told, try_out
from vlabench_baselines.common.start import origin_from, read_start
from vlabench_baselines.nanovla.checkpoint import (
    Checkpoint,
    Origin,
    save_checkpoint,
)
from vlabench_baselines.nanovla.heads import TokenHead
from vlabench_baselines.nanovla.model import Critic, Judge, NanoVLA
from vlabench_baselines.vla_rl.curriculum import Curriculum
from vlabench_baselines.vla_rl.recipe import VlaRlRecipe
from vlabench_baselines.vla_rl.rprm import NAME as RPRM
from vlabench_baselines.vla_rl.rprm import (
    Attempt,
    attempt_of_run,
    demonstrations_of,
    judge_of,
    process_reward,
    reward_model,
)

COLUMNS = (
    "iteration",
    "episodes",
    "seconds",
    "exploring",
    "return",
    "length",
    "process_reward",
    "entropy",
    "kl",
    "kl_start",
    "clipped",
    "gradient_norm",
    "value_error",
    "explained",
    "success",
    "success_low",
    "success_high",
    "success_n",
    "seconds_exploring",
    "seconds_learning",
    "seconds_validating",
)
_PANELS = {
    "success": ("success", "exploring"),
    "reward of an episode": ("return", "process_reward"),
    "control steps": ("length",),
    "entropy, nats": ("entropy",),
    "KL, nats a decision": ("kl", "kl_start"),
    "clipped": ("clipped",),
    "critic": ("value_error", "explained"),
    "seconds": ("seconds_exploring", "seconds_learning", "seconds_validating"),
}


def train(recipe: Recipe, out: Path, *, quiet: bool = False) -> Path:
    """Carry out a VLA-RL recipe; the same again goes on where it stopped.

    Args:
        recipe: See `VlaRlRecipe`.
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
    wanted, say = fill(VlaRlRecipe, recipe.values, f"recipe {recipe.name}"), Follower(quiet=quiet)
    suite = load_suite(wanted.suite)
    start = read_start(wanted.start, suite, head="tokens", who="VLA-RL")
    arena = make_arena(suite, wanted.settings, wanted.explore, start)
    arena.episodes(wanted.tasks, 1, wanted.training.seed)  # a wrong task is found before it begins
    if wanted.rprm.learns:
        demonstrations_of(wanted.rprm, start)  # so that it is known whether there are any
    elif wanted.rprm.scale:
        judge_of(wanted.rprm, start, arena.execute)
    with claim(out, recipe):
        origin = origin_from(
            start,
            recipe,
            suite,
            steps=wanted.training.iterations,
            seed=wanted.training.seed,
        )
        trainer = _Trainer(wanted, arena, start, origin, out)
        with no_denormals():
            trainer.run(say)
        return trainer.finish(say).folder


class _Trainer:
    """One training: policy, critic, curriculum, and what is needed to go on."""

    def __init__(
        self,
        wanted: VlaRlRecipe,
        arena: Arena,
        start: Checkpoint,
        origin: Origin,
        out: Path,
    ) -> None:
        self._wanted, self._arena, self._origin, self._out = wanted, arena, origin, out
        self._training, self._start = wanted.training, start
        self._device = device_of(wanted.device)
        torch.manual_seed(wanted.training.seed)
        self._model = start.load_model().requires_grad_(True).to(self._device)
        self._before = start.load_model().to(self._device)
        self._critic = _critic(self._model)
        self._actor = self._actor_of(self._model)
        self._learner = Learner(
            wanted.ppo,
            self._actor,
            lambda experience, moments: experience.understood(moments, self._model, self._device),
            lambda experience, moments: self._critic(experience.seen(moments, self._device)),
            self._model.parameters(),
            self._critic.parameters(),
            self._device,
        )
        states = arena.episodes(wanted.tasks, wanted.curriculum.states, wanted.training.seed)
        self._curriculum = Curriculum(states, wanted.curriculum)
        self._iteration, self._seconds = 0, 0.0
        self._episodes = wanted.rprm.runs if wanted.rprm.learns else 0
        self._process: Judge | None = None
        self._best = Best(0.0, 0, copy.deepcopy(self._model.state_dict()))
        self._resume()
        self._log = Log(out / "log.csv", COLUMNS, self._iteration or -1)

    def _actor_of(self, model: NanoVLA) -> TokenActor:
        assert isinstance(model.head, TokenHead)
        return TokenActor(model.head, self._arena.execute, self._wanted.temperature)

    def run(self, say: Follower) -> None:
        """Explore and learn to the last iteration."""
        total, begun = self._training.iterations, self._iteration
        say.say(f"{total - begun} iterations of {self._wanted.explore.episodes} episodes to go")
        explorer = Explorer(
            self._model,
            self._origin,
            self._actor,
            execute=self._arena.execute,
            batched=self._wanted.explore.batched,
            correlation=self._wanted.explore.correlation,
        )
        if not begun:
            self._log.add(self._row(0, {}, self._validate(say), Clock()))
        with self._arena.pool(explorer) as pool:
            self._process = self._reward_model(pool, explorer, say)
            for _ in say.track(range(begun, total), total, "iterations", begun):
                say.note = self._iterate(pool, explorer, say)

    def _reward_model(self, pool: Pool, explorer: Explorer, say: Follower) -> Judge | None:
        recipe, execute = self._wanted.rprm, self._arena.execute
        runs = functools.partial(self._runs, pool, explorer)
        return reward_model(recipe, self._start, execute, self._out, say, runs)

    def _runs(self, pool: Pool, explorer: Explorer) -> list[Attempt]:
        """Run the policy as it is at the start, for the process reward model to learn from."""
        recipe = self._wanted.rprm
        luck = np.random.default_rng([self._training.seed, 2**31])
        if not recipe.runs:
            return []
        found = self._arena.explore(pool, explorer, self._curriculum.sample(recipe.runs, luck))
        return [
            attempt_of_run(
                one.observations,
                self._actor.actions(one.chosen.to(self._device)).cpu().numpy(),
                self._origin.action,
                recipe.labels,
                steps=one.steps,
                success=one.success,
            )
            for one in found
        ]

    def _iterate(self, pool: Pool, explorer: Explorer, say: Follower) -> str:
        clock = Clock()
        luck = np.random.default_rng([self._training.seed, self._iteration])
        with clock.part("exploring"):
            episodes = self._curriculum.sample(self._wanted.explore.episodes, luck)
            trajectories = self._arena.explore(pool, explorer, episodes)
        for one in trajectories:
            self._curriculum.record(one.episode, one.success)
        with clock.part("learning"):
            experience = gather(trajectories, self._model)
            process = self._reward(experience)
            update = self._learner.update(
                experience,
                torch.Generator().manual_seed(int(luck.integers(2**31))),
                process=process,
                learn_policy=self._iteration >= self._training.warmup,
            )
            values = _summary(trajectories, experience, process, update)
            start_actor = self._actor_of(self._before)
            values["kl_start"] = distance(
                experience, self._model, self._actor, self._before, start_actor
            )
        self._iteration += 1
        self._episodes += len(trajectories)
        self._seconds += clock.total
        found: dict[str, float] = {}
        if self._due(self._training.validate_every):
            with clock.part("validating"):
                found = self._validate(say)
        if self._training.snapshot_every and self._due(self._training.snapshot_every):
            self._snapshot()
        self._log.add(self._row(self._iteration, values, found, clock))
        self._save()
        give_back_memory()
        return f"exploring {values['exploring']:.1%}"

    def _due(self, every: int) -> bool:
        return self._iteration % every == 0 or self._iteration == self._training.iterations

    def _reward(self, experience: Experience) -> Tensor | None:
        """Return the process reward of every decision, `[D]`; None without a model of it."""
        if self._process is None:
            return None
        chunks = self._actor.actions(experience.chosen.to(self._device))
        scale, judge = self._wanted.rprm.scale, self._process
        parts = [
            process_reward(
                judge, experience.seen(experience.moment[part], self._device), chunks[part], scale
            )
            for part in torch.split(torch.arange(len(experience)), 2048)
        ]
        return torch.cat(parts)

    def _validate(self, say: Follower) -> dict[str, float]:
        """Run the validation plan without drawing; keep the model if none was better."""
        estimate = try_out(
            self._model,
            self._origin,
            self._arena.suite,
            execute=self._arena.execute,
            tasks=self._wanted.tasks,
            episodes=self._training.validate_episodes,
            settings=self._arena.settings,
            workers=self._arena.workers,
        )
        say.say(f"iteration {self._iteration}: {told(estimate)}")
        if self._iteration == 0 or estimate.value > self._best.success:
            weights = copy.deepcopy(self._model.state_dict())
            self._best = Best(estimate.value, self._iteration, weights)
        return columns(estimate)

    def _snapshot(self) -> None:
        folder = self._out / "snapshots" / f"{self._iteration:04d}"
        save_checkpoint(folder, portrait(self._model), self._origin, self._notes(self._iteration))

    def _notes(self, iteration: int) -> dict[str, Any]:
        return {
            "execute": self._arena.execute,
            "iteration": iteration,
            "episodes": self._wanted.explore.episodes * iteration,
            "seconds": round(self._seconds),
            "device": str(self._device),
        }

    def finish(self, say: Follower) -> Checkpoint:
        """Write the best policy and the learning curves; say so if it is not the last one."""
        log = self._out / "log.csv"
        fall = fall_of(log)
        if fall.told:
            say.say(fall.told)
        best = portrait(self._model)
        best.load_state_dict(self._best.weights)
        notes = self._notes(self._best.iteration)
        notes |= {"validation": self._best.success, **fall.notes}
        judges = {RPRM: self._process} if self._process else None
        folder = self._out / "checkpoint"
        checkpoint = save_checkpoint(folder, best, self._origin, notes, judges)
        draw_curves(log, self._out / "curves.png", _PANELS, self._origin.recipe)
        say.say(
            f"checkpoint {checkpoint.digest} of iteration {self._best.iteration}, "
            f"{self._best.success:.1%} in training episodes: {checkpoint.folder}"
        )
        return checkpoint

    def _row(
        self, iteration: int, values: dict[str, float], found: dict[str, float], clock: Clock
    ) -> dict[str, float | str]:
        times = {f"seconds_{name}": value for name, value in clock.parts.items()}
        rounded = {k: f"{v:.6g}" for k, v in {**values, **found, **times}.items()}
        counts: dict[str, float | str] = {
            "episodes": self._episodes,
            "seconds": f"{self._seconds:.1f}",
        }
        return {"iteration": iteration, **counts, **rounded}

    def _save(self) -> None:
        learner = self._learner
        save_state(
            self._out,
            {
                "iteration": self._iteration,
                "episodes": self._episodes,
                "seconds": self._seconds,
                "model": self._model.state_dict(),
                "critic": self._critic.state_dict(),
                "policy_optimizer": learner.policy_optimizer.state_dict(),
                "critic_optimizer": learner.critic_optimizer.state_dict(),
                "curriculum": self._curriculum.state_dict(),
                "best": tuple(self._best),
            },
        )

    def _resume(self) -> None:
        state = load_state(self._out, self._device)
        if state is None:
            return
        self._iteration, self._episodes = state["iteration"], state["episodes"]
        self._seconds = state["seconds"]
        self._model.load_state_dict(state["model"])
        self._critic.load_state_dict(state["critic"])
        self._learner.policy_optimizer.load_state_dict(state["policy_optimizer"])
        self._learner.critic_optimizer.load_state_dict(state["critic_optimizer"])
        self._curriculum.load_state_dict(state["curriculum"])
        self._best = Best(*state["best"])


def _critic(model: NanoVLA) -> Critic:
    """Make a critic whose trunk is the policy's at the start, and whose head is new."""
    critic = Critic(model.config).to(next(model.parameters()).device)
    trunk = {k: v for k, v in model.state_dict().items() if not k.startswith("head.")}
    critic.load_state_dict(trunk, strict=False)
    nn.init.zeros_(critic.head.body[-1].get_parameter("weight"))
    return critic


def _summary(
    trajectories: Sequence[Trajectory],
    experience: Experience,
    process: Tensor | None,
    update: Update,
) -> dict[str, float]:
    """Return an iteration's numbers; rewards are sums over an episode."""
    count = len(trajectories)
    sparse = sum(one.success for one in trajectories) / count
    added = float(process.sum()) / count if process is not None else 0.0
    return {
        "exploring": sparse,
        "return": sparse + added,
        "process_reward": added,
        "length": sum(one.steps for one in trajectories) / count,
        "entropy": update.entropy,
        "kl": update.kl,
        "clipped": update.clipped,
        "gradient_norm": update.gradient_norm,
        "value_error": update.value_error,
        "explained": update.explained,
    }
