"""Which episode a free worker takes. The order changes the speed and nothing else."""

from collections import deque
from collections.abc import Collection, Iterable

from vlabench.episode import EpisodeSpec
from vlabench.protocol import Protocol


class WorkQueue:
    """Episodes that are left, by task.

    A worker keeps to the task whose scene it has built; when that is done it takes the task with
    the most control steps left, one that nobody is at if there is one, so that the longest
    tasks do not end up alone at the end.
    """

    def __init__(self, episodes: Iterable[EpisodeSpec], protocol: Protocol) -> None:
        self._protocol = protocol
        self._by_task: dict[str, deque[EpisodeSpec]] = {}
        self._alone: deque[EpisodeSpec] = deque()
        for episode in episodes:
            self._by_task.setdefault(episode.task_id, deque()).append(episode)

    def __len__(self) -> int:
        return len(self._alone) + sum(map(len, self._by_task.values()))

    def take(self, held: str, held_by_any: Collection[str]) -> tuple[EpisodeSpec, bool]:
        """Take an episode for a worker; also say whether the policy must be asked about it alone.

        Args:
            held: Task whose scene the worker has built; empty for none.
            held_by_any: Tasks whose scenes any worker has built.

        Raises:
            IndexError: If nothing is left.
        """
        if self._alone:
            return self._alone.popleft(), True
        if not self._by_task:
            raise IndexError("no episodes are left")
        if held in self._by_task:
            task_id = held
        else:
            free = [t for t in self._by_task if t not in held_by_any]
            task_id = max(free or self._by_task, key=self._steps_left)
        episode = self._by_task[task_id].popleft()
        if not self._by_task[task_id]:
            del self._by_task[task_id]
        return episode, False

    def put_back(self, episode: EpisodeSpec) -> None:
        """Return an episode whose batch broke, to be asked about alone."""
        self._alone.append(episode)

    def _steps_left(self, task_id: str) -> int:
        return self._protocol.horizon(task_id) * len(self._by_task[task_id])
