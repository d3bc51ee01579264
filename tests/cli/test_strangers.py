"""Other people's policies, files and machines at the command line: an error, one line, a status."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlabench import Outcome, read_run

VLABENCH = str(Path(sys.executable).with_name("vlabench"))
STRANGE = ["run", "--suite", "point-reach", "--policy", "strange", "--episodes", "2"]
POINT = ["run", "--suite", "point-reach", "--policy", "random"]

POLICY = r'''
"""A policy that misbehaves as it is told to."""

import os
import sys
import time

import numpy as np

from vlabench import Decision, ObservationSpec

POLICIES = {"strange": "strange:make"}


class Strange:
    id = "strange"
    digest = ""
    observation = ObservationSpec()

    def __init__(self, protocol, mode):
        self.action, self.mode, self.key = protocol.action, mode, {}

    def reset(self, slot, episode):
        self.key[slot] = episode.key

    def act(self, slots, observations):
        if self.mode == "prints":
            print("[1, 2")
            sys.stdout.buffer.write(b"{")
            os.write(1, b"]")
            os.system("echo hello")
        if self.mode == "moves":
            os.chdir("/")
        if self.mode == "removes":
            os.unlink("run.jsonl")
        if self.mode == "says" and "point-reach/left#1" in [self.key[slot] for slot in slots]:
            raise ValueError("[bold]loud[/bold] \x1b[31mred \udcff")
        return Decision(actions=np.zeros((len(slots), 8, 1), np.float32))


def make(suite, protocol, *, mode: str = "ok"):
    if mode == "raise":
        raise RuntimeError("no\nfile")
    if mode == "silent":
        raise type("Silent", (Exception,), {"__str__": lambda self: sys.exit(0)})
    if mode == "exit":
        sys.exit(0)
    if mode == "leave":
        os._exit(0)
    if mode == "hang":
        time.sleep(600)
    policy = Strange(protocol, mode)
    ids = {"climbs": "../../../up", "number": 7, "empty": "", "long": "x" * 10_000}
    policy.id = ids.get(mode, policy.id)
    policy.observation = None if mode == "no spec" else policy.observation
    policy.digest = None if mode == "no digest" else policy.digest
    return policy
'''


@pytest.fixture
def strange(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Install the policy, as a wheel would; return how to run the command line with it."""
    folder = tmp_path / "installed"
    info = folder / "strange-1.dist-info"
    info.mkdir(parents=True)
    (folder / "strange.py").write_text(POLICY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[vlabench.policies]\nstrange = strange\n")
    (tmp_path / "work").mkdir()

    def run(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        places = [str(folder), os.environ.get("PYTHONPATH", "")]
        return subprocess.run(
            [VLABENCH, *arguments], cwd=tmp_path / "work", capture_output=True, text=True,
            timeout=300, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
            **options,
        )  # fmt: skip

    return run


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("raise", "policy 'strange' cannot be made: RuntimeError: no file (strange.py:"),
        (
            "exit",
            "policy 'strange' cannot be made: QuitError: it raised SystemExit: 0 (strange.py:",
        ),
        ("leave", "policy 'strange' cannot be made: QuitError: it called os._exit(0) (strange.py:"),
        ("silent", "policy 'strange' cannot be made: Silent: it has no text (strange.py:"),
        ("number", "its id is not text of 1 to 500 letters: 7 (registry.py:"),
        ("empty", "its id is not text of 1 to 500 letters: ''"),
        ("long", "its id is not text of 1 to 500 letters: 'xxx"),
        ("no digest", "its digest is not text of 0 to 500 letters: None"),
        ("no spec", "its observation is None, expected an ObservationSpec"),
        ("hang", "making policy 'strange' took longer than 2 s (watchdog)"),
    ],
)
def test_a_policy_that_cannot_be_made_is_one_line_and_exit_2(
    strange: Any, mode: str, message: str, tmp_path: Path
) -> None:
    done = strange(*STRANGE, "--set", f"mode={mode}", "--out", "run.jsonl", "--watchdog", "2")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("vlabench: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "work" / "run.jsonl").exists()


@pytest.mark.parametrize("command", ["run", "list"])
def test_what_policies_print_is_never_among_the_json(
    strange: Any, command: str, tmp_path: Path
) -> None:
    module = tmp_path / "installed" / "strange.py"
    module.write_text("import os\nprint('{')\nos.system('echo {')\n" + module.read_text())
    arguments = ["list", "policies"] if command == "list" else [*STRANGE, "--set", "mode=prints"]
    done = strange(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    assert "{" in done.stderr.splitlines()
    if command == "run":
        assert "[1, 2" in done.stderr.splitlines()
        assert "hello" in done.stderr


def test_a_policy_that_changes_the_folder_changes_nothing(strange: Any, tmp_path: Path) -> None:
    command = [*STRANGE, "--set", "mode=moves", "--video", "all", "--actions", "--workers", "1"]
    done = strange(*command, "--out", "run.jsonl")
    assert done.returncode == 0, done.stderr
    work = tmp_path / "work"
    assert len(read_run(work / "run.jsonl").episodes) == 4
    assert sorted(path.name for path in work.iterdir()) == [
        "run.actions", "run.jsonl", "run.videos",
    ]  # fmt: skip


def test_a_policys_name_leads_out_of_no_folder(strange: Any, tmp_path: Path) -> None:
    done = strange(*STRANGE, "--set", "mode=climbs", "--quiet")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.rglob("*.jsonl")
    assert path.parent == tmp_path / "work" / "results" / "point-reach" / "..%2F..%2F..%2Fup"


def test_a_results_file_that_is_removed_meanwhile_is_one_line_and_exit_3(strange: Any) -> None:
    done = strange(*STRANGE, "--set", "mode=removes", "--out", "run.jsonl", "--quiet")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "vlabench: run.jsonl was removed by somebody else while it was being written; nothing more "
        "is recorded in it\n"
    )


def test_what_an_error_says_is_shown_as_it_is(strange: Any, tmp_path: Path) -> None:
    done = strange(*STRANGE, "--set", "mode=says", "--out", "run.jsonl")
    assert done.returncode == 1
    said = r"ValueError: [bold]loud[/bold] \x1b[31mred \udcff"
    assert f"ERROR point-reach/left#1: {said}" in done.stderr
    assert f"1 of this kind: {said}" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    (error,) = (r.error for r in read_run(tmp_path / "work" / "run.jsonl").episodes if r.error)
    assert error.endswith("ValueError: [bold]loud[/bold] \x1b[31mred \udcff\n")


def test_names_in_a_results_file_are_shown_as_they_are(strange: Any, tmp_path: Path) -> None:
    path = tmp_path / "work" / "run.jsonl"
    assert strange(*STRANGE, "--out", "run.jsonl").returncode == 0
    name = "point-reach/[red]x\x1b[2J[/nothing]"
    for old, new in (("point-reach/left", name), ('"strange"', '"[link]\u202e"')):
        path.write_text(path.read_text().replace(old, json.dumps(new)[1:-1] if "/" in old else new))
    done = strange("show", "run.jsonl")
    assert done.returncode == 0, done.stderr
    assert r"point-reach/[red]x\x1b[2J[/nothing]" in done.stdout
    assert r"[link]\u202e on point-reach" in done.stdout
    assert not {"\x1b", "\u202e"} & set(done.stdout)


def test_json_has_no_numbers_that_json_does_not_have(strange: Any, tmp_path: Path) -> None:
    path = tmp_path / "work" / "run.jsonl"
    assert strange(*STRANGE, "--out", "run.jsonl").returncode == 0
    path.write_text(path.read_text().replace('"canaries": {}', '"canaries": {"height": NaN}'))

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    done = strange("show", "run.jsonl", "--json")
    shown = json.loads(done.stdout, parse_constant=refuse)
    assert shown["header"]["fingerprint"]["canaries"] == {"height": None}


@pytest.mark.parametrize(
    "command",
    [
        [*POINT, "--episodes", "1", "--out", "run.jsonl"],
        ["demos", "collect", "--suite", "point-reach", "--policy", "point-reach-expert",
         "--episodes", "1", "--out", "demos"],
    ],
)  # fmt: skip
def test_without_locks_a_command_says_how_to_go_on_and_does(
    strange: Any, command: list[str], tmp_path: Path
) -> None:
    """The file system's answer is put into Python's: a module that every process imports."""
    (tmp_path / "installed" / "sitecustomize.py").write_text(
        "import errno, fcntl\n"
        "def flock(*_):\n"
        "    raise OSError(errno.ENOLCK, 'No locks available')\n"
        "fcntl.flock = flock\n"
    )
    done = strange(*command)
    assert done.returncode == 2
    assert "cannot be locked, its file system has no locks (No locks available)" in done.stderr
    assert not list((tmp_path / "work").rglob("*.jsonl"))
    assert strange(*command, "--no-lock").returncode == 0


@pytest.mark.parametrize("size", [100, 20_000])
def test_a_full_disk_is_one_line_and_exit_3_and_the_same_command_goes_on(
    strange: Any, size: int, tmp_path: Path
) -> None:
    """A limit on the size of files stands for a disk."""
    command = [*POINT, "--episodes", "40", "--out", "run.jsonl", "--quiet", "--workers", "1"]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    done = strange(*command, preexec_fn=limit)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(
        f"vlabench: cannot write run.jsonl: {os.strerror(errno.EFBIG)}; what ended before is kept"
    )
    assert done.stderr.count("\n") == 1
    left = list((tmp_path / "work").iterdir())
    assert [path.name for path in left] == (["run.jsonl"] if size > 10_000 else [])
    if left:
        assert not read_run(left[0]).torn
        assert 0 < len(read_run(left[0]).episodes) < 80
    assert strange(*command).returncode == 0
    assert len(read_run(tmp_path / "work" / "run.jsonl").episodes) == 80


def test_the_exit_status_is_0_only_if_every_planned_episode_is_recorded(
    strange: Any, tmp_path: Path
) -> None:
    path = tmp_path / "work" / "run.jsonl"
    command = [*POINT, "--episodes", "2", "--out", "run.jsonl", "--workers", "1"]
    assert strange(*command).returncode == 0
    lines = path.read_text().splitlines(keepends=True)
    foreign = json.loads(lines[1])
    foreign["episode"]["init_index"] = 9
    path.write_text("".join([lines[0], *lines[2:], json.dumps(foreign) + "\n"]))
    done = strange(*command)
    assert done.returncode == 2
    assert "holds episode point-reach/left#9, which is not of its plan" in done.stderr
    assert "-1" not in done.stderr
    assert strange("verify", "run.jsonl").returncode == 2
    path.write_text("".join([lines[0], *lines[2:]]))
    assert strange(*command).returncode == 0
    assert len(read_run(path).episodes) == 4


def test_a_video_that_cannot_be_written_is_one_line_and_leaves_nothing(
    strange: Any, tmp_path: Path
) -> None:
    assert strange(*POINT, "--episodes", "1", "--out", "run.jsonl").returncode == 0
    work = tmp_path / "work"
    (work / "taken.mp4").mkdir()
    (work / "file").write_text("")
    for video, why in (("taken.mp4", "Is a directory"), ("file/a.mp4", "Not a directory")):
        done = strange("replay", "run.jsonl", "point-reach/left#0", "--video", video)
        assert done.returncode == 2
        said = done.stderr.splitlines()[1:]  # behind what it is doing
        assert said == [f"vlabench: cannot write {video}: {why}"]
    assert sorted(path.name for path in work.iterdir()) == ["file", "run.jsonl", "taken.mp4"]


def test_a_folder_that_is_gone_is_one_line_and_not_exit_1(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        [VLABENCH, *POINT, "--episodes", "1"], cwd=gone, preexec_fn=gone.rmdir,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "vlabench: the folder that this was started in is gone\n"


def children_of(group: int) -> list[str]:
    """Return what still runs of a process group; what has ended and nobody has asked for is not."""
    done = subprocess.run(
        ["ps", "-e", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 2) for line in done.stdout.splitlines()]
    return [row[2] for row in rows if row[0] == str(group) and not row[1].startswith("Z")]


COMMAND = """
import sys
from vlabench.cli import main
sys.argv = ["vlabench", *sys.argv[1:]]
print("begins", flush=True)
main()
"""


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.3, 0.6, 1.0, 1.4])
def test_an_interrupt_at_any_moment_is_one_line_and_leaves_nobody(
    seconds: float, times: int, tmp_path: Path
) -> None:
    """To the whole group, as a terminal sends it: while it imports, starts workers, and runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *POINT, "--episodes", "100000", "--workers", "3",
         "--out", "run.jsonl"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "begins\n"
    time.sleep(seconds)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.02)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    assert err.count("vlabench: interrupted") == 1
    assert "Traceback" not in err
    deadline = time.monotonic() + 5
    while (left := children_of(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left == []


def test_outcomes_are_the_same_with_a_policy_that_is_well_behaved(
    strange: Any, tmp_path: Path
) -> None:
    assert strange(*STRANGE, "--out", "run.jsonl").returncode == 0
    records = read_run(tmp_path / "work" / "run.jsonl").episodes
    assert [r.outcome for r in records] == [Outcome.FAILURE] * 4
