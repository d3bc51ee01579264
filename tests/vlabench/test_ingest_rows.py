"""Results as people publish them are read: tables, JSON and logs of many forms, one line if not."""

import json
from collections import Counter
from pathlib import Path

import pytest

from vlabench import Run, Verdict, compare_runs, read_frame
from vlabench.errors import RecordError
from vlabench.ingest import ingest
from vlabench.store import read_run, write_run


def written(path: Path, content: object) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_bytes(text.encode())
    return path


def tally(run: Run) -> dict[str, str]:
    """Task to its outcomes in order: S, F, E."""
    found: dict[str, str] = {}
    for record in sorted(run.episodes, key=lambda r: (r.episode.init_index, r.episode.repeat)):
        task = record.episode.task_id
        found[task] = found.get(task, "") + record.outcome.value[0].upper()
    return found


def jsonl(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def known(run: Run) -> bool:
    assert run.header.ingested
    return run.header.ingested.states_known


TABLES = {
    "semicolons and German truths": (
        "Task;Success;Episode\npick;WAHR;1\npick;FALSCH;2\n",
        {"unknown/pick": "SF"},
    ),
    "tabs": ("task\tsuccess\npick, place\tTrue\n", {"unknown/pick, place": "S"}),
    "bars": ("task|success\na,b|yes\n", {"unknown/a,b": "S"}),
    "UTF-16, as Excel's Unicode text": (
        "\ufefftask\tsuccess\npick\t1\n".encode("utf-16-le"),
        {"unknown/pick": "S"},
    ),
    "a byte-order mark": ("\ufefftask,success\npick,1\n", {"unknown/pick": "S"}),
    "a line that names the delimiter": ("sep=;\r\ntask;success\r\na;1\r\n", {"unknown/a": "S"}),
    "carriage returns alone": ("task,success\rpick,1\rpick,0\r", {"unknown/pick": "SF"}),
    "mixed line ends": ("task,success\r\npick,1\npick,0\rpick,1", {"unknown/pick": "SFS"}),
    "decimal commas": ("task;success;steps\npick;1,0;12,0\n", {"unknown/pick": "S"}),
    "pandas' index and floats": (
        ",task,success,episode,steps\n0,pick,1.0,0.0,12.0\n1,pick,0.0,1.0,\n",
        {"unknown/pick": "SF"},
    ),
    "NaN where it broke": ("task,success\npick,1\npick,NaN\n", {"unknown/pick": "SE"}),
    "pass and fail": ("Task Name,Result\npick,PASS\npick,FAIL\n", {"unknown/pick": "SF"}),
    "blanks, empty lines and rows of nothing": (
        '\n\ntask, success\n"a, b", yes\n,\n\n',
        {"unknown/a, b": "S"},
    ),
    "numpy's truths, and floats": (
        "task,success\npick,np.True_\npick,0.00\n",
        {"unknown/pick": "SF"},
    ),
    "names in other cases": (
        "taskName,isSuccess (0/1),Episode Idx\npick,1,1\npick,0,0\n",
        {"unknown/pick": "FS"},
    ),
    "UTF-16, the other way round": (
        "\ufefftask,success\npick,1\n".encode("utf-16-be"),
        {"unknown/pick": "S"},
    ),
    "an error column that says no": (
        "task,success,error\npick,1,False\npick,0,none\n",
        {"unknown/pick": "SF"},
    ),
    "a delimiter at every end": ("task,success,\npick,1,\n", {"unknown/pick": "S"}),
    "one task under two perturbations": (
        "task,perturbation,episode,success\npick,light,0,1\npick,camera,0,0\n",
        {"unknown/pick (light)": "S", "unknown/pick (camera)": "F"},
    ),
    "an episode's error": (
        "task,episode,success,error\npick,0,False,\npick,1,False,EGL broke\n",
        {"unknown/pick": "FE"},
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_read_as_spreadsheets_pandas_and_people_write_them(
    name: str, tmp_path: Path
) -> None:
    content, expected = TABLES[name]
    assert tally(ingest([written(tmp_path / "x.csv", content)])) == expected


EPISODES = [
    {"task": "a", "episode": 0, "success": True},
    {"task": "a", "episode": 1, "success": False},
]
ROW_A = {
    "task_suite": "libero_goal", "eval_rank": 0, "task_id": 0, "task_name": "open_table_10",
    "category": "Light", "episode_idx": 0, "success": False,
}  # fmt: skip
ROW_B = {
    "global_task_id": 9, "task_suite": "libero_10", "task_id": 1, "task_name": "cup_4",
    "instruction": "cup", "difficulty_level": 2, "seed": 7, "episode_idx": 0,
    "initial_state_idx": 5, "environment_seed": 0, "success": True, "num_steps": 80,
    "attempts": 1, "error": None,
}  # fmt: skip
JSONS = {
    "a list of rows": (EPISODES, {"unknown/a": "SF"}),
    "a row a line": (jsonl(*EPISODES), {"unknown/a": "SF"}),
    "LIBERO-plus rows": (jsonl(ROW_A), {"libero_goal/open_table_10": "F"}),
    "rows with states, seeds and errors": (
        jsonl(ROW_B, {**ROW_B, "initial_state_idx": 6, "success": False, "error": "EGL"}),
        {"libero_10/cup_4": "SE"},
    ),
    "a line of settings and one of sums": (
        jsonl({"config": {"model": "x"}}, *EPISODES, {"summary": {"success_rate": 0.5}}),
        {"unknown/a": "SF"},
    ),
    "rows in a task in a run": (
        {"model": "pi0", "task_suite": "libero_10", "seed": 7, "success_rate": 0.5, "tasks": [
            {"task_id": 0, "task_description": "open", "success_rate": 0.5, "episodes": [
                {"episode": 0, "success": True}, {"episode": 1, "success": False}]}]},
        {"libero_10/open": "SF"},
    ),
    "numbers of those that succeeded": (
        {"seed": 1, "successes": 2, "episodes": 3, "tasks": [
            {"suite": "libero_10", "task_id": 0, "task_description": "open", "successes": 2,
             "episodes": 3, "success_episodes": [2, 0], "failure_episodes": [1]}]},
        {"libero_10/open": "SFS"},
    ),
    "lists of outcomes by task": ({"a": [True, False], "b": [1, 0, 1]},
                                  {"unknown/a": "SF", "unknown/b": "SFS"}),
    "lists of outcomes by suite and task": (
        {"goal": {"a": [1, 0]}, "long": {"c": [0]}}, {"goal/a": "SF", "long/c": "F"}
    ),
    "lists beside each other": (
        {"results": [{"task": "a", "successes": [True, False], "seeds": [1, 2]}]},
        {"unknown/a": "SF"},
    ),
    "a list of a task's trials": (
        {"PnP": {"num_trials": 2, "success_rate": 0.5, "trial_success": [1, 0]}},
        {"unknown/PnP": "SF"},
    ),
    "episodes by name": (
        {"task_0": {"episode_0": {"success": True}, "episode_1": {"success": False}}},
        {"unknown/task_0": "SF"},
    ),
    "pandas' split, and wandb's table": (
        {"columns": ["task", "success"], "index": [0, 1], "data": [["a", True], ["a", False]]},
        {"unknown/a": "SF"},
    ),
    "pandas' columns": (
        {"task": {"0": "a", "1": "a"}, "success": {"0": True, "1": False}}, {"unknown/a": "SF"}
    ),
    "columns as lists": ({"task": ["a", "a"], "success": [True, False]}, {"unknown/a": "SF"}),
    "success inside": (
        jsonl(*({"task": "a", "ep": n, "info": {"success": n == 1}} for n in range(2))),
        {"unknown/a": "FS"},
    ),
    "what a run was, beside its tasks": (
        {"config": {"task_suite_name": "libero_10", "seed": 7}, "per_task_results": [
            {"task_id": 0, "task_description": "a", "episodes": 2, "successes": 1,
             "episode_results": [{"episode": 0, "success": True}, {"episode": 1, "success": False}]}
        ], "summary": {"total_episodes": 2}},
        {"libero_10/a": "SF"},
    ),
    "sums and episodes": (
        {"task_suite_name": "s", "tasks": [{"task_id": 0, "task_name": "a", "successes": 1}],
         "episodes": [{"task_id": 0, "task_name": "a", "episode_idx": 0, "success": True}]},
        {"s/a": "S"},
    ),
    "tasks by number, with their sentences": (
        {"goal": {"0": {"task_description": "a", "success": [True, False]},
                  "1": {"task_description": "b", "success": [True]}}},
        {"goal/a": "SF", "goal/b": "S"},
    ),
    "a run under several seeds": (
        {"seeds": {"0": {"pick": [1, 0]}, "1": {"pick": [1, 1]}}, "seed_2": {"pick": [0, 1]}},
        {"unknown/pick": "SSFFSS"},
    ),
    "ManiSkill's episodes": (
        {"episodes": [{"episode_id": 0, "episode_seed": 5, "success": True, "elapsed_steps": 30}],
         "env_info": {"env_id": "PickCube-v1", "max_episode_steps": 50}},
        {"unknown/PickCube-v1": "S"},
    ),
    "an episode that broke and says no more": (
        jsonl(EPISODES[0], {"task": "a", "error": "EGL"}), {"unknown/a": "SE"}
    ),
    "a vector of one environment": (jsonl({"task": "a", "success": [True]}), {"unknown/a": "S"}),
    "a word before an episode's number": (
        jsonl({"task": "a", "trial": "ep_3", "outcome": "success"},
              {"task": "a", "trial": "ep_2", "outcome": "failure"}),
        {"unknown/a": "FS"},
    ),
    "an answer around the rows": (
        {"success": True, "results": [{"task": "a", "success": False, "episode": 0}]},
        {"unknown/a": "F"},
    ),
    "trajectories in the rows": (
        jsonl({"task": "a", "episode": 0, "success": True, "actions": [[0, 1]], "dones": [0, 1]}),
        {"unknown/a": "S"},
    ),
    "a last line that was cut off": (jsonl(EPISODES[0]) + '{"task": "a", "epi', {"unknown/a": "S"}),
}  # fmt: skip


@pytest.mark.parametrize("name", JSONS)
def test_json_is_read_as_people_write_it(name: str, tmp_path: Path) -> None:
    content, expected = JSONS[name]
    run = ingest([written(tmp_path / "x.json", content)])
    assert tally(run) == expected
    assert run.header.ingested
    assert run.header.ingested.format == "json"


def ended(outcome: bool) -> str:
    return f"Starting episode 1...\nSuccess: {outcome}\n"


LOGS = {
    "a progress bar before the first line": (
        "Loading:   0%|    | 0/3\rLoading: 100%|####| 3/3\nTask suite: s\nTask: a\n" + ended(True),
        {"s/a": "S"},
    ),
    "a first line of a megabyte": ("x" * 2**20 + "\nTask: a\n" + ended(True), {"unknown/a": "S"}),
    "bars before messages, and behind": (
        "Task suite: s\n 10%|█   | 1/10 [00:50<00:50, 5.1s/it]Task: a  20%|##  | 2/10 [00:50<?]\n"
        "Starting episode 1...\n 10%|#   | 1/10 [00:50<00:50, 5.1s/it]Success: True\n",
        {"s/a": "S"},
    ),
    "colours": (
        "\x1b[32m10:00\x1b[0m | \x1b[1mTask suite: s\x1b[0m\n\x1b[1mTask: a\x1b[0m\n"
        "\x1b[33mStarting episode 1...\x1b[0m\n\x1b[32mSuccess: True\x1b[0m\n",
        {"s/a": "S"},
    ),
    "rich's columns, folded": (
        "[08/12/24 10:00:00] INFO     Task suite: s                            run.py:101\n"
        "                    INFO     Task: pick up the bowl between the plate run.py:123\n"
        "                             and the ramekin                                    \n"
        "                    INFO     Starting episode 1...                    run.py:130\n"
        "[08/12/24 10:01:00] INFO     Success: True                            run.py:140\n",
        {"s/pick up the bowl between the plate and the ramekin": "S"},
    ),
    "rich's panels, and a form feed": (
        "╭─────────╮\n│ Task: a │\n╰─────────╯\n\x0cStarting episode 1...\n│ Success: True │\n",
        {"unknown/a": "S"},
    ),
    "hydra's brackets": (
        "".join(f"[2024-08-12 10:00][__main__][INFO] - {line}\n"
                for line in ("Task: a", *ended(False).splitlines())),
        {"unknown/a": "F"},
    ),
    "a rank of several": (
        "INFO:root:Task suite: s\n"
        "\rrank0: task0:  50%|###  | 1/2 [00:50<00:50, 50.19s/it]\x1b[AINFO:root:\nTask 0: cup\n"
        "INFO:root:Starting task=0 episode=1 ...\nINFO:root:Success: True\n"
        "INFO:root:# episodes completed on this rank so far: 1\n"
        "INFO:root:\nTask 5: cup\nINFO:root:Starting task=5 episode=1 ...\n"
        "INFO:root:Success: False\nINFO:root:# episodes completed on this rank so far: 2\n",
        {"s/cup (0)": "S", "s/cup (5)": "F"},
    ),
    "a line an episode": (
        "INFO:root:Task suite: s\n"
        "INFO:root:Task_id 0: Episode 1: Success | Current Success Rate: 100.00% (1/1)\n"
        "INFO:root:Task_id 0: Episode 2: Failure | Current Success Rate: 50.00% (1/2)\n",
        {"s/0": "SF"},
    ),
    "a line an episode, otherwise": (
        "Task 3, Episode 2/10: success=True\nTask 3, Episode 3/10: success=False\n",
        {"unknown/3": "SF"},
    ),
    "a line an episode, counted from 0": (
        "INFO suite=libero_10 task=3 episode=0 success=True return=1.0 length=90\n"
        "INFO suite=libero_10 task=3 episode=1 success=False return=0.0 length=520\n",
        {"libero_10/3": "SF"},
    ),
    "tasks by number alone": (
        "Starting task=0 episode=1 ...\nSuccess: True\nStarting task=1 episode=1 ...\n"
        "Success: False\nStarting task=1 episode=2 ...\nSuccess: True\n",
        {"unknown/0": "S", "unknown/1": "FS"},
    ),
    "two tasks with one sentence": (
        "Task suite: s\nTask: a\nStarting episode 1...\nSuccess: True\nTask: a\n"
        "Starting episode 2...\nSuccess: False\nTask: a\nStarting episode 1...\nSuccess: True\n"
        "Task: b\nStarting episode 1...\nSuccess: False\n",
        {"s/a": "SF", "s/a (2)": "S", "s/b": "F"},
    ),
    "an episode that is started again": (
        "Task: a\nStarting episode 1...\nTask: a\nStarting episode 1...\nSuccess: True\n",
        {"unknown/a": "S"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOGS)
def test_logs_are_read_through_what_terminals_do_to_them(name: str, tmp_path: Path) -> None:
    content, expected = LOGS[name]
    assert tally(ingest([written(tmp_path / "x.log", content)])) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("task,success,success\npick,1,0\n", "column 'success' is there twice, expected each once"),
        ("Success,task,success\n1,a,0\n", "columns Success, success both mean success"),
        ("task,success\nposé,1\n".encode("latin-1"), "byte 16 is not UTF-8; save it as UTF-8"),
        (b"\x00\x01", "character 0 is NUL"),
        (b"PK\x03\x04rest", "a zip archive or a spreadsheet, expected text; save the sheet as CSV"),
        (b"\x1f\x8brest", "compressed with gzip, expected text; run gunzip"),
        ("", "is empty"),
        ("task,success\n", "no episode has ended in this csv file"),
        ('task,success\n"pick,1\n', "no table of cells: unexpected end of data"),
        (f"task,success\n{'x' * 2_000_000},1\n", "no table of cells: field larger than"),
        ("task,success\npick,0.85\n", "line 2: success is '0.85', expected true or false"),
        ("task,success_rate,n\npick,0.85,20\n", "success_rate, n: rates, and no row an episode"),
        ("env,trial,done\na,0,1\n", "its columns are env, trial, done. Say which is which: --map"),
        ("task,episode,success\na,0.5,1\n", "episode is '0.5', expected a whole number"),
        ([{"task_id": 0, "instruction": "open", "success_rate": 0.98}],
         r"holds sums \(success_rate\) and no episodes"),
        ({"tasks": {"a": {"successes": 40, "episodes": 50}}}, "holds sums"),
        ({"Camera": {"success": 1, "total": 1}}, "holds sums"),
        ({"tasks": ["a", "b"], "success_rates": [1.0, 0.0]}, r"holds sums \(success_rates\)"),
        (jsonl({"env": "a", "n_trial": 0, "done": True}), "--map task=KEY,success=KEY"),
        (jsonl(EPISODES[0], {"task": "a", "episode": 1}), "line 2 is an episode that says no"),
        ('{"task": "a", "success": true, "success": false}', "key 'success' is there twice"),
        ('{"task": "a", "success": true}\n{"task": \n{"task": "a", "success": true}\n',
         "begins like JSON and is not"),
        ({"pi0": {"goal": {"a": [1]}}, "pi05": {"goal": {"a": [0]}}},
         "several policies, pi0, pi05; say --policy"),
        ("hello there\n", "say how a log's lines are written: --pattern"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_one_line_that_names_the_cause(
    content: object, message: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "x", content)
    with pytest.raises(RecordError, match=message) as caught:
        ingest([path])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_names_are_said_once_and_kept_in_the_header(tmp_path: Path) -> None:
    rows = jsonl(*({"robot": "a", "k": n, "done": n == 0, "hue": "red"} for n in range(2)))
    said = ["task=robot,init=k", "success=done,group=hue"]
    run = ingest([written(tmp_path / "x.jsonl", rows)], columns=said)
    assert tally(run) == {"unknown/a": "SF"}
    assert known(run)
    assert run.header.ingested
    assert run.header.ingested.columns == {
        "task": "robot", "init": "k", "success": "done", "group 1": "hue"
    }  # fmt: skip
    assert run.header.ingested.groups == {"hue": {"unknown/a": "red"}}
    out = tmp_path / "run.jsonl"
    write_run(out, run)
    assert read_run(out) == run


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("success=dne", "no column 'dne', as --map says; there are task, won"),
        ("colour=x", "expected MEANING=COLUMN with a meaning out of suite, task"),
        ("success", "expected MEANING=COLUMN"),
        ("success=won,success=task", "--map says success twice, 'won' and 'task'"),
        ("success=won,group=hue", "no column 'hue', as --map says"),
    ],
)
def test_a_mapping_to_what_is_not_there_is_refused(said: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=message):
        ingest([written(tmp_path / "x.csv", "task,won\na,1\n")], columns=[said])


def test_a_log_is_read_by_the_patterns_that_are_said(tmp_path: Path) -> None:
    path = written(
        tmp_path / "x.log",
        "== bowl (light) ==\nrollout 3: OK after 12\nrollout 4: BAD after 90\n"
        "== cup (dark) ==\nrollout 3: OK after 7\n",
    )
    patterns = [
        r"== (?P<task>\w+) \((?P<lamp>\w+)\)",
        r"rollout (?P<init>\d+): (?:(?P<success>OK)|(?P<failure>BAD)) after (?P<steps>\d+)",
    ]
    run = ingest([path], patterns=patterns)
    assert tally(run) == {"unknown/bowl": "SF", "unknown/cup": "S"}
    assert [r.steps for r in run.episodes] == [12, 90, 7]
    assert [r.episode.init_index for r in run.episodes] == [3, 4, 3]
    assert known(run)
    assert run.header.ingested
    assert run.header.ingested.patterns == tuple(patterns)
    assert run.header.ingested.groups == {"lamp": {"unknown/bowl": "light", "unknown/cup": "dark"}}
    for wrong, message in (
        ("(?P<task>x)", "no --pattern has a group success"),
        ("(?P<success>x", "is no regular expression"),
        ("(?P<success>never)", "no line matches"),
    ):
        with pytest.raises(RecordError, match=message):
            ingest([path], patterns=[wrong])


def test_what_looks_like_a_bar_is_left_in_a_message(tmp_path: Path) -> None:
    path = written(tmp_path / "x.log", "rate 50% | bowl | ok\nrate 60%|###| 3/5 | cup | fail\n")
    run = ingest([path], patterns=[r"\| (?P<task>\w+) \| (?P<success>\w+)$"])
    assert tally(run) == {"unknown/bowl": "S", "unknown/cup": "F"}


def test_categories_are_columns_of_a_frame(tmp_path: Path) -> None:
    rows = jsonl(ROW_A, {**ROW_A, "task_name": "b", "task_id": 1, "category": "Camera"})
    out = tmp_path / "run.jsonl"
    write_run(out, ingest([written(tmp_path / "x.jsonl", rows)]))
    assert list(read_frame(out)["category"]) == ["Light", "Camera"]


def with_states(name: str, suite: str) -> str:
    rows = [f"{suite},a,{n},{n % 2}" for n in range(4)]
    return "\n".join([f"suite,task,{name},success", *rows, ""])


@pytest.mark.parametrize(
    ("content", "paired"),
    [
        (with_states("init_state_idx", "s"), True),
        (with_states("seed", "s"), True),
        (with_states("episode", "s"), False),
        (with_states("episode", "libero_goal"), True),
        ("task,success\na,1\nb,0\n", True),
        ("task,success\na,1\na,0\n", False),
    ],
    ids=["a state's number", "a seed", "an attempt's number", "LIBERO", "one trial each", "none"],
)
def test_runs_pair_where_initial_states_are_known_by_number(
    content: str, paired: bool, tmp_path: Path
) -> None:
    one = ingest([written(tmp_path / "one.csv", content)], policy="one")
    other = ingest([written(tmp_path / "other.csv", content + "\n")], policy="other")
    assert known(one) is paired
    found = compare_runs(one, other)
    assert (found.verdict is Verdict.NOT_COMPARABLE) is not paired
    if not paired:
        assert "no column init or seed; if one numbers them, say --map init=" in found.reasons[0]


def test_states_that_a_log_shifts_are_not_paired(tmp_path: Path) -> None:
    def log(name: str, more: str) -> Run:
        text = f"Task suite: libero_10\n{more}Task: a\nStarting episode 1...\nSuccess: True\n"
        return ingest([written(tmp_path / name, text)])

    plain = log("plain.txt", "")
    for more, places in (
        ("Init indices: [5, 6]\n", [5]),
        ("initial_state_ids=[7]\n", [7]),
        ("Init states offset: 5\n", None),
        ("Starting from initial state 5\n", None),
        ("start_episode_idx=10\n", None),
        ("using randomly sampled init states\n", None),
        ("Init indices: [5]\nTask: b\nStarting episode 2...\nSuccess: True\n", None),
    ):
        run = log("shifted.txt", more)
        assert run.header.plan_digest != plain.header.plan_digest, more
        assert known(run) is (places is not None), more
        if places:
            assert [r.episode.init_index for r in run.episodes] == places
    text = (
        "Task suite: libero_10\nTask: a\nStarting episode 1...\ninit_state_idx: 9\nSuccess: True\n"
        "Task: a\nStarting episode 2...\nSuccess: False\n"
    )
    said = ingest([written(tmp_path / "said.txt", text)])
    assert [r.episode.init_index for r in said.episodes] == [9, 1]
    harmless = (
        "Using default initial states\ninit_states = torch.load(init_states_path)\n"
        "Initializing 3 environments\ninitial_states_path='DEFAULT'\n"
    )
    assert log("harmless.txt", harmless).header.plan_digest == plain.header.plan_digest


def test_several_evaluation_seeds_are_repeats(tmp_path: Path) -> None:
    rows = "task,episode,seed,success\npick,0,7,1\npick,1,7,0\npick,0,8,1\npick,1,8,1\n"
    logs = [
        written(
            tmp_path / f"seed{seed}.txt",
            f"Task suite: s\nTask: a\nStarting episode 1...\nSuccess: True\n"
            f"Task: a\nStarting episode 2...\nSuccess: {seed == 8}\n",
        )
        for seed in (7, 8)
    ]
    for run in (ingest([written(tmp_path / "seeds.csv", rows)]), ingest(logs)):
        places = Counter((r.episode.init_index, r.episode.repeat) for r in run.episodes)
        assert places == dict.fromkeys([(0, 0), (0, 1), (1, 0), (1, 1)], 1)
        assert (run.header.request.episodes, run.header.request.repeats) == (2, 2)
    assert "taken as repeats" in ingest(logs).header.fingerprint.mismatches[1]


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for suite in ("spatial", "object"):
        (tmp_path / suite).mkdir()
        content = {"per_task": [{"task_group": suite, "task_id": 0,
                                 "metrics": {"successes": [True, False]}}]}  # fmt: skip
        written(tmp_path / suite / "eval_info.json", content)
    paths = [tmp_path / suite / "eval_info.json" for suite in ("spatial", "object")]
    run = ingest(paths)
    assert tally(run) == {"spatial/0": "SF", "object/0": "SF"}
    assert run.header.ingested
    assert list(run.header.ingested.sources) == ["spatial/eval_info.json", "object/eval_info.json"]
    with pytest.raises(RecordError, match="is given twice"):
        ingest([paths[0], paths[0]])


def test_attempts_at_unknown_states_go_on_counting_from_file_to_file(tmp_path: Path) -> None:
    files = [
        written(tmp_path / f"{n}.csv", f"task,success\na,1\na,{n}\n") for n in range(2)
    ]  # fmt: skip
    run = ingest(files)
    assert [(r.episode.init_index, r.episode.repeat) for r in run.episodes] == [
        (0, 0), (1, 0), (2, 0), (3, 0)
    ]  # fmt: skip


def test_a_seed_around_the_episodes_is_the_runs(tmp_path: Path) -> None:
    content = {"seed": 3, "tasks": [{"task": "a", "success_list": [1, 0]}]}
    run = ingest([written(tmp_path / "x.json", content)])
    assert run.header.request.seed == 3
    assert "scene_seed" in run.header.unknown
    assert not known(run)


def test_lists_beside_the_outcomes_belong_to_the_same_episodes(tmp_path: Path) -> None:
    content = {"task": "a", "successes": [1, 0], "seeds": [4, 5], "episode_lengths": [10, 20]}
    run = ingest([written(tmp_path / "x.json", content)])
    assert [(r.episode.scene_seed, r.steps) for r in run.episodes] == [(4, 10), (5, 20)]


def test_a_column_of_more_values_than_anybody_compares_groups_nothing(tmp_path: Path) -> None:
    def groups(count: int) -> set[str]:
        rows = jsonl(
            *({"task": f"t{n}", "variant": f"v{n}", "success": True} for n in range(count))
        )
        found = ingest([written(tmp_path / "x.jsonl", rows)]).header.ingested
        assert found
        return set(found.groups)

    assert groups(64) == {"variant"}
    assert groups(65) == set()
