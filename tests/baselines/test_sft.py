"""Behaviour cloning: what it computes, that it learns, and that a kill changes nothing."""

import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vlabench import EpisodeSpec, SerialRunner, load_policy, prepare, success_rate
from vlabench.demos import Demo
from vlabench.errors import SettingError
from vlabench.plan import make_plan
from vlabench.recipe import read_recipe
from vlabench.registry import load_suite, recipe_paths
from vlabench.spaces import Camera
from vlabench_baselines.common.data import DataError, moments, scales, shifted, split, words_of
from vlabench_baselines.common.log import draw_curves, read_log
from vlabench_baselines.common.rollout import VALIDATION_SEED, rollout
from vlabench_baselines.nanovla.checkpoint import read_checkpoint
from vlabench_baselines.nanovla.config import NanoConfig
from vlabench_baselines.nanovla.model import NanoVLA, num_parameters
from vlabench_baselines.nanovla.perception import Batch
from vlabench_baselines.sft.recipe import TrainingRecipe
from vlabench_baselines.sft.spotter import Spotter
from vlabench_baselines.sft.trainer import schedule, train
from vlabench_suites.point_reach import PointReachEnv

POINT_REACH = recipe_paths()["sft-point-reach"]
QUICK = {
    "demos.episodes": "6",
    "training.steps": "60",
    "training.log_every": "10",
    "training.validate_every": "20",
    "training.rollout_every": "0",
    "training.save_every": "20",
}


def demo(length: int, instruction: str = "reach it", **changes: Any) -> Demo:
    rng = np.random.default_rng(length)
    values: dict[str, Any] = {
        "instruction": instruction,
        "actions": rng.uniform(-1, 1, (length, 2)).astype(np.float32),
        "executed": np.zeros((length, 2), dtype=np.float32),
        "state": rng.normal(3, 2, (length, 3)).astype(np.float32),
        "privileged": {
            "cup_1": rng.normal(size=(length, 7)).astype(np.float32),
            "gripper": rng.normal(size=(length, 7)).astype(np.float32),
        },
    }
    return Demo(**{**values, **changes})


def config(demos: list[Demo], chunk: int = 3) -> NanoConfig:
    return NanoConfig(
        front="privileged", head="tokens", chunk=chunk, words=words_of(demos), scales=scales(demos)
    )


def test_a_chunk_ends_with_its_demonstration() -> None:
    demos = [demo(4), demo(2)]
    data = moments(demos, config(demos))
    batch, actions, weight = data.pick(torch.tensor([0, 3, 4, 5]))
    assert weight.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0]]
    assert np.array_equal(actions[0].numpy(), demos[0].actions[:3])
    assert np.array_equal(actions[2, :2].numpy(), demos[1].actions)
    assert np.array_equal(batch.state[2].numpy(), demos[1].state[0])
    assert np.array_equal(batch.poses[3, 0].numpy(), demos[1].privileged["cup_1"][1])
    assert len(batch.sentences) == 1


def test_pictures_may_come_one_demonstration_after_the_other() -> None:
    camera = Camera(name="front", height=4, width=6)
    luck = np.random.default_rng(0)
    whole = [
        replace(
            demo(length),
            cameras={"front": camera},
            images={"front": luck.integers(0, 256, (length, 4, 6, 3)).astype(np.uint8)},
        )
        for length in (3, 5)
    ]
    sees = replace(config(whole), front="vision", cameras=(camera,))
    blind = [replace(one, images={}) for one in whole]
    found = moments(blind, sees, iter(whole)).images
    assert torch.equal(found, moments(whole, sees).images)
    assert np.array_equal(found[3:, 0].numpy(), whole[1].images["front"])
    with pytest.raises(DataError, match="this model looks at front"):
        moments(blind, sees)


def test_units_are_the_data_sets() -> None:
    demos = [demo(2000)]
    found = scales(demos)
    assert np.allclose(found.state_mean, demos[0].state.mean(0), atol=1e-5)
    assert np.allclose(found.action_low, np.quantile(demos[0].actions, 0.01, axis=0), atol=1e-5)
    still = replace(demos[0], actions=np.zeros((2000, 2), dtype=np.float32))
    assert scales([still]).action_low == (-0.01, -0.01)


def test_a_rare_movement_keeps_its_range() -> None:
    actions = np.zeros((1000, 2), dtype=np.float32)
    actions[::200, 0] = 1.0
    found = scales([replace(demo(1000), actions=actions)])
    assert (found.action_low[0], found.action_high[0]) == (0.0, 1.0)


