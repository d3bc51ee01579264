"""The numbers behind a comparison of two runs: pair by pair, or as independent episodes."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from vlabench.metrics.comparison import Effect, Evidence, Pairs, Rules, States
from vlabench.metrics.counts import OnError
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.intervals import newcombe, student_quantile, tango
from vlabench.metrics.rates import rate_of
from vlabench.metrics.significance import holm, sign_flip, unpaired_test
from vlabench.metrics.variance import (
    Clusters,
    Mean,
    initial_states,
    interval_on_these_tasks,
    over_new_tasks,
    over_these_tasks,
    rate_on_these_tasks,
)
from vlabench.table import Ints, Table

_DIFFERENCE = "difference in success on these tasks, over initial states and draws like these"
_NEW_DIFFERENCE = "difference in success on new tasks like these, of which these are a sample"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Success from 0 to 1, the task and the initial state of each row, `[n]`."""

    values: NDArray[np.float64]
    task: Ints
    state: Ints

    @classmethod
    def of(cls, table: Table) -> "Sample":
        """Return the outcomes of a table without errors."""
        return cls(values=table.outcome.astype(np.float64), task=table.task, state=table.state)

    @property
    def mean(self) -> Mean:
        """Over these tasks."""
        return over_these_tasks(self.values, self.task, self.state)

    def rate(self, confidence: float) -> Estimate:
        """Return the rate on these tasks."""
        return rate_on_these_tasks(self.values, self.task, self.state, confidence=confidence)


def counted(table: Table, on_error: OnError) -> Table:
    """Leave out errors, or make failures of them."""
    if on_error == "as-failure":
        return replace(table, outcome=np.maximum(table.outcome, 0))
    return table.rows(table.outcome >= 0)


def paired_evidence(a: Table, b: Table, ended: NDArray[np.bool_], rules: Rules) -> Evidence:
    """Hold `b` against `a`, the same episodes, of which those in `ended` broke in neither."""
    excluded = rules.on_error == "exclude" and not ended.all()
    kept = ended | (rules.on_error == "as-failure")
    one, other = counted(a.rows(kept), rules.on_error), counted(b.rows(kept), rules.on_error)
    change = (other.outcome - one.outcome).astype(np.float64)
    p_value = sign_flip(weighted_changes(change, one.task, one.state))
    return Evidence(
        rate_a=rate_of(one, confidence=rules.confidence),
        rate_b=rate_of(other, confidence=rules.confidence),
        difference=_difference(change, one, rules.confidence),
        wider=_difference(change, one, rules.stricter) if rules.together > 1 else None,
        new_tasks=_new_difference(change, one, rules),
        pairs=_pairs(one.outcome, other.outcome),
        p_value=p_value,
        p_adjusted=p_value,
        repeated=bool(one.repeat.any()),
        test="exact McNemar" if _alike(one) else "exact sign-flip test on initial states",
        bounds=bounds(a, b) if excluded else None,
        tasks=with_holm(_each_task(one, other, partial(_paired_effect, rules=rules))),
        groups=with_holm([
            _paired_effect(name, one.rows(mask), other.rows(mask), rules=rules)
            for name, mask in groups_of(one.tasks, one.task, rules).items()
        ]),
    )  # fmt: skip


def _each_task(a: Table, b: Table, effect: Callable[[str, Table, Table], Effect]) -> list[Effect]:
    """Return the effect on each task; those in which the same happened are computed once.

    A benchmark of ten thousand tasks has one episode of each.
    """
    found: dict[tuple[bytes, ...], Effect] = {}
    effects = []
    for code in np.intersect1d(a.task, b.task):
        name, (one, other) = a.tasks[code], (table.of_task(code) for table in (a, b))
        happened = tuple(
            x.tobytes() for t in (one, other) for x in (t.outcome, t.state - t.state[0])
        )
        if happened not in found:
            found[happened] = effect(name, one, other)
        effects.append(replace(found[happened], name=name))
    return effects


