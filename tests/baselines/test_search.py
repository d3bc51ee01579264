"""Best of N: draws that are nested, verifiers by hand, what it costs, and judges in checkpoints."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra: pip install 'vlabench-harness[torch]'")

import torch
from torch.utils.flop_counter import FlopCounterMode

from vlabench import SerialRunner, load_policy, load_suite, prepare
from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench.errors import SettingError
from vlabench.policy import Decision
from vlabench.spaces import ActionSpec, Gripper, Rotation
from vlabench.testing import check_policy
from vlabench_baselines.nanovla.actions import unit
from vlabench_baselines.nanovla.checkpoint import (
    CONFIG,
    CheckpointError,
    read_checkpoint,
    save_checkpoint,
)
from vlabench_baselines.nanovla.config import NanoConfig, Readout, Scales
from vlabench_baselines.nanovla.heads import TokenHead
from vlabench_baselines.nanovla.model import Judge, NanoVLA
from vlabench_baselines.nanovla.perception import Batch, batch_of
from vlabench_baselines.nanovla.policy import NanoPolicy
from vlabench_baselines.nanovla.search import (
    GREEDY,
    Search,
    blocks,
    choose,
    luck_of,
    medoid,
    propose,
)
from vlabench_baselines.nanovla.shipped import SHIPPED, policy_maker

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
LIBERO = "sft-libero-privileged"
POINT = SHIPPED / "sft-point-reach-privileged"
EPISODE = EpisodeSpec(task_id="a/b", init_index=0, scene_seed=0, policy_seed=2827266407)


SCALES = Scales(
    state_mean=(0.0, 0.0),
    state_std=(1.0, 1.0),
    place_mean=(0.0, 0.0, 1.0),
    place_std=(0.2, 0.2, 0.1),
    action_low=(-1.0, -0.5),
    action_high=(1.0, 0.5),
)
CONFIG_OF_MODEL = NanoConfig(
    head="tokens", chunk=4, words=("black", "bowl"), scales=SCALES, dim=32, depth=1, head_dim=24
)


def a_model() -> NanoVLA:
    """Untrained, so that its draws are of all kinds."""
    torch.manual_seed(0)
    return NanoVLA(CONFIG_OF_MODEL).eval().requires_grad_(False)


def a_touchy_model() -> NanoVLA:
    """Two large terms that cancel: in what order sums are taken shows in the tokens."""
    model = a_model()
    assert isinstance(model.head, TokenHead)
    inner, far = model.head.hidden[1], CONFIG_OF_MODEL.head_dim // 2
    for part in ("weight", "bias"):
        rows = inner.get_parameter(part)
        rows[far] = rows[0]
    model.head.out.weight[:, 0] += 1e6
    model.head.out.weight[:, far] -= 1e6
    return model


def a_judge(config: NanoConfig = CONFIG_OF_MODEL, chunk: int = 2, seed: int = 0) -> Judge:
    torch.manual_seed(seed)
    judge = Judge(replace(config, chunk=chunk, dim=16, depth=1, head_dim=16))
    return judge.eval().requires_grad_(False)


def a_view(config: NanoConfig, seed: int = 0, things: int = 5) -> Observation:
    rng = np.random.default_rng(seed)
    names = [*(f"black_bowl_{place}" for place in range(things)), "gripper"]
    return Observation(
        instruction="pick up the black bowl",
        images={},
        state=rng.normal(size=config.state_size).astype(np.float32),
        privileged={name: rng.normal(size=7) for name in names},
    )


def a_batch(model: NanoVLA, seed: int = 0) -> Batch:
    return batch_of([a_view(model.config, seed)], model.words, model.config)


def luck_for(model: NanoVLA, samples: int, decisions: int = 1) -> list[torch.Tensor]:
    luck, shape = luck_of(7, samples), (model.config.chunk, model.config.action_size)
    return [
        torch.from_numpy(np.stack([each.random(shape, dtype=np.float32) for each in luck]))
        for _ in range(decisions)
    ]


def a_policy(search: Search, execute: int | None = None) -> NanoPolicy:
    action = ActionSpec(size=2, delta=True, rotation=Rotation.NONE, gripper=Gripper.NONE)
    origin = replace(read_checkpoint(POINT).origin, action=action)
    policy = NanoPolicy("test", a_model(), origin, search=search, execute=execute)
    policy.reset(0, EPISODE)
    return policy


def decided(search: Search, execute: int | None = None) -> Decision:
    return a_policy(search, execute).act([0], [a_view(CONFIG_OF_MODEL)])


def flops_of(search: Search) -> float:
    flops = decided(search).flops
    assert flops is not None
    return flops


@pytest.mark.parametrize(
    "make",
    [a_model, a_touchy_model, lambda: read_checkpoint(SHIPPED / LIBERO).load_model()],
    ids=["untrained", "touchy", LIBERO],
)
def test_the_first_draws_of_a_search_are_those_of_a_smaller_one(
    make: Callable[[], NanoVLA],
) -> None:
    model = make()
    for seed, luck in enumerate(luck_for(model, 32, decisions=3)):
        batch = a_batch(model, seed)
        chunks = propose(model, batch, luck, 1.0)
        assert len({str(chunk.tolist()) for chunk in chunks}) > 8, "else this shows nothing"
        for samples in (1, 2, 3, 4, 8, 13):
            fewer = luck_for(model, samples, decisions=3)[seed]
            assert torch.equal(propose(model, batch, fewer, 1.0), chunks[:samples])


def test_a_sample_has_the_same_company_whatever_their_number() -> None:
    assert list(blocks(1)) == [(0, 1)]
    assert list(blocks(2)) == [(0, 1), (1, 2)]
    assert list(blocks(5)) == [(0, 1), (1, 2), (2, 4), (4, 8)]
    longest = list(blocks(1024))
    assert longest[-1] == (512, 1024)
    for samples in range(1, 200):
        assert list(blocks(samples)) == longest[: len(list(blocks(samples)))]


def test_the_first_sample_has_the_luck_of_the_seed_alone() -> None:
    first, second = luck_of(EPISODE.policy_seed, 2)
    assert first.random() == np.random.default_rng(EPISODE.policy_seed).random()
    assert second.random() == np.random.default_rng([EPISODE.policy_seed, 1]).random()


def test_one_sample_is_what_its_luck_draws_decision_after_decision() -> None:
    model, policy = a_model(), a_policy(Search(temperature=1.0))
    luck = np.random.default_rng(EPISODE.policy_seed)
    assert isinstance(model.head, TokenHead)
    for seed in range(3):
        uniforms = torch.from_numpy(luck.random((1, 4, 2), dtype=np.float32))
        understood = model(a_batch(model, seed))
        drawn = model.head.sample(understood.tokens, understood.seen, uniforms, 1.0)
        actions = policy.act([0], [a_view(model.config, seed)]).actions
        assert np.array_equal(actions, model.head.code.decode(drawn).numpy())


def test_the_consensus_is_nearest_to_all_others_and_the_first_of_such() -> None:
    # Sums of distances of 0, 1, 2, 10: 13, 11, 11, 27.
    assert medoid(torch.tensor([0.0, 1.0, 2.0, 10.0]).view(4, 1, 1)) == 1
    assert medoid(torch.tensor([10.0, 2.0, 1.0, 0.0]).view(4, 1, 1)) == 1
    assert medoid(torch.tensor([3.0, 9.0]).view(2, 1, 1)) == 0
    # L1 over both actions: |1|+|1|, |1|+|3|, |2|+|4| apart; sums 6, 8, 10 less what they share.
    chunks = torch.tensor([[0.0, 0.0], [1.0, 1.0], [-1.0, -3.0]]).view(3, 2, 1)
    assert medoid(chunks[[2, 1, 0]]) == 2


def test_votes_weigh_as_much_as_they_are_told_to() -> None:
    # Weighted sums of distances of 0, 1, 2, 10: with 1, 0, 0, 1 all between are level at 10, the
    # first included; with 0, 0, 1, 3 they are 32, 28, 24, 8.
    places = torch.tensor([0.0, 1.0, 2.0, 10.0]).view(4, 1, 1)
    assert medoid(places, torch.ones(4).double()) == medoid(places) == 1
    assert medoid(places, torch.tensor([1.0, 0.0, 0.0, 1.0]).double()) == 0
    assert medoid(places, torch.tensor([0.0, 0.0, 1.0, 3.0]).double()) == 3


def test_distances_are_in_units_of_the_data() -> None:
    # As they are, the second chunk has the least sum, 1.1 of 1.2, 1.1, 1.3; where the second number
    # has half the range of the first, the first chunk has, 1.6 of 1.6, 1.7, 1.9.
    chunks = torch.tensor([[[0.3, 0.0]], [[0.0, 0.2]], [[-0.2, -0.2]]])
    model = a_model()
    assert medoid(chunks) == 1
    assert choose(model, a_batch(model), chunks, None) == 0


def test_a_judge_takes_what_it_scores_highest_of_the_actions_that_it_looks_at() -> None:
    model, judge = a_model(), a_judge()
    batch = a_batch(model)
    chunks = propose(model, batch, luck_for(model, 8)[0], 2.0)
    one_by_one = [float(judge(batch, chunk[None, None, :2])) for chunk in chunks]
    best = int(np.argmax(one_by_one))
    assert best != choose(model, batch, chunks, None), "else this shows nothing"
    assert choose(model, batch, chunks, judge) == best
    assert choose(model, batch, chunks.flip(0), judge) == 7 - best


def test_a_vote_counts_every_chunk_as_much_as_the_judge_believes_in_it() -> None:
    model, judge = a_model(), a_judge()
    judge.head.body[-1].get_parameter("weight").mul_(30.0)
    others = 0
    for seed, luck in enumerate(luck_for(model, 8, decisions=6)):
        batch = a_batch(model, seed)
        chunks = propose(model, batch, luck, 2.0)
        scores = judge(batch, chunks[None, :, :2])[0].double()
        by_hand = medoid(unit(chunks, model.head.low, model.head.high), scores.sigmoid())
        assert choose(model, batch, chunks, judge, vote=True) == by_hand
        others += by_hand not in (choose(model, batch, chunks, j) for j in (judge, None))
    assert others, "else this shows nothing"


def test_a_vote_of_a_judge_that_sees_no_difference_is_the_consensus() -> None:
    model, judge = a_model(), a_judge()
    judge.head.body[-1].get_parameter("weight").zero_()
    found = set[int]()
    for seed, luck in enumerate(luck_for(model, 8, decisions=6)):
        batch = a_batch(model, seed)
        chunks = propose(model, batch, luck, 2.0)
        consensus = choose(model, batch, chunks, None)
        assert choose(model, batch, chunks, judge, vote=True) == consensus
        found.add(consensus)
    assert len(found) > 2, "else this shows nothing"


def test_a_judge_that_sees_no_difference_takes_the_first() -> None:
    model, judge = a_model(), a_judge()
    batch = a_batch(model)
    judge.head.body[-1].get_parameter("weight").zero_()
    chunks = propose(model, batch, luck_for(model, 8)[0], 2.0)
    assert choose(model, batch, chunks, judge) == 0


def test_a_judge_that_has_gone_wrong_is_an_error_and_not_an_opinion() -> None:
    model, judge = a_model(), a_judge()
    batch = a_batch(model)
    judge.head.body[-1].get_parameter("bias").fill_(float("nan"))
    chunks = propose(model, batch, luck_for(model, 2)[0], 1.0)
    with pytest.raises(ValueError, match=r"scores that are not finite: \[nan, nan\]"):
        choose(model, batch, chunks, judge)
    assert choose(model, batch, chunks[:1], judge) == 0, "one chunk alone is not judged"


def test_the_policy_executes_what_the_verifier_chose() -> None:
    model, judge = a_model(), a_judge()
    batch = a_batch(model)
    luck = luck_of(EPISODE.policy_seed, 8)
    lucky = np.stack([each.random((4, 2), dtype=np.float32) for each in luck])
    chunks = propose(model, batch, torch.from_numpy(lucky), 1.5)
    for verifier, vote in ((None, False), (judge, False), (judge, True)):
        wanted = chunks[choose(model, batch, chunks, verifier, vote=vote)].numpy()
        found = decided(Search(samples=8, temperature=1.5, judge=verifier, vote=vote))
        assert np.array_equal(found.actions[0], wanted)
        assert found.num_samples == 8


def test_a_judge_may_look_further_ahead_than_is_executed() -> None:
    judge = a_judge(chunk=3)
    search = Search(samples=4, temperature=1.0, judge=judge)
    long, short = decided(search, execute=3), decided(search, execute=1)
    assert short.actions.shape[1] == 1
    assert np.array_equal(long.actions[:, :1], short.actions)


def test_a_decision_costs_the_backbone_once_and_every_sample() -> None:
    model = a_model()
    with FlopCounterMode(display=False) as counter:
        model(a_batch(model))
    backbone = float(counter.get_total_flops())
    costs = {n: flops_of(Search(samples=n, temperature=1.0)) for n in (1, 2, 3, 4, 8)}
    sample = costs[1] - backbone
    assert sample > 0
    assert {n: (cost - backbone) / sample for n, cost in costs.items()} == {
        1: 1,
        2: 2,
        3: 4,  # a batch is computed whole
        4: 4,
        8: 8,
    }
    assert flops_of(GREEDY) == costs[1]


def test_a_judge_has_its_price_and_one_sample_is_not_judged() -> None:
    judge = a_judge()
    alone = Search(temperature=1.0)
    assert flops_of(replace(alone, judge=judge)) == flops_of(alone)
    several = replace(alone, samples=4)
    judged = replace(several, judge=judge)
    assert flops_of(judged) > flops_of(several)
    assert decided(judged).num_samples == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": "0", "temperature": "1"}, "samples=0, expected 1 to 1024"),
        ({"samples": "1025", "temperature": "1"}, "samples=1025, expected 1 to 1024"),
        ({"samples": "8"}, "samples=8 with temperature=0 is 8 times the same chunk; expected a"),
        ({"samples": "many"}, "samples='many', expected int"),
        ({"verifier": "oracle"}, "verifier='oracle', expected one of consensus, critic, rprm"),
        ({"pick": "vote"}, "pick=vote with verifier=consensus, which is a vote of equals; leave"),
        ({"verifier": "rprm", "pick": "worst"}, "pick='worst', expected one of best, vote"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        load_policy("sft", load_suite("point-reach"), settings=settings)


def test_a_judge_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    suite = load_suite("point-reach")
    with pytest.raises(CheckpointError, match=r"carries no judge 'rprm'; it carries: none\. Take"):
        load_policy("sft", suite, settings={"verifier": "rprm"})
    folder = _with_judges(tmp_path, "rprm")
    with pytest.raises(CheckpointError, match=r"no judge 'critic'; it carries: rprm\. Take"):
        load_policy("sft", suite, settings={"checkpoint": str(folder), "verifier": "critic"})


def test_a_continuous_head_has_no_samples(tmp_path: Path) -> None:
    found = read_checkpoint(POINT)
    model = NanoVLA(replace(found.config, head="continuous")).eval()
    save_checkpoint(tmp_path, model, found.origin)
    settings = {"checkpoint": str(tmp_path), "samples": "8", "temperature": "1"}
    with pytest.raises(SettingError, match=r"samples=8, expected 1: .* has a continuous head"):
        load_policy("sft", load_suite("point-reach"), settings=settings)


@pytest.mark.parametrize(
    "how", [{}, {"verifier": "rprm"}, {"verifier": "rprm", "pick": "vote"}], ids=str
)
def test_a_searching_policy_keeps_the_contract(how: dict[str, str], tmp_path: Path) -> None:
    suite, folder = load_suite("point-reach"), _with_judges(tmp_path, "rprm")
    settings = {"samples": "5", "temperature": "1", **how}
    policy = load_policy("sft", suite, settings={**settings, "checkpoint": str(folder)})
    check_policy(policy, suite)


def test_a_judge_picks_the_best_unless_it_is_told_to_vote(tmp_path: Path) -> None:
    folder = str(_with_judges(tmp_path, "rprm"))
    searched = {"samples": "8", "temperature": "4", "checkpoint": folder}
    ways = {"best": {"pick": "best"}, "vote": {"pick": "vote"}, "unsaid": {}}
    traces = {}
    for way, pick in ways.items():
        settings = {**searched, "verifier": "rprm", **pick}
        found = prepare("point-reach", "sft", request={"episodes": 1}, settings=settings)
        records = SerialRunner().run(found.stage, found.policy, found.plan.episodes)
        traces[way] = [record.trace for record in records]
    assert traces["unsaid"] == traces["best"]
    assert all(a != b for a, b in zip(traces["vote"], traces["best"], strict=True))


def test_records_count_every_sample() -> None:
    settings = {"samples": "4", "temperature": "1"}
    searching = prepare("point-reach", "sft", request={"episodes": 2}, settings=settings)
    plain = prepare("point-reach", "sft", request={"episodes": 2})
    for evaluation, samples in ((searching, 4), (plain, 1)):
        stage, policy, plan = evaluation.stage, evaluation.policy, evaluation.plan
        for record in SerialRunner().run(stage, policy, plan.episodes):
            assert record.decisions > 0
            assert record.samples == samples * record.decisions


def test_a_further_method_is_one_line_in_the_table(tmp_path: Path) -> None:
    make = policy_maker("other", "Make another policy.")
    suite = load_suite("point-reach")
    policy = make(suite, suite.protocol(), checkpoint=_with_judges(tmp_path, "rprm"))
    assert policy.id == "other"
    assert make.__doc__ == "Make another policy."


def _with_judges(folder: Path, *names: str) -> Path:
    """Write point-reach's checkpoint again, with judges."""
    found = read_checkpoint(POINT)
    judges = {name: a_judge(found.config, seed=seed) for seed, name in enumerate(names)}
    save_checkpoint(folder, found.load_model(), found.origin, judges=judges)
    return folder


