"""JSON and JSON Lines that hold episodes: as rows, or as lists of outcomes, at any depth.

What is said once of many episodes (a suite, a task, a seed of the run) is said in an object around
them. Where an object's keys are names of suites, tasks or episodes, they are taken as such.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from vlabench.ingest.found import Asked, Found
from vlabench.ingest.rows import NAMES, Row, listed, outcome, plain_name, read_rows

_Object = Mapping[str, Any]
_OUTER = {
    "tasks", "task", "per_task", "by_task", "task_results", "per_task_results", "results", "result",
    "episodes", "episode", "per_episode", "episode_results", "rollouts", "trials", "data",
    "records", "rows", "eval", "evals", "evaluation", "evaluations", "metrics", "details", "all",
    "runs", "items", "entries", "outcomes", "suites", "per_suite", "benchmarks", "samples", "logs",
    "summary", "overall", "stats", "info", "task_stats", "detailed_results",
}  # fmt: skip
"""Keys that name nothing that an episode is of."""
_ABOUT = frozenset((
    "config", "cfg", "eval_config", "args", "params", "settings", "meta", "metadata", "info",
    "run", "run_info", "env", "env_info", "policy", "model", "checkpoint",
))  # fmt: skip
"""Objects that say something of all that stands beside them."""
_LISTS = frozenset(("outcomes", "results", "episode_results", "succeeded"))
_SUCCESS = re.compile(r"(?:^|_)success(?:es)?(?:_|$)")
_SUMS = frozenset((
    "total", "totals", "total_episodes", "total_trials", "num_episodes", "num_trials",
    "n_episodes", "n_trials", "n", "count", "episodes", "trials", "rollouts", "success_rate",
    "rate", "fail", "fails", "failed", "failure", "failures",
))  # fmt: skip
"""Keys beside a success that is a number of them, not one."""
_WON = re.compile(r"(?:success|successes|successful|succeeded)_(?:episode|trial|rollout|id|idx)\w*")
_LOST = re.compile(r"(?:fail|fails|failure|failures|failed)_(?:episode|trial|rollout|id|idx)\w*")
_NO_LIST = re.compile(rf"rate|mean|avg|average|percent|count|num|total|^{_WON.pattern}$")
_NO_TASK = re.compile(r"(?:.*_)?(?:id|idx|index|indice|reward|return|step|seed|rank|rate|length)s?")
_NUMBERED = re.compile(r"(?:episode|ep|trial|rollout)?[\s_-]*(\d{1,9})", re.IGNORECASE)
_TASK = re.compile(r"(?:task)?[\s_-]*(\d{1,9})", re.IGNORECASE)
_SEED = re.compile(r"seed[\s_=-]*(\d{1,9})", re.IGNORECASE)
_SEEDS = ("seeds", "per_seed", "by_seed")
_INHERITED = ("suite", "task", "number", "policy")
"""What an object says of all episodes in it; its steps, say, are not those of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """The values of a text, one or one after the other.

    Attributes:
        values: Where each begins, and what it is.
        torn: Whether the last line was cut off by a crash.
    """

    values: tuple[tuple[str, Any], ...]
    torn: bool = False


def parse(text: str) -> Values:
    """Read the values of a text.

    Raises:
        json.JSONDecodeError: If it is no JSON.
        ValueError: If a key is twice in an object.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    found = list[tuple[str, Any]]()
    place, line = 0, 1
    while (begin := _SPACE.match(text, place).end()) < len(text):  # type: ignore[union-attr]
        line += text.count("\n", place, begin)
        try:
            value, end = decoder.raw_decode(text, begin)
        except json.JSONDecodeError:
            if found and "\n" in text[place:begin] and "\n" not in text[begin:]:
                return Values(values=tuple(found), torn=True)
            raise
        found.append((f"line {line}", value))
        line, place = line + text.count("\n", begin, end), end
    return Values(values=tuple(found))


def read(content: Values, asked: Asked) -> Found:
    """Read the episodes.

    Raises:
        ValueError: If there are no episodes, one says no outcome, or as `read_rows` does.
    """
    walk = _Walk(asked)
    rows = [row for where, value in content.values for row in walk.rows(value, where)]
    if not rows:
        raise ValueError(_nothing(content.values))
    found = read_rows(rows, "json", asked)
    return replace(found, caveats=(_TORN,)) if content.torn else found


_TORN = "the last line of the source was cut off and is not counted"
_SPACE = re.compile(r"[\s,]*")
"""What may stand between two values; `,` does where somebody wrote an array by hand."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice!r} is there twice in an object, expected once")
    return found


