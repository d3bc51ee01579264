"""Methods of which several trainings were run: what is said of them, and what of these checkpoints.

All trainings of a method met the same initial states. Two questions are kept apart. *These
checkpoints*: what a method does in a state is the mean over its trainings and repeats there, and
states are the sample. *The methods*: trainings are the sample as well, however many episodes each
of them has, and this question decides. Three trainings a side have four degrees of freedom.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vlabench.metrics.comparison import Effect, Evidence, Rules
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.evidence import (
    Sample,
    bounds,
    counted,
    difference_on_new_tasks,
    groups_of,
    left_out,
    tango_about,
    unpaired_difference,
    unpaired_p_value,
    with_holm,
)
from vlabench.metrics.intervals import normal_quantile, student_quantile
from vlabench.metrics.rates import rate_of
from vlabench.metrics.significance import sign_flip
from vlabench.metrics.variance import (
    Mean,
    interval_on_these_tasks,
    over_these_tasks,
    rate_on_these_tasks,
)
from vlabench.table import Ints, Table, natural

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_STATES = "difference in success on these tasks, over initial states like these; these checkpoints"
_NEW_TASKS = "difference in success on new tasks like these; these checkpoints"
_METHODS = "difference in success on these tasks, over trainings and initial states like these"
_HALVINGS = 40


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """What the trainings of one method did in each initial state.

    Attributes:
        tasks: Names of tasks.
        task: Of each state, `[s]`, an index into `tasks`.
        state: Its number within the task, `[s]`.
        success: Mean over repeats, `[trainings, s]`.
    """

    tasks: tuple[str, ...]
    task: Ints
    state: Ints
    success: Floats

    @property
    def weights(self) -> Floats:
        """What each state counts in the mean over tasks, `[s]`."""
        sizes = np.bincount(self.task)
        weights: Floats = 1 / (sizes[self.task] * np.count_nonzero(sizes))
        return weights

    @property
    def rates(self) -> Floats:
        """Success of each training on these tasks, `[trainings]`."""
        rates: Floats = self.success @ self.weights
        return rates

    def rows(self, kept: Bools) -> "Side":
        """Return some of the states, a mask `[s]`."""
        _, task = np.unique(self.task[kept], return_inverse=True)
        tasks = tuple(self.tasks[code] for code in np.unique(self.task[kept]))
        return Side(tasks=tasks, task=task, state=self.state[kept], success=self.success[:, kept])

    def draws(self) -> float:
        """Return the variance of a training's rate that its draws in these states leave.

        What trainings differ by in a state, beside what they differ by in its task (Searle, Casella
        & McCulloch 1992, Variance Components, chapter 4); 0 with one training.
        """
        count = len(self.success)
        if count < 2:
            return 0.0
        apart = self.success - self.success.mean(axis=0)
        sizes = np.bincount(self.task)
        common = np.stack([np.bincount(self.task, row) / sizes for row in apart])
        squares = ((apart - common[:, self.task]) ** 2).sum(axis=0) / (count - 1)
        return float(squares @ self.weights**2)


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


def sides_of(a: Sequence[Table], b: Sequence[Table], *, paired: bool) -> tuple[Side, Side] | None:
    """Return what both methods did, in the states that every training ended; None without any.

    Args:
        a: A table for each training, without errors that do not count.
        b: The same of the other method.
        paired: Whether both met the same states: only those in common are kept then.
    """
    tables = [*a, *b]
    if not all(len(table.outcome) for table in tables):
        return None
    names = tuple(sorted({name for table in tables for name in table.tasks}, key=natural))
    found = [_states(table, names) for table in tables]
    groups = [found] if paired else [found[: len(a)], found[len(a) :]]
    sides: list[Side] = []
    for group in groups:
        keys = group[0][0]
        for others, _ in group[1:]:
            keys = np.intersect1d(keys, others, assume_unique=True)
        if not len(keys):
            return None
        success = np.stack([values[np.isin(own, keys)] for own, values in group])
        met, task = np.unique(keys["task"], return_inverse=True)
        tasks = tuple(names[code] for code in met)
        sides.append(Side(tasks=tasks, task=task, state=keys["state"], success=success))
    if paired:
        both = sides[0]
        sides = [replace(both, success=part) for part in np.split(both.success, [len(a)])]
    one, other = sides
    return one, other


def _states(table: Table, tasks: Sequence[str]) -> tuple[NDArray[np.void], Floats]:
    """Return every initial state (place of its task in `tasks`, number, seed), and its success."""
    width = int(table.state.max(initial=0)) + 1
    places = {name: place for place, name in enumerate(tasks)}
    task = np.array([places[name] for name in table.tasks], dtype=np.int64)[table.task]
    codes, first, index = np.unique(
        task * width + table.state, return_index=True, return_inverse=True
    )
    keys = np.empty(len(codes), dtype=[(name, "i8") for name in ("task", "state", "seed")])
    keys["task"], keys["state"], keys["seed"] = task[first], table.state[first], table.seed[first]
    return keys, np.bincount(index, table.outcome) / np.bincount(index, minlength=len(codes))


def trainings_evidence(a: Sequence[Table], b: Sequence[Table], rules: Rules) -> Evidence | None:
    """Hold the method with trainings `b` against that with trainings `a`.

    None if there is no initial state that ended in every training.

    Args:
        a: One table for each training, of one plan.
        b: The same of the other method.
        rules: Of the comparison.
    """
    one, other = ([counted(table, rules.on_error) for table in tables] for tables in (a, b))
    sides = sides_of(one, other, paired=not rules.unpaired)
    if sides is None or set(sides[0].tasks) != set(sides[1].tasks):
        return None
    whole = _effect("", *sides, rules)
    names = sides[0].tasks
    tasks = [(name, *(side.task == code for side in sides)) for code, name in enumerate(names)]
    masks = [groups_of(side.tasks, side.task, rules) for side in sides]
    groups = [(name, masks[0][name], masks[1][name]) for name in masks[0]]
    parts = [
        [_effect(name, sides[0].rows(x), sides[1].rows(y), rules) for name, x, y in each]
        for each in (tasks, groups)
    ]
    all_a, all_b = pooled(a), pooled(b)
    adjusted = None
    if rules.together > 1:
        adjusted, _ = over_trainings(*sides, rules, confidence=rules.stricter)
    return Evidence(
        rate_a=rate_of(pooled(one), confidence=rules.confidence),
        rate_b=rate_of(pooled(other), confidence=rules.confidence),
        difference=whole.difference,
        wider=adjusted,
        new_tasks=None if rules.unpaired else _new_tasks(*sides, rules),
        checkpoints=_over_states(*sides, rules, confidence=rules.confidence),
        trainings=(len(a), len(b)),
        pairs=None,
        p_value=whole.p_value,
        p_adjusted=whole.p_value,
        test=_test(len(a), len(b)),
        bounds=bounds(all_a, all_b) if left_out(all_a, all_b, rules) else None,
        tasks=with_holm(parts[0]),
        groups=with_holm(parts[1]),
    )


def _test(a: int, b: int) -> str:
    spread = "spread between trainings taken to be alike in both"
    return (
        f"Student's test on {a + b} trainings, {a + b - 2} degrees of freedom, {spread}; and a "
        "sign-flip test on initial states, of which the larger p counts"
    )


def _effect(name: str, a: Side, b: Side, rules: Rules) -> Effect:
    difference, p_value = over_trainings(a, b, rules, confidence=rules.confidence)
    return Effect(
        name=name,
        rate_a=_rate_of(a, rules),
        rate_b=_rate_of(b, rules),
        pairs=None,
        difference=difference,
        p_value=p_value,
        p_adjusted=p_value,
    )


def _rate_of(side: Side, rules: Rules) -> Estimate:
    """Return success of these checkpoints."""
    values = side.success.mean(axis=0)
    return rate_on_these_tasks(values, side.task, side.state, confidence=rules.confidence)


def over_trainings(a: Side, b: Side, rules: Rules, *, confidence: float) -> tuple[Estimate, float]:
    """Return the difference of two methods, trainings and states being the sample, and its p-value.

    Its variance has two parts. Between trainings: Student's with the variance that all trainings
    have in common (Student 1908), so that one of a method alone is taken to be as uncertain as
    those of the other; with unequal numbers, not less than Welch's (1947, Biometrika 34:28-35). And
    what a method does in some states and not in others, which more trainings do not average out:
    the variance over states less what the trainings' own draws explain. The interval is never
    narrower than that about these checkpoints.

    Args:
        a: Of one method.
        b: Of the other; two trainings at least in one of them.
        rules: Of the comparison.
        confidence: Coverage of the interval.
    """
    value = float(b.rates.mean() - a.rates.mean())
    freedom = len(a.rates) + len(b.rates) - 2
    between, within = _between(a.rates, b.rates), _interaction(a, b, rules)
    states = _over_states(a, b, rules, confidence=confidence)
    half = _half(between, freedom, within, confidence)
    p_value = max(_p_value(abs(value), between, freedom, within), p_over_states(a, b, rules))
    estimate = Estimate(
        value=value,
        low=max(-1.0, min(value - half, states.low)),
        high=min(1.0, max(value + half, states.high)),
        n=freedom + 2,
        method=f"Student {100 * confidence:g}%, {freedom} degrees of freedom; n counts trainings",
        question=_METHODS,
    )
    return estimate, p_value


def _between(a: Floats, b: Floats) -> float:
    """Return the variance of the difference that trainings leave."""
    several = [each for each in (a, b) if len(each) > 1]
    freedom = len(a) + len(b) - 2
    common = sum(float(each.var(ddof=1)) * (len(each) - 1) for each in several) / freedom
    found = common * (1 / len(a) + 1 / len(b))
    if len(several) == 2:
        found = max(found, sum(float(each.var(ddof=1)) / len(each) for each in several))
    return found


def _interaction(a: Side, b: Side, rules: Rules) -> float:
    """Return the variance of the difference that states leave, beside the trainings' own draws."""
    draws = [side.draws() for side in (a, b)]
    known = [each for each, side in zip(draws, (a, b), strict=True) if len(side.success) > 1]
    own = [
        (each if len(side.success) > 1 else known[0]) / len(side.success)
        for each, side in zip(draws, (a, b), strict=True)
    ]
    if rules.unpaired:
        means = [_mean(side.success.mean(axis=0), side) for side in (a, b)]
        return sum(max(0.0, mean.variance - o) for mean, o in zip(means, own, strict=True))
    change = _mean(b.success.mean(axis=0) - a.success.mean(axis=0), a)
    return max(0.0, change.variance - sum(own))


