"""What an iteration of exploring brought back, as tensors to learn from."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vlabench.env import Observation
from vlabench_baselines.common.explore import Trajectory
from vlabench_baselines.common.ppo import advantages
from vlabench_baselines.nanovla.model import NanoVLA, Understood
from vlabench_baselines.nanovla.perception import Batch, batch_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """All `M` moments of some trajectories, and the `D` decisions that were made in them.

    There are more moments than decisions by one for each trajectory that time cut short.

    Attributes:
        trajectories: In which order.
        batch: The moments; None where their features were kept.
        features: What the backbone made of them, `[M, N, dim]` and `[M, N]`, if it was kept.
        moment: In which moment each decision was made, `[D]`.
        chosen: The decisions, `[D, E, A]`.
        log_probs: As they were drawn, `[D]`.
    """

    trajectories: Sequence[Trajectory]
    batch: Batch | None
    features: Understood | None
    moment: Tensor
    chosen: Tensor
    log_probs: Tensor

    def __len__(self) -> int:
        return len(self.moment)

    @property
    def num_moments(self) -> int:
        """Moments, `M`."""
        return sum(len(one.observations) for one in self.trajectories)

    def views(self, moments: Tensor) -> list[Observation]:
        """Return the observations of some moments."""
        views = [view for one in self.trajectories for view in one.observations]
        return [views[moment] for moment in moments.tolist()]

    def seen(self, moments: Tensor, device: torch.device) -> Batch:
        """Return what was seen in some moments."""
        assert self.batch is not None, "only features were kept"
        return self.batch.pick(moments).to(device)

    def understood(self, moments: Tensor, model: NanoVLA, device: torch.device) -> Understood:
        """Return what the backbone makes of some moments: what was kept, or made anew."""
        if self.features is None:
            understood: Understood = model(self.seen(moments, device))
            return understood
        return Understood(*(part[moments].to(device) for part in self.features))

    def rewards(self, process: Tensor | None = None) -> Tensor:
        """Return each decision's reward, `[D]`: 1 where it brought success, plus the process's."""
        sparse = torch.cat([_sparse(one) for one in self.trajectories])
        return sparse if process is None else sparse + process

    def advantages(
        self, rewards: Tensor, values: Tensor, gamma: float, lam: float
    ) -> tuple[Tensor, Tensor]:
        """Return advantages and returns of all decisions, `[D]` each.

        Args:
            rewards: Of decisions, `[D]`.
            values: Of moments, `[M]`.
            gamma: See `ppo.advantages`.
            lam: See there.
        """
        found, decision, moment = list[tuple[Tensor, Tensor]](), 0, 0
        for one in self.trajectories:
            count, seen = len(one), len(one.observations)
            after = float(values[moment + count]) if one.timed_out else 0.0
            found.append(
                advantages(
                    rewards[decision : decision + count],
                    values[moment : moment + count],
                    after,
                    gamma,
                    lam,
                )
            )
            decision, moment = decision + count, moment + seen
        each, returns = zip(*found, strict=True)
        return torch.cat(each), torch.cat(returns)


def gather(trajectories: Sequence[Trajectory], model: NanoVLA) -> Experience:
    """Put trajectories together; every one has decided at least once."""
    kept = all(one.features for one in trajectories)
    views = [view for one in trajectories for view in one.observations]
    at, moment = 0, list[Tensor]()
    for one in trajectories:
        moment.append(torch.arange(at, at + len(one)))
        at += len(one.observations)
    return Experience(
        trajectories=trajectories,
        batch=None if kept else batch_of(views, model.words, model.config),
        features=_stack([f for one in trajectories for f in one.features]) if kept else None,
        moment=torch.cat(moment),
        chosen=torch.cat([one.chosen for one in trajectories]),
        log_probs=torch.cat([one.log_probs for one in trajectories]),
    )


def _sparse(one: Trajectory) -> Tensor:
    rewards = torch.zeros(len(one))
    rewards[-1] = float(one.success)
    return rewards


def _stack(features: Sequence[Understood]) -> Understood:
    tokens = pad_sequence([one.tokens for one in features], batch_first=True)
    return Understood(tokens, pad_sequence([one.seen for one in features], batch_first=True))
