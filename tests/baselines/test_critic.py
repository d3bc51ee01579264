"""A critic that was taught outcomes picks chunks that bring more of them."""

from pathlib import Path

import pytest
import torch

from vlabench import SerialRunner, load_suite, prepare, success_rate
from vlabench.errors import SettingError
from vlabench.recipe import Recipe
from vlabench.registry import recipe_paths
from vlabench_baselines.common.actors import TokenActor
from vlabench_baselines.common.explore import Arena, Explorer
from vlabench_baselines.nanovla.checkpoint import CheckpointError, read_checkpoint
from vlabench_baselines.nanovla.heads import TokenHead
from vlabench_baselines.nanovla.shipped import SHIPPED
from vlabench_baselines.vla_rl.critic import outcomes_of, train

START = SHIPPED / "sft-point-reach-privileged"
VALUES = {
    "suite": "point-reach",
    "temperature": 4.0,
    "aside": 0.4,
    "explore": {"episodes": 60, "workers": 1, "batched": False},
    "steps": 300,
    "dim": 32,
    "gamma": 0.8,
}


def recipe(**changes: object) -> Recipe:
    return Recipe(name="critic-point-reach", trainer="critic", values={**VALUES, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(recipe(), tmp_path_factory.mktemp("critic"), quiet=True)


def rate(folder: Path, path: Path, **settings: str) -> float:
    evaluation = prepare(
        "point-reach",
        "sft",
        request={"episodes": 60},
        settings={"checkpoint": str(folder), "temperature": "4", **settings},
    )
    records = [r for _, r in evaluation.run(SerialRunner(), path) if r is not None]
    return success_rate(records).value


def test_picking_by_the_critic_beats_drawing_once(trained: Path, tmp_path: Path) -> None:
    once = rate(trained, tmp_path / "1.jsonl")
    best = rate(trained, tmp_path / "8.jsonl", samples="8", verifier="critic")
    assert best > once + 0.3, (once, best)


def test_the_policy_stays_what_it_was_and_carries_one_judge_more(trained: Path) -> None:
    before, after = read_checkpoint(START), read_checkpoint(trained)
    assert set(after.judges) == set(before.judges) | {"critic"}
    assert after.origin == before.origin
    assert str(after.notes["critic"]).startswith("critic-point-reach ")
    assert "AUC" in str(after.notes["critic"])
    weights = [found.load_model().state_dict() for found in (before, after)]
    assert all(torch.equal(*pair) for pair in zip(*(w.values() for w in weights), strict=True))


def test_a_decision_is_worth_the_discounted_outcome() -> None:
    start, suite = read_checkpoint(START), load_suite("point-reach")
    model = start.load_model().eval()
    assert isinstance(model.head, TokenHead)
    actor = TokenActor(model.head, 2, 4.0)
    arena = Arena(suite=suite, settings={}, execute=2, workers=1)
    explorer = Explorer(model, start.origin, actor, execute=2)
    with arena.pool(explorer) as pool:
        found = arena.explore(pool, explorer, arena.episodes("*", 6, 0))
    assert {one.success for one in found} == {True, False}
    outcomes = outcomes_of(found, model, actor, 0.5)
    assert outcomes.chunks.shape[1:] == (2, start.config.action_size)
    for place, one in enumerate(found):
        value = outcomes.value[outcomes.episode == place].tolist()
        last = [1.0, 0.5, 0.25] if one.success else [0.0, 0.0, 0.0]
        assert value[::-1][:3] == last[: len(value)]
        assert len(value) == len(one)


def test_a_killed_training_keeps_the_tasks_that_it_has_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = recipe(steps=3, explore={"episodes": 10, "workers": 1, "batched": False})
    whole = read_checkpoint(train(quick, tmp_path / "whole", quiet=True))

    class KillError(Exception):
        pass

    explore, calls = Arena.explore, list[int]()

    def kill(self: Arena, *arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KillError
        return explore(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Arena, "explore", kill)
    with pytest.raises(KillError):
        train(quick, tmp_path / "killed", quiet=True)
    again = read_checkpoint(train(quick, tmp_path / "killed", quiet=True))
    assert len(calls) == 3, "the first task was not run again"
    assert again.digest == whole.digest


def test_what_is_wrong_is_found_before_a_folder_is_touched(tmp_path: Path) -> None:
    for changes, message in (
        ({"aside": 1.0}, "aside is 1.0; expected a share in"),
        ({"gamma": 0.0}, "gamma is 0.0; expected a number in"),
        ({"dim": 7}, "critic: "),
    ):
        with pytest.raises(SettingError, match=message):
            train(recipe(**changes), tmp_path / "t", quiet=True)
    vision = SHIPPED / "sft-metaworld-vision"
    with pytest.raises(CheckpointError):
        train(recipe(start=str(vision)), tmp_path / "t", quiet=True)
    assert not (tmp_path / "t").exists()
    assert "critic-libero-privileged" in recipe_paths()
