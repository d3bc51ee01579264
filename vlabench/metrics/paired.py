"""Is one run better than another, by how much, and how sure is that?

Two runs of one plan are compared pair by pair: the same task, initial state and seeds. What pairs
have in common then cancels out. Runs of different plans are compared only where that is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vlabench.metrics.comparison import (
    Comparison,
    Effect,
    Evidence,
    More,
    Pairs,
    Rules,
    Verdict,
)
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.intervals import newcombe, normal_quantile, tango
from vlabench.metrics.power import pairs_needed, unpaired_needed
from vlabench.metrics.rates import rate_of, student_quantile
from vlabench.metrics.significance import compact_letters, holm, mcnemar, unpaired_test
from vlabench.metrics.variance import Mean, initial_states, over_new_tasks, over_these_tasks
from vlabench.record import Run, RunHeader
from vlabench.table import Results, Table, results_of

_DIFFERENCE = "difference in success on these tasks, over initial states and draws like these"
_NEW_DIFFERENCE = "difference in success on new tasks like these, of which these are a sample"
_POWER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    name: str
    header: RunHeader
    table: Table


def compare_runs(
    a: Run | Results,
    b: Run | Results,
    *,
    names: tuple[str, str] = ("A", "B"),
    rules: Rules | None = None,
) -> Comparison:
    """Hold run `b` against run `a`.

    Nothing is raised for runs that cannot be compared: the verdict says so, with the reasons.
    """
    return compare_all([a, b], names=names, rules=rules)[0]


def compare_all(
    runs: Sequence[Run | Results], *, names: Sequence[str], rules: Rules | None = None
) -> list[Comparison]:
    """Hold every run against each one before it; p-values are adjusted over all comparisons."""
    rules = rules or Rules()
    sides = [
        _Side(name=name, header=run.header, table=run.table)
        for name, run in zip(names, map(results_of, runs), strict=True)
    ]
    found = [_measure(a, b, rules) for a, b in combinations(sides, 2)]
    adjusted = iter(holm([c.evidence.p_value for c in found if c.evidence]))
    return [
        _decide(c, replace(c.evidence, p_adjusted=next(adjusted)), rules) if c.evidence else c
        for c in found
    ]


def group_letters(comparisons: Sequence[Comparison], *, confidence: float = 0.95) -> dict[str, str]:
    """Give every run letters, the best first; two that share one were not told apart.

    Returns:
        Name to letters; empty when some pair of runs was not comparable.
    """
    known = [(c, c.evidence) for c in comparisons if c.evidence]
    if len(known) < len(comparisons):
        return {}
    rates = {c.a: e.rate_a.value for c, e in known} | {c.b: e.rate_b.value for c, e in known}
    names = sorted(rates, key=lambda name: -rates[name])
    different = [
        (names.index(c.a), names.index(c.b)) for c, e in known if e.p_adjusted < 1 - confidence
    ]
    return dict(zip(names, compact_letters(len(names), different), strict=True))


def _obstacles(a: _Side, b: _Side, rules: Rules) -> list[str]:
    """Return everything because of which two runs cannot be compared; empty when they can."""
    one, other = a.header, b.header
    found = [
        f"{what} differ: {x} in {a.name}, {y} in {b.name}"
        for what, x, y in (
            (
                "suites",
                f"{one.suite_id}@{one.suite_version}",
                f"{other.suite_id}@{other.suite_version}",
            ),
            ("protocols", one.protocol, other.protocol),
            ("simulator versions", _versions(one), _versions(other)),
        )
        if x != y
    ]
    if one.fingerprint.mismatches != other.fingerprint.mismatches:
        found += [
            f"{side.name} was not made under {side.header.protocol}: {mismatch}"
            for side in (a, b)
            for mismatch in side.header.fingerprint.mismatches
        ]
    found += [f"{side.name} has no episodes" for side in (a, b) if not len(side.table.outcome)]
    if not found:
        found += _plan_obstacles(a, b, unpaired=rules.unpaired)
    if rules.on_error == "raise":
        found += [
            f"{side.name} has {side.table.errors} errors among {len(side.table.outcome)} episodes "
            "(the same `vlabench run` again repeats them); say what they count as: --on-error "
            "exclude or as-failure"
            for side in (a, b)
            if side.table.errors
        ]
    return found


def _plan_obstacles(a: _Side, b: _Side, *, unpaired: bool) -> list[str]:
    if unpaired:
        if a.table.tasks != b.table.tasks:
            apart = set(a.table.tasks) ^ set(b.table.tasks)
            return [f"{len(apart)} tasks are in one run only, {min(apart)} for one"]
        return []
    if a.header.plan_digest != b.header.plan_digest:
        return [
            f"plans differ: {_plan(a.header)} in {a.name}, {_plan(b.header)} in {b.name}; run both "
            "on one plan, or say --unpaired, which needs more episodes to see as much"
        ]
    if not a.table.same_episodes(b.table):
        x, y = len(a.table.outcome), len(b.table.outcome)
        return [
            f"the same plan, but not the same episodes have ended: {x} in {a.name}, {y} in "
            f"{b.name}; the same `vlabench run` again finishes a run, or say --unpaired"
        ]
    return []


def _plan(header: RunHeader) -> str:
    request = header.request
    repeats = f" x {request.repeats}" if request.repeats > 1 else ""
    return f"{request.tasks!r}, {request.episodes} states{repeats}, seed {request.seed}"


def _versions(header: RunHeader) -> str:
    items = sorted(header.fingerprint.versions.items())
    return ", ".join(f"{name} {version}" for name, version in items) or "none"


def _measure(a: _Side, b: _Side, rules: Rules) -> Comparison:
    blank = Comparison(
        a=a.name,
        b=b.name,
        verdict=Verdict.NOT_COMPARABLE,
        reasons=tuple(_obstacles(a, b, rules)),
        notes=_notes(a, b),
        margin=rules.margin,
    )
    if blank.reasons:
        return blank
    if rules.unpaired:
        evidence = _unpaired_evidence(a.table, b.table, rules)
        if evidence:
            return replace(blank, evidence=evidence)
        return replace(blank, reasons=("one of the runs has nothing but errors",))
    ended = (a.table.outcome >= 0) & (b.table.outcome >= 0)
    if not ended.any() and rules.on_error == "exclude":
        return replace(blank, reasons=("no episode ended in both runs",))
    return replace(blank, evidence=_paired_evidence(a.table, b.table, ended, rules))


def _notes(a: _Side, b: _Side) -> tuple[str, ...]:
    notes = []
    for side in (a, b):
        header = side.header
        if header.privileged:
            notes.append(f"{side.name} sees privileged state, which no robot has")
        if header.settings:
            settings = ", ".join(f"{k}={v}" for k, v in sorted(header.settings.items()))
            notes.append(f"{side.name} has settings {settings}")
        if header.provenance.dirty:
            notes.append(f"{side.name} was made by uncommitted code")
        planned = len(side.table.tasks) * header.request.episodes * header.request.repeats
        ended = len(side.table.outcome)
        if ended < planned:
            notes.append(
                f"{side.name} is not finished, {ended} of {planned} episodes; one that was stopped "
                "for what it showed is biased, so let it run to its end"
            )
    if a.header.fingerprint.mismatches == b.header.fingerprint.mismatches:
        notes += [f"both NOT COMPARABLE with others: {m}" for m in a.header.fingerprint.mismatches]
    return tuple(notes)


def _counted(table: Table, rules: Rules) -> Table:
    """Leave out errors, or make failures of them."""
    if rules.on_error == "as-failure":
        return replace(table, outcome=np.maximum(table.outcome, 0))
    return table.rows(table.outcome >= 0)


def _paired_evidence(a: Table, b: Table, ended: NDArray[np.bool_], rules: Rules) -> Evidence:
    excluded = rules.on_error == "exclude" and not ended.all()
    kept = ended | (rules.on_error == "as-failure")
    one, other = _counted(a.rows(kept), rules), _counted(b.rows(kept), rules)
    change = (other.outcome - one.outcome).astype(np.float64)
    p_value = mcnemar(*_states(change, one))
    return Evidence(
        rate_a=rate_of(one, confidence=rules.confidence),
        rate_b=rate_of(other, confidence=rules.confidence),
        difference=_difference(change, one, rules),
        new_tasks=_new_difference(change, one, rules),
        pairs=_pairs(one.outcome, other.outcome),
        p_value=p_value,
        p_adjusted=p_value,
        test="exact McNemar",
        bounds=_bounds(a, b) if excluded else None,
        tasks=_with_holm([
            _paired_effect(one.tasks[task], one.of_task(task), other.of_task(task), rules)
            for task in np.unique(one.task)
        ]),
        groups=_with_holm([
            _paired_effect(name, one.rows(mask), other.rows(mask), rules)
            for name, mask in _groups(one).items()
        ]),
    )  # fmt: skip


def _groups(table: Table) -> dict[str, NDArray[np.bool_]]:
    """Return the rows of tasks with one beginning; nothing where all have the same."""
    names = np.array([f"{task.partition('/')[0]}/*" for task in table.tasks])[table.task]
    found = {str(name): names == name for name in dict.fromkeys(names)}
    return found if len(found) > 1 else {}


def _pairs(a: NDArray[np.int64], b: NDArray[np.int64]) -> Pairs:
    both, only_b, only_a, neither = (
        int(((a == x) & (b == y)).sum()) for x, y in ((1, 1), (0, 1), (1, 0), (0, 0))
    )
    return Pairs(both=both, only_b=only_b, only_a=only_a, neither=neither)


def _states(change: NDArray[np.float64], table: Table) -> tuple[int, int]:
    """Count initial states that got worse and better; repeats of one are no independent pairs."""
    _, index = initial_states(table.task, table.state)
    total = np.bincount(index, change)
    return int((total < 0).sum()), int((total > 0).sum())


def _difference(change: NDArray[np.float64], table: Table, rules: Rules) -> Estimate:
    mean = over_these_tasks(change, table.task, table.state)
    low, high = _tango(change, table, mean, normal_quantile(rules.confidence))
    return Estimate(
        value=mean.value,
        low=low,
        high=high,
        n=len(change),
        method=f"stratified Tango {100 * rules.confidence:g}%",
        question=_DIFFERENCE,
    )


def _new_difference(change: NDArray[np.float64], table: Table, rules: Rules) -> Estimate | None:
    if len(np.unique(table.task)) < 2:
        return None
    mean = over_new_tasks(change, table.task, table.state, prior=0.0)
    low, high = _tango(change, table, mean, student_quantile(mean.units - 1, rules.confidence))
    return Estimate(
        value=mean.value,
        low=low,
        high=high,
        n=len(change),
        method=f"clustered Tango {100 * rules.confidence:g}%",
        question=_NEW_DIFFERENCE,
    )


def _tango(change: NDArray[np.float64], table: Table, mean: Mean, z: float) -> tuple[float, float]:
    """Tango's interval for as many independent pairs as have the variance of `mean`."""
    apart = over_these_tasks(np.abs(change), table.task, table.state).value
    gained, lost = (apart + mean.value) / 2, (apart - mean.value) / 2
    n = mean.episodes
    low, high = tango(max(0.0, gained) * n, max(0.0, lost) * n, n, z)
    return min(float(low), mean.value), max(float(high), mean.value)


