"""Runners differ in speed only, and what breaks costs its own episode and nothing else."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlabench import (
    Decision,
    EpisodeRecord,
    EpisodeSpec,
    Observation,
    Outcome,
    Plan,
    ProcessRunner,
    SerialRunner,
    Stage,
    Suite,
    load_policy,
    load_suite,
    make_plan,
)
from vlabench.errors import PolicyHangError
from vlabench.runners import awake
from vlabench.runners.queue import WorkQueue

SUITE = load_suite("point-reach")
PLAN = make_plan(SUITE, episodes=8)
LEFT_2 = "point-reach/left#2"


def stage_of(suite: Suite = SUITE) -> Stage:
    policy = load_policy("random", suite)
    return Stage(suite=suite, protocol=suite.protocol(), wants=policy.observation)


def run(
    runner: Any, *, policy: Any = None, suite: Suite = SUITE, episodes: Any = PLAN.episodes
) -> dict[str, EpisodeRecord]:
    records = list(
        runner.run(stage_of(suite), policy or load_policy("random", suite), list(episodes))
    )
    assert len({r.episode.key for r in records}) == len(records)
    return {record.episode.key: record for record in records}


def timeless(records: dict[str, EpisodeRecord]) -> dict[str, EpisodeRecord]:
    """Leave out what is measured, not decided: time and memory."""
    return {
        key: replace(record, seconds=type(record.seconds)(), peak_mb=0.0)
        for key, record in records.items()
    }


@pytest.fixture(scope="module")
def reference() -> dict[str, EpisodeRecord]:
    return timeless(run(SerialRunner()))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_number_of_workers_changes_nothing(
    workers: int, reference: dict[str, EpisodeRecord]
) -> None:
    assert timeless(run(ProcessRunner(workers))) == reference


def test_the_order_changes_nothing(reference: dict[str, EpisodeRecord]) -> None:
    backwards = PLAN.episodes[::-1]
    assert timeless(run(SerialRunner(), episodes=backwards)) == reference
    assert timeless(run(ProcessRunner(2), episodes=backwards)) == reference


@pytest.mark.parametrize("still_running", [0, 1, 2])
def test_waiting_for_a_fuller_batch_changes_nothing(
    still_running: int, reference: dict[str, EpisodeRecord]
) -> None:
    assert timeless(run(ProcessRunner(3, still_running=still_running))) == reference


def test_every_planned_episode_is_recorded_once() -> None:
    assert set(run(ProcessRunner(3))) == {episode.key for episode in PLAN.episodes}


class _RandomPolicy:
    """The random policy, for tests to break."""

    id = "broken-random"
    digest = ""

    def __init__(self) -> None:
        self._inner = load_policy("random", SUITE)
        self.action, self.observation = self._inner.action, self._inner.observation
        self.keys: dict[int, str] = {}

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        self.keys[slot] = episode.key
        self._inner.reset(slot, episode)

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        return self._inner.act(slots, observations)


class _CountingPolicy(_RandomPolicy):
    """Notes how many slots each call asks about."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        self.sizes.append(len(slots))
        return super().act(slots, observations)


def test_a_policy_is_held_back_while_too_many_simulators_run() -> None:
    policy = _CountingPolicy()
    run(ProcessRunner(3, still_running=0), policy=policy)
    assert policy.sizes[0] == 3
    assert policy.sizes == sorted(policy.sizes, reverse=True), "fewer only once fewer are left"


def test_workers_compute_and_draw_in_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "LP_NUM_THREADS"):
        monkeypatch.setenv(name, "7")

    def make_env(task: Any, protocol: Any, wants: Any) -> Any:
        import os

        names = ("OMP_NUM_THREADS", "LP_NUM_THREADS")
        raise RuntimeError(" ".join(f"{name}={os.environ.get(name)}" for name in names))

    records = run(ProcessRunner(1), suite=replace(SUITE, make_env=make_env))
    assert all("OMP_NUM_THREADS=1 LP_NUM_THREADS=0" in str(r.error) for r in records.values())


