"""How much success varies, where that comes from, and what to buy next.

Runs of one method are its trainings: several checkpoints on one plan, so that every training meets
the same tasks, initial states and repeats. Success `y` of training g in task t, initial state s of
that task and repeat r is taken as a sum, on the scale of rates:

    y = mean + task_t + state_ts + training_g + (training x task)_gt + (training x state)_gts + draw

Tasks are these tasks, so that `training` is about the mean over them. Variances come from mean
squares (Searle, Casella & McCulloch 1992, Variance Components, chapter 4), their intervals from
`vlabench.metrics.pivots`. What a design cannot tell apart is `residual`, which says what is in it.
ADR 14 has the definitions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from vlabench.errors import RecordError
from vlabench.metrics.counts import OnError
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.pivots import (
    DRAWS,
    Floats,
    Pivot,
    around,
    between,
    combine,
    mean_square,
    ratio,
    trusted_freedom,
)
from vlabench.metrics.variance import initial_states, rate_on_these_tasks
from vlabench.record import Run
from vlabench.table import Ints, Results, Table, results_of

What = Literal["states", "repeats", "trainings"]
Rng = np.random.Generator

_SEED = 20_240_229
_SURE = 0.95
"""Share of what the data leave open from which a purchase is said to be the best."""
_MEAN = "mean success on these tasks, over initial states, draws and trainings like these"
_ERROR = "standard error of the mean on these tasks"
_RATIO = "how many times larger the spread of success between trainings is, on these tasks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One source of variance.

    Attributes:
        name: Of what.
        means: What differs when this is large.
        variance: Of success, a share squared; None where these runs cannot say.
        deviation: Its root.
        share: Of all variances that these runs can tell apart.
        unknown: Why these runs cannot say, and which would; empty where they can.
    """

    name: str
    means: str
    variance: Estimate | None = None
    deviation: Estimate | None = None
    share: Estimate | None = None
    unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """As many episodes as there are, once more, spent in one way.

    Attributes:
        what: More initial states, more repeats of each, or more trained seeds.
        deviation: Of the suite mean, afterwards; None where these runs cannot say.
        certain: Whether nothing else lowers it more, in 95 % of what the data leave open; None
            where there is nothing to choose from.
        unknown: Why not; empty where they can.
    """

    what: What
    deviation: Estimate | None = None
    certain: bool | None = None
    unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """Where the variance of one method's success comes from.

    Attributes:
        mean: Mean over trainings and tasks. With one training, its interval is about that one.
        deviation: Of that mean.
        trainings: How many.
        tasks: How many.
        states: Initial states of a task, the harmonic mean where tasks differ.
        repeats: Of each state.
        left_out: Initial states that were not counted: an episode of theirs broke or is missing.
        components: Sources of variance.
        purchases: What twice the episodes would give, the best first.
    """

    mean: Estimate
    deviation: Estimate
    trainings: int
    tasks: int
    states: float
    repeats: int
    left_out: int
    components: tuple[Component, ...]
    purchases: tuple[Purchase, ...]

    @property
    def next(self) -> Purchase:
        """What to buy next, as far as these runs can say."""
        return self.purchases[0]


_UNKNOWN_STATES = "the file does not say which episodes had one initial state"


@dataclass(frozen=True, slots=True, eq=False)
class _Design:
    """Success by task, each `[trainings, states, repeats]`."""

    cells: tuple[Floats, ...]
    left_out: int
    known: bool  # which episodes had one initial state

    @property
    def trainings(self) -> int:
        return int(self.cells[0].shape[0])

    @property
    def tasks(self) -> int:
        return len(self.cells)

    @property
    def repeats(self) -> int:
        return int(self.cells[0].shape[2])

    @property
    def states(self) -> float:
        return float(1 / np.mean([1 / cell.shape[1] for cell in self.cells]))

    @property
    def episodes(self) -> int:
        return sum(cell.size for cell in self.cells)