def test_some_of_each_task_is_set_aside() -> None:
    demos = [demo(n, text) for text in ("a", "b") for n in range(1, 11)]
    kept, aside = split(demos, 0.2)
    assert [(d.instruction, len(d)) for d in aside] == [("a", 9), ("a", 10), ("b", 9), ("b", 10)]
    assert len(kept) == 16
    assert split(demos, 0)[1] == []


def test_demonstrations_without_what_the_model_sees_are_refused() -> None:
    blind = replace(demo(3), privileged={})
    with pytest.raises(DataError, match="has no privileged state, which this model sees"):
        moments([blind], config([demo(3)]))
    with pytest.raises(DataError, match="there are no demonstrations"):
        moments([], config([demo(3)]))


def test_the_learning_rate_rises_and_falls_along_a_cosine() -> None:
    training = TrainingRecipe(steps=110, warmup=10, floor=0.1)
    values = [schedule(step, training) for step in (0, 4, 9, 10, 60, 110, 200)]
    assert np.allclose(values, [0.1, 0.5, 1.0, 1.0, 0.55, 0.1, 0.1])


def test_pictures_are_moved_and_nothing_else() -> None:
    images = torch.randint(0, 255, (5, 2, 8, 8, 3), dtype=torch.uint8)
    empty = torch.zeros(0)
    batch = Batch(**{name: empty for name in Batch.__slots__ if name != "images"}, images=images)
    moved = shifted(batch, 2, step=3, seed=0)
    assert moved.images.shape == images.shape
    assert not torch.equal(moved.images, images)
    assert torch.equal(moved.images, shifted(batch, 2, step=3, seed=0).images)
    flat = torch.full_like(images, 7)
    assert torch.equal(shifted(replace(batch, images=flat), 2, 0, 0).images, flat)


def test_the_miniature_recipe_learns_and_its_checkpoint_runs(tmp_path: Path) -> None:
    recipe = read_recipe(POINT_REACH)
    folder = train(recipe, tmp_path / "t", quiet=True)
    checkpoint = read_checkpoint(folder)
    assert checkpoint.origin.tasks == ("point-reach/left", "point-reach/right")
    assert checkpoint.origin.protocol == "training@1"
    assert num_parameters(checkpoint.load_model()) < 100_000
    rows = read_log(tmp_path / "t" / "log.csv")
    assert float(rows[-1]["loss_validation"]) < 0.01 * float(rows[0]["loss"])
    evaluation = prepare("point-reach", "sft", settings={"checkpoint": str(folder)})
    path = tmp_path / "run.jsonl"
    records = [r for _, r in evaluation.run(SerialRunner(), path) if r is not None]
    assert success_rate(records).low > 0.9
    assert (tmp_path / "t" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert sys.float_info.min / 2 > 0, "whoever computes next would round otherwise"


def test_a_killed_training_goes_on_to_the_same_losses(tmp_path: Path) -> None:
    recipe = read_recipe(POINT_REACH, QUICK)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    expected = read_checkpoint(train(recipe, whole, quiet=True))

    class KillError(Exception):
        pass

    def kill(self: torch.optim.AdamW, *_: object) -> None:
        calls.append(1)
        if len(calls) == 47:  # after the state of step 40, and after a line of the log
            raise KillError

    calls: list[int] = []
    handle = _on_every_step(kill)
    with pytest.raises(KillError):
        train(recipe, killed, quiet=True)
    handle.remove()
    found = read_checkpoint(train(recipe, killed, quiet=True))
    assert found.digest == expected.digest
    keep = ("step", "loss", "loss_validation", "gradient_norm", "learning_rate")
    assert [[row[k] for k in keep] for row in read_log(killed / "log.csv")] == [
        [row[k] for k in keep] for row in read_log(whole / "log.csv")
    ]


def _on_every_step(hook: Any) -> Any:
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    return register_optimizer_step_pre_hook(hook)


def test_saying_where_things_are_needs_demonstrations_that_know_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = [demo(5, privileged={})] * 4
    monkeypatch.setattr("vlabench_baselines.sft.trainer.read_demos", lambda *_, **__: blind)
    recipe = read_recipe(POINT_REACH, {**QUICK, "training.spot": "1"})
    with pytest.raises(DataError, match="does not say where things are"):
        train(recipe, tmp_path / "t", quiet=True)


def test_one_seed_controls_everything(tmp_path: Path) -> None:
    digests = [
        read_checkpoint(
            train(
                read_recipe(POINT_REACH, {**QUICK, "training.seed": seed}),
                tmp_path / name,
                quiet=True,
            )
        ).digest
        for name, seed in (("a", "1"), ("b", "1"), ("c", "2"))
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.stepps", "3", "recipe sft-point-reach: training: unknown key 'stepps'; did you"),
        ("training.steps", "0", "recipe sft-point-reach: training: steps is 0; expected at least"),
        ("model.heads", "3", "recipe sft-point-reach: model: dim 32 is not a multiple of heads 3"),
        ("model.depth", "0", "recipe sft-point-reach: model: depth is 0; expected at least 1"),
        ("model.front", "vision", "recipe sft-point-reach: model: front 'vision' with 0 cameras"),
        ("execute", "5", "recipe sft-point-reach: execute is 5; expected 0 to 4"),
        ("family", "libero", "recipe sft-point-reach: family 'libero' has no 'point-reach'"),
        ("model.head", "tail", "model: head is 'tail', expected one of 'tokens', 'continuous'"),
    ],
)
def test_a_wrong_recipe_starts_nothing(key: str, value: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=message):
        train(read_recipe(POINT_REACH, {key: value}), tmp_path / "t", quiet=True)
    assert not (tmp_path / "t").exists()


