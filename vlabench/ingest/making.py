"""From what files say to a run, with nothing invented."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from vlabench.episode import EpisodeSpec
from vlabench.errors import RecordError
from vlabench.ingest.found import Attempt, Found
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


def make_run(
    found: Sequence[Found],
    sources: Mapping[str, str],
    *,
    suite: str | None,
    policy: str | None,
    vlabench: str,
) -> Run:
    """Make one run of files of one format.

    Args:
        found: What each file holds.
        sources: Name of each file to its SHA-256.
        suite: The suite, where the files do not say.
        policy: The policy, where the files do not say.
        vlabench: Version of what reads.

    Raises:
        RecordError: If the files do not belong together, or hold an episode twice.
    """
    kind = _one("format", [one.format for one in found], None)
    name = _one("policy", [one.policy for one in found], policy)
    rows = [(_suite(one, attempt, suite), attempt) for one in found for attempt in one.attempts]
    records = tuple(_record(home, attempt) for home, attempt in rows)
    _refuse_twins(records)
    ingested = Ingested(
        format=kind,
        sources=dict(sources),
        states_known=all(one.states_known for one in found),
        unknown=_unknown(found),
    )
    caveats = dict.fromkeys(caveat for one in found for caveat in one.caveats)
    return Run(
        header=RunHeader(
            suite_id="+".join(sorted({home for home, _ in rows})),
            suite_version=0,
            protocol=f"{kind}@0",
            plan_digest=_plan_digest(records, ingested),
            request=_request(records, found, ingested),
            policy_id=name,
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


def _suite(found: Found, attempt: Attempt, asked: str | None) -> str:
    name = attempt.suite or found.suite or asked or UNKNOWN
    return _plain(name.replace("/", "-")) or UNKNOWN


def _plain(text: str) -> str:
    """Return a name that fits on a line: terminals obey control characters, files may hold any."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _record(suite: str, attempt: Attempt) -> EpisodeRecord:
    task = _plain(attempt.task)
    if not task:
        raise RecordError(f"an episode of suite {suite} has a task without a name")
    outcome = Outcome.SUCCESS if attempt.success else Outcome.FAILURE
    return EpisodeRecord(
        episode=EpisodeSpec(
            task_id=f"{suite}/{task}",
            init_index=attempt.index,
            scene_seed=attempt.seed or 0,
            policy_seed=0,
        ),
        outcome=Outcome.ERROR if attempt.error is not None else outcome,
        steps=attempt.steps or 0,
        error=None if attempt.error is None else _plain(attempt.error),
    )


def _refuse_twins(records: Sequence[EpisodeRecord]) -> None:
    (key, count), *_ = Counter(record.episode.key for record in records).most_common(1)
    if count > 1:
        raise RecordError(
            f"episode {key} is there {count} times; each file of a run must hold other episodes"
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
    most = max(Counter(record.episode.task_id for record in records).values())
    seed = (
        0 if "seed" in ingested.unknown else next(one.seed for one in found if one.seed is not None)
    )
    known = (
        "*" if ingested.states_known else f"initial states unknown: {', '.join(ingested.sources)}"
    )
    return PlanRequest(tasks=known, episodes=most, seed=seed or 0)
