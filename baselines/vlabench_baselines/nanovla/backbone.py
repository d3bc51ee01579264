"""The transformer that plays the part of a VLM's: what iRe-VLA freezes and LoRA adapts."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlabench_baselines.nanovla.config import NanoConfig

LORA_TARGETS = ("qkv", "out", "up", "down")
"""The linear layers of a block, by name."""


class Block(nn.Module):
    """Pre-norm self-attention and MLP."""

    def __init__(self, dim: int, heads: int, widen: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, widen * dim), nn.Linear(widen * dim, dim)

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """Transform `[B, N, dim]`; `seen` says which tokens are there, `[B, 1, 1, N]`."""
        parts = self.qkv(self.norm1(tokens)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        tokens = tokens + self.out(mixed.transpose(1, 2).flatten(2))
        out: Tensor = tokens + self.down(functional.gelu(self.up(self.norm2(tokens))))
        return out


class Backbone(nn.Module):
    """Blocks over all tokens of a moment, in no order: their places are in what they carry."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(config.dim, config.heads, config.widen) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """Transform `[B, N, dim]`; `seen` says which tokens are there, `[B, N]`."""
        for block in self.blocks:
            tokens = block(tokens, seen[:, None, None])
        out: Tensor = self.norm(tokens)
        return out


def add_lora(backbone: Backbone, rank: int, alpha: int | None = None) -> None:
    """Freeze a backbone and put low-rank adapters on its linear layers (arXiv 2106.09685).

    Args:
        backbone: Changed in place.
        rank: Of the adapters.
        alpha: Their scale is `alpha / rank`; `min(rank, 16)` when None, as OpenVLA and VLA-RL.

    Raises:
        MissingExtraError: If peft is not installed.
    """
    from importlib.util import find_spec

    from vlabench.errors import MissingExtraError

    if find_spec("peft") is None:
        raise MissingExtraError("LoRA", "peft", "train")
    from peft import LoraConfig, inject_adapter_in_model

    scale = min(rank, 16) if alpha is None else alpha
    adapters = LoraConfig(r=rank, lora_alpha=scale, target_modules=list(LORA_TARGETS))
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    inject_adapter_in_model(adapters, backbone)


def merge_lora(backbone: Backbone) -> None:
    """Fold the adapters into the layers they sit on, so that the backbone is a plain one again."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = [
        (name, layer)
        for name, layer in backbone.named_modules()
        if isinstance(layer, BaseTunerLayer)
    ]
    with torch.no_grad():
        for name, layer in adapted:
            layer.merge()
            owner, _, attribute = name.rpartition(".")
            setattr(backbone.get_submodule(owner), attribute, layer.get_base_layer())
    if hasattr(backbone, "peft_config"):
        del backbone.peft_config  # peft takes a model that has one for adapted
    _thaw(backbone.parameters())


def _thaw(parameters: Iterable[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.requires_grad_(True)