def groups_of(tasks: Sequence[str], task: Ints, rules: Rules) -> dict[str, NDArray[np.bool_]]:
    """Return the rows of each group of tasks; nothing where there is one group only.

    Args:
        tasks: Names.
        task: Of each row, `[n]`, an index into `tasks`.
        rules: Which groups there are.
    """
    beginnings: dict[str, list[str]] = {}
    for name in tasks:
        beginnings.setdefault(f"{name.partition('/')[0]}/*", []).append(name)
    groups: Mapping[str, Collection[str]] = rules.groups or beginnings
    found = {}
    for group, members in groups.items():
        chosen = set(members)
        codes = [code for code, name in enumerate(tasks) if name in chosen]
        found[group] = np.isin(task, codes)
    found = {name: mask for name, mask in found.items() if mask.any()}
    return found if len(found) > 1 else {}


def _pairs(a: NDArray[np.int64], b: NDArray[np.int64]) -> Pairs:
    both, only_b, only_a, neither = (
        int(((a == x) & (b == y)).sum()) for x, y in ((1, 1), (0, 1), (1, 0), (0, 0))
    )
    return Pairs(both=both, only_b=only_b, only_a=only_a, neither=neither)


def _alike(table: Table) -> bool:
    """Whether every pair counts alike: one a state, as many states in each task."""
    counts = np.bincount(table.task)
    return not table.repeat.any() and len(set(counts[counts > 0].tolist())) == 1


def weighted_changes(change: NDArray[np.float64], task: Ints, state: Ints) -> NDArray[np.float64]:
    """Return each initial state's part of the mean change over tasks, `[states]`.

    Args:
        change: Of every pair, `[n]`.
        task: Its task, `[n]`.
        state: Its initial state, `[n]`.
    """
    clusters = Clusters.of(task, state)
    sizes = clusters.sizes[clusters.stratum] * len(clusters.sizes)
    weighted: NDArray[np.float64] = clusters.by_state(change) / sizes
    return weighted


def _states(change: NDArray[np.float64], table: Table) -> States:
    """Count initial states that changed; repeats of one are no independent pairs."""
    _, index = initial_states(table.task, table.state)
    total = np.bincount(index, change)
    worse, better = int((total < 0).sum()), int((total > 0).sum())
    return States(worse=worse, better=better, same=len(total) - worse - better)


def _difference(change: NDArray[np.float64], table: Table, confidence: float) -> Estimate:
    return difference_on_these_tasks(
        change, table.task, table.state, question=_DIFFERENCE, confidence=confidence
    )


def difference_on_these_tasks(
    change: NDArray[np.float64], task: Ints, state: Ints, *, question: str, confidence: float
) -> Estimate:
    """Tango's interval of a difference over these tasks.

    Args:
        change: How much better b did, from -1 to 1, `[n]`.
        task: `[n]`.
        state: `[n]`.
        question: That the interval answers.
        confidence: Coverage of the interval.
    """
    mean, low, high = interval_on_these_tasks(
        change, task, state, tango_about, reach=(-1.0, 1.0), confidence=confidence
    )
    return Estimate(
        value=mean.value,
        low=low,
        high=high,
        n=len(change),
        method=f"stratified Tango {100 * confidence:.4g}%",
        question=question,
    )


def _new_difference(change: NDArray[np.float64], table: Table, rules: Rules) -> Estimate | None:
    if len(np.unique(table.task)) < 2:
        return None
    return difference_on_new_tasks(
        change, table.task, table.state, question=_NEW_DIFFERENCE, confidence=rules.confidence
    )


def difference_on_new_tasks(
    change: NDArray[np.float64], task: Ints, state: Ints, *, question: str, confidence: float
) -> Estimate:
    """Student's interval of a difference, tasks being the sample.

    Args:
        change: How much better b did, from -1 to 1, `[n]`.
        task: `[n]`, two at least.
        state: `[n]`.
        question: That the interval answers.
        confidence: Coverage of the interval.
    """
    mean = over_new_tasks(change, task, state, largest=1.0)
    half = mean.quantile(confidence) * mean.variance**0.5
    these = difference_on_these_tasks(
        change, task, state, question=question, confidence=confidence
    )  # who knows less of these tasks does not know more of new ones
    return Estimate(
        value=mean.value,
        low=max(-1.0, min(these.low, mean.value - half)),
        high=min(1.0, max(these.high, mean.value + half)),
        n=len(change),
        method=f"Student {100 * confidence:g}%, {mean.units} tasks and one that changes wholly",
        question=question,
    )


