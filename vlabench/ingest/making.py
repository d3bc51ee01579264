"""From what files say to a run, with nothing invented."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from vlabench.episode import EpisodeSpec
from vlabench.errors import RecordError
from vlabench.ingest.found import Asked, Attempt, Found
from vlabench.plan import PlanRequest
from vlabench.record import (
    UNKNOWN,
    EpisodeRecord,
    Fingerprint,
    Ingested,
    Outcome,
    Provenance,
    Run,
    RunHeader,
)

_NEVER_SAID = ("decisions", "peak_mb", "policy_seed", "samples", "seconds")
_Home = tuple[str, str, str, tuple[str, ...]]
"""What makes a task: suite, name, number, and the values that it is grouped by."""
_REPEATED = "episodes that several files hold are taken as repeats, as of several evaluation seeds"


def make_run(
    found: Sequence[Found], sources: Mapping[str, str], asked: Asked, *, vlabench: str
) -> Run:
    """Make one run of files of one format.

    Args:
        found: What each file holds.
        sources: Name of each file to its SHA-256.
        asked: What the user says about the files.
        vlabench: Version of what reads.

    Raises:
        RecordError: If the files do not belong together, or hold an episode twice.
    """
    kind = _one("format", [one.format for one in found], None)
    policy = _one("policy", [one.policy for one in found], asked.policy)
    attempts, repeated = _all_attempts(found, asked.suite)
    names = _task_ids({home for home, _ in attempts})
    records = tuple(_record(names[home], attempt) for home, attempt in attempts)
    _refuse_twins(records)
    ingested = Ingested(
        format=kind,
        sources=dict(sources),
        states_known=all(one.states_known for one in found),
        unknown=_unknown(found),
        groups=_groups(attempts, names),
        columns={**asked.columns, **{f"group {n}": name for n, name in enumerate(asked.groups, 1)}},
        patterns=asked.patterns,
    )
    caveats = dict.fromkeys(caveat for one in found for caveat in one.caveats)
    caveats |= {_REPEATED: None} if repeated else {}
    return Run(
        header=RunHeader(
            suite_id="+".join(sorted({suite for suite, *_ in names})),
            suite_version=0,
            protocol=f"{kind}@0",
            plan_digest=_plan_digest(records, ingested),
            request=_request(records, found, ingested),
            policy_id=policy,
            fingerprint=Fingerprint(
                mismatches=(f"ingested from {kind}; rules and simulator are unknown", *caveats)
            ),
            provenance=Provenance(
                started_at=min((one.started_at for one in found if one.started_at), default=""),
                vlabench=vlabench,
                accelerator="unknown",
                gl="unknown",
                workers=0,
            ),
            ingested=ingested,
        ),
        episodes=records,
    )


def _one(what: str, values: Iterable[str | None], asked: str | None) -> str:
    """Return the one value that all have; what was asked for, where none has one."""
    said = sorted({_plain(value) for value in values if value})
    if asked and said not in ([], [asked]):
        raise RecordError(f"{what} {asked!r} was asked for and the files are of {', '.join(said)}")
    if len(said) > 1:
        raise RecordError(f"the files are of several {what}s, {', '.join(said)}; ingest one alone")
    return said[0] if said else asked or UNKNOWN


def _all_attempts(
    found: Sequence[Found], suite: str | None
) -> tuple[list[tuple[_Home, Attempt]], bool]:
    """Put the files' episodes together; say whether some of them are repeats by that.

    What an earlier file holds, too, is a repeat where initial states are known, unless its seed
    says that it is the same episode; elsewhere it is one more attempt.
    """
    known = all(one.states_known for one in found)
    rows: list[tuple[_Home, Attempt]] = []
    seen: dict[tuple[_Home, int], set[int]] = {}
    most: dict[_Home, int] = {}
    repeated = False
    for one in found:
        earlier, further = {key: max(repeats) + 1 for key, repeats in seen.items()}, dict(most)
        mine = [(_home(one, attempt, suite), attempt) for attempt in one.attempts]
        again = {home for home, attempt in mine if (home, attempt.index) in earlier}
        for home, attempt in mine:
            if home in again and not known:
                attempt = replace(attempt, index=attempt.index + further[home])
            elif (home, attempt.index) in earlier and attempt.seed is None:
                repeated = True
                shift = earlier[home, attempt.index]
                attempt = replace(attempt, repeat=attempt.repeat + shift)
            seen.setdefault((home, attempt.index), set()).add(attempt.repeat)
            most[home] = max(most.get(home, 0), attempt.index + 1)
            rows.append((home, attempt))
    return rows, repeated


def _home(found: Found, attempt: Attempt, asked: str | None) -> _Home:
    suite = attempt.suite or found.suite or asked or UNKNOWN
    suite = _plain(suite.replace("/", "-")) or UNKNOWN
    task = _plain(attempt.task)
    if not task:
        raise RecordError(f"an episode of suite {suite} has a task without a name")
    groups = tuple(_plain(value) for value in attempt.groups.values())
    return suite, task, _plain(attempt.number), groups


def _task_ids(homes: Iterable[_Home]) -> dict[_Home, str]:
    """Name the tasks; of those with one name, by their number and their groups as well."""
    alike: dict[tuple[str, str], list[_Home]] = {}
    for home in homes:
        alike.setdefault(home[:2], []).append(home)
    ids = {}
    for (suite, task), some in alike.items():
        numbers, groups = {home[2] for home in some}, {home[3] for home in some}
        for home in some:
            more = [home[2]] * (len(numbers) > 1) + [*home[3]] * (len(groups) > 1)
            told = ", ".join(part for part in more if part)
            ids[home] = f"{suite}/{task} ({told})" if told else f"{suite}/{task}"
    (name, count), *_ = Counter(ids.values()).most_common(1)
    if count > 1:
        raise RecordError(f"{count} tasks would be called {name!r}; rename one of them")
    return ids


def _plain(text: str) -> str:
    """Return a name that fits on a line: terminals obey control characters, files may hold any."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())


