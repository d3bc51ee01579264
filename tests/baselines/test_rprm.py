"""The process reward model: its labels, and that it judges moments and actions it never saw."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vlabench.demos import Demo
from vlabench.env import Observation
from vlabench.errors import SettingError
from vlabench.registry import load_suite
from vlabench.spaces import ActionSpec, Gripper, Rotation
from vlabench_baselines.common.data import scales, words_of
from vlabench_baselines.common.expert import DemosRecipe
from vlabench_baselines.common.progress import Follower
from vlabench_baselines.nanovla.checkpoint import Checkpoint, read_checkpoint
from vlabench_baselines.nanovla.config import NanoConfig
from vlabench_baselines.nanovla.model import Judge
from vlabench_baselines.nanovla.perception import batch_of
from vlabench_baselines.nanovla.shipped import find_shipped
from vlabench_baselines.vla_rl.labels import Labelling, label, openness_of, speed_of
from vlabench_baselines.vla_rl.rprm import (
    Attempt,
    Report,
    RprmRecipe,
    attempt_of_demo,
    attempt_of_run,
    auc,
    judge_config,
    measure_rprm,
    process_reward,
    reward_model,
    train_rprm,
)

QUIET = Follower(quiet=True)
PLAIN = Labelling(change=0.5, slow=0.3, smooth=1, apart=4, reach=3)
SPEC = ActionSpec(size=4, delta=True, rotation=Rotation.NONE, gripper=Gripper.CLOSE_POSITIVE)


def made() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Openness and speed of 30 steps: a pause at 6, closed from 12 to 23."""
    openness, speed = np.ones(30), np.ones(30)
    openness[12:24] = 0.0
    speed[5:8] = 0.1, 0.05, 0.2
    return openness, speed


def test_keyframes_are_pauses_changes_of_the_gripper_and_the_end() -> None:
    found = label(*made(), PLAIN)
    assert found.milestones == (12, 24)
    assert found.keyframes == (6, 12, 24, 29)


def test_the_steps_that_lead_to_keyframes_are_promising() -> None:
    found = label(*made(), PLAIN)
    assert found.ahead[:8].tolist() == [6, 5, 4, 3, 2, 1, 0, 5]
    wanted = [4, 5, 6, 10, 11, 12, 22, 23, 24, 27, 28, 29]
    assert np.flatnonzero(found.promising).tolist() == wanted


def test_progress_is_the_share_of_keyframes_linear_between_them() -> None:
    progress = label(*made(), PLAIN).progress
    assert progress[[6, 12, 24, 29]].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert progress[18] == pytest.approx(0.625)
    assert progress[0] == pytest.approx(0.25 / 7)


def test_a_gripper_that_goes_on_closing_has_changed_once() -> None:
    openness = np.array([1.0] * 10 + [0.8, 0.6, 0.4, 0.2] + [0.0] * 10)
    assert label(openness, np.ones(24), PLAIN).milestones == (12,)


def test_a_gripper_that_flickers_has_not_changed() -> None:
    openness, speed = np.ones(30), np.ones(30)
    openness[10] = openness[20] = 0.0
    assert label(openness, speed, PLAIN).milestones == (10, 11, 20, 21)
    assert label(openness, speed, replace(PLAIN, smooth=5)).milestones == ()


def test_keyframes_keep_apart_and_the_end_comes_first() -> None:
    openness, speed = made()
    found = label(openness, speed, replace(PLAIN, apart=7))
    assert found.milestones == (12, 24)
    assert found.keyframes == (12, 29)  # the pause is 6 before the one, 24 is 5 before the other


def test_starting_from_rest_is_no_keyframe() -> None:
    speed = np.ones(20)
    speed[:3] = 0.0, 0.05, 0.1
    assert label(np.ones(20), speed, PLAIN).keyframes == (19,)


def test_slow_is_relative_to_the_trajectory() -> None:
    openness, speed = made()
    assert label(openness, speed * 1e-3, PLAIN).keyframes == (6, 12, 24, 29)


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"openness is \[3\] and speed \[2\]; expected \[T\] both"):
        label(np.ones(3), np.ones(2), PLAIN)


@pytest.mark.parametrize(
    "values", [{"change": 0.0}, {"slow": 2.0}, {"smooth": 4}, {"apart": 0}, {"reach": 0}]
)
def test_thresholds_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(values))} is .*; expected"):
        Labelling(**values)


def test_openness_follows_the_action_convention() -> None:
    actions = np.array([[0.3, -1.0], [0.3, 0.5], [0.3, 7.0]])
    negative = replace(SPEC, gripper=Gripper.CLOSE_NEGATIVE)
    assert openness_of(actions, SPEC).tolist() == [1.0, 0.25, 0.0]
    assert openness_of(actions, negative).tolist() == [0.0, 0.75, 1.0]
    assert openness_of(actions, replace(SPEC, gripper=Gripper.NONE)).tolist() == [1.0] * 3


