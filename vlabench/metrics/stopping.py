"""What a rule for stopping does to a result: the chances of every end, exactly, by recursion.

Pairs are independent and of one distribution. What they sum to is carried from look to look; what a
look decides is taken out and kept, with the look and the sum (Armitage, McPherson & Rowe 1969,
JRSS-A 132:235-244). Of the ends follow the power of a design and how many pairs it takes, and, for
a run that has stopped, an estimate that is corrected for it: the truth under which one as high as
the one found, or higher, had a chance of a half (Whitehead 1997, The Design and Analysis of
Sequential Clinical Trials, section 5; ends ordered by their estimate, Emerson & Fleming 1990,
Biometrika 77:875-892).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlabench.metrics.comparison import Rules, Verdict
from vlabench.metrics.designs import Design, Marks, marks

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

GO_ON, BETTER, WORSE, SAME, UNDECIDED = range(5)
"""How a run stands at a look."""

_NOTHING = 1e-15
"""Chance of a row or a column of sums that is dropped where a design is judged."""
_FEW = 8
"""Steps with at most so many places are added one by one."""
_CHANGES = np.array([-1.0, 0.0, 1.0])
"""What a pair can be: lost, tied, gained."""
_EDGE = 1 - 1e-6
"""The largest truth that is tried."""
_EXACT = 1e-5
"""How well a corrected difference is found, a share."""
_PSEUDO = 1.0
"""Initial states that are added, spread evenly over all changes, so that none is impossible."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class End:
    """What may be found at a look.

    Attributes:
        look: Which, from 0 up.
        chances: Of each pair of sums, `[R, C]`.
        rows: First sums, `[R]`.
        columns: Second sums, `[C]`.
        codes: How a run with these sums stands, `[R, C]`.
    """

    look: int
    chances: Floats
    rows: Ints
    columns: Ints
    codes: Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """Chances of what is added between two looks.

    Attributes:
        chances: Of each pair of summands, `[R, C]`.
        row: First of the first summands.
        column: First of the second summands.
    """

    chances: Floats
    row: int = 0
    column: int = 0


Judge = Callable[[int, Ints, Ints], Ints]
"""Says of a look, from 0 up, and sums `[R]` and `[C]`, how runs stand, `[R, C]`."""


def ends(steps: Sequence[Step], judge: Judge, *, nothing: float = 0.0) -> Iterator[End]:
    """Yield what may be found at each look by runs that no look before has ended.

    Args:
        steps: Up to the first look, and from each look to the next; at the last one all end.
        judge: How runs stand.
        nothing: Chances of rows and columns up to this one, at the margin, are dropped.
    """
    mass, row, column = np.ones((1, 1)), 0, 0
    for look, step in enumerate(steps):
        mass = _convolved(mass, step.chances)
        row, column = row + step.row, column + step.column
        if nothing:
            rows, columns = _kept(mass.sum(axis=1), nothing), _kept(mass.sum(axis=0), nothing)
            mass, row, column = mass[rows, columns], row + rows.start, column + columns.start
        sums = [first + np.arange(n) for first, n in zip((row, column), mass.shape, strict=True)]
        codes = judge(look, *sums)
        if look == len(steps) - 1:
            codes = np.where(codes == GO_ON, UNDECIDED, codes)
        yield End(look=look, chances=mass, rows=sums[0], columns=sums[1], codes=codes)
        mass = np.where(codes == GO_ON, mass, 0.0)
        if not mass.any():
            return