def _record(task_id: str, attempt: Attempt) -> EpisodeRecord:
    outcome = Outcome.SUCCESS if attempt.success else Outcome.FAILURE
    return EpisodeRecord(
        episode=EpisodeSpec(
            task_id=task_id,
            init_index=attempt.index,
            repeat=attempt.repeat,
            scene_seed=attempt.seed or 0,
            policy_seed=0,
        ),
        outcome=Outcome.ERROR if attempt.error is not None else outcome,
        steps=attempt.steps or 0,
        error=None if attempt.error is None else _plain(attempt.error),
    )


def _groups(
    attempts: Iterable[tuple[_Home, Attempt]], names: Mapping[_Home, str]
) -> dict[str, dict[str, str]]:
    """Return column to task to value."""
    found: dict[str, dict[str, str]] = {}
    for home, attempt in attempts:
        for column, value in zip(attempt.groups, home[3], strict=True):
            found.setdefault(_plain(column), {})[names[home]] = value
    return found


def _refuse_twins(records: Sequence[EpisodeRecord]) -> None:
    (key, count), *_ = Counter(record.episode.key for record in records).most_common(1)
    if count > 1:
        raise RecordError(
            f"episode {key} is there {count} times; each file of a run must hold other episodes, "
            "and a column must number what is repeated: --map repeat=COLUMN"
        )


def _unknown(found: Sequence[Found]) -> tuple[str, ...]:
    """Name what some episode lacks; the files of a run know what all of them know."""
    attempts = [attempt for one in found for attempt in one.attempts]
    missing = {
        "scene_seed": any(attempt.seed is None for attempt in attempts),
        "steps": any(attempt.steps is None for attempt in attempts),
        "seed": len({one.seed for one in found} - {None}) != 1,
    }
    return tuple(sorted((*_NEVER_SAID, *(name for name, lacks in missing.items() if lacks))))


def _plan_digest(records: Sequence[EpisodeRecord], ingested: Ingested) -> str:
    """Hash what makes episodes the same ones; the files themselves, where that is not known."""
    seeded = "scene_seed" not in ingested.unknown
    episodes = sorted(
        (r.episode.task_id, r.episode.init_index, r.episode.scene_seed if seeded else None)
        for r in records
    )
    content = episodes if ingested.states_known else sorted(ingested.sources.values())
    text = json.dumps([ingested.format, content], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _request(
    records: Sequence[EpisodeRecord], found: Sequence[Found], ingested: Ingested
) -> PlanRequest:
    states = Counter(
        task for task, _ in {(r.episode.task_id, r.episode.init_index) for r in records}
    )
    seed = (
        0 if "seed" in ingested.unknown else next(one.seed for one in found if one.seed is not None)
    )
    return PlanRequest(
        tasks="*" if ingested.states_known else _unknown_states(found, ingested),
        episodes=max(states.values()),
        repeats=max(record.episode.repeat for record in records) + 1,
        seed=seed or 0,
    )


def _unknown_states(found: Sequence[Found], ingested: Ingested) -> str:
    """Say which files leave initial states open, and what would have to be there."""
    why = next((one.missing for one in found if one.missing), "")
    files = ", ".join(ingested.sources)
    return f"initial states unknown: {files}" + (f" ({why})" if why else "")