def _paired_effect(name: str, a: Table, b: Table, rules: Rules) -> Effect:
    change = (b.outcome - a.outcome).astype(np.float64)
    p_value = mcnemar(*_states(change, a))
    return Effect(
        name=name,
        rate_a=_mean(a),
        rate_b=_mean(b),
        pairs=_pairs(a.outcome, b.outcome),
        difference=_difference(change, a, rules),
        p_value=p_value,
        p_adjusted=p_value,
    )


def _mean(table: Table) -> float:
    return over_these_tasks(table.outcome.astype(np.float64), table.task, table.state).value


def _with_holm(effects: Sequence[Effect]) -> tuple[Effect, ...]:
    adjusted = holm([effect.p_value for effect in effects])
    return tuple(replace(e, p_adjusted=p) for e, p in zip(effects, adjusted, strict=True))


def _bounds(a: Table, b: Table) -> tuple[float, float]:
    """Return the difference with every error counted against b, and for b."""

    def rate(table: Table, outcome: NDArray[np.int64]) -> float:
        return over_these_tasks(outcome.astype(np.float64), table.task, table.state).value

    least_a, least_b = (rate(table, np.maximum(table.outcome, 0)) for table in (a, b))
    most_a, most_b = (rate(table, np.abs(table.outcome)) for table in (a, b))  # an error is -1
    return least_b - most_a, most_b - least_a


