"""The small VLA: its codes, its heads, its files, and that it is asked as the harness promises."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from vlabench import load_policy, load_suite
from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench.errors import SettingError
from vlabench.spaces import ActionSpec, Camera, Gripper, Rotation
from vlabench_baselines.nanovla.actions import ActionTokens, draw, unit, ununit
from vlabench_baselines.nanovla.backbone import add_lora, merge_lora
from vlabench_baselines.nanovla.checkpoint import (
    CONFIG,
    WEIGHTS,
    CheckpointError,
    Origin,
    read_checkpoint,
    save_checkpoint,
)
from vlabench_baselines.nanovla.config import NanoConfig, Scales
from vlabench_baselines.nanovla.heads import TokenHead, ValueHead
from vlabench_baselines.nanovla.language import Words, split, vocabulary
from vlabench_baselines.nanovla.model import NanoVLA
from vlabench_baselines.nanovla.perception import Batch, PictureEncoder, batch_of, things, two_axes
from vlabench_baselines.nanovla.search import propose

CAMERA = Camera(name="front", height=32, width=32)
SCALES = Scales(
    state_mean=(0.0, 0.0),
    state_std=(1.0, 2.0),
    place_mean=(0.0, 0.0, 1.0),
    place_std=(0.2, 0.2, 0.1),
    action_low=(-1.0, -0.5, -1.0),
    action_high=(1.0, 0.5, 1.0),
)
PRIVILEGED = NanoConfig(
    front="privileged",
    head="tokens",
    chunk=3,
    words=("black", "bowl", "plate", "the"),
    scales=SCALES,
    dim=32,
    depth=2,
    heads=2,
    head_dim=24,
    bins=16,
)
VISION = replace(PRIVILEGED, front="vision", cameras=(CAMERA,), pictures_dim=16, pictures_tokens=4)
CONFIGS = {
    "privileged-tokens": PRIVILEGED,
    "privileged-continuous": replace(PRIVILEGED, head="continuous"),
    "vision-tokens": VISION,
    "vision-continuous": replace(VISION, head="continuous"),
}
ORIGIN = Origin(
    family="point-reach",
    suite="point-reach@1",
    protocol="training@1",
    tasks=("point-reach/left",),
    state="position",
    action=ActionSpec(size=3, delta=True, rotation=Rotation.NONE, gripper=Gripper.NONE),
    data="0123456789abcdef",
    recipe="test 0",
    commit="",
    vlabench="0",
    steps=1,
    seed=0,
)


def model(config: NanoConfig, seed: int = 0) -> NanoVLA:
    torch.manual_seed(seed)
    return NanoVLA(config).eval().requires_grad_(False)


def observation(seed: int, names: tuple[str, ...] = ("bowl_1", "plate_1")) -> Observation:
    rng = np.random.default_rng(seed)
    poses: dict[str, NDArray[np.float64]] = {name: rng.normal(size=7) for name in names}
    return Observation(
        instruction="the black bowl",
        images={"front": rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)},
        state=rng.normal(size=2).astype(np.float32),
        privileged={**poses, "gripper": rng.normal(size=7), "drawer": rng.normal(size=1)},
    )


def decide(nano: NanoVLA, batch: Batch, luck: torch.Tensor, temperature: float) -> torch.Tensor:
    """A chunk for each moment, in one batch; policies ask for one moment at a time."""
    understood = nano(batch)
    if isinstance(nano.head, TokenHead):
        drawn = nano.head.sample(understood.tokens, understood.seen, luck, temperature)
        return nano.head.code.decode(drawn)
    chunks: torch.Tensor = nano.head(understood.tokens, understood.seen)
    return chunks


def logits_of(nano: NanoVLA, seen: Observation, chosen: torch.Tensor) -> torch.Tensor:
    understood = nano(batch_of([seen], nano.words, nano.config))
    assert isinstance(nano.head, TokenHead)
    return nano.head.logits(understood.tokens, understood.seen, chosen)


def test_numbers_become_tokens_and_back_within_half_a_bin() -> None:
    code = ActionTokens(torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 4.0]), 4)
    actions = torch.tensor([[-1.0, 0.0], [-0.5, 1.0], [0.49, 3.99], [9.0, -9.0]])
    assert code.encode(actions).tolist() == [[0, 0], [1, 1], [2, 3], [3, 0]]
    assert code.decode(torch.tensor([[0, 0], [3, 2]])).tolist() == [[-0.75, 0.5], [0.75, 2.5]]
    inside = torch.rand(100, 2) * torch.tensor([2.0, 4.0]) + code.low
    error = (code.decode(code.encode(inside)) - inside).abs().amax(0)
    assert (error <= torch.tensor([0.25, 0.5]) + 1e-6).all()


def test_units_undo_each_other() -> None:
    low, high = torch.tensor([-2.0]), torch.tensor([6.0])
    assert unit(torch.tensor([-2.0, 2.0, 6.0]), low, high).tolist() == [-1.0, 0.0, 1.0]
    assert ununit(unit(torch.tensor([1.5]), low, high), low, high).item() == 1.5


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    logits = torch.tensor([0.0, np.log(3.0), -30.0])
    luck = (torch.arange(1000) + 0.5) / 1000
    drawn = draw(logits.expand(1000, 3), luck, 1.0)
    assert torch.bincount(drawn, minlength=3).tolist() == [250, 750, 0]
    flat = draw(logits.expand(1000, 3), luck, 2.0)  # odds 1 : sqrt(3)
    assert torch.bincount(flat, minlength=3).tolist() == [366, 634, 0]
    assert draw(logits, torch.tensor(0.0), 0.0).item() == 1


def test_a_drawn_token_is_what_its_own_probabilities_and_luck_say() -> None:
    nano, seen = model(PRIVILEGED), observation(0)
    luck = torch.rand((1, 3, 3), generator=torch.Generator().manual_seed(1))
    understood = nano(batch_of([seen], nano.words, nano.config))
    assert isinstance(nano.head, TokenHead)
    drawn = nano.head.sample(understood.tokens, understood.seen, luck, 1.5)
    again = draw(logits_of(nano, seen, drawn), luck, 1.5)
    assert torch.equal(drawn, again), "sampling and scoring disagree on what comes before"
    scored = nano.head.log_probs(understood.tokens, understood.seen, drawn, 1.5)
    expected = (logits_of(nano, seen, drawn) / 1.5).log_softmax(-1)
    assert torch.allclose(scored, expected.gather(-1, drawn[..., None])[..., 0])


def test_tokens_are_read_off_at_the_median_and_given_those_before() -> None:
    luck = torch.rand((1, 3, 3), generator=torch.Generator().manual_seed(1))
    read = dict[str, torch.Tensor]()
    for readout in ("median", "likeliest"):
        nano, seen = model(replace(PRIVILEGED, readout=readout)), observation(0)
        assert isinstance(nano.head, TokenHead)
        understood = nano(batch_of([seen], nano.words, nano.config))
        read[readout] = nano.head.sample(understood.tokens, understood.seen, luck, 0.0)
    chances = logits_of(nano, seen, read["median"]).softmax(-1).cumsum(-1)
    reached = chances.gather(-1, read["median"][..., None])[..., 0]
    before = reached - chances.diff(prepend=torch.zeros(1, 3, 3, 1)).gather(
        -1, read["median"][..., None]
    )[..., 0]  # fmt: skip
    assert (reached > 0.5).all()
    assert (before <= 0.5).all()
    likeliest = logits_of(nano, seen, read["likeliest"]).argmax(-1)
    assert torch.equal(read["likeliest"], likeliest)
    assert not torch.equal(read["median"], read["likeliest"])


def test_the_median_is_the_middle_where_the_likeliest_jumps() -> None:
    """Two ways to label one thing: four even bins on the left, one on the right that is higher."""
    chances = torch.tensor([0.17, 0.17, 0.17, 0.17, 0.0, 0.0, 0.0, 0.32])
    assert draw(chances.log(), torch.tensor(0.0), 0.0).item() == 7
    assert draw(chances.log(), torch.tensor(0.5), 1.0).item() == 2


def test_a_checkpoint_older_than_the_choice_of_readout_is_read_off_as_it_was(
    tmp_path: Path,
) -> None:
    save_checkpoint(tmp_path, model(PRIVILEGED), ORIGIN)
    assert read_checkpoint(tmp_path).config.readout == "median"
    content = json.loads((tmp_path / CONFIG).read_text())
    content["model"].pop("readout")
    (tmp_path / CONFIG).write_text(json.dumps(content))
    old = read_checkpoint(tmp_path)
    assert old.config.readout == "likeliest"
    head = old.load_model().head
    assert isinstance(head, TokenHead)
    assert head.readout == "likeliest"


def test_the_readout_can_be_chosen_and_only_where_tokens_are_read_off(tmp_path: Path) -> None:
    suite, view = load_suite("point-reach"), observation(0)
    save_checkpoint(tmp_path, model(PRIVILEGED), replace(ORIGIN, family="point-reach"))
    acted, digests = dict[str, list[float]](), dict[str, str]()
    for readout in ("", "median", "likeliest"):
        chosen = {"readout": readout} if readout else {}
        policy = load_policy("sft", suite, settings={"checkpoint": str(tmp_path), **chosen})
        policy.reset(0, EpisodeSpec(task_id="a/b", init_index=0, scene_seed=0, policy_seed=0))
        acted[readout] = policy.act([0], [view]).actions.ravel().tolist()
        digests[readout] = policy.digest
    assert acted[""] == acted["median"] != acted["likeliest"]
    assert digests[""] == digests["median"] != digests["likeliest"]
    likeliest = model(replace(PRIVILEGED, readout="likeliest"))
    assert save_checkpoint(tmp_path / "b", likeliest, ORIGIN).digest == digests["likeliest"]
    wrong = {"checkpoint": str(tmp_path), "readout": "median", "temperature": "1"}
    with pytest.raises(SettingError, match=r"readout=median with temperature=1, at which .* drawn"):
        load_policy("sft", suite, settings=wrong)
    save_checkpoint(
        tmp_path, model(CONFIGS["privileged-continuous"]), replace(ORIGIN, family="point-reach")
    )  # fmt: skip
    with pytest.raises(SettingError, match="a continuous head, which has no tokens to read off"):
        load_policy("sft", suite, settings={"checkpoint": str(tmp_path), "readout": "median"})


def test_the_first_actions_are_the_same_when_the_rest_is_not_drawn() -> None:
    nano, seen = model(PRIVILEGED), observation(0)
    luck = torch.rand((1, 3, 3), generator=torch.Generator().manual_seed(1))
    batch = batch_of([seen], nano.words, nano.config)
    whole, first = (decide(nano, batch, part, 1.0) for part in (luck, luck[:, :2]))
    assert first.shape == (1, 2, 3)
    assert torch.equal(whole[:, :2], first)


def test_a_token_depends_on_those_before_it_and_on_no_later_one() -> None:
    nano, seen = model(PRIVILEGED), observation(0)
    plain = torch.zeros((1, 3, 3), dtype=torch.int64)
    base = logits_of(nano, seen, plain)
    for step, number in ((0, 0), (0, 2), (1, 1), (2, 2)):
        other = plain.clone()
        other[0, step, number] = 7
        changed = (logits_of(nano, seen, other) != base).any(-1)[0]
        later = torch.zeros((3, 3), dtype=torch.bool)
        later[step, number + 1 :] = True
        if step < 2:
            later[step + 1] = True
        assert torch.equal(changed, later)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_what_is_decided_does_not_depend_on_what_else_is_in_the_batch(config: NanoConfig) -> None:
    nano = model(config)
    views = [observation(0), observation(1, ("bowl_1", "plate_1", "the_rack", "a", "b"))]
    luck = torch.full((2, 3, 3), 0.5)
    together = decide(nano, batch_of(views, nano.words, config), luck, 0.0)
    for place, view in enumerate(views):
        alone = decide(nano, batch_of([view], nano.words, config), luck[:1], 0.0)
        assert alone.shape == (1, 3, 3)
        assert torch.allclose(alone[0], together[place], atol=1e-5)


def test_things_may_come_in_any_order() -> None:
    config = CONFIGS["privileged-continuous"]
    nano, seen = model(config), observation(0, ("bowl_1", "plate_1", "rack"))
    turned = replace(seen, privileged=dict(reversed(seen.privileged.items())))
    luck = torch.zeros((1, 3, 3))
    one, other = (
        decide(nano, batch_of([view], nano.words, config), luck, 0.0) for view in (seen, turned)
    )
    assert torch.allclose(one, other, atol=1e-6)


def test_every_input_matters() -> None:
    def changed(view: Observation, key: str) -> Observation:
        other: Mapping[str, NDArray[np.float64]] = observation(9).privileged
        return replace(view, privileged={**view.privileged, key: other[key]})

    config, seen = CONFIGS["privileged-continuous"], observation(0)
    nano, luck = model(config), torch.zeros((1, 3, 3))
    base = decide(nano, batch_of([seen], nano.words, config), luck, 0.0)
    for other in (
        replace(seen, instruction="the bowl"),
        replace(seen, state=seen.state + 1),
        changed(seen, "bowl_1"),
        changed(seen, "gripper"),
        changed(seen, "drawer"),
    ):
        assert not torch.equal(decide(nano, batch_of([other], nano.words, config), luck, 0), base)


COLOURS = torch.tensor(
    [[0, 255, 0], [0, 0, 255], [255, 255, 0], [90, 0, 0], [255, 0, 0]], dtype=torch.uint8
)


def scattered(luck: torch.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pictures of four spots and a red dot, `[B, 1, 64, 64, 3]`, and its place, `[B, 2]`."""
    places = torch.randint(2, 62, (count, len(COLOURS), 2), generator=luck)
    images = torch.full((count, 1, 64, 64, 3), 90, dtype=torch.uint8)
    for image, spots in zip(images[:, 0], places.tolist(), strict=True):
        for (row, column), colour, half in zip(spots, COLOURS, (2, 2, 2, 2, 1), strict=True):
            image[row - half : row + half, column - half : column + half] = colour
    return images, places[:, -1].float()


