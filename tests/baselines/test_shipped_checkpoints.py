"""What comes along is small, sound, and what its page says of it."""

import re
from importlib import util
from pathlib import Path

import pytest

from vlabench import load_policy, load_suite, prepare, read_run, success_rate
from vlabench.errors import MissingExtraError
from vlabench.evaluation import prepare_again
from vlabench.recipe import read_recipe
from vlabench.registry import policy_ids, recipe_paths
from vlabench_baselines.nanovla.checkpoint import WEIGHTS, read_checkpoint
from vlabench_baselines.nanovla.shipped import SHIPPED

pytest.importorskip("torch", reason="needs the extra: pip install 'vlabench-harness[torch]'")

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.name for path in SHIPPED.iterdir() if path.is_dir())
PAGE = (ROOT / "baselines" / "README.md").read_text()
MEASURED = re.findall(
    r"\| ([\d.]+) % \[([\d.]+), ([\d.]+)\] \| (\d+) \| \[?`?(results/\S+?\.jsonl)", PAGE
)


def _method(name: str) -> str:
    """Return the policy whose checkpoint it is: `vla-rl` of `vla-rl-libero-privileged`."""
    found = read_checkpoint(SHIPPED / name)
    rest = f"-{found.origin.family}-{found.config.front}"
    assert name.endswith(rest)
    return name.removesuffix(rest)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_is_small_sound_and_named_after_what_it_is(name: str) -> None:
    assert _method(name) in policy_ids()
    from vlabench_baselines.nanovla.model import num_parameters

    found = read_checkpoint(SHIPPED / name)
    assert num_parameters(found.load_model()) <= 5_000_000
    assert (SHIPPED / name / WEIGHTS).stat().st_size < 10_000_000
    assert found.origin.protocol.startswith("training@")
    assert found.origin.commit
    assert not found.origin.commit.endswith("+"), "trained by code that is not committed"
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_was_trained_by_the_recipe_that_comes_along(name: str) -> None:
    recipe, _, digest = read_checkpoint(SHIPPED / name).origin.recipe.partition(" ")
    assert read_recipe(recipe_paths()[recipe]).digest == digest


@pytest.mark.parametrize("name", NAMES)
def test_the_policy_takes_the_checkpoint_that_fits_the_suite(name: str) -> None:
    found = read_checkpoint(SHIPPED / name)
    suite, front = load_suite(found.origin.family), found.config.front
    policy = load_policy(_method(name), suite, settings={"front": front})
    assert policy.id == _method(name)
    assert policy.digest == found.digest


def test_without_torch_the_policy_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "vlabench_baselines.nanovla.shipped.find_spec",
        lambda name: None if name == "torch" else util.find_spec(name),
    )
    with pytest.raises(MissingExtraError, match=r"policy 'sft' needs .*vlabench-harness\[torch\]"):
        prepare("point-reach", "sft")


def test_every_rate_on_the_page_is_that_of_its_run() -> None:
    assert MEASURED
    for value, low, high, n, path in MEASURED:
        estimate = success_rate(read_run(ROOT / path).episodes)
        shown = [f"{100 * x:.1f}" for x in (estimate.value, estimate.low, estimate.high)]
        assert [value, low, high] == shown, path
        assert int(n) == estimate.n, path


@pytest.mark.sim
def test_committed_runs_are_of_the_policies_that_come_along() -> None:
    methods = {_method(name) for name in NAMES}
    found = [path for one in methods for path in (ROOT / "results").rglob(f"{one}/*.jsonl")]
    assert found
    for path in found:
        header = read_run(path).header
        assert prepare_again(header).header.policy_digest == header.policy_digest, path


@pytest.mark.parametrize(
    ("folder", "start", "steps"),
    [
        ("vla-rl-longer", "vla-rl-libero-privileged", 40),
        ("vla-rl-70/seed-0", "sft-libero-privileged", 70),
    ],
)
def test_the_checkpoint_beside_a_run_is_the_one_that_ran(
    folder: str, start: str, steps: int
) -> None:
    beside = ROOT / "results" / folder
    kept = read_checkpoint(beside / "checkpoint")
    assert read_run(beside / "e20.jsonl").header.policy_digest == kept.digest
    assert kept.origin.started_from == read_checkpoint(SHIPPED / start).digest
    assert kept.origin.steps == len((beside / "log.csv").read_text().splitlines()) - 2 == steps