def test_rollouts_share_no_episode_with_demonstrations_or_evaluations() -> None:
    suite = load_suite("point-reach")

    def scenes(protocol: str, seed: int) -> set[tuple[str, int]]:
        plan = make_plan(suite, protocol, episodes=200, seed=seed)
        return {(episode.task_id, episode.scene_seed) for episode in plan.episodes}

    rollouts = scenes("training", VALIDATION_SEED)
    assert not rollouts & scenes("training", 0)
    assert not rollouts & scenes("standard", 0)


def test_curves_are_drawn_of_what_there_is(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    with log.open("w", newline="") as file:
        csv.writer(file).writerows([["step", "loss", "success"], [1, 0.5, ""], [2, 0.25, ""]])
    draw_curves(log, tmp_path / "c.png", {"loss": ("loss",), "success": ("success",)}, "title")
    assert (tmp_path / "c.png").stat().st_size > 5_000
    draw_curves(tmp_path / "none.csv", tmp_path / "d.png", {"loss": ("loss",)}, "title")
    assert not (tmp_path / "d.png").exists()


@pytest.mark.sim
def test_the_one_task_recipe_learns_on_a_real_simulator(tmp_path: Path) -> None:
    recipe = read_recipe(recipe_paths()["sft-metaworld-one-task"])
    train(recipe, tmp_path, quiet=True)
    last = read_log(tmp_path / "log.csv")[-1]
    assert int(last["success_n"]) == 10
    assert float(last["success_low"]) > 0.5


def test_a_model_learns_to_say_where_things_are() -> None:
    demos = [demo(20), demo(30)]
    batch, _, _ = moments(demos, config(demos)).pick(torch.arange(50))
    torch.manual_seed(0)
    model, spotter = NanoVLA(config(demos)), Spotter(config(demos))
    optimizer = torch.optim.Adam([*model.parameters(), *spotter.parameters()], lr=3e-3)
    losses = []
    for _ in range(100):
        loss = spotter.loss(model(batch), batch, model)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    nameless = replace(batch, names=torch.zeros_like(batch.names))
    assert spotter.loss(model(nameless), nameless, model).item() == 0.0


def test_nothing_of_saying_where_things_are_is_left_in_the_model(tmp_path: Path) -> None:
    folders = [
        train(read_recipe(POINT_REACH, {**QUICK, "training.spot": spot}), tmp_path / spot)
        for spot in ("0.0", "1.0")
    ]
    without, beside = (read_checkpoint(f).load_model().state_dict() for f in folders)
    shapes = [{name: value.shape for name, value in s.items()} for s in (without, beside)]
    assert shapes[0] == shapes[1]
    assert "loss_spotting" in read_log(tmp_path / "1.0" / "log.csv")[0]


def test_an_episode_that_breaks_does_not_end_a_training() -> None:
    class Breaks(PointReachEnv):
        def reset(self, episode: EpisodeSpec) -> None:
            super().reset(episode)
            if episode.init_index == 1:
                raise RuntimeError("broken")

    suite = load_suite("point-reach")
    policy = load_policy("point-reach-expert", suite)
    broken = replace(suite, make_env=Breaks)
    assert rollout(suite, policy, SerialRunner(), tasks="*", episodes=3).n == 6
    assert rollout(broken, policy, SerialRunner(), tasks="*", episodes=3).n == 4