class _Walk:
    """Finds episodes in what JSON holds."""

    def __init__(self, asked: Asked) -> None:
        self._names = {
            role: {asked.columns[role]} if role in asked.columns else set(known)
            for role, known in NAMES.items()
        }
        self._said = asked.columns.get("success", "")
        self._known: dict[str, frozenset[str]] = {}

    def rows(
        self, node: Any, where: str, context: _Object | None = None, path: tuple[str, ...] = ()
    ) -> Iterator[Row]:
        """Yield the episodes in a value; `context` and `path` say what stands around it."""
        context = context or {}
        if isinstance(node, list):
            for place, child in enumerate(node):
                if isinstance(child, dict | list):
                    yield from self.rows(child, f"{where}[{place}]", context, path)
        elif isinstance(node, dict):
            yield from self._of_object(_without_index(node), where, context, path)

    def _of_object(
        self, node: _Object, where: str, context: _Object, path: tuple[str, ...]
    ) -> Iterator[Row]:
        own = _flat(node)
        if table := _table(node):
            yield from (self._row(f"{where}[{n}]", row, context, path) for n, row in table)
        elif lists := self._outcome_lists(node):
            around = {**context, **self._inherited(own)}
            for number, row in enumerate(lists):
                yield self._row(f"{where}[{number}]", row, around, path)
        elif self._is_episode(node, own, where):
            yield self._row(where, own, context, path)
        else:
            around = {**context, **self._inherited(own)}
            named = self._named_lists(node)
            for key, child in node.items():
                inner = path if plain_name(key) in _OUTER else (*path, key)
                if key in named:
                    for number, value in enumerate(child):
                        row = {"success": value, "episode": number}
                        yield self._row(f"{where}.{key}[{number}]", row, around, inner)
                elif isinstance(child, dict | list):
                    yield from self.rows(child, f"{where}.{key}", around, inner)

    def _is_episode(self, node: _Object, own: _Object, where: str) -> bool:
        scalars = {name: value for name, value in own.items() if "." not in name}
        placed = self._has(scalars, "episode") or self._has(scalars, "init")
        known = placed or self._has(scalars, "task")
        if self._has(scalars, "success"):
            if not placed and {plain_name(name) for name in scalars} & _SUMS:
                return False
            return known or not any(_holds_objects(child) for child in node.values())
        if not known:
            return False
        broken = any(value for name, value in scalars.items() if self._has([name], "error"))
        if self._has(own, "success") or broken:
            return True
        if placed and len(scalars) == len(node):
            raise ValueError(
                f"{where} is an episode that says no outcome; there are {listed(own)}; "
                "say which it is: --map success=KEY"
            )
        return False

    def _outcome_lists(self, node: _Object) -> list[dict[str, Any]]:
        """Return the rows of an object that holds outcomes in lists, side by side."""
        won, lost = (_matching(node, mark) for mark in (_WON, _LOST))
        if won is not None and lost is not None and not self._said:
            found = [*((number, True) for number in won), *((number, False) for number in lost)]
            found.sort(key=lambda pair: str(pair[0]).zfill(9))
            return [{"episode": number, "success": success} for number, success in found]
        key = next((key for key, value in node.items() if self._is_list(key, value)), None)
        if key is None:
            return []
        columns = {
            _singular(plain_name(name), self._names): value
            for name, value in node.items()
            if name != key and _is_scalars(value) and len(value) == len(node[key])
        }
        if not self._roles(columns) & {"init", "episode"}:
            columns["episode"] = range(len(node[key]))
        columns[self._said or "success"] = node[key]
        cells = zip(*columns.values(), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in cells]

    def _is_list(self, key: str, value: Any) -> bool:
        if not isinstance(value, list):
            return False
        name = plain_name(key)
        if self._said:
            return key == self._said and _is_outcomes(value)
        named = name in _LISTS or _SUCCESS.search(name)
        return bool(named) and not _NO_LIST.search(name) and _is_outcomes(value)

    def _named_lists(self, node: _Object) -> set[str]:
        """Return the keys that are names of tasks, with lists of outcomes, if all are."""
        lists = {key: value for key, value in node.items() if isinstance(value, list)}
        tasks = all(
            _is_outcomes(value) and not _NO_TASK.fullmatch(plain_name(key))
            for key, value in lists.items()
        )
        return set(lists) if tasks else set()

    def _row(self, where: str, own: _Object, context: _Object, path: tuple[str, ...]) -> Row:
        values = {**context, **own}
        keys, seed = _without_seed(path)
        if seed is not None:
            values.setdefault("run_seed", seed)
        roles = self._roles(values)
        inner = not roles & {"init", "episode"} and ("task" in roles or len(keys) > 1)
        if keys and inner and (numbered := _NUMBERED.fullmatch(keys[-1])):
            values["episode"] = int(numbered[1])
            keys.pop()
        if keys and "task" not in roles:
            values["task"] = keys.pop()
        elif keys and "number" not in roles and (numbered := _TASK.fullmatch(keys[-1])):
            values["task_id"] = int(numbered[1])
            keys.pop()
        for role in ("suite", "policy"):
            if keys and role not in roles:
                values[role] = keys.pop()
        return Row(where=where, values=values)

    def _inherited(self, own: _Object) -> dict[str, Any]:
        """Return what an object says of all the episodes in it; its seed is the run's."""
        found = {}
        for name, value in own.items():
            if "." in name and plain_name(name.partition(".")[0]) not in _ABOUT:
                continue
            roles = self._roles([name])
            if not roles or roles & set(_INHERITED):
                found[name] = value
            elif "seed" in roles:
                found["run_seed"] = value
        return found

    def _has(self, names: Iterable[str], role: str) -> bool:
        return role in self._roles(names)

    def _roles(self, names: Iterable[str]) -> set[str]:
        """Return what the names mean."""
        found: set[str] = set()
        for name in names:
            if name not in self._known:
                last = plain_name(name.rpartition(".")[2])
                self._known[name] = frozenset(
                    role for role, known in self._names.items() if known & {name, last}
                )
            found |= self._known[name]
        return found


