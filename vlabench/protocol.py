"""A protocol: the rules of an evaluation, named and versioned.

Two numbers can be compared when they were measured under one protocol. Whatever people set
differently in private scripts (horizon, settling, cameras, initial states, simulator versions) is
a field here, and a different value is a different protocol or a new version of it.
"""

from dataclasses import dataclass, fields
from typing import Literal

from vlabench.spaces import ActionSpec, ObservationSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A number measured in the simulator that a silent change of its version moves.

    Attributes:
        name: What is measured.
        low: Smallest value of a simulator that behaves as the protocol says.
        high: Largest such value.
        needs_drawing: Whether it is read off a picture, so that it concerns policies that look.
    """

    name: str
    low: float
    high: float
    needs_drawing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The rules of an evaluation.

    Attributes:
        id: Name, `openvla`.
        version: Raised by any change of the fields below.
        episodes_per_task: How many episodes of each task the source ran; the default of a plan.
        horizons: Task id prefix (up to the slash) to control steps, settling not counted.
        settle_steps: Control steps before the first observation, so that objects come to rest.
        settle_action: The action of those steps; empty when there are none.
        init_states: `fixed` ones shipped with the benchmark, or `sampled` by the scene seed.
        replan_steps: How many actions of a chunk are executed before the policy is asked again;
            None is the whole chunk.
        action: The action convention.
        observation: Everything a policy may ask for.
        simulator: Package to the version whose physics and pictures the protocol means.
        canaries: Measurements that must be in their range for a run to be comparable.
        purpose: `training` gives episodes that no evaluation has: their scenes are seeded from
            another namespace, and initial states are sampled.
        source: Where the values come from.
    """

    id: str
    version: int
    episodes_per_task: int
    horizons: tuple[tuple[str, int], ...]
    settle_steps: int = 0
    settle_action: tuple[float, ...] = ()
    init_states: Literal["fixed", "sampled"] = "fixed"
    replan_steps: int | None = None
    action: ActionSpec
    observation: ObservationSpec
    simulator: tuple[tuple[str, str], ...] = ()
    canaries: tuple[Canary, ...] = ()
    purpose: Literal["evaluation", "training"] = "evaluation"
    source: str

    def __post_init__(self) -> None:
        if self.purpose == "training" and self.init_states != "sampled":
            raise ValueError(f"protocol {self.id!r} trains on the initial states of evaluations")

    @property
    def name(self) -> str:
        """Id and version, as they stand in records and tables: `openvla@1`."""
        return f"{self.id}@{self.version}"

    def horizon(self, task_id: str) -> int:
        """Return how many control steps a policy gets on `task_id`.

        Raises:
            KeyError: If the protocol names no horizon for tasks of that prefix.
        """
        return dict(self.horizons)[task_id.partition("/")[0]]


def protocol_fields(protocol: Protocol) -> list[tuple[str, str]]:
    """Return every field of a protocol as text: name, value."""
    return [(f.name, _text(getattr(protocol, f.name))) for f in fields(protocol)]


def protocol_diff(a: Protocol, b: Protocol) -> list[tuple[str, str, str]]:
    """Return the fields in which two protocols differ: name, value in `a`, value in `b`."""
    pairs = zip(protocol_fields(a), protocol_fields(b), strict=True)
    return [(name, left, right) for (name, left), (_, right) in pairs if left != right]


def _text(value: object) -> str:
    if isinstance(value, ObservationSpec):
        cameras = ", ".join(map(str, value.cameras)) or "no camera"
        privileged = "; privileged state" if value.privileged else ""
        return f"{cameras}; state {value.state or 'none'}[{value.state_size}]{privileged}"
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        return ", ".join(f"{name} {item}" for name, item in value)
    if isinstance(value, tuple) and value and isinstance(value[0], Canary):
        return ", ".join(f"{c.name} in [{c.low:g}, {c.high:g}]" for c in value)
    return str(value)
