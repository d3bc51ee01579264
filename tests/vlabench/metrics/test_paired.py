"""Every verdict where it belongs, and nothing compared that is not the same thing."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multinomial, ttest_ind

from vlabench import (
    EpisodeRecord,
    EpisodeSpec,
    Outcome,
    Rules,
    Run,
    RunHeader,
    Verdict,
    compare_runs,
)
from vlabench.metrics import compare_all, group_letters
from vlabench.metrics.comparison import Subject
from vlabench.metrics.intervals import edged_wilson, normal_quantile, tango
from vlabench.metrics.rates import rate_of, success_of
from vlabench.metrics.wording import sentence
from vlabench.plan import PlanRequest
from vlabench.record import Fingerprint, Provenance, Trace
from vlabench.table import results_of

property_test = settings(deadline=None, max_examples=15)
HEADER = RunHeader(
    suite_id="s",
    suite_version=1,
    protocol="p@1",
    plan_digest="plan",
    request=PlanRequest(episodes=4),
    policy_id="a",
    fingerprint=Fingerprint(versions={"mujoco": "3.3.0"}),
    provenance=Provenance(started_at="now", vlabench="0"),
)
OUTCOMES = {"1": Outcome.SUCCESS, "0": Outcome.FAILURE, "x": Outcome.ERROR}


def run(*tasks: str, repeats: int = 1, **header: object) -> Run:
    """A run from strings, one a task: `1101` is three successes of four, `x` an error."""
    episodes = tuple(
        EpisodeRecord(
            episode=EpisodeSpec(
                task_id=f"s/{task}",
                init_index=index // repeats,
                repeat=index % repeats,
                scene_seed=index // repeats,
                policy_seed=index,
            ),
            outcome=OUTCOMES[letter],
            error="it broke" if letter == "x" else None,
        )
        for task, letters in enumerate(tasks)
        for index, letter in enumerate(letters)
    )
    return Run(header=replace(HEADER, **header), episodes=episodes)  # type: ignore[arg-type]


A = run("1" * 50 + "0" * 50, "1" * 60 + "0" * 40)
BETTER = run("1" * 70 + "0" * 30, "1" * 75 + "0" * 25)


def test_better_and_worse_are_mirror_images() -> None:
    up, down = compare_runs(A, BETTER), compare_runs(BETTER, A)
    assert (up.verdict, down.verdict) == (Verdict.BETTER, Verdict.WORSE)
    assert up.evidence
    assert down.evidence
    assert up.evidence.difference.value == pytest.approx(0.175)
    assert up.evidence.difference.low == pytest.approx(-down.evidence.difference.high)
    assert up.evidence.p_value == down.evidence.p_value < 0.001
    assert up.evidence.pairs
    assert (up.evidence.pairs.both, up.evidence.pairs.only_b) == (110, 35)
    assert up.evidence.pairs.n == up.evidence.difference.n == 200


def test_equal_runs_are_equivalent_when_they_are_long_enough() -> None:
    long, short = run("10" * 100, "1" * 200), run("10" * 5, "1" * 10)
    assert compare_runs(long, long).verdict is Verdict.EQUIVALENT
    found = compare_runs(short, short)
    assert found.verdict is Verdict.UNDERPOWERED
    assert found.needed
    assert found.needed.episodes > 20
    wide = compare_runs(short, short, rules=Rules(margin=0.3))
    assert wide.verdict is Verdict.EQUIVALENT


def test_too_few_episodes_say_how_many_would_do() -> None:
    found = compare_runs(run("1100", "1010"), run("1101", "0111"))
    assert found.verdict is Verdict.UNDERPOWERED
    assert found.needed
    assert found.needed.effect == 0.03
    assert found.needed.episodes > 1000
    assert "contains 0" in found.reasons[0]


def test_a_difference_needs_the_interval_and_the_test() -> None:
    # Five of five discordant pairs: Tango's interval leaves 0 out, exact McNemar gives 0.0625.
    found = compare_runs(run("0" * 5 + "1" * 10), run("1" * 15))
    assert found.evidence
    assert found.evidence.difference.low > 0
    assert found.evidence.p_value == 0.0625
    assert found.verdict is Verdict.UNDERPOWERED
    assert "the test does not reject" in found.reasons[0]


def test_a_difference_within_the_margin_is_real_and_small() -> None:
    found = compare_runs(A, BETTER, rules=Rules(margin=0.5))
    assert found.verdict is Verdict.BETTER
    assert found.reasons[1].endswith("real, and small")


def test_one_task_without_repeats_has_tangos_interval() -> None:
    evidence = compare_runs(run("1100" * 10), run("1010" * 9 + "1111")).evidence
    assert evidence
    assert evidence.pairs
    expected = tango(evidence.pairs.only_b, evidence.pairs.only_a, 40, normal_quantile(0.95))
    found = (evidence.difference.low, evidence.difference.high)
    assert found == pytest.approx([float(x) for x in expected], abs=1e-9)
    assert evidence.new_tasks is None
    (task,) = evidence.tasks
    assert task.p_value == task.p_adjusted == evidence.p_value


def test_repeats_of_one_initial_state_are_no_new_pairs() -> None:
    a, b = "0" * 8 + "1" * 8, "1" * 6 + "0" * 2 + "1" * 8
    four = ["".join(4 * letter for letter in letters) for letters in (a, b)]
    once = compare_runs(run(a, a), run(b, b)).evidence
    repeated = compare_runs(
        run(four[0], four[0], repeats=4), run(four[1], four[1], repeats=4)
    ).evidence
    assert once
    assert repeated
    assert repeated.p_value == once.p_value
    width, wide = (e.difference.high - e.difference.low for e in (repeated, once))
    assert width == pytest.approx(wide, rel=0.05)


def test_tasks_that_differ_are_found_with_holm() -> None:
    a = run("0" * 30, "10" * 15, "10" * 15)
    b = run("1" * 15 + "0" * 15, "10" * 15, "10" * 15)
    evidence = compare_runs(a, b).evidence
    assert evidence
    first, *others = evidence.tasks
    assert first.p_adjusted == pytest.approx(3 * first.p_value)
    assert first.p_adjusted < 0.001
    assert [task.p_adjusted for task in others] == [1, 1]
    assert first.pairs
    assert (first.rate_a.value, first.rate_b.value, first.pairs.only_b) == (0, 0.5, 15)
    assert first.rate_b.low == pytest.approx(float(edged_wilson(15, 30, normal_quantile(0.95))[0]))


def _moved(found: Run, prefixes: Sequence[str]) -> Run:
    """The same run, with other beginnings of its tasks."""
    episodes = []
    for record in found.episodes:
        number = record.episode.task_id.removeprefix("s/")
        task_id = f"{prefixes[int(number)]}/{number}"
        episodes.append(replace(record, episode=replace(record.episode, task_id=task_id)))
    return replace(found, episodes=tuple(episodes))


@pytest.mark.parametrize("unpaired", [False, True])
def test_a_group_of_tasks_is_compared_as_if_it_were_alone(unpaired: bool) -> None:
    a = run("0" * 30, "10" * 15, "10" * 15)
    b = run("1" * 15 + "0" * 15, "10" * 14 + "11", "10" * 15)
    rules, prefixes = Rules(unpaired=unpaired), ("goal", "goal", "object")
    found = compare_runs(_moved(a, prefixes), _moved(b, prefixes), rules=rules).evidence
    alone = compare_runs(run("0" * 30, "10" * 15), run("1" * 15 + "0" * 15, "10" * 14 + "11"),
                         rules=rules).evidence  # fmt: skip
    assert found
    assert alone
    goal, other = found.groups
    assert (goal.name, other.name) == ("goal/*", "object/*")
    assert (goal.difference, goal.pairs) == (alone.difference, alone.pairs)
    assert (goal.rate_a, goal.rate_b) == (alone.rate_a, alone.rate_b)
    assert goal.p_value == alone.p_value
    assert goal.p_adjusted == pytest.approx(2 * goal.p_value)
    assert other.difference.value == 0
    assert alone.groups == ()  # one group is all there is


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"suite_version": 2}, "suites differ: s@1 in A, s@2 in B"),
        ({"protocol": "p@2"}, "protocols differ: p@1 in A, p@2 in B"),
        ({"plan_digest": "other"}, "plans differ: .* or say --unpaired"),
        (
            {"fingerprint": Fingerprint(versions={"mujoco": "3.4.0"})},
            r"simulator versions differ: mujoco 3\.3\.0 in A, mujoco 3\.4\.0 in B",
        ),
        (
            {"fingerprint": Fingerprint(versions={"mujoco": "3.3.0"}, mismatches=("bowl",))},
            "B was not made under p@1: bowl",
        ),
    ],
)
def test_what_is_not_the_same_is_not_compared(changes: dict[str, object], reason: str) -> None:
    found = compare_runs(run("1100"), run("1100", **changes))
    assert found.verdict is Verdict.NOT_COMPARABLE
    assert found.evidence is None
    (said,) = found.reasons
    assert re.match(reason, said), said


def test_every_reason_is_listed() -> None:
    found = compare_runs(run("110x"), run("1100", protocol="p@2", suite_version=2))
    assert len(found.reasons) == 3


def test_episodes_that_are_missing_are_not_zero() -> None:
    found = compare_runs(run("1100"), run("110"))
    assert found.verdict is Verdict.NOT_COMPARABLE
    assert "4 in A, 3 in B" in found.reasons[0]
    assert compare_runs(run("1"), run()).reasons == ("B has no episodes",)


def test_an_error_is_no_failure_unless_asked() -> None:
    a, b = run("1100x1", "110011"), run("111001", "1x0011")
    assert "A has 1 errors among 12 episodes" in compare_runs(a, b).reasons[0]
    excluded = compare_runs(a, b, rules=Rules(on_error="exclude")).evidence
    assert excluded
    assert excluded.difference.n == 10
    assert excluded.bounds == (pytest.approx(-1 / 12), pytest.approx(1 / 12))
    failed = compare_runs(a, b, rules=Rules(on_error="as-failure")).evidence
    assert failed
    assert failed.difference.n == 12
    assert failed.bounds is None
    broken = compare_runs(run("xx"), run("11"), rules=Rules(on_error="exclude"))
    assert broken.reasons == ("no episode ended in both runs",)


def test_bounds_hold_every_way_that_errors_might_have_ended() -> None:
    a, b = "110x", "1x00"
    evidence = compare_runs(run(a), run(b), rules=Rules(on_error="exclude")).evidence
    assert evidence
    assert evidence.bounds
    values = [
        compare_runs(run(a.replace("x", x)), run(b.replace("x", y))).evidence
        for x in "01"
        for y in "01"
    ]
    differences = [value.difference.value for value in values if value]
    assert evidence.bounds == (min(differences), max(differences))
    alone = compare_runs(run(a), run(b), rules=Rules(on_error="exclude", unpaired=True)).evidence
    assert alone
    assert alone.bounds == evidence.bounds


def test_unequal_plans_are_compared_when_asked() -> None:
    a = run("1" * 20 + "0" * 20, "1" * 20 + "0" * 20)
    b = run("1" * 28 + "0" * 2, "1" * 28 + "0" * 2, plan_digest="other")
    found = compare_runs(a, b, rules=Rules(unpaired=True))
    assert found.verdict is Verdict.BETTER
    assert found.evidence
    assert found.evidence.pairs is None
    assert found.evidence.test == "exact stratified test"
    assert len(found.evidence.tasks) == 2
    other = run("1" * 28, plan_digest="other")
    assert compare_runs(a, other, rules=Rules(unpaired=True)).reasons == (
        "1 tasks are in one run only, s/1 for one",
    )


def test_pairs_see_what_independent_episodes_do_not() -> None:
    a, b = run("01" * 40 + "0" * 20), run("01" * 40 + "1" * 10 + "0" * 10)
    paired, unpaired = compare_runs(a, b), compare_runs(a, b, rules=Rules(unpaired=True))
    assert paired.verdict is Verdict.BETTER
    assert unpaired.verdict is Verdict.UNDERPOWERED
    assert unpaired.needed
    assert unpaired.needed.episodes > 1000


def test_notes_say_what_a_reader_must_know() -> None:
    note = Fingerprint(versions={}, mismatches=("bowl",))
    a = run("1010", fingerprint=note, privileged=True)
    b = run("1010", fingerprint=note, settings={"chunk": "8"})
    assert compare_runs(a, b).notes == (
        "A sees privileged state, which no robot has",
        "B has settings chunk=8",
        "both NOT COMPARABLE with others: bowl",
    )


def test_many_runs_share_letters_unless_told_apart() -> None:
    found = compare_all([A, BETTER, A], names=["one", "two", "three"])
    assert [(c.a, c.b) for c in found] == [("one", "two"), ("one", "three"), ("two", "three")]
    assert found[0].evidence
    assert found[0].evidence.p_adjusted == 3 * found[0].evidence.p_value
    assert group_letters(found) == {"two": "a", "one": "b", "three": "b"}
    apart = compare_all([A, BETTER, run("1", protocol="p@2")], names=["one", "two", "three"])
    assert group_letters(apart) == {}


def test_rules_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="a margin of 3 is no share"):
        Rules(margin=3)
    with pytest.raises(ValueError, match="a confidence of 95 is no share"):
        Rules(confidence=95)


RUNS = st.integers(2, 3).flatmap(
    lambda tasks: st.lists(
        st.integers(3, 10).flatmap(
            lambda n: st.tuples(
                st.text("01", min_size=n, max_size=n), st.text("01", min_size=n, max_size=n)
            )
        ),
        min_size=tasks,
        max_size=tasks,
    )
)


@property_test
@given(RUNS, st.integers(), st.booleans())
def test_swapping_negates_and_order_changes_nothing(
    tasks: list[tuple[str, str]], seed: int, unpaired: bool
) -> None:
    a, b = run(*(x for x, _ in tasks)), run(*(y for _, y in tasks))
    rules = Rules(unpaired=unpaired)
    there, back = compare_runs(a, b, rules=rules).evidence, compare_runs(b, a, rules=rules).evidence
    assert there
    assert back
    for one, other in ((there.difference, back.difference), (there.new_tasks, back.new_tasks)):
        if one and other:
            assert one.low <= one.value <= one.high
            assert (one.low, one.value, one.high) == pytest.approx(
                (-other.high, -other.value, -other.low), abs=1e-9
            )
    assert there.p_value == pytest.approx(back.p_value)
    shuffled = replace(b, episodes=tuple(Random(seed).sample(b.episodes, len(b.episodes))))
    assert compare_runs(a, shuffled, rules=rules) == compare_runs(a, b, rules=rules)


@property_test
@given(RUNS)
def test_more_pairs_make_it_narrower(tasks: list[tuple[str, str]]) -> None:
    one = compare_runs(run(*(x for x, _ in tasks)), run(*(y for _, y in tasks))).evidence
    four = compare_runs(run(*(4 * x for x, _ in tasks)), run(*(4 * y for _, y in tasks))).evidence
    assert one
    assert four
    assert four.difference.high - four.difference.low < one.difference.high - one.difference.low


@cache
def verdict(gained: int, lost: int, n: int, margin: float) -> Verdict:
    both = "1" * (n - gained - lost)
    a, b = run("0" * gained + "1" * lost + both), run("1" * gained + "0" * lost + both)
    return compare_runs(a, b, rules=Rules(margin=margin)).verdict


def chance(verdicts: set[Verdict], gained: float, lost: float, margin: float) -> float:
    """Exact chance of a verdict on 10 pairs: the sum over all tables."""
    shares = [gained, lost, 1 - gained - lost]
    tables = [(b, c, 10 - b - c) for b in range(11) for c in range(11 - b)]
    return sum(
        float(multinomial.pmf(table, 10, shares))
        for table in tables
        if verdict(*table[:2], 10, margin) in verdicts
    )


@pytest.mark.parametrize("discordance", [0.05, 0.3, 0.8])
def test_equal_policies_are_told_apart_in_five_percent_at_most(discordance: float) -> None:
    different = {Verdict.BETTER, Verdict.WORSE}
    assert chance(different, discordance / 2, discordance / 2, 0.03) <= 0.05
    assert chance(different, 0.8, 0, 0.03) > 0.9


def test_policies_a_margin_apart_are_rarely_equivalent() -> None:
    assert chance({Verdict.EQUIVALENT}, 0.5, 0.0, 0.5) <= 0.05
    assert chance({Verdict.EQUIVALENT}, 0.0, 0.0, 0.5) == pytest.approx(1)


def test_runs_and_results_are_compared_alike() -> None:
    broken = run("1" * 50 + "x" * 50, "1" * 60 + "0" * 40)
    rules = Rules(on_error="exclude")
    for a, b in ((A, BETTER), (A, broken)):
        wanted = compare_runs(a, b, rules=rules)
        assert compare_runs(results_of(a), results_of(b), rules=rules) == wanted
        assert compare_runs(a, results_of(b), rules=rules) == wanted


def test_a_run_that_was_stopped_early_is_called_unfinished() -> None:
    whole, part = run("1100", "1010"), run("1100", "10")
    found = compare_runs(whole, part, rules=Rules(unpaired=True))
    (note,) = [note for note in found.notes if "not finished" in note]
    assert note.startswith("B is not finished, 6 of 8 episodes; one that was stopped for what it ")
    assert not compare_runs(whole, whole).notes


def test_repeats_of_a_state_are_no_independent_episodes_without_pairs_either() -> None:
    def repeated(states: str, **header: object) -> Run:
        return run("".join(letter * 10 for letter in states), repeats=10, **header)

    one, other = repeated("1100000000", plan_digest="x"), repeated("1111110000")
    (found,) = compare_all([one, other], names=["A", "B"], rules=Rules(unpaired=True))
    assert found.evidence
    # Ten states each, as if each had been met once; a hundred episodes would give p = 1e-8.
    welch = ttest_ind([1] * 2 + [0] * 8, [1] * 6 + [0] * 4, equal_var=False)
    assert found.evidence.p_value == pytest.approx(welch.pvalue, abs=1e-9)
    assert found.verdict is Verdict.UNDERPOWERED
    assert group_letters([found]) == {"B": "a", "A": "a"}


def test_without_pairs_the_test_keeps_to_tasks_as_the_interval_does() -> None:
    """Ten tasks that are all solved or all failed, one of which turns: pooled, p is 0.168."""
    tasks = ["1" * 10] * 5 + ["0" * 10] * 5
    found = compare_runs(
        run(*tasks), run(*tasks[:5], "1" * 10, *tasks[6:], plan_digest="y"),
        rules=Rules(unpaired=True),
    )  # fmt: skip
    assert found.verdict is Verdict.BETTER
    assert found.evidence
    assert found.evidence.p_value == pytest.approx(2 / 184756)  # of 20 choose 10 tables
    assert found.evidence.difference.value == pytest.approx(0.1)


def test_a_trajectory_that_came_out_twice_and_otherwise_is_a_contradiction() -> None:
    def traced(letters: str, digests: str, repeats: int = 1, **header: object) -> Run:
        plain = run(letters, repeats=repeats, **header)
        episodes = tuple(
            replace(record, trace=Trace(digest=digest * 32, states="0" * 8, actions="0" * 8))
            for record, digest in zip(plain.episodes, digests, strict=True)
        )
        return replace(plain, episodes=episodes)

    one = traced("1110", "abcd")
    for other in (traced("1010", "abcd"), traced("10", "ba", 2)):
        for rules in (Rules(), Rules(unpaired=True)):
            found = compare_runs(one, other, rules=rules)
            assert found.verdict is Verdict.NOT_COMPARABLE
            assert found.reasons[0].startswith("s/0#")
            assert "went the same way, to the last bit, in A and in B" in found.reasons[0]
    for other in (traced("1110", "abcd"), traced("1010", "axcd"), traced("1x10", "abcd")):
        found = compare_runs(one, other, rules=Rules(on_error="exclude"))
        assert found.verdict is not Verdict.NOT_COMPARABLE


def test_a_single_run_a_side_is_never_about_the_methods() -> None:
    found = compare_runs(A, replace(BETTER, header=replace(HEADER, policy_digest="x")))
    assert found.subject is Subject.CHECKPOINTS
    assert sentence(found).endswith("p < 0.001, about these checkpoints")
    assert sentence(compare_runs(A, BETTER)).endswith("p < 0.001, about these policies")


def test_privilege_of_one_side_is_noted() -> None:
    a, b = run("1010", privileged=True), run("1010")
    assert compare_runs(a, b).notes == ("A sees privileged state, which no robot has",)
    assert compare_runs(b, a).notes == ("B sees privileged state, which no robot has",)
    (found,) = compare_all([[a, replace(b, header=replace(b.header, policy_digest="x"))], b],
                           names=["A", "B"])  # fmt: skip
    assert "A sees privileged state, which no robot has" in found.notes


def test_what_is_surely_not_zero_but_not_by_the_test_is_no_verdict() -> None:
    """Only interval and test together decide, in either direction."""
    up, down = run("0" * 5 + "1" * 10), run("1" * 15)
    for a, b in ((up, down), (down, up)):
        found = compare_runs(a, b)
        assert found.verdict is Verdict.UNDERPOWERED
        assert "the test does not reject" in found.reasons[0]


def test_equivalence_among_many_holds_for_all_of_them_together() -> None:
    runs = [run("10" * 60 + "1" * 30)] * 4
    alone = compare_runs(runs[0], runs[1], rules=Rules(margin=0.03))
    assert alone.verdict is Verdict.EQUIVALENT
    assert alone.evidence
    assert alone.evidence.wider is None
    found = compare_all(runs, names=list("ABCD"), rules=Rules(margin=0.03))
    for each in found:
        assert each.verdict is Verdict.UNDERPOWERED
        assert "all 6 comparisons hold together is not" in each.reasons[0]
        assert each.evidence
        assert each.evidence.wider
        assert each.evidence.wider.high > 0.03 > each.evidence.difference.high
    apart = compare_all(runs, names=list("ABCD"), rules=Rules(margin=0.1))
    assert {each.verdict for each in apart} == {Verdict.EQUIVALENT}


def test_one_state_says_nothing_of_others_however_often_it_was_met() -> None:
    found = compare_runs(run("0" * 50, repeats=50), run("1" * 50, repeats=50))
    assert found.evidence
    assert (found.evidence.difference.low, found.evidence.difference.high) == (-1, 1)
    assert found.verdict is Verdict.UNDERPOWERED


@property_test
@given(RUNS, st.integers(1, 3))
def test_success_and_failure_may_change_places(tasks: list[tuple[str, str]], repeats: int) -> None:
    """Each interval of a rate is mirrored, whatever is called success."""
    swapped = str.maketrans("01", "10")
    letters = [x * repeats if repeats > 1 else x for x, _ in tasks]
    one, other = (
        results_of(run(*each, repeats=repeats)).table
        for each in (letters, [x.translate(swapped) for x in letters])
    )
    for found, mirrored in (
        (rate_of(one), rate_of(other)),
        (rate_of(one, tasks="new"), rate_of(other, tasks="new")),
        (success_of(one), success_of(other)),
    ):
        assert (found.low, found.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))


def test_a_group_on_which_runs_differ_is_named_where_all_tasks_together_do_not_tell() -> None:
    one = run("0" * 40, "10" * 20)
    other = run("1" * 10 + "0" * 30, "01" * 20)
    groups = {"first": ["s/0"], "second": ["s/1"]}
    (found,) = compare_all([one, other], names=["A", "B"], rules=Rules(groups=groups))
    assert found.verdict is Verdict.UNDERPOWERED
    (note,) = [note for note in found.notes if " alone, " in note]
    assert note.startswith("on first alone, B less A is 25.0 points [")
    assert note.endswith("p = 0.004 after Holm over groups")  # 2 * 2^-9


# ---- methods of several trainings


def rates(*trainings: Run) -> list[float]:
    return [float(results_of(one).table.outcome.mean()) for one in trainings]


# Two tasks of ten states each.
def trained(digest: str, *tasks: str) -> Run:
    return run(*tasks, policy_digest=digest)


OLD = [
    trained("old 0", "1" * 4 + "0" * 6, "1" * 5 + "0" * 5),
    trained("old 1", "1" * 5 + "0" * 5, "1" * 5 + "0" * 5),
]
NEW = [trained(f"new {n}", "1" * n + "0" * (10 - n), "1" * 9 + "0") for n in (8, 9, 7)]


def test_methods_differ_by_the_mean_over_their_trainings() -> None:
    (found,) = compare_all([OLD, NEW], names=["A", "B"])
    assert found.evidence
    assert found.subject is Subject.METHODS
    assert found.evidence.difference.value == pytest.approx(
        np.mean(rates(*NEW)) - np.mean(rates(*OLD)), abs=1e-12
    )
    assert found.evidence.trainings == (2, 3)
    assert found.evidence.pairs is None
    assert found.verdict is Verdict.BETTER
    assert sentence(found).startswith("B is BETTER than A by 37.5 points [")
    assert "3 and 2 trainings, n = 20 initial states" in sentence(found)
    assert sentence(found).endswith("about the methods")


def test_the_trainings_are_the_sample_and_states_beside_them() -> None:
    (found,) = compare_all([OLD, NEW], names=["A", "B"])
    assert found.evidence
    assert found.evidence.checkpoints
    student = ttest_ind(rates(*NEW), rates(*OLD)).confidence_interval(0.95)
    estimate, checkpoints = found.evidence.difference, found.evidence.checkpoints
    assert estimate.n == 5
    assert "3 degrees of freedom" in estimate.method
    # What a method does in a state adds to what trainings differ by; draws are in both, once.
    assert estimate.low <= min(student.low, checkpoints.low)
    assert estimate.high >= max(student.high, checkpoints.high)
    assert found.evidence.p_value > ttest_ind(rates(*NEW), rates(*OLD)).pvalue
    assert found.evidence.p_value < 0.05


def test_trainings_that_differ_by_luck_alone_have_students_interval() -> None:
    """Where no state is a method's own, nothing is added to the variance between trainings."""
    sides = [
        [trained(f"{side}{n}", *("".join(rng.choice(["0", "1"], 40)) for _ in range(10)))
         for n in range(6)]
        for side, rng in (("a", np.random.default_rng(1)), ("b", np.random.default_rng(2)))
    ]  # fmt: skip
    (found,) = compare_all(sides, names=["A", "B"])
    assert found.evidence
    assert found.evidence.checkpoints
    student = ttest_ind(rates(*sides[1]), rates(*sides[0])).confidence_interval(0.95)
    states = found.evidence.checkpoints
    wider = (min(student.low, states.low), max(student.high, states.high))
    estimate = found.evidence.difference
    assert (estimate.low, estimate.high) == pytest.approx(wider, abs=0.004)


