"""Methods of which several trainings were run, compared initial state by initial state.

All trainings of a method met the same initial states. What a method does in one is the mean over
its trainings and repeats there, and two methods differ by the mean of the differences over states.

That is about *these trainings*. About *trainings like these* only the trainings are the sample,
however many episodes each of them has: three of a method have two degrees of freedom.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlabench.metrics.comparison import Effect, Evidence, Rules
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.evidence import (
    bounds,
    counted,
    groups_of,
    left_out,
    tango_about,
    with_holm,
)
from vlabench.metrics.intervals import normal_quantile, student_quantile
from vlabench.metrics.rates import rate_of
from vlabench.metrics.significance import mcnemar
from vlabench.metrics.variance import Mean, over_new_tasks, over_these_tasks
from vlabench.table import Ints, Table, natural

Floats = NDArray[np.float64]

_DIFFERENCE = (
    "difference in success on these tasks, over initial states like these; these trainings"
)
_NEW_TASKS = "difference in success on new tasks like these; these trainings"
_NEW_TRAININGS = "difference in success on these tasks, over trainings like these"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class States:
    """What two methods did in the initial states that both met.

    Attributes:
        tasks: Names of tasks.
        task: Of each state, `[s]`, an index into `tasks`.
        state: Its number within the task, `[s]`.
        a: Mean success of a, `[s]`.
        b: Mean success of b, `[s]`.
    """

    tasks: tuple[str, ...]
    task: Ints
    state: Ints
    a: Floats
    b: Floats

    @property
    def change(self) -> Floats:
        """How much better b did, `[s]`."""
        return self.b - self.a

    def rows(self, kept: NDArray[np.bool_]) -> "States":
        """Return some of them, a mask `[s]`."""
        some = {name: getattr(self, name)[kept] for name in ("task", "state", "a", "b")}
        return replace(self, **some)


def pooled(tables: Sequence[Table]) -> Table:
    """Return the episodes of several trainings: another one's are further repeats of the same."""
    repeats = max(int(table.repeat.max(initial=0)) for table in tables) + 1
    names = tuple(sorted({name for table in tables for name in table.tasks}, key=natural))
    codes = {name: code for code, name in enumerate(names)}
    parts = [
        replace(
            table,
            tasks=names,
            task=np.array([codes[name] for name in table.tasks], dtype=np.int64)[table.task],
            repeat=table.repeat + place * repeats,
        )
        for place, table in enumerate(tables)
    ]
    return Table.join(parts)


def states_of(a: Table, b: Table) -> States:
    """Return the initial states that both met, and the mean success of each there."""
    tasks = tuple(sorted({*a.tasks, *b.tasks}, key=natural))
    (keys, one), (others, other) = _means(a, tasks), _means(b, tasks)
    if not np.array_equal(keys, others):
        keys, at, there = np.intersect1d(keys, others, assume_unique=True, return_indices=True)
        one, other = one[at], other[there]
    met, task = np.unique(keys["task"], return_inverse=True)
    return States(
        tasks=tuple(tasks[code] for code in met), task=task, state=keys["state"], a=one, b=other
    )


def _means(table: Table, tasks: Sequence[str]) -> tuple[NDArray[Any], Floats]:
    """Return every initial state (place of its task in `tasks`, number, seed), and its success."""
    width = int(table.state.max(initial=0)) + 1
    codes, first, index = np.unique(
        table.task * width + table.state, return_index=True, return_inverse=True
    )
    places = np.array([tasks.index(name) for name in table.tasks], dtype=np.int64)
    keys = np.empty(len(codes), dtype=[(name, "i8") for name in ("task", "state", "seed")])
    keys["task"] = places[table.task[first]]
    keys["state"], keys["seed"] = table.state[first], table.seed[first]
    return keys, np.bincount(index, table.outcome) / np.bincount(index, minlength=len(codes))


def sign_test(change: Floats) -> float:
    """Return the p-value that states get better as often as worse; McNemar's of single pairs."""
    return mcnemar(int((change < 0).sum()), int((change > 0).sum()))


