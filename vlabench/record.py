"""What happened. Records are written once and never edited."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vlabench.episode import EpisodeSpec
from vlabench.plan import PlanRequest

SCHEMA = 1
UNKNOWN = "unknown"
"""Name of a suite or policy that the files of an ingested run do not name."""
TRACE_EVERY = 10
"""Control steps between two checkpoints of a trace."""


class Outcome(StrEnum):
    """How an episode ended."""

    SUCCESS = "success"
    FAILURE = "failure"  # the policy used up its steps, or the simulator stopped, without success
    ERROR = "error"  # something broke; says nothing about the policy


PROGRESS: Mapping[str, tuple[float, float]] = {
    Outcome.SUCCESS: (1, 1),
    Outcome.FAILURE: (0, 1),
    Outcome.ERROR: (1, 0),
}
"""Outcome to the least and the most progress that goes with it; with an error, none does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Wall-clock time of an episode by what it was spent on.

    Attributes:
        simulator: Building, resetting and stepping the scene.
        render: Drawing what the policy was shown.
        policy: The policy's share of the calls that answered this episode.
    """

    simulator: float = 0.0
    render: float = 0.0
    policy: float = 0.0

    @property
    def total(self) -> float:
        """All of it; waiting for other slots is not counted."""
        return self.simulator + self.render + self.policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Running hashes of a trajectory, so that two attempts can be compared and told apart.

    `states` and `actions` hold one 8-digit prefix of the running hash after the settled initial
    state, after every `every`-th control step, and after the last one. The first prefix that
    differs says when two attempts parted, and which of the two hashes says who left first.

    Attributes:
        digest: Hash of every state and action, 32 hex digits.
        states: Checkpoints of the simulator's state.
        actions: Checkpoints of the executed actions.
        every: Control steps between checkpoints.
    """

    digest: str
    states: str
    actions: str
    every: int = TRACE_EVERY


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRecord:
    """What happened in one planned episode.

    Attributes:
        episode: The plan's entry.
        outcome: How it ended.
        steps: Control steps executed, settling not counted.
        decisions: How often the policy was asked.
        samples: Candidate chunks that the policy evaluated, summed over decisions.
        flops: Floating-point operations of the policy, summed; None where unknown.
        seconds: Where the time went.
        peak_mb: Peak resident memory of the process that simulated it, up to its end, MB; 0 where
            that process died.
        trace: Hashes of the trajectory; None when it broke before the first observation.
        error: Traceback when `outcome` is ERROR, else None.
        progress: Share of the task's goal that was reached at the end, from 0 to 1, and 1 for a
            success; None where the suite cannot say, and for errors. Left out of the file then.
    """

    episode: EpisodeSpec
    outcome: Outcome
    steps: int = 0
    decisions: int = 0
    samples: int = 0
    flops: float | None = None
    seconds: Seconds = field(default_factory=Seconds)
    peak_mb: float = 0.0
    trace: Trace | None = None
    error: str | None = None
    progress: float | None = None

    def __post_init__(self) -> None:
        if (self.outcome is Outcome.ERROR) != (self.error is not None):
            raise ValueError(f"outcome {self.outcome} with error {self.error!r}")
        low, high = PROGRESS[self.outcome]
        if self.progress is not None and not low <= self.progress <= high:
            raise ValueError(
                f"outcome {self.outcome} with progress {self.progress!r}, expected 1 for a "
                "success, 0 to 1 for a failure and none for an error"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Which simulator a run was made in, and whether the protocol means that one.

    Attributes:
        versions: Distribution to version.
        canaries: Measured numbers that silent changes of a simulator move.
        mismatches: Why runs made here are not comparable with the protocol's; empty when they are.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    canaries: Mapping[str, float] = field(default_factory=dict)
    mismatches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where, when and with what a process ran. Each process that adds to a run leaves one.

    Attributes:
        started_at: UTC, ISO 8601.
        vlabench: Version of this harness.
        commit: Git commit of the harness's checkout; empty outside of one, `unreadable` where git
            does not say.
        dirty: Whether that checkout had uncommitted changes.
        python: Version of the interpreter.
        packages: Distribution to version, of everything that may move a number.
        machine: Processor architecture and operating system.
        accelerator: The GPU that torch sees, or `none`.
        gl: How pictures are drawn, `none` when nothing is.
        workers: Simulators side by side.
    """

    started_at: str
    vlabench: str
    commit: str = ""
    dirty: bool = False
    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    machine: str = ""
    accelerator: str = "none"
    gl: str = "none"
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """That another tool made a run, and what its files leave open.

    Whatever they say, nothing is known of an ingested run's rules, cameras, simulator and machine:
    its protocol and suite have version 0.

    Attributes:
        format: Who wrote the files: `lerobot`, `vla-eval`, `openvla`; `csv` or `json` for a row an
            episode, `log` for lines that patterns were said for.
        sources: Name of each file to the SHA-256 of its bytes.
        states_known: Whether equal `init_index` and `scene_seed` mean equal initial states in runs
            of one plan; otherwise `init_index` only numbers attempts.
        unknown: Fields of episodes and of the request that the files do not give. They are null in
            a results file, and hold their defaults in memory, which mean nothing there.
        groups: What tasks may be grouped by: name of a column, to task, to value. Left out of the
            file where empty, as the two below.
        columns: What the user said of columns: a meaning to a column's name.
        patterns: What the user said of a log's lines, regular expressions.
    """

    format: str
    sources: Mapping[str, str]
    states_known: bool
    unknown: tuple[str, ...] = ()
    groups: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeader:
    """Everything needed to know what a run was and to do it again. First line of its file.

    Attributes:
        suite_id: The suite.
        suite_version: Its version.
        protocol: Name and version of the rules, `openvla@1`.
        plan_digest: Hash of the planned episodes.
        request: What was asked for, to make the plan again.
        policy_id: The policy.
        policy_digest: Hash of its checkpoint; empty when its code is all there is.
        cameras: The pictures it looks at, with size, orientation and quality.
        privileged: Whether it sees simulator state that no robot has.
        settings: What `--set` changed, of suite and policy.
        fingerprint: The simulator.
        provenance: The process that began the run.
        ingested: Where it comes from if vlabench did not run it; left out of the file where None.
        planned: Task to the number of its planned episodes; empty, and left out of the file, where
            that is unknown: an older vlabench wrote it, or another tool made the run.
        schema: Version of this format.
    """

    suite_id: str
    suite_version: int
    protocol: str
    plan_digest: str
    request: PlanRequest
    policy_id: str
    policy_digest: str = ""
    cameras: tuple[str, ...] = ()
    privileged: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    fingerprint: Fingerprint = field(default_factory=Fingerprint)
    provenance: Provenance
    ingested: Ingested | None = None
    planned: Mapping[str, int] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def unknown(self) -> tuple[str, ...]:
        """Fields that mean nothing in this run; empty where vlabench ran it."""
        return self.ingested.unknown if self.ingested else ()

    @property
    def training(self) -> tuple[object, ...]:
        """What is equal in two runs of one training on one plan.

        An ingested run does not know its checkpoint: there, the bytes of its files have to do.
        """
        files = sorted(self.ingested.sources.values()) if self.ingested else []
        settings = sorted(self.settings.items())
        return (self.policy_id, self.policy_digest, tuple(settings), tuple(files))

    @property
    def identity(self) -> dict[str, object]:
        """What must be equal for two processes to write the same run."""
        return {
            "suite": f"{self.suite_id}@{self.suite_version}",
            "protocol": self.protocol,
            "plan": self.plan_digest,
            "policy": self.policy_id,
            "policy digest": self.policy_digest,
            "settings": dict(self.settings),
            "simulator versions": dict(self.fingerprint.versions),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A header and the episodes recorded under it.

    Attributes:
        header: The first line.
        episodes: One record for each episode that ended, in the order in which they ended. An
            episode that was tried again after an error is here once, with its last record.
        resumed: One entry for every process that went on with the run.
        torn: Whether the last line was cut off by a crash; that episode is not in `episodes`.
    """

    header: RunHeader
    episodes: tuple[EpisodeRecord, ...]
    resumed: tuple[Provenance, ...] = ()
    torn: bool = False