def stability_of_runs(
    runs: Sequence[Run | Results], *, on_error: OnError = "raise", confidence: float = 0.95
) -> Stability:
    """Say where the variance of a method's success comes from.

    Args:
        runs: Of one method on one plan, one for each training.
        on_error: What episodes that broke count as. `exclude` leaves out their initial state, in
            all runs.
        confidence: Coverage of the intervals.

    Raises:
        RecordError: If the runs do not belong together, an episode broke and `on_error` is `raise`,
            or no task has two initial states that can be counted.
    """
    design = _design(runs, on_error)
    squares = _mean_squares(design)
    parts = _parts(design, squares)
    now = _mean_variance(design, parts, {})
    return Stability(
        mean=_mean(design, _mean_variance(design, _clipped(parts), {}), confidence),
        deviation=now.root().estimate(design.episodes, _ERROR, confidence),
        trainings=design.trainings,
        tasks=design.tasks,
        states=design.states,
        repeats=design.repeats,
        left_out=design.left_out,
        components=_components(design, parts, confidence),
        purchases=_purchases(design, parts, confidence),
    )


def stability_ratio(
    runs: Sequence[Run | Results],
    against: Sequence[Run | Results],
    *,
    on_error: OnError = "raise",
    confidence: float = 0.95,
) -> Estimate:
    """How many times as stable the first method is: the definition is ADR 14's.

    That is the standard deviation of true success between trainings, on these tasks, of `against`
    over that of `runs`; 3 means that the first spreads a third as much. It is infinite, or 1 if
    both are so, where no spread is left once the noise of episodes is taken out.

    Raises:
        RecordError: As `stability_of_runs` does; or if a method has one run only, or plans differ.
    """
    one, other = _design(runs, on_error), _design(against, on_error)
    refuse_other_plan(runs[0], against[0])
    for design in (one, other):
        if design.trainings < 2:
            raise RecordError(
                "one training has no spread; give two runs or more of each method, each of a "
                "checkpoint trained with another seed"
            )
    found = ratio(
        *(
            _parts(design, _mean_squares(design, _SEED + place))["training"].clipped()
            for place, design in enumerate((other, one))
        )
    )
    return found.estimate(one.episodes + other.episodes, _RATIO, confidence)


def _design(runs: Sequence[Run | Results], on_error: OnError) -> _Design:
    """Check that the runs are trainings of one method, and sort their outcomes."""
    tables = [results_of(run).table for run in runs]
    for run, table in zip(runs[1:], tables[1:], strict=True):
        _refuse_other_method(runs[0], run)
        if not tables[0].same_episodes(table):
            raise RecordError(
                f"the same plan, but not the same episodes have ended: {len(tables[0].outcome)} in "
                f"the first run, {len(table.outcome)} in another; the same `vlabench run` again "
                "finishes a run"
            )
    _refuse_twins(runs)
    errors = sum(table.errors for table in tables)
    if errors and on_error == "raise":
        raise RecordError(
            f"{errors} of {sum(len(table.outcome) for table in tables)} episodes are errors; say "
            "what they count as: --on-error exclude or as-failure"
        )
    ingested = runs[0].header.ingested
    return _sorted(tables, on_error, known=ingested is None or ingested.states_known)


def _sorted(tables: Sequence[Table], on_error: OnError, *, known: bool) -> _Design:
    outcome = np.stack([table.outcome for table in tables])
    if on_error == "as-failure":
        outcome = np.maximum(outcome, 0)
    first = tables[0]
    repeats = len(np.unique(first.repeat))
    _, state = initial_states(first.task, first.state)
    ended = np.bincount(state, (outcome >= 0).all(axis=0)) if state.size else np.zeros(0)
    kept = (ended == repeats)[state]
    cells = tuple(
        outcome[:, kept & (first.task == task)].reshape(len(tables), -1, repeats).astype(np.float64)
        for task in range(len(first.tasks))
    )
    if not cells:
        raise RecordError(
            f"the {'runs hold' if len(tables) > 1 else 'run holds'} no episode yet; variance needs "
            "two initial states of every task: the same `vlabench run` again finishes a run"
        )
    short = [name for name, cell in zip(first.tasks, cells, strict=True) if cell.shape[1] < 2]
    if short:
        raise RecordError(
            f"{short[0]} has fewer than two initial states in which every episode ended; variance "
            "needs two: --episodes 2 or more"
        )
    return _Design(cells, int((ended != repeats).sum()), known)


