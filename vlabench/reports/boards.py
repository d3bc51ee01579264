"""Runs sorted into boards: what was measured under one suite and protocol, method by method."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vlabench.errors import RecordError
from vlabench.metrics.comparison import Rules
from vlabench.metrics.counts import OnError
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.evidence import counted
from vlabench.metrics.rates import rate_of
from vlabench.metrics.significance import holm
from vlabench.metrics.trainings import over_trainings, p_over_states, pooled, sides_of
from vlabench.metrics.variance import initial_states
from vlabench.reports.model import Cell
from vlabench.table import Results, Table, natural, said_groups

Globs = Mapping[str, str]
"""Name of a group of tasks to globs over their ids, separated by commas."""
INTERVALS = "In percent, with 95 % intervals for these tasks and checkpoints, over initial states."
"""What tables of rates say of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Method:
    """One row of a board's tables: a run, or several trainings of one method on one plan.

    Attributes:
        name: For people.
        runs: On one plan.
        aside: Whether it is no contender, as an expert that the others learnt from: it is in every
            table, compared with nothing, and never the best.
    """

    name: str
    runs: tuple[Results, ...]
    aside: bool = False
    _rates: dict[object, Estimate | None] = field(default_factory=dict, repr=False)

    @cached_property
    def table(self) -> Table:
        """All its episodes; another training's are further repeats of the same initial states."""
        return self.runs[0].table if len(self.runs) == 1 else pooled([r.table for r in self.runs])

    @property
    def privileged(self) -> bool:
        """Whether it sees what no robot sees."""
        return any(run.header.privileged for run in self.runs)

    @property
    def label(self) -> str:
        """Its name, and in brackets what no reader of a number may miss."""
        marks = ["privileged"] * self.privileged
        if len(self.runs) > 1:
            marks.append(f"{len(self.runs)} trainings")
        if self.runs[0].header.ingested:
            marks.append(f"ingested from {self.runs[0].header.ingested.format}")
        if any(run.header.fingerprint.mismatches for run in self.runs):
            marks.append("NOT COMPARABLE")
        return f"{self.name} ({', '.join(marks)})" if marks else self.name


@dataclass(frozen=True, kw_only=True, eq=False)
class Board:
    """What was measured under one suite and protocol.

    Attributes:
        id: Lower-case letters, digits and hyphens.
        where: For people: `libero v1 under openvla@1`.
        methods: The reference first.
        groups: Name of a group of tasks to their ids; empty where there is one group only.
        said: What an ingested run says of its tasks: column to task to value.
    """

    id: str
    where: str
    methods: tuple[Method, ...]
    groups: Mapping[str, tuple[str, ...]]
    said: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """All tasks, in natural order."""
        return tuple(sorted({t for m in self.methods for t in m.table.tasks}, key=natural))


def make_boards(
    named: Mapping[str, Sequence[Results]],
    groups: Globs | None = None,
    aside: Collection[str] = (),
) -> list[Board]:
    """Sort runs into boards, in the order in which they come.

    Args:
        named: Name of a method to its runs; those of one suite, protocol and plan are its
            trainings. Runs on several plans make several rows, whose names say which.
        groups: Of tasks; where None, those that an ingested run says, or those before the slash of
            a task's id.
        aside: Names of methods that are no contenders.

    Raises:
        RecordError: If a run holds no episode, or the same training is there twice.
    """
    found: dict[tuple[str, str], list[Method]] = {}
    for name, runs in named.items():
        plans: dict[tuple[str, str, str], list[Results]] = {}
        for run in runs:
            if not len(run.table.outcome):
                raise RecordError(f"{run.path} holds no episode yet, so there is nothing to report")
            header = run.header
            suite = f"{header.suite_id} v{header.suite_version}"
            plans.setdefault((suite, header.protocol, header.plan_digest), []).append(run)
        boards = [key[:2] for key in plans]
        for key, members in plans.items():
            _refuse_twice(name, members)
            several = boards.count(key[:2]) > 1
            label = _with_plan(name, members[0]) if several else name
            method = Method(name=label, runs=tuple(members), aside=name in aside)
            found.setdefault(key[:2], []).append(method)
    return [
        _board(suite, protocol, methods, groups) for (suite, protocol), methods in found.items()
    ]


