"""Is one run better than another, asked again and again while it runs?

With a test for a fixed number of episodes, whoever looks after each and stops when the answer
pleases finds differences where there are none. Here a run may be looked at after every block, by an
interval that holds the truth at *every* look (`vlabench.metrics.betting`), or a few times that were
planned (`vlabench.metrics.designs`). Either way the estimate at the moment of stopping is too far
from 0, and is corrected for that (`vlabench.metrics.stopping`).

Tasks differ, so one episode's mean is not the suite's. Looks are therefore taken after whole
blocks, one initial state of every task; ADR 17 shows that this is enough, and measures it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from shlex import quote
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from vlabench.episode import EpisodeSpec
from vlabench.metrics.betting import answers, betting_interval, log_capital
from vlabench.metrics.comparison import Comparison, Pairs, Rules, Subject, Verdict
from vlabench.metrics.designs import Design, Looks, always_valid, group_sequential
from vlabench.metrics.estimate import THESE_TASKS, Estimate
from vlabench.metrics.evidence import tango_about
from vlabench.metrics.paired import compare_runs
from vlabench.metrics.significance import mcnemar
from vlabench.metrics.stopping import corrected
from vlabench.metrics.variance import interval_on_these_tasks
from vlabench.record import EpisodeRecord, Outcome, Run, RunHeader

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Blocks = Sequence[Sequence[EpisodeSpec]]

__all__ = [
    "Decision",
    "Seen",
    "answers",
    "betting_interval",
    "decide",
    "log_capital",
    "obstacles",
    "refuse",
]

_CODES = {Outcome.FAILURE: 0, Outcome.SUCCESS: 1, Outcome.ERROR: -1}
_BOTH_WAYS = {Outcome.SUCCESS, Outcome.FAILURE}
_DIFFERENCE = "difference in success on these tasks, over initial states and draws like these"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the pairs that count say, at any time.

    Attributes:
        rate_a: Success rate of a in these pairs.
        rate_b: Success rate of b in them.
        difference: Rate of b less that of a, as found. Its interval decides.
        corrected: The same, corrected for when the run stopped; None before it has, and where there
            is one look only.
        pairs: The table of pairs.
        bounds: The difference, were all errors left out to speak against b, and for b; None where
            none were left out.
    """

    rate_a: Estimate
    rate_b: Estimate
    difference: Estimate
    corrected: Estimate | None = None
    pairs: Pairs
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Run b against the finished run a, as far as b has come.

    Attributes:
        a: Name of the reference.
        b: Name of what is run against it.
        verdict: What follows so far; UNDERPOWERED where nothing is decided.
        settled: Whether no further episode can change it.
        reasons: Why, one sentence each.
        notes: What else a reader must know.
        margin: The difference that is none, a share.
        subject: What the verdict is about: checkpoints, or policies.
        design: When is looked: `always-valid`, `obrien-fleming` or `pocock`.
        planned_looks: Pairs after which is looked; none where it is after every block.
        seen: The numbers; None before the first look.
        looks: How often was looked, up to the decision.
        size: Pairs in a block.
        most: Pairs that may be run.
        recorded: Episodes of b that have ended.
        surplus: Those of them that came after the decision, or whose block is not whole.
    """

    a: str
    b: str
    verdict: Verdict
    settled: bool
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()
    margin: float
    subject: Subject = Subject.POLICIES
    design: str = "always-valid"
    planned_looks: tuple[int, ...] = ()
    seen: Seen | None = None
    looks: int = 0
    size: int = 0
    most: int = 0
    recorded: int = 0
    surplus: int = 0


def obstacles(
    a: Run,
    header: RunHeader,
    planned: Sequence[EpisodeSpec],
    *,
    names: tuple[str, str],
    rules: Rules,
) -> Comparison:
    """Say why a run that has not begun cannot be held against a reference, with NOT_COMPARABLE.

    Notes are what `compare_runs` has to note of both, where nothing stands in the way.

    Args:
        a: The reference, which must be whole: one that was stopped when it looked good is none.
        header: Of the run to come.
        planned: Its plan.
        names: What to call both.
        rules: How to compare.
    """
    # As if it had asked for the same and gone the same way; what else differs is compare's to say.
    alike = replace(header, plan_digest=a.header.plan_digest, request=a.header.request)
    lenient = replace(rules, on_error="as-failure", unpaired=False)
    found = compare_runs(a, Run(header=alike, episodes=a.episodes), names=names, rules=lenient)
    differs = found.verdict is Verdict.NOT_COMPARABLE and len(a.episodes) > 0
    reasons = (
        (found.reasons if differs else ())
        or _other_plan(a.header, header, names)
        or _unfit(a, planned, names[0], rules)
    )
    if not reasons:
        return found
    return replace(found, verdict=Verdict.NOT_COMPARABLE, reasons=reasons, notes=(), evidence=None)


def refuse(found: Comparison) -> Decision:
    """Return what `obstacles` found as a decision."""
    return Decision(
        a=found.a,
        b=found.b,
        verdict=Verdict.NOT_COMPARABLE,
        settled=True,
        reasons=found.reasons,
        margin=found.margin,
        subject=found.subject,
    )


def decide(
    a: Run,
    records: Sequence[EpisodeRecord],
    blocks: Blocks,
    *,
    names: tuple[str, str],
    rules: Rules,
    looks: Looks | None = None,
    correct: bool = False,
) -> Decision:
    """Say what follows from the episodes that have ended, whatever the order they ended in.

    Blocks count in their own order, each when all of it has ended: episodes that end early are
    mostly successes. So the decision is the same for any number of workers and after resumption.

    Args:
        a: The reference, a whole run.
        records: Of the run against it.
        blocks: What may be run, `vlabench.plan.interleave`, or its beginning.
        names: What to call both.
        rules: `margin` is the difference that is none; `confidence` 0.95 means that a wrong verdict
            has a chance of 5 %.
        looks: When is looked; after every block when None.
        correct: Whether to correct the difference for stopping, which takes a second.

    Raises:
        ValueError: If there are fewer blocks than looks.
    """
    counted = _count(a, records, blocks, names=names, rules=rules)
    design = _design(looks, counted, len(blocks), rules)
    blank = _blank(names, blocks, looks, rules)
    blank = replace(blank, settled=counted.ended == len(blocks), design=design.name)
    better, worse, same = _asked(counted, design, rules)
    decided = better | worse | same
    made = int(decided.argmax()) + 1 if decided.any() else len(decided)
    states = design.looks[made - 1] if made else 0
    used = int(counted.blocks[states - 1]) if states else 0
    if not decided.any() and (design.name == "always-valid" or blank.settled):
        used = counted.ended  # with blocks in which something broke
    found = replace(
        blank,
        looks=made,
        recorded=len(records),
        seen=_see(counted, design, made, used, rules) if states else None,
        surplus=len(records) - used * blank.size,
    )
    if decided.any():
        last = made - 1
        found = _settle(found, better=better[last], worse=worse[last], same=same[last])
    elif counted.broken:
        reasons = (counted.broken,)
        return replace(found, verdict=Verdict.NOT_COMPARABLE, settled=True, reasons=reasons)
    else:
        found = replace(found, reasons=(_undecided(found),))
    return _corrected(found, counted, design, rules) if correct else found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Counted:
    """Outcomes in the order in which they count.

    Attributes:
        a: Of the reference, 0 or 1, `[states, tasks, repeats]`, as many states of every task.
        b: Of the run against it.
        all_a: The same with those that do not count; -1 for an error, `[ended, tasks, repeats]`.
        all_b: Of the run against it.
        blocks: How many blocks must have ended for so many states of every task, `[states]`.
        ended: How many first blocks have ended and are taken in.
        broken: Why the next block forbids to go on.
    """

    a: Ints
    b: Ints
    all_a: Ints
    all_b: Ints
    blocks: Ints
    ended: int
    broken: str | None = None

    @property
    def values(self) -> Floats:
        """Values that the difference of an initial state may have, over its repeats."""
        repeats = self.a.shape[2]
        values: Floats = np.arange(-repeats, repeats + 1) / repeats
        return values

    def counts(self) -> Ints:
        """How often each value was seen by each look, `[states, V]`."""
        repeats = self.a.shape[2]
        return _seen_by(self.b.sum(axis=2) - self.a.sum(axis=2) + repeats, 2 * repeats + 1)


def _blank(names: tuple[str, str], blocks: Blocks, looks: Looks | None, rules: Rules) -> Decision:
    """Return the decision before anything has been seen."""
    size = len(blocks[0])
    return Decision(
        a=names[0],
        b=names[1],
        verdict=Verdict.UNDERPOWERED,
        settled=False,
        reasons=(),
        margin=rules.margin,
        planned_looks=tuple(size * at for at in looks.at(len(blocks))) if looks else (),
        size=size,
        most=sum(map(len, blocks)),
    )


def _count(
    a: Run,
    records: Sequence[EpisodeRecord],
    blocks: Blocks,
    *,
    names: tuple[str, str],
    rules: Rules,
) -> _Counted:
    """Take in the first blocks whose episodes have all ended."""
    then, now = ({record.episode.key: record for record in side} for side in (a.episodes, records))
    tasks = len({episode.task_id for episode in blocks[0]})
    shape = (-1, tasks, len(blocks[0]) // tasks)
    ended, broken = 0, None
    for block in blocks:
        if not all(episode.key in now for episode in block):
            break
        pairs = [(then[episode.key], now[episode.key]) for episode in block]
        if broken := _contradiction(a.header, pairs, names) or _first_broken(pairs, names, rules):
            break
        ended += 1
    keys = [episode.key for block in blocks[:ended] for episode in block]
    all_a, all_b = (
        np.array([_CODES[side[key].outcome] for key in keys], dtype=np.int64).reshape(shape)
        for side in (then, now)
    )
    if rules.on_error == "as-failure":
        all_a, all_b = np.maximum(all_a, 0), np.maximum(all_b, 0)
    places = _places(np.minimum(all_a, all_b).min(axis=2) >= 0)
    rows = np.arange(tasks)
    return _Counted(
        a=all_a[places, rows],
        b=all_b[places, rows],
        all_a=all_a,
        all_b=all_b,
        blocks=places.max(axis=1, initial=0) + 1,
        ended=ended,
        broken=broken or None,
    )


def _design(looks: Looks | None, counted: _Counted, blocks: int, rules: Rules) -> Design:
    """Return when is looked. The last look is at all that counts, once everything has ended."""
    whole = len(counted.a) if counted.ended == blocks else None
    if looks is None:
        return always_valid(blocks if whole is None else whole)
    return group_sequential(looks, blocks, rules.confidence, whole=whole)


def _asked(counted: _Counted, design: Design, rules: Rules) -> tuple[Bools, Bools, Bools]:
    """Return whether each look that was made says better, worse, and within the margin."""
    if not design.quantiles:
        return answers(counted.counts(), counted.values, rules)
    made = [k for k, states in enumerate(design.looks) if states <= len(counted.a)]
    found = np.array([_planned(counted, design, k, rules) for k in made], dtype=bool)
    better, worse, same = found.reshape(-1, 3).T
    return better, worse, same


def _planned(counted: _Counted, design: Design, look: int, rules: Rules) -> tuple[bool, bool, bool]:
    """Say what a planned look concludes: interval and sign test must agree on a difference."""
    states = design.looks[look]
    low, high = _repeated(counted, states, design.quantiles[look])
    change = (counted.b[:states] - counted.a[:states]).sum(axis=2)
    gained, lost = int((change > 0).sum()), int((change < 0).sum())
    rejected = mcnemar(lost, gained) <= 2 * NormalDist().cdf(-design.quantiles[look])
    return (
        low > 0 and rejected and gained > lost,
        high < 0 and rejected and lost > gained,
        -rules.margin < low and high < rules.margin,
    )


def _repeated(counted: _Counted, states: int, quantile: float) -> tuple[float, float]:
    """Return a look's interval: all of them hold together (Jennison & Turnbull 1989, JRSS-B 51)."""
    change = (counted.b[:states] - counted.a[:states]).astype(np.float64)
    state, task, _ = np.indices(change.shape).reshape(3, -1)
    order = np.lexsort((state, task))
    _, low, high = interval_on_these_tasks(
        change.ravel()[order], task[order], state[order], tango_about,
        reach=(-1.0, 1.0), confidence=2 * NormalDist().cdf(quantile) - 1,
    )  # fmt: skip
    return low, high


