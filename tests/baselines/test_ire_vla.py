"""iRe-VLA: who learns when, what is kept, and that a kill changes nothing."""

from pathlib import Path

import pytest
import torch

from vlabench import SerialRunner, load_suite, prepare, success_rate
from vlabench.errors import SettingError
from vlabench.recipe import Recipe, read_recipe
from vlabench_baselines.common.folder import save_state
from vlabench_baselines.common.log import read_log
from vlabench_baselines.ire_vla.replay import Replay
from vlabench_baselines.ire_vla.trainer import train
from vlabench_baselines.nanovla.checkpoint import CheckpointError, read_checkpoint
from vlabench_baselines.nanovla.model import NanoVLA
from vlabench_baselines.sft.trainer import train as train_sft

RECIPE = """
trainer = "ire-vla"
suite = "point-reach"
expert = "point-reach"
start = "{start}"
validate_episodes = 10

[demos]
folder = "{demos}"

[explore]
episodes = 30
workers = 1
batched = false

[ppo]
learning_rate = 1e-3
epochs = 4
minibatch = 64

[reinforce]
iterations = 3
enough = 2.0

[supervise]
steps = 60
batch = 32
rank = 4
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that knows one of the two tasks; everything beside it is as in the toy's recipe."""
    from vlabench.registry import recipe_paths

    changes = {
        "tasks": "point-reach/left",
        "model.head": "continuous",
        "training.steps": "150",
        "training.rollout_every": "0",
    }
    out = tmp_path_factory.mktemp("sft")
    return train_sft(read_recipe(recipe_paths()["sft-point-reach"], changes), out, quiet=True)


def recipe(tmp_path: Path, start: Path, changes: dict[str, str] | None = None) -> Recipe:
    path = tmp_path / "ire.toml"
    path.write_text(RECIPE.format(start=start, demos=start.parent / "demos"))
    return read_recipe(path, changes)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder).load_model().state_dict()


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """Return which parts of the model changed."""
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(
    ("method", "parts"),
    [
        ("ire-vla", {"head", "backbone"}),
        ("ire-vla-freeze", {"head"}),
        (
            "ppo-replay",
            {"head", "backbone", "embedding", "sentence", "state", "eyes", "kinds"},
        ),
    ],
)
def test_each_method_trains_what_its_paper_says(
    method: str, parts: set[str], start: Path, tmp_path: Path
) -> None:
    quick = {"method": method, "reinforce.iterations": "2", "supervise.steps": "5"}
    folder = train(recipe(tmp_path, start, quick), tmp_path / "t", quiet=True)
    assert moved(weights(start), weights(folder)) == parts
    found = read_checkpoint(folder)
    assert found.origin.started_from == read_checkpoint(start).digest
    rows = read_log(tmp_path / "t" / "log.csv")
    assert [row["stage"] for row in rows] == [
        "start", *["reinforce", "reinforce", "supervise"] * 2
    ]  # fmt: skip
    assert rows[0]["success_n"] == "20"
    far = [float(row["kl_start"]) for row in rows if row["stage"] == "reinforce"]
    assert far[-1] != 0, "stage 2 lies between"


