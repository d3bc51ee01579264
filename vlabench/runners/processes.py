"""Runs simulators in processes of their own and asks the policy, here, for all that wait.

A worker process owns one scene and executes a whole chunk; one message goes each way for each
decision. A worker that dies or hangs costs its episode an error and is replaced.
"""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Self, TypeVar

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from vlabench.children import deaf
from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench.errors import PolicyHangError, SimulatorError
from vlabench.policy import Policy
from vlabench.record import EpisodeRecord
from vlabench.runners.awake import SLICE, AwakeClock
from vlabench.runners.desk import BatchError, Desk
from vlabench.runners.pictures import PictureBlock
from vlabench.runners.queue import WorkQueue
from vlabench.runners.slot import Ending, Slot, Stage
from vlabench.spaces import Camera
from vlabench.strangers import staying

_SPAWN = get_context("spawn")  # a fork after OpenGL or torch threads deadlocks
_THREADS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "LP_NUM_THREADS": "0",  # Mesa's drawing on the CPU: in the thread that asks for it
}
_STOP_SECONDS = 5.0
_T = TypeVar("_T")
_Question = tuple[Callable[[], Any], "SimpleQueue[Any]"]


class ProcessRunner:
    """Several slots, each in a process of its own; the policy stays in this one."""

    def __init__(
        self,
        workers: int = 2,
        *,
        watchdog_seconds: float = 600.0,
        still_running: int | None = None,
    ) -> None:
        """Set the runner up; processes start with the run.

        Args:
            workers: Simulators side by side.
            watchdog_seconds: How long a simulator may take for one chunk (or for building and
                resetting a scene), and the policy for one call; while this process is suspended
                nothing counts.
            still_running: How many simulators at most may run on while the policy is asked; None
                asks as soon as a slot waits. Worth it for a policy that answers many slots in
                little more time than one, with at least twice as many workers as cores: half of
                them then wait while the other half runs.
        """
        if workers < 1:
            raise ValueError(f"workers is {workers}; it must be at least 1")
        if still_running is not None and still_running < 0:
            raise ValueError(f"still_running is {still_running}; it must be at least 0")
        self._num_workers = workers
        self._watchdog = watchdog_seconds
        self._still_running = workers if still_running is None else still_running

    def run(
        self, stage: Stage, policy: Policy, episodes: Iterable[EpisodeSpec]
    ) -> Iterator[EpisodeRecord]:
        """Run `episodes`, longest tasks first; see `Runner.run`.

        Raises:
            PolicyHangError: If a call of the policy does not return; what was yielded stands.
            SimulatorError: If processes cannot start.
        """
        queue = WorkQueue(episodes, stage.protocol)
        with self.pool(stage, policy, min(self._num_workers, len(queue))) as pool:
            yield from pool.work(queue)

    def pool(self, stage: Stage, policy: Policy, workers: int | None = None) -> "Pool":
        """Start the processes, for one run after the other; use it in a `with` statement.

        Args:
            stage: Where the policy acts, in every run.
            policy: Which policy; what it does may change from run to run, as it learns.
            workers: Simulators side by side; all of them when None.
        """
        count = self._num_workers if workers is None else workers
        return Pool(stage, policy, count, self._watchdog, self._still_running)