def test_an_encoder_of_pictures_says_where_a_small_thing_among_others_is() -> None:
    torch.manual_seed(0)
    camera = replace(CAMERA, height=64, width=64)
    encoder = PictureEncoder(replace(VISION, cameras=(camera,)))
    reader = nn.Linear(VISION.pictures_tokens * VISION.dim, 2)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *reader.parameters()], lr=1e-3)
    nothing, luck = batch_of([observation(0)], Words(()), PRIVILEGED), torch.Generator()

    def off(count: int) -> torch.Tensor:
        images, wanted = scattered(luck, count)
        tokens = encoder(replace(nothing, images=images), torch.zeros(count, VISION.dim))
        return reader(tokens.flatten(1)) * 16 + 32 - wanted

    for _ in range(150):
        optimizer.zero_grad()
        (off(64) / 16).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        assert float(off(300).square().mean().sqrt()) < 8, "17 pixels are what guessing is off"


def test_privileged_state_is_sorted_by_shape() -> None:
    privileged = {"a": np.ones(7), "hinge": np.ones(1), "qpos": np.ones(40), "gripper": np.zeros(7)}
    found = things(privileged)
    assert found.names == ("a", "hinge")
    assert found.is_joint.tolist() == [0, 1]
    assert found.joints.tolist() == [0, 1]
    assert found.poses.shape == (2, 7)