def test_a_method_of_one_training_is_as_uncertain_as_one_of_the_others() -> None:
    (found,) = compare_all([OLD[0], NEW], names=["A", "B"])
    assert found.evidence
    spread = np.std(rates(*NEW), ddof=1) * (1 + 1 / 3) ** 0.5 * 4.303  # Student, 2 degrees
    estimate = found.evidence.difference
    assert (estimate.high - estimate.low) / 2 >= 0.99 * spread
    assert "spread between trainings taken to be alike in both" in found.evidence.test


def test_unequal_numbers_of_trainings_are_no_surer_than_welch() -> None:
    wild = [trained(f"w{n}", "1" * n + "0" * (10 - n), "0" * 10) for n in (1, 9)]
    tame = [trained(f"t{n}", "1" * 5 + "0" * 5, "0" * (10 - n % 2) + "1" * (n % 2))
            for n in range(8)]  # fmt: skip
    (found,) = compare_all([wild, tame], names=["A", "B"])
    assert found.evidence
    error = (np.var(rates(*wild), ddof=1) / 2 + np.var(rates(*tame), ddof=1) / 8) ** 0.5
    estimate = found.evidence.difference
    assert (estimate.high - estimate.low) / 2 >= 2.306 * error  # Student, 8 degrees of freedom