def assert_only(broken: str, records: dict[str, EpisodeRecord], reference: Any, text: str) -> None:
    """Assert that one episode is an error that says `text`, and the others are untouched."""
    assert {key for key, r in records.items() if r.outcome is Outcome.ERROR} == {broken}
    assert text in str(records[broken].error)
    rest = {key: record for key, record in timeless(records).items() if key != broken}
    assert rest == {key: record for key, record in reference.items() if key != broken}


@pytest.mark.parametrize("runner", [SerialRunner(), ProcessRunner(3)], ids=["serial", "processes"])
def test_a_policy_that_cannot_begin_an_episode_costs_that_episode(
    runner: Any, reference: Any
) -> None:
    class Broken(_RandomPolicy):
        def reset(self, slot: int, episode: EpisodeSpec) -> None:
            if episode.key == LEFT_2:
                raise RuntimeError("no memory left")
            super().reset(slot, episode)

    assert_only(LEFT_2, run(runner, policy=Broken()), reference, "no memory left")


@pytest.mark.parametrize("runner", [SerialRunner(), ProcessRunner(3)], ids=["serial", "processes"])
def test_a_policy_that_returns_nan_costs_that_episode(runner: Any, reference: Any) -> None:
    class Broken(_RandomPolicy):
        def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
            decision = super().act(slots, observations)
            rows = [row for row, slot in enumerate(slots) if self.keys[slot] == LEFT_2]
            decision.actions[rows] = np.nan
            return decision

    assert_only(LEFT_2, run(runner, policy=Broken()), reference, "non-finite action")


@pytest.mark.parametrize("runner", [SerialRunner(), ProcessRunner(3)], ids=["serial", "processes"])
def test_an_episode_that_breaks_a_batch_does_not_harm_its_neighbours(
    runner: Any, reference: Any
) -> None:
    class Broken(_RandomPolicy):
        def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
            decision = super().act(slots, observations)  # the others' generators have moved on
            if LEFT_2 in [self.keys[slot] for slot in slots]:
                raise RuntimeError("cannot look at this")
            return decision

    assert_only(LEFT_2, run(runner, policy=Broken()), reference, "cannot look at this")


@pytest.mark.parametrize("runner", [SerialRunner(), ProcessRunner(2)], ids=["serial", "processes"])
@pytest.mark.parametrize("shape", [(1, 8, 2), (8, 1), (3, 8, 1), (1, 0, 1)])
def test_actions_of_a_wrong_shape_are_errors_that_say_both_shapes(
    runner: Any, shape: tuple[int, ...]
) -> None:
    class Broken(_RandomPolicy):
        def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
            return Decision(actions=np.zeros(shape, dtype=np.float32))

    records = run(runner, policy=Broken(), episodes=PLAN.episodes[:3])
    assert {record.outcome for record in records.values()} == {Outcome.ERROR}
    for record in records.values():
        # Two episodes that wait at the same time are asked for together.
        said = rf"shape {re.escape(str(list(shape)))}, expected \[[12], H >= 1, 1\]"
        assert re.search(said, str(record.error))


