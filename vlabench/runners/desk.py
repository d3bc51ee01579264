"""The desk: where a policy is asked, its answers are checked, and records are put together.

Both runners use it, so that what counts as a good answer and what a record holds is said once.
"""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench.policy import Decision, Policy
from vlabench.record import EpisodeRecord, Outcome, Seconds
from vlabench.runners.slot import Ending


@dataclass(slots=True)
class _Bill:
    """What the policy has cost an episode so far."""

    episode: EpisodeSpec
    decisions: int = 0
    samples: int = 0
    flops: float | None = 0.0
    seconds: float = 0.0


class BatchError(Exception):
    """A call of the policy for several slots failed; the guilty one is not known."""


class Desk:
    """Asks one policy for many slots and keeps each episode's bill."""

    def __init__(self, policy: Policy, action_size: int) -> None:
        self._policy = policy
        self._action_size = action_size
        self._bills: dict[int, _Bill] = {}

    def open(self, slot: int, episode: EpisodeSpec) -> str | None:
        """Tell the policy that an episode begins; return a traceback if it cannot."""
        self._bills[slot] = _Bill(episode)
        try:
            self._policy.reset(slot, episode)
        except Exception:  # noqa: BLE001 - whatever broke belongs in the record
            return traceback.format_exc()
        return None

    def ask(self, views: Mapping[int, Observation]) -> dict[int, NDArray[np.float32] | str]:
        """Return each slot's chunk, `[H, A]`, or the text of what is wrong with the answer.

        Raises:
            BatchError: If a call for more than one slot failed as a whole.
        """
        slots = sorted(views)
        started = perf_counter()
        try:
            decision = self._policy.act(slots, [views[slot] for slot in slots])
            actions = self._checked(decision, len(slots))
        except Exception as error:
            if len(slots) > 1:
                raise BatchError from error
            return {slots[0]: traceback.format_exc()}
        share = (perf_counter() - started) / len(slots)
        for slot in slots:
            _charge(self._bills[slot], decision, share)
        return {slot: _finite(actions[row]) for row, slot in enumerate(slots)}

    def close(self, slot: int, ending: Ending) -> EpisodeRecord:
        """Put the record of an episode that ended together."""
        bill = self._bills.pop(slot)
        return EpisodeRecord(
            episode=bill.episode,
            outcome=ending.outcome,
            steps=ending.steps,
            decisions=bill.decisions,
            samples=bill.samples,
            flops=bill.flops if bill.decisions else None,
            seconds=Seconds(
                simulator=round(ending.simulator_seconds, 6),
                render=round(ending.render_seconds, 6),
                policy=round(bill.seconds, 6),
            ),
            peak_mb=round(ending.peak_mb, 1),
            trace=ending.trace,
            error=ending.error,
            progress=ending.progress,
        )

    def fail(self, slot: int, error: str) -> EpisodeRecord:
        """Put the record of an episode together that no slot can end any more."""
        ending = Ending(
            outcome=Outcome.ERROR,
            steps=0,
            simulator_seconds=0.0,
            render_seconds=0.0,
            trace=None,
            error=error,
        )
        return self.close(slot, ending)

    def _checked(self, decision: Decision, num_slots: int) -> NDArray[np.float32]:
        actions = np.array(decision.actions, dtype=np.float32)  # policies may use theirs again
        shape = actions.shape
        if (
            len(shape) != 3
            or shape[0] != num_slots
            or not shape[1]
            or shape[2] != self._action_size
        ):
            raise ValueError(
                f"policy {self._policy.id!r} returned actions of shape {list(shape)}, expected "
                f"[{num_slots}, H >= 1, {self._action_size}]"
            )
        return actions


def _charge(bill: _Bill, decision: Decision, seconds: float) -> None:
    bill.decisions += 1
    bill.samples += decision.num_samples
    bill.seconds += seconds
    if decision.flops is None or bill.flops is None:
        bill.flops = None
    else:
        bill.flops += decision.flops


def _finite(chunk: NDArray[np.float32]) -> NDArray[np.float32] | str:
    if np.isfinite(chunk).all():
        return chunk
    row = int(np.argmin(np.isfinite(chunk).all(axis=1)))
    return f"ValueError: the policy returned a non-finite action: {chunk[row].tolist()}\n"
