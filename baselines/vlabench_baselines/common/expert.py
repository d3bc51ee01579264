"""An expert's demonstrations: those that a recipe asks for, collected if they are not there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vlabench.demos import Collection, Recording, prepare_collection
from vlabench.demos.storage import demo_files
from vlabench.recipe import at_least
from vlabench.runners.processes import ProcessRunner
from vlabench.spaces import Camera
from vlabench.suite import Suite
from vlabench_baselines.common.device import cores
from vlabench_baselines.common.progress import Follower


@dataclass(frozen=True, slots=True, kw_only=True)
class DemosRecipe:
    """Which demonstrations; they are collected if they are not there.

    Attributes:
        policy: The expert.
        episodes: Attempts per task; only successes are kept.
        noise: Largest standard deviation of noise on executed actions.
        seed: Root of the episodes' seeds.
        settings: Of the suite and the expert, as `--set` gives them.
        folder: Demonstrations that lie elsewhere, LIBERO's own for instance; then nothing is
            collected and the fields above mean nothing.
    """

    policy: str = ""
    episodes: int = 50
    noise: float = 0.0
    seed: int = 0
    settings: dict[str, str] = field(default_factory=dict)
    folder: str = ""

    def __post_init__(self) -> None:
        at_least(self, 1, "episodes")
        at_least(self, 0, "noise", "seed")


class Demonstrations:
    """Demonstrations, found or still to be collected.

    Everything that can be wrong is found when this is made, before a folder is touched.

    Args:
        recipe: Which.
        suite: Whose.
        tasks: Globs over task ids.
        cameras: Pictures that they need to show.

    Raises:
        VlabenchError: If there are none, or they cannot be collected.
    """

    def __init__(
        self, recipe: DemosRecipe, suite: Suite, tasks: str, cameras: Sequence[Camera] = ()
    ) -> None:
        self._folder = Path(recipe.folder).expanduser() if recipe.folder else None
        self._collection: Collection | None = None
        if self._folder:
            demo_files(self._folder)
            return
        self._collection = prepare_collection(
            suite.id,
            recipe.policy,
            request={"tasks": tasks, "episodes": recipe.episodes, "seed": recipe.seed},
            settings=recipe.settings,
            recording=Recording(noise=recipe.noise, cameras=tuple(cameras)),
            workers=cores(),
        )

    def ready(self, folder: Path, say: Follower) -> Path:
        """Return where they are, after collecting what is missing into `folder`, if anything."""
        if self._folder:
            return self._folder
        assert self._collection is not None
        planned = len(self._collection.evaluation.plan.episodes)
        records = self._collection.run(ProcessRunner(cores()), folder)
        found, _ = next(records)
        done = len(found.episodes)
        if done < planned:
            expert = self._collection.evaluation.policy.id
            say.say(f"collecting demonstrations of {expert} into {folder}")
        for _ in say.track(records, planned, "demonstrations", done):
            pass
        return folder