def test_trainings_that_agree_to_the_last_outcome_leave_an_interval() -> None:
    sides = [
        [trained(f"{x}{n}", "1" * 10, "1" * last + "0" * (10 - last)) for n in range(3)]
        for x, last in (("a", 10), ("b", 9))
    ]
    (found,) = compare_all(sides, names=["A", "B"])
    assert found.evidence
    assert found.evidence.difference.low < -0.1 < 0.05 < found.evidence.difference.high
    assert found.verdict is Verdict.UNDERPOWERED


def test_trainings_without_pairs_are_the_sample_too() -> None:
    others = [replace(one, header=replace(one.header, plan_digest="z")) for one in NEW]
    (found,) = compare_all([OLD, others], names=["A", "B"], rules=Rules(unpaired=True))
    assert found.evidence
    assert found.subject is Subject.METHODS
    student = ttest_ind(rates(*NEW), rates(*OLD)).confidence_interval(0.95)
    assert found.evidence.difference.low <= student.low
    assert found.evidence.difference.high >= student.high
    assert found.evidence.new_tasks is None


def test_groups_and_tasks_of_methods_are_about_the_methods() -> None:
    rules = Rules(groups={"first": ["s/0"], "second": ["s/1"]})
    (found,) = compare_all([OLD, NEW], names=["A", "B"], rules=rules)
    assert found.evidence
    for effect in (*found.evidence.groups, *found.evidence.tasks):
        assert effect.difference.question.startswith(
            "difference in success on these tasks, over tr"
        )
        assert effect.difference.n == 5


