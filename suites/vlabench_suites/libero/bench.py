"""LIBERO's own loops and vlabench in turn, on the same tasks, seeds and actions.

Each side has a process of its own: robosuite draws into whatever OpenGL context is current, and
the memory of one must not count for the other. While one works, the other waits.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from vlabench.measurement import Comparison, Measurement, Say
from vlabench.record import Trace
from vlabench.runners.processes import ProcessRunner
from vlabench.spaces import ObservationSpec
from vlabench_suites.drawing import gl_backend
from vlabench_suites.libero.bench_sides import (
    Actions,
    Ours,
    Script,
    Seat,
    Theirs,
    actions_of,
    episode,
    stage,
    task_and_protocol,
)

SCENES = ("libero-spatial/0", "libero-object/4", "libero-10/9", "libero-10/4", "libero-10/5")
"""One task of each kind: table, floor, kitchen, living room, study."""

STEPS = 120
"""Control steps of an episode after it has settled; more make resets matter less."""

BLOCKS, BLOCK_STEPS = 8, 10
_FRESH_SEEDS = 5

LOOKED_AT = ("libero-spatial/0", "libero-10/5")
LOOKING_STEPS, CHUNK = 40, 8
"""Short, because LIBERO draws every step of it and that takes a fifth of a second in software."""

POOL_TASK, POOL_EPISODES, POOL_STEPS = "libero-object/4", 14, 120
"""One task, so that no worker builds a second scene while the clock runs."""


def bench(rounds: int, say: Say) -> Iterator[Measurement]:
    """Measure; takes two to three minutes on two cores, and 1.5 for each further round."""
    yield from _without_cameras(rounds, say)
    if gl_backend() == "none":
        say("no OpenGL library: episodes with cameras are left out")
    else:
        yield from _with_cameras(rounds, say)
    yield _two_workers(rounds, say)


def _without_cameras(rounds: int, say: Say) -> Iterator[Measurement]:
    steps = Comparison("control steps, no cameras, exact")
    resets = Comparison("resets, seeds never seen")
    episodes = Comparison(f"episodes of {STEPS} steps, privileged state, chunk of 1, no cameras")
    single = Comparison("control steps, no cameras, single-solve", exact=False)
    peaks: dict[str, tuple[float, float]] = {}
    for task_id in SCENES:
        say(f"{task_id}: building")
        with _both_sides(task_id, chunk=1, cameras=False, steps=STEPS) as (theirs, ours):
            for number in range(1, rounds + 1):
                say(f"{task_id}: round {number} of {rounds}")
                reset_seconds, start = _play(episodes, theirs, ours, task_id, number)
                if number == 1:
                    peaks[task_id] = theirs.call("memory"), ours.call("memory")
                _step(steps, single, theirs, ours, task_id, number)
                fresh = [episode(task_id, 1000 * number + k) for k in range(_FRESH_SEEDS - 1)]
                seconds, placed = ours.call("resets", [*fresh, episode(task_id, number)])
                resets.add(task_id, reset_seconds, seconds, equal=placed == start)
    yield from (work.measurement() for work in (steps, resets, episodes, single))
    yield _memory("memory of a worker, no cameras", peaks)


def _with_cameras(rounds: int, say: Say) -> Iterator[Measurement]:
    episodes = Comparison(
        f"episodes of {LOOKING_STEPS} steps, two 256x256 cameras, chunk of {CHUNK}"
    )
    peaks: dict[str, tuple[float, float]] = {}
    for task_id in LOOKED_AT:
        say(f"{task_id}: building, with cameras")
        sides = _both_sides(task_id, chunk=CHUNK, cameras=True, steps=LOOKING_STEPS)
        with sides as (theirs, ours):
            for number in range(1, rounds + 1):
                say(f"{task_id}: round {number} of {rounds}")
                _play(episodes, theirs, ours, task_id, number)
            peaks[task_id] = theirs.call("memory"), ours.call("memory")
    yield episodes.measurement()
    yield _memory("memory of a worker, two cameras", peaks)


@contextmanager
def _both_sides(
    task_id: str, *, chunk: int, cameras: bool, steps: int
) -> Iterator[tuple[Seat, Seat]]:
    """Build a scene on both sides; only this is done by both at once."""
    theirs, ours = Seat(Theirs, task_id, chunk, cameras), Seat(Ours, task_id, chunk, cameras, steps)
    try:
        for side in (theirs, ours):
            side.start("warm_up")
        for side in (theirs, ours):
            side.result()
        yield theirs, ours
    finally:
        theirs.close()
        ours.close()


def _play(
    episodes: Comparison, theirs: Seat, ours: Seat, task_id: str, number: int
) -> tuple[float, str]:
    """Run one episode on both sides; return seconds and state of the reference's reset."""
    spec = episode(task_id, number)
    mine = ours.call("play", spec)
    steps = LOOKING_STEPS if mine.pictures else STEPS
    reference = theirs.call("play", spec, actions_of(spec, steps))
    equal = mine.trace == reference.trace and mine.pictures == reference.pictures
    episodes.add(task_id, reference.seconds, mine.seconds, equal=equal)
    episodes.spend(**mine.parts)
    return reference.reset_seconds, reference.start


