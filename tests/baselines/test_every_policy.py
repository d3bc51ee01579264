"""What every registered policy promises, and no policy tests for itself."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from vlabench import SerialRunner, load_policy, load_suite, policy_ids
from vlabench.errors import MissingExtraError
from vlabench.evaluation import prepare
from vlabench.registry import require_packages
from vlabench.testing import check_policy
from vlabench_baselines.nanovla.shipped import SHIPPED


@dataclass(frozen=True)
class Where:
    """What a policy is run on; `RECORDED` stands for a run with actions."""

    suite: str = "point-reach"
    task: str = "point-reach/left"
    settings: dict[str, str] = field(default_factory=dict)


RECORDED = "<a recorded run>"
TRAINED = Where(settings={"checkpoint": str(SHIPPED / "sft-point-reach-privileged")})
ELSEWHERE = {
    "ire-vla": TRAINED,
    "ire-vla-freeze": TRAINED,
    "libero-expert": Where("libero", "libero-object/0"),
    "metaworld-expert": Where("metaworld", "metaworld/reach-v3"),
    "ppo-replay": TRAINED,
    "replay": Where(settings={"run": RECORDED}),
    "vla-rl": TRAINED,
}
_SIMULATED = [name for name, where in ELSEWHERE.items() if where.suite != "point-reach"]
_LOAD_ALL = """
import json, sys
from vlabench import policy_ids
from vlabench.registry import policy_factory
for policy_id in policy_ids():
    policy_factory(policy_id)
heavy = {"mujoco", "robosuite", "metaworld", "libero", "torch", "gymnasium"}
print(json.dumps(sorted(heavy & set(sys.modules))))
"""


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "run.jsonl"
    evaluation = prepare("point-reach", "random", request={"episodes": 2})
    list(evaluation.keeping(path, actions=True).run(SerialRunner(), path))
    return path


@pytest.mark.parametrize(
    "policy_id",
    [
        pytest.param(name, marks=pytest.mark.sim if name in _SIMULATED else ())
        for name in policy_ids()
    ],
)
def test_a_policy_keeps_the_contract(policy_id: str, recorded: Path) -> None:
    where = ELSEWHERE.get(policy_id, Where())
    suite = load_suite(where.suite)
    try:
        require_packages(suite)
    except MissingExtraError as error:
        pytest.skip(str(error))
    settings = {
        name: text.replace(RECORDED, str(recorded)) for name, text in where.settings.items()
    }
    policy = load_policy(policy_id, suite, settings=settings)
    assert policy.id == policy_id
    check_policy(policy, suite, task_id=where.task)


def test_finding_the_policies_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOAD_ALL], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