def test_a_training_in_which_every_episode_broke_decides_nothing() -> None:
    broken = trained("broken", "x" * 10, "x" * 10)
    rules = Rules(on_error="exclude")
    (found,) = compare_all([OLD, [NEW[0], broken]], names=["A", "B"], rules=rules)
    assert found.verdict is Verdict.NOT_COMPARABLE
    assert found.reasons == ("no initial state ended in every training",)


def test_methods_on_one_task_have_nothing_to_say_of_new_tasks() -> None:
    sides = [[trained(f"{x}{n}", "1" * k + "0" * (20 - k)) for n, k in enumerate(each)]
             for x, each in (("a", (5, 6)), ("b", (12, 14)))]  # fmt: skip
    (found,) = compare_all(sides, names=["A", "B"])
    assert found.evidence
    assert found.evidence.new_tasks is None


def test_new_tasks_of_methods_are_the_sample() -> None:
    """By hand: three tasks whose changes are .5, .3 and .1, and one more that changes wholly."""
    a = [trained(f"a{n}", "0" * 10, "0" * 10, "0" * 10) for n in range(2)]
    b = [trained(f"b{n}", *("1" * k + "0" * (10 - k) for k in (5, 3, 1))) for n in range(2)]
    (found,) = compare_all([a, b], names=["A", "B"])
    assert found.evidence
    assert found.evidence.new_tasks
    half = 4.3027 * ((0.04 + 0.04 + 1) / 3 / 3) ** 0.5  # Student, 2 degrees of freedom
    new = found.evidence.new_tasks
    assert (new.low, new.high) == pytest.approx((max(-1, 0.3 - half), min(1, 0.3 + half)), abs=1e-4)