def trainings_evidence(a: Sequence[Table], b: Sequence[Table], rules: Rules) -> Evidence | None:
    """Hold the trainings `b` against the trainings `a`; None if no state ended in both.

    Args:
        a: One table for each training, of one plan.
        b: The same of the other method.
        rules: Of the comparison.
    """
    all_a, all_b = pooled(a), pooled(b)
    one, other = counted(all_a, rules.on_error), counted(all_b, rules.on_error)
    if not len(one.outcome) or not len(other.outcome):
        return None
    states = states_of(one, other)
    if not len(states.task):
        return None
    p_value = sign_test(states.change)
    tasks = [(name, states.task == code) for code, name in enumerate(states.tasks)]
    groups = groups_of(states.tasks, states.task, rules).items()
    return Evidence(
        rate_a=rate_of(one, confidence=rules.confidence),
        rate_b=rate_of(other, confidence=rules.confidence),
        difference=difference_over_states(states, rules),
        new_tasks=_new_tasks(states, rules),
        new_trainings=over_trainings(a, b, rules),
        trainings=(len(a), len(b)),
        pairs=None,
        p_value=p_value,
        p_adjusted=p_value,
        test="sign test on initial states",
        bounds=bounds(all_a, all_b) if left_out(all_a, all_b, rules) else None,
        tasks=with_holm([_effect(name, states.rows(mask), rules) for name, mask in tasks]),
        groups=with_holm([_effect(name, states.rows(mask), rules) for name, mask in groups]),
    )


def over_trainings(a: Sequence[Table], b: Sequence[Table], rules: Rules) -> Estimate | None:
    """Return the difference with the trainings as the sample; None with one of each.

    Welch's interval (1947, Biometrika 34:28-35) where both have several; a method of one training
    is taken as it is, as the checkpoint that the other method's trainings began with.
    """
    rates = [np.array([_rate(counted(t, rules.on_error)) for t in tables]) for tables in (a, b)]
    several = [each for each in rates if len(each) > 1]
    if not several or any(np.isnan(each).any() for each in rates):
        return None
    squares = [float(each.var(ddof=1)) / len(each) for each in several]
    variance = sum(squares)
    freedom = min(len(each) for each in several) - 1.0
    if variance:
        parts = zip(squares, several, strict=True)
        freedom = variance**2 / sum(s**2 / (len(each) - 1) for s, each in parts)
    half = student_quantile(freedom, rules.confidence) * variance**0.5
    value = float(rates[1].mean() - rates[0].mean())
    return Estimate(
        value=value,
        low=max(-1.0, value - half),
        high=min(1.0, value + half),
        n=sum(map(len, rates)),
        method=f"{'Welch' if len(several) > 1 else 'Student'} {100 * rules.confidence:g}%, "
        f"{freedom:.3g} degrees of freedom; n counts trainings",
        question=_NEW_TRAININGS,
    )


def _rate(table: Table) -> float:
    if not len(table.outcome):
        return float("nan")
    return over_these_tasks(table.outcome.astype(np.float64), table.task, table.state).value


def difference_over_states(states: States, rules: Rules) -> Estimate:
    """Return how much better b did on these tasks, these trainings of both."""
    mean = over_these_tasks(states.change, states.task, states.state)
    return _estimate(states, mean, normal_quantile(rules.confidence), rules, _DIFFERENCE)


def _new_tasks(states: States, rules: Rules) -> Estimate | None:
    if len(np.unique(states.task)) < 2:
        return None
    mean = over_new_tasks(states.change, states.task, states.state, prior=0.0)
    return _estimate(
        states, mean, student_quantile(mean.units - 1, rules.confidence), rules, _NEW_TASKS
    )


def _estimate(states: States, mean: Mean, z: float, rules: Rules, question: str) -> Estimate:
    # A mean of several trainings varies less than single pairs with as many changes would.
    apart = over_these_tasks(np.abs(states.change), states.task, states.state).value
    spread = apart - mean.value**2
    if spread > 0 and mean.variance > 0:
        mean = replace(mean, episodes=spread / mean.variance)
    low, high = tango_about(states.change, states.task, states.state, mean, z)
    return Estimate(
        value=mean.value,
        low=low,
        high=high,
        n=len(states.task),
        method=f"stratified Tango {100 * rules.confidence:g}%; n counts initial states",
        question=question,
    )


def _effect(name: str, states: States, rules: Rules) -> Effect:
    p_value = sign_test(states.change)
    rates = (over_these_tasks(x, states.task, states.state).value for x in (states.a, states.b))
    rate_a, rate_b = rates
    return Effect(
        name=name,
        rate_a=rate_a,
        rate_b=rate_b,
        pairs=None,
        difference=difference_over_states(states, rules),
        p_value=p_value,
        p_adjusted=p_value,
    )
