"""Meta-World's own scripted policies, which read object and goal positions."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench.errors import SpecMismatchError
from vlabench.policy import Decision
from vlabench.protocol import Protocol
from vlabench.spaces import ActionSpec, ObservationSpec
from vlabench.suite import Suite

_OBSERVATION = "observation"
# Tasks that are called what Meta-World calls them, after a slash.
_PREFIXES = ("metaworld/", "metaworld-new/")


class MetaworldExpert:
    """`metaworld.policies.ENV_POLICY_MAP`, one policy a slot, chosen by the episode's task."""

    id = "metaworld-expert"
    digest = ""
    observation = ObservationSpec(privileged=True)

    def __init__(self, action: ActionSpec) -> None:
        self.action = action
        self._scripts: dict[int, Any] = {}

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        from metaworld.policies import ENV_POLICY_MAP

        name = episode.task_id.partition("/")[2]
        self._scripts[slot] = ENV_POLICY_MAP[name]()

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        actions = [
            self._act(self._scripts[slot], observation.privileged[_OBSERVATION])
            for slot, observation in zip(slots, observations, strict=True)
        ]
        return Decision(actions=np.stack(actions)[:, None])

    def _act(self, script: Any, observed: NDArray[np.float64]) -> NDArray[np.float32]:
        with warnings.catch_warnings():
            # Scripts warn of offsets above 1, which they ask for often and which are clipped.
            warnings.simplefilter("ignore", UserWarning)
            action = script.get_action(observed)
        # Meta-World clips in the same way: its own loop has the same outcomes.
        low, high = self.action.low, self.action.high
        clipped: NDArray[np.float32] = np.clip(action, low, high, dtype=np.float32)
        return clipped


def make(suite: Suite, protocol: Protocol) -> MetaworldExpert:
    """Make Meta-World's own scripted experts, which see privileged state.

    Raises:
        SpecMismatchError: If a task of the suite is not one of Meta-World's.
    """
    foreign = [task.id for task in suite.tasks if not task.id.startswith(_PREFIXES)]
    if foreign:
        raise SpecMismatchError(
            f"policy {MetaworldExpert.id!r} knows Meta-World's tasks and no others; suite "
            f"{suite.id!r} has {foreign[0]!r}. Use it with: --suite metaworld"
        )
    return MetaworldExpert(protocol.action)
