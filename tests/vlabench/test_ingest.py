"""Results of other tools become runs, and nothing that their files do not say is made up."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from vlabench import Outcome, Rules, Run, Verdict, compare_runs, read_frame, read_run, success_rate
from vlabench.errors import RecordError
from vlabench.ingest import MOST_BYTES, ingest
from vlabench.store import write_run

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "ingest"
SCHEMA = Draft202012Validator(json.loads((ROOT / "docs" / "record.schema.json").read_text()))
REAL = DATA / "real"
FILES = sorted(
    path
    for folder in (DATA, REAL)
    for path in folder.iterdir()
    if path.is_file() and path.suffix not in (".md", ".csv")
)
NEVER_SAID = {"decisions", "samples", "seconds", "peak_mb", "policy_seed"}
CSV = "task,episode,seed,success\n"


def tally(run: Run) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for record in run.episodes:
        found.setdefault(record.episode.task_id, Counter())[record.outcome.value] += 1
    return found


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_lerobots_lists_are_episodes_without_known_states() -> None:
    run = ingest([DATA / "lerobot_new.json"], policy="pi05")
    assert tally(run) == {
        "libero_spatial/0": Counter(success=3, failure=1),
        "libero_spatial/1": Counter(success=2, failure=2),
    }
    header = run.header
    assert (header.suite_id, header.suite_version, header.policy_id) == (
        "libero_spatial",
        0,
        "pi05",
    )
    assert header.ingested
    assert header.ingested.states_known is False
    assert set(header.unknown) >= {"scene_seed", "steps", "seed"}


def test_lerobots_older_episodes_have_their_seeds() -> None:
    run = ingest([DATA / "lerobot_old.json"], suite="pusht")
    assert [r.episode.scene_seed for r in run.episodes] == list(range(1000, 1006))
    assert tally(run) == {"pusht/0": Counter(success=4, failure=2)}
    assert run.header.ingested
    assert run.header.ingested.states_known
    assert "scene_seed" not in run.header.unknown


def test_vla_evals_errors_are_errors_and_its_steps_are_kept() -> None:
    run = ingest([DATA / "vla_eval_aggregate.json"])
    suite = "LIBEROBenchmark_libero_goal"
    assert tally(run) == {
        f"{suite}/open the middle drawer of the cabinet": Counter(success=2, failure=1),
        f"{suite}/put the bowl on the stove": Counter(success=2, error=1),
    }
    assert [r.steps for r in run.episodes] == [111, 300, 118, 96, 101, 0]
    assert run.episodes[-1].error == "timeout: no action within 30 s"
    assert (run.header.request.seed, "seed" in run.header.unknown) == (7, False)
    assert run.header.provenance.started_at == "2026-08-01T10:00:00+00:00"


def test_vla_evals_older_layout_names_its_initial_states() -> None:
    run = ingest([DATA / "vla_eval_old.json"])
    assert [r.episode.init_index for r in run.episodes] == [2, 1, 0, 1, 0]
    assert success_rate(run.episodes).value == 4 / 5


@pytest.mark.parametrize("name", ["openvla.txt", "openvla_oft_console.log"])
def test_openvlas_exceptions_are_errors_whatever_stands_before_a_line(name: str) -> None:
    run = ingest([DATA / name])
    left, right = tally(run)
    assert left.startswith("libero_spatial/pick up the black bowl between the plate and")
    assert left.endswith("place it on the plate")
    assert tally(run) == {left: Counter(success=2, failure=1), right: Counter(success=1, error=1)}
    assert run.episodes[-1].error == "the arm is out of reach"
    assert [r.episode.init_index for r in run.episodes] == [0, 1, 2, 0, 1]


def test_an_openvla_log_that_breaks_off_keeps_what_had_ended(tmp_path: Path) -> None:
    text = (DATA / "openvla.txt").read_text()
    cut = text[: text.rindex("Success: ")]
    assert len(ingest([written(tmp_path / "cut.txt", cut)]).episodes) == 4


def test_openvlas_own_initial_states_are_not_known(tmp_path: Path) -> None:
    text = (DATA / "openvla.txt").read_text()
    other = written(tmp_path / "other.txt", f"Using initial states from mine.json\n{text}")
    for path, known in ((DATA / "openvla.txt", True), (other, False)):
        found = ingest([path]).header.ingested
        assert found
        assert found.states_known is known


def test_csv_is_of_one_policy_and_empty_is_no_failure() -> None:
    run = ingest([DATA / "plain.csv"], policy="mine", suite="s")
    assert tally(run) == {
        "s/reach": Counter(success=1, failure=1),
        "s/push": Counter(success=1, error=1),
    }
    assert [r.steps for r in run.episodes] == [31, 50, 40, 12]
    with pytest.raises(RecordError, match="several policies, mine, other; say --policy"):
        ingest([DATA / "plain.csv"])


@pytest.mark.parametrize(
    ("name", "counts", "unknown", "states_known"),
    [
        ("lerobot_pusht_diffusion.json", {"pusht/0": Counter(success=14, failure=6)},
         {"scene_seed", "steps", "seed"}, False),
        ("lerobot_0.3.3_pusht_act.json", {"unknown/0": Counter(success=7, failure=13)},
         {"steps", "seed"}, True),
        ("vla_eval_pi0_libero_10.json",
         {"LIBEROBenchmark_libero_10/pick up the book and place it in the back compartment of the "
          "caddy": Counter(success=49, failure=1),
          "LIBEROBenchmark_libero_10/put both moka pots on the stove":
          Counter(success=42, failure=8)},
         {"scene_seed"}, True),
        ("vla_eval_0.8.0_pusht_uniform.json",
         {"PushTBenchmark/push_t": Counter(success=3, failure=6, error=1)}, {"scene_seed"}, False),
        ("openvla_libero_object_console.log",
         {"libero_object/pick up the alphabet soup and place it in the basket":
          Counter(success=1, failure=1)},
         {"scene_seed", "steps", "seed"}, True),
    ],
)  # fmt: skip
def test_files_that_the_tools_themselves_wrote(
    name: str, counts: dict[str, Counter[str]], unknown: set[str], states_known: bool
) -> None:
    run = ingest([REAL / name])
    assert tally(run) == counts
    assert set(run.header.unknown) == NEVER_SAID | unknown
    assert run.header.policy_id == "unknown"
    assert run.header.ingested
    assert run.header.ingested.states_known is states_known


def test_what_those_files_say_is_read() -> None:
    lerobot = ingest([REAL / "lerobot_0.3.3_pusht_act.json"])
    assert [r.episode.scene_seed for r in lerobot.episodes] == list(range(1000, 1020))
    cut = ingest([REAL / "vla_eval_pi0_libero_10.json"])
    assert sum(r.steps for r in cut.episodes) == 9422 + 21554
    assert sorted(r.episode.init_index for r in cut.episodes[:50]) == list(range(50))
    assert cut.header.request.seed == 7
    assert cut.header.fingerprint.mismatches[1] == "the source says that episodes are missing"
    whole = ingest([REAL / "vla_eval_0.8.0_pusht_uniform.json"])
    assert [r.steps for r in whole.episodes] == [200, 200, 0, 1, 200, 200, 1, 200, 200, 1]
    assert whole.header.request.seed == 1000
    assert len(whole.header.fingerprint.mismatches) == 1
    assert whole.episodes[2].error == (
        "model_act: vla_eval.runners.base.ModelActError: RuntimeError: Server error: "
        "{'error': 'observation_failed: ValueError: no action'}"
    )


@pytest.mark.parametrize("more", [", task_num: 10", ", targeting Task: reach", " (3/10 tasks)"])
def test_openvlas_suite_is_its_name_whatever_scripts_write_behind(
    more: str, tmp_path: Path
) -> None:
    text = (DATA / "openvla.txt").read_text()
    changed = text.replace("Task suite: libero_spatial", f"Task suite: libero_spatial{more}")
    assert changed != text
    assert ingest([written(tmp_path / "x.txt", changed)]).header.suite_id == "libero_spatial"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_unknown_is_null_in_the_file_and_missing_in_the_table(
    path: Path, tmp_path: Path
) -> None:
    run = ingest([path])
    out = tmp_path / "run.jsonl"
    write_run(out, run)
    assert read_run(out) == run
    header, *episodes = (json.loads(line) for line in out.read_text().splitlines())
    for row in (header, *episodes):
        SCHEMA.validate(row)
    unknown = set(header["ingested"]["unknown"])
    assert unknown >= NEVER_SAID
    for row in episodes:
        flat = row | row["episode"]
        assert all((flat[name] is None) == (name in unknown) for name in unknown - {"seed"})
        assert (row["flops"], row["trace"]) == (None, None)
    assert (header["request"]["seed"] is None) == ("seed" in unknown)
    assert header["fingerprint"]["mismatches"][0].startswith("ingested from ")


def test_a_value_where_the_header_says_unknown_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "run.jsonl"
    write_run(out, ingest([FILES[0]]))
    out.write_text(out.read_text().replace('"samples": null', '"samples": 0'))
    with pytest.raises(RecordError, match="samples is 0, expected null"):
        read_run(out)


def test_runs_of_ours_are_written_as_before() -> None:
    path = next((ROOT / "results/metaworld/metaworld-expert").glob("*.jsonl"))
    run = read_run(path)
    assert run.header.ingested is None
    assert run.header.unknown == ()
    assert "ingested" not in path.read_text()


def test_known_states_pair_and_unknown_ones_need_a_word() -> None:
    mine, other = (ingest([DATA / "plain.csv"], policy=name) for name in ("mine", "other"))
    found = compare_runs(mine, other, rules=Rules(on_error="as-failure"))
    assert found.evidence
    assert found.evidence.pairs
    assert found.evidence.pairs.n == 4
    again = ingest([DATA / "lerobot_new.json"], suite="another name for the same file")
    assert compare_runs(ingest([DATA / "lerobot_new.json"]), again).evidence  # one file: one plan


def test_two_files_without_known_states_are_not_paired(tmp_path: Path) -> None:
    text = (DATA / "lerobot_new.json").read_text()
    other = written(tmp_path / "other.json", text.replace("true", "false", 1))
    runs = ingest([DATA / "lerobot_new.json"]), ingest([other])
    refused = compare_runs(*runs)
    assert refused.verdict is Verdict.NOT_COMPARABLE
    assert "plans differ: 'initial states unknown: lerobot_new.json'" in refused.reasons[0]
    unpaired = compare_runs(*runs, rules=Rules(unpaired=True))
    assert unpaired.evidence
    assert unpaired.evidence.pairs is None


def test_what_is_ingested_is_not_comparable_with_what_was_run_here() -> None:
    ours = read_run(next((ROOT / "results/libero/random").glob("*.jsonl")))
    found = compare_runs(ours, ingest([DATA / "openvla.txt"]))
    assert found.verdict is Verdict.NOT_COMPARABLE
    assert any("ingested from openvla" in reason for reason in found.reasons)


def test_files_of_one_policy_are_one_run(tmp_path: Path) -> None:
    more = (DATA / "openvla.txt").read_text().replace("libero_spatial", "libero_goal")
    run = ingest([DATA / "openvla.txt", written(tmp_path / "goal.txt", more)])
    assert run.header.suite_id == "libero_goal+libero_spatial"
    assert len(run.episodes) == 10
    assert run.header.ingested
    assert list(run.header.ingested.sources) == ["openvla.txt", "goal.txt"]
    twin = written(tmp_path / "twin.txt", (DATA / "openvla.txt").read_text())
    with pytest.raises(RecordError, match=r"twin.txt has the same bytes as openvla.txt"):
        ingest([DATA / "openvla.txt", twin])
    with pytest.raises(RecordError, match="several formats"):
        ingest([DATA / "openvla.txt", DATA / "lerobot_new.json"])


def test_ingested_runs_read_into_a_frame(tmp_path: Path) -> None:
    out = tmp_path / "run.jsonl"
    write_run(out, ingest([DATA / "openvla.txt"]))
    frame = read_frame(out)
    assert len(frame) == 5
    assert frame["success"].sum() == 3
    assert frame["success"].isna().sum() == 1


def test_a_file_that_is_no_json_is_told_from_one_that_says_something_else(tmp_path: Path) -> None:
    for format, wanted in (("lerobot", "eval_info.json"), ("vla-eval", "vla-eval's aggregate")):
        with pytest.raises(RecordError) as caught:
            ingest([DATA / "plain.csv"], format=format)  # type: ignore[arg-type]
        said = str(caught.value)
        assert said.startswith(f"{DATA / 'plain.csv'} is not JSON, expected ")
        assert wanted in said
        assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is none of"),
        ("hello\n", "is none of"),
        ("{}", "holds no episodes that are recognised; its keys are none"),
        ("[1]", "holds no episodes that are recognised; its keys are none"),
        ('{"per_task"', "begins like JSON and is not"),
        ('{"per_task": [{"task_group": "g"}]}', "is no lerobot file: field 'metrics' is missing"),
        ('{"per_task": 3}', "is no lerobot file: 'int' object"),
        ('{"per_task": []}', "no episode has ended in this lerobot file"),
        ("Task suite: libero_10\n", "no episode has ended in this openvla file"),
        ('{"run": {"per_task": []}}', "has results one level down, under 'run'"),
        ('{"summary": {}, "episodes": []}', "its keys are 'summary', 'episodes'"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:a3\nsize 9\n",
         "is a pointer of Git LFS, expected the file; run git lfs pull"),
        ('{"per_episode": [{"episode_ix": -1, "success": true}]}', "episode -1 has the number -1"),
        ('{"per_episode": [{"episode_ix": 0, "success": NaN}]}', "is nan, expected true or false"),
        ('{"benchmark": "b", "tasks": [{"task": "t", "episodes": [{"episode_id": "x"}]}]}',
         "'x' of task 't' has no number"),
        ("Success: True\n", "line 1: an episode ends that did not start"),
        ("Task: t\nStarting episode 1...\nSuccess: True\n# episodes completed so far: 2\n",
         "counts 2 episodes, the log has 1; expected a whole log"),
        ("Task: t\nStarting episode 0...\nSuccess: True\n", "line 2 starts has the number -1"),
        (f"{CSV}reach,4000000000,1,1\n", "line 2 has the number 4000000000"),
        ("task,success\nreach,maybe\n", "line 2: success is 'maybe'"),
        ("task,success\nreach\n", "line 2 has another number of cells"),
        ("task,success\nreach,1,2\n", "line 2 has another number of cells"),
        ("task,success\n,1\n", "a task without a name"),
        (f"{CSV}reach,0,-1,1\n", "seed is -1"),
        (f"{CSV}reach,0,1,1\nreach,0,1,1\n", "is there 2 times"),
        ('{"kind": "header"}', "is a vlabench results file already"),
    ],
)  # fmt: skip
def test_what_is_broken_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecordError, match=message) as caught:
        ingest([written(tmp_path / "file", text)])
    assert "\n" not in str(caught.value)


def test_names_cannot_command_a_terminal(tmp_path: Path) -> None:
    text = 'task,success,policy\n"a\x1b[2J\nb",1,p\x07\n'
    run = ingest([written(tmp_path / "x.csv", text)], suite="s/\x1b")
    assert [r.episode.task_id for r in run.episodes] == ["s-/a [2J b"]
    assert run.header.policy_id == "p"


def test_a_format_that_was_said_is_held_to(tmp_path: Path) -> None:
    path = written(tmp_path / "list.csv", "name,success\nreach,1\n")
    with pytest.raises(RecordError, match="no column task; there are name, success"):
        ingest([path], format="csv")
    with pytest.raises(RecordError, match="the JSON is a list, expected an object"):
        ingest([written(tmp_path / "list.json", "[]")], format="lerobot")


def test_what_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(RecordError, match="more than 64 MiB"):
        ingest([large])
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xfe\xfd")
    with pytest.raises(RecordError, match="byte 0 is not UTF-8"):
        ingest([binary])
    with pytest.raises(RecordError, match="cannot read"):
        ingest([tmp_path / "nowhere"])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_damage_ends_in_anything_but_a_record_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = data.draw(st.sampled_from(FILES)).read_bytes()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 40)))
    damaged = content[:start] + data.draw(st.binary(max_size=8)) + content[end:]
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(damaged)
    try:
        run = ingest([path])
    except RecordError:
        return
    assert {record.outcome for record in run.episodes} <= set(Outcome)