class _Answering(_RandomPolicy):
    """Makes something of the random policy's answer in the episode left#2, alone or in a batch."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self._change = change

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        decision = super().act(slots, observations)
        here = LEFT_2 in [self.keys[slot] for slot in slots]
        return self._change(decision) if here else decision


def _words(decision: Decision) -> Any:
    return np.full(decision.actions.shape, "1")


BAD_ANSWERS = {
    "nothing": (lambda d: None, "NoneType"),
    "words": (lambda d: replace(d, actions=_words(d)), "actions of <U1, expected numbers"),
    "things": (lambda d: replace(d, actions=d.actions.astype(object)), "actions of object"),
    "complex": (lambda d: replace(d, actions=d.actions.astype(complex)), "actions of complex128"),
    "no end": (
        lambda d: replace(d, actions=np.broadcast_to(np.float32(0), (len(d.actions), 10**11, 1))),
        "actions of shape",
    ),
    "too large": (lambda d: replace(d, actions=d.actions + 1e300), "non-finite action"),
    "no sample": (lambda d: replace(d, num_samples=0), "num_samples is 0, expected"),
    "fewer": (lambda d: replace(d, num_samples=-5), "num_samples is -5, expected"),
    "half": (lambda d: replace(d, num_samples=1.5), "num_samples is 1.5, expected"),
    "many": (lambda d: replace(d, num_samples=10**30), f"num_samples is {10**30}, expected"),
    "negative": (lambda d: replace(d, flops=-1.0), "flops is -1.0, expected"),
    "nan": (lambda d: replace(d, flops=float("nan")), "flops is nan, expected"),
    "inf": (lambda d: replace(d, flops=np.float32("inf")), "flops is np.float32(inf), expected"),
    "huge": (lambda d: replace(d, flops=1e300), "flops is 1e+300, expected"),
    "text": (lambda d: replace(d, flops="7"), "flops is '7', expected"),
}


@pytest.mark.parametrize("runner", [SerialRunner(), ProcessRunner(3)], ids=["serial", "processes"])
@pytest.mark.parametrize("answer", BAD_ANSWERS)
def test_an_answer_that_no_record_can_hold_costs_its_episode(
    runner: Any, answer: str, reference: Any
) -> None:
    change, message = BAD_ANSWERS[answer]
    records = run(runner, policy=_Answering(change))
    assert_only(LEFT_2, records, reference, message)


@pytest.mark.parametrize("runner", [SerialRunner(), ProcessRunner(3)], ids=["serial", "processes"])
def test_numbers_of_numpy_are_recorded_as_numbers(runner: Any, reference: Any) -> None:
    answer = _Answering(lambda d: replace(d, num_samples=np.int64(3), flops=np.float32(0.5)))
    answer.keys = _Always()  # type: ignore[assignment] - every slot holds that episode
    records = run(runner, policy=answer)
    assert {r.samples - 3 * r.decisions for r in records.values()} == {0}
    assert {r.flops for r in records.values()} == {0.5 * r.decisions for r in records.values()}
    for record in records.values():
        assert (type(record.samples), type(record.flops)) == (int, float)


class _Always(dict[int, str]):
    def __getitem__(self, slot: int) -> str:
        return LEFT_2


def _raise(error: BaseException) -> Any:
    raise error


QUITTING: dict[str, tuple[Any, str]] = {
    "SystemExit": (lambda: sys.exit(0), "SystemExit: 0"),
    "GeneratorExit": (lambda: _raise(GeneratorExit()), "GeneratorExit"),
    "BaseException": (lambda: _raise(BaseException("so")), "BaseException: so"),
    "os._exit": (lambda: os._exit(0), "os._exit(0)"),
}


@pytest.mark.parametrize("runner", [SerialRunner(), ProcessRunner(3)], ids=["serial", "processes"])
@pytest.mark.parametrize("way", QUITTING)
@pytest.mark.parametrize("where", ["reset", "act"])
def test_a_policy_that_quits_costs_its_episode_and_not_the_run(
    runner: Any, way: str, where: str, reference: Any
) -> None:
    quit_, message = QUITTING[way]

    class Quitting(_RandomPolicy):
        def reset(self, slot: int, episode: EpisodeSpec) -> None:
            super().reset(slot, episode)
            if where == "reset" and episode.key == LEFT_2:
                quit_()

        def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
            decision = super().act(slots, observations)
            if where == "act" and LEFT_2 in [self.keys[slot] for slot in slots]:
                quit_()
            return decision

    assert_only(LEFT_2, run(runner, policy=Quitting()), reference, message)


@pytest.mark.parametrize("where", ["reset", "act"])
def test_an_interrupt_that_a_policy_raises_is_its_error(where: str, reference: Any) -> None:
    class Interrupting(_RandomPolicy):
        def reset(self, slot: int, episode: EpisodeSpec) -> None:
            super().reset(slot, episode)
            if where == "reset" and episode.key == LEFT_2:
                raise KeyboardInterrupt

        def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
            decision = super().act(slots, observations)
            if where == "act" and LEFT_2 in [self.keys[slot] for slot in slots]:
                raise KeyboardInterrupt
            return decision

    records = run(ProcessRunner(2), policy=Interrupting())
    assert_only(LEFT_2, records, reference, "it raised KeyboardInterrupt")


def test_a_policy_that_forks_and_moves_leaves_no_second_run_and_no_other_folder(
    reference: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    children: list[int] = []

    class Moving(_RandomPolicy):
        def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
            os.chdir("elsewhere")
            if not children and (child := os.fork()):
                children.append(child)
            return super().act(slots, observations)

    runner = ProcessRunner(2)
    assert timeless(run(runner, policy=Moving())) == reference
    assert Path.cwd() == tmp_path
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 1, "the child came back"


@pytest.mark.parametrize(
    ("runner", "error"),
    [
        (SerialRunner(), SystemExit(0)),  # an interrupt would be the user's
        (ProcessRunner(1), SystemExit(0)),
        (ProcessRunner(1), KeyboardInterrupt()),
    ],
)
def test_a_simulator_that_quits_costs_its_episode(
    runner: Any, error: BaseException, reference: Any
) -> None:
    def quit_() -> None:
        raise error

    records = run(runner, suite=_suite_whose_step(quit_))
    assert_only(LEFT_2, records, reference, type(error).__name__)
    assert "Traceback" in str(records[LEFT_2].error), "its process has lived on"


def test_a_long_error_keeps_its_beginning_and_its_end(reference: Any) -> None:
    suite = _suite_whose_step(lambda: _raise(ValueError("x" * 1_000_000 + " the end")))
    records = run(ProcessRunner(1), suite=suite)
    assert_only(LEFT_2, records, reference, "characters left out")
    error = str(records[LEFT_2].error)
    assert error.startswith("Traceback")
    assert error.endswith(" the end\n")
    assert len(error) < 21_000


def test_a_policy_whose_reset_hangs_ends_the_run_and_says_which_episode() -> None:
    class Hanging(_RandomPolicy):
        def reset(self, slot: int, episode: EpisodeSpec) -> None:
            if episode.key == LEFT_2:
                time.sleep(30)
            super().reset(slot, episode)

    seen: list[EpisodeRecord] = []
    records = ProcessRunner(1, watchdog_seconds=2.0).run(stage_of(), Hanging(), PLAN.episodes)
    with pytest.raises(PolicyHangError, match="did not answer within 2 s"):
        seen.extend(records)
    assert [r.episode.key for r in seen if r.outcome is Outcome.ERROR] == [LEFT_2]
    assert seen[-1].seconds == type(seen[-1].seconds)(), "no time that was not measured"


class _Watched:
    """A suite whose scenes say in files when they are built and closed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def suite(self, break_it: Any = None) -> Suite:
        inner = (_suite_whose_step(break_it) if break_it else SUITE).make_env
        folder = str(self.folder)

        def make_env(task: Any, protocol: Any, wants: Any) -> Any:
            import tempfile

            env = inner(task, protocol, wants)
            tempfile.mkstemp(dir=folder, prefix="built-")

            def close() -> None:
                tempfile.mkstemp(dir=folder, prefix="closed-")

            env.close = close
            return env

        return replace(SUITE, make_env=make_env)

    def count(self, what: str) -> int:
        return len(list(self.folder.glob(f"{what}-*")))