def _refuse_other_method(first: Run | Results, run: Run | Results) -> None:
    if first.header.policy_id != run.header.policy_id:
        raise RecordError(
            f"runs of two policies, {first.header.policy_id} and {run.header.policy_id}, are no "
            "trainings of one; put the second after --against"
        )
    refuse_other_plan(first, run)


def refuse_other_plan(first: Run | Results, run: Run | Results) -> None:
    """Check that two runs met the same episodes, in the same simulator.

    Raises:
        RecordError: If not.
    """
    for what, there, here in (
        ("suite", first.header.suite_id, run.header.suite_id),
        ("protocol", first.header.protocol, run.header.protocol),
        ("plan", first.header.plan_digest, run.header.plan_digest),
        ("simulator versions", *(dict(r.header.fingerprint.versions) for r in (first, run))),
    ):
        if there != here:
            raise RecordError(
                f"runs differ in their {what}: {there} in one, {here} in another; run every "
                "training on one plan, with the same --suite, --protocol, --tasks, --episodes, "
                "--repeats and --seed"
            )


def _refuse_twins(runs: Sequence[Run | Results]) -> None:
    seen = [run.header.training for run in runs]
    for place, one in enumerate(seen):
        if one in seen[:place]:
            what = "files" if runs[place].header.ingested else "checkpoint and settings"
            raise RecordError(
                f"run {place + 1} has the {what} of run {seen.index(one) + 1}: "
                "the same training twice; give one run for each training, and more draws of one "
                "training as --repeats"
            )


def _mean_squares(design: _Design, seed: int = _SEED) -> dict[str, Pivot]:
    """Mean squares of means, by which of training (g), task (t), state (s), draw (e) differ."""
    rng = np.random.default_rng(seed)
    g, t, r = design.trainings, design.tasks, design.repeats
    means = [cell.mean(axis=2) for cell in design.cells]  # [trainings, states] each
    by_task = np.stack([mean.mean(axis=1) for mean in means], axis=1)  # [trainings, tasks]
    states = sum(mean.shape[1] for mean in means)
    found = {}
    if r > 1:
        noise = [cell.var(axis=2, ddof=1) for cell in design.cells]
        within = [each.sum(axis=0) / g for each in noise]
        uneven = _uneven(noise, rng)
        found["e"] = _over_states(within, g * states * (r - 1), rng, spent=0, uneven=uneven)
    about = [mean - mean.mean(axis=1, keepdims=True) for mean in means]
    if g > 1:
        apart = [((a - a.mean(axis=0)) ** 2).sum(axis=0) / (g - 1) for a in about]
        uneven = _uneven([a**2 * a.shape[1] / (a.shape[1] - 1) for a in about], rng)
        freedom = (g - 1) * (states - t)
        found["gs"] = _over_states(apart, freedom, rng, spent=1, uneven=uneven)
    found["s"] = _over_states([a.mean(axis=0) ** 2 for a in about], states - t, rng, spent=1)
    training, task = by_task.mean(axis=1), by_task.mean(axis=0)
    if g > 1:
        found["g"] = between(training, rng)
    cross = by_task - training[:, None] - task + by_task.mean()
    if g > 1 and t > 1:
        freedom = (g - 1) * (t - 1)
        found["gt"] = _over_tasks((cross**2).sum(axis=0) / freedom, freedom, rng)
    if t > 1:
        own = np.array([(a.mean(axis=0) ** 2).sum() / (a.shape[1] - 1) for a in about])
        found["t"] = _between(task, own, np.array([a.shape[1] for a in about]), cross, rng)
    return found


def _between(task: Floats, own: Floats, states: Ints, cross: Floats, rng: Rng) -> Pivot:
    """Mean square of tasks which are these tasks: only their estimated rates are uncertain.

    Args:
        task: Estimated rates, `[tasks]`.
        own: Variance of one initial state's mean, within each task.
        states: How many there are.
        cross: What a training adds to its own rate and the task's, `[trainings, tasks]`.
        rng: Where draws come from.
    """
    unseen = (states + 1) / (states + 2) ** 2  # variance of a rate of 1 in n + 2
    freedom = len(task) - 1
    trainings = len(cross)
    shared = (cross**2).sum() / max(1, trainings - 1) / freedom / trainings
    noise = np.maximum(own, unseen) / states + shared
    about = task - task.mean()
    variance = (4 * about**2 * noise + 2 * noise**2).sum() / freedom**2
    value = float((about**2).sum()) / freedom
    variance = variance + _error(2 * cross @ about / freedom, rng)
    draws = value + np.sqrt(variance) * rng.standard_normal(DRAWS)
    return Pivot(value=value, draws=draws, freedom=freedom)


