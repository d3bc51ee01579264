"""Demonstrations as tensors: every moment of every demonstration, and the chunk that followed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vlabench.demos import Demo
from vlabench.errors import VlabenchError
from vlabench.spaces import Camera
from vlabench_baselines.nanovla.config import NanoConfig, Scales
from vlabench_baselines.nanovla.language import Words, vocabulary
from vlabench_baselines.nanovla.perception import Batch, Things, name_numbers, pad, things

_LEAST_STD, _LEAST_RANGE = 1e-3, 1e-2
"""A number that hardly varies is left as it is instead of being blown up."""


class DataError(VlabenchError):
    """Demonstrations that cannot be trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """All `T` moments of `D` demonstrations.

    Attributes:
        sentences: Word numbers of each demonstration's instruction, `[D, words]`.
        names: Word numbers of the names of its things, `[D, K, words]`.
        is_joint: Which of them are joints, `[D, K]`.
        demo: Which demonstration a moment belongs to, `[T]`.
        last: The last moment of its demonstration, `[T]`.
        state: `[T, S]`.
        poses: `[T, K, 7]`.
        joints: `[T, K]`.
        gripper: `[T, 7]`.
        images: `[T, cameras, height, width, 3]` uint8.
        actions: The labels, `[T, A]`.
        chunk: Actions of a decision.
    """

    sentences: Tensor
    names: Tensor
    is_joint: Tensor
    demo: Tensor
    last: Tensor
    state: Tensor
    poses: Tensor
    joints: Tensor
    gripper: Tensor
    images: Tensor
    actions: Tensor
    chunk: int

    def __len__(self) -> int:
        return len(self.demo)

    def pick(self, places: Tensor) -> tuple[Batch, Tensor, Tensor]:
        """Return moments, what was to be done, `[B, H, A]`, and its weight, `[B, H]`.

        What lies behind a demonstration's end has weight 0.
        """
        demo = self.demo[places]
        sentences, sentence = torch.unique(self.sentences[demo], dim=0, return_inverse=True)
        batch = Batch(
            sentences=sentences,
            sentence=sentence,
            state=self.state[places],
            names=self.names[demo],
            poses=self.poses[places],
            joints=self.joints[places],
            is_joint=self.is_joint[demo],
            gripper=self.gripper[places],
            images=self.images[places],
        )
        steps = places[:, None] + torch.arange(self.chunk)
        last = self.last[places][:, None]
        return batch, self.actions[torch.minimum(steps, last)], (steps <= last).float()


def moments(
    demos: Sequence[Demo], config: NanoConfig, pictured: Iterable[Demo] | None = None
) -> Moments:
    """Put demonstrations together for a model of this kind.

    Args:
        demos: Which.
        config: Of the model.
        pictured: The same ones with their pictures, if `demos` come without. Those are gigabytes,
            which are in memory once, and not twice, if they are read one after the other.

    Raises:
        DataError: If there are none, or they lack what the model looks at.
    """
    if not demos:
        raise DataError("there are no demonstrations to train on")
    words = Words(config.words)
    scenes = [
        _scene(demo) if demo.privileged or config.front == "privileged" else _blind(demo)
        for demo in demos
    ]
    most = max(len(scene.names) for scene in scenes)
    lengths = np.array([len(demo) for demo in demos])
    ends = np.cumsum(lengths)
    return Moments(
        sentences=torch.from_numpy(np.stack([words.sentence(d.instruction) for d in demos])),
        names=torch.from_numpy(np.stack([name_numbers(s.names, words, most) for s in scenes])),
        is_joint=torch.from_numpy(np.stack([pad(s.is_joint, most) for s in scenes])),
        demo=torch.from_numpy(np.repeat(np.arange(len(demos)), lengths)),
        last=torch.from_numpy(np.repeat(ends - 1, lengths)),
        state=_join(demo.state for demo in demos),
        poses=_join(_pad_second(scene.poses, most) for scene in scenes),
        joints=_join(_pad_second(scene.joints, most) for scene in scenes),
        gripper=_join(scene.gripper for scene in scenes),
        images=_images(demos if pictured is None else pictured, config.cameras, int(ends[-1])),
        actions=_join(demo.actions for demo in demos),
        chunk=config.chunk,
    )


