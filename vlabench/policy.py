"""What is being evaluated: observations in, chunks of actions out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench.spaces import ActionSpec, ObservationSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One answer of a policy to `B` slots: chunks of `H` actions of `A` numbers, and their cost.

    Attributes:
        actions: `[B, H, A]`, finite.
        num_samples: Candidate chunks evaluated for each slot; 1 without test-time search.
        flops: Floating-point operations for each slot; None where unknown.
    """

    actions: NDArray[np.float32]
    num_samples: int = 1
    flops: float | None = None


class Policy(Protocol):
    """A batched policy.

    A slot is one of the episodes being run side by side. Whatever a policy remembers or draws, it
    keeps per slot, so that an episode's actions do not depend on what runs beside it.
    """

    @property
    def id(self) -> str:
        """Name in records and reports."""
        ...

    @property
    def digest(self) -> str:
        """Hash of whatever decides its actions (a checkpoint); empty when the code is all."""
        ...

    @property
    def observation(self) -> ObservationSpec:
        """What it needs to see; suites supply exactly this."""
        ...

    @property
    def action(self) -> ActionSpec:
        """The convention of the actions it produces."""
        ...

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        """Forget what `slot` held and seed it with `episode.policy_seed`."""
        ...

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        """Return the next actions of each slot, `[B, H, A]`."""
        ...