def _corrected(found: Decision, counted: _Counted, design: Design, rules: Rules) -> Decision:
    """Add the difference, corrected for stopping, where a run has ended that could have before."""
    if not found.settled or found.seen is None or len(design.looks) < 2:
        return found
    value, low, high = corrected(
        design,
        counted.counts()[design.looks[found.looks - 1] - 1],
        counted.values,
        tasks=counted.a.shape[1],
        rules=rules,
        verdict=found.verdict,
    )
    estimate = replace(
        found.seen.difference,
        value=value,
        low=min(low, value),
        high=max(high, value),
        method=f"median-unbiased {100 * rules.confidence:g}%, ends ordered by their estimate",
    )
    return replace(found, seen=replace(found.seen, corrected=estimate))


def _other_plan(a: RunHeader, b: RunHeader, names: tuple[str, str]) -> tuple[str, ...]:
    """Return that plans differ, by the options that made them; empty when they are equal."""
    if a.plan_digest == b.plan_digest:
        return ()
    asked = ("tasks", "episodes", "repeats", "seed")
    differing = [one for one in asked if getattr(a.request, one) != getattr(b.request, one)]
    if not differing:
        return (f"plans differ: the suite plans other episodes now; run {names[0]} anew",)
    then, now = (
        " ".join(f"--{one} {quote(str(getattr(side.request, one)))}" for one in differing)
        for side in (a, b)
    )
    return (
        f"plans differ: {names[0]} has {then}, {names[1]} would have {now}; a decision takes the "
        f"same episodes, so say {then}",
    )