def test_speed_between_decisions_is_spread_over_their_steps() -> None:
    places = np.array([[0.0, 0, 0], [3.0, 4, 0], [3.0, 4, 1]])
    assert speed_of(places, 1, 3).tolist() == [5.0, 1.0, 1.0]
    assert speed_of(places, 2, 6).tolist() == [2.5, 2.5, 0.5, 0.5, 0.5, 0.5]
    assert speed_of(places[:1], 2, 2).tolist() == [0.0, 0.0]


def fetched(seed: int) -> Demo:
    """Make a hand fetch a cup: to the cup, close, to the plate, open; 0.1 a step at most."""
    rng = np.random.default_rng(seed)
    cup, plate = rng.uniform((-2.5, -1, -1), (-0.5, 1, 1)), rng.uniform((0.5, -1, -1), (2.5, 1, 1))
    hand, grip, rows, actions = rng.uniform(-0.3, 0.3, 3), -1.0, [], []
    for goal, then in ((cup, 1.0), (plate, -1.0)):
        while np.linalg.norm(goal - hand) > 0.01 or grip != then:
            move = np.clip((goal - hand) / 0.1, -1, 1)
            grip = then if np.linalg.norm(goal - hand) < 0.03 else grip
            rows.append(np.array([*hand, grip]))
            actions.append(np.array([*move, grip]))
            hand = hand + 0.1 * 0.7 * move
    state, act = np.array(rows, dtype=np.float32), np.array(actions, dtype=np.float32)
    pose = np.zeros((len(act), 7), dtype=np.float32)
    shown = {
        "cup": pose + np.array([*cup, 1, 0, 0, 0]),
        "plate": pose + np.array([*plate, 1, 0, 0, 0]),
        "gripper": pose + np.array([0, 0, 0, 1, 0, 0, 0]),
    }
    shown["gripper"][:, :3] = state[:, :3]
    privileged = {name: array.astype(np.float32) for name, array in shown.items()}
    return Demo(
        instruction="fetch the cup", actions=act, executed=act, state=state, privileged=privileged
    )


RECIPE = RprmRecipe(
    steps=400, batch=64, learning_rate=5e-3, every=1, dim=32, depth=1, labels=Labelling(reach=4)
)


def attempts(seeds: Sequence[int]) -> list[Attempt]:
    return [attempt_of_demo(fetched(s), SPEC, RECIPE.labels, RECIPE.every) for s in seeds]


@pytest.fixture(scope="module")
def config() -> NanoConfig:
    demos = [fetched(seed) for seed in range(60)]
    whole = NanoConfig(words=words_of(demos), scales=scales(demos))
    return judge_config(whole, RECIPE, execute=4)


@pytest.fixture(scope="module")
def judge(config: NanoConfig) -> Judge:
    return train_rprm(attempts(range(60)), config, RECIPE, QUIET)


@pytest.fixture(scope="module")
def report(judge: Judge) -> Report:
    return measure_rprm(judge, attempts(range(100, 120)), RECIPE)


def test_moments_before_keyframes_are_told_from_others_on_held_out_trajectories(
    report: Report,
) -> None:
    assert report.windows > 0.9


def test_actions_are_told_apart_in_the_same_moment_on_held_out_trajectories(report: Report) -> None:
    assert report.chunks > 0.8
    assert report.noisy > 0.75


def test_progress_to_the_next_keyframe_is_ranked_on_held_out_trajectories(report: Report) -> None:
    assert report.attempts == 20
    assert report.nearness > 0.25


def test_an_untrained_judge_knows_none_of_it(config: NanoConfig) -> None:
    torch.manual_seed(1)
    found = measure_rprm(Judge(config).eval(), attempts(range(100, 120)), RECIPE)
    assert found.chunks < 0.7
    assert found.noisy < 0.7
    assert found.nearness < 0.15
    assert found.progress > 0.8  # which is why that says little: all that only rises agrees


