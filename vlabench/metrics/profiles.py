"""Scores of runs x tasks: their interquartile mean and how many are above each threshold.

A *score* is the success rate of one run on one task. The interquartile mean (IQM) is the mean of
the middle half of all scores; the performance profile is the share of them above tau, for tau from
0 to 1 (Agarwal et al. 2021, arXiv 2108.13264, sections 4.2 and 4.3). Either depends on how many
initial states are behind a score: what is estimated is the mean over evaluations like this one,
with as many runs, tasks and states, so compare runs of one plan.

That paper resamples runs within each task, as if a run's tasks were independent of each other and
runs of each other, and takes quantiles. Here one training plays all tasks, and all trainings meet
the same states: with three trainings such intervals cover 58 to 75 %. So two variances are
bootstrapped, and added: of initial states, resampled within tasks and the same for all runs; and
of runs, resampled as a whole, with the degrees of freedom that so few runs have. Wilson's interval
of as many independent episodes follows, as for every rate (`vlabench.metrics.variance`). With one
run there is the first only. `docs/coverage.md` says how well both cover.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from vlabench.metrics.counts import OnError
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.intervals import edged_wilson, normal_quantile
from vlabench.metrics.pivots import DRAWS, Floats
from vlabench.metrics.stability import _design, stability_of_runs
from vlabench.record import Run
from vlabench.table import Results

TAUS = tuple(step / 100 for step in range(100))
"""Thresholds of a profile; no score is above 1."""
_RESAMPLES = 2_000
_COMMON = 2
"""States like those of all tasks that join a task's own: see `variance.over_these_tasks`."""
_SAME = 1e-9
"""Scores that differ by less are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Scores of one method on one plan.

    Attributes:
        runs: Trainings.
        tasks: How many.
        states: Initial states of a task, the harmonic mean where tasks differ.
        left_out: Initial states that were not counted: an episode of theirs broke or is missing.
        iqm: Interquartile mean of the scores.
        mean: Of the scores, as `stability_of_runs` gives it.
        median: Of the scores; its interval is where the profile may cross one half.
        gap: How far the mean is from 1: the paper's optimality gap, whose goal is 1 here.
        taus: Thresholds.
        above: Share of scores above each of them. Each interval is about its own threshold.
    """

    runs: int
    tasks: int
    states: float
    left_out: int
    iqm: Estimate
    mean: Estimate
    median: Estimate
    gap: Estimate
    taus: tuple[float, ...]
    above: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """Scores, and what they might have been.

    Attributes:
        found: `[runs, tasks]`.
        by_state: Initial states resampled within tasks, the same for all runs,
            `[draws, runs, tasks]`.
        by_run: Runs resampled as a whole, `[draws, runs, tasks]`.
        states: Initial states of a task, the harmonic mean.
        episodes: Behind all of it.
    """

    found: Floats
    by_state: Floats
    by_run: Floats
    states: float
    episodes: int

    @property
    def runs(self) -> int:
        """How many."""
        return len(self.found)


def profile_of_runs(
    runs: Sequence[Run | Results], *, on_error: OnError = "raise", confidence: float = 0.95
) -> Profile:
    """Describe the scores of a method.

    Args:
        runs: Of one method on one plan, one for each training.
        on_error: What episodes that broke count as. `exclude` leaves out their initial state, in
            all runs.
        confidence: Coverage of the intervals.

    Raises:
        RecordError: As `stability_of_runs` does.
    """
    design = _design(runs, on_error)
    scores = resample([cell.mean(axis=2) for cell in design.cells], design.episodes)
    mean = stability_of_runs(runs, on_error=on_error, confidence=confidence).mean
    above = tuple(share_above(scores, tau, confidence=confidence) for tau in TAUS)
    return Profile(
        runs=scores.runs,
        tasks=design.tasks,
        states=design.states,
        left_out=design.left_out,
        iqm=middle(scores, confidence=confidence),
        mean=mean,
        median=median_score(scores, confidence=confidence),
        gap=Estimate(
            value=1 - mean.value,
            low=1 - mean.high,
            high=1 - mean.low,
            n=mean.n,
            method=mean.method,
            question=f"distance from 1 of {mean.question}",
        ),
        taus=TAUS,
        above=above,
    )


def interquartile_mean(scores: Floats) -> Floats:
    """Mean of the middle half, `[..., n] -> [...]`.

    Of n scores n // 4 are left off at each end, as `scipy.stats.trim_mean(scores, 0.25)` does.
    """
    n = scores.shape[-1]
    cut = n // 4
    return np.asarray(np.sort(scores, axis=-1)[..., cut : n - cut].mean(axis=-1))