def test_one_training_of_each_is_a_comparison_of_pairs_as_ever() -> None:
    assert compare_all([[OLD[0]], [NEW[0]]], names=["A", "B"]) == compare_all(
        [OLD[0], NEW[0]], names=["A", "B"]
    )


def test_equal_trainings_are_never_told_apart_and_share_a_letter() -> None:
    found = compare_all([OLD, OLD[::-1], NEW], names=["A", "again", "B"])
    assert found[0].evidence
    assert found[0].evidence.p_value == 1
    assert found[0].verdict is Verdict.UNDERPOWERED
    assert found[0].needed is None
    assert "more trainings would tell more" in sentence(found[0])
    assert group_letters(found) == {"B": "a", "A": "b", "again": "b"}


def test_trainings_of_other_plans_or_that_have_not_ended_are_not_mixed() -> None:
    other = replace(NEW[1], header=replace(NEW[1].header, plan_digest="another"))
    (found,) = compare_all([OLD, [NEW[0], other]], names=["A", "B"])
    assert found.verdict is Verdict.NOT_COMPARABLE
    assert "trainings of B differ in their plan: " in found.reasons[0]
    assert "another in None" in found.reasons[0]
    short = replace(NEW[2], episodes=NEW[2].episodes[:-3])
    (found,) = compare_all([OLD, [NEW[0], short]], names=["A", "B"])
    assert found.verdict is Verdict.NOT_COMPARABLE
    assert "not the same episodes have ended: 20 in A" in found.reasons[0]
    assert ", 17 in B" in found.reasons[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"canaries": {"height, m": 0.93439902508}}, ""),
        (
            {"versions": {"mujoco": "3.4"}},
            "simulator versions: mujoco 3.3.0 in None, mujoco 3.4 in None",
        ),
        (
            {"mismatches": ("canary height is 2",)},
            "canaries that failed: none in None, canary height is 2 in None",
        ),
    ],
)
def test_trainings_run_on_two_machines_are_mixed_where_the_simulator_is_the_same(
    changes: dict[str, Any], reason: str
) -> None:
    """The canaries' last digits are those of a processor; what counts is whether they hold."""
    header = NEW[1].header
    fingerprint = replace(header.fingerprint, **changes)
    there = replace(NEW[1], header=replace(header, fingerprint=fingerprint))
    (found,) = compare_all([OLD, [NEW[0], there]], names=["A", "B"])
    if not reason:
        assert found.reasons == compare_all([OLD, NEW[:2]], names=["A", "B"])[0].reasons
        assert found.verdict is not Verdict.NOT_COMPARABLE
    else:
        assert found.verdict is Verdict.NOT_COMPARABLE
        assert f"trainings of B differ in their {reason}" in found.reasons[0]