def test_two_axes_are_columns_of_the_rotation_matrix() -> None:
    from scipy.spatial.transform import Rotation as Turn

    turns = Turn.random(20, random_state=0)
    quat = torch.from_numpy(turns.as_quat()[:, [3, 0, 1, 2]])
    expected = turns.as_matrix()[:, :, :2].transpose(0, 2, 1).reshape(20, 6)
    assert np.allclose(two_axes(quat).numpy(), expected)


def test_names_and_sentences_share_words_and_unknown_ones_are_not_lost() -> None:
    assert split("Put the black_bowl_1 in (2)!") == ["put", "the", "black", "bowl", "1", "in", "2"]
    words = Words(vocabulary(["a black bowl", "bowl_1"]))
    assert words.sentence("black bowl")[1] == words.name("bowl_1")[0]
    unknown = words.name("zebra")[0]
    assert 0 < unknown < words.sentence("a")[0]
    assert words.size == 1 + 16 + 4


def test_numbers_of_words_are_kept_but_neither_changed_nor_without_end() -> None:
    words = Words(("bowl",))
    first = words.name("bowl_1")
    assert words.name("bowl_1") is first
    assert len(words.sentence("bowl_1")) != len(first), "a sentence is longer than a name"
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0
    for number in range(10_000):
        words.name(f"thing_{number}")
    assert len(words._known) <= 4096
    assert words.name("bowl_1").tolist() == first.tolist()


