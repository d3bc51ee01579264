"""Numbers of episodes are those of the closed forms, and keep what they promise when tried."""

import json

import numpy as np
import pytest
import typer
from statsmodels.stats.proportion import (
    power_proportions_2indep,
    samplesize_proportions_2indep_onetail,
)
from typer.testing import CliRunner

from vlabench.cli import app
from vlabench.cli.options import rules_of
from vlabench.metrics.power import (
    Question,
    connor,
    detectable,
    fleiss,
    independent_discordance,
    needs,
    paired_power,
    pairs_needed,
    unpaired_needed,
    unpaired_power,
    ways,
)
from vlabench.metrics.significance import mcnemar


@pytest.mark.parametrize(("a", "b"), [(0.97, 0.95), (0.95, 0.9), (0.8, 0.7), (0.5, 0.9)])
def test_unpaired_numbers_are_those_of_statsmodels(a: float, b: float) -> None:
    expected = samplesize_proportions_2indep_onetail(b - a, a, power=0.8)  # halves alpha
    assert fleiss(a, b) == pytest.approx(expected, abs=1e-6)
    n = unpaired_needed(a, b)
    assert n == int(np.ceil(expected))
    power = power_proportions_2indep(b - a, a, n, return_results=False)
    assert unpaired_power(n, a, b) == pytest.approx(power, abs=1e-9)
    assert unpaired_power(n, a, b) >= 0.8


def test_connors_number_worked_by_hand() -> None:
    # Effect 0.1, discordance 0.38: (1.959964 sqrt(0.38) + 0.841621 sqrt(0.37))^2 / 0.01
    assert independent_discordance(0.8, 0.7) == pytest.approx(0.38)
    expected = (1.959964 * 0.6164414 + 0.841621 * 0.6082763) ** 2 / 0.01
    assert connor(0.1, 0.38) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("effect", "discordance"), [(0.05, 0.14), (-0.1, 0.2), (0.05, 0.05)])
def test_pairs_keep_their_promise_when_they_are_drawn(effect: float, discordance: float) -> None:
    n = pairs_needed(effect, discordance)
    assert connor(effect, discordance) <= n <= 1.1 * connor(effect, discordance) + 5
    promised = paired_power(n, effect, discordance)
    assert 0.8 <= promised < 0.83
    assert paired_power(n - 1, effect, discordance) < promised + 0.01
    gain = (discordance + effect) / 2
    tables = np.random.default_rng(0).multinomial(
        n, [gain, discordance - gain, 1 - discordance], 4000
    )
    kinds, counts = np.unique(tables[:, :2], axis=0, return_counts=True)
    rejected = np.array([mcnemar(lost, gained) < 0.05 for gained, lost in kinds])
    assert (rejected * counts).sum() / 4000 == pytest.approx(promised, abs=0.025)


def test_without_an_effect_the_test_rejects_in_five_percent_at_most() -> None:
    for n in (10, 50, 500):
        for discordance in (0.02, 0.2, 1.0):
            assert paired_power(n, 0, discordance) <= 0.05


@pytest.mark.parametrize("paired", [True, False])
def test_the_detectable_gain_needs_so_many_episodes(paired: bool) -> None:
    gain = detectable(400, 0.8, paired=paired)
    if paired:
        needed = pairs_needed(gain, independent_discordance(0.8, 0.8 + gain))
    else:
        needed = unpaired_needed(0.8, 0.8 + gain)
    assert needed == pytest.approx(400, rel=0.03)
    assert detectable(1600, 0.8, paired=paired) < 0.6 * gain


def test_fewer_discordant_pairs_make_a_comparison_cheaper() -> None:
    rows = needs(Question(rate=0.9, effect=0.05))
    paired = [row.episodes for row in rows if row.discordance is not None]
    assert paired == sorted(paired, reverse=True)
    assert len(needs(Question(rate=0.9, effect=0.05, discordance=0.1))) == 2


def test_impossible_questions_say_why() -> None:
    with pytest.raises(ValueError, match="infinitely many pairs"):
        connor(0, 0.1)
    with pytest.raises(ValueError, match="infinitely many episodes"):
        fleiss(0.5, 0.5)
    with pytest.raises(ValueError, match="one alone succeeds less often than the rates differ"):
        pairs_needed(0.1, 0.05)
    with pytest.raises(ValueError, match=r"a success rate of 1\.05 is impossible"):
        Question(rate=0.95, effect=0.1)
    for rates in ((0.5, 1.05), (1.05, 0.5)):
        with pytest.raises(ValueError, match=r"a success rate of 1\.05 is impossible"):
            fleiss(*rates)
    with pytest.raises(ValueError, match="a power of 1 is impossible"):
        fleiss(0.5, 0.6, power=1)
    with pytest.raises(ValueError, match="a power of 1 is impossible"):
        Question(rate=0.5, effect=0.1, power=1)
    with pytest.raises(ValueError, match="more than 10000000 pairs"):
        pairs_needed(1e-5, 0.5)
    with pytest.raises(ValueError, match="no gain over"):
        detectable(5, 0.9)