def _unfit(a: Run, planned: Sequence[EpisodeSpec], name: str, rules: Rules) -> tuple[str, ...]:
    """Return why a run is no reference for its own plan; empty when it is one."""
    reasons = []
    there = {record.episode.key for record in a.episodes}
    ended = sum(episode.key in there for episode in planned)
    if ended < len(planned):
        reasons.append(
            f"{name} has {ended} of the plan's {len(planned)} episodes; the same `vlabench run` "
            "again finishes it"
        )
    errors = sum(record.outcome is Outcome.ERROR for record in a.episodes)
    if errors and rules.on_error == "raise":
        reasons.append(
            f"{name} has {errors} errors among {len(a.episodes)} episodes; repeat them, or say "
            "what they count as: --on-error exclude or as-failure"
        )
    return tuple(reasons)


def _first_broken(
    pairs: Sequence[tuple[EpisodeRecord, EpisodeRecord]], names: tuple[str, str], rules: Rules
) -> str:
    """Return which episode broke, and what to do; empty where none did, or it was said before."""
    for pair in pairs if rules.on_error == "raise" else ():
        for name, record in zip(names, pair, strict=True):
            if record.outcome is Outcome.ERROR:
                return (
                    f"{name} has an error in {record.episode.key} (the same `vlabench run` with "
                    "--retry-errors repeats it); say what it counts as: --on-error exclude or "
                    "as-failure"
                )
    return ""


