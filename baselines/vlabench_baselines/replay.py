"""Plays the executed actions of a recorded run again, whatever is seen.

Under the rules and the simulator of the run it reproduces every trajectory; under others it shows
how much of a success was the scene and how much the policy's looking.
"""

import hashlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench.errors import RecordError, SpecMismatchError
from vlabench.evaluation import beside
from vlabench.policy import Decision
from vlabench.protocol import Protocol
from vlabench.record import EpisodeRecord, Outcome
from vlabench.spaces import ObservationSpec
from vlabench.store import read_run
from vlabench.suite import Suite

_CHUNK = 8


def make(suite: Suite, protocol: Protocol, *, run: str) -> "ReplayPolicy":
    """Load the actions of a run that was made with `--actions`.

    Args:
        suite: Not looked at.
        protocol: Its action convention must have as many numbers as the recorded actions.
        run: Path of the results file, `X.jsonl`; the actions are in `X.actions/` beside it.
            Episodes that ended in an error are not replayed.

    Raises:
        RecordError: If the results file, the folder or an episode's actions are missing or not
            what the records say.
        SpecMismatchError: If the recorded actions have another size than the protocol's.
    """
    path = Path(run)
    folder = beside(path, "actions")
    ended = [r for r in read_run(path).episodes if r.outcome is not Outcome.ERROR]
    if not folder.is_dir():
        raise RecordError(
            f"{path} was recorded without actions ({folder} is missing); "
            "record it again with: vlabench run ... --actions"
        )
    actions = {record.episode.key: _load(folder, record) for record in ended}
    for key, recorded in actions.items():
        if recorded.shape[1] != protocol.action.size:
            raise SpecMismatchError(
                f"policy 'replay': the actions of {key} in {folder} have {recorded.shape[1]} "
                f"numbers; suite {suite.id!r} under {protocol.name} accepts {protocol.action}"
            )
    episodes = {record.episode.key: record.episode for record in ended}
    return ReplayPolicy(protocol, episodes, actions, digest=_digest(folder), source=path)


class ReplayPolicy:
    """Hands out recorded actions in order, 8 for a decision; the last one goes on at the end."""

    id = "replay"
    observation = ObservationSpec()

    def __init__(
        self,
        protocol: Protocol,
        episodes: Mapping[str, EpisodeSpec],
        actions: Mapping[str, NDArray[np.float32]],
        *,
        digest: str,
        source: Path,
    ) -> None:
        """Set the policy up.

        Args:
            protocol: Says how much of a chunk is executed, and so where the next one begins.
            episodes: What was run, by key.
            actions: The executed actions, `[steps, A]`, by key.
            digest: Hash of the actions.
            source: The results file, for messages.
        """
        self.action = protocol.action
        self.digest = digest
        self._size = min(_CHUNK, protocol.replan_steps or _CHUNK)
        self._episodes, self._actions, self._source = episodes, actions, source
        self._playing: dict[int, tuple[NDArray[np.float32], int]] = {}

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        """Rewind to the beginning of an episode.

        Raises:
            RecordError: If the run does not hold the episode, or one that started otherwise.
        """
        recorded = self._episodes.get(episode.key)
        if recorded is None:
            raise RecordError(
                f"{self._source} holds no actions of episode {episode.key}; plan only what it "
                "recorded without an error"
            )
        if recorded.scene_seed != episode.scene_seed:
            raise RecordError(
                f"{self._source} recorded {episode.key} with scene seed {recorded.scene_seed}, "
                f"this plan has {episode.scene_seed}; plan with the --seed of that run"
            )
        self._playing[slot] = (self._actions[episode.key], 0)

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        return Decision(actions=np.stack([self._next(slot) for slot in slots]))

    def _next(self, slot: int) -> NDArray[np.float32]:
        actions, start = self._playing[slot]
        self._playing[slot] = (actions, start + self._size)
        places = np.minimum(np.arange(start, start + self._size), len(actions) - 1)
        return actions[places]


def _load(folder: Path, record: EpisodeRecord) -> NDArray[np.float32]:
    """Return the executed actions of an episode, `[steps, A]`."""
    path = folder / f"{record.episode.file_stem}.npy"
    again = "record the run again with: vlabench run ... --actions"
    try:
        found = np.load(BytesIO(path.read_bytes()), allow_pickle=False)
    except FileNotFoundError as error:
        raise RecordError(f"{path} with the actions of that episode is missing; {again}") from error
    except (OSError, ValueError, EOFError) as error:
        raise RecordError(f"{path} is not a file of recorded actions: {error}; {again}") from error
    if found.ndim != 2 or found.dtype != np.float32 or len(found) != record.steps:
        raise RecordError(
            f"{path} holds {found.dtype} of shape {list(found.shape)}; the record says "
            f"{record.steps} steps, so float32 [{record.steps}, A] was expected; {again}"
        )
    actions: NDArray[np.float32] = found
    return actions


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        whole.update(f"{path.name}\0{len(content)}\0".encode())
        whole.update(content)
    return whole.hexdigest()[:16]
