"""Runs a plan block by block, and can be told that it is enough."""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence

from vlabench.episode import EpisodeSpec
from vlabench.policy import Policy
from vlabench.protocol import Protocol
from vlabench.record import EpisodeRecord
from vlabench.runners.processes import ProcessRunner
from vlabench.runners.queue import WorkQueue
from vlabench.runners.slot import Stage


class BlockQueue(WorkQueue):
    """Blocks of episodes: the next one is begun when nothing of the last is left to hand out.

    Workers do not wait for each other between blocks, so that a slow episode holds nobody up.
    """

    def __init__(self, blocks: Iterable[Sequence[EpisodeSpec]], protocol: Protocol) -> None:
        super().__init__((), protocol)  # for what is put back
        self._blocks = deque(WorkQueue(block, protocol) for block in blocks)

    def __len__(self) -> int:
        return super().__len__() + sum(map(len, self._blocks))

    def take(self, held: str, held_by_any: Collection[str]) -> tuple[EpisodeSpec, bool]:
        """Take an episode of the first block that has one; see `WorkQueue.take`."""
        while self._blocks and not self._blocks[0]:
            self._blocks.popleft()
        if self._alone or not self._blocks:
            return super().take(held, held_by_any)
        return self._blocks[0].take(held, held_by_any)

    def clear(self) -> None:
        """Hand out no further episode."""
        self._blocks.clear()


class BlockRunner(ProcessRunner):
    """A `ProcessRunner` that keeps to an order of blocks and stops when it is told to.

    Records still come in the order in which episodes end: short ones, which mostly succeed, first.
    Who decides by them has to wait for whole blocks (`vlabench.metrics.sequential`).
    """

    def __init__(
        self,
        blocks: Sequence[Sequence[EpisodeSpec]],
        workers: int = 2,
        *,
        watchdog_seconds: float = 600.0,
    ) -> None:
        """Set the runner up; processes start with the run.

        Args:
            blocks: What to run before what; see `vlabench.plan.interleave`.
            workers: Simulators side by side.
            watchdog_seconds: See `ProcessRunner`.
        """
        super().__init__(workers, watchdog_seconds=watchdog_seconds)
        self._blocks = blocks
        self._stopped = False
        self._queue: BlockQueue | None = None

    def run(
        self, stage: Stage, policy: Policy, episodes: Iterable[EpisodeSpec]
    ) -> Iterator[EpisodeRecord]:
        """Run those of `episodes` that are in the blocks; see `Runner.run`.

        Raises:
            PolicyHangError: If a call of the policy does not return; what was yielded stands.
        """
        if self._stopped:
            return
        wanted = {episode.key for episode in episodes}
        left = ([e for e in block if e.key in wanted] for block in self._blocks)
        self._queue = BlockQueue(left, stage.protocol)
        with self.pool(stage, policy, min(self._num_workers, len(self._queue))) as pool:
            yield from pool.work(self._queue)

    def stop(self) -> None:
        """Begin no further episode; those under way go on to their end."""
        self._stopped = True
        if self._queue is not None:
            self._queue.clear()