class Pool:
    """Worker processes that keep their scenes between runs; see `ProcessRunner.pool`."""

    def __init__(
        self, stage: Stage, policy: Policy, count: int, watchdog: float, still_running: int
    ) -> None:
        self._stage, self._protocol = cloudpickle.dumps(stage), stage.protocol
        self._cameras = stage.wants.cameras
        self._desk = Desk(policy, stage.protocol.action.size)
        self._queue = WorkQueue((), stage.protocol)
        self._watchdog, self._still_running = watchdog, still_running
        self._caller = _Caller(watchdog)
        self._clock = AwakeClock()
        self._workers: list[_Worker] = []
        try:
            for index in range(count):
                self._workers.append(self._worker(index))
        except BaseException:  # interrupted, or out of processes
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self, episodes: Iterable[EpisodeSpec]) -> Iterator[EpisodeRecord]:
        """Run `episodes`; see `Runner.run`. It is carried to its end, or the pool is of no use.

        Raises:
            PolicyHangError: If a call of the policy does not return; what was yielded stands.
        """
        return self.work(WorkQueue(episodes, self._protocol))

    def work(self, queue: WorkQueue) -> Iterator[EpisodeRecord]:
        """Run what is queued; see `run`."""
        if self.busy:
            raise RuntimeError("a run of this pool was left before its end")
        self._queue = queue
        while self.busy:
            yield from self.turn()

    @property
    def busy(self) -> bool:
        """Whether anything is left to do."""
        return bool(self._queue) or any(w.episode is not None for w in self._workers)

    def turn(self) -> Iterator[EpisodeRecord]:
        """Take in what workers report, hand out episodes, ask the policy if it is time."""
        yield from self._collect()
        for worker in self._workers:
            while worker.episode is None and self._queue:
                yield from self._begin(worker)
        yield from self._answer()

    def stop(self) -> None:
        """End every worker, and the thread that calls the policy."""
        self._caller.stop()
        for worker in self._workers:
            worker.ask_to_stop()
        for worker in self._workers:
            worker.stop()

    def _begin(self, worker: "_Worker") -> Iterator[EpisodeRecord]:
        episode, alone = self._queue.take(worker.task_id, {w.task_id for w in self._workers})
        self._desk.open(worker.index, episode)
        try:
            error = self._caller.ask(partial(self._desk.begin, worker.index))
        except PolicyHangError as hang:
            yield self._desk.fail(worker.index, f"{hang}\n")
            raise
        if error:
            yield self._desk.fail(worker.index, error)
            return
        worker.begin(episode, alone=alone)

    def _collect(self) -> Iterator[EpisodeRecord]:
        """Wait for reports until the policy is to be asked or an episode has ended."""
        ended = False
        while not ended and (running := [w for w in self._workers if w.running]):
            asking, now = self._asking(), self._clock.now()
            left = min(w.since for w in running) + self._watchdog - now
            timeout = 0.0 if asking else min(SLICE, max(0.0, left))
            ready = wait([w.connection for w in running], timeout)
            for worker in running:
                if worker.connection in ready:
                    record = self._receive(worker)
                elif now - worker.since > self._watchdog:
                    record = self._replace(worker, self._hung())
                else:
                    continue
                if record is not None:
                    ended = True
                    yield record
            if asking:
                return

    def _asking(self) -> bool:
        """Whether the policy is to be asked: somebody waits, and few enough run on."""
        running = sum(worker.running for worker in self._workers)
        waiting = any(worker.view is not None for worker in self._workers)
        return waiting and running <= self._still_running

    def _receive(self, worker: "_Worker") -> EpisodeRecord | None:
        try:
            result = worker.receive()
        except (EOFError, ConnectionError):
            if not any(other.ready for other in self._workers):
                raise SimulatorError(
                    f"worker processes cannot start ({worker.death()}). They import the program "
                    "that is running: that has to be a file, and safe to import (what it does "
                    "stands below `if __name__ == '__main__':`)"
                ) from None
            return self._replace(worker, f"the worker process died ({worker.death()})\n")
        return self._desk.close(worker.index, result) if isinstance(result, Ending) else None

    def _answer(self) -> Iterator[EpisodeRecord]:
        """Ask the policy for every slot that waits; those that must be alone, alone."""
        if not self._asking():
            return
        waiting = [worker for worker in self._workers if worker.view is not None]
        groups = [[worker] for worker in waiting if worker.alone]
        groups.append([worker for worker in waiting if not worker.alone])
        for group in filter(None, groups):
            views = {worker.index: worker.view for worker in group if worker.view is not None}
            try:
                answers = self._caller.ask(partial(self._desk.ask, views))
            except BatchError:
                # Which episode broke the call is not known, and its neighbours must not suffer:
                # each is run again from its beginning, asked about alone.
                for worker in group:
                    self._queue.put_back(worker.drop())
                continue
            except PolicyHangError as error:
                for worker in group:
                    yield self._desk.fail(worker.index, f"{error}\n")
                    worker.kill()
                raise
            for worker in group:
                worker.send(answers[worker.index])

    def _replace(self, worker: "_Worker", reason: str) -> EpisodeRecord:
        worker.kill()
        self._workers[worker.index] = self._worker(worker.index)
        return self._desk.fail(worker.index, reason)

    def _worker(self, index: int) -> "_Worker":
        return _Worker(index, self._stage, self._cameras, self._clock)

    def _hung(self) -> str:
        return f"the simulator did not answer within {self._watchdog:g} s (watchdog)\n"


