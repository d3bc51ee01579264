"""Records as columns."""

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import pytest

from vlabench import EpisodeRecord, EpisodeSpec, Outcome, Run, RunHeader
from vlabench.plan import PlanRequest
from vlabench.record import Ingested, Provenance, Seconds, Trace
from vlabench.table import Results, Table, natural, results_of, tabulate


def record(task: str, state: int, repeat: int = 0, **changes: object) -> EpisodeRecord:
    plain = EpisodeRecord(
        episode=EpisodeSpec(
            task_id=task, init_index=state, repeat=repeat, scene_seed=7, policy_seed=8
        ),
        outcome=Outcome.SUCCESS,
        steps=3,
        decisions=2,
        samples=4,
        flops=5.0,
        seconds=Seconds(simulator=1.0, render=0.5, policy=0.25),
        peak_mb=100.0,
        trace=Trace(digest="a" * 32, states="b" * 8, actions="c" * 8),
        progress=1.0,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


BROKEN = {"outcome": Outcome.ERROR, "error": "it broke", "trace": None, "progress": None}


def run(episodes: Sequence[EpisodeRecord], unknown: tuple[str, ...] = ()) -> Run:
    ingested = Ingested(format="csv", sources={}, states_known=True, unknown=unknown)
    header = RunHeader(
        suite_id="s",
        suite_version=1,
        protocol="p@1",
        plan_digest="0" * 16,
        request=PlanRequest(episodes=1),
        policy_id="policy",
        provenance=Provenance(started_at="", vlabench=""),
        ingested=ingested if unknown else None,
    )
    return Run(header=header, episodes=tuple(episodes))


def columns(table: Table) -> dict[str, list[object]]:
    names = [column.name for column in fields(Table) if column.name != "tasks"]
    return {name: getattr(table, name).tolist() for name in names}


def test_rows_are_sorted_by_task_state_and_repeat_with_every_number_in_its_column() -> None:
    table = tabulate([
        record("s/10", 0, outcome=Outcome.FAILURE, progress=0.25),
        record("s/9", 1, steps=30, flops=None),
        record("s/9", 0, 1, **BROKEN),
        record("s/9", 0),
    ])  # fmt: skip
    assert table.tasks == ("s/9", "s/10")
    assert [table.key(row) for row in range(4)] == ["s/9#0", "s/9#0r1", "s/9#1", "s/10#0"]
    assert table.outcome.tolist() == [1, -1, 1, 0]
    assert table.progress[[0, 2, 3]].tolist() == [1, 1, 0.25]
    assert np.isnan(table.progress[1])
    assert table.steps.tolist() == [3, 3, 30, 3]
    assert np.isnan(table.flops).tolist() == [False, False, True, False]
    assert table.seconds.tolist() == [1.75] * 4
    assert table.trajectory.tolist() == [b"a" * 32, b"", b"a" * 32, b"a" * 32]
    assert table.place.tolist() == [-1] * 4
    assert table.errors == 1


def test_a_table_of_nothing_is_a_table() -> None:
    table = tabulate([])
    assert table.tasks == ()
    assert all(len(column) == 0 for column in columns(table).values())
    assert table.same_episodes(table.rows(table.outcome >= 0))


def test_numbers_that_a_run_does_not_have_are_no_zeros() -> None:
    unknown = ("scene_seed", "seconds", "peak_mb", "steps")
    table = results_of(run([record("s/0", 0)], unknown)).table
    for column in (table.simulator, table.render, table.policy, table.seconds, table.peak_mb):
        assert np.isnan(column).all()
    assert (table.flops.tolist(), table.decisions.tolist()) == ([5.0], [2])
    assert (table.steps.tolist(), table.seed.tolist()) == ([0], [0])


def test_progress_that_a_suite_cannot_say_is_no_zero() -> None:
    table = tabulate([record("s/0", 0, progress=None), record("s/0", 1)])
    assert np.isnan(table.progress).tolist() == [True, False]


def test_rows_of_a_task_are_the_rows_that_a_mask_gives() -> None:
    table = tabulate([record(f"s/{task}", state) for task in (2, 0, 1) for state in (1, 0)])
    for code in range(3):
        assert columns(table.of_task(code)) == columns(table.rows(table.task == code))
        assert table.of_task(code).tasks == table.tasks


def test_parts_of_a_table_join_to_the_whole() -> None:
    table = tabulate([record(f"s/{task}", state) for task in range(3) for state in range(4)])
    odd = table.state % 2 == 1
    assert columns(Table.join([table.rows(odd), table.rows(~odd)])) == columns(table)
    with pytest.raises(ValueError, match="expected the same tasks"):
        Table.join([table, tabulate([record("s/7", 0)])])


def test_other_seeds_and_other_states_are_other_episodes() -> None:
    one = tabulate([record("s/0", 0), record("s/0", 1)])
    assert one.same_episodes(tabulate([record("s/0", 1, **BROKEN), record("s/0", 0, steps=9)]))
    for other in (
        [record("s/0", 0), record("s/0", 2)],
        [record("s/0", 0)],
        [record("s/1", 0), record("s/1", 1)],
        [record("s/0", 0), record("s/0", 1, 1)],
    ):
        assert not one.same_episodes(tabulate(other))
    seeded = replace(one, seed=one.seed + 1)
    assert not one.same_episodes(seeded)


def test_what_is_read_already_is_handed_on_as_it_is() -> None:
    found = results_of(run([record("s/0", 1, **BROKEN), record("s/0", 0)]))
    assert isinstance(found, Results)
    assert results_of(found) is found
    assert found.errors == {"s/0#1": "it broke"}
    assert (found.path, found.sha256) == (None, "")


def test_a_hash_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 32 hex digits"):
        tabulate([record("s/0", 0, trace=Trace(digest="d" * 33, states="", actions=""))])


def test_numbers_in_names_sort_as_numbers() -> None:
    assert sorted(["s/10", "s/9", "r/z", "s/b", "s/²"], key=natural) == [
        "r/z", "s/b", "s/²", "s/9", "s/10",
    ]  # fmt: skip
