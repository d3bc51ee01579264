"""The toy's expert: it is told where the mark is and moves there."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench.errors import SettingError, SpecMismatchError
from vlabench.policy import Decision
from vlabench.protocol import Protocol
from vlabench.spaces import ActionSpec, ObservationSpec
from vlabench.suite import Suite

_REACH = 0.1
"""How far an action of 1 moves the dot."""


class PointReachExpert:
    """Moves towards the mark by what is left, as far as one step goes."""

    id = "point-reach-expert"
    digest = ""
    observation = ObservationSpec(state="position", state_size=1, privileged=True)

    def __init__(self, action: ActionSpec, speed: float) -> None:
        self.action = action
        self._speed = speed

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        pass

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        return Decision(actions=np.array([[self._act(seen)] for seen in observations]))

    def _act(self, seen: Observation) -> NDArray[np.float32]:
        left = (seen.privileged["mark"] - seen.state) / _REACH
        return np.clip(left, -self._speed, self._speed).astype(np.float32)


def make(suite: Suite, protocol: Protocol, *, speed: float = 1.0) -> PointReachExpert:
    """Make the expert, which sees privileged state.

    Args:
        suite: Must be the toy.
        protocol: Its action convention.
        speed: Largest action. At 0.5 the horizon is too short for a part of the starts, which is
            good for showing what happens to failures.

    Raises:
        SettingError: If `speed` is out of range.
        SpecMismatchError: If the suite is another one.
    """
    if suite.id != "point-reach":
        raise SpecMismatchError(
            f"policy {PointReachExpert.id!r} knows the suite 'point-reach' and no other; suite "
            f"{suite.id!r} needs an expert of its own, see: vlabench list policies"
        )
    if not 0 < speed <= 1:
        raise SettingError(f"policy {PointReachExpert.id!r}: speed={speed:g}, expected in (0, 1]")
    return PointReachExpert(protocol.action, speed)