def rate(method: Method, tasks: Iterable[str] | None, on_error: OnError) -> Estimate | None:
    """Return success of a method on some tasks, or on all; None where it has no episode there."""
    asked = (None if tasks is None else tuple(tasks), on_error)
    if asked not in method._rates:
        method._rates[asked] = _rate(method, *asked)
    return method._rates[asked]


def _rate(method: Method, tasks: Sequence[str] | None, on_error: OnError) -> Estimate | None:
    table = method.table if tasks is None else only(method.table, tasks)
    counted = len(table.outcome) - (table.errors if on_error == "exclude" else 0)
    if not counted:
        return None
    found = rate_of(table, on_error=on_error)
    if len(method.runs) == 1:
        return found
    return replace(found, question=f"{found.question}; these {len(method.runs)} trainings")


def rates_by_task(method: Method, tasks: Sequence[str], on_error: OnError) -> list[Estimate | None]:
    """Return `rate` of each task by itself; those in which the same happened are computed once."""
    table = method.table
    ends = np.searchsorted(table.task, np.arange(len(table.tasks) + 1)).tolist()
    found: dict[tuple[bytes, bytes], Estimate | None] = {}
    rates: dict[str, Estimate | None] = {}
    for code, (begin, end) in enumerate(pairwise(ends)):
        outcome, state = table.outcome[begin:end], table.state[begin:end]
        happened = outcome.tobytes(), (state - state[:1]).tobytes()
        if happened not in found:
            found[happened] = _rate(method, [table.tasks[code]], on_error)
        rates[table.tasks[code]] = found[happened]
    return [rates.get(task) for task in tasks]


def best_of(
    methods: Sequence[Method], tasks: Iterable[str] | None, on_error: OnError
) -> list[bool]:
    """Say which methods are not significantly worse than the best one on some tasks.

    The best one is held against each of the others, on the same episodes where plans are equal;
    p-values are adjusted after Holm. One alone is neither.
    """
    chosen = None if tasks is None else tuple(tasks)
    rates = [rate(method, chosen, on_error) for method in methods]
    known = [i for i, each in enumerate(rates) if each is not None and not methods[i].aside]
    if len(known) < 2:
        return [False] * len(methods)
    best = max(known, key=lambda i: rates[i].value if rates[i] else 0.0)  # type: ignore[union-attr]
    others = [i for i in known if i != best]
    p_values = holm([told_apart(methods[i], methods[best], chosen, on_error) for i in others])
    alike = {best} | {i for i, p in zip(others, p_values, strict=True) if p >= 0.05}
    return [i in alike for i in range(len(methods))]


def average_ranks(
    methods: Sequence[Method], groups: Sequence[Iterable[str]], on_error: OnError
) -> dict[str, float]:
    """Return each contender's rank, 1 the best, averaged over groups of tasks; ties share one.

    Empty where there are fewer than two contenders or groups, or one was not measured somewhere.
    """
    contenders = [method for method in methods if not method.aside]
    if len(contenders) < 2 or len(groups) < 2:
        return {}
    rates = [[rate(method, tasks, on_error) for method in contenders] for tasks in groups]
    if not all(each for row in rates for each in row):
        return {}
    values = [[each.value for each in row if each] for row in rates]
    ranks = np.mean([_ranks(np.array(row)) for row in values], axis=0)
    return {method.name: float(r) for method, r in zip(contenders, ranks, strict=True)}


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each value's rank, the largest 1; equal ones share the mean of theirs."""
    higher = np.sum(values[:, None] < values, axis=1)
    return np.asarray(higher + (np.sum(values[:, None] == values, axis=1) + 1) / 2)


