"""Rows with an episode each, whoever wrote them: which column means what, and what they say.

Names that people give to columns are in one table; any others are said by `--map`. An episode has
a known initial state where a column numbers that state, or has the seed of its scene; where each
task has one episode; and in LIBERO, where the k-th episode starts from the k-th state that LIBERO
ships. Elsewhere an episode's number only tells attempts apart.
"""

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from vlabench.ingest.found import Asked, Attempt, Found, index, truth, whole

NAMES: Mapping[str, tuple[str, ...]] = {
    "suite": ("suite", "task_suite", "task_suite_name", "suite_name", "benchmark",
              "benchmark_name", "task_group"),
    "task": ("task", "task_name", "env", "env_name", "env_id", "task_description", "task_label",
             "instruction", "language_instruction", "task_instruction", "language", "prompt",
             "task_id", "task_idx", "task_index"),
    "number": ("task_id", "task_idx", "task_index"),
    "init": ("init", "init_index", "init_idx", "init_id", "init_state", "init_state_idx",
             "init_state_index", "init_state_id", "initial_state", "initial_state_idx",
             "initial_state_index", "initial_state_id", "state_idx", "state_index", "state_id"),
    "episode": ("episode", "episode_idx", "episode_index", "episode_ix", "episode_number",
                "episode_num", "ep", "ep_idx", "trial", "trial_idx", "trial_index", "trial_id",
                "rollout", "rollout_idx", "rollout_index", "rollout_id", "episode_id"),
    "repeat": ("repeat", "repetition", "repeat_idx", "repeat_index"),
    "seed": ("scene_seed", "seed", "eval_seed", "env_seed", "environment_seed", "reset_seed",
             "episode_seed"),
    "run_seed": ("run_seed", "root_seed", "base_seed", "global_seed"),
    "success": ("success", "is_success", "succeeded", "successful", "success_flag",
                "task_success", "episode_success", "eval_success", "passed", "outcome", "result",
                "status"),
    "steps": ("steps", "num_steps", "n_steps", "nsteps", "episode_length", "episode_len",
              "ep_len", "length", "episode_steps", "step_count", "total_steps", "timesteps",
              "elapsed_steps"),
    "error": ("error", "exception", "error_message", "traceback"),
    "policy": ("policy", "policy_name", "policy_id", "model", "model_name", "method", "agent",
               "checkpoint", "ckpt"),
}  # fmt: skip
"""What a column means to the names that it is recognised by, the first one that is there."""
GROUPS = frozenset({
    "category", "subcategory", "perturbation", "perturbation_type", "perturbation_category",
    "difficulty", "difficulty_level", "level", "variation", "variant", "factor", "axis", "shift",
    "condition", "split",
})  # fmt: skip
"""Columns that tables may group by."""
_MANY = 64
"""Values of a column that groups nothing, since there are too many."""
_SUCCESS: Mapping[str, bool | None] = {
    **dict.fromkeys(
        ("true", "np.true_", "1", "1,0", "yes", "y", "t", "pass", "passed", "success", "succeeded",
         "successful", "succ", "solved", "ok", "wahr", "vrai", "verdadero", "vero", "✓", "✔", "✅"),
        True,
    ),
    **dict.fromkeys(
        ("false", "np.false_", "0", "0,0", "no", "n", "f", "fail", "failed", "failure",
         "unsuccessful", "unsolved", "falsch", "faux", "falso", "✗", "✘", "❌"),
        False,
    ),
    **dict.fromkeys(("", "nan", "na", "n/a", "none", "null", "<na>", "error", "-"), None),
}  # fmt: skip
"""What people write, spreadsheets in their language; None where the episode broke."""
_NOTHING = frozenset({"", "nan", "na", "n/a", "none", "null", "<na>"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a file says of one episode.

    Attributes:
        where: For people: `line 3`.
        values: Name of a column to a text, a number, a truth, or None.
    """

    where: str
    values: Mapping[str, object]


@lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    """Return a column's name as `NAMES` has it: `Episode Idx`, `episodeIdx` and so on."""
    name = re.sub(r"\(.*?\)|\[.*?\]", "", name)
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[\W_]+", "_", name).strip("_").lower()


def choose(names: Iterable[str], asked: Asked) -> dict[str, str]:
    """Return what is meant by which of the columns.

    Raises:
        ValueError: If the user names a column that is not there, or two columns mean the same.
    """
    names = list(names)
    plain: dict[str, list[str]] = {}
    for name in names:
        plain.setdefault(plain_name(name.rpartition(".")[2]), []).append(name)
        if "." in name:
            plain.setdefault(plain_name(name), []).append(name)
    chosen = {}
    for role, known in NAMES.items():
        if role in asked.columns:
            if said := asked.columns[role]:
                chosen[role] = _named(said, names, plain)
            continue
        taken = {asked.columns[other] for other in asked.columns if other != role}
        for alias in known:
            if there := [name for name in plain.get(alias, ()) if name not in taken]:
                chosen[role] = _one(role, there)
                break
    return chosen


def read_rows(rows: Sequence[Row], format: str, asked: Asked) -> Found:
    """Read the rows, of one policy where several are there.

    Raises:
        ValueError: If a column is missing, a value makes no sense, or there are several policies
            and none was chosen.
    """
    names = dict.fromkeys(name for row in rows for name in row.values)
    columns = choose(names, asked)
    if missing := [role for role in ("task", "success") if role not in columns]:
        raise ValueError(
            f"no column {', '.join(missing)}; there are {listed(names)}; "
            f"say which it is: --map {missing[0]}=COLUMN"
        )
    chosen, policy = _of_policy(rows, columns.get("policy"), asked.policy)
    groups = _group_columns(chosen, names, columns, asked)
    reading = _Reading(columns, groups)
    attempts = tuple(reading.attempt(row) for row in chosen)
    seeds = reading.run_seeds or {a.seed for a in attempts if a.seed is not None}
    known, missed = _states(attempts, reading, asked.suite)
    return Found(
        format=format,
        attempts=attempts,
        states_known=known,
        missing=missed,
        policy=policy,
        seed=seeds.pop() if len(seeds) == 1 else None,
    )


def listed(names: Iterable[str]) -> str:
    """Return names for a sentence; the first 200 characters of them."""
    text = ", ".join(" ".join(name.split()) for name in names if name)
    return text if len(text) <= 200 else f"{text[:200]}..."


def outcome(value: object, what: str) -> bool | None:
    """Return whether an episode succeeded; None where it broke.

    Raises:
        ValueError: If the value says neither.
    """
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]  # of a vector of one environment
    word = text_of(value).lower()
    if word in _SUCCESS:
        return _SUCCESS[word]
    try:
        return truth(float(word), what)
    except ValueError:
        raise ValueError(f"{what} is {value!r}, expected true or false") from None


def text_of(value: object) -> str:
    """Return a value as text; empty where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _named(said: str, names: Sequence[str], plain: Mapping[str, Sequence[str]]) -> str:
    if said in names:
        return said
    there = plain.get(plain_name(said), ())
    if len(there) != 1:
        raise ValueError(f"no column {said!r}, as --map says; there are {listed(names)}")
    return there[0]


def _one(role: str, names: Sequence[str]) -> str:
    outer = [name for name in names if "." not in name] or list(names)
    if len(outer) > 1:
        raise ValueError(
            f"columns {listed(outer)} both mean {role}; say which: --map {role}={outer[0]}"
        )
    return outer[0]


def _of_policy(
    rows: Sequence[Row], column: str | None, asked: str | None
) -> tuple[Sequence[Row], str | None]:
    if column is None:
        return rows, asked
    found = [text_of(row.values.get(column)) for row in rows]
    policies = sorted(set(found) - {""})
    if len(policies) > 1 and asked not in policies:
        raise ValueError(f"the file is of several policies, {listed(policies)}; say --policy")
    if len(policies) < 2:
        return rows, policies[0] if policies else asked
    return [row for row, name in zip(rows, found, strict=True) if name == asked], asked


def _group_columns(
    rows: Sequence[Row], names: Iterable[str], columns: Mapping[str, str], asked: Asked
) -> tuple[str, ...]:
    names, used = list(names), set(columns.values())
    if missing := [name for name in asked.groups if name not in names]:
        raise ValueError(f"no column {missing[0]!r}, as --map says; there are {listed(names)}")
    found = []
    for name in names:
        if name in used or plain_name(name) not in GROUPS or name in asked.groups:
            continue
        values = [row.values.get(name) for row in rows]
        simple = not any(isinstance(value, list | tuple | dict | float) for value in values)
        if simple and len({text_of(value) for value in values}) <= _MANY:
            found.append(name)
    return (*asked.groups, *found)


class _Reading:
    """Turns rows into episodes, and numbers those that have no number."""

    def __init__(self, columns: Mapping[str, str], groups: Sequence[str]) -> None:
        self.columns = columns
        self.numbered = self.stated = True
        """Whether all episodes so far have a number of their own, and one of an initial state."""
        self.run_seeds = set[int]()
        self._groups = groups
        self._count: Counter[Hashable] = Counter()
        self._repeats: dict[Hashable, dict[Hashable, int]] = {}

    def attempt(self, row: Row) -> Attempt:
        suite, task, number = (self._text(row, role) for role in ("suite", "task", "number"))
        groups = {name: text for name in self._groups if (text := text_of(row.values.get(name)))}
        home = suite, task, number, *groups.values()
        state, episode = self._place(row, "init"), self._place(row, "episode")
        self.stated &= state is not None
        self.numbered &= state is not None or episode is not None
        place = state if state is not None else episode
        place = self._count[home] if place is None else place
        self._count[home] += 1
        seed, run_seed = self._number(row, "seed"), self._number(row, "run_seed")
        self.run_seeds |= set() if run_seed is None else {run_seed}
        success, error = self._outcome(row)
        return Attempt(
            suite=suite or None,
            task=task,
            number="" if number == task else number,
            index=place,
            repeat=self._repeat(row, (*home, place), (seed, run_seed, episode)),
            success=success,
            seed=seed,
            steps=self._number(row, "steps"),
            error=error,
            groups=groups,
        )

    def _outcome(self, row: Row) -> tuple[bool | None, str | None]:
        name = self.columns["success"]
        success = outcome(row.values.get(name), f"{row.where}: {name}")
        error = self._text(row, "error")
        if error.lower() not in _NOTHING | {"false", "0", "ok", "no", "-"}:
            return None, error
        return success, f"{row.where} says no outcome" if success is None else None

    def _repeat(self, row: Row, place: Hashable, differs: Hashable) -> int:
        """Count attempts at one state; those that nothing tells apart have one number."""
        if (said := self._number(row, "repeat")) is not None:
            return said
        seen = self._repeats.setdefault(place, {})
        return seen.setdefault(differs, len(seen))

    def _text(self, row: Row, role: str) -> str:
        name = self.columns.get(role)
        return "" if name is None else text_of(row.values.get(name))

    def _number(self, row: Row, role: str) -> int | None:
        text = self._text(row, role)
        if text.lower() in _NOTHING:
            return None
        return whole(_as_number(text), f"{row.where}: {self.columns[role]}")

    def _place(self, row: Row, role: str) -> int | None:
        """Read the number of an episode, which may have a word before it: `episode_3`."""
        text = self._text(row, role)
        if text.lower() in _NOTHING:
            return None
        worded = re.fullmatch(r"[A-Za-z]+[\s_-]*(\d{1,9})", text)
        found = _as_number(worded[1] if worded else text)
        if isinstance(found, str):
            raise ValueError(  # noqa: TRY004  a text that is no number, not a wrong type
                f"{row.where}: {self.columns[role]} is {found!r}, expected a whole number; "
                f"--map {role}= leaves the column out"
            )
        return index(found, row.where)


def _as_number(text: str) -> int | str:
    """Return a whole number, however a table writes it; the text where it is none."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return text
    return int(value) if value.is_integer() else text


def _states(attempts: Sequence[Attempt], reading: _Reading, suite: str | None) -> tuple[bool, str]:
    """Say whether initial states are known; if not, what is missing."""
    if reading.stated or all(attempt.seed is not None for attempt in attempts):
        return True, ""
    homes = {(a.suite or suite or "").lower().startswith("libero") for a in attempts}
    if reading.numbered and homes == {True}:
        return True, ""
    tasks = {(a.suite, a.task, a.number, *a.groups.values()) for a in attempts}
    if len(tasks) == len(attempts):
        return True, ""
    episode = reading.columns.get("episode", "COLUMN")
    return False, f"no column init or seed; if one numbers them, say --map init={episode}"