def shifted(batch: Batch, pixels: int, step: int, seed: int) -> Batch:
    """Move each moment's pictures by up to so many pixels (DrQ, arXiv 2004.13649)."""
    images = batch.images
    luck = torch.Generator().manual_seed(seed * 1_000_003 + step)
    moves = torch.randint(0, 2 * pixels + 1, (len(images), 2), generator=luck).tolist()
    height, width = images.shape[2:4]
    flat = images.permute(0, 1, 4, 2, 3).flatten(1, 2)
    wide = functional.pad(flat.float(), (pixels,) * 4, mode="replicate").to(torch.uint8)
    cut = [row[:, y : y + height, x : x + width] for row, (y, x) in zip(wide, moves, strict=True)]
    moved = torch.stack(cut).view(*images.shape[:2], 3, height, width)
    return replace(batch, images=moved.permute(0, 1, 3, 4, 2))


def split(demos: Sequence[Demo], share: float) -> tuple[list[Demo], list[Demo]]:
    """Set the last `share` of each instruction's demonstrations aside, at least one of several."""
    groups: dict[str, list[Demo]] = {}
    for demo in demos:
        groups.setdefault(demo.instruction, []).append(demo)
    kept, aside = [], []
    for group in groups.values():
        count = max(round(share * len(group)), int(share > 0)) if len(group) > 1 else 0
        kept += group[: len(group) - count]
        aside += group[len(group) - count :]
    return kept, aside


def scales(demos: Sequence[Demo]) -> Scales:
    """Measure the units of a data set; quantiles of actions as OpenVLA takes them."""
    state = np.concatenate([demo.state for demo in demos])
    actions = np.concatenate([demo.actions for demo in demos])
    low, high = np.quantile(actions, [0.01, 0.99], axis=0)
    narrow = high - low < _LEAST_RANGE
    low, high = np.where(narrow, actions.min(0), low), np.where(narrow, actions.max(0), high)
    narrow = high - low < _LEAST_RANGE
    low, high = (
        np.where(narrow, low - _LEAST_RANGE, low),
        np.where(narrow, high + _LEAST_RANGE, high),
    )
    places = [_places(demo) for demo in demos if demo.privileged]
    place = np.concatenate(places) if places else np.zeros((1, 3))
    return Scales(
        state_mean=_row(state.mean(0)),
        state_std=_row(_spread(state)),
        place_mean=_row(place.mean(0)),
        place_std=_row(_spread(place)),
        action_low=_row(low),
        action_high=_row(high),
    )


def words_of(demos: Sequence[Demo]) -> tuple[str, ...]:
    """Return the vocabulary of instructions and names of things."""
    texts = {demo.instruction for demo in demos}
    return vocabulary(texts.union(*(set(demo.privileged) for demo in demos)))


def _scene(demo: Demo) -> Things:
    if not demo.privileged:
        raise DataError(
            f"{demo.source} has no privileged state, which this model sees; "
            'train one with front = "vision", or collect demonstrations of a suite that shows it'
        )
    return things(demo.privileged)


def _blind(demo: Demo) -> Things:
    nothing = np.zeros((len(demo), 0, 7), dtype=np.float32)
    return Things(
        names=(),
        poses=nothing,
        joints=nothing[..., 0],
        is_joint=np.zeros(0, dtype=np.float32),
        gripper=np.zeros((len(demo), 7), dtype=np.float32),
    )


def _images(demos: Iterable[Demo], cameras: Sequence[Camera], total: int) -> Tensor:
    if not cameras:
        return torch.zeros((total, 0, 0, 0, 3), dtype=torch.uint8)
    height, width = cameras[0].height, cameras[0].width
    whole = np.empty((total, len(cameras), height, width, 3), dtype=np.uint8)
    begin = 0
    for demo in demos:
        for place, camera in enumerate(cameras):
            if demo.cameras.get(camera.name) != camera or camera.name not in demo.images:
                shown = ", ".join(map(str, demo.cameras.values())) or "no camera"
                raise DataError(f"{demo.source} shows {shown}; this model looks at {camera}")
            whole[begin : begin + len(demo), place] = demo.images[camera.name]
        begin += len(demo)
    return torch.from_numpy(whole)


def _pad_second(array: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    missing = [(0, 0), (0, most - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, missing)


def _places(demo: Demo) -> NDArray[np.float32]:
    scene = things(demo.privileged)
    parts = [scene.poses[:, scene.is_joint == 0, :3].reshape(-1, 3)]
    if scene.gripper.any():
        parts.append(scene.gripper[:, :3])
    joined = np.concatenate(parts)
    return joined if len(joined) else np.zeros((1, 3), dtype=np.float32)


def _join(parts: Iterable[NDArray[np.float32]]) -> Tensor:
    return torch.from_numpy(np.concatenate(list(parts)).astype(np.float32, copy=False))


def _spread(values: NDArray[Any]) -> NDArray[Any]:
    std = values.std(0)
    return np.where(std < _LEAST_STD, np.float32(1.0), std)


def _row(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)