def test_lora_starts_as_nothing_learns_alone_and_folds_away() -> None:
    config = CONFIGS["privileged-continuous"]
    nano = model(config)
    batch, luck = batch_of([observation(0)], nano.words, config), torch.zeros((1, 3, 3))
    before = decide(nano, batch, luck, 0.0)
    keys = set(nano.state_dict())
    add_lora(nano.backbone, rank=4)
    assert torch.allclose(decide(nano, batch, luck, 0.0), before)
    learning = [n for n, p in nano.backbone.named_parameters() if p.requires_grad]
    assert learning
    assert all("lora_" in name for name in learning)
    with torch.no_grad():
        for name, parameter in nano.backbone.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    adapted = decide(nano, batch, luck, 0.0)
    assert not torch.allclose(adapted, before, atol=1e-3)
    merge_lora(nano.backbone)
    assert set(nano.state_dict()) == keys
    assert torch.allclose(decide(nano, batch, luck, 0.0), adapted, atol=1e-5)


def test_a_value_head_reads_the_same_tokens() -> None:
    nano, value = model(PRIVILEGED), ValueHead(PRIVILEGED)
    views = [observation(0), observation(1, ("bowl_1",))]
    understood = nano(batch_of(views, nano.words, PRIVILEGED))
    assert value(*understood).shape == (2,)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_checkpoint_is_read_as_it_was_written(config: NanoConfig, tmp_path: Path) -> None:
    nano = model(config)
    written = save_checkpoint(tmp_path / "c", nano, ORIGIN, {"loss": 0.5})
    found = read_checkpoint(tmp_path / "c")
    assert (found.config, found.origin, found.notes) == (config, ORIGIN, {"loss": 0.5})
    assert found.digest == written.digest
    loaded = found.load_model()
    pairs = zip(nano.parameters(), loaded.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    other = save_checkpoint(tmp_path / "d", model(config, seed=1), ORIGIN)
    assert other.digest != found.digest


CHANGES: dict[str, Callable[[Any], object]] = {
    "another format": lambda said: said.update(format="openvla"),
    "an unknown field": lambda said: said["model"].update(wings=2),
    "no fields": lambda said: said.update(model=[1]),
    "an unknown readout": lambda said: said["model"].update(readout="mean"),
    "another architecture": lambda said: said["model"].update(depth=3),
    "too large": lambda said: said["model"].update(chunk=10**9),
    "statistics that are no numbers": lambda said: said["model"]["scales"].update(
        place_std=[1.0, float("nan"), 1.0]
    ),
    "no action": lambda said: said["origin"].pop("action"),
}


def _spoil(folder: Path, how: str) -> None:
    config, weights = folder / CONFIG, folder / WEIGHTS
    if how == "no weights":
        weights.unlink()
    elif how == "weights that are no numbers":
        broken = model(PRIVILEGED)
        broken.kinds.data[1, 2] = float("inf")
        save_checkpoint(folder, broken, ORIGIN)
    elif how == "cut off":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif how == "not json":
        config.write_bytes(b"\x80\x04pickle")
    elif how == "nested without end":
        config.write_text("[" * 100_000)
    elif how == "a list":
        config.write_text("[1]")
    else:
        content = json.loads(config.read_text())
        CHANGES[how](content)
        config.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no weights", "has no file model.safetensors; expected a folder"),
        ("cut off", "the file is damaged or from another checkpoint"),
        ("not json", "is not JSON"),
        ("another format", "has format 'openvla', expected 'nanovla-1'"),
        ("a list", "has format None"),
        ("an unknown field", r"describes no NanoVLA: unknown fields \['wings'\]"),
        ("no fields", "describes no NanoVLA"),
        ("an unknown readout", "readout is 'mean'; expected median or likeliest"),
        ("too large", "chunk 1000000000, .* weights; expected at most"),
        ("nested without end", "is not JSON"),
        ("statistics that are no numbers", "scales: place_std is .*nan.*; expected finite numbers"),
        ("weights that are no numbers", "holds weights that are not finite, in kinds"),
        ("another architecture", "does not hold the weights that config.json describes"),
        ("no action", "describes no NanoVLA"),
    ],
)
def test_a_spoilt_checkpoint_is_one_clear_line(how: str, message: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, model(PRIVILEGED), ORIGIN)
    _spoil(tmp_path, how)
    with pytest.raises(CheckpointError, match=message) as found:
        read_checkpoint(tmp_path).load_model()
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("config", [PRIVILEGED, replace(PRIVILEGED, head="continuous")])
@pytest.mark.parametrize("samples", [1, 3])
def test_numbers_inside_a_model_that_are_not_finite_are_an_error_and_no_action(
    config: NanoConfig, samples: int
) -> None:
    """Weights may be finite and their products not: a token comes of any logits."""
    nano = model(config)
    for weight in nano.head.parameters():
        weight.data *= 1e30
    batch = batch_of([observation(0)], nano.words, config)
    luck = torch.rand((samples, config.chunk, config.action_size))
    with torch.inference_mode(), pytest.raises(ValueError, match=r"of the model are not finite"):
        propose(nano, batch, luck, 1.0)


