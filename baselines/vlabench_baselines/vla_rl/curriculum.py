"""Which tasks and initial states a policy explores next, from how often it succeeded there.

Reference: VLA-RL (arXiv 2505.18719, section 3.5, eq. 4). A task there is an instruction with an
initial state, `s` the rate of success that is tracked for it:

    literal   P ~ exp((0.5 - s) / temperature)     eq. 4 as printed: the harder, the more often
    target    P ~ exp(-|s - 0.5| / temperature)    what the text says: most often what half succeeds
    uniform   P ~ 1                                no curriculum

What differs from the paper, or is left open there:
 1. Eq. 4 and the sentence about it disagree; both are here.
 2. The temperature and the window are not published in the paper; the defaults are those of its
    code at the paper's date (GuanxingLu/vlarl @ 23c5455), which has yet another formula.
 3. That code chooses among the initial states of one task; here all tasks compete.
 4. An initial state that was never tried has the rate of its task, not 0; see `prior`.
 5. A share of uniform sampling can be kept; by default there is none.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vlabench.episode import EpisodeSpec
from vlabench.recipe import above, at_least

Key = tuple[str, int]
"""Task and initial state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurriculumRecipe:
    """How what to explore is chosen.

    Attributes:
        kind: Which formula; see the module.
        temperature: Of the formula; the higher, the nearer to uniform.
        window: Latest outcomes that a rate is of.
        states: Initial states of each task that are explored, from seeds of training.
        prior: Rate of a task that was never tried. The code of the paper has 0, with which
            `literal` begins with what it has not tried and `target` avoids it.
        floor: Share of uniform sampling that is mixed in.
        group: Episodes of a task when it is drawn. No probability depends on it; the more, the
            fewer scenes have to be built.
    """

    kind: Literal["literal", "target", "uniform"] = "literal"
    temperature: float = 1.0
    window: int = 20
    states: int = 50
    prior: float = 0.5
    floor: float = 0.0
    group: int = 1

    def __post_init__(self) -> None:
        above(self, 0, "temperature")
        at_least(self, 1, "window", "states", "group")
        for name in ("prior", "floor"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a share in [0, 1]")


def weights(rates: NDArray[np.float64], recipe: CurriculumRecipe) -> NDArray[np.float64]:
    """Return how probable each of several rates of success is to be chosen; they sum to 1."""
    if recipe.kind == "literal":
        logits = (0.5 - rates) / recipe.temperature
    elif recipe.kind == "target":
        logits = -np.abs(rates - 0.5) / recipe.temperature
    else:
        logits = np.zeros_like(rates)
    each = np.exp(logits - logits.max())
    chosen: NDArray[np.float64] = each / each.sum()
    return (1 - recipe.floor) * chosen + recipe.floor / rates.size


class Curriculum:
    """Keeps rates of success, and chooses by them.

    Args:
        episodes: All that may be chosen: one for each task and initial state.
        recipe: How.

    Raises:
        ValueError: If there are none, or two of one initial state.
    """

    def __init__(self, episodes: Sequence[EpisodeSpec], recipe: CurriculumRecipe) -> None:
        self._episodes, self._recipe = list(episodes), recipe
        if not episodes or len({_key(one) for one in episodes}) != len(episodes):
            raise ValueError(
                f"{len(episodes)} episodes of {len({_key(one) for one in episodes})} initial "
                "states; expected one for each, and at least one"
            )
        self._states: dict[Key, deque[bool]] = {}
        self._tasks: dict[str, deque[bool]] = {}

    def record(self, episode: EpisodeSpec, success: bool) -> None:  # noqa: FBT001 - all it takes
        """Take note of how an episode ended."""
        latest = self._recipe.window
        self._states.setdefault(_key(episode), deque(maxlen=latest)).append(success)
        self._tasks.setdefault(episode.task_id, deque(maxlen=latest)).append(success)

    def rates(self) -> NDArray[np.float64]:
        """Return the rate of success of every initial state, `[K]`, in the episodes' order.

        It is that of the latest outcomes: of the state, else of its task, else the prior.
        """
        return np.array([self._rate(one) for one in self._episodes])

    def probabilities(self) -> NDArray[np.float64]:
        """Return how probable each is to be drawn, `[K]`, in the episodes' order."""
        return weights(self.rates(), self._recipe)

    def sample(self, count: int, luck: np.random.Generator) -> list[EpisodeSpec]:
        """Draw episodes, with replacement; return them task by task.

        One that is drawn again is another repeat of the same initial state. Every one has a new
        `policy_seed`, so that exploring the same again draws other decisions.

        Args:
            count: How many.
            luck: Decides.
        """
        group = self._recipe.group
        tasks = np.array([one.task_id for one in self._episodes])
        each = self.probabilities()
        ids, place = np.unique(tasks, return_inverse=True)
        of_task = np.bincount(place, each)
        chosen = luck.choice(len(ids), size=-(-count // group), p=of_task)
        drawn = list[int]()
        for task in chosen:
            some = np.flatnonzero(place == task)
            size = min(group, count - len(drawn))
            drawn += luck.choice(some, size=size, p=each[some] / of_task[task]).tolist()
        seeds = luck.integers(2**32, size=count).tolist()
        return _repeats([self._episodes[one] for one in sorted(drawn)], seeds)

    def state_dict(self) -> dict[str, Any]:
        """Return what was tracked, in plain values."""
        return {
            "states": [[*key, list(each)] for key, each in self._states.items()],
            "tasks": [[task, list(each)] for task, each in self._tasks.items()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what was tracked."""
        latest = self._recipe.window
        self._states = {(task, index): deque(each, latest) for task, index, each in state["states"]}
        self._tasks = {task: deque(each, latest) for task, each in state["tasks"]}

    def _rate(self, episode: EpisodeSpec) -> float:
        latest = self._states.get(_key(episode)) or self._tasks.get(episode.task_id)
        return sum(latest) / len(latest) if latest else self._recipe.prior


def _repeats(episodes: Sequence[EpisodeSpec], seeds: Sequence[int]) -> list[EpisodeSpec]:
    """Number those that occur several times, and give all of them seeds."""
    seen, numbered = Counter[Key](), list[EpisodeSpec]()
    for episode, seed in zip(episodes, seeds, strict=True):
        repeat = seen[_key(episode)]
        numbered.append(replace(episode, repeat=repeat, policy_seed=seed))
        seen[_key(episode)] += 1
    return numbered


def _key(episode: EpisodeSpec) -> Key:
    return episode.task_id, episode.init_index
