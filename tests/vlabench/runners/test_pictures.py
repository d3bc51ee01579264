"""Pictures cross process boundaries through shared memory, unchanged and not shared any more."""

from collections.abc import Sequence

import numpy as np

from vlabench import (
    Decision,
    EpisodeSpec,
    Observation,
    ObservationSpec,
    ProcessRunner,
    SerialRunner,
    Stage,
    load_suite,
    make_plan,
)

SUITE = load_suite("point-reach")
FRONT = SUITE.protocol().observation.cameras[0]


class LookingPolicy:
    """Goes where the picture says, and keeps every picture it was shown."""

    id = "looking"
    digest = ""
    observation = ObservationSpec(cameras=(FRONT,))

    def __init__(self) -> None:
        self.action = SUITE.protocol().action
        self.seen: dict[str, list[Observation]] = {}
        self._keys: dict[int, str] = {}

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        self._keys[slot] = episode.key
        self.seen[episode.key] = []

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        for slot, observation in zip(slots, observations, strict=True):
            self.seen[self._keys[slot]].append(observation)
        way = [_column(o, (0, 160, 0)) - _column(o, (255, 255, 255)) for o in observations]
        return Decision(actions=np.sign(np.array(way, dtype=np.float32)).reshape(-1, 1, 1))


def _column(observation: Observation, colour: tuple[int, int, int]) -> float:
    places = np.argwhere((observation.images["front"] == colour).all(axis=2))
    return float(places[:, 1].mean()) if len(places) else 0.0


def test_what_a_policy_is_shown_is_the_same_through_shared_memory_and_stays_its_own() -> None:
    plan = make_plan(SUITE, episodes=4)
    shown = []
    for runner in (SerialRunner(), ProcessRunner(2)):
        policy = LookingPolicy()
        stage = Stage(suite=SUITE, protocol=SUITE.protocol(), wants=policy.observation)
        records = list(runner.run(stage, policy, plan.episodes))
        assert {record.outcome for record in records} == {"success"}
        shown.append(policy.seen)
    serial, processes = shown
    for key, observations in serial.items():
        pictures = [o.images["front"] for o in observations]
        others = [o.images["front"] for o in processes[key]]
        assert len({picture.tobytes() for picture in pictures}) > 3, "the dot moves"
        assert all(np.array_equal(a, b) for a, b in zip(pictures, others, strict=True))