def test_a_readout_for_a_config_without_fields_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, model(PRIVILEGED), ORIGIN)
    _spoil(tmp_path, "no fields")
    with pytest.raises(CheckpointError, match="describes no NanoVLA"):
        read_checkpoint(tmp_path, readout="median")


def test_a_folder_that_is_no_checkpoint_says_so(tmp_path: Path) -> None:
    suite = load_suite("point-reach")
    with pytest.raises(CheckpointError, match=r"is not a checkpoint: it has no file config\.json"):
        load_policy("sft", suite, settings={"checkpoint": str(tmp_path)})
    with pytest.raises(CheckpointError, match=r"nowhere does not exist; expected a folder with"):
        load_policy("sft", suite, settings={"checkpoint": str(tmp_path / "nowhere")})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": "-1"}, "temperature=-1, expected a number from 0 to 10"),
        ({"execute": "9"}, "execute=9, expected 1 to 4"),
        ({"execute": "0"}, "execute=0, expected 1 to 4"),
        ({"readout": "mean"}, "readout='mean', expected one of median, likeliest"),
        ({"front": "eyes"}, "front='eyes', expected one of auto, privileged, vision"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        load_policy("sft", load_suite("point-reach"), settings=settings)


def test_a_front_that_no_shipped_checkpoint_has_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint of 'sft' for suite 'point-reach'"):
        load_policy("sft", load_suite("point-reach"), settings={"front": "vision"})


def test_a_checkpoint_of_another_family_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, model(PRIVILEGED), replace(ORIGIN, family="libero"))
    with pytest.raises(CheckpointError, match="was trained for suites of 'libero'"):
        load_policy("sft", load_suite("point-reach"), settings={"checkpoint": str(tmp_path)})
