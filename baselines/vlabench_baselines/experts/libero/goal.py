"""Reading the goal of a LIBERO task out of its BDDL file, without importing LIBERO."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_CLAUSE = re.compile(r"\((\w+)((?:\s+[\w-]+)+)\s*\)")


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition of a goal, `(On bowl_1 plate_1)`; `verb` in lower case."""

    verb: str
    words: tuple[str, ...]


def parse_goal(text: str) -> tuple[Clause, ...]:
    """Return the conditions of a BDDL text, all of which must hold, in their order.

    Raises:
        ValueError: If the text has no goal, or one with no condition.
    """
    _, found, goal = text.partition("(:goal")
    clauses = tuple(
        Clause(verb.lower(), tuple(words.split())) for verb, words in _CLAUSE.findall(goal)
    )
    if not found or not clauses:
        raise ValueError("this BDDL text has no goal: expected '(:goal (And (On a b)))'")
    return clauses


@cache
def goal_of(scene: str) -> tuple[Clause, ...]:
    """Return the goal of a scene, `libero_goal/open_the_middle_drawer...`.

    Raises:
        FileNotFoundError: If LIBERO is not installed, or has no such scene.
    """
    spec = find_spec("libero")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "libero" / "bddl_files" / f"{scene}.bddl"
        if path.exists():
            return parse_goal(path.read_text(encoding="utf-8"))
    raise FileNotFoundError(f"no BDDL file of scene {scene!r}; install the extra: libero")


def kind(name: str) -> str:
    """Return what a thing is, `akita_black_bowl` for `akita_black_bowl_1`."""
    return re.sub(r"_\d+$", "", name)
