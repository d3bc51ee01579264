"""The policy: a goal becomes a list of skills, and the first that is not achieved acts."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench.errors import SpecMismatchError
from vlabench.policy import Decision
from vlabench.protocol import Protocol
from vlabench.spaces import ObservationSpec
from vlabench.suite import Suite
from vlabench_baselines.experts.libero.fixtures import (
    CloseDrawer,
    CloseMicrowave,
    OpenDrawer,
    TurnKnob,
)
from vlabench_baselines.experts.libero.goal import Clause, goal_of, kind
from vlabench_baselines.experts.libero.grasps import GRASPS, MUG_HANDLE
from vlabench_baselines.experts.libero.motion import OPEN, Vector
from vlabench_baselines.experts.libero.places import fixture_of, place_of
from vlabench_baselines.experts.libero.scene import Scene, look
from vlabench_baselines.experts.libero.skills import Carry, Drag, MoveAside, Skill, spot_beside

_PATIENCE = 10
"""Steps without anything to do, after which a thing is put into its place once more."""
_STILL = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, OPEN])


class _Attempt:
    """One episode: its skills, and which of them is acting."""

    def __init__(self, goal: Sequence[Clause]) -> None:
        self._goal = goal
        self._skills: list[Skill] | None = None
        self._acting: Skill | None = None
        self._idle = 0

    def act(self, scene: Scene) -> Vector:
        if self._skills is None:
            self._skills = plan(self._goal, scene)
        for _ in range(len(self._skills) + 1):
            if self._acting is None:
                self._acting = next((s for s in self._skills if not s.achieved(scene)), None)
            if self._acting is None:
                self._acting = self._again()
            if self._acting is None:
                break
            action = self._acting.act(scene)
            if action is not None:
                return action
            self._acting = None
        return _STILL

    def _again(self) -> Skill | None:
        """Return what to carry once more, when all looks done but the episode goes on."""
        carries = [s for s in self._skills or () if type(s) is Carry]
        self._idle += 1
        if not carries or self._idle % _PATIENCE:
            return None
        return carries[self._idle // _PATIENCE % len(carries)]


def plan(goal: Sequence[Clause], start: Scene) -> list[Skill]:
    """Turn a goal into skills, in the order in which they act; what has no skill is left out."""
    skills: list[Skill] = []
    targets = {clause.words[-1] for clause in goal if len(clause.words) > 1}

    def turn(clause: Clause) -> tuple[int, bool]:
        """Lids first and last; of two things that are stacked, the lower one first."""
        return _ORDER.get(clause.verb, 1), clause.words[0] not in targets

    for clause in sorted(goal, key=turn):
        alone = sum(clause.words[-1] == other.words[-1] for other in goal) == 1
        skills += _skills_for(clause, start, alone=alone)
    return skills


def _skills_for(clause: Clause, start: Scene, *, alone: bool) -> list[Skill]:
    target = clause.words[-1]
    owner, rest = fixture_of(target)
    level = rest.partition("_")[0]
    drawer = rest.endswith("_region") and f"{owner}_{level}_level" in start.joints
    if clause.verb in ("on", "in"):
        thing = clause.words[0]
        if kind(thing) not in GRASPS or target not in start.poses:
            return []
        shift = 0.0 if alone else _ASIDE.get(kind(owner), (0.0, 0.0))[thing.endswith("_2")]
        where = partial(place_of, start=start, thing=thing, target=target, shift=shift)
        if kind(thing) == "plate":
            return [Drag(thing, where, onto=[target])]
        tight = kind(owner) == "microwave" and kind(thing) == "white_yellow_mug"
        carry = Carry(thing, where, onto=[target], grasp=MUG_HANDLE if tight else None)
        if drawer and start.joints[f"{owner}_{level}_level"] > -0.1:
            joint = f"{owner}_{level}_level"
            spot = spot_beside(start, thing, start.parts(owner, slides=level, by=-0.16))
            aside = [] if spot is None else [MoveAside(thing, joint, start, spot)]
            return [*aside, OpenDrawer(owner, level), carry]
        return [carry]
    if clause.verb == "open" and drawer:
        return [OpenDrawer(owner, level)]
    if clause.verb == "close" and drawer:
        return [CloseDrawer(owner, level)]
    if clause.verb == "close" and f"{target}_microjoint" in start.joints:
        return [CloseMicrowave(target)]
    if clause.verb in ("turnon", "turnoff") and f"{target}_button" in start.joints:
        return [TurnKnob(target, on=clause.verb == "turnon")]
    return []


_ASIDE = {"flat_stove": (-0.042, 0.042)}
"""Where the first and the second of two things stand, from the middle along the world's x."""
_ORDER = {"open": 0, "turnon": 0, "turnoff": 0, "close": 2}
"""Lids are opened before things are moved, and closed after."""


class LiberoExpert:
    """Scripted skills on poses and joints, one attempt a slot."""

    id = "libero-expert"
    digest = ""

    def __init__(self, suite: Suite, protocol: Protocol) -> None:
        self._suite = suite
        self.observation = ObservationSpec(
            state=protocol.observation.state,
            state_size=protocol.observation.state_size,
            privileged=True,
        )
        self.action = protocol.action
        self._attempts: dict[int, _Attempt] = {}

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        self._attempts[slot] = _Attempt(goal_of(self._suite.task(episode.task_id).scene))

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        actions = [
            self._attempts[slot].act(look(observation))
            for slot, observation in zip(slots, observations, strict=True)
        ]
        return Decision(actions=np.stack(actions)[:, None].astype(np.float32))


def make(suite: Suite, protocol: Protocol) -> LiberoExpert:
    """Make a scripted expert for LIBERO, which sees privileged state.

    Raises:
        SpecMismatchError: If a task of the suite is not one of LIBERO's.
    """
    foreign = [task.id for task in suite.tasks if not task.id.startswith("libero-")]
    if foreign:
        raise SpecMismatchError(
            f"policy {LiberoExpert.id!r} knows LIBERO's tasks and no others; suite "
            f"{suite.id!r} has {foreign[0]!r}. Use it with: --suite libero"
        )
    return LiberoExpert(suite, protocol)
