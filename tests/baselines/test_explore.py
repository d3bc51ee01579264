"""Exploring and learning from it, on the smallest suite: real episodes, real workers."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import ndtri
from scipy.stats import kstest

from vlabench import EpisodeSpec, load_suite
from vlabench_baselines.common.actors import GaussianActor, TokenActor
from vlabench_baselines.common.experience import Experience, gather
from vlabench_baselines.common.explore import Arena, Explorer, ExploringError, Luck, Trajectory
from vlabench_baselines.common.learner import Learner, distance
from vlabench_baselines.common.ppo import PpoRecipe
from vlabench_baselines.nanovla.checkpoint import Checkpoint, read_checkpoint
from vlabench_baselines.nanovla.heads import ContinuousHead, TokenHead
from vlabench_baselines.nanovla.model import Critic, NanoVLA, Understood
from vlabench_baselines.nanovla.perception import batch_of
from vlabench_baselines.nanovla.shipped import find_shipped
from vlabench_suites.point_reach import PointReachEnv

CPU = torch.device("cpu")
SUITE = load_suite("point-reach")
EXECUTE = 2
SIZE = SUITE.training_protocol().action.size


@pytest.fixture(scope="module")
def start() -> Checkpoint:
    return read_checkpoint(find_shipped("sft", SUITE))


def understood(model: NanoVLA, count: int = 3) -> Understood:
    torch.manual_seed(0)
    return Understood(torch.randn(count, 5, model.config.dim), torch.ones(count, 5).bool())


def token_actor(model: NanoVLA, temperature: float = 1.5) -> TokenActor:
    assert isinstance(model.head, TokenHead)
    return TokenActor(model.head, EXECUTE, temperature)


def test_a_decision_is_as_probable_as_all_its_tokens_together(start: Checkpoint) -> None:
    model = start.load_model()
    assert isinstance(model.head, TokenHead)
    actor, seen = token_actor(model), understood(model)
    chosen = actor.draw(seen, torch.rand(3, EXECUTE, SIZE))
    assert chosen.shape == (3, EXECUTE, SIZE)
    each = model.head.log_probs(*seen, chosen, temperature=1.5)
    assert torch.allclose(actor.log_probs(seen, chosen), each.sum((1, 2)), atol=1e-5)
    assert torch.equal(actor.actions(chosen), model.head.code.decode(chosen))
    uniform = token_actor(model, temperature=1e6)
    assert float(uniform.entropy(seen, chosen)[0]) == pytest.approx(
        EXECUTE * SIZE * math.log(model.config.bins), rel=1e-4
    )


def test_continuous_actions_are_drawn_from_the_distribution_they_are_judged_by(
    start: Checkpoint,
) -> None:
    model = NanoVLA(replace(start.config, head="continuous")).requires_grad_(False)
    assert isinstance(model.head, ContinuousHead)
    actor, seen = GaussianActor(model.head, EXECUTE, std=0.2), understood(model, 2000)
    seen = Understood(seen.tokens[:1].expand(2000, -1, -1), seen.seen)
    chosen = actor.draw(seen, torch.rand(2000, EXECUTE, SIZE)).detach()
    mean = model.head.scaled(*seen)[:, :EXECUTE]
    assert torch.allclose(chosen.mean(0), mean[0], atol=0.02)
    assert torch.allclose(chosen.std(0), torch.full((EXECUTE, SIZE), 0.2), atol=0.02)
    normal = torch.distributions.Normal(mean, 0.2)
    expected = normal.log_prob(chosen).sum((1, 2))
    assert torch.allclose(actor.log_probs(seen, chosen), expected, atol=1e-4)
    assert torch.allclose(actor.entropy(seen, chosen), normal.entropy().sum((1, 2)))
    assert [name for name, _ in actor.named_parameters()] == ["log_std"]


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_luck_is_uniform_however_much_a_step_resembles_the_last(correlation: float) -> None:
    luck = Luck(7, correlation)
    drawn = np.concatenate([luck.draw((4, 3)) for _ in range(5000)])
    assert drawn.dtype == np.float32
    assert drawn.min() >= 0
    assert drawn.max() < 1
    normal = ndtri(drawn.astype(np.float64).clip(1e-7, 1 - 1e-7))
    found = [np.corrcoef(normal[:-1, a], normal[1:, a])[0, 1] for a in range(3)]
    assert found == pytest.approx([correlation] * 3, abs=0.03), "within decisions and across them"
    assert kstest(drawn[::50, 0], "uniform").pvalue > 0.001
    again = Luck(7, correlation)
    assert np.array_equal(np.concatenate([again.draw((4, 3)) for _ in range(2)]), drawn[:8])


def arena(**changes: object) -> Arena:
    return replace(Arena(suite=SUITE, settings={}, execute=EXECUTE, workers=2), **changes)


def explore(
    start: Checkpoint, where: Arena, episodes: Sequence[EpisodeSpec], *, batched: bool = True
) -> list[Trajectory]:
    model = start.load_model()
    explorer = Explorer(
        model, start.origin, token_actor(model), execute=EXECUTE, batched=batched
    )  # fmt: skip
    with where.pool(explorer) as pool:
        return where.explore(pool, explorer, episodes)


def test_a_pool_keeps_its_workers_from_one_run_to_the_next(start: Checkpoint) -> None:
    model, where = start.load_model(), arena()
    explorer = Explorer(model, start.origin, token_actor(model), execute=EXECUTE)
    episodes = where.episodes("*", 3, 0)
    with where.pool(explorer) as pool:
        first = where.explore(pool, explorer, episodes)
        before = [worker.process.pid for worker in pool._workers]
        second = where.explore(pool, explorer, episodes[:2])
        assert [worker.process.pid for worker in pool._workers] == before
        unfinished = pool.run(episodes)
        next(unfinished)
        with pytest.raises(RuntimeError, match="left before its end"):
            next(pool.run(episodes))
    assert [one.episode.key for one in first] == sorted(e.key for e in episodes)
    assert len(second) == 2


def test_asked_one_by_one_exploring_does_not_depend_on_who_is_beside(start: Checkpoint) -> None:
    episodes = arena().episodes("*", 4, 0)
    alone = explore(start, arena(workers=1), episodes, batched=False)
    beside = explore(start, arena(workers=3), episodes, batched=False)
    for one, other in zip(alone, beside, strict=True):
        assert torch.equal(one.chosen, other.chosen)
        assert torch.equal(one.log_probs, other.log_probs)


def test_an_episode_that_time_cut_short_ends_with_the_moment_after_its_last_decision(
    start: Checkpoint,
) -> None:
    short = arena(horizon=3)  # two whole decisions of two steps: nothing is reached so soon
    for one in explore(start, short, short.episodes("*", 3, 0)):
        assert (one.timed_out, one.success, one.steps) == (True, False, 4)
        assert len(one) == 2
        assert len(one.observations) == 3
        assert one.log_probs.shape == (2,)


def test_a_success_is_rewarded_once_and_ends_its_episode(start: Checkpoint) -> None:
    where = arena()
    found = [one for one in explore(start, where, where.episodes("*", 5, 0)) if one.success]
    assert found
    experience = gather(found, start.load_model())
    assert len(experience) == experience.num_moments == sum(map(len, found))
    assert float(experience.rewards().sum()) == len(found)
    ends = torch.tensor([len(one) for one in found]).cumsum(0) - 1
    assert experience.rewards()[ends].tolist() == [1.0] * len(found)
    half = torch.full((len(experience),), 0.5)
    assert float(experience.rewards(half).sum()) == len(found) + 0.5 * len(experience)


def test_advantages_do_not_leak_from_one_episode_into_the_next() -> None:
    def trajectory(count: int, *, timed_out: bool) -> Trajectory:
        return Trajectory(
            episode=EpisodeSpec(task_id="t", init_index=count, scene_seed=0, policy_seed=0),
            success=not timed_out,
            timed_out=timed_out,
            steps=count,
            observations=[None] * (count + timed_out),  # type: ignore[list-item]
            chosen=torch.zeros(count, 1, 1, dtype=torch.long),
            log_probs=torch.zeros(count),
        )

    both = [trajectory(2, timed_out=True), trajectory(1, timed_out=False)]
    experience = Experience(
        trajectories=both,
        batch=None,
        features=None,
        moment=torch.tensor([0, 1, 3]),
        chosen=torch.zeros(3, 1, 1, dtype=torch.long),
        log_probs=torch.zeros(3),
    )
    values = torch.tensor([0.1, 0.2, 0.9, 0.4])  # the third is of the moment after the time-out
    found, returns = experience.advantages(experience.rewards(), values, gamma=1.0, lam=1.0)
    assert torch.allclose(found, torch.tensor([0.9 - 0.1, 0.9 - 0.2, 1.0 - 0.4]))
    assert torch.allclose(returns, torch.tensor([0.9, 0.9, 1.0]))


def learner_of(model: NanoVLA, recipe: PpoRecipe) -> Learner:
    critic = Critic(model.config)
    return Learner(
        recipe,
        token_actor(model),
        lambda experience, moments: experience.understood(moments, model, CPU),
        lambda experience, moments: critic(experience.seen(moments, CPU)),
        model.parameters(),
        critic.parameters(),
        CPU,
    )


def test_ratios_leave_one_and_the_clip_acts(start: Checkpoint) -> None:
    where = arena()
    found = explore(start, where, where.episodes("*", 10, 0))
    model = start.load_model().requires_grad_(True)
    experience = gather(found, model)
    again = token_actor(model).log_probs(
        experience.understood(experience.moment, model, CPU), experience.chosen
    )
    assert torch.allclose(again, experience.log_probs, atol=1e-3), "as they were drawn"
    recipe = PpoRecipe(learning_rate=3e-3, epochs=4, minibatch=16)
    update = learner_of(model, recipe).update(experience, torch.Generator().manual_seed(0))
    assert update.clipped > 0.05
    assert update.kl > 1e-3
    assert update.steps >= 4 * (len(experience) // 16)


def test_while_the_critic_warms_up_the_policy_stays_what_it_is(start: Checkpoint) -> None:
    where = arena()
    found = explore(start, where, where.episodes("*", 5, 0))
    model = start.load_model().requires_grad_(True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learner = learner_of(model, PpoRecipe(critic_epochs=20, critic_learning_rate=3e-3))
    experience, luck = gather(found, model), torch.Generator().manual_seed(0)
    first = learner.update(experience, luck, learn_policy=False)
    second = learner.update(experience, luck, learn_policy=False)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert first.steps == 0
    assert second.value_error < 0.5 * first.value_error


def test_where_nothing_succeeded_there_is_nothing_to_learn(start: Checkpoint) -> None:
    short = arena(horizon=2)
    found = explore(start, short, short.episodes("*", 5, 0))
    model = start.load_model().requires_grad_(True)
    learner = learner_of(model, PpoRecipe(critic_epochs=60, critic_learning_rate=3e-3))
    experience, luck = gather(found, model), torch.Generator().manual_seed(0)
    learner.update(experience, luck, learn_policy=False)  # a critic that has seen it expects 0
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert learner.update(experience, luck).steps == 0
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_divergence_that_is_too_large_ends_the_iteration(start: Checkpoint) -> None:
    where = arena()
    experience_of = explore(start, where, where.episodes("*", 5, 0))
    model = start.load_model().requires_grad_(True)
    recipe = PpoRecipe(learning_rate=1e-2, epochs=50, minibatch=16, target_kl=0.01)
    learner = learner_of(model, recipe)
    update = learner.update(gather(experience_of, model), torch.Generator().manual_seed(0))
    assert update.steps < 20


def test_a_policy_is_as_far_from_its_start_as_they_disagree_on_what_it_did(
    start: Checkpoint,
) -> None:
    model, where = start.load_model(), arena()
    explorer = Explorer(
        model, start.origin, token_actor(model), execute=EXECUTE, keep_features=True
    )
    with where.pool(explorer) as pool:
        experience = gather(where.explore(pool, explorer, where.episodes("*", 3, 0)), model)
    before = start.load_model()
    same = distance(experience, model, token_actor(model), before, token_actor(before))
    assert same == pytest.approx(0, abs=1e-4)
    hotter = token_actor(before, temperature=8.0)
    seen = before(batch_of(experience.views(experience.moment), before.words, before.config))
    expected = experience.log_probs - hotter.log_probs(seen, experience.chosen)
    found = distance(experience, model, token_actor(model), before, hotter)
    assert found == pytest.approx(float(expected.mean()), rel=1e-3)
    assert found > 0.1


def test_kept_features_are_what_the_backbone_makes_of_the_moments(start: Checkpoint) -> None:
    model, where = start.load_model(), arena()
    explorer = Explorer(
        model, start.origin, token_actor(model), execute=EXECUTE, keep_features=True
    )
    with where.pool(explorer) as pool:
        found = where.explore(pool, explorer, where.episodes("*", 3, 0))
    kept = gather(found, model)
    made = gather([replace(one, features=()) for one in found], model)
    moments = torch.arange(kept.num_moments)
    for one, other in zip(
        kept.understood(moments, model, CPU), made.understood(moments, model, CPU), strict=True
    ):
        assert torch.allclose(one.float(), other.float(), atol=1e-4)


def test_a_simulator_that_always_breaks_ends_the_training_with_a_reason(
    start: Checkpoint, tmp_path: Path
) -> None:
    broken = arena(suite=replace(SUITE, make_env=_Broken))
    with pytest.raises(ExploringError, match=r"every one of 4 episodes broke.*no power"):
        explore(start, broken, broken.episodes("*", 2, 0))


class _Broken(PointReachEnv):
    def reset(self, episode: EpisodeSpec) -> None:
        raise RuntimeError("no power")