def test_designs_that_stop_early_stand_beside_the_fixed_one() -> None:
    fixed, fleming, pocock, valid = ways(Question(rate=0.85, effect=0.05), looks=5)
    apart = independent_discordance(0.85, 0.9)
    assert fixed.most == fleming.most == valid.most == pairs_needed(0.05, apart)
    assert fixed.power == pytest.approx(paired_power(fixed.most, 0.05, apart), abs=1e-4)
    assert fixed.pairs == pytest.approx(fixed.most)
    assert fixed.power - 0.02 < fleming.power < fixed.power
    assert fleming.power > pocock.power > valid.power > 0.5
    assert fixed.pairs > fleming.pairs > pocock.pairs
    assert all(way.wrong <= 0.05 for way in (fixed, fleming, pocock, valid))
    assert fleming.as_found is not None
    assert fleming.as_found > 0.06  # which is what the correction is for


def test_a_fall_is_found_as_often_as_a_gain() -> None:
    gain = ways(Question(rate=0.5, effect=0.2, discordance=0.4), looks=3, pairs=80)
    fall = ways(Question(rate=0.5, effect=-0.2, discordance=0.4), looks=3, pairs=80)
    assert gain == fall


def test_power_prints_designs_and_a_script_can_read_them() -> None:
    command = ["power", "--rate", "50", "--effect", "20", "--looks", "4"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    text = " ".join(done.output.split())
    assert "at most 103 pairs, +20.0% from 50.0%, when `vlabench run --until-decided` may" in text
    for design in ("one look at the end", "4 looks, O'Brien-Fleming-type spending", "always valid"):
        assert design in text
    found = json.loads(CliRunner().invoke(app, [*command, "--episodes", "60", "--json"]).output)
    assert [way["most"] for way in found["designs"]] == [60] * 4
    names = [way["name"] for way in found["designs"]]
    assert names == ["fixed", "obrien-fleming", "pocock", "always-valid"]
    without = json.loads(CliRunner().invoke(app, [*command[:-2], "--json"]).output)
    assert "designs" not in without


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--looks", "1"], "--looks"),
        (["--looks", "9", "--episodes", "8"], "--looks 9 is impossible: 9 looks at 8 pairs"),
        (["--looks", "5", "--episodes", "5001"], "expected 5 to 5000 pairs"),
        (["--looks", "5", "--margin", "0"], "--margin 0 is no margin"),
    ],
)
def test_looks_that_make_no_sense_are_refused(options: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["power", "--rate", "90", *options])
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def refused(*options: str) -> str:
    done = CliRunner().invoke(app, ["power", *options])
    assert done.exit_code == 2
    return " ".join(done.output.partition("Invalid value: ")[2].split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rate", "0.9"], "--rate 0.9 is in percent, no share; did you mean 90?"),
        (["--effect", "0.05"], "--effect 0.05 is in points, no share; did you mean 5?"),
        (["--effect", "-0.05"], "--effect -0.05 is in points, no share; did you mean -5?"),
        (["--discordance", "0.1"], "--discordance 0.1 is in percent, no share; did you mean 10?"),
        (["--power", "0.8"], "--power 0.8 is in percent, no share; did you mean 80?"),
    ],
)
def test_a_share_given_for_a_percentage_is_caught(options: list[str], said: str) -> None:
    assert refused("--rate", "90", *options) == said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rate", "104"], "--rate 104 is impossible; expected percent, 0 to 100"),
        (["--rate", "nan"], "--rate nan is impossible; expected percent, 0 to 100"),
        (["--effect", "20"], "make a success rate of 110 %; expected -90 to 10 points"),
        (["--effect", "nan"], "--effect nan is impossible"),
        (["--discordance", "2"], "--discordance 2 is impossible with --effect 5: one alone "),
        (["--discordance", "2"], "expected 5 percent or more"),
        (["--discordance", "150"], "--discordance 150 is impossible; expected percent, 100 at "),
        (["--power", "100"], "--power 100 is impossible; expected percent between 0 and 100"),
    ],
)
def test_what_is_impossible_is_said_in_the_units_it_was_given_in(
    options: list[str], said: str
) -> None:
    assert said in refused("--rate", "90", *options)


@pytest.mark.parametrize("margin", [-3.0, 0.0, 100.0, float("nan")])
def test_a_margin_is_refused_in_points(margin: float) -> None:
    expected = f"--margin {margin:g} is no margin; expected points, more than 0 and less than 100"
    with pytest.raises(typer.BadParameter, match=expected):
        rules_of(margin, False, "raise")
