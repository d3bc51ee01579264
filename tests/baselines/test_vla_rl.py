"""VLA-RL on the smallest suite: it learns, every part can be left out, a kill changes nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from vlabench import load_policy, load_suite
from vlabench.errors import SettingError, VlabenchError
from vlabench.recipe import fill, read_recipe
from vlabench.registry import recipe_paths
from vlabench_baselines.common.learner import Learner
from vlabench_baselines.common.log import read_log
from vlabench_baselines.nanovla.checkpoint import read_checkpoint
from vlabench_baselines.nanovla.shipped import SHIPPED
from vlabench_baselines.sft.trainer import train as train_sft
from vlabench_baselines.vla_rl.recipe import VlaRlRecipe
from vlabench_baselines.vla_rl.trainer import train

RECIPE = recipe_paths()["vla-rl-point-reach"]
SMALL = {
    "explore.episodes": "60",
    "explore.workers": "1",
    "ppo.minibatch": "64",
    "rprm.runs": "20",
    "training.iterations": "8",
    "training.validate_every": "8",
}
QUICK = {
    **SMALL,
    "explore.episodes": "10",
    "rprm.runs": "5",
    "rprm.steps": "20",
    "training.iterations": "4",
    "training.warmup": "1",
    "training.validate_every": "2",
    "training.validate_episodes": "2",
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy whose demonstrations have hardly taught it anything yet."""
    changes = {"training.steps": "40", "training.warmup": "5", "training.rollout_every": "0"}
    out = tmp_path_factory.mktemp("sft")
    return train_sft(read_recipe(recipe_paths()["sft-point-reach"], changes), out, quiet=True)


def run(
    start: Path, out: Path, changes: dict[str, str], *, quiet: bool = True
) -> tuple[Path, list[dict[str, str]]]:
    folder = train(read_recipe(RECIPE, {"start": str(start), **changes}), out, quiet=quiet)
    return folder, read_log(out / "log.csv")


def test_it_learns_what_it_explores(start: Path, tmp_path: Path) -> None:
    folder, rows = run(start, tmp_path, SMALL)
    exploring = [float(row["exploring"]) for row in rows[1:]]
    assert sum(exploring[:3]) / 3 < 0.2, "while the critic warms up, and before"
    assert sum(exploring[-2:]) / 2 > 0.35
    assert float(rows[-1]["entropy"]) < float(rows[1]["entropy"])
    assert [float(row["kl"]) > 0.001 for row in rows[1:]] == [False] * 2 + [True] * 6
    checkpoint = read_checkpoint(folder)
    assert checkpoint.origin.started_from == read_checkpoint(start).digest
    assert list(checkpoint.judges) == ["rprm"]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    suite = load_suite("point-reach")
    settings = {"checkpoint": str(folder), "samples": "3", "temperature": "1", "verifier": "rprm"}
    assert load_policy("sft", suite, settings=settings).digest == checkpoint.digest