@pytest.mark.parametrize("runner", [SerialRunner(), ProcessRunner(1)], ids=["serial", "processes"])
@pytest.mark.parametrize("breaks", [False, True])
def test_every_scene_is_closed_when_its_task_is_done_when_it_breaks_and_at_the_end(
    runner: Any, breaks: bool, tmp_path: Path
) -> None:
    watched = _Watched(tmp_path)
    records = runner.run(
        stage_of(watched.suite((lambda: 1 / 0) if breaks else None)),
        load_policy("random", SUITE),
        PLAN.episodes,
    )
    for done, _ in enumerate(records, start=1):
        if done == len(PLAN.episodes) // 2 + 1:  # an episode of the other task has ended
            assert watched.count("closed") == 1 + breaks
    assert watched.count("built") == 2 + breaks
    assert watched.count("closed") == watched.count("built")


@pytest.mark.parametrize("runner", [SerialRunner(), ProcessRunner(1)], ids=["serial", "processes"])
def test_a_scene_that_cannot_be_closed_costs_no_episode(runner: Any, reference: Any) -> None:
    def make_env(task: Any, protocol: Any, wants: Any) -> Any:
        env = SUITE.make_env(task, protocol, wants)
        env.close = lambda: sys.exit("not closed")  # type: ignore[method-assign]
        return env

    assert timeless(run(runner, suite=replace(SUITE, make_env=make_env))) == reference