def _contradiction(
    header: RunHeader,
    pairs: Sequence[tuple[EpisodeRecord, EpisodeRecord]],
    names: tuple[str, str],
) -> str:
    """Return what `compare_runs` says of an episode that went one way and came out in two."""
    for pair in pairs:
        digests = {record.trace.digest for record in pair if record.trace}
        outcomes = {record.outcome for record in pair}
        if len(digests) == 1 and all(r.trace for r in pair) and outcomes == _BOTH_WAYS:
            runs = [Run(header=header, episodes=(record,)) for record in pair]
            return "; ".join(compare_runs(*runs, names=names).reasons)
    return ""


def _places(good: Bools) -> Ints:
    """Return which block gives each task its state at each look, `[looks, tasks]`.

    Where an episode of a task broke, the task's next state takes its place, so that a look always
    has as many states of every task.

    Args:
        good: Whether a task's state counts, `[blocks, tasks]`.
    """
    looks = int(good.sum(axis=0).min())
    return np.argsort(~good, axis=0, kind="stable")[:looks]


def _seen_by(codes: Ints, kinds: int) -> Ints:
    """Count codes from 0 up to each look, `[looks, tasks]` to `[looks, kinds]`."""
    found: Ints = (codes[..., None] == np.arange(kinds)).sum(axis=1).cumsum(axis=0)
    return found


