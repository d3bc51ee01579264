"""The desk: where a policy is asked, its answers are checked, and records are put together.

Both runners use it, so that what counts as a good answer and what a record holds is said once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench.policy import Decision, Policy
from vlabench.record import EpisodeRecord, Outcome, Seconds
from vlabench.runners.slot import Ending
from vlabench.strangers import account, call

_MOST_ACTIONS = 10_000
"""In a chunk; no episode is as long."""
_MOST_SAMPLES = 1 << 32
_MOST_FLOPS = 1e30
"""Of one decision: so much that the sum over an episode is still a number that readers take."""


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

    def open(self, slot: int, episode: EpisodeSpec) -> None:
        """Open an episode's bill."""
        self._bills[slot] = _Bill(episode)

    def begin(self, slot: int) -> str | None:
        """Tell the policy that an episode begins; return a traceback if it cannot."""
        try:
            call(self._policy.reset, slot, self._bills[slot].episode)
        except Exception:  # noqa: BLE001 - whatever broke belongs in the record
            return account()
        return None

    def ask(self, views: Mapping[int, Observation]) -> dict[int, NDArray[np.float32] | str]:
        """Return each slot's chunk, `[H, A]`, or the text of what is wrong with the answer.

        Raises:
            BatchError: If a call for more than one slot failed as a whole.
        """
        slots = sorted(views)
        started = perf_counter()
        try:
            decision = call(self._decision, slots, [views[slot] for slot in slots])
        except Exception as error:
            if len(slots) > 1:
                raise BatchError from error
            return {slots[0]: account()}
        share = (perf_counter() - started) / len(slots)
        for slot in slots:
            _charge(self._bills[slot], decision, share)
        return {slot: _finite(decision.actions[row]) for row, slot in enumerate(slots)}

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

    def _decision(self, slots: Sequence[int], views: Sequence[Observation]) -> Decision:
        """Ask; return the answer as the plain values that records hold. Its array is ours."""
        given, num_slots = self._policy.act(slots, views), len(slots)
        actions = np.asarray(given.actions)
        shape = actions.shape
        if (
            len(shape) != 3
            or shape[0] != num_slots
            or not 1 <= shape[1] <= _MOST_ACTIONS
            or shape[2] != self._action_size
        ):
            raise ValueError(
                f"policy {self._policy.id!r} returned actions of shape {list(shape)}, expected "
                f"[{num_slots}, H >= 1, {self._action_size}] and H <= {_MOST_ACTIONS}"
            )
        if actions.dtype.kind not in "fiub":
            raise TypeError(
                f"policy {self._policy.id!r} returned actions of {actions.dtype}, expected numbers"
            )
        return Decision(
            actions=_own(actions),
            num_samples=_count(given.num_samples),
            flops=_cost(given.flops),
        )


def _own(actions: NDArray[Any]) -> NDArray[np.float32]:
    """Return a copy: policies may use theirs again."""
    if actions.dtype == np.float32:
        return actions.copy()
    with np.errstate(over="ignore"):  # becomes infinite, which is refused for its slot alone
        return actions.astype(np.float32)


def _count(given: Any) -> int:
    if isinstance(given, Integral) and 1 <= int(given) <= _MOST_SAMPLES:
        return int(given)
    raise ValueError(f"num_samples is {given!r}, expected a whole number from 1 to {_MOST_SAMPLES}")


def _cost(given: Any) -> float | None:
    if given is None:
        return None
    if isinstance(given, Real) and 0 <= float(given) <= _MOST_FLOPS:  # not so for NaN
        return float(given)
    raise ValueError(f"flops is {given!r}, expected None or a number from 0 to {_MOST_FLOPS:g}")


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
