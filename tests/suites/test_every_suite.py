"""What every registered suite promises, and no suite tests for itself."""

import json
import subprocess
import sys

import pytest

from vlabench import load_suite, make_plan, suite_ids
from vlabench.errors import DrawingError, MissingExtraError
from vlabench.registry import require_packages
from vlabench.testing import check_ids, check_protocols, check_suite

HEAVY = ("mujoco", "robosuite", "metaworld", "libero", "torch", "OpenGL", "cv2", "gymnasium")
_LOAD_ALL = f"""
import json, sys
from vlabench import load_suite, suite_ids
found, before = {{}}, set()
for suite_id in suite_ids():
    load_suite(suite_id)
    found[suite_id] = sorted(set({HEAVY!r}) & set(sys.modules) - before)
    before = set(sys.modules)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, list[str]]:
    """Suite id to the heavy packages that loading it imports; loaded one after the other."""
    done = subprocess.run(
        [sys.executable, "-c", _LOAD_ALL], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("suite_id", suite_ids())
def test_loading_a_suite_imports_no_simulator(
    suite_id: str, imported: dict[str, list[str]]
) -> None:
    assert imported[suite_id] == []


@pytest.mark.parametrize("suite_id", suite_ids())
def test_a_suite_has_ids_horizons_and_plans(suite_id: str) -> None:
    suite = load_suite(suite_id)
    assert suite.id == suite_id
    assert suite.summary
    check_ids(suite)
    check_protocols(suite)


@pytest.mark.parametrize("suite_id", suite_ids())
def test_a_plan_has_the_protocols_episodes_for_every_task(suite_id: str) -> None:
    suite = load_suite(suite_id)
    for protocol in suite.protocols:
        plan = make_plan(suite, protocol.name)
        assert len(plan.episodes) == protocol.episodes_per_task * len(suite.tasks)
        assert len({episode.key for episode in plan.episodes}) == len(plan.episodes)


@pytest.mark.parametrize("suite_id", suite_ids())
def test_protocols_say_where_their_values_come_from(suite_id: str) -> None:
    for protocol in load_suite(suite_id).protocols:
        assert protocol.source
        assert protocol.action.low < protocol.action.high


def test_point_reach_keeps_the_contract() -> None:
    check_suite(load_suite("point-reach"))


@pytest.mark.sim
@pytest.mark.parametrize(
    ("suite_id", "task_id"),
    [
        ("metaworld", "metaworld/reach-v3"),
        ("metaworld", "metaworld/drawer-open-v3"),
        ("metaworld-split", "metaworld-new/window-open-v3"),
        ("libero-spatial", "libero-spatial/5"),
        ("libero-10", "libero-10/0"),
    ],
)
def test_a_simulated_task_keeps_the_contract(suite_id: str, task_id: str) -> None:
    suite = load_suite(suite_id)
    try:
        require_packages(suite)
    except MissingExtraError as error:
        pytest.skip(str(error))
    check_suite(suite, [task_id], draw=_can_draw(suite))


def _can_draw(suite: object) -> bool:
    drawing = getattr(suite, "drawing", None)
    try:
        return drawing is None or bool(drawing())
    except DrawingError:
        return False
