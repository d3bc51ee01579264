"""What an iRe-VLA recipe says."""

from dataclasses import dataclass, field
from typing import Literal

from vlabench.recipe import above, at_least
from vlabench_baselines.common.expert import DemosRecipe
from vlabench_baselines.common.explore import ExploreRecipe
from vlabench_baselines.common.ppo import PpoRecipe, check_warmup

Method = Literal["ire-vla", "ire-vla-freeze", "ppo-replay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinforceRecipe:
    """Stage 1: reinforcement learning on one task.

    Attributes:
        iterations: Of exploring and learning, for each task.
        warmup: Of these, the first, in which only the critic learns, which is new for each task.
        std: Standard deviation of explored actions at first, in units in which the 1 % and 99 %
            quantiles of demonstrated ones are -1 and 1.
        enough: Share of exploring episodes at which a task is taken for learnt: the stage ends
            after two such iterations in a row. Above 1 for never.
    """

    iterations: int
    warmup: int = 1
    std: float = 0.15
    enough: float = 0.95

    def __post_init__(self) -> None:
        at_least(self, 1, "iterations")
        at_least(self, 0, "warmup")
        above(self, 0, "std", "enough")
        check_warmup(self.iterations, self.warmup)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperviseRecipe:
    """Stage 2: supervised learning on the expert's and on the policy's own successes.

    Attributes:
        steps: Of the optimizer, after each task.
        batch: Moments in a step, of each of the two.
        share: Weight of the policy's own successes in the loss.
        learning_rate: Falls to 0 along half a cosine.
        rank: Of the backbone's LoRA adapters; 0 trains the backbone itself.
        shift: Pixels by which pictures are moved at random, up to.
    """

    steps: int
    batch: int = 128
    share: float = 0.5
    learning_rate: float = 3e-4
    rank: int = 16
    shift: int = 4

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "batch")
        at_least(self, 0, "rank", "shift")
        above(self, 0, "learning_rate")
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is {self.share}; expected a number in [0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class IreVlaRecipe:
    """The whole of it.

    Attributes:
        method: `ire-vla`; `ire-vla-freeze`, whose backbone is frozen in stage 2 as well;
            `ppo-replay`, which trains everything in stage 1 and replays demonstrations alone.
        suite: Where the policy explores, one task after the other.
        tasks: Globs over task ids; their order is the suite's.
        start: The policy that improves: a checkpoint's folder, or empty for the `sft` that comes
            along for the suite.
        front: Of that one, where several come along.
        expert: The suite whose demonstrations are replayed.
        demos: Which demonstrations.
        settings: Of the suite, as `--set` gives them.
        explore: How episodes are run.
        ppo: How the policy learns from them.
        reinforce: Stage 1.
        supervise: Stage 2.
        rounds: How often all tasks are gone through.
        seed: Of everything random.
        validate_episodes: Episodes of each task after each stage 2, the same ones every time; a
            fifth of them of each of the expert's tasks, at the start and after each round. Neither
            exploring nor any evaluation shares them.
        device: `auto` is the GPU if there is one.
    """

    method: Method = "ire-vla"
    suite: str
    tasks: str = "*"
    start: str = ""
    front: Literal["privileged", "vision"] = "privileged"
    expert: str
    demos: DemosRecipe
    settings: dict[str, str] = field(default_factory=dict)
    explore: ExploreRecipe = field(default_factory=ExploreRecipe)
    ppo: PpoRecipe = field(default_factory=PpoRecipe)
    reinforce: ReinforceRecipe
    supervise: SuperviseRecipe
    rounds: int = 1
    seed: int = 0
    validate_episodes: int = 10
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        at_least(self, 1, "rounds", "validate_episodes")
        at_least(self, 0, "seed")
