"""What a VLA-RL recipe says. Every part has a switch: the paper's table 2 is five recipes."""

from dataclasses import dataclass, field
from typing import Literal

from vlabench.recipe import above, at_least
from vlabench_baselines.common.explore import ExploreRecipe
from vlabench_baselines.common.ppo import PpoRecipe, check_warmup
from vlabench_baselines.vla_rl.curriculum import CurriculumRecipe
from vlabench_baselines.vla_rl.rprm import RprmRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe:
    """How long, and what is looked at meanwhile.

    Attributes:
        iterations: Of exploring and learning.
        warmup: Of these, the first, in which only the critic learns; 5 in the paper's table 2.
        seed: Of everything random.
        validate_every: Iterations between validations.
        validate_episodes: Episodes per task of one, the same ones every time. Neither exploring
            nor any evaluation shares them.
        snapshot_every: Iterations between checkpoints that are kept for a curve; 0 for none.
    """

    iterations: int
    warmup: int = 5
    seed: int = 0
    validate_every: int = 5
    validate_episodes: int = 2
    snapshot_every: int = 0

    def __post_init__(self) -> None:
        at_least(self, 1, "iterations", "validate_every", "validate_episodes")
        at_least(self, 0, "warmup", "seed", "snapshot_every")
        check_warmup(self.iterations, self.warmup)


@dataclass(frozen=True, slots=True, kw_only=True)
class VlaRlRecipe:
    """The whole of it.

    Attributes:
        suite: Where the policy explores.
        tasks: Globs over task ids.
        start: The policy that improves: a checkpoint's folder, or empty for the `sft` that comes
            along for the suite.
        temperature: Of the action tokens that are drawn in exploring; 1.5 in the paper.
        settings: Of the suite, as `--set` gives them.
        explore: How episodes are run.
        curriculum: Which.
        ppo: How the policy learns from them.
        rprm: The process reward model.
        training: How long.
        device: `auto` is the GPU if there is one.
    """

    suite: str
    tasks: str = "*"
    start: str = ""
    temperature: float = 1.5
    settings: dict[str, str] = field(default_factory=dict)
    explore: ExploreRecipe = field(default_factory=ExploreRecipe)
    curriculum: CurriculumRecipe = field(default_factory=CurriculumRecipe)
    ppo: PpoRecipe = field(default_factory=PpoRecipe)
    rprm: RprmRecipe = field(default_factory=RprmRecipe)
    training: TrainingRecipe
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        above(self, 0, "temperature")
