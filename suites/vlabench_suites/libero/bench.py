"""LIBERO's own loops and vlabench in turn, on the same tasks, seeds and actions.

Each side has a process of its own: robosuite draws into whatever OpenGL context is current, and
the memory of one must not count for the other. While one works, the other waits.
"""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from vlabench.episode import EpisodeSpec
from vlabench.measurement import Comparison, Measurement, Say
from vlabench.record import Trace
from vlabench.runners.processes import ProcessRunner
from vlabench_suites.drawing import gl_backend
from vlabench_suites.libero.bench_sides import (
    Ours,
    Played,
    Script,
    Seat,
    Theirs,
    short_stage,
)

SCENES = ("libero-spatial/0", "libero-object/4", "libero-10/9", "libero-10/4", "libero-10/5")
"""One task of each kind: table, floor, kitchen, living room, study."""

LOOKED_AT = ("libero-spatial/0", "libero-10/5")
STEPS, LOOKING_STEPS = 120, 40
"""Control steps of an episode after it has settled, without and with cameras."""

BLOCKS, BLOCK_STEPS = 3, 25
CHUNK = 8
FRESH_SEEDS = 5
POOL_EPISODES, POOL_TASKS = 6, ("libero-object/4", "libero-goal/0")


def bench(rounds: int, say: Say) -> Iterator[Measurement]:
    """Measure; about two minutes and one more for each further round on two cores."""
    yield from _without_cameras(rounds, say)
    if gl_backend() == "none":
        say("no OpenGL library: episodes with cameras are left out")
    else:
        yield from _with_cameras(rounds, say)
    yield _two_workers(rounds, say)


def _without_cameras(rounds: int, say: Say) -> Iterator[Measurement]:
    episodes = Comparison(f"episodes of {STEPS} steps, privileged state, chunk 1")
    resets = Comparison("resets, seeds never seen")
    steps = Comparison("control steps, no cameras, exact")
    single = Comparison("control steps, no cameras, single-solve", exact=False)
    memory: list[tuple[float, float]] = []
    for task_id in SCENES:
        say(f"{task_id}: building")
        with _sides(task_id, chunk=1, cameras=False) as (theirs, ours):
            ours.call("play", *_episode(task_id, 0, 8))  # compiles and loads what is left
            for number in range(1, rounds + 1):
                say(f"{task_id}: round {number}")
                spec, actions = _episode(task_id, number, STEPS)
                reference = theirs.call("play", spec, actions)
                _compare(episodes, reference, ours.call("play", spec, actions), resets=None)
                if number == 1:
                    memory.append((theirs.call("memory"), ours.call("memory")))
                _blocks(steps, single, theirs, ours, _episode(task_id, 1000 + number, 0)[0])
                fresh = [_episode(task_id, 100 * number + k, 0)[0] for k in range(FRESH_SEEDS)]
                before, equal = ours.call("resets", spec, [*fresh, spec]), True
                equal = before[1] == reference.placed
                resets.add(task_id, reference.reset_seconds, before[0], equal=equal)
    for comparison in (steps, resets, episodes, single):
        yield comparison.measurement()
    yield _memory("peak memory of a worker, no cameras", memory)
