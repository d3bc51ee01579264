"""Other people's packages join in by entry point, and a broken one is named."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vlabench import (
    Outcome,
    SerialRunner,
    Stage,
    load_policy,
    load_suite,
    make_plan,
    policy_ids,
    suite_ids,
)
from vlabench.errors import PluginError, UnknownNameError

HOP = '''
"""A suite and a policy by somebody else."""

from dataclasses import replace

import numpy as np

from vlabench import Decision, ObservationSpec, load_suite
from vlabench_suites.point_reach import PointReachEnv

SUITES = {"hop": "PACKAGE:SUITE"}
POLICIES = {"leap": "PACKAGE:make_leap"}

_POINT = load_suite("point-reach")
_RULES = replace(_POINT.protocol(), id="hop", horizons=(("hop", 20),))
SUITE = replace(
    _POINT,
    id="hop",
    tasks=tuple(replace(task, id=task.id.replace("point-reach", "hop")) for task in _POINT.tasks),
    protocols=(_RULES,),
    make_env=PointReachEnv,
)


class Leap:
    id = "leap"
    digest = ""
    observation = ObservationSpec()

    def __init__(self, action, length):
        self.action, self.length = action, length

    def reset(self, slot, episode):
        pass

    def act(self, slots, observations):
        return Decision(actions=np.full((len(slots), 1, 1), self.length, np.float32))


def make_leap(suite, protocol, *, length: float = 1.0):
    return Leap(protocol.action, length)
'''

Install = Callable[..., str]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package of one module, as a wheel would: the module and its dist-info."""
    installed: list[str] = []

    def _install(code: str, *, kinds: tuple[str, ...] = ("suites", "policies")) -> str:
        name = f"stranger{len(installed)}_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{name}.py").write_text(code.replace("PACKAGE", name))
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        groups = [f"[vlabench.{kind}]\n{name} = {name}\n" for kind in kinds]
        (info / "entry_points.txt").write_text("".join(groups))
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.syspath_prepend(str(tmp_path))
        installed.append(name)
        return name

    return _install


def test_a_strangers_suite_and_policy_are_listed_loaded_and_run(install: Install) -> None:
    install(HOP)
    assert "hop" in suite_ids()
    assert "leap" in policy_ids()
    suite = load_suite("hop")
    policy = load_policy("leap", suite, settings={"length": "1.0"})
    stage = Stage(suite=suite, protocol=suite.protocol(), wants=policy.observation)
    records = list(SerialRunner().run(stage, policy, make_plan(suite, episodes=1).episodes))
    assert {r.episode.task_id: r.outcome for r in records} == {
        "hop/left": Outcome.FAILURE,
        "hop/right": Outcome.SUCCESS,
    }


def test_a_strangers_policy_runs_from_the_command_line(install: Install, tmp_path: Path) -> None:
    install(HOP)
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from vlabench.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), "run", "--suite", "hop", "--policy", "leap",
         "--set", "length=1", "--episodes", "1", "--workers", "1", "--out", "run.jsonl"],
        cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run.jsonl").read_bytes().count(b'"kind": "episode"') == 2


def test_nothing_of_a_suite_is_imported_before_it_is_asked_for(install: Install) -> None:
    install('SUITES = {"later": "no_such_package:SUITE"}', kinds=("suites",))
    assert "later" in suite_ids()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_package", "No module named 'no_such_package'"),
        ("raise RuntimeError('half installed')", "RuntimeError.*half installed"),
        ("def broken(:", "SyntaxError"),
        ("POLICES = {}", "has no attribute 'SUITES'"),
        ("SUITES = ['a', 'b']", 'SUITES is not a table from id to "module:attribute"'),
        ("SUITES = {'a': 3}", 'SUITES is not a table from id to "module:attribute"'),
    ],
)
def test_a_broken_table_is_an_error_that_names_the_package(
    code: str, message: str, install: Install
) -> None:
    name = install(code, kinds=("suites",))
    with pytest.raises(PluginError, match=f"(?s){name}.*{message}"):
        suite_ids()
    assert "random" in policy_ids()  # whose table is whole


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_package:SUITE", "No module named 'no_such_package'"),
        ("PACKAGE:MISSING", "has no attribute 'MISSING'"),
        ("PACKAGE", "registered as"),
        ("PACKAGE:SUITES", "is not a Suite with the id 'theirs'"),
        ("vlabench_suites.point_reach:SUITE", "is not a Suite with the id 'theirs'"),
    ],
)
def test_an_entry_that_leads_nowhere_is_an_error_when_it_is_asked_for(
    target: str, message: str, install: Install
) -> None:
    install(f"SUITES = {{'theirs': {target!r}}}", kinds=("suites",))
    assert "theirs" in suite_ids()
    assert load_suite("point-reach").id == "point-reach"
    with pytest.raises(PluginError, match=message):
        load_suite("theirs")


def test_a_policy_that_is_no_function_is_an_error(install: Install) -> None:
    install("POLICIES = {'theirs': 'PACKAGE:POLICIES'}", kinds=("policies",))
    with pytest.raises(PluginError, match="is not a function that makes a policy"):
        load_policy("theirs", load_suite("point-reach"))


def test_an_id_that_two_packages_claim_is_an_error_that_names_both(install: Install) -> None:
    name = install('SUITES = {"point-reach": "PACKAGE:SUITE"}', kinds=("suites",))
    with pytest.raises(PluginError, match="'point-reach' is registered twice") as found:
        load_suite("point-reach")
    assert name in str(found.value)
    assert "vlabench_suites" in str(found.value)


def test_an_unknown_id_gets_the_nearest_known_one(install: Install) -> None:
    install(HOP)
    with pytest.raises(UnknownNameError, match=r"no suite is called 'hopp'\. Did you mean 'hop'"):
        load_suite("hopp")
    with pytest.raises(UnknownNameError, match=r"no policy is called 'x'\. Known: .*leap"):
        load_policy("x", load_suite("hop"))
