"""The numbers behind a comparison of two runs: pair by pair, or as independent episodes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vlabench.metrics.comparison import Effect, Evidence, Pairs, Rules
from vlabench.metrics.counts import OnError
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.intervals import newcombe, normal_quantile, student_quantile, tango
from vlabench.metrics.rates import rate_of
from vlabench.metrics.significance import holm, mcnemar, unpaired_test
from vlabench.metrics.variance import Mean, initial_states, over_new_tasks, over_these_tasks
from vlabench.table import Ints, Table

_DIFFERENCE = "difference in success on these tasks, over initial states and draws like these"
_NEW_DIFFERENCE = "difference in success on new tasks like these, of which these are a sample"


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
        bounds=bounds(a, b) if excluded else None,
        tasks=with_holm([
            _paired_effect(one.tasks[task], one.of_task(task), other.of_task(task), rules)
            for task in np.unique(one.task)
        ]),
        groups=with_holm([
            _paired_effect(name, one.rows(mask), other.rows(mask), rules)
            for name, mask in groups_of(one.tasks, one.task, rules).items()
        ]),
    )  # fmt: skip


def groups_of(tasks: Sequence[str], task: Ints, rules: Rules) -> dict[str, NDArray[np.bool_]]:
    """Return the rows of each group of tasks; nothing where there is one group only.

    Args:
        tasks: Names.
        task: Of each row, `[n]`, an index into `tasks`.
        rules: Which groups there are.
    """
    groups = rules.groups or {
        f"{prefix}/*": [name for name in tasks if name.partition("/")[0] == prefix]
        for prefix in dict.fromkeys(name.partition("/")[0] for name in tasks)
    }
    found = {
        name: np.isin(task, [code for code, each in enumerate(tasks) if each in members])
        for name, members in groups.items()
    }
    found = {name: mask for name, mask in found.items() if mask.any()}
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
    low, high = tango_about(
        change, table.task, table.state, mean, normal_quantile(rules.confidence)
    )
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
    low, high = tango_about(
        change,
        table.task,
        table.state,
        mean,
        student_quantile(mean.units - 1, rules.confidence),
    )
    return Estimate(
        value=mean.value,
        low=low,
        high=high,
        n=len(change),
        method=f"clustered Tango {100 * rules.confidence:g}%",
        question=_NEW_DIFFERENCE,
    )


def tango_about(
    change: NDArray[np.float64], task: Ints, state: Ints, mean: Mean, z: float
) -> tuple[float, float]:
    """Tango's interval for as many independent pairs as have the variance of `mean`.

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
    p_value, test = unpaired_test(*sums(a), *sums(b))
    groups_a, groups_b = (groups_of(x.tasks, x.task, rules) for x in (a, b))
    return Evidence(
        rate_a=rate_of(a, confidence=rules.confidence),
        rate_b=rate_of(b, confidence=rules.confidence),
        difference=_unpaired_difference(a, b, rules),
        new_tasks=None,
        pairs=None,
        p_value=p_value,
        p_adjusted=p_value,
        test=test,
        bounds=bounds(all_a, all_b) if left_out(all_a, all_b, rules) else None,
        tasks=with_holm([
            _unpaired_effect(a.tasks[task], a.of_task(task), b.of_task(task), rules)
            for task in np.intersect1d(a.task, b.task)
        ]),
        groups=with_holm([
            _unpaired_effect(name, a.rows(groups_a[name]), b.rows(groups_b[name]), rules)
            for name in groups_a
            if name in groups_b
        ]),
    )  # fmt: skip


def sums(table: Table) -> tuple[int, int]:
    """Return successes and episodes, for tests of independent ones.

    Repeats of one initial state are not: where there are any, as many as they are worth.
    """
    n = len(table.outcome)
    mean = over_these_tasks(table.outcome.astype(np.float64), table.task, table.state)
    if mean.units == n:
        return int(table.outcome.sum()), n
    worth = max(1, min(n, round(mean.episodes)))
    return round(mean.value * worth), worth


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
    p_value, _ = unpaired_test(*sums(a), *sums(b))
    return Effect(
        name=name,
        rate_a=_mean(a),
        rate_b=_mean(b),
        pairs=None,
        difference=_unpaired_difference(a, b, rules),
        p_value=p_value,
        p_adjusted=p_value,
    )
