"""Training a small net on one loss, from first step to last."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vlabench_baselines.common.progress import Follower

_TAIL = 50
"""Steps over whose mean loss a follower is told."""


def fit(
    net: nn.Module,
    loss: Callable[[], Tensor],
    *,
    steps: int,
    learning_rate: float,
    what: str,
    say: Follower,
) -> None:
    """Minimise a loss by AdamW, the learning rate going through one cycle (arXiv 1708.07120).

    Args:
        net: Changed in place.
        loss: Of a batch that it draws itself.
        steps: Of the optimizer.
        learning_rate: The highest of the cycle.
        what: What is being trained, for people.
        say: Who is told how far it is.
    """
    optimizer = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=0.01)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=steps + 1, pct_start=0.1
    )
    losses = torch.zeros(steps)
    for step in say.track(range(steps), steps, what):
        found = loss()
        optimizer.zero_grad(set_to_none=True)
        found.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        cycle.step()
        losses[step] = found.detach()
        say.note = f"loss {losses[max(0, step + 1 - _TAIL) : step + 1].mean():.4f}"
