"""Trying things out: episodes whose every decision is remembered with its probability.

They run through the harness, under the suite's protocol for training, in a pool of workers that
keeps its scenes from one iteration to the next.

An episode gets one decision more than the horizon allows. It is executed, so that the simulator
needs no special treatment, and forgotten; what it is made for is the moment before it, of which the
critic is asked: an episode that time cut short has not ended, and its last decision is worth what
would have followed.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor

from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench.errors import VlabenchError
from vlabench.plan import make_plan
from vlabench.policy import Decision
from vlabench.recipe import at_least
from vlabench.record import EpisodeRecord, Outcome
from vlabench.runners import Stage
from vlabench.runners.processes import Pool, ProcessRunner
from vlabench.settings import parse_settings
from vlabench.spaces import ObservationSpec
from vlabench.suite import Suite
from vlabench_baselines.common.actors import Actor
from vlabench_baselines.common.device import cores, one_thread
from vlabench_baselines.nanovla.checkpoint import Checkpoint, Origin
from vlabench_baselines.nanovla.model import NanoVLA, Understood
from vlabench_baselines.nanovla.perception import batch_of
from vlabench_baselines.nanovla.policy import observation_of

_BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExploreRecipe:
    """How episodes are run.

    Attributes:
        episodes: Of an iteration.
        horizon: Control steps of an episode; 0 for the protocol's.
        workers: Simulators side by side; 0 for one a core.
        batched: See `Explorer`.
        correlation: Of the noise in one control step with that in the next; see `Explorer`.
    """

    episodes: int = 160
    horizon: int = 0
    workers: int = 0
    batched: bool = True
    correlation: float = 0.0

    def __post_init__(self) -> None:
        at_least(self, 1, "episodes")
        at_least(self, 0, "horizon", "workers")
        if not 0 <= self.correlation < 1:
            raise ValueError(f"correlation is {self.correlation}; expected a number in [0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """One episode as reinforcement learning needs it, of `T` decisions.

    Attributes:
        episode: Which one.
        success: Whether it ended in one; the only reward there is.
        timed_out: Whether time ran out, so that it did not end.
        steps: Control steps.
        observations: What was seen before each decision, and, if time ran out, after the last.
        chosen: The decisions, `[T, E, A]`, as an `Actor` draws them.
        log_probs: Of them, as they were drawn, `[T]`.
        features: What the backbone made of `observations`, if that was to be kept.
    """

    episode: EpisodeSpec
    success: bool
    timed_out: bool
    steps: int
    observations: Sequence[Observation]
    chosen: Tensor
    log_probs: Tensor
    features: Sequence[Understood] = ()

    def __len__(self) -> int:
        return len(self.chosen)


class Luck:
    """Uniform numbers that depend on a seed alone, and on those before them if that is wanted.

    Args:
        seed: Of an episode.
        correlation: Of one control step's with the next one's; see `Explorer`.
    """

    def __init__(self, seed: int, correlation: float = 0.0) -> None:
        self._random, self._correlation = np.random.default_rng(seed), correlation
        self._last: NDArray[np.float64] | None = None

    def draw(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return the numbers of the next decision, in [0, 1), `[E, A]`."""
        if not self._correlation:
            return self._random.random(shape, dtype=np.float32)
        rows, fresh = list[NDArray[np.float64]](), math.sqrt(1 - self._correlation**2)
        for normal in self._random.standard_normal(shape):
            last = self._last
            self._last = normal if last is None else self._correlation * last + fresh * normal
            rows.append(self._last)
        uniform: NDArray[np.float32] = ndtr(np.stack(rows)).astype(np.float32)
        return np.minimum(uniform, _BELOW_ONE)


class _Trail:
    """What an episode in progress has given so far."""

    def __init__(self, luck: Luck) -> None:
        self.luck = luck
        self.observations: list[Observation] = []
        self.chosen: list[Tensor] = []
        self.log_probs: list[Tensor] = []
        self.features: list[Understood] = []


