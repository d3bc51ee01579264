"""What an SFT recipe says."""

from dataclasses import dataclass, field
from typing import Literal

from vlabench.recipe import above, at_least
from vlabench_baselines.common.expert import DemosRecipe
from vlabench_baselines.nanovla.config import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecipe(Architecture):
    """The architecture.

    Attributes:
        cameras: What `vision` looks at, as `vlabench demos collect --camera` names them.
    """

    cameras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.check(len(self.cameras))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe:
    """How to train.

    Attributes:
        steps: Of the optimizer.
        batch: Moments in a step.
        learning_rate: The highest; it rises over `warmup` steps and falls to `floor` of it along
            a cosine.
        warmup: Steps.
        floor: Share of the learning rate that is left at the end.
        weight_decay: AdamW's.
        clip: Largest norm of the gradient.
        ema: Decay of the running average of weights, which is what is kept in the end.
        shift: Pixels by which pictures are moved at random, up to.
        spot: Weight of the loss of saying where things are, for models that see pictures; needs
            privileged state in the demonstrations, and nothing of it is left in the model.
        seed: Of everything random.
        aside: Share of each task's demonstrations that is kept for validation.
        log_every: Steps between lines of the log.
        validate_every: Steps between validations.
        rollout_every: Steps between rollouts; 0 for none.
        rollout_episodes: Episodes per task of a rollout, which no demonstration and no evaluation
            shares.
        save_every: Steps between states that a killed training goes on from.
    """

    steps: int
    batch: int = 256
    learning_rate: float = 1e-3
    warmup: int = 200
    floor: float = 0.02
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    shift: int = 4
    spot: float = 0.0
    seed: int = 0
    aside: float = 0.04
    log_every: int = 50
    validate_every: int = 500
    rollout_every: int = 0
    rollout_episodes: int = 1
    save_every: int = 500

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "batch", "log_every", "validate_every", "rollout_episodes")
        at_least(self, 1, "save_every")
        at_least(self, 0, "warmup", "weight_decay", "shift", "spot", "seed", "rollout_every")
        above(self, 0, "learning_rate", "clip")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor is {self.floor}; expected a share in [0, 1]")
        for name in ("ema", "aside"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a share in [0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SftRecipe:
    """The whole of it.

    Attributes:
        suite: Where the demonstrations are from and rollouts go.
        tasks: Globs over task ids.
        family: What the ids of the suites begin with that it may act in.
        demos: Which demonstrations.
        model: The architecture.
        training: How to train.
        execute: Actions of a chunk that the policy executes before it decides again; 0 is all.
        device: `auto` is the GPU if there is one.
    """

    suite: str
    tasks: str = "*"
    family: str
    demos: DemosRecipe
    model: ModelRecipe = field(default_factory=ModelRecipe)
    training: TrainingRecipe
    execute: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.execute <= self.model.chunk:
            raise ValueError(f"execute is {self.execute}; expected 0 to {self.model.chunk}")
