"""The robotic process reward model of VLA-RL (arXiv 2505.18719, section 3.4).

It says how probably a decision leads to a keyframe: to the next change of the gripper, the next
rest, or the end of a success (`labels.py`). PPO adds that to the sparse reward; a verifier picks
the best of several chunks by it.

What differs from the paper, or is left open there:
 1. The model is a `Judge`, a small net of the policy's own kind, and is trained from nothing; the
    paper fine-tunes a vision-language model.
 2. The paper's loss (eq. 3) is the likelihood of promising action tokens, given what is seen and
    said. Here it is the likelihood of "promising", given that and the action: binary cross-entropy.
 3. That needs negatives, of which the paper says nothing: steps of successes that lead to no
    keyframe; chunks of other moments and chunks with noise on them, so that it judges actions and
    not only moments; and, where they are given, all steps of failures.
 4. Between keyframes nothing would tell right from wrong actions: both lead to none yet. What a
    success did there is aimed at as well, with a fraction, `between`. That costs some sharpness in
    telling moments apart.
 5. The paper adds the prediction to the reward as it is. Here it is scaled, so that an episode's
    process rewards stay below the 1 of success: standing still before a keyframe must not pay.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vlabench.demos import Demo, read_demos
from vlabench.env import Observation
from vlabench.errors import SettingError
from vlabench.recipe import above, at_least
from vlabench.registry import load_suite
from vlabench.spaces import ActionSpec
from vlabench_baselines.common.data import split
from vlabench_baselines.common.expert import Demonstrations, DemosRecipe
from vlabench_baselines.common.fitting import fit
from vlabench_baselines.common.progress import Follower
from vlabench_baselines.nanovla.config import NanoConfig
from vlabench_baselines.nanovla.language import Words
from vlabench_baselines.nanovla.model import Judge
from vlabench_baselines.nanovla.perception import GRIPPER, Batch, batch_of
from vlabench_baselines.nanovla.shipped import find_shipped
from vlabench_baselines.vla_rl.labels import Labelling, Labels, label, openness_of, speed_of

if TYPE_CHECKING:
    from vlabench_baselines.nanovla.checkpoint import Checkpoint

NAME = "rprm"
"""Of the judge in a checkpoint."""
_AT_ONCE = 2048
"""Moments that are judged in one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RprmRecipe:
    """The process reward model.

    Attributes:
        scale: Reward of a decision that surely leads to a keyframe; 0 for no model at all. LIBERO's
            longest episodes have 130 decisions of 4 steps, Meta-World's 125: with 0.005 no episode
            collects more than 0.65.
        judge: A checkpoint that carries such a model, which is taken as it is: a folder, or the id
            of a policy that comes along. Empty to train one, which the rest is about.
        demos: Demonstrations to learn from.
        runs: Episodes of the policy that is to improve to learn from as well, failures included.
            What it does when it fails is in no demonstration: taught by those alone, the model
            gives failures more than successes, because they last longer.
        labels: Thresholds.
        every: Steps of a demonstration from one moment that is learnt from to the next.
        dim: Width of the backbone.
        depth: Layers of the backbone.
        steps: Of the optimizer.
        batch: Moments in a step; each with its own chunk, another one, and its own with noise.
        learning_rate: The highest of one cycle.
        noise: Largest standard deviation of that noise, in halves of the action range.
        between: What is aimed at for the chunks of successes that lead to no keyframe yet. Above
            0, right and wrong chunks are told apart there as well, and not only before keyframes.
        aside: Share of each task's demonstrations that it is measured on.
        seed: Of everything random.
    """

    scale: float = 0.005
    judge: str = ""
    demos: DemosRecipe = field(default_factory=lambda: DemosRecipe(episodes=10))
    runs: int = 160
    labels: Labelling = field(default_factory=Labelling)
    every: int = 4
    dim: int = 64
    depth: int = 2
    steps: int = 1500
    batch: int = 128
    learning_rate: float = 2e-3
    noise: float = 0.5
    between: float = 0.15
    aside: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(self, 1, "every", "dim", "depth", "steps", "batch")
        at_least(self, 0, "scale", "noise", "runs", "seed")
        above(self, 0, "learning_rate")
        if not 0 <= self.between < 1:
            raise ValueError(f"between is {self.between}; expected a share in [0, 1)")
        if not 0 < self.aside < 1:
            raise ValueError(f"aside is {self.aside}; expected a share in (0, 1)")

    @property
    def learns(self) -> bool:
        """Whether a model is trained."""
        return self.scale > 0 and not self.judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A trajectory to learn from: a demonstration, or a run of a policy.

    Attributes:
        observations: What was seen at steps 0, `every`, 2 `every` and so on, `M` of them.
        actions: Of all steps, `[T, A]`.
        every: Steps from one observation to the next.
        labels: Of the steps of a success; None for a failure.
    """

    observations: Sequence[Observation]
    actions: NDArray[np.float32]
    every: int
    labels: Labels | None

    def __len__(self) -> int:
        return len(self.observations)

    @property
    def moments(self) -> NDArray[np.int64]:
        """The steps of the observations, `[M]`."""
        return np.arange(len(self)) * self.every

    def chunks(self, size: int) -> NDArray[np.float32]:
        """Return what was done from each moment on, `[M, H, A]`; the last action is repeated."""
        steps = self.moments[:, None] + np.arange(size)
        chunks: NDArray[np.float32] = self.actions[np.minimum(steps, len(self.actions) - 1)]
        return chunks


def attempt_of_demo(demo: Demo, spec: ActionSpec, how: Labelling, every: int) -> Attempt:
    """Take a demonstration, which is a success, as an attempt.

    Args:
        demo: It is labelled step by step, whatever `every` is.
        spec: What its actions mean.
        how: Thresholds of the labels.
        every: Steps from one moment that is kept to the next.
    """
    observations = [
        Observation(
            instruction=demo.instruction,
            images={name: pictures[step] for name, pictures in demo.images.items()},
            state=demo.state[step],
            privileged={name: array[step] for name, array in demo.privileged.items()},
        )
        for step in range(0, len(demo), every)
    ]
    speed = speed_of(_place(demo.privileged, demo.state), 1, len(demo))
    labels = label(openness_of(demo.actions, spec), speed, how)
    return Attempt(observations=observations, actions=demo.actions, every=every, labels=labels)


def attempt_of_run(
    observations: Sequence[Observation],
    actions: NDArray[np.float32],
    spec: ActionSpec,
    how: Labelling,
    *,
    steps: int,
    success: bool,
) -> Attempt:
    """Take a policy's episode as an attempt.

    Args:
        observations: Before each of its `D` decisions; what was seen later is left out.
        actions: Of the decisions, `[D, E, A]`.
        spec: What they mean.
        how: Thresholds of the labels.
        steps: How many were executed, `T`; the last decision's may not all have been.
        success: How it ended.
    """
    decisions, every, size = actions.shape
    seen, done = observations[:decisions], actions.reshape(-1, size)[:steps]
    labels = None
    if success:
        places = np.stack([_place(each.privileged, each.state) for each in seen])
        labels = label(openness_of(done, spec), speed_of(places, every, steps), how)
    return Attempt(observations=seen, actions=done, every=every, labels=labels)


def _place(privileged: Mapping[str, NDArray[Any]], state: NDArray[Any]) -> NDArray[Any]:
    """Return where the end effector is, `[..., 3]`.

    The privileged `gripper` says it, else the first three numbers of the state: in every suite here
    they are that.
    """
    return privileged.get(GRIPPER, state)[..., :3]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lessons:
    """All `M` moments of some attempts.

    Attributes:
        batch: What was seen.
        chunks: What was done, `[M, H, A]`.
        promising: Whether that led to a keyframe soon, `[M]`; 0 for failures.
        success: Whether the attempt was one, `[M]`.
        first: The first moment of its attempt, `[M]`.
        count: Moments of its attempt, `[M]`.
        ahead: Steps to the next keyframe, `[M]`; 0 for failures.
        progress: Of the attempt once the moment's step was done, `[M]`; 0 for failures.
    """

    batch: Batch
    chunks: Tensor
    promising: Tensor
    success: Tensor
    first: Tensor
    count: Tensor
    ahead: Tensor
    progress: Tensor

    def __len__(self) -> int:
        return len(self.chunks)

    def foreign(self, places: Tensor, luck: torch.Generator) -> Tensor:
        """Return chunks of other moments, `[P, H, A]`: half from the same attempt, half from any.

        A few of them would do as well as the moment's own.
        """
        share = torch.rand(len(places), generator=luck, dtype=torch.float64)
        same = self.first[places] + (share * self.count[places]).long()
        anywhere = (share * len(self)).long()
        coin = torch.rand(len(places), generator=luck) < 0.5
        return self.chunks[torch.where(coin, same, anywhere)]


def train_rprm(
    attempts: Sequence[Attempt],
    config: NanoConfig,
    recipe: RprmRecipe,
    say: Follower,
    device: torch.device | None = None,
) -> Judge:
    """Train the process reward model.

    Args:
        attempts: Demonstrations, successes of model runs and, if there are any, failures.
        config: Of the judge; see `judge_config`.
        recipe: How.
        say: Who is told how far it is.
        device: Where; the CPU if not given. The judge stays there.

    Raises:
        ValueError: If no attempt is a success.
    """
    if not any(one.labels for one in attempts):
        raise ValueError(f"none of {len(attempts)} attempts is a success; expected at least one")
    device = device or torch.device("cpu")
    torch.manual_seed(recipe.seed)
    luck = torch.Generator().manual_seed(recipe.seed)
    judge, lessons = Judge(config).to(device), _lessons(attempts, config)
    fit(
        judge,
        lambda: _loss(judge, lessons, recipe, luck),
        steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        what="process reward model",
        say=say,
    )
    return judge.eval().requires_grad_(False)


def _loss(judge: Judge, lessons: _Lessons, recipe: RprmRecipe, luck: torch.Generator) -> Tensor:
    """Return the cross-entropy of a batch; own chunks weigh as much as all negatives."""
    places = torch.randint(len(lessons), (recipe.batch,), generator=luck)
    own, device = lessons.chunks[places], judge.head.low.device
    chunks = torch.stack(
        [own, lessons.foreign(places, luck), _noisy(own, judge.config, recipe.noise, luck)], dim=1
    )
    promising, success = lessons.promising[places], lessons.success[places]
    wanted = torch.zeros(chunks.shape[:2])
    wanted[:, 0] = success * torch.where(promising > 0, 1.0, recipe.between)
    logits = judge(lessons.batch.pick(places).to(device), chunks.to(device))
    entropy = functional.binary_cross_entropy_with_logits
    each = entropy(logits, wanted.to(device), reduction="none")
    return each[:, 0].mean() + 0.5 * each[:, 1:].sum(1).mean()


def _noisy(own: Tensor, config: NanoConfig, noise: float, luck: torch.Generator) -> Tensor:
    """Add noise of up to so much, and at least half of it, to chunks `[P, H, A]`."""
    low, high = torch.tensor(config.scales.action_low), torch.tensor(config.scales.action_high)
    size = noise * (0.5 + 0.5 * torch.rand(len(own), 1, 1, generator=luck))
    return own + size * torch.randn(own.shape, generator=luck) * (high - low) / 2


@torch.no_grad()
def process_reward(judge: Judge, batch: Batch, chunks: Tensor, scale: float) -> Tensor:
    """Return what decisions are worth on their way, `[B]`, each in `[0, scale]`.

    Args:
        judge: The process reward model.
        batch: The moments of the decisions.
        chunks: What was executed in them, `[B, E, A]`.
        scale: See `RprmRecipe`.
    """
    device = judge.head.low.device
    logits: Tensor = judge(batch.to(device), chunks.to(device).unsqueeze(1)).squeeze(1)
    return scale * logits.sigmoid()


def judge_config(config: NanoConfig, recipe: RprmRecipe, execute: int) -> NanoConfig:
    """Return what the judge of a policy is made of: it sees the same, and what is executed.

    Raises:
        SettingError: If no judge can be made like that.
    """
    width = recipe.dim
    try:
        return replace(config, chunk=execute, dim=width, depth=recipe.depth, head_dim=width)
    except ValueError as error:
        raise SettingError(f"rprm: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How well a process reward model does on attempts that it did not learn from.

    What cannot be said of them is NaN: where every moment leads to a keyframe, nothing is told from
    anything.

    Attributes:
        windows: Area under the ROC curve of moments that lead to a keyframe against those that do
            not, with their own chunks; 0.5 is guessing.
        chunks: The same of own against foreign chunks, in moments that lead to a keyframe.
        noisy: The same of own chunks against themselves with noise.
        pairs: How often the own chunk beats the foreign one in the same moment, any moment of a
            success: what a verifier does.
        nearness: Spearman's correlation of the prediction with how few steps the next keyframe is
            away, over the moments of all attempts at a task; the mean of tasks. 0 is guessing.
        progress: The same of what an attempt has collected so far with its progress.
        clock: The same of the steps so far with progress. Within an attempt all three only rise, so
            this, and not 0, is what a model that knows nothing reaches.
        moments: How many.
        attempts: How many.
    """

    windows: float
    chunks: float
    noisy: float
    pairs: float
    nearness: float
    progress: float
    clock: float
    moments: int
    attempts: int

    def __str__(self) -> str:
        return (
            f"process reward model on {self.attempts} attempts aside: AUC of windows "
            f"{self.windows:.3f}, of chunks {self.chunks:.3f} (noise {self.noisy:.3f}), pairs "
            f"{self.pairs:.3f}; Spearman with nearness {self.nearness:.3f}, with progress "
            f"{self.progress:.3f} (clock {self.clock:.3f})"
        )