def test_errors_of_trainings_are_left_out_where_that_is_said_and_their_bounds_told() -> None:
    broken = trained("broken", "1" * 8 + "xx", "1" * 9 + "0")
    (found,) = compare_all([OLD, [broken, NEW[1]]], names=["A", "B"])
    assert found.verdict is Verdict.NOT_COMPARABLE
    for on_error, words in (("exclude", "are left out"), ("as-failure", "count as failures")):
        rules = Rules(on_error=on_error)  # type: ignore[arg-type]
        (found,) = compare_all([OLD, [broken, NEW[1]]], names=["A", "B"], rules=rules)
        assert found.evidence
        assert (found.evidence.bounds is None) == (on_error == "as-failure")
        (note,) = [note for note in found.notes if "broke" in note]
        # A: 19 of 40. B, 40 episodes: 35 successes and 2 errors.
        assert f"broke {words}, 2 of 40 of B; counted against B" in note
        assert "would be +40.0 points, counted for it +45.0" in note


def test_whole_tasks_that_are_missing_are_named_even_where_both_runs_lack_them() -> None:
    planned = {"s/0": 4, "t/0": 4, "t/1": 4}
    part = run("1100", planned=planned)
    found = compare_runs(part, part)
    assert found.evidence
    assert [note for note in found.notes if "not finished" in note] == [
        f"{name} is not finished, 4 of 12 episodes, none of t/*; one that was stopped for what it "
        "showed is biased, so let it run to its end"
        for name in "AB"
    ]


