"""A suite: a fixed, versioned list of tasks and the protocols they are run under."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from typing import Protocol as TypingProtocol

from vlabench.env import Env
from vlabench.errors import PlanError, UnknownNameError
from vlabench.measurement import Bench
from vlabench.protocol import Protocol
from vlabench.spaces import Camera, ObservationSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One instruction to carry out, and the scene to carry it out in.

    Attributes:
        id: Stable name, `libero-goal/3`. The part before the slash names the suite that owns the
            task, so that groups of suites can be formed; records refer to it; never reuse one.
        instruction: The sentence the policy is given, verbatim.
        scene: What `Suite.make_env` needs to build the scene.
        num_inits: How many fixed initial states there are; None when there are none. Protocols
            that sample initial states do so without limit.
    """

    id: str
    instruction: str
    scene: str
    num_inits: int | None = None


class MakeEnv(TypingProtocol):
    """Builds the scene of one task: the only place where a simulator is imported."""

    def __call__(self, task: Task, protocol: Protocol, wants: ObservationSpec) -> Env:
        """Build the scene of `task`; `observe()` will supply exactly what `wants` lists.

        Settings of the suite (`--set key=value`) are further keyword-only parameters.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A named, versioned set of tasks. Building one imports no simulator.

    Attributes:
        id: Name, `libero-goal`.
        version: Raised by any change that may change an outcome.
        tasks: In the benchmark's own order.
        protocols: The rules it can be run under; the first is the default.
        make_env: Builds the scene of a task.
        film: The camera of videos; None when there is nothing to film.
        packages: Top-level Python packages that `make_env` imports, to the extra that has them.
        distributions: Distributions whose versions go into every record.
        measure_canaries: Measures the protocols' canaries; asked whether it may draw.
        caveats: Says, of parsed settings, why runs made with them are not comparable with others
            under the protocol; None when no setting can make them so.
        drawing: Names the OpenGL back end that pictures are drawn with, or raises `DrawingError`
            when there is none; None for suites that draw without OpenGL.
        environment: Raises a `SimulatorError` where the environment variables are such that the
            simulator cannot be imported; None for those that look at none.
        bench: Measures the simulator's own loop against vlabench; None where there is none.
        summary: One line for `vlabench list suites`.
        subsets: What `--tasks` may be besides globs: a name that papers report, and its globs,
            separated by commas.
    """

    id: str
    version: int
    tasks: tuple[Task, ...]
    protocols: tuple[Protocol, ...]
    make_env: MakeEnv
    film: Camera | None = None
    packages: tuple[tuple[str, str], ...] = ()
    distributions: tuple[str, ...] = ()
    measure_canaries: Callable[[bool], Mapping[str, float]] | None = None
    caveats: Callable[[Mapping[str, Any]], Sequence[str]] | None = None
    drawing: Callable[[], str] | None = None
    environment: Callable[[], None] | None = None
    bench: Bench | None = None
    summary: str = ""
    subsets: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        ids = [task.id for task in self.tasks]
        if repeated := {i for i in ids if ids.count(i) > 1}:
            raise ValueError(f"suite {self.id!r} repeats task ids: {sorted(repeated)}")
        if not self.tasks or not self.protocols:
            raise ValueError(f"suite {self.id!r} needs at least one task and one protocol")

    def training_protocol(self) -> Protocol:
        """Return the first protocol whose episodes no evaluation shares.

        Raises:
            PlanError: If the suite has none.
        """
        for protocol in self.protocols:
            if protocol.purpose == "training":
                return protocol
        names = ", ".join(protocol.name for protocol in self.protocols)
        raise PlanError(
            f"suite {self.id!r} has no protocol for training, only {names}; training on the "
            "episodes of an evaluation would make its numbers worthless"
        )

    def task(self, task_id: str) -> Task:
        """Return the task called `task_id`.

        Raises:
            UnknownNameError: If there is none.
        """
        for task in self.tasks:
            if task.id == task_id:
                return task
        raise UnknownNameError(f"task of suite {self.id!r}", task_id, [t.id for t in self.tasks])

    def protocol(self, name: str | None = None) -> Protocol:
        """Return the protocol called `name`, with or without `@version`; the default for None.

        Raises:
            UnknownNameError: If there is none.
        """
        if name is None:
            return self.protocols[0]
        for protocol in self.protocols:
            if name in (protocol.id, protocol.name):
                return protocol
        names = [protocol.name if "@" in name else protocol.id for protocol in self.protocols]
        raise UnknownNameError(f"protocol of suite {self.id!r}", name, names)