def measure_rprm(judge: Judge, attempts: Sequence[Attempt], recipe: RprmRecipe) -> Report:
    """Measure a process reward model on successes that it did not learn from.

    Raises:
        ValueError: If there is none.
    """
    successes = [one for one in attempts if one.labels]
    if not successes:
        raise ValueError(f"none of {len(attempts)} attempts is a success; expected at least one")
    lessons = _lessons(successes, judge.config)
    luck = torch.Generator().manual_seed(recipe.seed)
    every = torch.arange(len(lessons))
    own, foreign, noisy = (
        _scores(judge, lessons, chunks)
        for chunks in (
            lessons.chunks,
            lessons.foreign(every, luck),
            _noisy(lessons.chunks, judge.config, recipe.noise, luck),
        )
    )
    before = lessons.promising.numpy() > 0
    steps = (every - lessons.first).numpy()
    collected = [one.cumsum() for one in np.split(own, np.flatnonzero(steps == 0)[1:])]
    task, progress = lessons.batch.sentence.numpy(), lessons.progress.numpy()
    return Report(
        windows=auc(own[before], own[~before]),
        chunks=auc(own[before], foreign[before]),
        noisy=auc(own[before], noisy[before]),
        pairs=float(np.mean(own > foreign) + 0.5 * np.mean(own == foreign)),
        nearness=_rank_correlation(own, -lessons.ahead.numpy(), task),
        progress=_rank_correlation(np.concatenate(collected), progress, task),
        clock=_rank_correlation(steps, progress, task),
        moments=len(lessons),
        attempts=int((steps == 0).sum()),
    )


