"""Runs one episode after the other in this process: simple to debug, no watchdog."""

from collections.abc import Iterable, Iterator

from vlabench.episode import EpisodeSpec
from vlabench.policy import Policy
from vlabench.record import EpisodeRecord
from vlabench.runners.desk import Desk
from vlabench.runners.slot import Ending, Slot, Stage


class SerialRunner:
    """One slot, in this process."""

    def run(
        self, stage: Stage, policy: Policy, episodes: Iterable[EpisodeSpec]
    ) -> Iterator[EpisodeRecord]:
        """Run `episodes` in order; see `Runner.run`."""
        desk, slot = Desk(policy, stage.protocol.action.size), Slot(stage)
        try:
            for episode in episodes:
                yield _run_one(desk, slot, episode)
        finally:
            slot.close()


def _run_one(desk: Desk, slot: Slot, episode: EpisodeSpec) -> EpisodeRecord:
    desk.open(0, episode)
    if error := desk.begin(0):
        return desk.fail(0, error)
    result = slot.begin(episode)
    while not isinstance(result, Ending):
        answer = desk.ask({0: result})[0]
        if isinstance(answer, str):
            return desk.close(0, slot.abort(answer))
        result = slot.resume(answer)
    return desk.close(0, result)
