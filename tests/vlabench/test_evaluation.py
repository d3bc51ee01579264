"""An evaluation is ready or refused, goes on where its file ends, and keeps things beside it."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vlabench import (
    Decision,
    EpisodeSpec,
    Observation,
    Outcome,
    Policy,
    SerialRunner,
    load_policy,
    load_suite,
)
from vlabench.errors import DrawingError, RecordError, SettingError
from vlabench.evaluation import Evaluation, beside, prepare, prepare_again
from vlabench.plan import PlanRequest
from vlabench.store import read_run

LEFT = [f"point-reach/left#{state}" for state in range(4)]


class Breaking:
    """Breaks in some episodes; otherwise keeps still."""

    def __init__(self, broken: Collection[str]) -> None:
        self._still = load_policy("noop", load_suite("point-reach"))
        self.id, self.digest = self._still.id, self._still.digest
        self.observation, self.action = self._still.observation, self._still.action
        self.broken = set(broken)

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        if episode.key in self.broken:
            raise ArithmeticError("it broke")

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        return self._still.act(slots, observations)


def breaking(*broken: str, episodes: int = 4) -> Evaluation:
    def wrap(_: Policy) -> Policy:
        return Breaking(broken)

    request = {"tasks": "left", "episodes": episodes}
    return prepare("point-reach", "noop", request=request, wrap=wrap)


def ran(evaluation: Evaluation, path: Path, **options: Any) -> list[str]:
    """What was run, in order."""
    (_, nothing), *rest = evaluation.run(SerialRunner(), path, **options)
    assert nothing is None
    return [record.episode.key for _, record in rest if record]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def test_a_run_goes_on_where_its_file_ends_which_it_hands_out_first(path: Path) -> None:
    first = breaking().run(SerialRunner(), path)
    found, nothing = next(first)
    assert (found.episodes, nothing) == ((), None)
    for key in LEFT[:2]:
        _, record = next(first)
        assert record
        assert read_run(path).episodes[-1] == record  # on disk when it is handed out
        assert record.episode.key == key
    first.close()
    there = read_run(path)
    for found, _ in breaking().run(SerialRunner(), path):
        assert found == there
    assert [record.episode.key for record in read_run(path).episodes] == LEFT


def test_errors_are_run_again_when_asked_and_nothing_else_is(path: Path) -> None:
    assert ran(breaking(*LEFT[1:3]), path) == LEFT
    assert ran(breaking(), path) == []
    assert ran(breaking(LEFT[2]), path, retry_errors=True) == LEFT[1:3]
    outcomes = {record.episode.key: record.outcome for record in read_run(path).episodes}
    assert [key for key, outcome in outcomes.items() if outcome is Outcome.ERROR] == [LEFT[2]]


@pytest.mark.parametrize(
    ("broken", "most", "count"),
    [
        (LEFT, 1, 1),
        (LEFT, 3, 3),
        (LEFT, None, 4),
        (LEFT[:2], 2, 2),
        (LEFT[:2], 3, 4),
        (LEFT[1:], 1, 4),  # the first was good
    ],
)
def test_a_run_stops_after_so_many_errors_if_nothing_else_came_back(
    broken: list[str], most: int | None, count: int, path: Path
) -> None:
    assert ran(breaking(*broken), path, max_errors=most) == LEFT[:count]
    assert len(read_run(path).episodes) == count


def test_errors_of_an_earlier_process_do_not_count(path: Path) -> None:
    ran(breaking(*LEFT), path, max_errors=2)
    assert ran(breaking(*LEFT), path, max_errors=2) == LEFT[2:]


def test_the_default_path_says_what_was_asked_for_and_is_another_for_another_run() -> None:
    folder = Path("results")

    def place(policy: str = "noop", settings: dict[str, str] | None = None, **request: Any) -> Path:
        asked = {"episodes": 3, "seed": 7, **request}
        made = prepare("point-reach", policy, request=asked, settings=settings)
        return made.default_path(folder)

    name = place().name
    assert place().parent == folder / "point-reach" / "noop"
    assert name.startswith("standard-e3-s7-")
    assert name.endswith(".jsonl")
    assert len(name) == len("standard-e3-s7-.jsonl") + 8
    assert place() == place()
    others = [
        place(settings={"chunk": "4"}),
        place(tasks="left"),
        place(repeats=2),
        place("random"),
    ]
    assert len({place(), *others}) == 5


def test_videos_and_actions_lie_beside_the_file_when_asked_for(path: Path) -> None:
    evaluation = breaking()
    plain = evaluation.keeping(path).stage
    assert (plain.film.which, plain.actions_folder) == ("none", None)
    kept = evaluation.keeping(path, video="failures", actions=True).stage
    assert (kept.film.which, kept.film.folder) == ("failures", path.with_name("run.videos"))
    assert kept.actions_folder == path.with_name("run.actions")
    assert beside(Path("a.b/run.x.jsonl"), "videos") == Path("a.b/run.x.videos")


def test_what_cannot_be_filmed_is_refused_before_it_runs(path: Path) -> None:
    def nothing_draws() -> str:
        raise DrawingError("no OpenGL here")

    evaluation = breaking()
    blind = replace(evaluation, suite=replace(evaluation.suite, film=None))
    with pytest.raises(DrawingError, match="suite 'point-reach' has no camera to film with"):
        blind.keeping(path, video="all")
    undrawn = replace(evaluation, suite=replace(evaluation.suite, drawing=nothing_draws))
    with pytest.raises(DrawingError, match="no OpenGL here"):
        undrawn.keeping(path, video="failures")
    for unable in (blind, undrawn):
        assert unable.keeping(path, actions=True).stage.film.which == "none"


def test_the_header_says_what_was_asked_for_and_planned() -> None:
    made = prepare(
        "point-reach",
        "random",
        request=PlanRequest(tasks="*", episodes=3, repeats=2, seed=7),
        settings={"chunk": "4"},
        workers=5,
    )
    header = made.header
    assert header.request == PlanRequest(tasks="*", episodes=3, repeats=2, seed=7)
    assert header.planned == {"point-reach/left": 6, "point-reach/right": 6}
    assert (header.plan_digest, len(made.plan.episodes)) == (made.plan.digest, 12)
    assert (header.suite_id, header.suite_version, header.protocol) == (
        "point-reach", 1, "standard@1",
    )  # fmt: skip
    assert (header.policy_id, header.policy_digest) == ("random", "")
    assert (header.cameras, header.privileged) == ((), False)
    assert header.settings == {"chunk": "4"}
    assert (header.provenance.workers, header.provenance.gl) == (5, "none")


def test_a_setting_that_nobody_takes_is_refused_with_who_takes_what() -> None:
    with pytest.raises(SettingError) as found:
        prepare("point-reach", "noop", request={"episodes": 1}, settings={"chnk": "1"})
    assert str(found.value).endswith("suite 'point-reach': nothing; policy 'noop': chunk")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"physics": "slow"}, "suite 'libero-goal': physics='slow', expected one of "),
        ({"chunk": "slow"}, "policy 'noop': chunk='slow', expected int"),
    ],
)
def test_a_value_that_is_none_is_refused_with_whose_setting_it_is(
    setting: dict[str, str], message: str
) -> None:
    pytest.importorskip("libero")
    with pytest.raises(SettingError, match=message):
        prepare("libero-goal", "noop", request={"episodes": 1}, settings=setting)


def test_a_policy_that_sees_what_no_robot_sees_is_marked() -> None:
    header = prepare("point-reach", "point-reach-expert", request={"episodes": 1}).header
    assert header.privileged


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"suite_version": 2}, "with suite version 2 and what is installed now has 1"),
        ({"plan_digest": "f" * 16}, "with plan ffffffffffffffff and what is installed now has "),
        ({"policy_digest": "abc"}, "with policy digest abc and what is installed now has ;"),
    ],
)
def test_a_run_is_not_prepared_again_where_something_else_is_installed(
    changes: dict[str, Any], message: str
) -> None:
    header = breaking().header
    assert prepare_again(header).plan == breaking().plan
    with pytest.raises(RecordError) as found:
        prepare_again(replace(header, **changes))
    assert message in str(found.value)


def test_a_run_is_prepared_again_with_its_settings_but_for_those_that_are_changed() -> None:
    header = prepare(
        "point-reach", "random", request={"episodes": 1}, settings={"chunk": "4"}, workers=3
    ).header
    again = prepare_again(header, workers=2)
    assert again.header.settings == {"chunk": "4"}
    assert again.header.provenance.workers == 2
    assert prepare_again(header, settings={"chunk": "2"}).header.settings == {"chunk": "2"}
