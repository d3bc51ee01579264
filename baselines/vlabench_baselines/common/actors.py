"""Policies as reinforcement learning sees them: a decision is drawn, and has a probability.

An action head answers with chunks; what counts as a decision are the first `execute` actions of
one, which are all that happens.
"""

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from vlabench_baselines.nanovla.actions import ununit
from vlabench_baselines.nanovla.heads import ContinuousHead, TokenHead
from vlabench_baselines.nanovla.model import Understood


class Actor(Protocol):
    """What can be drawn from, and asked how probable a draw was."""

    def draw(self, understood: Understood, luck: Tensor) -> Tensor:
        """Draw decisions, `[B, E, A]`, with uniform luck in [0, 1) of the same shape."""
        ...

    def log_probs(self, understood: Understood, chosen: Tensor) -> Tensor:
        """Return the log-probabilities of decisions, `[B]`."""
        ...

    def entropy(self, understood: Understood, chosen: Tensor) -> Tensor:
        """Return the entropies of decisions, `[B]`; `chosen` is what autoregression follows."""
        ...

    def actions(self, chosen: Tensor) -> Tensor:
        """Return what decisions mean, in the simulator's units, `[B, E, A]`."""
        ...


class TokenActor:
    """Action tokens: log-probabilities are summed over a decision (VLA-RL, eq. 1).

    Args:
        head: Of the model.
        execute: Actions of a decision, `E`.
        temperature: Divides logits when drawing and, as in VLA-RL's code, when learning.
    """

    def __init__(self, head: TokenHead, execute: int, temperature: float) -> None:
        self._head, self._execute, self._temperature = head, execute, temperature

    def draw(self, understood: Understood, luck: Tensor) -> Tensor:
        return self._head.sample(*understood, luck, self._temperature)

    def log_probs(self, understood: Understood, chosen: Tensor) -> Tensor:
        each = self._distribution(understood, chosen).gather(-1, chosen.unsqueeze(-1))
        return each.flatten(1).sum(1)

    def entropy(self, understood: Understood, chosen: Tensor) -> Tensor:
        each = self._distribution(understood, chosen)
        return -(each.exp() * each).flatten(1).sum(1)

    def actions(self, chosen: Tensor) -> Tensor:
        return self._head.code.decode(chosen)

    def _distribution(self, understood: Understood, chosen: Tensor) -> Tensor:
        logits = self._head.logits(*understood, chosen)
        return (logits.float() / self._temperature).log_softmax(-1)


class GaussianActor(nn.Module):
    """Continuous actions with a learned standard deviation, one for each number of an action.

    iRe-VLA's head is trained on squared errors and has no spread; PPO needs one, and the paper
    does not say which.

    Args:
        head: Of the model.
        execute: Actions of a decision, `E`.
        std: At first, in units in which the 1 % and 99 % quantiles are -1 and 1.
    """

    def __init__(self, head: ContinuousHead, execute: int, std: float) -> None:
        super().__init__()
        self._execute = execute
        self.log_std = nn.Parameter(torch.full((head.size,), math.log(std)))
        self._heads = (head,)  # in a tuple, so that it is not counted as a part of this module

    def draw(self, understood: Understood, luck: Tensor) -> Tensor:
        normal: Tensor = torch.special.ndtri(luck.double().clamp(1e-7, 1 - 1e-7)).float()
        return self._mean(understood) + normal * self.log_std.exp()

    def log_probs(self, understood: Understood, chosen: Tensor) -> Tensor:
        away = (chosen - self._mean(understood)) / self.log_std.exp()
        each = -0.5 * away.square() - self.log_std - 0.5 * math.log(2 * math.pi)
        return each.flatten(1).sum(1)

    def entropy(self, understood: Understood, chosen: Tensor) -> Tensor:
        each = self.log_std + 0.5 * math.log(2 * math.pi * math.e)
        return each.expand(chosen.shape).flatten(1).sum(1)

    def actions(self, chosen: Tensor) -> Tensor:
        head = self._heads[0]
        return ununit(chosen, head.low, head.high)

    def _mean(self, understood: Understood) -> Tensor:
        return self._heads[0].scaled(*understood).float()[:, : self._execute]
