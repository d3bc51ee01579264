"""The whole model: perception, backbone and one head, for actions or for judging them."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vlabench_baselines.nanovla.backbone import Backbone
from vlabench_baselines.nanovla.config import NanoConfig
from vlabench_baselines.nanovla.heads import (
    ContinuousHead,
    JudgeHead,
    TokenHead,
    ValueHead,
)
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


class Trunk(nn.Module):
    """Everything but a head: from what is seen and said to what is understood.

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

    def understand(self, batch: Batch) -> Understood:
        """Run it."""
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


class NanoVLA(Trunk):
    """A small vision-language-action model; see the package.

    Args:
        config: What it is made of.
    """

    def __init__(self, config: NanoConfig) -> None:
        super().__init__(config)
        self.head: TokenHead | ContinuousHead = (
            TokenHead(config) if config.head == "tokens" else ContinuousHead(config)
        )

    def forward(self, batch: Batch) -> Understood:
        """Run everything but the head."""
        return self.understand(batch)

    def loss(self, batch: Batch, actions: Tensor, weight: Tensor) -> Tensor:
        """Return the loss of behaviour cloning; actions `[B, H, A]`, weights `[B, H]`."""
        understood = self(batch)
        return self.head.loss(understood.tokens, understood.seen, actions, weight)


class Critic(Trunk):
    """VLA-RL's "homogeneous value model": the same kind of net, with one number at its end.

    Args:
        config: What it is made of.
    """

    def __init__(self, config: NanoConfig) -> None:
        super().__init__(config)
        self.head = ValueHead(config)

    def forward(self, batch: Batch) -> Tensor:
        """Return values, `[B]`."""
        understood = self.understand(batch)
        value: Tensor = self.head(understood.tokens, understood.seen)
        return value


class Judge(Trunk):
    """Scores a moment together with the chunk that is to be executed in it.

    A process reward model and a critic of actions are both of this kind; a verifier picks the best
    of several chunks by it.

    Args:
        config: What it is made of; its chunk and its scales say what actions look like.
    """

    def __init__(self, config: NanoConfig) -> None:
        super().__init__(config)
        self.head = JudgeHead(config)

    def forward(self, batch: Batch, actions: Tensor) -> Tensor:
        """Return logits of scores, `[B, N]`, of `N` chunks for each moment, `[B, N, H, A]`."""
        understood = self.understand(batch)
        score: Tensor = self.head(understood.tokens, understood.seen, actions)
        return score


def num_parameters(module: nn.Module) -> int:
    """Return how many numbers a module learns."""
    return sum(parameter.numel() for parameter in module.parameters())
