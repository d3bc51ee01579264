"""The whole model: perception, backbone and one action head."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vlabench_baselines.nanovla.backbone import Backbone
from vlabench_baselines.nanovla.config import NanoConfig
from vlabench_baselines.nanovla.heads import ContinuousHead, TokenHead
from vlabench_baselines.nanovla.language import SentenceEncoder, Words
from vlabench_baselines.nanovla.perception import (
    Batch,
    PictureEncoder,
    StateEncoder,
    ThingEncoder,
)


class Understood(NamedTuple):
    """What the backbone makes of a moment: all that heads need, so it can be kept.

    Attributes:
        tokens: `[B, N, dim]`.
        seen: Which of them are there, `[B, N]`.
    """

    tokens: Tensor
    seen: Tensor


class NanoVLA(nn.Module):
    """A small vision-language-action model; see the package.

    Args:
        config: What it is made of.
    """

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.config = config
        self.words = Words(config.words)
        self.embedding = nn.Embedding(self.words.size, config.dim, padding_idx=0)
        self.sentence = SentenceEncoder(config.dim, config.heads)
        self.state = StateEncoder(config) if config.state_size else None
        self.eyes: ThingEncoder | PictureEncoder = (
            ThingEncoder(config) if config.front == "privileged" else PictureEncoder(config)
        )
        self.kinds = nn.Parameter(torch.randn(3, config.dim) * 0.02)
        self.backbone = Backbone(config)
        self.head: TokenHead | ContinuousHead = (
            TokenHead(config) if config.head == "tokens" else ContinuousHead(config)
        )

    def forward(self, batch: Batch) -> Understood:
        """Run everything but the head."""
        told = self.sentence(batch.sentences, self.embedding)[batch.sentence] + self.kinds[0]
        parts = [told]
        if self.state is not None:
            parts.append(self.state(batch) + self.kinds[1])
        there = torch.ones(
            (len(batch), sum(part.shape[1] for part in parts)),
            dtype=torch.bool,
            device=told.device,
        )
        if isinstance(self.eyes, ThingEncoder):
            seen_tokens, seen = self.eyes(batch, self.embedding)
        else:
            seen_tokens = self.eyes(batch, told.mean(1))
            seen = torch.ones(seen_tokens.shape[:2], dtype=torch.bool, device=told.device)
        tokens = torch.cat([*parts, seen_tokens + self.kinds[2]], dim=1)
        seen = torch.cat([there, seen], dim=1)
        return Understood(self.backbone(tokens, seen), seen)

    def loss(self, batch: Batch, actions: Tensor, weight: Tensor) -> Tensor:
        """Return the loss of behaviour cloning; actions `[B, H, A]`, weights `[B, H]`."""
        understood = self(batch)
        return self.head.loss(understood.tokens, understood.seen, actions, weight)


def num_parameters(module: nn.Module) -> int:
    """Return how many numbers a module learns."""
    return sum(parameter.numel() for parameter in module.parameters())