def test_each_training_that_is_not_finished_is_named() -> None:
    trainings = [
        replace(results_of(run("1100", "10", policy_digest=name)), path=Path(f"{name}.jsonl"))
        for name in ("one", "other")
    ]
    (found,) = compare_all([run("1100", "1011"), trainings], names=["A", "B"])
    notes = [note for note in found.notes if "not finished" in note]
    assert [note.partition(";")[0] for note in notes] == [
        "B (one.jsonl) is not finished, 6 of 8 episodes",
        "B (other.jsonl) is not finished, 6 of 8 episodes",
    ]


def test_plans_that_were_asked_for_alike_say_which_episode_differs() -> None:
    one = run("1100")
    seeds = tuple(
        replace(r, episode=replace(r.episode, scene_seed=100 + r.episode.init_index))
        for r in one.episodes
    )
    other = run("11001", plan_digest="other")
    for b, told in (
        (Run(header=other.header, episodes=seeds), "the seed of s/0#0 is 0 in A, 100 in B"),
        (other, "s/0#4 is in B and not in A"),
        (run("110", plan_digest="other"), "s/0#3 is in A and not in B"),
        (run("1100", plan_digest="other", request=PlanRequest(episodes=9)),
         r"'\*', 4 states, seed 0 in A, '\*', 9 states, seed 0 in B"),
    ):  # fmt: skip
        (reason,) = compare_runs(one, b).reasons
        assert re.match(f"plans differ: {told}; run both on one plan", reason), reason


