"""An iteration of PPO over what was explored."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vlabench_baselines.common.actors import Actor
from vlabench_baselines.common.experience import Experience
from vlabench_baselines.common.ppo import (
    PpoRecipe,
    explained_variance,
    surrogate,
    value_loss,
)
from vlabench_baselines.nanovla.model import NanoVLA, Understood
from vlabench_baselines.nanovla.perception import batch_of

_MANY = 2048
"""Moments that are valued at once: memory, nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """How an iteration went; means over its minibatches.

    Attributes:
        kl: Of the policy before from the one after, nats per decision.
        clipped: Share of decisions held by the clip.
        entropy: Nats per decision.
        gradient_norm: Of the policy, before clipping.
        value_error: Mean squared error of values before the update.
        explained: Share of the returns' variance that the critic explained, before the update.
        steps: Of the policy's optimizer.
    """

    kl: float
    clipped: float
    entropy: float
    gradient_norm: float
    value_error: float
    explained: float
    steps: int


class Learner:
    """Improves an actor and a critic.

    Args:
        recipe: How.
        actor: Whose decisions were explored.
        understand: What the actor is given of some moments of an experience.
        values: The critic's opinion of some moments, `[P]`.
        policy: Parameters that the actor learns.
        critic: Parameters that the critic learns.
        device: Where everything is computed.
    """

    def __init__(
        self,
        recipe: PpoRecipe,
        actor: Actor,
        understand: Callable[[Experience, Tensor], Understood],
        values: Callable[[Experience, Tensor], Tensor],
        policy: Iterable[nn.Parameter],
        critic: Iterable[nn.Parameter],
        device: torch.device,
    ) -> None:
        self._recipe, self._actor, self._device = recipe, actor, device
        self._understand, self._values = understand, values
        self._policy, self._critic = list(policy), list(critic)
        self.policy_optimizer = _adam(self._policy, recipe.learning_rate)
        self.critic_optimizer = _adam(self._critic, recipe.critic_learning_rate)

    def update(
        self,
        experience: Experience,
        luck: torch.Generator,
        *,
        process: Tensor | None = None,
        learn_policy: bool = True,
    ) -> Update:
        """Learn from an iteration's experience.

        Args:
            experience: Explored by the actor as it is now.
            luck: Orders the decisions.
            process: Rewards of decisions besides the sparse one, `[D]`.
            learn_policy: Not while the critic warms up.
        """
        recipe = self._recipe
        values = self.value(experience)
        rewards = experience.rewards(process)
        advantage, returns = experience.advantages(rewards, values, recipe.gamma, recipe.lam)
        old_values = values[experience.moment]
        learn_policy = learn_policy and float(advantage.std(correction=0)) >= recipe.least_spread
        if recipe.normalise:
            advantage = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
        for places in self._minibatches(len(experience), recipe.critic_epochs, luck):
            self._improve_critic(experience, places, old_values, returns)
        rows = list[tuple[float, ...]]()
        for places in self._minibatches(len(experience), recipe.epochs, luck):
            row = self._improve_policy(experience, places, advantage, learn=learn_policy)
            rows.append(row)
            if not learn_policy or (recipe.target_kl and row[0] > recipe.target_kl):
                break
        means = torch.tensor(rows, dtype=torch.float64).mean(0).tolist()
        return Update(
            kl=means[0],
            clipped=means[1],
            entropy=means[2],
            gradient_norm=means[3],
            value_error=float((old_values - returns).square().mean()),
            explained=explained_variance(old_values, returns),
            steps=len(rows) if learn_policy else 0,
        )

    @torch.no_grad()
    def value(self, experience: Experience) -> Tensor:
        """Return the values of all moments, `[M]`, on the CPU."""
        parts = torch.split(torch.arange(experience.num_moments), _MANY)
        return torch.cat([self._values(experience, part).cpu() for part in parts])

    def _improve_critic(
        self, experience: Experience, places: Tensor, old: Tensor, returns: Tensor
    ) -> None:
        values = self._values(experience, experience.moment[places])
        old, returns = old[places].to(self._device), returns[places].to(self._device)
        loss = value_loss(values, old, returns, self._recipe.value_clip)
        self.critic_optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._critic, self._recipe.max_norm)
        self.critic_optimizer.step()

    def _improve_policy(
        self, experience: Experience, places: Tensor, advantage: Tensor, *, learn: bool
    ) -> tuple[float, float, float, float]:
        """Take one step; return KL, clipped share, entropy and the gradient's norm."""
        recipe, device = self._recipe, self._device
        chosen = experience.chosen[places].to(device)
        with torch.set_grad_enabled(learn):
            understood = self._understand(experience, experience.moment[places])
            found = surrogate(
                self._actor.log_probs(understood, chosen),
                experience.log_probs[places].to(device),
                advantage[places].to(device),
                recipe.clip,
                recipe.clip_high or recipe.clip,
            )
        norm = torch.zeros(())
        if learn:
            self.policy_optimizer.zero_grad(set_to_none=True)
            found.loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(self._policy, recipe.max_norm)
            self.policy_optimizer.step()
        with torch.no_grad():
            some = Understood(*(part[:_FEW].detach() for part in understood))
            entropy = self._actor.entropy(some, chosen[:_FEW]).mean()
        return float(found.kl), float(found.clipped), float(entropy), float(norm)

    def _minibatches(self, count: int, epochs: int, luck: torch.Generator) -> Iterator[Tensor]:
        """Yield `epochs` times all decisions, in parts of about equal size."""
        parts = max(1, round(count / self._recipe.minibatch))
        for _ in range(epochs):
            yield from torch.randperm(count, generator=luck).tensor_split(parts)


_FEW = 64
"""Decisions whose entropy is measured in each minibatch."""
_SOME = 512
"""Decisions by which two policies are compared."""


@torch.no_grad()
def distance(
    experience: Experience, now: NanoVLA, actor: Actor, start: NanoVLA, start_actor: Actor
) -> float:
    """Estimate the KL divergence of the start from the policy, nats a decision.

    Args:
        experience: Explored by the policy as it was lately.
        now: The policy's model.
        actor: Its own.
        start: What the model was when the training began.
        start_actor: Its own.
    """
    places = torch.arange(0, len(experience), max(1, len(experience) // _SOME))
    device = next(now.parameters()).device
    views = experience.views(experience.moment[places])
    batch = batch_of(views, now.words, now.config).to(device)
    chosen = experience.chosen[places].to(device)
    gain = actor.log_probs(now(batch), chosen) - start_actor.log_probs(start(batch), chosen)
    return float(gain.mean())


def _adam(parameters: list[nn.Parameter], learning_rate: float) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        parameters, lr=learning_rate, eps=1e-5, weight_decay=0.0, betas=(0.9, 0.99)
    )