@pytest.mark.parametrize("runner", [SerialRunner(), ProcessRunner(2)], ids=["serial", "processes"])
@pytest.mark.parametrize("shown", ["a state of another size", "no picture"])
def test_a_scene_that_shows_something_else_than_was_asked_for_costs_its_episodes(
    runner: Any, shown: str
) -> None:
    class Looking(_RandomPolicy):
        def __init__(self) -> None:
            super().__init__()
            self.observation = SUITE.protocol().observation

    def make_env(task: Any, protocol: Any, wants: Any) -> Any:
        from dataclasses import replace

        import numpy as np

        env = SUITE.make_env(task, protocol, wants)
        observe = env.observe

        def other() -> Observation:
            if shown == "no picture":
                return replace(observe(), images={})
            return replace(observe(), state=np.zeros(3, dtype=np.float32))

        env.observe = other  # type: ignore[method-assign]
        return env

    policy, suite = Looking(), replace(SUITE, make_env=make_env)
    stage = Stage(suite=suite, protocol=suite.protocol(), wants=policy.observation)
    records = list(runner.run(stage, policy, PLAN.episodes[:2]))
    said = "no picture 'front' of shape" if shown == "no picture" else r"shape \[3\], not \[1\]"
    assert len(records) == 2
    assert all(re.search(said, str(record.error)) for record in records)


def _suite_whose_step(break_it: Any) -> Suite:
    """Make a point-reach whose third step calls `break_it` in the episode left#2."""

    def make_env(task: Any, protocol: Any, wants: Any) -> Any:
        from vlabench_suites.point_reach import PointReachEnv

        class Env(PointReachEnv):
            def reset(self, episode):  # no annotations: cloudpickle loses their names
                super().reset(episode)
                self.key, self.count = episode.key, 0

            def step(self, action):
                self.count += 1
                if self.key == "point-reach/left#2" and self.count == 3:
                    break_it()
                return super().step(action)

        return Env(task, protocol, wants)

    return replace(SUITE, make_env=make_env)


@pytest.mark.parametrize("runner", [SerialRunner(), ProcessRunner(3)], ids=["serial", "processes"])
def test_a_simulator_that_raises_is_an_error_with_its_traceback(
    runner: Any, reference: Any
) -> None:
    suite = _suite_whose_step(lambda: 1 / 0)
    records = run(runner, suite=suite)
    assert_only(LEFT_2, records, reference, "ZeroDivisionError")
    assert "Traceback" in str(records[LEFT_2].error)
    assert records[LEFT_2].steps == 2


@pytest.mark.parametrize("runner", [SerialRunner(), ProcessRunner(3)], ids=["serial", "processes"])
def test_a_scene_whose_progress_is_no_share_costs_its_episode(runner: Any, reference: Any) -> None:
    def make_env(task: Any, protocol: Any, wants: Any) -> Any:
        from vlabench_suites.point_reach import PointReachEnv

        class Env(PointReachEnv):
            def reset(self, episode):  # no annotations: cloudpickle loses their names
                super().reset(episode)
                self.key = episode.key

            def progress(self):
                return 1.5 if self.key == "point-reach/left#2" else super().progress()

        return Env(task, protocol, wants)

    records = run(runner, suite=replace(SUITE, make_env=make_env))
    assert_only(LEFT_2, records, reference, "progress() of the scene is 1.5, expected a share")
    assert records[LEFT_2].progress is None


def test_an_episode_that_failed_says_how_near_it_came(reference: dict[str, EpisodeRecord]) -> None:
    """The gap is what is left of the way at the end, over what it was at the start."""
    policy = load_policy("noop", SUITE)
    assert {r.progress for r in run(SerialRunner(), policy=policy).values()} == {0.0}
    ends = {Outcome.FAILURE: set[Any](), Outcome.SUCCESS: set[Any]()}
    for record in reference.values():
        ends[record.outcome].add(record.progress)
    assert ends[Outcome.SUCCESS] <= {1.0}
    assert min(ends[Outcome.FAILURE]) == 0.0  # some moved away
    assert any(0 < share < 1 for share in ends[Outcome.FAILURE])  # and some came nearer


