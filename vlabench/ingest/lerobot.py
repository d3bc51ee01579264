"""`eval_info.json` of lerobot-eval.

Source: huggingface/lerobot, src/lerobot/scripts/lerobot_eval.py. Version 0.6 writes `per_task`,
with a list `successes` for each task and no seeds. Older versions ran one task and wrote
`per_episode`, with a seed for each. Which initial state an episode had depends on how many
environments there were and when they ended (lerobot#4152, #4315), so states are known by their
seeds or not at all.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from vlabench.ingest.found import Attempt, Found, index, truth, whole


def fits(content: Mapping[str, Any]) -> bool:
    """Whether the keys are lerobot's."""
    return "per_task" in content or "per_episode" in content


def read(content: Mapping[str, Any]) -> Found:
    """Read either layout.

    Raises:
        KeyError: If a field is missing.
        TypeError: If a field is of another kind.
        ValueError: If a value is none that lerobot writes.
    """
    if "per_task" in content:
        attempts = tuple(_of_tasks(content["per_task"]))
    else:
        attempts = tuple(_of_episodes(content["per_episode"]))
    return Found(
        format="lerobot",
        attempts=attempts,
        states_known=all(attempt.seed is not None for attempt in attempts),
    )


def _of_tasks(rows: list[Mapping[str, Any]]) -> Iterator[Attempt]:
    for row in rows:
        for number, success in enumerate(row["metrics"]["successes"]):
            yield Attempt(
                suite=str(row["task_group"]),
                task=str(row["task_id"]),
                index=number,
                success=truth(success, f"success {number} of {row['task_group']}/{row['task_id']}"),
            )


def _of_episodes(rows: list[Mapping[str, Any]]) -> Iterator[Attempt]:
    for row in rows:
        where = f"episode {row['episode_ix']!r}"
        yield Attempt(
            task="0",
            index=index(int(row["episode_ix"]), where),
            success=truth(row["success"], f"success of {where}"),
            seed=whole(row.get("seed"), f"seed of {where}"),
        )