def resample(
    cells: Sequence[Floats], episodes: int | None = None, *, resamples: int = _RESAMPLES
) -> Scores:
    """Draw what the scores might have been; the same each time.

    Each task's states are joined by two that are drawn from those of all tasks, so that a task
    which always succeeded so far does not look certain.

    Args:
        cells: Success of each task's initial states, the mean over repeats, `[runs, states]` each.
        episodes: Behind them; one for each cell and state when None.
        resamples: How many draws.
    """
    rng = np.random.default_rng(0)
    found = np.stack([cell.mean(axis=1) for cell in cells], axis=1)
    everyone = np.concatenate(cells, axis=1)
    drawn = np.empty((resamples, *found.shape))
    for task, cell in enumerate(cells):
        states = cell.shape[1]
        shape = (resamples, states)
        strange = rng.random(shape) < _COMMON / (states + _COMMON)
        own, other = rng.integers(states, size=shape), rng.integers(everyone.shape[1], size=shape)
        pool = np.concatenate([cell, everyone], axis=1)
        index = np.where(strange, states + other, own)
        drawn[:, :, task] = np.stack([row[index].mean(axis=1) for row in pool], axis=1)
    return Scores(
        found=found,
        by_state=drawn,
        by_run=found[rng.integers(len(found), size=(resamples, len(found)))],
        states=float(1 / np.mean([1 / cell.shape[1] for cell in cells])),
        episodes=everyone.size if episodes is None else episodes,
    )


def middle(scores: Scores, *, confidence: float = 0.95) -> Estimate:
    """Interquartile mean with its interval."""
    return _estimate(
        scores, interquartile_mean, scores.episodes, "interquartile mean of scores", confidence
    )


def share_above(scores: Scores, tau: float, *, confidence: float = 0.95) -> Estimate:
    """Share of scores above `tau` with its interval.

    That is never narrower than for so many scores of tasks which are all alike, of which any may
    be above. Where the tasks differ it is cautious.
    """
    return _estimate(
        scores,
        lambda values: (values > tau + _SAME).mean(axis=-1),
        scores.found.size,
        f"share above {tau:g} of scores",
        confidence,
    )


def median_score(scores: Scores, *, confidence: float = 0.95) -> Estimate:
    """Median score; its interval is all scores at which the profile may cross one half.

    Intervals of shares become that of a quantile (Woodruff 1952, JASA 47:635-646).
    """
    drawn = np.concatenate([scores.found.ravel(), scores.by_state.ravel()])
    possible = np.unique(drawn.round(9))  # the profile changes here and nowhere else
    shares = [share_above(scores, tau, confidence=confidence) for tau in possible]
    beyond = np.append(possible[1:], 1.0)
    low = possible[[share.low <= 0.5 for share in shares]].min()
    high = beyond[[share.high >= 0.5 for share in shares]].max(initial=possible[0])
    value, first = float(np.median(scores.found)), shares[0]
    return Estimate(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        n=first.n,
        method=f"where the profile may cross one half; {first.method}",
        question=_question("median of scores", scores),
    )


def _estimate(
    scores: Scores, of: Callable[[Floats], Floats], most: int, what: str, confidence: float
) -> Estimate:
    """Return a number between 0 and 1 that is computed from scores, `[..., n] -> [...]`.

    Args:
        scores: Of what.
        of: How.
        most: Independent episodes that it can be worth.
        what: Name of it.
        confidence: Coverage of the interval.
    """
    value = float(of(scores.found.ravel()))
    drawn = of(_flat(scores.by_state))
    within, freedom = float(drawn.var()), scores.runs - 1
    between = float(of(_flat(scores.by_run)).var()) * scores.runs / freedom if freedom else 0.0
    about = value if 0 < value < 1 else float(drawn.mean())  # at 0 and 1 the draws know more
    variance = within + between
    worth = min(about * (1 - about) / variance, most) if variance and 0 < about < 1 else most
    low, high = edged_wilson(value * worth, worth, _quantile(within, between, freedom, confidence))
    method = f"Wilson {100 * confidence:g}%, variance by resampling initial states within tasks"
    if freedom:
        method += f", and runs as a whole, {freedom} degrees of freedom"
    return Estimate(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        n=scores.episodes,
        method=method,
        question=_question(what, scores),
    )


def _question(what: str, scores: Scores) -> str:
    like = "initial states, draws and trainings like these"
    if scores.runs == 1:
        like = "initial states and draws like these, of this one training"
    return f"{what} of {scores.states:.3g} initial states on these tasks, over {like}"


def _quantile(within: float, between: float, freedom: int, confidence: float) -> float:
    """Return how many standard errors cover `confidence`.

    The variance `between` runs is only known up to `freedom / chi2(freedom)`: surrogate variables,
    as in `vlabench.metrics.pivots`.
    """
    if not between:
        return normal_quantile(confidence)
    normal, chi2 = _surrogates(freedom)
    variance = within + between * freedom / chi2
    return float(np.quantile(normal * np.sqrt(variance / (within + between)), confidence))


@cache
def _surrogates(freedom: int) -> tuple[Floats, Floats]:
    """Return draws of the size of a normal number and of chi2(freedom), always the same."""
    rng = np.random.default_rng(0)
    return np.abs(rng.standard_normal(DRAWS)), rng.chisquare(freedom, DRAWS)


def _flat(scores: Floats) -> Floats:
    return scores.reshape(len(scores), -1)