def _over_states(
    parts: Sequence[Floats], freedom: float, rng: Rng, *, spent: int, uneven: Floats | float = 0.0
) -> Pivot:
    """Return the mean over tasks of a mean over states, of which the task's mean took `spent`.

    Args:
        parts: Of each task, `[states]`.
        freedom: Degrees of freedom, were everything normal and all trainings alike.
        rng: Where draws come from.
        spent: States, 0 or 1.
        uneven: Variance that it has because trainings differ, draws of it.
    """
    value = float(np.mean([part.sum() / (len(part) - spent) for part in parts]))
    stratum: Ints = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    trusted = trusted_freedom(np.concatenate(parts), stratum, freedom)
    if value > 0:
        return mean_square(value, np.maximum(1, 1 / (1 / trusted + uneven / (2 * value**2))), rng)
    return mean_square(value, trusted, rng)


def _uneven(squares: Sequence[Floats], rng: Rng) -> Floats:
    """Return draws of the variance of a mean square that differs from training to training.

    A training that succeeds more often has less noise, too; few trainings say little about that.

    Args:
        squares: Of each task, `[trainings, states]`.
        rng: Where draws come from.
    """
    return _error(np.mean([square.mean(axis=1) for square in squares], axis=0), rng)


def _error(values: Floats, rng: Rng) -> Floats:
    """Return draws of the variance of a mean of values, one for each training; 0 for one."""
    count = len(values)
    if count == 1:
        return np.zeros(DRAWS)
    squares = float(((values - values.mean()) ** 2).sum())
    return np.asarray(squares / count / rng.chisquare(count - 1, DRAWS))


def _over_tasks(parts: Floats, freedom: float, rng: Rng) -> Pivot:
    stratum = np.zeros(len(parts), dtype=np.int64)
    return mean_square(float(parts.sum()), trusted_freedom(parts, stratum, freedom), rng)


def _parts(design: _Design, squares: dict[str, Pivot]) -> dict[str, Pivot]:
    """Solve the expectations of the mean squares for the variances, as far as they are there."""
    g, r, s, t = design.trainings, design.repeats, design.states, design.tasks
    weights: dict[str, dict[str, float]] = {}
    if g > 1:
        weights["training"] = {"g": 1, "gs": -1 / (s * t)}
        weights["state"] = {"s": 1, "gs": -1 / g}
        weights["residual"] = {"gs": 1, **({"e": -1 / r} if r > 1 else {})}
        if t > 1:
            weights["training x task"] = {"gt": 1, "gs": -1 / s}
            weights["task"] = {"t": 1, "s": -1 / s, "gt": -1 / g, "gs": 1 / (s * g)}
    else:
        weights["state" if r > 1 else "residual"] = {"s": 1, **({"e": -1 / r} if r > 1 else {})}
        if t > 1:
            weights["task"] = {"t": 1, "s": -1 / s}
    if r > 1:
        weights["sampling"] = {"e": 1}
    return {name: combine(squares, of) for name, of in weights.items()}


def _mean_variance(design: _Design, parts: dict[str, Pivot], factors: dict[What, float]) -> Pivot:
    """Return the variance of the mean on these tasks, with so many times the states and so on.

    Its value takes no part for less than 0. Its draws take `parts` as they are: a sum of draws that
    are all clipped leaves out what is so where a part is 0.
    """
    g = design.trainings * factors.get("trainings", 1)
    s = design.tasks * design.states * factors.get("states", 1)
    r = design.repeats * factors.get("repeats", 1)
    weights = {
        "training": 1 / g,
        "state": 1 / s,
        "residual": 1 / (g * s),
        "sampling": 1 / (g * s * r),
    }
    known = {name: weight for name, weight in weights.items() if name in parts}
    return replace(combine(parts, known), value=combine(_clipped(parts), known).value)


