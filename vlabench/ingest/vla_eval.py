"""Aggregate JSON of vla-eval (allenai/vla-evaluation-harness).

Sources: src/vla_eval/results/collector.py and export.py. Since 0.1 an episode has `metrics`, an
integer `episode_id`, and `failure_reason` where it broke; before, `success` stood beside
`steps` and `episode_id` ended in `_ep<number>`. An episode's number is that of its initial state in
LIBERO (its adapter takes `init_states[episode_idx]`); of other benchmarks that is not known.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vlabench.ingest.found import Attempt, Found, index, truth, whole

_NUMBER = re.compile(r"(?:^|_ep)(\d+)$")
_MISSING = ("the source says that episodes are missing",)


def fits(content: Mapping[str, Any]) -> bool:
    """Whether the keys are vla-eval's."""
    return "benchmark" in content and "tasks" in content


def read(content: Mapping[str, Any]) -> Found:
    """Read either layout.

    Raises:
        KeyError: If a field is missing.
        TypeError: If a field is of another kind.
        ValueError: If a value is none that vla-eval writes.
    """
    benchmark = str(content["benchmark"])
    params = (content.get("config") or {}).get("params") or {}
    merged = content.get("merge_info") or {}
    attempts = tuple(_attempts(content["tasks"]))
    said = content.get("num_episodes_total", merged.get("total_episodes"))
    partial = content.get("partial") or merged.get("shards_missing")
    return Found(
        format="vla-eval",
        attempts=attempts,
        states_known=benchmark.upper().startswith("LIBERO"),
        suite=benchmark,
        seed=whole(content.get("seed", params.get("seed")), "seed"),
        started_at=str(content.get("created_at") or ""),
        caveats=_MISSING if partial or said not in (None, len(attempts)) else (),
    )


def _attempts(tasks: list[Mapping[str, Any]]) -> Iterator[Attempt]:
    for task in tasks:
        name = str(task["task"])
        for row in task["episodes"]:
            where = f"episode {row['episode_id']!r} of task {name!r}"
            number = _NUMBER.search(str(row["episode_id"]))
            if number is None:
                raise ValueError(f"{where} has no number at its end")
            broken = row.get("failure_reason")
            yield Attempt(
                task=name,
                index=index(int(number[1]), where),
                success=None if broken else truth(_success(row), f"success of {where}"),
                steps=whole(row.get("steps"), f"steps of {where}"),
                error=_error(broken, row.get("failure_detail")) if broken else None,
            )


def _error(reason: object, detail: object) -> str:
    """Return what broke: of a traceback, which vla-eval keeps whole, the line that says it."""
    lines = str(detail or "").strip().splitlines()
    return f"{reason}: {lines[-1]}" if lines else str(reason)


def _success(row: Mapping[str, Any]) -> object:
    return row["metrics"]["success"] if "metrics" in row else row["success"]