def test_the_test_is_of_the_mean_that_the_interval_is_about() -> None:
    """Thirty tasks of two states collapse; one of 200 gains as many: the mean over tasks falls."""
    a = run("0" * 60 + "1" * 140, *["11"] * 30)
    b = run("1" * 200, *["00"] * 30)
    found = compare_runs(a, b)
    assert found.verdict is Verdict.WORSE
    assert found.evidence
    assert found.evidence.pairs
    assert (found.evidence.pairs.only_a, found.evidence.pairs.only_b) == (60, 60)
    assert found.evidence.p_value < 1e-6
    assert found.evidence.test == "exact sign-flip test on initial states"
    assert compare_runs(A, BETTER).evidence.test == "exact McNemar"  # type: ignore[union-attr]


def test_what_is_not_known_of_these_tasks_is_not_known_of_new_ones() -> None:
    for tasks in (["0"] * 20, ["1"] * 20, ["11000"] * 30):
        found = compare_runs(run(*tasks), run(*[t.replace("110", "111") for t in tasks])).evidence
        assert found
        assert found.new_tasks
        assert found.new_tasks.low <= found.difference.low
        assert found.new_tasks.high >= found.difference.high


def test_repeats_never_tell_more_than_as_many_episodes_of_their_own() -> None:
    """Of each state's two episodes one succeeds: means of states do not vary at all."""
    repeated = results_of(run("10" * 20, repeats=2)).table
    alone = results_of(run("10" * 20)).table
    found, single = (success_of(table) for table in (repeated, alone))
    assert found.high - found.low >= single.high - single.low - 1e-9


def test_equal_trajectories_are_noted_and_repeats_want_states() -> None:
    traced = replace(A, episodes=tuple(
        replace(r, trace=Trace(digest=f"{i:032d}", states="0" * 8, actions="0" * 8))
        for i, r in enumerate(A.episodes)
    ))  # fmt: skip
    notes = compare_runs(traced, traced).notes
    assert "all 200 episodes went the same way in both, to the last bit" in notes
    assert compare_runs(A, A).notes == ()
    few = compare_runs(run("1" * 20, repeats=20), run("10" * 10, repeats=20))
    assert sentence(few).endswith("; more initial states would tell more")


def test_what_keeps_many_from_equivalent_stands_in_the_sentence() -> None:
    runs = [run("10" * 60 + "1" * 30)] * 4
    one, *_ = compare_all(runs, names=list("ABCD"), rules=Rules(margin=0.03))
    assert sentence(one).startswith("UNDERPOWERED: B less A is 0.0 points [-2.5, 2.5] ([-")
    assert "] for all comparisons together), n = 150 pairs" in sentence(one)
    apart, *_ = compare_all(runs, names=list("ABCD"), rules=Rules(margin=0.01))
    assert "together" not in sentence(apart)