def _step(
    steps: Comparison, single: Comparison, theirs: Seat, ours: Seat, task_id: str, number: int
) -> None:
    """Go on from where the episode ended, in blocks that take turns."""
    spec = episode(task_id, number)
    ours.call("follow", spec, actions_of(spec, STEPS))
    actions = actions_of(episode(task_id, 500 + number), BLOCKS * BLOCK_STEPS)
    for block in range(BLOCKS):
        part: Actions = actions[block * BLOCK_STEPS : (block + 1) * BLOCK_STEPS]
        reference = theirs.call("advance", part)
        exact = ours.call("advance", "exact", part)
        quick = ours.call("advance", "single-solve", part)
        steps.add(task_id, reference.seconds, exact.seconds, equal=exact.states == reference.states)
        single.add(task_id, reference.seconds, quick.seconds)
        steps.spend(**exact.parts)
        single.spend(**quick.parts)


def _memory(work: str, peaks: dict[str, tuple[float, float]]) -> Measurement:
    """Report the scene that needs most."""
    reference, ours = map(max, zip(*peaks.values(), strict=True))
    return Measurement(
        work=work,
        reference=reference,
        vlabench=ours,
        unit="MB",
        ratio=reference / ours,
        equal=None,
        ratios=tuple((task, theirs / mine) for task, (theirs, mine) in peaks.items()),
    )


def _two_workers(rounds: int, say: Say) -> Measurement:
    """Compare a pool of two with a pool of one, from when its workers have built their scenes."""
    work = Comparison(f"two workers against one, episodes of {POOL_STEPS} steps after building")
    for number in range(1, rounds + 1):
        say(f"two workers against one: round {number} of {rounds}")
        one, two = _pool(1, number), _pool(2, number)
        work.add(POOL_TASK, one[0], two[0], equal=one[1] == two[1])
    return work.measurement()


def _pool(workers: int, number: int) -> tuple[float, dict[str, Trace | None]]:
    """Return seconds an episode once every worker has ended its first, and all trajectories."""
    _, protocol = task_and_protocol(POOL_TASK)
    wants = ObservationSpec(privileged=True)
    specs = [episode(POOL_TASK, 100 * number + k) for k in range(POOL_EPISODES)]
    records: dict[str, Trace | None] = {}
    ends: list[float] = []
    runner, policy = ProcessRunner(workers), Script(wants, protocol, CHUNK)
    for record in runner.run(stage(protocol, wants, POOL_STEPS), policy, specs):
        if record.error is not None:
            raise RuntimeError(record.error)
        records[record.episode.key] = record.trace
        ends.append(time.perf_counter())
    return (ends[-1] - ends[workers - 1]) / (len(ends) - workers), records