def corrected(
    design: Design, counts: Ints, values: Floats,
    *, tasks: int, rules: Rules, verdict: Verdict = Verdict.UNDERPOWERED,
) -> tuple[float, float, float]:  # fmt: skip
    """Return the difference that a run shows which a design has ended, corrected for that.

    Its median is the truth: as often too high as too low, over all runs, wherever they end. Both
    ends of the interval err in half of `1 - rules.confidence`, over all runs; among those that end
    early, or that say BETTER, an error remains that no estimate can be rid of. How often pairs
    differ is taken as seen, as in Tango's interval, and tasks as alike.

    Args:
        design: When is looked, up to the last possible look.
        counts: Initial states with each value when it ended, `[V]`.
        values: What the difference of a state can be, evenly from -1 to 1, `[V]`.
        tasks: In a block.
        rules: Margin and confidence.
        verdict: That ended the run; UNDERPOWERED where the plan's end did.

    Returns:
        The estimate and both ends of its interval, a share.
    """
    run = Stopped(design, counts, values, tasks=tasks, rules=rules)
    run.end_with(verdict)
    tail = (1 - rules.confidence) / 2
    return (
        _where(lambda truth: run.above(truth, ties=0.5), 0.5),
        _where(lambda truth: run.above(truth, ties=1.0), tail),
        _where(lambda truth: run.above(truth, ties=0.0), 1 - tail),
    )  # how ties count makes the interval cover at least, the estimate the middle


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a design's runs end, in the long run.

    Attributes:
        better: Chance of BETTER.
        worse: Chance of WORSE.
        same: Chance of EQUIVALENT.
        pairs: How many are run on average.
        as_found: Mean of the difference as found, where BETTER is said; None where it never is.
    """

    better: float
    worse: float
    same: float
    pairs: float
    as_found: float | None


def course(design: Design, gained: float, lost: float, *, rules: Rules) -> Course:
    """Return how runs of independent pairs of one task end, exactly.

    Args:
        design: When is looked.
        gained: Share of pairs in which b alone succeeds.
        lost: Share of pairs in which a alone does.
        rules: Margin and confidence.
    """
    sizes = np.asarray(design.looks)
    steps = [_step(size, gained, lost) for size in np.diff(sizes, prepend=0).tolist()]
    judge = _by_thresholds(_Thresholds(design, rules))
    chances, pairs, sums = np.zeros(UNDECIDED + 1), 0.0, 0.0
    for end in ends(steps, judge, nothing=_NOTHING):
        found = np.bincount(end.codes.ravel(), end.chances.ravel(), minlength=len(chances))
        ahead = np.where(end.codes == BETTER, end.chances, 0.0)
        sums += float((ahead * (end.rows[:, None] - end.columns)).sum()) / sizes[end.look]
        chances += found
        pairs += float(found[1:].sum()) * int(sizes[end.look])
    better = float(chances[BETTER])
    return Course(
        better=better,
        worse=float(chances[WORSE]),
        same=float(chances[SAME]),
        pairs=pairs,
        as_found=sums / better if better else None,
    )


def profile(counts: Floats, values: Floats, mean: float | Floats) -> Floats:
    """Return the likeliest shares of values that have a given mean, as in Tango's interval.

    Args:
        counts: How often each value was seen, `[V]`, none of them 0 at both ends.
        values: Ascending, `[V]`.
        mean: Between the ends of `values`, `[...]`.

    Returns:
        `[..., V]`.
    """
    middle = np.asarray(mean, dtype=np.float64)[..., None]
    apart = values - middle
    low, high = -1 / apart[..., -1:], -1 / apart[..., :1]
    for _ in range(60):
        factor = (low + high) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = (counts * apart / (1 + factor * apart)).sum(axis=-1, keepdims=True)
        low, high = np.where(excess > 0, factor, low), np.where(excess > 0, high, factor)
    shares = counts / np.maximum(1 + (low + high) / 2 * apart, 1e-300)
    found: Floats = shares / shares.sum(axis=-1, keepdims=True)
    return found


class _Thresholds:
    """From which excess of gained over lost pairs on looks decide, whatever the direction."""

    def __init__(self, design: Design, rules: Rules) -> None:
        self.design, self.rules = design, rules
        self.every = not design.quantiles
        if self.every:
            # Ties leave bets against 0 as they are, and ever more of them bring both ends closer.
            most = design.looks[-1]
            apart = np.arange(most + 1)
            self.better = self._better(0, apart)
            self.first = _least(
                lambda n: self._marks(0, n, apart, -(apart % 2)).not_below(),
                apart,
                np.full_like(apart, most),
            )

    def at(self, look: int, apart: Ints) -> tuple[Ints, Ints]:
        """Return from which excess on it is better, and up to which the same; -1 where never.

        Args:
            look: From 0 up.
            apart: Pairs in which one alone succeeded, `[m]`.

        Returns:
            Two of `[m]`.
        """
        size = self.design.looks[look]
        apart = np.minimum(apart, size)
        if not self.every:
            return self._better(look, apart), self._same(look, apart)
        same = np.full_like(apart, -1)
        if (open_ := self.first[apart] <= size).any():
            same[open_] = self._same(look, apart[open_])
        return self.better[apart], same

    def _better(self, look: int, apart: Ints) -> Ints:
        n = np.maximum(apart, self.design.looks[look])
        return _least(
            lambda ahead: self._marks(look, n, apart, ahead).better(), np.zeros_like(apart), apart
        )

    def _same(self, look: int, apart: Ints) -> Ints:
        n = np.full_like(apart, self.design.looks[look])
        fails = _least(
            lambda ahead: ~self._marks(look, n, apart, -ahead).not_below(),  # as high as low
            np.zeros_like(apart),
            apart,
        )
        return fails - 1

    def _marks(self, look: int, n: Ints, apart: Ints, ahead: Ints) -> Marks:
        counts = np.stack([(apart - ahead) / 2, n - apart, (apart + ahead) / 2], axis=-1)
        return marks(self.design, look, counts, _CHANGES, rules=self.rules)


def _by_thresholds(thresholds: _Thresholds) -> Judge:
    """Judge pairs gained (rows) and lost (columns)."""

    def judge(look: int, gained: Ints, lost: Ints) -> Ints:
        ahead, apart = gained[:, None] - lost, gained[:, None] + lost
        first = int(apart[0, 0])
        better, same = thresholds.at(look, np.arange(first, int(apart[-1, -1]) + 1))
        better, same = better[apart - first], same[apart - first]
        codes = np.where(np.abs(ahead) <= same, SAME, GO_ON)
        return np.where(ahead >= better, BETTER, np.where(-ahead >= better, WORSE, codes))

    return judge


def _step(pairs: int, gained: float, lost: float) -> Step:
    """Return the chances of pairs gained (rows) and lost (columns) among so many."""
    from scipy.stats import binom

    if pairs == 1:
        return Step(chances=np.array([[1 - gained - lost, lost], [gained, 0.0]]))
    rows = np.arange(pairs + 1)
    kept = _kept(binom.pmf(rows, pairs, gained), _NOTHING)
    rows = rows[kept]
    columns = np.arange(pairs + 1)[_kept(binom.pmf(np.arange(pairs + 1), pairs, lost), _NOTHING)]
    share = min(1.0, lost / (1 - gained)) if gained < 1 else 0.0
    chances = binom.pmf(rows, pairs, gained)[:, None] * binom.pmf(
        columns, pairs - rows[:, None], share
    )
    return Step(chances=chances, row=int(rows[0]), column=int(columns[0]))


class Stopped:
    """A run that a design has ended, and how else it might have ended, whatever the truth is.

    Attributes:
        bounds: Sums of changes, in parts of a repeat, from which on each look says better, to which
            worse, and from which to which the same, `[looks]` each.
    """

    def __init__(
        self, design: Design, counts: Ints, values: Floats, *, tasks: int, rules: Rules
    ) -> None:
        self.design, self.values, self.tasks, self.rules = design, values, tasks, rules
        self.unit = len(values) // 2
        self.states = int(counts.sum())
        self.sum = int(counts @ np.arange(-self.unit, self.unit + 1))
        moved = np.where(values != 0, _PSEUDO / (2 * self.unit), 0.0)
        self.shares: Floats = counts.astype(np.float64) + moved
        self.sizes = np.asarray(design.looks) * tasks
        self.bounds = _bounds_of(self)

    def end_with(self, verdict: Verdict) -> None:
        """See to it that what was found ends the run where it did: bounds are those of averages."""
        here, (better, worse, low, high) = self.sizes == self.states, self.bounds
        if verdict is Verdict.BETTER:
            better[here] = np.minimum(better[here], self.sum)
        elif verdict is Verdict.WORSE:
            worse[here] = np.maximum(worse[here], self.sum)
        elif verdict is Verdict.EQUIVALENT:
            low[here], high[here] = (
                np.minimum(low[here], self.sum), np.maximum(high[here], self.sum)
            )  # fmt: skip

    def judge(self, look: int, _: Ints, sums: Ints) -> Ints:
        """Say how runs stand by their sum alone."""
        first = int(sums[0])
        better, worse, low, high = (int(bound[look]) - first for bound in self.bounds)
        codes = np.full((1, len(sums)), GO_ON)
        codes[0, max(0, low) : max(0, high + 1)] = SAME
        codes[0, max(0, better) :] = BETTER
        codes[0, : max(0, worse + 1)] = WORSE
        return codes

    def above(self, truth: float, *, ties: float) -> float:
        """Return the chance that a run ends with a higher estimate, and with part of the ties."""
        chances = profile(self.shares, self.values, truth)
        found = 0.0
        for end in ends(self._steps(chances), self.judge):
            ended = np.where(end.codes == GO_ON, 0.0, end.chances)[0]
            tied, left = divmod(self.sum * int(self.sizes[end.look]), self.states)
            place = tied - int(end.columns[0])
            found += float(ended[max(0, place + 1) :].sum())
            if not left and 0 <= place < len(ended):
                found += ties * float(ended[place])
        return found

    def _steps(self, chances: Floats) -> list[Step]:
        known: dict[int, Step] = {}
        for size in np.diff(self.sizes, prepend=0).tolist():
            if size not in known:
                known[size] = Step(chances=_power(chances, size)[None], column=-self.unit * size)
        return [known[size] for size in np.diff(self.sizes, prepend=0).tolist()]


def _bounds_of(run: Stopped) -> tuple[Ints, Ints, Ints, Ints]:
    """Return the sums from which each look says better, and to which worse; from and to the same.

    Each `[looks]`; counts are those likeliest with a sum, of the shares that the run shows.
    """
    looks, limit = np.arange(len(run.sizes)), run.unit * run.sizes

    def at(sums: Ints) -> Marks:
        mean = np.clip(sums / limit, -1 + 1e-9, 1 - 1e-9)
        counts = profile(run.shares, run.values, mean) * run.sizes[:, None]
        return marks(run.design, looks, counts, run.values, rules=run.rules)

    better = _least(lambda sums: at(sums).better(), -limit, limit)
    worse = -_least(lambda sums: at(-sums).worse(), -limit, limit)
    low = _least(lambda sums: at(sums).not_below(), -limit, limit)
    high = -_least(lambda sums: at(-sums).not_above(), -limit, limit)
    return better, worse, low, high


def _least(holds: Callable[[Ints], NDArray[np.bool_]], low: Ints, high: Ints) -> Ints:
    """Return the least whole numbers from `low` to `high` at which it holds, else `high + 1`."""
    low, high = low - 1, high + 1
    top = high.copy()
    while (high - low > 1).any():
        middle = (low + high) // 2
        held = holds(np.minimum(middle, top - 1))
        low, high = np.where(held, low, middle), np.where(held, middle, high)
    return high


def _where(chance: Callable[[float], float], level: float) -> float:
    """Return the truth at which a chance that rises with it reaches a level."""
    from scipy.optimize import brentq

    low, high = -_EDGE, _EDGE
    if chance(low) >= level:
        return -1.0
    if chance(high) <= level:
        return 1.0
    found = brentq(lambda truth: chance(truth) - level, low, high, xtol=_EXACT / 10)
    return float(round(found / _EXACT)) * _EXACT + 0.0  # not -0.0


def _power(chances: Floats, times: int) -> Floats:
    """Return the distribution of a sum of so many values."""
    found = np.ones(1)
    for bit in bin(times)[2:]:
        found = np.convolve(found, found)
        if bit == "1":
            found = np.convolve(found, chances)
    return found


def _convolved(mass: Floats, step: Floats) -> Floats:
    if mass.shape[0] == step.shape[0] == 1:
        return np.convolve(mass[0], step[0])[None]
    if np.count_nonzero(step) > _FEW:
        from scipy.signal import fftconvolve

        smooth: Floats = np.maximum(0, fftconvolve(mass, step))
        return smooth
    rows, columns = mass.shape
    found = np.zeros((rows + step.shape[0] - 1, columns + step.shape[1] - 1))
    for row, column in np.argwhere(step):
        found[row : row + rows, column : column + columns] += step[row, column] * mass
    return found


def _kept(chances: Floats, nothing: float) -> slice:
    kept = np.flatnonzero(chances > nothing)
    return slice(int(kept[0]), int(kept[-1]) + 1) if len(kept) else slice(0, 1)