def _mean(values: Floats, side: Side) -> Mean:
    return over_these_tasks(values, side.task, side.state)


def _half(between: float, freedom: float, within: float, confidence: float) -> float:
    t, z = student_quantile(freedom, confidence), normal_quantile(confidence)
    return float((t**2 * between + z**2 * within) ** 0.5)


def _p_value(value: float, between: float, freedom: float, within: float) -> float:
    """Return the least `1 - confidence` whose interval leaves out 0, by halving on a log scale."""
    low, high = -12.0, 0.0  # exponents of ten
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        outside = _half(between, freedom, within, 1 - 10**middle) < value
        low, high = (low, middle) if outside else (middle, high)
    return float(10**high)


def p_over_states(a: Side, b: Side, rules: Rules) -> float:
    """Return the p-value about these checkpoints."""
    if rules.unpaired:
        return unpaired_p_value(_sample(a), _sample(b))[0]
    return sign_flip((b.success.mean(axis=0) - a.success.mean(axis=0)) * a.weights)


def _over_states(a: Side, b: Side, rules: Rules, *, confidence: float) -> Estimate:
    """Return how much better b did on these tasks, these checkpoints of both."""
    if rules.unpaired:
        return unpaired_difference(_sample(a), _sample(b), question=_STATES, confidence=confidence)
    change = b.success.mean(axis=0) - a.success.mean(axis=0)
    mean, low, high = interval_on_these_tasks(
        change, a.task, a.state, _tango, reach=(-1.0, 1.0), confidence=confidence
    )
    return Estimate(
        value=mean.value,
        low=low,
        high=high,
        n=len(change),
        method=f"stratified Tango {100 * confidence:g}%; n counts initial states",
        question=_STATES,
    )


def _tango(change: Floats, task: Ints, state: Ints, mean: Mean, z: float) -> tuple[float, float]:
    # A mean of several trainings varies less than single pairs with as many changes would.
    apart = over_these_tasks(np.abs(change), task, state).value
    spread = apart - mean.value**2
    if spread > 0 and mean.variance > 0:
        mean = replace(mean, episodes=spread / mean.variance)
    return tango_about(change, task, state, mean, z)


def _new_tasks(a: Side, b: Side, rules: Rules) -> Estimate | None:
    if len(a.tasks) < 2:
        return None
    change = b.success.mean(axis=0) - a.success.mean(axis=0)
    return difference_on_new_tasks(
        change, a.task, a.state, question=_NEW_TASKS, confidence=rules.confidence
    )


def _sample(side: Side) -> Sample:
    return Sample(values=side.success.mean(axis=0), task=side.task, state=side.state)
