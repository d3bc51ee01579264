"""What a training keeps and says in case it gets worse: a collapse shall neither ship nor hide."""

from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from vlabench.metrics.curves import CurveFacts, stability_of_curves
from vlabench.reports.logs import read_curve
from vlabench_baselines.common.log import read_log


class Best(NamedTuple):
    """The best policy so far.

    Attributes:
        success: In the validation plan.
        iteration: After which; 0 is the start.
        weights: Of the policy.
    """

    success: float
    iteration: int
    weights: dict[str, Tensor]


class Fall(NamedTuple):
    """How far success in the validation plan fell from the best so far, at worst.

    Attributes:
        told: For people; empty where it never fell.
        notes: For the checkpoint: shares, `worst_fall` and what luck alone explains of it.
    """

    told: str
    notes: dict[str, Any]


def fall_of(log: Path) -> Fall:
    """Read off a training's log how far success fell."""
    if sum(bool(row.get("success")) for row in read_log(log)) < 2:
        return Fall("", {})
    facts = stability_of_curves([read_curve(log)]).curves[0]
    luck = facts.fall_by_luck or 0.0
    return Fall(_told(facts, luck), {"worst_fall": facts.fall, "fall_by_luck": luck})


def _told(facts: CurveFacts, luck: float) -> str:
    if not facts.fall:
        return ""
    verdict = "it collapsed" if facts.fall > luck else "no more than luck explains"
    return (
        f"success in training episodes fell by {100 * facts.fall:.1f} points from its best so far "
        f"({verdict}: up to {100 * luck:.1f}), and ended at {facts.final:.1%}"
    )