def auc(above: NDArray[np.floating], below: NDArray[np.floating]) -> float:
    """Return how often a number of the first sample exceeds one of the second; ties are halves.

    That is the area under the ROC curve, and Mann and Whitney's U over the number of pairs. NaN if
    there are no pairs.
    """
    from scipy.stats import rankdata

    if not len(above) or not len(below):
        return math.nan
    ranks = rankdata(np.concatenate([above, below]))[: len(above)]
    return float((ranks.sum() / len(above) - (len(above) + 1) / 2) / len(below))


def _rank_correlation(
    values: NDArray[Any], truth: NDArray[np.float32], task: NDArray[np.int64]
) -> float:
    """Return Spearman's correlation within tasks, the mean of those that have one; else NaN."""
    from scipy.stats import spearmanr

    groups = [(values[task == one], truth[task == one]) for one in np.unique(task)]
    each = [spearmanr(*pair).statistic for pair in groups if all(np.ptp(part) for part in pair)]
    return float(np.mean(each)) if each else math.nan


@torch.no_grad()
def _scores(judge: Judge, lessons: _Lessons, chunks: Tensor) -> NDArray[np.float32]:
    """Return the probability that each moment's chunk leads to a keyframe, `[M]`."""
    parts = [
        process_reward(judge, lessons.batch.pick(part), chunks[part], 1.0)
        for part in torch.split(torch.arange(len(lessons)), _AT_ONCE)
    ]
    found: NDArray[np.float32] = torch.cat(parts).cpu().numpy()
    return found


