import pytest

from vlabench import Outcome, SerialRunner, load_policy, load_suite
from vlabench.errors import SettingError, SpecMismatchError
from vlabench.evaluation import prepare

POLICY = "point-reach-expert"


@pytest.mark.parametrize(("speed", "all_reach"), [("1", True), ("0.5", False)])
def test_it_reaches_the_mark_unless_it_is_too_slow(speed: str, all_reach: bool) -> None:
    evaluation = prepare("point-reach", POLICY, settings={"speed": speed})
    records = SerialRunner().run(evaluation.stage, evaluation.policy, evaluation.plan.episodes)
    outcomes = {record.outcome for record in records}
    assert outcomes == {Outcome.SUCCESS} | (set() if all_reach else {Outcome.FAILURE})


@pytest.mark.parametrize("speed", ["0", "-1", "1.5"])
def test_a_speed_out_of_range_is_refused(speed: str) -> None:
    with pytest.raises(SettingError, match=f"{POLICY}.*speed={speed}, expected in"):
        load_policy(POLICY, load_suite("point-reach"), settings={"speed": speed})


def test_another_suite_is_refused() -> None:
    with pytest.raises(SpecMismatchError, match="knows the suite 'point-reach' and no other"):
        load_policy(POLICY, load_suite("metaworld"))