def _unpaired_evidence(all_a: Table, all_b: Table, rules: Rules) -> Evidence | None:
    a, b = _counted(all_a, rules), _counted(all_b, rules)
    if not len(a.outcome) or not len(b.outcome):
        return None
    excluded = len(a.outcome) + len(b.outcome) < len(all_a.outcome) + len(all_b.outcome)
    p_value, test = unpaired_test(*_sums(a), *_sums(b))
    groups_a, groups_b = _groups(a), _groups(b)
    return Evidence(
        rate_a=rate_of(a, confidence=rules.confidence),
        rate_b=rate_of(b, confidence=rules.confidence),
        difference=_unpaired_difference(a, b, rules),
        new_tasks=None,
        pairs=None,
        p_value=p_value,
        p_adjusted=p_value,
        test=test,
        bounds=_bounds(all_a, all_b) if excluded else None,
        tasks=_with_holm([
            _unpaired_effect(a.tasks[task], a.of_task(task), b.of_task(task), rules)
            for task in np.intersect1d(a.task, b.task)
        ]),
        groups=_with_holm([
            _unpaired_effect(name, a.rows(groups_a[name]), b.rows(groups_b[name]), rules)
            for name in groups_a
            if name in groups_b
        ]),
    )  # fmt: skip


def _sums(table: Table) -> tuple[int, int]:
    return int(table.outcome.sum()), len(table.outcome)