def test_one_seed_decides_everything(config: NanoConfig) -> None:
    quick = replace(RECIPE, steps=3)
    one, same, other = (
        train_rprm(attempts(range(3)), config, each, QUIET).state_dict()
        for each in (quick, quick, replace(quick, seed=1))
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_failures_lower_what_is_expected_of_what_they_did(config: NanoConfig) -> None:
    seen = attempts(range(10))
    failed = [replace(one, labels=None) for one in seen]
    quick = replace(RECIPE, steps=60)
    means = []
    for given in (seen, [*seen, *failed]):
        found = train_rprm(given, config, quick, QUIET)
        batch = batch_of(seen[0].observations, found.words, config)
        chunks = torch.from_numpy(seen[0].chunks(4))
        means.append(float(process_reward(found, batch, chunks, 1.0).mean()))
    assert means[1] < 0.8 * means[0]


def test_only_failures_are_refused(config: NanoConfig) -> None:
    failed = [replace(one, labels=None) for one in attempts(range(2))]
    with pytest.raises(ValueError, match="none of 2 attempts is a success"):
        train_rprm(failed, config, RECIPE, QUIET)


def test_without_a_moment_that_leads_nowhere_nothing_is_told_from_anything(judge: Judge) -> None:
    far = replace(RECIPE.labels, reach=1000)
    found = measure_rprm(judge, [attempt_of_demo(fetched(7), SPEC, far, 1)], RECIPE)
    assert np.isnan(found.windows)
    assert found.chunks > 0.5


def test_a_process_reward_is_the_scaled_probability(judge: Judge, config: NanoConfig) -> None:
    one = attempts([200])[0]
    batch = batch_of(one.observations, judge.words, config)
    chunks = torch.from_numpy(one.chunks(4))
    rewards = process_reward(judge, batch, chunks, 0.005)
    with torch.no_grad():
        wanted = 0.005 * judge(batch, chunks[:, None])[:, 0].sigmoid()
    assert rewards.shape == (len(one),)
    assert torch.equal(rewards, wanted)
    assert 0 < float(rewards.min()) <= float(rewards.max()) < 0.005


def run(decisions: int) -> tuple[list[Observation], NDArray[np.float32]]:
    """Make a policy's episode of decisions of 4 actions; one observation more than decisions."""
    rng = np.random.default_rng(0)
    demo = fetched(0)
    seen = [
        Observation(instruction="fetch", state=demo.state[4 * place])
        for place in range(decisions + 1)
    ]
    return seen, rng.uniform(-1, 1, (decisions, 4, 4)).astype(np.float32)


def test_a_run_ends_where_its_last_decision_was_cut_short() -> None:
    seen, actions = run(3)
    found = attempt_of_run(seen, actions, SPEC, PLAIN, steps=10, success=True)
    assert (len(found), len(found.actions)) == (3, 10)
    assert found.moments.tolist() == [0, 4, 8]
    assert np.array_equal(found.chunks(4)[1], actions[1])
    assert np.array_equal(found.chunks(4)[2], actions[2][[0, 1, 1, 1]])  # the last one is repeated
    assert found.labels is not None
    assert found.labels.keyframes[-1] == 9


def test_a_run_that_failed_has_no_labels() -> None:
    seen, actions = run(3)
    assert attempt_of_run(seen, actions, SPEC, PLAIN, steps=12, success=False).labels is None


def test_a_run_is_labelled_like_the_demonstration_it_repeats() -> None:
    demo = fetched(3)
    steps = len(demo) - len(demo) % 4
    seen = [Observation(instruction="fetch", state=demo.state[step]) for step in range(0, steps, 4)]
    actions = demo.actions[:steps].reshape(-1, 4, 4)
    again = attempt_of_run(seen, actions, SPEC, Labelling(), steps=steps, success=True)
    whole = attempt_of_demo(demo, SPEC, Labelling(), 4)
    assert again.labels is not None
    assert whole.labels is not None
    assert again.labels.milestones == tuple(m for m in whole.labels.milestones if m < steps)
    assert np.mean(again.labels.promising == whole.labels.promising[:steps]) > 0.8


def test_auc_is_the_share_of_pairs() -> None:
    # of 3 x 2 pairs: 2 > 1 and 3 > 1; 3 > 2; 2 = 2 is a half; 0 beats none
    above, below = np.array([0.0, 2.0, 3.0]), np.array([1.0, 2.0])
    assert auc(above, below) == pytest.approx(3.5 / 6)
    assert np.isnan(auc(above[:0], below))


@pytest.fixture(scope="module")
def start() -> Checkpoint:
    return read_checkpoint(find_shipped("sft", load_suite("point-reach")))


def test_a_training_keeps_its_reward_model(start: Checkpoint, tmp_path: Path) -> None:
    demos = DemosRecipe(policy="point-reach-expert", episodes=6, noise=0.3)
    recipe = replace(RprmRecipe(), demos=demos, steps=20, aside=0.3)
    first = reward_model(recipe, start, 2, tmp_path, QUIET)
    kept = (tmp_path / "rprm.pt").stat().st_mtime_ns
    again = reward_model(recipe, start, 2, tmp_path, QUIET)
    assert first is not None
    assert again is not None
    assert (tmp_path / "rprm.pt").stat().st_mtime_ns == kept
    assert first.config.chunk == 2
    pairs = zip(first.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_width_that_no_judge_can_have_is_refused(start: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="rprm: dim 33 is not a multiple of heads 2"):
        reward_model(RprmRecipe(dim=33), start, 2, tmp_path, QUIET)


def test_no_scale_is_no_model(start: Checkpoint, tmp_path: Path) -> None:
    assert reward_model(RprmRecipe(scale=0.0), start, 2, tmp_path, QUIET) is None


def test_a_model_without_demonstrations_is_refused(start: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"no demonstrations are named; .* rprm.demos.policy"):
        reward_model(RprmRecipe(), start, 2, tmp_path, QUIET)