def test_judges_are_read_as_they_were_written(tmp_path: Path) -> None:
    plain = read_checkpoint(POINT)
    found = read_checkpoint(_with_judges(tmp_path, "rprm", "critic"))
    assert list(found.judges) == ["rprm", "critic"]
    for seed, name in enumerate(found.judges):
        written, loaded = a_judge(found.config, seed=seed), found.load_judge(name)
        assert loaded.config == written.config
        pairs = zip(written.parameters(), loaded.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        assert not loaded.training
    assert found.digest != plain.digest
    other = read_checkpoint(_with_judges(tmp_path / "other", "critic", "rprm"))
    assert other.digest != found.digest, "other weights under the same names"


def test_digests_stay_what_committed_runs_name(tmp_path: Path) -> None:
    shipped = [path for path in SHIPPED.iterdir() if path.is_dir()]
    readouts: tuple[Readout | None, ...] = (None, "likeliest")
    digests = {read_checkpoint(one, readout=how).digest for one in shipped for how in readouts}
    named = set[str]()
    for run in RESULTS.rglob("*.jsonl"):
        with run.open() as lines:
            header = json.loads(next(lines))
        if header["policy_id"] in ("sft", "vla-rl") and "checkpoint" not in header["settings"]:
            named.add(header["policy_digest"])
    assert len(named) > 4
    assert named <= digests
    found, again = read_checkpoint(POINT), tmp_path / "again"
    saved = save_checkpoint(again, found.load_model(), found.origin, found.notes)
    assert saved.digest == found.digest
    assert "judges" not in json.loads((again / CONFIG).read_text())


def test_judges_of_a_checkpoint_that_is_replaced_are_gone(tmp_path: Path) -> None:
    _with_judges(tmp_path, "rprm", "critic")
    (tmp_path / "mine.safetensors").write_bytes(b"")
    _with_judges(tmp_path, "critic")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {CONFIG, "model.safetensors", "critic.safetensors", "mine.safetensors"}


def _edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        content = json.loads((folder / CONFIG).read_text())
        change(content)
        (folder / CONFIG).write_text(json.dumps(content))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "rprm.safetensors").unlink(), "has no file rprm.safetensors"),
        (
            lambda folder: (folder / "rprm.safetensors").write_bytes(b"other"),
            r"rprm\.safetensors has SHA-256 .*: the file is damaged or from another checkpoint",
        ),
        (_edit(lambda c: c.update(judges=[1])), "describes no NanoVLA"),
        (_edit(lambda c: c.update(judges={"rprm": {}})), "describes no NanoVLA: 'model'"),
        (
            _edit(lambda c: c["judges"].update({"../rprm": c["judges"]["rprm"]})),
            r"judge '\.\./rprm'; expected lower-case letters and digits",
        ),
        (
            _edit(lambda c: c["judges"]["rprm"]["model"].update(words=["zebra"])),
            "judge 'rprm' and the policy have different words",
        ),
        (
            _edit(lambda c: c["judges"]["rprm"]["model"].update(chunk=99)),
            "judge 'rprm' wants 99 actions of 4",
        ),
        (
            _edit(lambda c: c["judges"]["rprm"]["model"].update(depth=2)),
            r"rprm\.safetensors does not hold the weights that config\.json describes",
        ),
    ],
    ids=["missing", "damaged", "a list", "empty", "a path", "other words", "long", "another shape"],
)
def test_a_spoilt_judge_is_one_clear_line(
    spoil: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    spoil(_with_judges(tmp_path, "rprm"))
    with pytest.raises(CheckpointError, match=message) as found:
        read_checkpoint(tmp_path).load_judge("rprm")
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", ["model", "../rprm", "Rprm", ""])
def test_a_judge_needs_a_name_that_is_a_plain_file(name: str, tmp_path: Path) -> None:
    origin = read_checkpoint(POINT).origin
    with pytest.raises(ValueError, match="expected lower-case letters and digits, not 'model'"):
        save_checkpoint(tmp_path, a_model(), origin, judges={name: a_judge()})
    assert list(tmp_path.iterdir()) == []