class Explorer:
    """A policy that draws its decisions and remembers them.

    Args:
        model: Which is asked; it may learn between runs.
        origin: What it fits.
        actor: How decisions are drawn from its head.
        execute: Actions of a decision, `E`.
        batched: Whether all slots that wait are asked about at once. That is several times as
            fast, and not the same to the last digit: who waits together is a matter of timing.
        keep_features: Whether to remember what the backbone made of each moment.
        correlation: Of the noise in one control step with that in the next. What is drawn
            independently in each step cancels out before it leads anywhere; coloured noise does not
            (Hollenstein et al., arXiv 2312.11091, who use it with PPO as here: the probability of a
            decision is the one it has by itself).
    """

    id, digest = "explorer", ""

    def __init__(
        self,
        model: NanoVLA,
        origin: Origin,
        actor: Actor,
        *,
        execute: int,
        batched: bool = True,
        keep_features: bool = False,
        correlation: float = 0.0,
    ) -> None:
        self._correlation = correlation
        self._model, self._actor, self._execute = model, actor, execute
        self._batched, self._keep_features = batched, keep_features
        self.action = origin.action
        self.observation = observation_of(model.config, origin)
        self._slots: dict[int, _Trail] = {}
        self._trails: dict[str, _Trail] = {}

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        """Begin an episode; see `Policy.reset`."""
        trail = _Trail(Luck(episode.policy_seed, self._correlation))
        self._slots[slot] = self._trails[episode.key] = trail

    @torch.inference_mode()
    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        """Draw decisions; see `Policy.act`."""
        trails = [self._slots[slot] for slot in slots]
        if self._batched:
            actions = self._draw(trails, observations)
        else:
            pairs = zip(trails, observations, strict=True)
            actions = torch.cat([self._draw([trail], [seen]) for trail, seen in pairs])
        low, high = self.action.low, self.action.high
        return Decision(actions=np.clip(actions.numpy(), low, high, dtype=np.float32))

    def _draw(self, trails: Sequence[_Trail], observations: Sequence[Observation]) -> Tensor:
        config = self._model.config
        device = next(self._model.parameters()).device
        batch = batch_of(observations, self._model.words, config).to(device)
        understood = self._model(batch)
        shape = (self._execute, config.action_size)
        luck = np.stack([trail.luck.draw(shape) for trail in trails])
        chosen = self._actor.draw(understood, torch.from_numpy(luck).to(device))
        log_probs = self._actor.log_probs(understood, chosen)
        for row, (trail, observation) in enumerate(zip(trails, observations, strict=True)):
            trail.observations.append(observation)
            trail.chosen.append(chosen[row].cpu())
            trail.log_probs.append(log_probs[row].cpu())
            if self._keep_features:
                trail.features.append(Understood(*(part[row].cpu() for part in understood)))
        return self._actor.actions(chosen).cpu()

    def hand_over(self, record: EpisodeRecord, horizon: int) -> Trajectory | None:
        """Return what an episode that ended has given, and forget it; None if it broke."""
        trail = self._trails.pop(record.episode.key, None)
        if record.outcome is Outcome.ERROR or trail is None:
            return None
        timed_out = record.steps > horizon
        kept = len(trail.chosen) - timed_out
        return Trajectory(
            episode=record.episode,
            success=record.outcome is Outcome.SUCCESS and not timed_out,
            timed_out=timed_out,
            steps=min(record.steps, horizon),
            observations=trail.observations,
            chosen=torch.stack(trail.chosen[:kept]),
            log_probs=torch.stack(trail.log_probs[:kept]),
            features=trail.features,
        )


class ExploringError(VlabenchError):
    """A simulator that breaks in every episode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """Where a policy explores.

    Attributes:
        suite: Whose tasks.
        settings: Of the suite, parsed.
        execute: Actions of a decision.
        horizon: Control steps of an episode; 0 for the protocol's.
        workers: Simulators side by side.
    """

    suite: Suite
    settings: Mapping[str, Any]
    execute: int
    horizon: int = 0
    workers: int = 2

    def horizon_of(self, task_id: str) -> int:
        """Return the control steps of an episode: whole decisions, at least the protocol's."""
        steps = self.horizon or self.suite.training_protocol().horizon(task_id)
        return -(-steps // self.execute) * self.execute

    def stage(self, wants: ObservationSpec) -> Stage:
        """Return where episodes run: the training protocol's, with one decision more."""
        rules = self.suite.training_protocol()
        horizons = tuple(
            (prefix, self.horizon_of(f"{prefix}/") + self.execute) for prefix, _ in rules.horizons
        )
        longer = replace(rules, horizons=horizons, replan_steps=None)
        return Stage(suite=self.suite, protocol=longer, wants=wants, settings=self.settings)

    def episodes(self, tasks: str, count: int, seed: int) -> tuple[EpisodeSpec, ...]:
        """Plan training episodes: `count` initial states of each task."""
        rules = self.suite.training_protocol()
        return make_plan(self.suite, rules.name, tasks=tasks, episodes=count, seed=seed).episodes

    @contextmanager
    def pool(self, explorer: Explorer) -> Iterator[Pool]:
        """Start the workers."""
        runner = ProcessRunner(self.workers, still_running=self.workers // 2)
        with runner.pool(self.stage(explorer.observation), explorer) as pool:
            yield pool

    def explore(
        self, pool: Pool, explorer: Explorer, episodes: Iterable[EpisodeSpec]
    ) -> list[Trajectory]:
        """Run episodes; return them in the order of their keys, without those that broke.

        Raises:
            ExploringError: If all of them broke.
        """
        found, broken = list[Trajectory](), list[str]()
        with one_thread():
            for record in pool.run(episodes):
                horizon = self.horizon_of(record.episode.task_id)
                if trajectory := explorer.hand_over(record, horizon):
                    found.append(trajectory)
                else:
                    broken.append(record.error or "")
        if broken and not found:
            last = broken[-1].strip().splitlines()[-1:]
            raise ExploringError(f"every one of {len(broken)} episodes broke; the last: {last}")
        return sorted(found, key=lambda one: one.episode.key)


def make_arena(
    suite: Suite, settings: Mapping[str, str], recipe: ExploreRecipe, start: Checkpoint
) -> Arena:
    """Return where a policy that begins as `start` explores.

    Raises:
        SettingError: If the suite has no such setting.
    """
    return Arena(
        suite=suite,
        settings=parse_settings(suite.make_env, settings, f"suite {suite.id!r}"),
        execute=int(start.notes.get("execute", start.config.chunk)),
        horizon=recipe.horizon,
        workers=recipe.workers or cores(),
    )
