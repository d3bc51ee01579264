"""What a comparison of two runs is asked, and what it answers."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vlabench.metrics.counts import OnError
from vlabench.metrics.estimate import Estimate


class Verdict(StrEnum):
    """What a comparison says of b against a."""

    BETTER = "BETTER"  # the interval is above 0, and the exact test rejects
    WORSE = "WORSE"  # the interval is below 0, and the exact test rejects
    EQUIVALENT = "EQUIVALENT"  # the whole interval is within the margin
    UNDERPOWERED = "UNDERPOWERED"  # neither: too few episodes to say
    NOT_COMPARABLE = "NOT COMPARABLE"  # the runs are not of the same thing


class Subject(StrEnum):
    """What a verdict is about."""

    METHODS = "the methods"  # several trainings of one, at least: over trainings like these
    CHECKPOINTS = "these checkpoints"  # one training of each: another one may say otherwise
    POLICIES = "these policies"  # nothing was trained


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """How often both, one or neither of two runs succeeded in the same episode."""

    both: int
    only_b: int
    only_a: int
    neither: int

    @property
    def n(self) -> int:
        """All pairs."""
        return self.both + self.only_b + self.only_a + self.neither


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """How many initial states got worse, got better, or came out as often, over their repeats."""

    worse: int
    better: int
    same: int

    @property
    def n(self) -> int:
        """All initial states."""
        return self.worse + self.better + self.same


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One task of a comparison, or a group of tasks.

    Attributes:
        name: The task, `libero-goal/3`, or the group, `libero-goal/*`.
        rate_a: Success rate of a, the mean over a group's tasks.
        rate_b: Success rate of b.
        pairs: The table of pairs; None without pairing.
        states: What became of initial states; None without pairing.
        difference: Rate of b less that of a.
        p_value: Of the exact test on this task or group alone.
        p_adjusted: After Holm, over all tasks, or all groups: below 0.05, this one differs,
            whatever the others.
    """

    name: str
    rate_a: Estimate
    rate_b: Estimate
    pairs: Pairs | None
    states: States | None = None
    difference: Estimate
    p_value: float
    p_adjusted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class More:
    """Episodes that would be enough, with 80 % power.

    Attributes:
        episodes: Pairs; episodes of each run, without pairing.
        effect: The difference that they would tell from 0, a share.
    """

    episodes: int
    effect: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The numbers of a comparison.

    Attributes:
        rate_a: Success rate of a, its mean over tasks.
        rate_b: Success rate of b.
        difference: Rate of b less that of a, on these tasks; over trainings like these, too, where
            a side has several. It decides.
        wider: The same at the confidence that EQUIVALENT takes among several comparisons; None for
            a single one.
        new_tasks: The same on new tasks like these; None with one task, or without pairing.
        checkpoints: The same of these checkpoints alone; None where each run is of one training.
        trainings: Of a and of b.
        repeated: Whether initial states were met more than once.
        pairs: The table of pairs; None without pairing, or with several trainings.
        p_value: That there is no difference.
        p_adjusted: After Holm, over all pairs of runs compared together. It decides.
        test: Which test gave `p_value`.
        bounds: The difference, were all errors left out to speak against b, and for b; None where
            none were left out.
        tasks: Each task.
        groups: Each group of tasks, `Rules.groups`; none where there is one only.
    """

    rate_a: Estimate
    rate_b: Estimate
    difference: Estimate
    wider: Estimate | None = None
    new_tasks: Estimate | None
    checkpoints: Estimate | None = None
    trainings: tuple[int, int] = (1, 1)
    repeated: bool = False
    pairs: Pairs | None
    p_value: float
    p_adjusted: float
    test: str
    bounds: tuple[float, float] | None
    tasks: tuple[Effect, ...]
    groups: tuple[Effect, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Run b against run a.

    Attributes:
        a: Name of the reference.
        b: Name of what is held against it.
        verdict: What follows.
        reasons: Why, one sentence each; with NOT_COMPARABLE, everything that stands in the way.
        notes: What else a reader must know.
        margin: The difference that is none, a share.
        evidence: The numbers; None where the runs are not comparable.
        subject: What the verdict is about: methods, checkpoints, or policies.
        needed: What would be enough where the verdict is UNDERPOWERED; None where nothing is known
            to be.
    """

    a: str
    b: str
    verdict: Verdict
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()
    margin: float
    evidence: Evidence | None = None
    subject: Subject = Subject.POLICIES
    needed: More | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How to compare.

    Attributes:
        margin: The difference that is none, a share.
        unpaired: Whether runs of different plans may be compared, as independent episodes.
        on_error: What to do with episodes that broke in either run.
        confidence: Coverage of intervals; tests reject below the rest of it.
        together: How many comparisons are made at once. EQUIVALENT takes intervals of which all
            hold together (Bonferroni); tests are adjusted after Holm.
        groups: Name of a group of tasks to their ids; tasks with one beginning, up to the slash,
            are a group each where there are none.
    """

    margin: float = 0.03
    unpaired: bool = False
    on_error: OnError = "raise"
    confidence: float = 0.95
    together: int = 1
    groups: Mapping[str, Collection[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise ValueError(f"a margin of {self.margin:g} is no share between 0 and 1")
        if not 0 < self.confidence < 1:
            raise ValueError(f"a confidence of {self.confidence:g} is no share between 0 and 1")

    @property
    def stricter(self) -> float:
        """Coverage of each interval with which all of `together` hold with `confidence`."""
        return 1 - (1 - self.confidence) / self.together
