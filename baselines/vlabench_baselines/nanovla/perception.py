"""What a NanoVLA sees: things with names and poses, or pictures; and the arm's own state."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vlabench.env import Observation
from vlabench_baselines.nanovla.config import NanoConfig
from vlabench_baselines.nanovla.language import Words

GRIPPER = "gripper"
_POSE = 7
_FEATURES = 3 + 6 + 3 + 3 + 3 + 2
_NEAR_M, _CLOSE_M = 0.15, 0.03
"""Distances at which being nearer begins to matter: for approaching, and for grasping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Observations of `B` moments as tensors.

    Attributes:
        sentences: Word numbers of the instructions that occur, `[U, words]`.
        sentence: Which of them each moment has, `[B]`.
        state: Proprioception, `[B, S]`.
        names: Word numbers of things, `[B, K, words]`; 0 throughout where there is none.
        poses: Of things, `[B, K, 7]`; zeros for joints.
        joints: Positions of joints, `[B, K]`; zeros for things.
        is_joint: Which of the two, `[B, K]`, 1 for joints.
        gripper: Its pose, `[B, 7]`.
        images: `[B, cameras, height, width, 3]` uint8; no cameras for privileged models.
    """

    sentences: Tensor
    sentence: Tensor
    state: Tensor
    names: Tensor
    poses: Tensor
    joints: Tensor
    is_joint: Tensor
    gripper: Tensor
    images: Tensor

    def to(self, device: torch.device) -> Self:
        """Return it on another device."""
        moved = {f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        return replace(self, **moved)

    def pick(self, places: Tensor) -> Self:
        """Return some of the moments, `[P]` of them."""
        each = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "sentences"}
        return replace(self, **{name: whole[places] for name, whole in each.items()})

    def __len__(self) -> int:
        return len(self.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class Things:
    """The things of one scene, at one moment or several (`...`); see `Batch`."""

    names: tuple[str, ...]
    poses: NDArray[np.float32]  # [..., K, 7]
    joints: NDArray[np.float32]  # [..., K]
    is_joint: NDArray[np.float32]  # [K]
    gripper: NDArray[np.float32]  # [..., 7]


def things(privileged: Mapping[str, NDArray[Any]]) -> Things:
    """Sort privileged state, arrays `[..., n]` by name, into things, joints and the gripper.

    Arrays that are neither a pose nor a joint's position are left out: see `Observation`.
    """
    poses = {n: a for n, a in privileged.items() if a.shape[-1] == _POSE and n != GRIPPER}
    joints = {n: a for n, a in privileged.items() if a.shape[-1] == 1}
    some = next(iter(privileged.values()))
    shape = some.shape[:-1]
    count = len(poses) + len(joints)
    found = Things(
        names=(*poses, *joints),
        poses=np.zeros((*shape, count, _POSE), dtype=np.float32),
        joints=np.zeros((*shape, count), dtype=np.float32),
        is_joint=np.array([0.0] * len(poses) + [1.0] * len(joints), dtype=np.float32),
        gripper=np.zeros((*shape, _POSE), dtype=np.float32),
    )
    for place, pose in enumerate(poses.values()):
        found.poses[..., place, :] = pose
    for place, joint in enumerate(joints.values(), start=len(poses)):
        found.joints[..., place] = joint[..., 0]
    if GRIPPER in privileged:
        found.gripper[...] = privileged[GRIPPER]
    return found


def batch_of(observations: Sequence[Observation], words: Words, config: NanoConfig) -> Batch:
    """Turn what policies are shown into tensors."""
    sentences = list(dict.fromkeys(seen.instruction for seen in observations))
    privileged = config.front == "privileged"
    scenes = [things(seen.privileged) if privileged else _NOTHING for seen in observations]
    most = max(len(scene.names) for scene in scenes)
    pictures = [
        np.stack([seen.images[camera.name] for camera in config.cameras])
        for seen in observations
        if config.cameras
    ]
    return Batch(
        sentences=torch.from_numpy(np.stack([words.sentence(text) for text in sentences])),
        sentence=torch.tensor([sentences.index(seen.instruction) for seen in observations]),
        state=torch.from_numpy(np.stack([seen.state for seen in observations])),
        names=torch.from_numpy(np.stack([name_numbers(s.names, words, most) for s in scenes])),
        poses=torch.from_numpy(np.stack([pad(s.poses, most) for s in scenes])),
        joints=torch.from_numpy(np.stack([pad(s.joints, most) for s in scenes])),
        is_joint=torch.from_numpy(np.stack([pad(s.is_joint, most) for s in scenes])),
        gripper=torch.from_numpy(np.stack([scene.gripper for scene in scenes])),
        images=torch.from_numpy(np.stack(pictures)) if pictures else _no_images(len(observations)),
    )


def name_numbers(names: Sequence[str], words: Words, most: int) -> NDArray[np.int64]:
    """Return the word numbers of names, `[most, words]`, zeros behind the last one."""
    return pad(np.stack([words.name(name) for name in names] or [words.name("")]), most)


def pad(array: NDArray[Any], most: int) -> NDArray[Any]:
    """Fill the first axis up to `most` with zeros."""
    missing = most - len(array)
    if missing <= 0:
        return array[:most]
    return np.concatenate([array, np.zeros((missing, *array.shape[1:]), dtype=array.dtype)])


def _no_images(count: int) -> Tensor:
    return torch.zeros((count, 0, 0, 0, 3), dtype=torch.uint8)


_NOTHING = Things(
    names=(),
    poses=np.zeros((0, _POSE), dtype=np.float32),
    joints=np.zeros(0, dtype=np.float32),
    is_joint=np.zeros(0, dtype=np.float32),
    gripper=np.zeros(_POSE, dtype=np.float32),
)


class ThingEncoder(nn.Module):
    """One token for each thing: its name, its pose, and where it is from the gripper."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.name = nn.Linear(config.dim, config.dim)
        self.body = nn.Sequential(
            nn.Linear(_FEATURES, config.dim), nn.GELU(), nn.Linear(config.dim, config.dim)
        )
        self.place_mean: Tensor
        self.place_std: Tensor
        for name in ("place_mean", "place_std"):
            value = torch.tensor(getattr(config.scales, name), dtype=torch.float32)
            self.register_buffer(name, value, persistent=False)

    def forward(self, batch: Batch, embedding: nn.Embedding) -> tuple[Tensor, Tensor]:
        """Return tokens, `[B, K, dim]`, and which are there, `[B, K]`."""
        word = (batch.names > 0).unsqueeze(-1)
        count = word.sum(-2)
        name = (embedding(batch.names) * word).sum(-2) / count.clamp(min=1)
        return self.name(name) + self.body(self._features(batch)), count.squeeze(-1) > 0

    def _features(self, batch: Batch) -> Tensor:
        place = batch.poses[..., :3]
        away = place - batch.gripper[:, None, :3]
        parts = (
            (place - self.place_mean) / self.place_std,
            two_axes(batch.poses[..., 3:]),
            away / self.place_std,
            torch.tanh(away / _NEAR_M),
            torch.tanh(away / _CLOSE_M),
        )
        thing = torch.cat(parts, dim=-1) * (1 - batch.is_joint).unsqueeze(-1)
        return torch.cat([thing, batch.joints.unsqueeze(-1), batch.is_joint.unsqueeze(-1)], dim=-1)