def tango_about(
    change: NDArray[np.float64], task: Ints, state: Ints, mean: Mean, z: float
) -> tuple[float, float]:
    """Tango's interval for as many independent pairs as have the variance of `mean`.

    Where all of fewer than seven pairs agree, its ends are the rates at which all do with a chance
    of `1 - confidence`, as those of `vlabench.metrics.intervals.edged_wilson`.

    Args:
        change: How much better b did, from -1 to 1, `[n]`; a share where it is a mean.
        task: `[n]`.
        state: `[n]`.
        mean: Of `change`.
        z: Quantile.
    """
    apart = over_these_tasks(np.abs(change), task, state).value
    gained, lost = (apart + mean.value) / 2, (apart - mean.value) / 2
    n = mean.episodes
    low, high = tango(max(0.0, gained) * n, max(0.0, lost) * n, n, z)
    alone = max(0.0, 1 - apart) * (1 - (2 * NormalDist().cdf(-z)) ** (1 / n))
    return min(float(low), mean.value - alone), max(float(high), mean.value + alone)


def _paired_effect(name: str, a: Table, b: Table, *, rules: Rules) -> Effect:
    change = (b.outcome - a.outcome).astype(np.float64)
    changed = _states(change, a)
    p_value = sign_flip(weighted_changes(change, a.task, a.state))
    return Effect(
        name=name,
        rate_a=Sample.of(a).rate(rules.confidence),
        rate_b=Sample.of(b).rate(rules.confidence),
        pairs=_pairs(a.outcome, b.outcome),
        states=changed,
        difference=_difference(change, a, rules.confidence),
        p_value=p_value,
        p_adjusted=p_value,
    )


def with_holm(effects: Sequence[Effect]) -> tuple[Effect, ...]:
    """Adjust the p-values of effects that are shown together."""
    adjusted = holm([effect.p_value for effect in effects])
    return tuple(replace(e, p_adjusted=p) for e, p in zip(effects, adjusted, strict=True))


def left_out(a: Table, b: Table, rules: Rules) -> bool:
    """Whether episodes that broke count nowhere."""
    return rules.on_error == "exclude" and bool(a.errors or b.errors)


def bounds(a: Table, b: Table) -> tuple[float, float]:
    """Return the difference with every error counted against b, and for b."""

    def rate(table: Table, outcome: NDArray[np.int64]) -> float:
        return over_these_tasks(outcome.astype(np.float64), table.task, table.state).value

    least_a, least_b = (rate(table, np.maximum(table.outcome, 0)) for table in (a, b))
    most_a, most_b = (rate(table, np.abs(table.outcome)) for table in (a, b))  # an error is -1
    return least_b - most_a, most_b - least_a


def unpaired_evidence(all_a: Table, all_b: Table, rules: Rules) -> Evidence | None:
    """Hold `all_b` against `all_a`, independent episodes; None if one holds errors alone."""
    a, b = counted(all_a, rules.on_error), counted(all_b, rules.on_error)
    if not len(a.outcome) or not len(b.outcome):
        return None
    one, other = Sample.of(a), Sample.of(b)
    p_value, test = unpaired_p_value(one, other)
    groups_a, groups_b = (groups_of(x.tasks, x.task, rules) for x in (a, b))
    return Evidence(
        rate_a=rate_of(a, confidence=rules.confidence),
        rate_b=rate_of(b, confidence=rules.confidence),
        difference=unpaired_difference(
            one, other, question=_DIFFERENCE, confidence=rules.confidence
        ),
        wider=unpaired_difference(one, other, question=_DIFFERENCE, confidence=rules.stricter)
        if rules.together > 1
        else None,
        new_tasks=None,
        repeated=bool(a.repeat.any() or b.repeat.any()),
        pairs=None,
        p_value=p_value,
        p_adjusted=p_value,
        test=test,
        bounds=bounds(all_a, all_b) if left_out(all_a, all_b, rules) else None,
        tasks=with_holm(_each_task(a, b, partial(_unpaired_effect, rules=rules))),
        groups=with_holm([
            _unpaired_effect(name, a.rows(groups_a[name]), b.rows(groups_b[name]), rules=rules)
            for name in groups_a
            if name in groups_b
        ]),
    )  # fmt: skip