@pytest.mark.parametrize(
    "without",
    [
        {"rprm.scale": "0"},
        {"curriculum.kind": "uniform"},
        {"temperature": "1.0"},
        {"training.warmup": "0", "ppo.least_spread": "0"},
        {"ppo.learning_rate": "1e-2"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_row_of_the_papers_ablation_is_a_switch(
    without: dict[str, str], start: Path, tmp_path: Path
) -> None:
    folder, rows = run(start, tmp_path, {**QUICK, **without})
    assert len(rows) == 5
    if "rprm.scale" in without:
        assert not read_checkpoint(folder).judges
        assert {row["process_reward"] for row in rows[1:]} == {"0"}
    if "training.warmup" in without:
        assert float(rows[1]["kl"]) != 0


def test_a_reward_model_that_is_there_is_taken_as_it_is(start: Path, tmp_path: Path) -> None:
    folder, rows = run(start, tmp_path / "first", QUICK)
    taken = {**QUICK, "rprm.judge": str(folder), "rprm.demos.policy": ""}
    second, again = run(start, tmp_path / "second", taken)
    assert (folder / "rprm.safetensors").read_bytes() == (second / "rprm.safetensors").read_bytes()
    runs = int(QUICK["rprm.runs"])
    assert [int(a["episodes"]) - int(b["episodes"]) for a, b in zip(rows, again, strict=True)] == [
        runs
    ] * len(rows), "none were run to learn from"
    assert not (tmp_path / "second" / "demos").exists()


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ("vla-rl", "rprm.judge=vla-rl, expected a checkpoint's folder, or .* suite 'point-reach'"),
        ("sft", "carries no judge 'rprm'"),
        (
            str(SHIPPED / "vla-rl-libero-privileged"),
            "does not fit the policy: judge .rprm. and the policy have different words",
        ),
    ],
)
def test_a_reward_model_for_others_is_refused(
    judge: str, message: str, start: Path, tmp_path: Path
) -> None:
    with pytest.raises(VlabenchError, match=message):
        run(start, tmp_path / "t", {**QUICK, "rprm.judge": judge})
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("last", [1, 4])
def test_a_killed_training_goes_on_to_the_same_policy(
    last: int, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, expected = run(start, tmp_path / "whole", QUICK)

    class KillError(Exception):
        pass

    update, calls = Learner.update, list[int]()

    def kill(self: Learner, *arguments: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == last:
            raise KillError
        return update(self, *arguments, **more)

    monkeypatch.setattr(Learner, "update", kill)
    with pytest.raises(KillError):
        run(start, tmp_path / "killed", QUICK)
    monkeypatch.undo()
    again, rows = run(start, tmp_path / "killed", QUICK)
    keep = ("iteration", "episodes", "exploring", "kl")
    assert [[row[k] for k in keep] for row in rows] == [[row[k] for k in keep] for row in expected]
    weights = (read_checkpoint(folder).load_model().state_dict() for folder in (whole, again))
    assert all(torch.equal(*pair) for pair in zip(*(w.values() for w in weights), strict=True))


def test_the_best_by_the_validation_plan_is_kept_and_the_start_is_one_of_them(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ruinous = {**QUICK, "ppo.learning_rate": "1", "ppo.least_spread": "0", "training.warmup": "0"}
    folder, rows = run(start, tmp_path, ruinous, quiet=False)
    validated = {row["iteration"]: float(row["success"]) for row in rows if row["success"]}
    assert validated["4"] < validated["0"], "it collapsed, and its log says so"
    best = read_checkpoint(folder)
    assert best.notes["iteration"] == int(max(validated, key=lambda i: (validated[i], -int(i))))
    assert best.notes["validation"] == max(validated.values())
    assert best.notes["worst_fall"] > best.notes["fall_by_luck"]
    assert "points from its best so far (it collapsed: up to" in capsys.readouterr().err


def test_what_is_wrong_is_found_before_a_folder_is_touched(start: Path, tmp_path: Path) -> None:
    for changes, message in (
        ({"temperature": "0.0"}, "temperature is 0.0; expected a number above 0"),
        ({"training.iterations": "0"}, "training: iterations is 0; expected at least 1"),
        (
            {"training.iterations": "3", "training.warmup": "3"},
            "warmup is 3 of iterations=3, in which only the critic learns; expected less than 3",
        ),
        ({"training.warmup": "-1"}, "training: warmup is -1; expected at least 0"),
        ({"rprm.demos.policy": ""}, "no demonstrations are named"),
        ({"curriculum.kind": "hard"}, "curriculum: kind is 'hard', expected one of 'literal'"),
    ):
        with pytest.raises(SettingError, match=message):
            run(start, tmp_path / "t", changes)
        assert not (tmp_path / "t").exists()


def flat(values: Mapping[str, Any], under: str = "") -> dict[str, Any]:
    """Return nested tables as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{under}{key}.")
        else:
            found[under + key] = value
    return found


def test_the_rows_of_the_papers_ablation_differ_from_the_first_in_one_thing() -> None:
    paths = {n: p for n, p in recipe_paths().items() if n.startswith("vla-rl-spatial")}
    whole = flat(read_recipe(paths["vla-rl-spatial"]).values)
    found = {}
    for name, path in paths.items():
        other = flat(read_recipe(path).values)
        fill(VlaRlRecipe, read_recipe(path).values, name)
        found[name.removeprefix("vla-rl-spatial")] = {
            key: (whole.get(key), other.get(key))
            for key in whole.keys() | other.keys()
            if whole.get(key) != other.get(key)
        }
    assert found == {
        "": {},
        "-no-rprm": {"rprm.scale": (0.005, 0.0)},
        "-no-curriculum": {"curriculum.kind": ("target", "uniform")},
        "-t1": {"temperature": (1.5, 1.0)},
        "-no-warmup": {"training.warmup": (3, 0)},
        "-lr10": {"ppo.learning_rate": (2e-5, 2e-4)},  # the paper's own
    }
