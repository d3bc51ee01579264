"""Numbers to tokens and back: 256 bins over the 1 % to 99 % quantiles, as in OpenVLA.

Source: arXiv 2406.09246, section 3.2. Its code has 255 bin centres between 256 edges; here there
are `bins` equal bins and as many centres.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ActionTokens:
    """The code between actions, `[..., A]`, and tokens, `[..., A]` int64 in `[0, bins)`."""

    low: Tensor
    high: Tensor
    bins: int

    def encode(self, actions: Tensor) -> Tensor:
        """Return the bins that actions fall in; what lies outside falls in the outermost."""
        share = (actions - self.low) / (self.high - self.low)
        return (share * self.bins).floor().clamp(0, self.bins - 1).long()

    def decode(self, tokens: Tensor) -> Tensor:
        """Return the centres of bins."""
        return self.low + (tokens + 0.5) / self.bins * (self.high - self.low)


def unit(actions: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Scale actions so that `low` is -1 and `high` is 1."""
    return (actions - low) / (high - low) * 2 - 1


def ununit(scaled: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Undo `unit`."""
    return low + (scaled + 1) / 2 * (high - low)


def draw(logits: Tensor, uniforms: Tensor, temperature: float) -> Tensor:
    """Draw tokens with given luck: the inverse of the cumulative distribution.

    Args:
        logits: `[..., bins]`.
        uniforms: In [0, 1), `[...]`; who brings them decides what is reproducible.
        temperature: Above 1 flattens the distribution; 0 takes the likeliest token.
    """
    if temperature == 0:
        return logits.argmax(-1)
    rising = torch.softmax(logits / temperature, dim=-1).cumsum(-1)
    found = torch.searchsorted(rising, (uniforms * rising[..., -1]).unsqueeze(-1), right=True)
    return found.squeeze(-1).clamp(max=logits.shape[-1] - 1)
