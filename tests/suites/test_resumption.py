"""A run on a real simulator that is interrupted and resumed is the run that was not."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from vlabench import ProcessRunner, read_run
from vlabench.evaluation import Evaluation, prepare

PLANS = [
    ("libero", "random", "libero-spatial/3,libero-10/2", "libero"),
    ("metaworld", "metaworld-expert", "door-open-v3,push-v3", "metaworld"),
]


def shortened(suite_id: str, policy_id: str, tasks: str) -> Evaluation:
    """Prepare an evaluation of 20 control steps an episode."""
    found = prepare(suite_id, policy_id, request={"tasks": tasks, "episodes": 3})
    horizons = tuple((name, 20) for name, _ in found.protocol.horizons)
    protocol = replace(found.protocol, horizons=horizons)
    return replace(found, protocol=protocol, stage=replace(found.stage, protocol=protocol))


def traces(path: Path) -> dict[str, Any]:
    run = read_run(path)
    assert not [record.error for record in run.episodes if record.error]
    return {record.episode.key: record.trace for record in run.episodes}


@pytest.mark.sim
@pytest.mark.parametrize(("suite_id", "policy_id", "tasks", "package"), PLANS)
def test_interrupted_and_resumed_with_other_workers_gives_the_same_trajectories(
    suite_id: str, policy_id: str, tasks: str, package: str, tmp_path: Path
) -> None:
    if find_spec(package) is None:
        pytest.skip(f"needs the extra: pip install 'vlabench-harness[{package}]'")
    evaluation = shortened(suite_id, policy_id, tasks)
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    for _ in evaluation.run(ProcessRunner(1), whole):
        pass
    begun = evaluation.run(ProcessRunner(2), broken)
    for _, record in begun:
        if record is not None:
            begun.close()  # as an interruption does: workers are killed where they are
            break
    assert len(read_run(broken).episodes) == 1
    for _ in evaluation.run(ProcessRunner(4), broken):
        pass
    assert traces(broken) == traces(whole)
    assert len(traces(whole)) == 6
