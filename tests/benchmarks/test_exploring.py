"""What deciding costs a training that explores: its rate of control steps beside the pool's own.

`make bench` runs this. The same episodes run twice in each round: the policy draws its decisions,
then they are handed out again as they were drawn, which costs nothing. The ratio of the two rates
is what is left of the simulators' speed; it means something on an otherwise idle machine. Towards
the end of the episodes workers run out of work, in a benchmark as in every iteration of a training.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="needs the extra: pip install 'vlabench-harness[train]'")

from vlabench import Decision, EpisodeSpec, Observation, ProcessRunner, load_suite
from vlabench.errors import MissingExtraError
from vlabench.registry import require_packages
from vlabench_baselines.common.actors import TokenActor
from vlabench_baselines.common.device import no_denormals
from vlabench_baselines.common.explore import Explorer, ExploreRecipe, make_arena
from vlabench_baselines.common.start import read_start
from vlabench_baselines.nanovla.heads import TokenHead

ROUNDS = 2
_WORKERS = 8
_WANTED = 0.8


@dataclass
class Handed:
    """Hands out decisions that were drawn before."""

    explorer: Explorer
    decisions: dict[str, list[NDArray[np.float32]]] = field(default_factory=dict)
    waiting: dict[int, Iterator[NDArray[np.float32]]] = field(default_factory=dict)
    id: str = "handed"
    digest: str = ""

    def __post_init__(self) -> None:
        self.action, self.observation = self.explorer.action, self.explorer.observation

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        self.waiting[slot] = iter(self.decisions[episode.key])

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        return Decision(actions=np.stack([next(self.waiting[slot]) for slot in slots]))


class Remembering(Explorer):
    """Remembers what it answered, by episode."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.answers: dict[str, list[NDArray[np.float32]]] = {}
        self._current: dict[int, list[NDArray[np.float32]]] = {}

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        super().reset(slot, episode)
        self.answers[episode.key] = self._current[slot] = []

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        decision = super().act(slots, observations)
        for slot, actions in zip(slots, decision.actions, strict=True):
            self._current[slot].append(actions)
        return decision


@pytest.mark.sim
def test_exploring_keeps_the_simulators_busy(benchmark: Any) -> None:
    suite = load_suite("libero")
    try:
        require_packages(suite)
    except MissingExtraError as missing:
        pytest.skip(str(missing))
    start = read_start("", suite, head="tokens", who="VLA-RL")
    recipe = ExploreRecipe(workers=_WORKERS)
    arena = make_arena(suite, {"physics": "single-solve"}, recipe, start)
    model = start.load_model()
    assert isinstance(model.head, TokenHead)
    actor = TokenActor(model.head, arena.execute, temperature=1.0)
    explorer = Remembering(model, start.origin, actor, execute=arena.execute)
    handed = Handed(explorer)
    episodes = arena.episodes("*/0,*/5", 5, seed=0)
    stage = arena.stage(explorer.observation)
    ratios = list[float]()

    def alternate() -> None:
        drawn_in, drawn = timed(lambda: steps_of(arena.explore(pool, explorer, episodes)))
        handed.decisions = explorer.answers
        handed_in, again = timed(lambda: {r.episode.key: r.steps for r in free.run(episodes)})
        assert {key: min(steps, again[key]) for key, steps in drawn.items()} == drawn
        ratios.append(handed_in / drawn_in)

    with (
        no_denormals(),
        ProcessRunner(_WORKERS).pool(stage, explorer) as pool,
        ProcessRunner(_WORKERS).pool(stage, handed) as free,
    ):
        alternate()  # compiles the scenes
        ratios.clear()
        benchmark.pedantic(alternate, rounds=ROUNDS)
        peak = sum(map(peak_mb, [Path("/proc/self"), *children()]))
    benchmark.extra_info.update(
        share_of_the_pools_rate=[round(ratio, 3) for ratio in ratios],
        wanted=_WANTED,
        peak_mb_of_both_pools=round(peak),
    )


def steps_of(trajectories: Sequence[Any]) -> dict[str, int]:
    return {one.episode.key: one.steps for one in trajectories}


def timed(work: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def children() -> list[Path]:
    own = Path("/proc/self/task")
    ids = " ".join(path.read_text() for path in own.glob("*/children")).split()
    return [Path("/proc") / each for each in ids]


def peak_mb(process: Path) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())
    return int(found.group(1)) / 1000 if found else 0.0