def _unpaired_difference(a: Table, b: Table, rules: Rules) -> Estimate:
    one, other = (over_these_tasks(x.outcome.astype(np.float64), x.task, x.state) for x in (a, b))
    low, high = newcombe(
        one.value * one.episodes,
        one.episodes,
        other.value * other.episodes,
        other.episodes,
        student_quantile(max(1, len(a.outcome) + len(b.outcome) - 2), rules.confidence),
    )
    value = other.value - one.value
    return Estimate(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        n=min(len(a.outcome), len(b.outcome)),
        method=f"stratified Newcombe {100 * rules.confidence:g}%, unpaired",
        question=_DIFFERENCE,
    )


def _unpaired_effect(name: str, a: Table, b: Table, rules: Rules) -> Effect:
    p_value, _ = unpaired_test(*_sums(a), *_sums(b))
    return Effect(
        name=name,
        rate_a=_mean(a),
        rate_b=_mean(b),
        pairs=None,
        difference=_unpaired_difference(a, b, rules),
        p_value=p_value,
        p_adjusted=p_value,
    )


def _decide(found: Comparison, evidence: Evidence, rules: Rules) -> Comparison:
    """Return the comparison with its verdict: interval and test must agree on a difference."""
    difference, p_value = evidence.difference, evidence.p_adjusted
    found = replace(found, evidence=evidence)
    margin = f"{100 * rules.margin:g} points"
    rejected = p_value < 1 - rules.confidence
    within = -rules.margin < difference.low and difference.high < rules.margin
    small = (f"the whole interval is within {margin} of 0: real, and small",) if within else ()
    if difference.low > 0 and rejected:
        reason = "the interval is above 0 and the test rejects that there is no difference"
        return replace(found, verdict=Verdict.BETTER, reasons=(reason, *small))
    if difference.high < 0 and rejected:
        reason = "the interval is below 0 and the test rejects that there is no difference"
        return replace(found, verdict=Verdict.WORSE, reasons=(reason, *small))
    if within:
        reason = f"the whole interval is within {margin} of 0"
        return replace(found, verdict=Verdict.EQUIVALENT, reasons=(reason,))
    reason = f"the interval reaches beyond {margin} and contains 0"
    if not difference.low <= 0 <= difference.high:
        reason = f"the test does not reject that there is no difference (p = {p_value:.3g})"
    needed = _needed(evidence, rules)
    return replace(found, verdict=Verdict.UNDERPOWERED, reasons=(reason,), needed=needed)


def _needed(evidence: Evidence, rules: Rules) -> More | None:
    """Return what tells the margin from 0, or the found difference where that is not more."""
    for effect in (rules.margin, abs(evidence.difference.value)):
        episodes = _episodes_for(effect, evidence, rules.confidence)
        if episodes is not None and episodes > evidence.difference.n:
            return More(episodes=episodes, effect=effect)
    return None


def _episodes_for(effect: float, evidence: Evidence, confidence: float) -> int | None:
    pairs = evidence.pairs
    try:
        if pairs is None:
            rate = min(evidence.rate_a.value, 1 - effect)
            return unpaired_needed(rate, rate + effect, power=_POWER, confidence=confidence)
        apart = (pairs.only_a + pairs.only_b + 1) / (pairs.n + 2)
        return pairs_needed(effect, max(apart, effect), power=_POWER, confidence=confidence)
    except ValueError:  # an effect of 0, or more than ten million
        return None
