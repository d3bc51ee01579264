"""A task beside cloning, for models that see pictures: to say where things are.

A chunk of actions says little about a picture; where its things are says much, and simulators know.
So the backbone learns to answer for each thing, asked by its name. The answers are thrown away:
what is left sees pictures alone (asymmetric training, as in Pinto et al., 2017, arXiv 1710.06542).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlabench_baselines.nanovla.config import NanoConfig
from vlabench_baselines.nanovla.model import NanoVLA, Understood
from vlabench_baselines.nanovla.perception import Batch


class Spotter(nn.Module):
    """Asks the backbone's tokens for the places of things, by their names.

    Args:
        config: Of the model; its units of places are those of the data.
    """

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.ask = nn.MultiheadAttention(config.dim, config.heads, batch_first=True)
        self.place = nn.Sequential(
            nn.LayerNorm(config.dim),
            nn.Linear(config.dim, config.dim),
            nn.GELU(),
            nn.Linear(config.dim, 3),
        )
        self.mean: Tensor
        self.std: Tensor
        for name in ("mean", "std"):
            value = torch.tensor(getattr(config.scales, f"place_{name}"), dtype=torch.float32)
            self.register_buffer(name, value, persistent=False)

    def forward(self, understood: Understood, batch: Batch, embedding: nn.Embedding) -> Tensor:
        """Return the places of things in units of the data's deviation, `[B, K, 3]`."""
        word = (batch.names > 0).unsqueeze(-1)
        name = (embedding(batch.names) * word).sum(-2) / word.sum(-2).clamp(min=1)
        answers, _ = self.ask(
            name,
            understood.tokens,
            understood.tokens,
            key_padding_mask=~understood.seen,
            need_weights=False,
        )
        out: Tensor = self.place(answers + name)
        return out

    def loss(self, understood: Understood, batch: Batch, model: NanoVLA) -> Tensor:
        """Return the mean error (smooth L1) over things that have a place."""
        found = self(understood, batch, model.embedding).float()
        wanted = (batch.poses[..., :3] - self.mean) / self.std
        there = (batch.names > 0).any(-1) & (batch.is_joint == 0)
        each = functional.smooth_l1_loss(found, wanted, reduction="none").mean(-1)
        return (each * there).sum() / there.sum().clamp(min=1)