def _lessons(attempts: Sequence[Attempt], config: NanoConfig) -> _Lessons:
    counts = np.array([len(one) for one in attempts])

    def of_moments(values: Callable[[Labels], NDArray[Any]]) -> Tensor:
        rows = [
            values(one.labels)[one.moments] if one.labels else np.zeros(len(one))
            for one in attempts
        ]  # fmt: skip
        return torch.from_numpy(np.concatenate(rows)).float()

    return _Lessons(
        batch=batch_of(
            [o for one in attempts for o in one.observations], Words(config.words), config
        ),
        chunks=torch.from_numpy(np.concatenate([one.chunks(config.chunk) for one in attempts])),
        promising=of_moments(lambda labels: labels.promising),
        success=of_moments(lambda labels: np.ones_like(labels.progress)),
        first=torch.from_numpy(np.repeat(np.cumsum(counts) - counts, counts)),
        count=torch.from_numpy(np.repeat(counts, counts)),
        ahead=of_moments(lambda labels: labels.ahead),
        progress=of_moments(lambda labels: labels.progress),
    )


def reward_model(
    recipe: RprmRecipe,
    start: "Checkpoint",
    execute: int,
    out: Path,
    say: Follower,
    runs: Callable[[], Sequence[Attempt]] = tuple,
) -> Judge | None:
    """Return the process reward model of a training; None if the recipe wants none.

    Unless the recipe names one, it is trained on demonstrations of the tasks that the policy knows
    and on what that policy did, once: the folder keeps it.

    Args:
        recipe: How.
        start: The policy that is to improve.
        execute: Actions of a decision.
        out: The training's folder.
        say: Who is told how far it is, and how good it is on demonstrations aside.
        runs: Runs the policy that is to improve, if it comes to that.

    Raises:
        SettingError: If the recipe names no demonstrations, or no judge can be made like that.
        VlabenchError: If there are none, or they cannot be collected.
    """
    if not recipe.scale:
        return None
    if recipe.judge:
        return judge_of(recipe, start, execute)
    config, kept = judge_config(start.config, recipe, execute), out / "rprm.pt"
    if kept.is_file():
        judge = Judge(config)
        judge.load_state_dict(torch.load(kept, weights_only=True))
        return judge.eval().requires_grad_(False)
    folder = demonstrations_of(recipe, start).ready(out / "demos", say)
    tasks, vision = ",".join(start.origin.tasks), bool(start.config.cameras)
    demos = list(read_demos(folder, tasks=tasks, images=vision, privileged=not vision))
    train, aside = (
        [attempt_of_demo(demo, start.origin.action, recipe.labels, recipe.every) for demo in part]
        for part in split(demos, recipe.aside)
    )
    judge = train_rprm([*train, *runs()], config, recipe, say)
    if aside:
        say.say(str(measure_rprm(judge, aside, recipe)))
    part = out / ".rprm.pt.part"
    torch.save(judge.state_dict(), part)
    part.replace(kept)
    return judge