class _Steady(_RandomPolicy):
    """Goes left by 0.005 a step."""

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        return Decision(actions=np.full((len(slots), 8, 1), -0.05, dtype=np.float32))


def test_progress_is_the_share_of_the_gap_that_was_closed() -> None:
    """20 steps of 0.005 are 0.1 of a gap of 0.9 - the start's distance to the left of 0."""
    records = run(SerialRunner(), policy=_Steady())
    for record in records.values():
        start = np.random.default_rng(record.episode.scene_seed).uniform(-0.2, 0.2)
        left = record.episode.task_id == "point-reach/left"
        assert record.progress == pytest.approx(0.1 / (0.9 + start) if left else 0.0)


@pytest.mark.parametrize("runner", [SerialRunner(), ProcessRunner(2)], ids=["serial", "processes"])
def test_a_scene_that_cannot_say_its_progress_leaves_none(runner: Any) -> None:
    def make_env(task: Any, protocol: Any, wants: Any) -> Any:
        from vlabench_suites.point_reach import PointReachEnv

        return type("Env", (PointReachEnv,), {"progress": None})(task, protocol, wants)

    records = run(runner, suite=replace(SUITE, make_env=make_env), episodes=PLAN.episodes[:3])
    assert {r.progress for r in records.values()} == {None}