def _see(counted: _Counted, design: Design, made: int, used: int, rules: Rules) -> Seen:
    states = design.looks[made - 1]
    a, b = counted.a[:states], counted.b[:states]
    both, only_b, only_a, neither = (
        int(((a == x) & (b == y)).sum()) for x, y in ((1, 1), (0, 1), (1, 0), (0, 0))
    )
    all_a, all_b = counted.all_a[:used], counted.all_b[:used]
    return Seen(
        rate_a=_rate(a, rules),
        rate_b=_rate(b, rules),
        difference=_difference(counted, design, made, rules),
        pairs=Pairs(both=both, only_b=only_b, only_a=only_a, neither=neither),
        bounds=_bounds(all_a, all_b) if a.size < all_a.size else None,
    )


def _difference(counted: _Counted, design: Design, made: int, rules: Rules) -> Estimate:
    """Return the difference as found at a look, with the interval that decides."""
    states = design.looks[made - 1]
    change = counted.b[:states] - counted.a[:states]
    if not design.quantiles:
        low, high = betting_interval(
            counted.counts()[states - 1], counted.values, confidence=rules.confidence
        )
        return _estimate(float(change.mean()), low, high, change.size, _DIFFERENCE, rules)
    quantile = design.quantiles[made - 1]
    least, most = _repeated(counted, states, quantile)
    return Estimate(
        value=float(change.mean()),
        low=least,
        high=most,
        n=change.size,
        method=f"repeated confidence interval {100 * rules.confidence:g}%, stratified Tango at "
        f"{quantile:.3f} standard deviations, {design.titled()}",
        question=_DIFFERENCE,
    )


def _rate(outcome: Ints, rules: Rules) -> Estimate:
    """Return a rate of outcomes `[looks, tasks, repeats]`, by the same bets."""
    repeats = outcome.shape[2]
    counts = _seen_by(outcome.sum(axis=2), repeats + 1)[-1]
    values = 2 * np.arange(repeats + 1) / repeats - 1
    low, high = betting_interval(counts, values, confidence=rules.confidence)
    return _estimate(
        float(outcome.mean()), (1 + low) / 2, (1 + high) / 2, outcome.size, THESE_TASKS, rules
    )


def _estimate(
    value: float, low: Floats, high: Floats, n: int, question: str, rules: Rules
) -> Estimate:
    return Estimate(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        n=n,
        method=f"betting confidence sequence {100 * rules.confidence:g}%",
        question=question,
    )


def _bounds(a: Ints, b: Ints) -> tuple[float, float]:
    """Return the difference with every error counted against b, and for b; an error is -1."""
    least_a, least_b = np.maximum(a, 0).mean(), np.maximum(b, 0).mean()
    return float(least_b - np.abs(a).mean()), float(np.abs(b).mean() - least_a)


def _settle(found: Decision, *, better: np.bool_, worse: np.bool_, same: np.bool_) -> Decision:
    """Return the decision with the verdict that its last look gives."""
    found = replace(found, settled=True)
    margin = f"{100 * found.margin:g} points"
    test = " and the sign test rejects at this look's level" if found.planned_looks else ""
    small = (f"the whole interval is within {margin} of 0: real, and small",) if same else ()
    if better:
        reasons = (f"the interval is above 0{test}", *small)
        return replace(found, verdict=Verdict.BETTER, reasons=reasons)
    if worse:
        reasons = (f"the interval is below 0{test}", *small)
        return replace(found, verdict=Verdict.WORSE, reasons=reasons)
    reason = f"the whole interval is within {margin} of 0"
    return replace(found, verdict=Verdict.EQUIVALENT, reasons=(reason,))


def _undecided(found: Decision) -> str:
    if found.seen is None and found.planned_looks:
        return f"the first look comes after {found.planned_looks[0]} pairs"
    if found.seen is None:
        return "no block of episodes, one initial state of every task, has ended yet"
    if found.seen.difference.low <= 0 <= found.seen.difference.high:
        return f"the interval reaches beyond {100 * found.margin:g} points and contains 0"
    return "the interval leaves out 0, but the sign test does not reject at this look's level"