class _Caller:
    """Asks the policy in a thread, so that one that hangs can be left behind."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._questions: SimpleQueue[_Question | None] = SimpleQueue()
        Thread(target=self._serve, daemon=True).start()

    def ask(self, question: Callable[[], _T]) -> _T:
        """Return what `question` does, or raise what it raises.

        Raises:
            PolicyHangError: If there is no answer in time.
        """
        answers: SimpleQueue[Any] = SimpleQueue()
        with staying():
            self._questions.put((question, answers))
            answer, error = self._wait(answers)
        if error is not None:
            raise error
        return answer  # type: ignore[no-any-return]

    def stop(self) -> None:
        """Let the thread end; one that hangs in the policy stays behind."""
        self._questions.put(None)

    def _wait(self, answers: "SimpleQueue[Any]") -> Any:
        clock = AwakeClock()
        while (left := self._seconds - clock.now()) > 0:
            with suppress(Empty):
                return answers.get(timeout=min(SLICE, left))
        raise PolicyHangError(
            f"the policy did not answer within {self._seconds:g} s; the run stops here. "
            "Run the same command again to go on with the episodes that are left"
        )

    def _serve(self) -> None:
        while (asked := self._questions.get()) is not None:
            question, answers = asked
            try:
                answers.put((question(), None))
            except BaseException as error:  # noqa: BLE001 - handed to the thread that asked
                answers.put((None, error))


@dataclass(slots=True)
class _Worker:
    """One worker process, as its parent sees it."""

    index: int
    stage: bytes
    cameras: tuple[Camera, ...]
    clock: AwakeClock
    episode: EpisodeSpec | None = None
    alone: bool = False
    task_id: str = ""
    view: Observation | None = None
    since: float = 0.0
    ready: bool = False
    process: SpawnProcess = field(init=False)
    connection: Connection = field(init=False)
    pictures: PictureBlock = field(init=False)

    def __post_init__(self) -> None:
        self.connection, theirs = _SPAWN.Pipe()
        self.pictures = PictureBlock(self.cameras, _SPAWN)
        arguments = (theirs, self.stage, self.pictures)
        self.process = _SPAWN.Process(target=_work, args=arguments, daemon=True)
        with _one_thread_each(), deaf():
            self.process.start()
        theirs.close()

    @property
    def running(self) -> bool:
        """Whether it owes a report."""
        return self.episode is not None and self.view is None

    def begin(self, episode: EpisodeSpec, *, alone: bool) -> None:
        """Start an episode."""
        self.episode, self.alone, self.task_id = episode, alone, episode.task_id
        self._post(episode)

    def send(self, answer: NDArray[np.float32] | str) -> None:
        """Hand over a chunk, or the text of what the policy did wrong."""
        self.view = None
        self._post(answer)

    def receive(self) -> Observation | Ending | None:
        """Take in a report; None where it says that the process has started.

        Raises:
            EOFError, ConnectionError: If the process died.
        """
        result: Observation | Ending | None = self.connection.recv()
        if isinstance(result, Ending):
            self.episode = None
        elif result is None:
            self.ready, self.since = True, self.clock.now()
        else:
            self.view = result = self.pictures.take(result)
        return result

    def drop(self) -> EpisodeSpec:
        """Leave a waiting episode without a record; return it."""
        episode, self.episode, self.view = self.episode, None, None
        assert episode is not None
        return episode

    def death(self) -> str:
        """Say how the process ended."""
        self.process.join(_STOP_SECONDS)
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"signal {signal.Signals(-code).name}"
        return f"exit status {code}"

    def kill(self) -> None:
        """End the process whatever it is doing."""
        self.process.kill()
        self.process.join()
        self.connection.close()

    def ask_to_stop(self) -> None:
        """Let an idle process end by itself; `stop` waits for it."""
        if self.episode is None and not self.connection.closed:
            self._post(None)

    def stop(self) -> None:
        """End the process; one that is in the middle of an episode is not waited for."""
        if self.connection.closed:
            return
        if self.episode is None:
            self.process.join(_STOP_SECONDS)
        self.kill()

    def _post(self, message: object) -> None:
        self.since = self.clock.now()
        try:
            self.connection.send(message)
        except OSError:
            pass  # it died; the next receive says so


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes started inside use one thread: their number is the parallelism."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(_THREADS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(connection: Connection, stage: bytes, pictures: PictureBlock) -> None:
    """Serve one slot until told to stop, or until the parent is gone."""
    slot = Slot(cloudpickle.loads(stage))
    try:
        connection.send(None)  # started
        while (message := connection.recv()) is not None:
            result = _reply(slot, message)
            connection.send(result if isinstance(result, Ending) else pictures.put(result))
    except (EOFError, OSError):
        pass  # the parent is gone
    finally:
        slot.close()


def _reply(slot: Slot, message: EpisodeSpec | NDArray[np.float32] | str) -> Observation | Ending:
    if isinstance(message, EpisodeSpec):
        return slot.begin(message)
    if isinstance(message, str):
        return slot.abort(message)
    return slot.resume(message)
