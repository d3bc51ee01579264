"""Is one run better than another, asked again and again while it runs?

With a test for a fixed number of episodes, whoever looks after each and stops when the answer
pleases finds differences where there are none. The interval here may be looked at always: with 95 %
it holds the truth at *every* look (a confidence sequence), so that any rule may stop the run.

It is an interval by betting (Waudby-Smith & Ramdas 2024, JRSS-B 86:1-27). If the mean is not above
`m`, somebody who bets that it is ever has 40 times his capital with a chance of at most 1/40 (Ville
1939); the interval has those `m` against which nobody got that rich, from either side. Bets are
spread evenly over all shares of the capital, the universal portfolio (Cover 1991, Mathematical
Finance 1:1-29; as a confidence sequence, Orabona & Jun 2024, IEEE Trans. IT 70:436-455).

Tasks differ, so one episode's mean is not the suite's. Looks are therefore taken after whole
blocks, one initial state of every task; ADR 17 shows that this is enough, and measures it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from shlex import quote

import numpy as np
from numpy.typing import NDArray

from vlabench.episode import EpisodeSpec
from vlabench.metrics.comparison import Comparison, Pairs, Rules, Verdict
from vlabench.metrics.estimate import THESE_TASKS, Estimate
from vlabench.metrics.paired import compare_runs
from vlabench.record import EpisodeRecord, Outcome, Run, RunHeader

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Blocks = Sequence[Sequence[EpisodeSpec]]

_CODES = {Outcome.FAILURE: 0, Outcome.SUCCESS: 1, Outcome.ERROR: -1}
_SHARES = (np.arange(64) + 0.5) / 64
"""Of the capital that is bet. Any set of shares is valid; finer ones gain nothing measurable."""
_HALVINGS = 50
"""Of an interval of length 2, to 2e-15; a few more, and rounding would ask about a mean of -1."""
_DIFFERENCE = "difference in success on these tasks, over initial states and draws like these"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the pairs that count say, at any time.

    Attributes:
        rate_a: Success rate of a in these pairs.
        rate_b: Success rate of b in them.
        difference: Rate of b less that of a. It decides.
        pairs: The table of pairs.
        bounds: The difference, were all errors left out to speak against b, and for b; None where
            none were left out.
    """

    rate_a: Estimate
    rate_b: Estimate
    difference: Estimate
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
        seen: The numbers; None before the first look.
        looks: How often was looked, up to the decision: blocks that count.
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
    seen: Seen | None = None
    looks: int = 0
    size: int = 0
    most: int = 0
    recorded: int = 0
    surplus: int = 0


def log_capital(counts: Floats | Ints, values: Floats, mean: float | Floats) -> Floats:
    """Return the log of what 1 became by betting that the mean is above `mean`.

    Each value turns a bet share `c` of the capital into `c (1 + value) / (1 + mean)`, a fair bet if
    the mean is `mean` and an unfavourable one if it is below. Shares are never adjusted, so that
    only counts matter.

    Args:
        counts: How often each value was seen, `[..., V]`.
        values: The values, in [-1, 1], `[V]`.
        mean: In (-1, 1), a number or `[...]`.

    Returns:
        `[...]`.
    """
    growth = (1 + values) / (1 + np.asarray(mean, dtype=np.float64)[..., None])
    gains = np.log1p(_SHARES * (growth[..., None] - 1))  # [..., V, shares]
    logs = (np.asarray(counts, dtype=np.float64)[..., None, :] @ gains)[..., 0, :]
    top = logs.max(axis=-1)
    found: Floats = top + np.log(np.exp(logs - top[..., None]).mean(axis=-1))
    return found