def test_a_worker_that_is_killed_costs_its_episode_and_is_replaced(reference: Any) -> None:
    suite = _suite_whose_step(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert_only(LEFT_2, run(ProcessRunner(2), suite=suite), reference, "signal SIGKILL")


def test_a_simulator_that_hangs_past_the_watchdog_costs_its_episode(reference: Any) -> None:
    suite = _suite_whose_step(lambda: time.sleep(3600))
    records = run(ProcessRunner(2, watchdog_seconds=4.0), suite=suite)
    assert_only(LEFT_2, records, reference, "did not answer within 4 s")


def test_a_policy_that_hangs_ends_the_run_and_says_so() -> None:
    class Hanging(_RandomPolicy):
        def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
            time.sleep(30)
            return super().act(slots, observations)

    runner = ProcessRunner(1, watchdog_seconds=2.0)
    seen = []
    with pytest.raises(PolicyHangError, match="did not answer within 2 s"):
        seen.extend(runner.run(stage_of(), Hanging(), PLAN.episodes[:2]))


SUSPENDED = """
import time
from dataclasses import replace
from vlabench import ProcessRunner, Stage, load_policy, load_suite, make_plan

who, seconds = {who!r}, 0.05

def slowly(made):
    class Slow(type(made)):
        def act(self, *asked):
            for _ in range(10 * (who == "policy")):
                time.sleep(seconds)
            return super().act(*asked)

        def step(self, action):
            time.sleep(seconds * (who == "simulator"))
            return super().step(action)

    made.__class__ = Slow
    return made

suite = load_suite("point-reach")
policy = slowly(load_policy("random", suite))
made = suite.make_env
slow = replace(suite, make_env=lambda *what: slowly(made(*what)))
stage = Stage(suite=slow, protocol=suite.protocol(), wants=policy.observation)
print("begins", flush=True)
for record in ProcessRunner(2, watchdog_seconds=3.0).run(
    stage, policy, make_plan(suite, episodes=2).episodes
):
    print(record.error or "went well", flush=True)
"""


@pytest.mark.parametrize("who", ["simulator", "policy"])
def test_a_run_that_is_suspended_for_longer_than_the_watchdog_goes_on(who: str) -> None:
    """As Ctrl-Z and batch systems do: everything stops, and nothing hangs."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUSPENDED.replace("{who!r}", repr(who))],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout
    assert [process.stdout.readline() for _ in range(2)] == ["begins\n", "went well\n"]
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(4)
    os.killpg(process.pid, signal.SIGCONT)
    said, _ = process.communicate()
    assert (process.returncode, said) == (0, "went well\n" * 3)


def test_what_passes_while_nobody_reads_the_clock_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readings = iter([100.0, 100.5, 101.5, 3701.5, 3702.0])
    monkeypatch.setattr(awake.time, "monotonic", lambda: next(readings))
    clock = awake.AwakeClock()
    assert [clock.now() for _ in range(4)] == [0.5, 1.5, 3.5, 4.0]


def test_a_run_in_which_everything_breaks_still_ends() -> None:
    suite = replace(SUITE, make_env=lambda task, protocol, wants: 1 // 0)
    for runner in (SerialRunner(), ProcessRunner(2)):
        records = run(runner, suite=suite)
        assert {record.outcome for record in records.values()} == {Outcome.ERROR}
        assert set(records) == {episode.key for episode in PLAN.episodes}


def test_success_ends_an_episode_and_the_horizon_does() -> None:
    class Left(_RandomPolicy):
        def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
            return Decision(actions=np.full((len(slots), 8, 1), -1, dtype=np.float32))

    records = run(SerialRunner(), policy=Left())
    left = [r for r in records.values() if r.episode.task_id == "point-reach/left"]
    right = [r for r in records.values() if r.episode.task_id == "point-reach/right"]
    assert {r.outcome for r in left} == {Outcome.SUCCESS}
    assert all(r.steps < 20 for r in left)
    assert {(r.outcome, r.steps, r.decisions) for r in right} == {(Outcome.FAILURE, 20, 3)}


def test_the_protocol_says_how_much_of_a_chunk_is_executed() -> None:
    protocol = replace(SUITE.protocol(), replan_steps=2)
    suite = replace(SUITE, protocols=(protocol,))
    records = run(SerialRunner(), suite=suite)
    failures = [r for r in records.values() if r.outcome is Outcome.FAILURE]
    assert failures
    assert {r.decisions for r in failures} == {10}


def test_a_suite_that_cannot_be_imported_by_name_runs_in_workers() -> None:
    plan: Plan = make_plan(SUITE, episodes=1)
    suite = replace(SUITE, make_env=lambda *arguments: SUITE.make_env(*arguments))
    assert set(run(ProcessRunner(1), suite=suite, episodes=plan.episodes)) == {
        episode.key for episode in plan.episodes
    }


UNSAFE = """
from vlabench import ProcessRunner, Stage, load_policy, load_suite, make_plan
from vlabench.errors import SimulatorError

suite = load_suite("point-reach")
policy = load_policy("random", suite)
stage = Stage(suite=suite, protocol=suite.protocol(), wants=policy.observation)
try:
    print(list(ProcessRunner(2).run(stage, policy, make_plan(suite, episodes=3).episodes)))
except SimulatorError as error:
    print(error)
"""


@pytest.mark.parametrize("way", ["from standard input", "not safe to import"])
def test_a_program_that_workers_cannot_import_is_refused_before_the_first_episode(
    way: str, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(UNSAFE)
    command = [sys.executable, "-" if way == "from standard input" else "program.py"]
    done = subprocess.run(
        command, input=UNSAFE, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("worker processes cannot start (exit status 1). They import the")


def test_an_episodes_file_has_a_name_that_file_systems_take() -> None:
    episode = replace(PLAN.episodes[0], init_index=12)
    assert episode.file_stem == "point-reach-left-12"
    long = {replace(episode, task_id="suite/" + "é" * 5000 + end).file_stem for end in "ab"}
    assert len(long) == 2
    assert all(len(name.encode()) < 100 for name in long)


def test_an_empty_queue_says_so() -> None:
    with pytest.raises(IndexError, match="no episodes are left"):
        WorkQueue((), SUITE.protocol()).take("", ())


def test_memory_is_that_of_the_process_that_simulated_and_not_of_its_parent() -> None:
    ballast = np.ones(400_000_000 // 8)  # 400 MB here
    (record,) = run(ProcessRunner(1), episodes=PLAN.episodes[:1]).values()
    assert ballast[-1] == 1
    assert 10 < record.peak_mb < 300
