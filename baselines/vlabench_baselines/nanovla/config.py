"""What a NanoVLA is made of, and in which units it sees and acts."""

from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, Literal, Self, get_args

from vlabench.spaces import Camera, Orientation, Quality

Front = Literal["privileged", "vision"]
Head = Literal["tokens", "continuous"]
Readout = Literal["median", "likeliest"]

_OLDER_READOUT: Readout = "likeliest"
"""Of checkpoints that do not say: those from before there was a choice, and their digests stay."""

_MOST_WEIGHTS = 50_000_000
"""Of 4 bytes each: as much as is read of a checkpoint's file."""
WORDS_PER_NAME = 8
"""Words of a thing's name that are read, `wooden_cabinet_1_top_region` has five."""
WORDS_PER_SENTENCE = 24
"""Words of an instruction that are read; LIBERO's longest has 19."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """The units of a data set, so that what the model computes with is of order 1.

    Attributes:
        state_mean: Of the proprioceptive vector, `[S]`.
        state_std: Of the same.
        place_mean: Of the positions of things and of the gripper, metres, `[3]`.
        place_std: Of the same.
        action_low: 1 % quantile of each action component, `[A]`, as in OpenVLA (arXiv 2406.09246).
        action_high: 99 % quantile.
    """

    state_mean: tuple[float, ...]
    state_std: tuple[float, ...]
    place_mean: tuple[float, ...]
    place_std: tuple[float, ...]
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]

    def __post_init__(self) -> None:
        for field in fields(self):
            row = getattr(self, field.name)
            if not all(map(isfinite, row)):
                raise ValueError(f"scales: {field.name} is {list(row)}; expected finite numbers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What can be chosen freely.

    Attributes:
        front: `privileged` sees things with their names and poses, `vision` sees pictures.
        head: `tokens` predicts one of `bins` for each number of a chunk, one after the other;
            `continuous` predicts the numbers themselves.
        chunk: Actions of a decision, `H`.
        dim: Width of the backbone.
        depth: Layers of the backbone.
        widen: Width of their MLPs, in multiples of `dim`.
        heads: Attention heads.
        seeds: Vectors that the token learner reads out of the backbone (Set Transformer,
            arXiv 1810.00825; iRe-VLA has one).
        head_dim: Width of the action head.
        bins: Of each number, over its 1 % to 99 % quantiles.
        readout: Of tokens when none are drawn: the `median` of each number's distribution, or its
            `likeliest` bin, as in OpenVLA.
        pictures_dim: Channels of the picture encoder.
        pictures_tokens: Tokens that a picture becomes.
    """

    front: Front = "privileged"
    head: Head = "tokens"
    chunk: int = 8
    dim: int = 128
    depth: int = 4
    widen: int = 2
    heads: int = 4
    seeds: int = 4
    head_dim: int = 128
    bins: int = 256
    readout: Readout = "median"
    pictures_dim: int = 64
    pictures_tokens: int = 4

    def check(self, num_cameras: int) -> None:
        """Refuse what no model can be made of.

        Raises:
            ValueError: With the first thing that is wrong.
        """
        for field in fields(Architecture):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < 1:
                raise ValueError(f"{field.name} is {value}; expected at least 1")
        if (count := self._about_weights()) > _MOST_WEIGHTS:
            raise ValueError(
                f"depth {self.depth}, dim {self.dim}, widen {self.widen}, chunk {self.chunk}, "
                f"head_dim {self.head_dim}, seeds {self.seeds}, bins {self.bins}, pictures_dim "
                f"{self.pictures_dim}: about {count} weights; expected at most {_MOST_WEIGHTS}"
            )
        for name, kind in (("front", Front), ("head", Head), ("readout", Readout)):
            if (value := getattr(self, name)) not in get_args(kind):
                raise ValueError(f"{name} is {value!r}; expected {' or '.join(get_args(kind))}")
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not a multiple of heads {self.heads}")
        if (self.front == "vision") != bool(num_cameras):
            raise ValueError(f"front {self.front!r} with {num_cameras} cameras")

    def _about_weights(self) -> int:
        """Estimate from below how many weights a model has, before there is one."""
        backbone = self.depth * self.dim**2 * (4 + 2 * self.widen)
        head = self.head_dim * (self.chunk * self.head_dim + self.seeds * self.dim + self.bins)
        return backbone + head + self.pictures_dim**2 + self.pictures_tokens * self.dim


@dataclass(frozen=True, slots=True, kw_only=True)
class NanoConfig(Architecture):
    """The architecture and its units; with the weights, all there is to a model.

    Attributes:
        cameras: What `vision` looks at.
        words: The vocabulary; other words share a few spare places.
        scales: Units.
    """

    cameras: tuple[Camera, ...] = ()
    words: tuple[str, ...] = ()
    scales: Scales

    def __post_init__(self) -> None:
        self.check(len(self.cameras))

    @property
    def action_size(self) -> int:
        """Numbers of an action, `A`."""
        return len(self.scales.action_low)

    @property
    def state_size(self) -> int:
        """Numbers of the proprioceptive vector, `S`."""
        return len(self.scales.state_mean)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return with_readout(asdict(self), self.readout)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Make one from plain values.

        Raises:
            ValueError: If a field is missing, unknown or of another kind.
        """
        known = {field.name for field in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"unknown fields {sorted(unknown)}")
        try:
            scales = {name: tuple(map(float, row)) for name, row in values["scales"].items()}
            cameras = tuple(_camera(camera) for camera in values.get("cameras", ()))
            kept = {k: v for k, v in values.items() if k not in ("scales", "cameras", "words")}
            words = tuple(map(str, values.get("words", ())))
            kept.setdefault("readout", _OLDER_READOUT)
            return cls(scales=Scales(**scales), cameras=cameras, words=words, **kept)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a NanoVLA's fields: {error}") from error


def with_readout(values: dict[str, Any], readout: Readout) -> dict[str, Any]:
    """Return a config's plain values, changed to say how tokens are read off."""
    others = {key: value for key, value in values.items() if key != "readout"}
    return others if readout == _OLDER_READOUT else {**others, "readout": readout}


def _camera(values: dict[str, Any]) -> Camera:
    orientation, quality = Orientation(values["orientation"]), Quality(values["quality"])
    return Camera(**{**values, "orientation": orientation, "quality": quality})
