"""Two policies that look at nothing: one keeps still, one fumbles. The floor of every table."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench.errors import SettingError
from vlabench.policy import Decision
from vlabench.protocol import Protocol
from vlabench.spaces import ObservationSpec
from vlabench.suite import Suite

_LONGEST = 10_000
"""Chunk; no episode is as long."""


def make_noop(suite: Suite, protocol: Protocol, *, chunk: int = 8) -> "NoopPolicy":
    """Make the policy that keeps still, as far as the protocol says how.

    Args:
        suite: Not looked at.
        protocol: Its settling action is the action, zeros when it has none.
        chunk: Actions for each decision, at least 1.

    Raises:
        SettingError: If `chunk` is out of range.
    """
    return NoopPolicy(protocol, _checked(chunk, "noop"))


def make_random(suite: Suite, protocol: Protocol, *, chunk: int = 8) -> "RandomPolicy":
    """Make the policy that draws every component uniformly from the range of meaningful values.

    Args:
        suite: Not looked at.
        protocol: Its action convention says how many components and which range.
        chunk: Actions for each decision, at least 1.

    Raises:
        SettingError: If `chunk` is out of range.
    """
    return RandomPolicy(protocol, _checked(chunk, "random"))


class NoopPolicy:
    """Answers with the same action always."""

    id = "noop"
    digest = ""
    observation = ObservationSpec()

    def __init__(self, protocol: Protocol, chunk: int) -> None:
        self.action = protocol.action
        still = protocol.settle_action or (0.0,) * protocol.action.size
        self._chunk: NDArray[np.float32] = np.tile(np.array(still, dtype=np.float32), (chunk, 1))

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        pass

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        return Decision(actions=np.stack([self._chunk] * len(slots)))


class RandomPolicy:
    """Draws from one generator for each slot.

    The sequence of draws does not depend on the size of a chunk, only on how many are executed.
    """

    id = "random"
    digest = ""
    observation = ObservationSpec()

    def __init__(self, protocol: Protocol, chunk: int) -> None:
        self.action = protocol.action
        self._shape = (chunk, protocol.action.size)
        self._generators: dict[int, np.random.Generator] = {}

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        self._generators[slot] = np.random.default_rng(episode.policy_seed)

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        low, high = self.action.low, self.action.high
        chunks = [self._generators[slot].uniform(low, high, self._shape) for slot in slots]
        return Decision(actions=np.stack(chunks).astype(np.float32))


def _checked(chunk: int, policy_id: str) -> int:
    if not 1 <= chunk <= _LONGEST:
        raise SettingError(
            f"policy {policy_id!r}: chunk={chunk}, expected at least 1 and at most {_LONGEST}"
        )
    return chunk
