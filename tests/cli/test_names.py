"""Names that people know are names here, or the error says what they are called."""

import pytest
from typer.testing import CliRunner

from vlabench import load_suite
from vlabench.cli import app
from vlabench.errors import PlanError
from vlabench.plan import make_plan


@pytest.mark.parametrize(
    ("suite", "tasks", "message"),
    [
        ("libero-long", "*", "no suite is called 'libero-long'. Here that is --suite libero-10"),
        ("LIBERO_Long", "*", "Here that is --suite libero-10"),
        ("libero_10", "*", "Did you mean 'libero-10'?"),
        ("LIBERO_SPATIAL", "*", "Did you mean 'libero-spatial'?"),
        ("MT10", "*", "Here that is --suite metaworld --tasks mt10"),
        ("ml45", "*", "Here that is --suite metaworld --tasks ml45-test"),
        (
            "metaworld",
            "reach-v2",
            "matches 'reach-v2'. Did you mean 'reach-v3'? See: vlab",
        ),
        ("metaworld", "pick_place_v3", "Did you mean 'pick-place-v3'?"),
        ("metaworld", "ml45", "Did you mean 'ml45-t"),
        ("metaworld-25", "mt10", "no task of suite 'metaworld-25' matches 'mt10'"),
    ],
)
def test_a_name_from_elsewhere_gets_a_hint(suite: str, tasks: str, message: str) -> None:
    words = ["run", "--suite", suite, "--policy", "random", "--tasks", tasks, "--out", "none.jsonl"]
    assert message in str(CliRunner().invoke(app, words).exception)


def test_a_subset_that_papers_report_is_a_name_of_its_tasks() -> None:
    suite = load_suite("metaworld")
    plan = make_plan(suite, tasks="mt10", episodes=2)
    tasks = {episode.task_id for episode in plan.episodes}
    assert len(tasks) == 10
    assert "metaworld/peg-insert-side-v3" in tasks
    whole = make_plan(suite, episodes=2)
    assert set(plan.episodes) <= set(whole.episodes)
    assert plan.digest == make_plan(suite, tasks=",".join(sorted(tasks)), episodes=2).digest
    assert len(make_plan(suite, tasks="ML45-train,hand-insert-v3", episodes=1).episodes) == 46
    with pytest.raises(PlanError, match="matches 'mt11'"):
        make_plan(suite, tasks="mt11")