def _clipped(parts: dict[str, Pivot]) -> dict[str, Pivot]:
    return {name: part.clipped() for name, part in parts.items()}


def _components(
    design: _Design, parts: dict[str, Pivot], confidence: float
) -> tuple[Component, ...]:
    many, again = design.trainings > 1, design.repeats > 1
    twice = "run each initial state twice, --repeats 2" if design.known else _UNKNOWN_STATES
    repeats = "" if again else twice
    trainings = "" if many else "add a run of another trained seed"
    left = {
        (True, True): "which initial states a training solves",
        (True, False): "which initial states a training solves, and the policy's draws",
        (False, True): "which initial states a training solves",
        (False, False): "the initial state and the policy's draws",
    }[many, again]
    rows = (
        ("task", "the task", "there is one task"),
        ("state", "the initial state", repeats),
        ("training", "the training, over all tasks", trainings),
        ("training x task", "which tasks a training solves", trainings or "there is one task"),
        ("sampling", "the policy's draws", repeats),
        ("residual", left, trainings),
    )
    return tuple(
        _component(name, means, why, parts, design, confidence) for name, means, why in rows
    )


def _component(
    name: str, means: str, why: str, parts: dict[str, Pivot], design: _Design, confidence: float
) -> Component:
    if name not in parts:
        return Component(name=name, means=means, unknown=why)
    part, total = parts[name].clipped(), sum(each.clipped().value for each in parts.values())
    drawn = np.sum([each.clipped().draws for each in parts.values()], axis=0)
    share = Pivot(
        value=part.value / total if total else 0.0,
        draws=np.divide(part.draws, drawn, out=np.zeros(DRAWS), where=drawn > 0),
        freedom=part.freedom,
    )
    question = f"variance of success due to {means}"
    return Component(
        name=name,
        means=means,
        variance=part.estimate(design.episodes, question, confidence),
        deviation=part.root().estimate(
            design.episodes, f"standard deviation of success due to {means}", confidence
        ),
        share=share.estimate(
            design.episodes, f"share of the variance of success due to {means}", confidence
        ),
    )


def _purchases(design: _Design, parts: dict[str, Pivot], confidence: float) -> tuple[Purchase, ...]:
    unknown: dict[What, str] = {}
    if design.repeats == 1:
        once = "each initial state was run once" if design.known else _UNKNOWN_STATES
        unknown["repeats"] = f"{once}; never more than states give"
    if design.trainings == 1:
        unknown["trainings"] = "there is one training"
    whats: tuple[What, ...] = ("states", "repeats", "trainings")
    after = {w: _mean_variance(design, parts, {w: 2}) for w in whats if w not in unknown}
    chances = {w: _mean_variance(design, _clipped(parts), {w: 2}).draws for w in after}
    least = np.min(list(chances.values()), axis=0)
    question = f"{_ERROR}, with twice the episodes"
    bought = [
        Purchase(
            what=what,
            deviation=pivot.root().estimate(design.episodes, question, confidence),
            certain=bool((chances[what] <= least).mean() >= _SURE) if len(after) > 1 else None,
        )
        for what, pivot in sorted(after.items(), key=lambda item: item[1].value)
    ]
    return (*bought, *(Purchase(what=what, unknown=why) for what, why in unknown.items()))


def _mean(design: _Design, variance: Pivot, confidence: float) -> Estimate:
    if design.trainings == 1:
        return _rate(design, confidence)
    value = float(np.mean([cell.mean() for cell in design.cells]))
    found = around(value, variance, np.random.default_rng(_SEED + 2))
    return found.estimate(design.episodes, _MEAN, confidence)


def _rate(design: _Design, confidence: float) -> Estimate:
    """Return what `suite_rate` says of the one training there is."""
    states = [cell.shape[1] for cell in design.cells]
    task = np.repeat(np.arange(design.tasks), [s * design.repeats for s in states])
    state = np.concatenate([np.repeat(np.arange(s), design.repeats) for s in states])
    success = np.concatenate([cell.ravel() for cell in design.cells])
    return rate_on_these_tasks(success, task, state, confidence=confidence)
