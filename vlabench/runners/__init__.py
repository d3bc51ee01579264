"""Ways to run a plan. They differ in speed only: the records must be the same."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from vlabench.episode import EpisodeSpec
from vlabench.policy import Policy
from vlabench.record import EpisodeRecord
from vlabench.runners.slot import Stage


class Runner(Protocol):
    """Runs planned episodes and yields each record as soon as it is known, in any order."""

    def run(
        self, stage: Stage, policy: Policy, episodes: Iterable[EpisodeSpec]
    ) -> Iterator[EpisodeRecord]:
        """Run `episodes`. An episode that breaks is yielded with Outcome.ERROR; the rest go on."""
        ...


__all__ = ["Runner", "Stage"]