def judge_of(recipe: RprmRecipe, start: "Checkpoint", execute: int) -> Judge:
    """Return the process reward model that a recipe names.

    Raises:
        CheckpointError: If the checkpoint is damaged or carries none.
        SettingError: If there is no such checkpoint, or it judges other policies than this one.
    """
    from vlabench_baselines.nanovla.checkpoint import CheckpointError, check_judge, read_checkpoint

    named = Path(recipe.judge).expanduser()
    suite = load_suite(start.origin.suite.partition("@")[0])
    try:
        folder = named if named.is_dir() else find_shipped(recipe.judge, suite)
    except CheckpointError as error:
        raise SettingError(
            f"rprm.judge={recipe.judge}, expected a checkpoint's folder, or the id of a policy "
            f"whose checkpoint for suite {suite.id!r} comes along"
        ) from error
    found = read_checkpoint(folder)
    judge, what = found.load_judge(NAME), f"rprm.judge={recipe.judge} does not fit the policy"
    if judge.config.chunk != execute:
        raise SettingError(
            f"{what}: it judges {judge.config.chunk} actions, and a decision has {execute}"
        )
    try:
        check_judge(NAME, judge.config, start.config)
    except ValueError as error:
        raise SettingError(f"{what}: {error}") from error
    return judge


def demonstrations_of(recipe: RprmRecipe, start: "Checkpoint") -> Demonstrations:
    """Return the demonstrations of the tasks that a policy knows, still to be collected or not.

    Raises:
        SettingError: If the recipe names none.
        VlabenchError: If there are none, or they cannot be collected.
    """
    if not (recipe.demos.policy or recipe.demos.folder):
        raise SettingError(
            f"rprm.scale is {recipe.scale} and no demonstrations are named; expected the suite's "
            "expert as rprm.demos.policy, or rprm.demos.folder; or rprm.scale=0 for no such model"
        )
    suite = load_suite(start.origin.suite.partition("@")[0])
    known = {task.id for task in suite.tasks}
    tasks = "*" if known == set(start.origin.tasks) else ",".join(start.origin.tasks)
    return Demonstrations(recipe.demos, suite, tasks, start.config.cameras)
