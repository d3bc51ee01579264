"""Which candidate run belongs to which baseline run."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlabench.errors import RecordError
from vlabench.store import read_results
from vlabench.table import Results


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A run and its file."""

    path: Path
    run: Results


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A baseline run and the candidate run that is held against it.

    Attributes:
        name: Suite and policy; with protocol and settings where that is not enough.
        baseline: The reference.
        candidate: None where the candidate lacks the run.
    """

    name: str
    baseline: Source
    candidate: Source | None


def match_runs(baseline: Path, candidate: Path) -> tuple[list[Match], list[Source]]:
    """Match runs by suite and policy; where several have both, by protocol and settings too.

    Two files are held against each other whatever they are.

    Args:
        baseline: A results file, or a folder that is searched for them, `**/*.jsonl`.
        candidate: Another one.

    Returns:
        A match for every baseline run, and the candidate's runs that no baseline run asks for.

    Raises:
        RecordError: If there is nothing there, a file is no results file, or two runs of one side
            have the same suite, policy, protocol and settings.
    """
    wanted, found = _sources(baseline), _sources(candidate)
    if baseline.is_file() and candidate.is_file():
        return [_pair(wanted[0], found[0])], []
    matches, used, offered = [], set(), _by_policy(found)
    for key, group in _by_policy(wanted).items():
        others = offered.get(key, [])
        if len(group) == 1 and len(others) <= 1:
            other = others[0] if others else None
            matches.append(Match(name=key, baseline=group[0], candidate=other))
            used |= {other.path} if other else set()
            continue
        fine = _unique(others, candidate)
        for name, source in _unique(group, baseline).items():
            other = fine.get(name)
            matches.append(Match(name=name, baseline=source, candidate=other))
            used |= {other.path} if other else set()
    return matches, [source for source in found if source.path not in used]


def _pair(baseline: Source, candidate: Source) -> Match:
    name, other = _name(baseline), _name(candidate)
    name = name if name == other else f"{other} against {name}"
    return Match(name=name, baseline=baseline, candidate=candidate)


def _sources(place: Path) -> list[Source]:
    if not place.is_dir():
        return [Source(path=place, run=read_results(place, hashed=False))]
    paths = sorted(place.rglob("*.jsonl"))
    if not paths:
        raise RecordError(f"{place} holds no results file, **/*.jsonl; run `vlabench run` first")
    return [Source(path=path, run=read_results(path, hashed=False)) for path in paths]


def _by_policy(sources: Iterable[Source]) -> Mapping[str, list[Source]]:
    groups: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        groups[_name(source)].append(source)
    return groups


def _unique(sources: Sequence[Source], place: Path) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for source in sources:
        twin = found.setdefault(_fine_name(source), source)
        if twin is not source:
            raise RecordError(
                f"{place} holds two runs of {_fine_name(source)}: {twin.path} and {source.path}; "
                "keep the one that counts"
            )
    return found


def _name(source: Source) -> str:
    return f"{source.run.header.suite_id} {source.run.header.policy_id}"


def _fine_name(source: Source) -> str:
    header = source.run.header
    settings = "".join(f" {key}={value}" for key, value in sorted(header.settings.items()))
    return f"{_name(source)} {header.protocol}{settings}"
