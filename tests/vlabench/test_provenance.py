"""A simulator that is not the protocol's is noticed, and its runs say so."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from vlabench import load_suite
from vlabench.errors import SimulatorError
from vlabench.protocol import Canary
from vlabench.provenance import cache_folder, fingerprint, provenance

SUITE = replace(load_suite("point-reach"), distributions=("numpy",))


def measure(may_draw: bool) -> Mapping[str, float]:
    return {"height": 1.0, "brightness": 2.0} if may_draw else {"height": 1.0}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VLABENCH_CACHE", str(tmp_path))


def test_a_version_that_the_protocol_does_not_mean_is_a_mismatch() -> None:
    protocol = replace(SUITE.protocol(), simulator=(("numpy", "0.0.1"), ("nowhere", "1")))
    found = fingerprint(SUITE, protocol, gl="none")
    assert len(found.mismatches) == 2
    assert found.mismatches[0].endswith("the protocol means 0.0.1")
    assert "nowhere not installed" in found.mismatches[1]


def test_the_expected_version_is_none() -> None:
    versions = fingerprint(SUITE, SUITE.protocol(), gl="none").versions
    protocol = replace(SUITE.protocol(), simulator=tuple(versions.items()))
    assert fingerprint(SUITE, protocol, gl="none").mismatches == ()


def test_a_canary_out_of_its_range_is_a_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "vlabench.provenance._canaries", lambda suite, versions, gl: measure(gl != "none")
    )
    canaries = (
        Canary(name="height", low=0.9, high=1.1),
        Canary(name="brightness", low=3.0, high=4.0, needs_drawing=True),
    )
    suite = replace(SUITE, measure_canaries=measure)
    protocol = replace(suite.protocol(), canaries=canaries)
    assert fingerprint(suite, protocol, gl="none").mismatches == ()
    looking = fingerprint(suite, protocol, gl="egl").mismatches
    assert looking == ("canary brightness is 2, expected 3 to 4",)


def test_settings_that_make_it_another_simulator_are_a_mismatch() -> None:
    suite = replace(SUITE, caveats=lambda settings: ["too fast"] if "speed" in settings else [])
    assert fingerprint(suite, suite.protocol(), gl="none").mismatches == ()
    found = fingerprint(suite, suite.protocol(), gl="none", settings={"speed": 2})
    assert found.mismatches == ("too fast",)


def measured_apart(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the `measure` of a module that the process which measures imports, too."""
    (tmp_path / "measuring.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "measuring", raising=False)
    return import_module("measuring").measure


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise OSError('libGL.so.1: cannot open')", "OSError.*libGL.so.1: cannot open"),
        ("import os; os._exit(7)", "RuntimeError.*its process ended with status 7"),
        ("return {'height': print}", "TypeError"),
        ("return lambda: 0", "RuntimeError.*pickle"),
    ],
)
def test_a_simulator_that_does_not_work_is_one_clear_line(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = measured_apart(f"def measure(may_draw):\n    {code}\n", tmp_path, monkeypatch)
    suite = replace(SUITE, measure_canaries=measure)
    protocol = replace(suite.protocol(), canaries=(Canary(name="height", low=0, high=1),))
    with pytest.raises(SimulatorError, match=f"does not work here: {message}.*vlabench doctor"):
        fingerprint(suite, protocol, gl="none")


@pytest.mark.sim
def test_liberos_canaries_are_measured_in_range_and_remembered(tmp_path: Path) -> None:
    pytest.importorskip("libero", reason="needs the extra: pip install 'vlabench-harness[libero]'")
    libero = load_suite("libero")
    assert libero.drawing is not None
    found = fingerprint(libero, libero.protocol(), gl=libero.drawing())
    assert found.mismatches == ()
    assert set(found.canaries) == {canary.name for canary in libero.protocol().canaries}
    assert list(tmp_path.glob("canaries-*.json"))
    assert fingerprint(libero, libero.protocol(), gl=libero.drawing()) == found


MEASURE = """
import os

def measure(may_draw):
    with open(os.path.join(os.environ["VLABENCH_CACHE"], "measured"), "a") as file:
        file.write("x")
    return {"height": 0.5}
"""


@pytest.mark.parametrize(
    "damage",
    ["", "{}", "[" * 100_000, '{"height": 0.5}', '{"digest": "", "measured": {"height": 0.7}}'],
)
def test_canaries_that_were_damaged_are_measured_anew_with_a_warning(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    suite = replace(SUITE, measure_canaries=measured_apart(MEASURE, tmp_path, monkeypatch))
    canary = Canary(name="height", low=0.6, high=1)
    protocol = replace(suite.protocol(), canaries=(canary,))
    expected = ("canary height is 0.5, expected 0.6 to 1",)
    for _ in range(2):
        assert fingerprint(suite, protocol, gl="none").mismatches == expected
    assert (tmp_path / "measured").read_text() == "x", "remembered"
    (path,) = tmp_path.glob("canaries-*.json")
    path.write_text(damage)
    assert fingerprint(suite, protocol, gl="none").mismatches == expected
    assert caplog.messages == [f"{path} was damaged and is measured anew"]
    assert (tmp_path / "measured").read_text() == "xx"
    path.write_text(path.read_text().replace("0.5", "0.7"))
    assert fingerprint(suite, protocol, gl="none").mismatches == expected


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("VLABENCH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(OSError, match="Not a directory"):
        cache_folder().mkdir(parents=True)


def test_a_commit_that_git_does_not_tell_is_said_to_be_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the checkout is another user's: git ends with an error."""
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr("vlabench.provenance.__file__", str(tmp_path / "vlabench" / "a.py"))
    assert provenance(SUITE, workers=1, gl="none").commit == "unreadable"


def test_single_solve_is_marked_as_not_comparable() -> None:
    libero = load_suite("libero")
    assert libero.caveats is not None
    assert libero.caveats({"physics": "single-solve"})
    assert not libero.caveats({"physics": "reference"})
    assert not libero.caveats({})


def test_changed_code_is_uncommitted_and_a_run_that_was_gone_on_with_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, run = tmp_path / "vlabench" / "provenance.py", tmp_path / "results" / "a" / "run.jsonl"
    for path in (code, run):
        path.parent.mkdir(parents=True)
        path.write_text("one\n")
    who = ["-c", "user.name=n", "-c", "user.email=e"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "m"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    monkeypatch.setattr("vlabench.provenance.__file__", str(code))

    assert provenance(SUITE, workers=1, gl="none").commit
    run.write_text("one\ntwo\n")
    assert not provenance(SUITE, workers=1, gl="none").dirty
    code.write_text("two\n")
    assert provenance(SUITE, workers=1, gl="none").dirty
