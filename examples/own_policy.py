"""A policy of one's own, run from its parts with nothing written to disk."""

from collections.abc import Sequence

import numpy as np

from vlabench import (
    Decision,
    EpisodeSpec,
    Observation,
    ObservationSpec,
    SerialRunner,
    Stage,
    load_suite,
    make_plan,
)


class ReachPolicy:
    """Looks at where the dot is and where it has to go."""

    id = "reach"
    digest = ""
    observation = ObservationSpec(state="position", state_size=1, privileged=True)

    def __init__(self) -> None:
        self.action = load_suite("point-reach").protocol().action

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        """Do nothing: this policy remembers nothing and draws nothing."""

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        """Go towards the mark at full speed."""
        way = np.array([o.privileged["mark"] - o.state for o in observations])  # [B, 1]
        return Decision(actions=np.sign(way)[:, None].astype(np.float32))  # [B, H=1, A=1]


def main() -> None:
    suite = load_suite("point-reach")
    plan = make_plan(suite, episodes=5, seed=0)
    policy = ReachPolicy()
    stage = Stage(suite=suite, protocol=suite.protocol(), wants=policy.observation)
    for record in SerialRunner().run(stage, policy, plan.episodes):
        print(record.episode.key, record.outcome, record.steps)


if __name__ == "__main__":
    main()