def told_apart(a: Method, b: Method, tasks: Sequence[str] | None, on_error: OnError) -> float:
    """Return the p-value that two methods succeed equally often on some tasks.

    Over initial states that both were asked to begin from: their parts of the mean difference are
    as likely the other way round (`vlabench.metrics.significance.sign_flip`; McNemar's test where
    all count alike). Without such states, episodes are taken as independent. Where a method has
    several trainings, these are the sample (`vlabench.metrics.trainings`).
    """
    one, other = (
        [counted(r.table if tasks is None else only(r.table, tasks), on_error) for r in m.runs]
        for m in (a, b)
    )
    sides = sides_of(one, other, paired=True)
    met = {len(initial_states(table.task, table.state)[0]) for table in (*one, *other)}
    paired = sides is not None and met == {len(sides[0].task)}
    if not paired:
        sides = sides_of(one, other, paired=False)
    if sides is None:
        return 1.0
    rules = Rules(unpaired=not paired, on_error=on_error)
    if len(one) + len(other) > 2:
        return over_trainings(*sides, rules, confidence=rules.confidence)[1]
    return p_over_states(*sides, rules)


def only(table: Table, tasks: Iterable[str]) -> Table:
    """Return the rows of some tasks."""
    wanted = set(tasks)
    codes = [code for code, name in enumerate(table.tasks) if name in wanted]
    return table.of_task(codes[0]) if len(codes) == 1 else table.rows(np.isin(table.task, codes))


def _board(suite: str, protocol: str, methods: Sequence[Method], groups: Globs | None) -> Board:
    where = f"{suite} under {protocol}"
    said = next((run for m in methods for run in m.runs if _says_groups(run)), None)
    columns = said.header.ingested.groups if said and said.header.ingested else {}
    board = Board(id=slug(where), where=where, methods=tuple(methods), groups={}, said=columns)
    if groups is None and said:
        found = said_groups(said)
        return replace(board, groups=found if len(found) > 1 else {})
    if groups is None:
        prefixes = dict.fromkeys(task.partition("/")[0] for task in board.tasks)
        groups = {prefix: f"{prefix}/*" for prefix in prefixes} if len(prefixes) > 1 else {}
    chosen = {name: matching(board.tasks, globs) for name, globs in groups.items()}
    return replace(board, groups={name: tasks for name, tasks in chosen.items() if tasks})


def _says_groups(run: Results) -> bool:
    return bool(run.header.ingested and run.header.ingested.groups)


def matching(tasks: Sequence[str], globs: str) -> tuple[str, ...]:
    """Return the tasks that one of several globs, separated by commas, matches."""
    patterns = [glob.strip() for glob in globs.split(",")]
    return tuple(task for task in tasks if any(fnmatchcase(task, p) for p in patterns))


def slug(text: str) -> str:
    """Return a text as lower-case letters, digits and single hyphens."""
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in text.lower()).split()
    return "-".join(words)


def _with_plan(name: str, run: Results) -> str:
    request = run.header.request
    tasks = "" if request.tasks == "*" else f" of {request.tasks}"
    repeats = f" x {request.repeats}" if request.repeats > 1 else ""
    return f"{name}, {request.episodes} states{repeats}{tasks}, seed {request.seed}"


def _refuse_twice(name: str, runs: Sequence[Results]) -> None:
    seen: dict[tuple[object, ...], Results] = {}
    for run in runs:
        identity = run.header.training
        if len(runs) > 1 and identity in seen:
            what = "the same files" if run.header.ingested else "one checkpoint"
            raise RecordError(
                f"{run.path} and {seen[identity].path} are runs of {what} on one plan, and "
                f"both are called {name!r}; trainings of a method have different checkpoints. Give "
                "one of them, or another NAME=FILE"
            )
        seen[identity] = run


def method_cell(method: Method) -> Cell:
    """Return a method's name, and what it was."""
    header = method.runs[0].header
    known = [f"policy {header.policy_id}"]
    known += [f"{key}={value}" for key, value in sorted(header.settings.items())]
    known += [f"looks at {camera}" for camera in header.cameras]
    digests = ", ".join(
        dict.fromkeys(r.header.policy_digest for r in method.runs if r.header.policy_digest)
    )
    known += [f"checkpoint {digests}"] * bool(digests)
    return Cell(text=method.label, note="; ".join(known))