def _without_seed(path: Sequence[str]) -> tuple[list[str], int | None]:
    """Return the keys that name something, and the seed of the run that they say."""
    keys, seed = list[str](), None
    for before, key in pairwise(("", *path)):
        bare = plain_name(before) in _SEEDS and _NUMBERED.fullmatch(key)
        if found := _SEED.fullmatch(key) or bare:
            seed = int(found[1])
        elif plain_name(key) not in _SEEDS:
            keys.append(key)
    return keys, seed


def _matching(node: _Object, mark: re.Pattern[str]) -> list[Any] | None:
    """Return the list whose key is marked so; None where there is none."""
    found = (k for k, v in node.items() if isinstance(v, list) and mark.fullmatch(plain_name(k)))
    key = next(found, None)
    return None if key is None else node[key]


def _flat(node: _Object) -> dict[str, Any]:
    """Return an object's texts and numbers, with those of objects right in it: `info.success`."""
    found: dict[str, Any] = {}
    for name, value in node.items():
        if isinstance(value, dict):
            found |= {f"{name}.{k}": v for k, v in value.items() if not isinstance(v, dict | list)}
        elif not isinstance(value, list) or (len(value) == 1 and _is_outcomes(value)):
            found[name] = value
    return found


def _without_index(node: _Object) -> _Object:
    """Return a table that pandas wrote column by column with its columns as lists."""
    parts = list(node.values())
    if len(parts) < 2 or not all(isinstance(part, dict) and part for part in parts):
        return node
    same = all(part.keys() == parts[0].keys() for part in parts)
    if not same or not {plain_name(name) for name in node} & set(NAMES["success"]):
        return node
    return {name: list(part.values()) for name, part in node.items()}


def _table(node: _Object) -> list[tuple[int, dict[str, Any]]]:
    """Return the rows of a table with its columns' names apart, as pandas and wandb write it."""
    names, data = node.get("columns"), node.get("data")
    if not isinstance(names, list) or not isinstance(data, list):
        return []
    if not all(isinstance(row, list) and len(row) == len(names) for row in data):
        return []
    return [(n, dict(zip(map(str, names), row, strict=True))) for n, row in enumerate(data)]


def _singular(name: str, names: Mapping[str, set[str]]) -> str:
    known = {alias for aliases in names.values() for alias in aliases}
    for ending in ("s", "es"):
        if name not in known and name.removesuffix(ending) in known:
            return name.removesuffix(ending)
    return name


def _is_scalars(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(each, dict | list) for each in value)


def _is_outcomes(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    try:
        for each in value:
            if isinstance(each, dict | list):
                return False
            outcome(each, "")
    except ValueError:
        return False
    return True


def _holds_objects(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(isinstance(part, dict) for part in parts)


def _nothing(values: Sequence[tuple[str, Any]]) -> str:
    """Say what is there instead of episodes."""
    pairs = [pair for _, value in values for pair in _pairs(value)]
    keys = dict.fromkeys(key for key, _ in pairs)
    numbers = dict.fromkeys(key for key, value in pairs if _is_number(value))
    rates = [key for key in numbers if re.search(r"rate|percent|accuracy|mean|av(?:g|erage)", key)]
    counts = [key for key in numbers if re.search(r"success|episodes|total|^n$", key)]
    if rates or counts:
        return (
            f"holds sums ({listed((rates or counts)[:3])}) and no episodes, expected a row an "
            "episode or a list of outcomes a task; publish or ask for those"
        )
    return (
        f"holds no episodes that are recognised; its keys are {listed(map(repr, keys)) or 'none'}; "
        "say which key says what: --map task=KEY,success=KEY"
    )


def _is_number(value: Any) -> bool:
    """Whether it is one, or some."""
    parts = value if isinstance(value, list) and value else [value]
    return all(isinstance(part, int | float) for part in parts)


def _pairs(value: Any, depth: int = 4) -> Iterator[tuple[str, Any]]:
    if depth and isinstance(value, dict):
        for key, child in value.items():
            yield key, child
            yield from _pairs(child, depth - 1)
    elif depth and isinstance(value, list):
        for child in value[:20]:
            yield from _pairs(child, depth - 1)
