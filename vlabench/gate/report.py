"""The gate's decision, with everything that its reports show."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vlabench.gate.matching import Match, Source, match_runs
from vlabench.metrics.comparison import Comparison, Rules, Verdict
from vlabench.metrics.regression import (
    Judgement,
    Status,
    TaskJudgement,
    judge_runs,
    judge_tasks,
    refuse,
    same_trajectories,
)
from vlabench.record import EpisodeRecord, Outcome
from vlabench.store import read_records
from vlabench.verify import parting

_WORST_FIRST = (Status.REGRESSION, Status.NOT_COMPARABLE, Status.UNDERPOWERED, Status.PASS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """An episode that came out otherwise.

    Attributes:
        key: Name of the episode.
        then: Outcome in the baseline.
        now: Outcome in the candidate.
        where: When the two trajectories parted and who left first; empty where nothing is known.
    """

    key: str
    then: Outcome
    now: Outcome
    where: str

    @property
    def lost(self) -> bool:
        """Whether a success is one no more."""
        return self.then is Outcome.SUCCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One baseline run and what became of it.

    Attributes:
        name: Suite and policy.
        baseline: Its file.
        candidate: The file held against it; None where there is none.
        judgement: What follows.
        same: Episodes that went the same way in both, to the last bit.
        changed: Episodes with another outcome, lost ones first; empty without pairing.
        tasks: Each task with a verdict of its own, the worst first; empty unless asked for.
    """

    name: str
    baseline: Path
    candidate: Path | None
    judgement: Judgement
    same: int = 0
    changed: tuple[Changed, ...] = ()
    tasks: tuple[TaskJudgement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The decision.

    Attributes:
        status: The worst of all entries: a regression that is shown counts most.
        margin: The fall that is none, a share.
        entries: One for each baseline run.
        extra: Candidate files that no baseline run asks for; nothing is said of them.
    """

    status: Status
    margin: float
    entries: tuple[Entry, ...]
    extra: tuple[Path, ...]


def hold(baseline: Path, candidate: Path, rules: Rules, *, per_task: bool = False) -> Gate:
    """Hold candidate runs against baseline runs.

    Args:
        baseline: A results file, or a folder of them.
        candidate: Another one.
        rules: How to compare; the margin is the fall that is none.
        per_task: Whether to judge each task, too.

    Raises:
        RecordError: If there is nothing to read, or it is ambiguous what belongs together.
    """
    matches, extra = match_runs(baseline, candidate)
    complete = [match for match in matches if match.candidate]
    judged = iter(_judge(complete, rules))
    entries = tuple(
        _entry(match, next(judged)) if match.candidate else _missing(match, candidate, rules)
        for match in matches
    )
    if per_task:
        entries = tuple(
            replace(entry, tasks=tuple(judge_tasks(entry.judgement, rules))) for entry in entries
        )
    found = {entry.judgement.status for entry in entries}
    return Gate(
        status=next(status for status in _WORST_FIRST if status in found),
        margin=rules.margin,
        entries=entries,
        extra=tuple(source.path for source in extra),
    )


def _judge(matches: Sequence[Match], rules: Rules) -> list[Judgement]:
    pairs = [(m.baseline.run, m.candidate.run) for m in matches if m.candidate]
    names = [("baseline", "candidate")] * len(pairs)
    return judge_runs(pairs, names=names, rules=rules)


def _missing(match: Match, candidate: Path, rules: Rules) -> Entry:
    reason = (
        f"the candidate has no run of {match.name}: {match.baseline.path} has none beside it in "
        f"{candidate}"
    )
    blank = Comparison(
        a="baseline",
        b="candidate",
        verdict=Verdict.NOT_COMPARABLE,
        reasons=(reason,),
        margin=rules.margin,
    )
    return Entry(
        name=match.name,
        baseline=match.baseline.path,
        candidate=None,
        judgement=refuse(blank, (reason,)),
    )


def _entry(match: Match, judgement: Judgement) -> Entry:
    assert match.candidate is not None
    evidence = judgement.comparison.evidence
    paired = evidence is not None and evidence.pairs is not None
    return Entry(
        name=match.name,
        baseline=match.baseline.path,
        candidate=match.candidate.path,
        judgement=judgement,
        same=same_trajectories(match.baseline.run, match.candidate.run) if paired else 0,
        changed=_changed(match.baseline, match.candidate) if paired else (),
    )


def _changed(then: Source, now: Source) -> tuple[Changed, ...]:
    """Return what changed, of runs of the same episodes; traces are read back for these only."""
    one, other = then.run.table, now.run.table
    rows = np.flatnonzero(one.outcome != other.outcome)
    records = (
        read_records(source.path, [int(place) for place in source.run.table.place[rows]])
        for source in (then, now)
    )
    found = [
        Changed(key=a.episode.key, then=a.outcome, now=b.outcome, where=_where(a, b))
        for a, b in zip(*records, strict=True)
    ]
    return tuple(sorted(found, key=lambda one: (not one.lost, one.key)))


def _where(then: EpisodeRecord, now: EpisodeRecord) -> str:
    if then.trace is None or now.trace is None:
        return ""
    return parting(then.trace, now.trace)
