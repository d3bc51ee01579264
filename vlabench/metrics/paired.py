"""Is one run better than another, by how much, and how sure is that?

Two runs of one plan are compared pair by pair: the same task, initial state and seeds. What pairs
have in common then cancels out. Runs of different plans are compared only where that is asked for.
A method may be several trainings on one plan (`vlabench.metrics.trainings`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from vlabench.metrics.comparison import (
    Comparison,
    Evidence,
    More,
    Rules,
    Subject,
    Verdict,
)
from vlabench.metrics.evidence import bounds, paired_evidence, unpaired_evidence
from vlabench.metrics.power import pairs_needed, unpaired_needed
from vlabench.metrics.significance import compact_letters, holm
from vlabench.metrics.trainings import pooled, trainings_evidence
from vlabench.metrics.wording import p_text, points_text
from vlabench.record import Run, RunHeader
from vlabench.table import Results, Table, contradiction, results_of, unfinished

_POWER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One method: a run, or several trainings, whose `table` has them as repeats."""

    name: str
    runs: tuple[Results, ...]
    table: Table

    @property
    def header(self) -> RunHeader:
        return self.runs[0].header

    @property
    def trainings(self) -> int:
        return len(self.runs)


def _side(name: str, runs: Run | Results | Sequence[Run | Results]) -> _Side:
    several = tuple(map(results_of, (runs,) if isinstance(runs, Run | Results) else runs))
    tables = [run.table for run in several]
    return _Side(name=name, runs=several, table=tables[0] if len(tables) == 1 else pooled(tables))


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
    runs: Sequence[Run | Results | Sequence[Run | Results]],
    *,
    names: Sequence[str],
    rules: Rules | None = None,
) -> list[Comparison]:
    """Hold every run against each one before it; verdicts hold for all comparisons together.

    Args:
        runs: Each a run, or the runs of several trainings of one method on one plan.
        names: Of them, for people.
        rules: How to compare.
    """
    together = max(1, len(runs) * (len(runs) - 1) // 2)
    rules = replace(rules or Rules(), together=together)
    sides = [_side(name, run) for name, run in zip(names, runs, strict=True)]
    found = [_measure(a, b, rules) for a, b in combinations(sides, 2)]
    adjusted = iter(holm([c.evidence.p_value for c in found if c.evidence]))
    return [
        _decide(c, replace(c.evidence, p_adjusted=next(adjusted)), rules) if c.evidence else c
        for c in found
    ]


def group_letters(comparisons: Sequence[Comparison]) -> dict[str, str]:
    """Give every run letters, the best first; two that share one were not told apart.

    Returns:
        Name to letters; empty when some pair of runs was not comparable.
    """
    known = [(c, c.evidence) for c in comparisons if c.evidence]
    if len(known) < len(comparisons):
        return {}
    rates = {c.a: e.rate_a.value for c, e in known} | {c.b: e.rate_b.value for c, e in known}
    names = sorted(rates, key=lambda name: -rates[name])
    apart = (Verdict.BETTER, Verdict.WORSE)
    different = [(names.index(c.a), names.index(c.b)) for c, _ in known if c.verdict in apart]
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
    found += [o for side in (a, b) for o in _mixture(side)]
    if one.fingerprint.mismatches != other.fingerprint.mismatches:
        found += [
            f"{side.name} was not made under {side.header.protocol}: {mismatch}"
            for side in (a, b)
            for mismatch in side.header.fingerprint.mismatches
        ]
    found += [f"{side.name} has no episodes" for side in (a, b) if not len(side.table.outcome)]
    if not found:
        found += _contradictions(a, b) or _plan_obstacles(a, b, unpaired=rules.unpaired)
    if rules.on_error == "raise":
        found += [
            f"{side.name} has {side.table.errors} errors among {len(side.table.outcome)} episodes "
            "(the same `vlabench run` again repeats them); say what they count as: --on-error "
            "exclude or as-failure"
            for side in (a, b)
            if side.table.errors
        ]
    return found


def _mixture(side: _Side) -> list[str]:
    """Return why the trainings of a method do not belong together."""
    first, *others = side.runs
    found = [
        f"trainings of {side.name} differ in their {what}: {there} in {first.path}, "
        f"{here} in {run.path}"
        for run in others
        for (what, there), (_, here) in zip(_terms(first.header), _terms(run.header), strict=True)
        if there != here
    ]
    if len({run.header.training for run in side.runs}) < side.trainings:
        found.append(f"{side.name} has one training twice; give one run for each training")
    return found


def _terms(header: RunHeader) -> list[tuple[str, str]]:
    """Return what runs of one method share; canaries differ in the last digits by processor."""
    return [
        ("plan", header.plan_digest),
        ("protocol", header.protocol),
        ("simulator versions", _versions(header)),
        ("canaries that failed", "; ".join(header.fingerprint.mismatches) or "none"),
    ]


def _plan_obstacles(a: _Side, b: _Side, *, unpaired: bool) -> list[str]:
    if unpaired:
        if a.table.tasks != b.table.tasks:
            apart = set(a.table.tasks) ^ set(b.table.tasks)
            return [f"{len(apart)} tasks are in one run only, {min(apart)} for one"]
        return []
    if a.header.plan_digest != b.header.plan_digest:
        return [
            f"plans differ: {_differing(a, b)}; run both on one plan, or say --unpaired, which "
            "needs more episodes to see as much"
        ]
    names = [_run_name(side, run) for side in (a, b) for run in side.runs]
    tables = [run.table for side in (a, b) for run in side.runs]
    for name, table in zip(names[1:], tables[1:], strict=True):
        if not tables[0].same_episodes(table):
            x, y = len(tables[0].outcome), len(table.outcome)
            return [
                f"the same plan, but not the same episodes have ended: {x} in {names[0]}, {y} in "
                f"{name}; the same `vlabench run` again finishes a run, or say --unpaired"
            ]
    return []


def _contradictions(a: _Side, b: _Side) -> list[str]:
    """Return an episode that went the same way twice and came out otherwise, if there is one."""
    for one, other in combinations([(s, run) for s in (a, b) for run in s.runs], 2):
        if key := contradiction(one[1].table, other[1].table):
            names = [_run_name(side, run) for side, run in (one, other)]
            return [
                f"{key} went the same way, to the last bit, in {names[0]} and in {names[1]}, and "
                "came out as a success in one and as a failure in the other: one of the files was "
                "changed, or the suite's success does not follow from what happens; run both again"
            ]
    return []


def _run_name(side: _Side, run: Results) -> str:
    return side.name if side.trainings == 1 else f"{side.name} ({run.path})"


def _differing(a: _Side, b: _Side) -> str:
    """Say in what two plans differ: in what was asked for, or else in an episode."""
    plans = [_plan(side.header) for side in (a, b)]
    if plans[0] != plans[1]:
        return f"{plans[0]} in {a.name}, {plans[1]} in {b.name}"
    episodes = [
        {side.table.key(row): int(seed) for row, seed in enumerate(side.table.seed)}
        for side in (a, b)
    ]
    for (one, other), (name, without) in zip(
        (episodes, episodes[::-1]), ((a.name, b.name), (b.name, a.name)), strict=True
    ):
        if alone := next((key for key in one if key not in other), ""):
            return f"{alone} is in {name} and not in {without}"
    seeds = ((key, seed, episodes[1][key]) for key, seed in episodes[0].items())
    if found := next((each for each in seeds if each[1] != each[2]), None):
        return f"the seed of {found[0]} is {found[1]} in {a.name}, {found[2]} in {b.name}"
    return "what is known of the episodes is equal, but another suite planned them"


def _plan(header: RunHeader) -> str:
    request = header.request
    repeats = f" x {request.repeats}" if request.repeats > 1 else ""
    seed = "" if "seed" in header.unknown else f", seed {request.seed}"
    return f"{request.tasks!r}, {request.episodes} states{repeats}{seed}"


def _versions(header: RunHeader) -> str:
    items = sorted(header.fingerprint.versions.items())
    return ", ".join(f"{name} {version}" for name, version in items) or "none"


def _measure(a: _Side, b: _Side, rules: Rules) -> Comparison:
    blank = Comparison(
        a=a.name,
        b=b.name,
        verdict=Verdict.NOT_COMPARABLE,
        reasons=tuple(_obstacles(a, b, rules)),
        notes=(*_notes(a, b), *_broken(a, b, rules)),
        margin=rules.margin,
        subject=_subject(a, b),
    )
    if blank.reasons:
        return blank
    if blank.subject is Subject.METHODS:
        one, other = ([run.table for run in side.runs] for side in (a, b))
        evidence = trainings_evidence(one, other, rules)
        if evidence:
            return replace(blank, evidence=evidence)
        return replace(blank, reasons=("no initial state ended in every training",))
    if rules.unpaired:
        evidence = unpaired_evidence(a.table, b.table, rules)
        if evidence:
            return replace(blank, evidence=evidence)
        return replace(blank, reasons=("one of the runs has nothing but errors",))
    ended = (a.table.outcome >= 0) & (b.table.outcome >= 0)
    if not ended.any() and rules.on_error == "exclude":
        return replace(blank, reasons=("no episode ended in both runs",))
    return replace(blank, evidence=paired_evidence(a.table, b.table, ended, rules))


def _subject(a: _Side, b: _Side) -> Subject:
    if a.trainings > 1 or b.trainings > 1:
        return Subject.METHODS
    trained = any(side.header.policy_digest for side in (a, b))
    return Subject.CHECKPOINTS if trained else Subject.POLICIES


def _notes(a: _Side, b: _Side) -> tuple[str, ...]:
    notes = []
    for side in (a, b):
        headers = [run.header for run in side.runs]
        if any(header.privileged for header in headers):
            notes.append(f"{side.name} sees privileged state, which no robot has")
        common = set.intersection(*(set(header.settings.items()) for header in headers))
        if common:
            settings = ", ".join(f"{k}={v}" for k, v in sorted(common))
            notes.append(f"{side.name} has settings {settings}")
        if any(header.provenance.dirty for header in headers):
            notes.append(f"{side.name} was made by uncommitted code")
        notes += _unfinished(side)
    one, other = a.table, b.table
    traced = (one.trajectory != b"").all()
    if traced and one.same_episodes(other) and (one.trajectory == other.trajectory).all():
        notes.append(f"all {len(one.outcome)} episodes went the same way in both, to the last bit")
    if a.header.fingerprint.mismatches == b.header.fingerprint.mismatches:
        notes += [f"both NOT COMPARABLE with others: {m}" for m in a.header.fingerprint.mismatches]
    return tuple(notes)


def _unfinished(side: _Side) -> list[str]:
    """Say which runs are not all of their plan."""
    notes = []
    for run in side.runs:
        name = _run_name(side, run)
        biased = "one that was stopped for what it showed is biased, so let it run to its end"
        if short := unfinished(run):
            notes.append(f"{name} {short}" + ("" if run.header.ingested else f"; {biased}"))
    return notes


def _broken(a: _Side, b: _Side, rules: Rules) -> list[str]:
    """Say what episodes that broke leave open, whatever they are taken for."""
    counts = [f"{s.table.errors} of {len(s.table.outcome)} of {s.name}" for s in (a, b)
              if s.table.errors]  # fmt: skip
    if not counts or rules.on_error == "raise" or a.table.tasks != b.table.tasks:
        return []
    low, high = (100 * value for value in bounds(a.table, b.table))
    taken = "are left out" if rules.on_error == "exclude" else "count as failures"
    return [
        f"episodes that broke {taken}, {' and '.join(counts)}; counted against {b.name} the "
        f"difference would be {low:+.1f} points, counted for it {high:+.1f}"
    ]


def _decide(found: Comparison, evidence: Evidence, rules: Rules) -> Comparison:
    """Return the comparison with its verdict: interval and test must agree on a difference."""
    difference, p_value = evidence.difference, evidence.p_adjusted
    found = replace(found, evidence=evidence)
    margin = f"{100 * rules.margin:g} points"
    rejected = p_value < 1 - rules.confidence
    found = replace(found, notes=(*found.notes, *_groups_apart(found, evidence, rules)))
    all_ = evidence.wider or difference
    within = -rules.margin < all_.low and all_.high < rules.margin
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
    if -rules.margin < difference.low and difference.high < rules.margin:
        reason = (
            f"the interval is within {margin} of 0, but that with which all {rules.together} "
            f"comparisons hold together is not: {points_text(all_)}"
        )
        return replace(
            found, verdict=Verdict.UNDERPOWERED, reasons=(reason,), needed=_needed(evidence, rules)
        )
    reason = f"the interval reaches beyond {margin} and contains 0"
    if not difference.low <= 0 <= difference.high:
        reason = f"the test does not reject that there is no difference (p = {p_value:.3g})"
    needed = _needed(evidence, rules)
    return replace(found, verdict=Verdict.UNDERPOWERED, reasons=(reason,), needed=needed)


def _groups_apart(found: Comparison, evidence: Evidence, rules: Rules) -> list[str]:
    """Say on which groups of tasks the two differ, which a verdict on all tasks may hide."""
    return [
        f"on {e.name} alone, {found.b} less {found.a} is {points_text(e.difference)}, p "
        f"{p_text(e.p_adjusted, '= ')} after Holm over groups"
        for e in evidence.groups
        if e.p_adjusted < 1 - rules.confidence and not e.difference.low <= 0 <= e.difference.high
    ]


def _needed(evidence: Evidence, rules: Rules) -> More | None:
    """Return what tells the margin from 0, or the found difference where that is not more."""
    for effect in (rules.margin, abs(evidence.difference.value)):
        episodes = _episodes_for(effect, evidence, rules.confidence)
        if episodes is not None and episodes > evidence.difference.n:
            return More(episodes=episodes, effect=effect)
    return None


def _episodes_for(effect: float, evidence: Evidence, confidence: float) -> int | None:
    pairs = evidence.pairs
    if evidence.repeated or evidence.trainings != (1, 1):
        return None  # more states, or more trainings: which of both depends on what they differ in
    try:
        if pairs is None:
            rate = min(evidence.rate_a.value, 1 - effect)
            return unpaired_needed(rate, rate + effect, power=_POWER, confidence=confidence)
        apart = (pairs.only_a + pairs.only_b + 1) / (pairs.n + 2)
        return pairs_needed(effect, max(apart, effect), power=_POWER, confidence=confidence)
    except ValueError:  # an effect of 0, or more than ten million
        return None
