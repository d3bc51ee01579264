"""The unit of evaluation: one planned attempt at one task."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeSpec:
    """One planned attempt at one task, fixed before any policy is loaded.

    Attributes:
        task_id: Which task of the suite.
        init_index: Which of the task's initial states.
        repeat: Which attempt at that same initial state, with other draws of the policy.
        scene_seed: Seeds the simulator before this episode's reset, `[0, 2**32)`.
        policy_seed: Seeds every draw that the policy makes in this episode, `[0, 2**32)`.
    """

    task_id: str
    init_index: int
    repeat: int = 0
    scene_seed: int
    policy_seed: int

    @property
    def key(self) -> str:
        """Name of this episode, the same in every run of the plan."""
        repeat = f"r{self.repeat}" if self.repeat else ""
        return f"{self.task_id}#{self.init_index}{repeat}"