def test_the_policy_that_went_through_both_stages_still_knows_what_was_demonstrated(
    start: Path, tmp_path: Path
) -> None:
    folder = train(recipe(tmp_path, start), tmp_path / "t", quiet=True)
    evaluation = prepare(
        "point-reach",
        "sft",
        request={"tasks": "point-reach/left", "episodes": 30},
        settings={"checkpoint": str(folder)},
    )
    path = tmp_path / "run.jsonl"
    records = [r for _, r in evaluation.run(SerialRunner(), path) if r is not None]
    assert success_rate(records).low > 0.8
    assert (tmp_path / "t" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_training_that_got_worse_says_so_and_keeps_its_best_policy_beside_the_last(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ruinous = {
        "method": "ppo-replay",
        "ppo.learning_rate": "1",
        "ppo.least_spread": "0",
        "reinforce.iterations": "1",
        "reinforce.warmup": "0",
        "supervise.steps": "1",
    }
    folder = train(recipe(tmp_path, start, ruinous), tmp_path / "t")
    rows = [row for row in read_log(tmp_path / "t" / "log.csv") if row["success"]]
    rates = [float(row["success"]) for row in rows]
    assert max(rates[1:]) < rates[0], "or the start would not be the best"
    best = read_checkpoint(folder.parent / "best")
    assert (best.notes["iteration"], best.notes["validation"]) == (0, rates[0])
    assert not moved(weights(start), weights(best.folder))
    last = read_checkpoint(folder)
    assert last.notes["worst_fall"] == pytest.approx(max(rates) - min(rates))
    assert "points from its best so far" in capsys.readouterr().err


def test_a_killed_training_goes_on_to_the_same_policy(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = {"supervise.steps": "5"}
    whole = read_checkpoint(train(recipe(tmp_path, start, quick), tmp_path / "whole", quiet=True))

    class KillError(Exception):
        pass

    calls = list[Path]()

    def kill(folder: Path, state: dict[str, object]) -> None:
        calls.append(folder)
        if len(calls) == 5:  # in the second iteration of the second task, its row written
            raise KillError
        save_state(folder, state)

    monkeypatch.setattr("vlabench_baselines.ire_vla.trainer.save_state", kill)
    with pytest.raises(KillError):
        train(recipe(tmp_path, start, quick), tmp_path / "killed", quiet=True)
    monkeypatch.undo()
    again = read_checkpoint(train(recipe(tmp_path, start, quick), tmp_path / "killed", quiet=True))
    assert all(
        torch.equal(one, other)
        for one, other in zip(
            weights(whole.folder).values(), weights(again.folder).values(), strict=True
        )
    )
    logs = [read_log(tmp_path / name / "log.csv") for name in ("whole", "killed")]
    assert [[r["iteration"], r["loss"]] for r in logs[0]] == [
        [r["iteration"], r["loss"]] for r in logs[1]
    ]


def test_only_successes_are_kept_and_come_back_as_chunks(start: Path, tmp_path: Path) -> None:
    train(recipe(tmp_path, start, {"supervise.steps": "1"}), tmp_path / "t", quiet=True)
    rows = [r for r in read_log(tmp_path / "t" / "log.csv") if r["stage"] == "reinforce"]
    successes = [float(row["exploring"]) * 30 for row in rows]
    files = sorted(path.stem for path in (tmp_path / "t" / "replay").glob("*.pt"))
    assert len(files) == sum(count > 0 for count in successes)
    replay = Replay(tmp_path / "t" / "replay")
    replay.load(files)
    batch, actions, weight = replay.draw(7, torch.Generator().manual_seed(0))
    model: NanoVLA = read_checkpoint(start).load_model()
    assert len(batch) == 7
    assert actions.shape == (7, model.config.chunk, model.config.action_size)
    assert weight.shape == (7, model.config.chunk)


def test_every_task_is_replayed_as_often_however_many_successes_it_has(
    start: Path, tmp_path: Path
) -> None:
    train(recipe(tmp_path, start, {"supervise.steps": "1"}), tmp_path / "t", quiet=True)
    file = next((tmp_path / "t" / "replay").glob("00-*.pt"))
    names = [*(f"00-{number}" for number in range(9)), "01-0"]
    replay = Replay(tmp_path / "made")
    for name in names:
        whole = torch.load(file, weights_only=True)
        whole["state"].fill_(name == "01-0")
        torch.save(whole, tmp_path / "made" / f"{name}.pt")
    replay.load(names)
    luck = torch.Generator().manual_seed(0)
    drawn = [float(replay.draw(1, luck)[0].state.mean()) for _ in range(400)]
    assert sum(drawn) / 400 == pytest.approx(0.5, abs=0.08)


def test_rounds_go_on_where_the_last_one_stopped_with_other_initial_states(
    start: Path, tmp_path: Path
) -> None:
    quick = {
        "rounds": "2",
        "reinforce.iterations": "1",
        "reinforce.warmup": "0",
        "supervise.steps": "5",
    }
    train(recipe(tmp_path, start, quick), tmp_path / "t", quiet=True)
    rows = read_log(tmp_path / "t" / "log.csv")
    assert [row["stage"] for row in rows] == ["start", *["reinforce", "supervise"] * 4]
    assert [row["task"] for row in rows[1::2]] == ["point-reach/left", "point-reach/right"] * 2
    tried = [(row["success_n"], row["success_expert_n"]) for row in rows if row["success"]]
    assert tried == [("20", "4"), ("20", ""), ("20", "4"), ("20", ""), ("20", "4")]
    first, second = (
        torch.load(tmp_path / "t" / "replay" / f"00-0{passed}-000.pt", weights_only=True)
        for passed in range(2)
    )
    assert not torch.equal(first["state"][:5], second["state"][:5])
    with pytest.raises(SettingError, match="rounds is 0; expected at least 1"):
        train(recipe(tmp_path, start, {"rounds": "0"}), tmp_path / "u", quiet=True)


def test_what_cannot_be_improved_is_refused_before_a_folder_is_touched(
    start: Path, tmp_path: Path
) -> None:
    from vlabench_baselines.nanovla.shipped import find_shipped

    tokens = find_shipped("sft", load_suite("point-reach"))
    with pytest.raises(
        CheckpointError, match=r"kind .tokens.; iRe-VLA improves those of kind .continuous"
    ):
        train(recipe(tmp_path, start, {"start": str(tokens)}), tmp_path / "t", quiet=True)
    with pytest.raises(SettingError, match="reinforce: warmup is 3 of iterations=3"):
        train(recipe(tmp_path, start, {"reinforce.warmup": "3"}), tmp_path / "t", quiet=True)
    with pytest.raises(SettingError, match="reinforce: std is 0"):
        train(recipe(tmp_path, start, {"reinforce.std": "0.0"}), tmp_path / "t", quiet=True)
    with pytest.raises(SettingError, match="method is 'sac', expected one of 'ire-vla'"):
        train(recipe(tmp_path, start, {"method": "sac"}), tmp_path / "t", quiet=True)
    assert not (tmp_path / "t").exists()