def betting_interval(
    counts: Floats | Ints, values: Floats, *, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Return the interval of the mean; with `confidence`, it holds the mean at every look.

    Args:
        counts: How often each value was seen by each look, `[..., V]`.
        values: The values, in [-1, 1], `[V]`.
        confidence: That no look's interval misses.
    """
    rich = log(2 / (1 - confidence))  # each side may err in half of the cases
    low = _where_rich(counts, values, rich)
    high = -_where_rich(counts, -values, rich)
    return low, high


def answers(counts: Ints, values: Floats, rules: Rules) -> tuple[Bools, Bools, Bools]:
    """Return whether each look says better, worse, and within the margin.

    Args:
        counts: How often each value was seen by each look, `[..., V]`.
        values: The values, in [-1, 1], `[V]`.
        rules: Margin and confidence.

    Returns:
        Three of `[...]`.
    """
    rich = log(2 / (1 - rules.confidence))

    def above(mean: float) -> Bools:
        return log_capital(counts, values, mean) >= rich

    def below(mean: float) -> Bools:
        return log_capital(counts, -values, -mean) >= rich

    return above(0.0), below(0.0), above(-rules.margin) & below(rules.margin)


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
    )


def decide(
    a: Run,
    records: Sequence[EpisodeRecord],
    blocks: Blocks,
    *,
    names: tuple[str, str],
    rules: Rules,
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
    """
    counted = _count(a, records, blocks, rules)
    blank = Decision(
        a=names[0],
        b=names[1],
        verdict=Verdict.UNDERPOWERED,
        settled=counted.ended == len(blocks),
        reasons=(),
        margin=rules.margin,
        size=len(blocks[0]),
        most=sum(map(len, blocks)),
        recorded=len(records),
    )
    better, worse, same = answers(counted.counts(), counted.values, rules)
    decided = better | worse | same
    looks = int(decided.argmax()) + 1 if decided.any() else len(decided)
    used = int(counted.blocks[looks - 1]) if decided.any() else counted.ended
    found = replace(
        blank,
        looks=looks,
        seen=_see(counted, looks, used, rules) if looks else None,
        surplus=len(records) - used * blank.size,
    )
    if decided.any():
        last = looks - 1
        return _settle(found, better=better[last], worse=worse[last], same=same[last])
    if counted.broken:
        return replace(
            found, verdict=Verdict.NOT_COMPARABLE, settled=True, reasons=(_broken(counted, names),)
        )
    return replace(found, reasons=(_undecided(found),))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Counted:
    """Outcomes in the order in which they count.

    Attributes:
        a: Of the reference, 0 or 1, `[looks, tasks, repeats]`.
        b: Of the run against it.
        all_a: The same with those that do not count; -1 for an error, `[ended, tasks, repeats]`.
        all_b: Of the run against it.
        blocks: How many blocks must have ended for each look, `[looks]`.
        ended: How many first blocks have ended and are taken in.
        broken: The first episode that forbids to go on: in which run (0 or 1), and its key.
    """

    a: Ints
    b: Ints
    all_a: Ints
    all_b: Ints
    blocks: Ints
    ended: int
    broken: tuple[int, str] | None = None

    @property
    def values(self) -> Floats:
        """Values that the difference of an initial state may have, over its repeats."""
        repeats = self.a.shape[2]
        values: Floats = np.arange(-repeats, repeats + 1) / repeats
        return values

    def counts(self) -> Ints:
        """How often each value was seen by each look, `[looks, V]`."""
        repeats = self.a.shape[2]
        return _seen_by(self.b.sum(axis=2) - self.a.sum(axis=2) + repeats, 2 * repeats + 1)


def _count(a: Run, records: Sequence[EpisodeRecord], blocks: Blocks, rules: Rules) -> _Counted:
    """Take in the first blocks whose episodes have all ended."""
    then, now = (
        {record.episode.key: _CODES[record.outcome] for record in episodes}
        for episodes in (a.episodes, records)
    )
    tasks = len({episode.task_id for episode in blocks[0]})
    shape = (-1, tasks, len(blocks[0]) // tasks)
    ended, broken = 0, None
    for block in blocks:
        if not all(episode.key in now for episode in block):
            break
        if rules.on_error == "raise" and (broken := _first_broken(block, then, now)):
            break
        ended += 1
    keys = [episode.key for block in blocks[:ended] for episode in block]
    all_a, all_b = (
        np.array([side[key] for key in keys], dtype=np.int64).reshape(shape) for side in (then, now)
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
        broken=broken,
    )


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
    block: Sequence[EpisodeSpec], then: dict[str, int], now: dict[str, int]
) -> tuple[int, str] | None:
    for episode in block:
        for side, outcomes in enumerate((then, now)):
            if outcomes[episode.key] < 0:
                return side, episode.key
    return None


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


def _see(counted: _Counted, looks: int, used: int, rules: Rules) -> Seen:
    a, b = counted.a[:looks], counted.b[:looks]
    both, only_b, only_a, neither = (
        int(((a == x) & (b == y)).sum()) for x, y in ((1, 1), (0, 1), (1, 0), (0, 0))
    )
    low, high = betting_interval(
        counted.counts()[looks - 1], counted.values, confidence=rules.confidence
    )
    all_a, all_b = counted.all_a[:used], counted.all_b[:used]
    return Seen(
        rate_a=_rate(a, rules),
        rate_b=_rate(b, rules),
        difference=_estimate(float((b - a).mean()), low, high, a.size, _DIFFERENCE, rules),
        pairs=Pairs(both=both, only_b=only_b, only_a=only_a, neither=neither),
        bounds=_bounds(all_a, all_b) if a.size < all_a.size else None,
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


def _where_rich(counts: Floats | Ints, values: Floats, rich: float) -> Floats:
    """Return the largest mean that betting above it made `rich` against, by halving."""
    low = np.full(np.asarray(counts).shape[:-1], -1.0)
    high = np.ones_like(low)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = log_capital(counts, values, middle) >= rich
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return low


def _settle(found: Decision, *, better: np.bool_, worse: np.bool_, same: np.bool_) -> Decision:
    """Return the decision with the verdict that its last look gives."""
    found = replace(found, settled=True)
    margin = f"{100 * found.margin:g} points"
    small = (f"the whole interval is within {margin} of 0: real, and small",) if same else ()
    if better:
        reasons = ("the interval is above 0", *small)
        return replace(found, verdict=Verdict.BETTER, reasons=reasons)
    if worse:
        reasons = ("the interval is below 0", *small)
        return replace(found, verdict=Verdict.WORSE, reasons=reasons)
    reason = f"the whole interval is within {margin} of 0"
    return replace(found, verdict=Verdict.EQUIVALENT, reasons=(reason,))


def _undecided(found: Decision) -> str:
    if found.seen is None:
        return "no block of episodes, one initial state of every task, has ended yet"
    return f"the interval reaches beyond {100 * found.margin:g} points and contains 0"


def _broken(counted: _Counted, names: tuple[str, str]) -> str:
    assert counted.broken is not None
    side, key = counted.broken
    return (
        f"{names[side]} has an error in {key} (the same `vlabench run` with --retry-errors repeats "
        "it); say what it counts as: --on-error exclude or as-failure"
    )