def two_axes(quat: Tensor) -> Tensor:
    """Return the first two columns of the rotation matrices of quaternions, `[..., 6]`.

    Continuous where quaternions are not (Zhou et al., 2019, arXiv 1812.07035). Zeros, which are no
    rotation, stay zeros but for the diagonal.
    """
    w, x, y, z = quat.unbind(-1)
    first = (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y))
    second = (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x))
    return torch.stack(first + second, dim=-1)


class StateEncoder(nn.Module):
    """One token for the arm's own state."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        for name in ("mean", "std"):
            value = torch.tensor(getattr(config.scales, f"state_{name}"), dtype=torch.float32)
            self.register_buffer(name, value, persistent=False)
        self.body = nn.Sequential(
            nn.Linear(config.state_size, config.dim), nn.GELU(), nn.Linear(config.dim, config.dim)
        )

    def forward(self, batch: Batch) -> Tensor:
        """Return tokens, `[B, 1, dim]`."""
        out: Tensor = self.body((batch.state - self.mean) / self.std)
        return out.unsqueeze(1)


class PictureEncoder(nn.Module):
    """A few tokens for each picture.

    A small convolutional net, then one layer over all that it saw, place by place. Spatial softmax
    (Levine et al., 2016, arXiv 1504.00702) needs fewer weights and says less of where things are:
    to 4.5 cm after 400 steps, this one to 1.3 (docs/LOG.md).
    """

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        width, dim, tokens = config.pictures_dim, config.dim, config.pictures_tokens
        camera = config.cameras[0]
        places = math.ceil(camera.height / _STRIDE) * math.ceil(camera.width / _STRIDE)
        self.body = nn.Sequential(
            nn.Conv2d(3, width // 2, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1),
            nn.GroupNorm(4, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.GroupNorm(4, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.told = nn.Linear(dim, 2 * width)
        self.few = nn.Conv2d(width, _FEW, 1)
        self.token = nn.Linear(_FEW * places, tokens * dim)
        self.which = nn.Parameter(torch.randn(len(config.cameras), tokens, dim) * 0.02)

    def forward(self, batch: Batch, instruction: Tensor) -> Tensor:
        """Return tokens, `[B, cameras * pictures_tokens, dim]`; `instruction` is `[B, dim]`.

        What the sentence says scales and shifts what is looked for (FiLM, arXiv 1709.07871).
        """
        shape = batch.images.shape
        pixels = batch.images.flatten(0, 1).permute(0, 3, 1, 2).float() / 127.5 - 1
        scale, shift = self.told(instruction).repeat_interleave(shape[1], dim=0).chunk(2, dim=-1)
        seen = self.body(pixels)
        seen = functional.gelu(seen * (1 + scale[..., None, None]) + shift[..., None, None])
        places = functional.gelu(self.few(seen)).flatten(1)
        tokens = self.token(places).view(*shape[:2], *self.which.shape[1:])
        placed: Tensor = tokens + self.which
        return placed.flatten(1, 2)


_STRIDE = 8
"""Pixels from one place of the convolutional net's output to the next."""
_FEW = 8
"""Numbers that are kept of each place: nearly all of an encoder's weights read them."""