def unpaired_p_value(a: Sample, b: Sample) -> tuple[float, str]:
    """Return the two-sided p-value that two rates are equal, and the name of the test.

    Within tasks, as the interval is: an exact test of tables, one a task, where each initial state
    was met once; Welch's (1947, Biometrika 34:28-35) on means of initial states otherwise. Where
    these do not vary at all, each counts as one success or failure.
    """
    one, other = (_by_state(sample) for sample in (a, b))
    single = all(len(x.values) == len(y.values) for x, y in ((one, a), (other, b)))
    whole = all(bool(np.isin(sample.values, (0, 1)).all()) for sample in (one, other))
    variance = one.mean.variance + other.mean.variance
    if (single and whole) or variance == 0:
        return _stratified(one, other)
    return _welch(one.mean, other.mean, tasks=len(np.unique(one.task)))


def _by_state(sample: Sample) -> Sample:
    """Return the mean of each initial state."""
    of, index = initial_states(sample.task, sample.state)
    values = np.bincount(index, sample.values) / np.bincount(index)
    return Sample(values=values, task=of, state=np.arange(len(of)))


def _stratified(a: Sample, b: Sample) -> tuple[float, str]:
    kinds = np.union1d(a.task, b.task)
    counts = []
    for sample in (a, b):
        place = np.searchsorted(kinds, sample.task)
        successes = np.bincount(place, np.round(sample.values), minlength=len(kinds))
        counts += [successes.astype(np.int64), np.bincount(place, minlength=len(kinds))]
    return unpaired_test(*counts)


def _welch(a: Mean, b: Mean, *, tasks: int) -> tuple[float, str]:
    from scipy.special import stdtr

    freedoms = [max(1, mean.units - tasks) for mean in (a, b)]
    squares = [mean.variance**2 / k for mean, k in zip((a, b), freedoms, strict=True)]
    variance = a.variance + b.variance
    t = abs(b.value - a.value) / variance**0.5
    return float(2 * stdtr(variance**2 / sum(squares), -t)), "Welch's on initial states"


def unpaired_difference(a: Sample, b: Sample, *, question: str, confidence: float) -> Estimate:
    """Interval of `b - a` for independent episodes, from those of both rates.

    These are as much wider as Student's quantile is than the normal one, which few episodes need.
    """
    z = student_quantile(max(1, len(a.values) + len(b.values) - 2), confidence)
    wider = 2 * NormalDist().cdf(z) - 1
    one, other = a.rate(wider), b.rate(wider)
    low, high = newcombe(one.value, (one.low, one.high), other.value, (other.low, other.high))
    return Estimate(
        value=other.value - one.value,
        low=float(low),
        high=float(high),
        n=min(len(a.values), len(b.values)),
        method=f"stratified Newcombe {100 * confidence:.4g}%, unpaired",
        question=question,
    )


def _unpaired_effect(name: str, a: Table, b: Table, *, rules: Rules) -> Effect:
    one, other = Sample.of(a), Sample.of(b)
    p_value, _ = unpaired_p_value(one, other)
    return Effect(
        name=name,
        rate_a=one.rate(rules.confidence),
        rate_b=other.rate(rules.confidence),
        pairs=None,
        difference=unpaired_difference(
            one, other, question=_DIFFERENCE, confidence=rules.confidence
        ),
        p_value=p_value,
        p_adjusted=p_value,
    )
