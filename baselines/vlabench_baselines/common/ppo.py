"""Proximal policy optimisation (arXiv 1707.06347) of whole decisions.

A decision is one turn of a conversation: all tokens (or numbers) of the actions that are executed
before the policy looks again. It has one probability, one ratio and one advantage, as in VLA-RL
(arXiv 2505.18719, eqs. 1 and 2). Pure functions of tensors.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vlabench.recipe import above, at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class PpoRecipe:
    """How a policy learns from what it tried.

    Attributes:
        gamma: Discount per decision. VLA-RL's code has 0.99 per step.
        lam: Of generalised advantage estimation (arXiv 1506.02438); 0.95 in VLA-RL's code.
        clip: How far a ratio may fall below 1 before it stops counting.
        clip_high: How far it may rise above 1; 0 is as far as `clip`.
        value_clip: How far values may move in one iteration; 0 for any distance.
        normalise: Whether advantages of an iteration are scaled to mean 0 and deviation 1.
        least_spread: Standard deviation of an iteration's advantages below which it teaches the
            policy nothing, so that it is not asked to learn: where nothing succeeded, what is left
            is the critic's noise, which normalising would blow up.
        epochs: Passes over what was collected; 1 in VLA-RL's code.
        minibatch: Decisions in a step of the optimizer.
        learning_rate: Of the policy, constant.
        critic_learning_rate: Of the critic, constant.
        critic_epochs: Passes of the critic.
        max_norm: Largest norm of a gradient.
        target_kl: Where an iteration stops updating the policy early, in nats per decision; 0
            never does.
    """

    gamma: float = 0.99
    lam: float = 0.95
    clip: float = 0.2
    clip_high: float = 0.0
    value_clip: float = 0.0
    normalise: bool = True
    least_spread: float = 0.01
    epochs: int = 1
    minibatch: int = 256
    learning_rate: float = 5e-5
    critic_learning_rate: float = 1e-3
    critic_epochs: int = 4
    max_norm: float = 1.0
    target_kl: float = 0.0

    def __post_init__(self) -> None:
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number in [0, 1]")
        at_least(self, 1, "epochs", "minibatch", "critic_epochs")
        at_least(self, 0, "clip_high", "value_clip", "least_spread", "target_kl")
        above(self, 0, "clip", "learning_rate", "critic_learning_rate", "max_norm")


def check_warmup(iterations: int, warmup: int) -> None:
    """Refuse a stage in which the policy would never learn.

    Args:
        iterations: Of exploring and learning.
        warmup: Of these, the first, in which only the critic learns.

    Raises:
        ValueError: If there are no others.
    """
    if warmup >= iterations:
        raise ValueError(
            f"warmup is {warmup} of iterations={iterations}, in which only the critic learns; "
            f"expected less than {iterations}"
        )


class Surrogate(NamedTuple):
    """What PPO minimises, and how the update goes.

    Attributes:
        loss: Scalar.
        kl: Estimate of the KL divergence of the old policy from the new one (Schulman's k3).
        clipped: Share of decisions whose ratio is held by the clip.
    """

    loss: Tensor
    kl: Tensor
    clipped: Tensor


def advantages(
    rewards: Tensor, values: Tensor, last_value: float, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Return generalised advantages and returns of one trajectory, `[T]` each.

    Args:
        rewards: `[T]`.
        values: Of the moments in which decisions were made, `[T]`.
        last_value: Of the moment after the last one: 0 where the episode terminated, the critic's
            opinion where time ran out, which says nothing about what would have followed.
        gamma: Discount.
        lam: 0 trusts the critic, 1 the rewards.
    """
    found = torch.empty_like(values)
    after, running = last_value, 0.0
    for step in range(len(rewards) - 1, -1, -1):
        delta = float(rewards[step]) + gamma * after - float(values[step])
        running = delta + gamma * lam * running
        found[step], after = running, float(values[step])
    return found, found + values


def surrogate(
    log_probs: Tensor, old: Tensor, advantage: Tensor, low: float, high: float
) -> Surrogate:
    """Return PPO's clipped objective (eq. 7 of the paper), to be minimised.

    Args:
        log_probs: Of decisions, under the policy that learns, `[B]`.
        old: Under the policy that made them, as it drew them, `[B]`.
        advantage: `[B]`.
        low: Ratios below `1 - low` stop counting where that would be an improvement.
        high: The same above `1 + high`.
    """
    ratio = (log_probs - old).exp()
    held = ratio.clamp(1 - low, 1 + high)
    gain = torch.minimum(ratio * advantage, held * advantage)
    with torch.no_grad():
        kl = ((ratio - 1) - (log_probs - old)).mean()
        clipped = (ratio != held).float().mean()
    return Surrogate(-gain.mean(), kl, clipped)


def value_loss(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Return half the squared error; of the two, the clipped value's error if that is larger."""
    error = (values - returns).square()
    if clip:
        near = old + (values - old).clamp(-clip, clip)
        error = torch.maximum(error, (near - returns).square())
    return 0.5 * error.mean()


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """Return the share of the returns' variance that a critic explains; 1 is all of it."""
    spread = float(returns.var(correction=0))
    return 1 - float((returns - values).var(correction=0)) / spread if spread > 0 else 0.0
