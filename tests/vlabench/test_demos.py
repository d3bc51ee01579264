"""Collecting demonstrations: what is kept, what is executed, and that it can be done again."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vlabench import (
    ActionSpec,
    Decision,
    EpisodeSpec,
    Gripper,
    Observation,
    ObservationSpec,
    Outcome,
    ProcessRunner,
    Rotation,
    SerialRunner,
    Stage,
    load_policy,
    load_suite,
    make_plan,
    read_run,
)
from vlabench.demos import (
    Collection,
    Demo,
    Recorder,
    Recording,
    RecordingRunner,
    prepare_collection,
    read_demos,
)
from vlabench.demos.collect import choose_cameras, training_rules
from vlabench.errors import (
    DemoError,
    PlanError,
    RecordError,
    SettingError,
    StorageError,
    VlabenchError,
)
from vlabench.runners import Runner
from vlabench.testing import check_policy
from vlabench.verify import verify_run

pytest.importorskip("h5py", reason="needs the extra: pip install 'vlabench-harness[demos]'")

SUITE = load_suite("point-reach")
RULES = SUITE.protocol("training")
NOISY = Recording(noise=0.2)
SLOW = {"speed": "0.5"}  # too slow for a part of the starts
ARM = ActionSpec(size=7, delta=True, rotation=Rotation.AXIS_ANGLE, gripper=Gripper.CLOSE_POSITIVE)


def prepared(**changed: Any) -> Collection:
    arguments: dict[str, Any] = {"request": {"episodes": 12}, "recording": NOISY, **changed}
    return prepare_collection("point-reach", "point-reach-expert", **arguments)


def collect(folder: Path, runner: Runner | None = None, **changed: Any) -> Path:
    list(prepared(**changed).run(runner or SerialRunner(), folder))
    return folder


def files(folder: Path) -> dict[str, str]:
    """Return every file of demonstrations with a hash of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "run.jsonl"
    }


@dataclass
class Scripted:
    """An expert that wants the same always, in chunks of `horizon`; some answers are nonsense."""

    wants: Sequence[float]
    action: ActionSpec = RULES.action
    horizon: int = 1
    nonsense_in: frozenset[str] = frozenset()
    id: str = "scripted"
    digest: str = ""
    observation: ObservationSpec = field(default_factory=ObservationSpec)
    playing: dict[int, str] = field(default_factory=dict)

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        self.playing[slot] = episode.key

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        actions = np.tile(np.array(self.wants, dtype=np.float32), (len(slots), self.horizon, 1))
        for row, slot in enumerate(slots):
            if self.playing[slot] in self.nonsense_in:
                actions[row] = np.nan
        return Decision(actions=actions)


def answers(recorder: Recorder, steps: int, seed: int = 1) -> NDArray[np.float32]:
    """Return what a recorder executes in one episode, `[steps, A]`."""
    recorder.reset(0, EpisodeSpec(task_id="a/b", init_index=0, scene_seed=0, policy_seed=seed))
    seen = Observation(instruction="")
    return np.concatenate([recorder.act([0], [seen]).actions[0] for _ in range(steps)])


def test_every_success_is_kept_and_nothing_else(tmp_path: Path) -> None:
    collect(tmp_path, settings=SLOW)
    records = read_run(tmp_path / "run.jsonl").episodes
    by_outcome = {
        outcome: {record.episode for record in records if record.outcome is outcome}
        for outcome in Outcome
    }
    assert all(by_outcome[outcome] for outcome in (Outcome.SUCCESS, Outcome.FAILURE))
    kept = [demo.origin for demo in read_demos(tmp_path)]
    assert {origin.episode for origin in kept if origin} == by_outcome[Outcome.SUCCESS]
    assert len(kept) == len(by_outcome[Outcome.SUCCESS])
    steps = {record.episode.key: record.steps for record in records}
    for demo in read_demos(tmp_path):
        assert demo.origin
        assert len(demo) == steps[demo.origin.episode.key]


def test_the_label_is_what_the_expert_wanted_and_another_thing_was_executed(
    tmp_path: Path,
) -> None:
    demos = list(read_demos(collect(tmp_path, settings={"speed": "0.7"})))
    for demo in demos:
        wanted = np.clip((demo.privileged["mark"] - demo.state) / 0.1, -0.7, 0.7)
        np.testing.assert_allclose(demo.actions, wanted, atol=1e-6)
        assert (demo.executed != demo.actions).any()
        assert np.abs(demo.executed).max() <= 1
    assert len({demo.origin.noise for demo in demos if demo.origin}) == len(demos)
    assert all(demo.origin and 0 <= demo.origin.noise <= 0.2 for demo in demos)


def test_what_was_executed_leads_to_what_was_seen_and_to_the_goal_with_the_last_step(
    tmp_path: Path,
) -> None:
    stage = Stage(suite=SUITE, protocol=RULES, wants=RULES.observation)
    for demo in read_demos(collect(tmp_path)):
        assert demo.origin
        with closing(stage.make_env(demo.task_id)) as env:
            env.reset(demo.origin.episode)
            for state, action in zip(demo.state, demo.executed, strict=True):
                np.testing.assert_array_equal(env.observe().state, state)
                step = env.step(action)
        assert step.success


def test_without_noise_what_is_wanted_is_executed(tmp_path: Path) -> None:
    for demo in read_demos(collect(tmp_path, recording=None)):
        np.testing.assert_array_equal(demo.executed, demo.actions)


def test_an_episode_is_the_same_alone_beside_others_and_with_more_workers(tmp_path: Path) -> None:
    all_of_it = files(collect(tmp_path / "all"))
    left = files(collect(tmp_path / "left", request={"episodes": 12, "tasks": "left"}))
    two = files(collect(tmp_path / "two", ProcessRunner(2)))
    assert left
    assert left.items() <= all_of_it.items()
    assert two == all_of_it
    other = files(collect(tmp_path / "seed", request={"episodes": 12, "seed": 1}))
    assert not set(other.values()) & set(all_of_it.values())


def test_a_collection_killed_between_a_demonstration_and_its_record_resumes_to_the_same(
    tmp_path: Path,
) -> None:
    whole, broken = collect(tmp_path / "whole"), tmp_path / "broken"
    with closing(prepared().run(SerialRunner(), broken)) as records:
        assert len(list(islice(records, 8))) == 8
    run = broken / "run.jsonl"
    lines = run.read_bytes().splitlines(keepends=True)
    run.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])  # the last demonstration is there
    written = len(files(broken))
    assert written > len(read_run(run).episodes)
    (broken / "point-reach-left" / ".000007.hdf5.part").write_bytes(b"half of a file")
    collect(broken)
    assert files(broken) == files(whole)
    assert len(read_run(run).episodes) == 24


def test_a_demonstration_that_cannot_be_written_leaves_no_record(tmp_path: Path) -> None:
    tmp_path.joinpath("point-reach-right").write_text("somebody's notes")
    with pytest.raises(StorageError, match=r"cannot write .*point-reach-right/000000\.hdf5: "):
        collect(tmp_path)
    recorded = read_run(tmp_path / "run.jsonl").episodes
    assert {record.episode.task_id for record in recorded} == {"point-reach/left"}
    tmp_path.joinpath("point-reach-right").unlink()
    collect(tmp_path)
    assert len(files(tmp_path)) == 24


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"recording": Recording(noise=0.1)}, "'demos.noise': '0.2'.*'demos.noise': '0.1'"),
        ({"recording": None}, "'demos.noise': '0.2'.*'demos.noise': '0'"),
        (
            {"recording": replace(NOISY, cameras=choose_cameras(RULES, ["front:64x16"]))},
            "'demos.cameras': 'front 64x16 upright full'",
        ),
        ({"settings": SLOW}, "'speed': '0.5'"),
        ({"request": {"episodes": 13}}, "plan: "),
    ],
)
def test_another_collection_in_the_same_folder_is_refused(
    changed: dict[str, Any], said: str, tmp_path: Path
) -> None:
    before = files(collect(tmp_path))
    with pytest.raises(RecordError, match=f"belongs to another run .*{said}"):
        collect(tmp_path, **changed)
    assert files(tmp_path) == before


def test_a_collection_verifies_with_its_noise(tmp_path: Path) -> None:
    third = Recording(noise=1 / 3)  # more digits than are usually written
    found = read_run(collect(tmp_path, settings=SLOW, recording=third) / "run.jsonl")
    assert [one.where for one in verify_run(found, episodes=3, workers=1)] == ["", "", ""]
    other = {**found.header.settings, "demos.noise": "0.333333"}
    changed = replace(found, header=replace(found.header, settings=other))
    assert all("actions differ" in one.where for one in verify_run(changed, episodes=3, workers=1))


def test_demonstrations_of_unknown_origin_are_not_mixed_in(tmp_path: Path) -> None:
    collect(tmp_path)
    (tmp_path / "run.jsonl").unlink()
    with pytest.raises(DemoError, match=r"holds demonstrations and no run\.jsonl"):
        collect(tmp_path)
    assert not (tmp_path / "run.jsonl").exists()


def test_a_recorded_success_whose_demonstration_is_gone_is_said_at_once(tmp_path: Path) -> None:
    collect(tmp_path)
    lost = tmp_path / "point-reach-left" / "000003.hdf5"
    lost.unlink()
    with pytest.raises(DemoError, match=f"1 successes whose .* gone, the first is {lost}"):
        collect(tmp_path)


def test_rules_of_an_evaluation_are_refused() -> None:
    with pytest.raises(PlanError, match=r"standard@1 .* is for evaluation.*for training: training"):
        prepared(protocol="standard")
    alone = replace(SUITE, protocols=SUITE.protocols[:1])
    with pytest.raises(PlanError, match="has no protocol for training, only standard@1"):
        alone.training_protocol()


@pytest.mark.parametrize("noise", [-0.1, 1.1, float("nan"), float("inf")])
def test_noise_out_of_range_is_refused(noise: float) -> None:
    with pytest.raises(SettingError, match=r"noise is .* between 0 and 1"):
        Recording(noise=noise)


@pytest.mark.parametrize("runner", [SerialRunner(), ProcessRunner(2)])
def test_an_expert_that_answers_with_chunks_is_refused(runner: Runner, tmp_path: Path) -> None:
    collection = prepare_collection("point-reach", "random", request={"episodes": 2})
    with pytest.raises(DemoError, match=r"shape \[1, 8, 1\], expected \[1, 1, 1\].*chunk=1"):
        list(collection.run(runner, tmp_path))
    assert read_run(tmp_path / "run.jsonl").episodes == ()


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
def test_an_expert_whose_action_is_no_number_is_refused_and_not_clipped(number: float) -> None:
    class Broken:
        id, digest = "broken", ""
        action, observation = RULES.action, ObservationSpec()

        def reset(self, slot: int, episode: EpisodeSpec) -> None:
            pass

        def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
            return Decision(actions=np.full((len(slots), 1, 1), number, dtype=np.float32))

    recorder = Recorder(Broken(), RULES)
    recorder.reset(0, make_plan(SUITE, "training", episodes=1).episodes[0])
    with pytest.raises(ValueError, match="an action that is not finite"):
        recorder.act([0], [Observation(instruction="")])


def test_an_episode_that_breaks_is_an_error_and_is_not_kept(tmp_path: Path) -> None:
    episodes = make_plan(SUITE, "training", tasks="right", episodes=3).episodes
    expert = Scripted([1.0], nonsense_in=frozenset({"point-reach/right#1"}))
    recorder = Recorder(expert, RULES)
    stage = Stage(suite=SUITE, protocol=RULES, wants=recorder.observation)
    records = list(RecordingRunner(SerialRunner(), tmp_path).run(stage, recorder, episodes))
    outcomes = [record.outcome for record in records]
    assert outcomes == [Outcome.SUCCESS, Outcome.ERROR, Outcome.SUCCESS]
    kept = {demo.origin.episode for demo in read_demos(tmp_path) if demo.origin}
    assert kept == {episodes[0], episodes[2]}
    with pytest.raises(KeyError):  # nothing is remembered of what has ended
        recorder.hand_over(episodes[1])


def test_a_recorder_keeps_the_contract_of_policies() -> None:
    expert = load_policy("point-reach-expert", SUITE, RULES)
    recorder = Recorder(expert, RULES, NOISY)
    check_policy(recorder, SUITE, protocol="training")
    assert (recorder.id, recorder.digest) == (expert.id, expert.digest)


def test_it_sees_what_the_expert_needs_and_what_is_kept() -> None:
    (front,) = choose_cameras(RULES, ["front:64x16"])
    recorder = Recorder(Scripted([0.0]), RULES, Recording(cameras=(front,)))
    assert recorder.observation == ObservationSpec(
        cameras=(front,), state="position", state_size=1, privileged=True
    )


def test_the_gripper_has_no_noise_and_nothing_leaves_the_range() -> None:
    wants = [0.5, -1.0, 3.0, 0.0, 0.0, 0.0, 1.0]
    recorder = Recorder(
        Scripted(wants, action=ARM), replace(RULES, action=ARM), Recording(noise=1.0)
    )
    executed = answers(recorder, 40)
    assert (executed[:, 6] == 1).all()
    assert (executed[:, :6].std(axis=0) > 0).all()
    assert np.abs(executed).max() == 1
    episode = EpisodeSpec(task_id="a/b", init_index=0, scene_seed=0, policy_seed=1)
    labels = np.array(recorder.hand_over(episode).wanted)
    np.testing.assert_array_equal(labels, np.tile(np.clip(wants, -1, 1), (40, 1)).astype("f4"))


def test_noise_is_held_for_four_steps_and_is_the_episodes_own() -> None:
    def pushed(seed: int) -> NDArray[np.float32]:
        return answers(Recorder(Scripted([0.0]), RULES, Recording(noise=0.5)), 12, seed)

    held = pushed(1).reshape(3, 4)
    assert (held == held[:, :1]).all()
    assert len(set(held[:, 0])) == 3
    np.testing.assert_array_equal(pushed(1), pushed(1))
    assert (pushed(1) != pushed(2)).all()


def test_noise_is_in_halves_of_the_action_range() -> None:
    wide = replace(RULES.action, low=-10.0, high=10.0)
    small, large = (
        answers(Recorder(Scripted([0.0], action=a), replace(RULES, action=a), NOISY), 8)
        for a in (RULES.action, wide)
    )
    np.testing.assert_allclose(large, 10 * small, rtol=1e-5)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("front", ""),
        ("front:64x16", ""),
        ("front:64x16:upright:full", ""),
        ("back:64x16", "is none of what protocol training@1 shows: front:64x16:upright:full"),
        ("front:128", "is none of"),
        ("", "is none of"),
    ],
)
def test_cameras_are_asked_for_by_name_and_size(asked: str, said: str) -> None:
    if not said:
        assert choose_cameras(RULES, [asked]) == RULES.observation.cameras
        return
    with pytest.raises(SettingError, match=said):
        choose_cameras(RULES, [asked])


def test_a_camera_that_is_not_told_apart_is_refused_with_the_choices() -> None:
    rules = training_rules("libero-goal")
    with pytest.raises(
        SettingError, match=r"could be any of .*:256:mirrored:full, .*:256:mirrored:fast"
    ):
        choose_cameras(rules, ["agentview:256"])
    (camera,) = choose_cameras(rules, ["agentview:256:fast"])
    assert str(camera) == "agentview 256x256 mirrored fast"
    with pytest.raises(VlabenchError, match="needs agentview twice"):
        prepare_collection(
            "libero-goal",
            "noop",
            settings={"chunk": "1"},
            recording=Recording(cameras=choose_cameras(rules, ["agentview:64", "agentview:128"])),
        )


def places(suite_id: str, protocol: str, task: str, episodes: int, seed: int) -> Iterator[Any]:
    """Yield the full state after each reset, and it again rounded to a tenth of a millimetre."""
    suite = load_suite(suite_id)
    rules = suite.protocol(protocol)
    plan = make_plan(suite, protocol, tasks=task, episodes=episodes, seed=seed)
    stage = Stage(suite=suite, protocol=rules, wants=ObservationSpec(privileged=True))
    with closing(stage.make_env(plan.episodes[0].task_id)) as env:
        for episode in plan.episodes:
            env.reset(episode)
            shown = env.observe().privileged
            whole = np.concatenate([shown[name].ravel() for name in sorted(shown)])
            yield env.state_bytes(), np.round(whole, 4).tobytes(), episode.scene_seed


@pytest.mark.sim
@pytest.mark.parametrize(
    ("suite_id", "task", "counts", "seeds"),
    [
        ("libero-goal", "0", {"openvla": 50, "training": 10}, [0]),  # 50 are all that there are
        ("libero-object", "3", {"openvla": 50, "training": 10}, [0]),
        ("metaworld", "pick-place-v3", {"mt50": 20, "training": 20}, [0, 1, 2]),
        ("metaworld", "drawer-open-v3", {"mt50": 20, "training": 20}, [0, 1, 2]),
    ],
)
def test_training_and_evaluation_share_no_initial_state(
    suite_id: str, task: str, counts: dict[str, int], seeds: list[int]
) -> None:
    pytest.importorskip(suite_id.partition("-")[0])
    found = {
        rules: [state for seed in seeds for state in places(suite_id, rules, task, count, seed)]
        for rules, count in counts.items()
    }
    for what in range(3):
        evaluated, trained = ({state[what] for state in found[rules]} for rules in found)
        assert len(trained) == counts["training"] * len(seeds)
        assert not evaluated & trained


@pytest.mark.sim
def test_metaworlds_expert_makes_demonstrations_that_end_in_success(tmp_path: Path) -> None:
    pytest.importorskip("metaworld")
    collection = prepare_collection(
        "metaworld",
        "metaworld-expert",
        request={"tasks": "reach-v3,drawer-close-v3", "episodes": 2},
        recording=NOISY,
    )
    list(collection.run(ProcessRunner(1), tmp_path))
    demos = list(read_demos(tmp_path))
    assert {demo.task_id for demo in demos} == {"metaworld/reach-v3", "metaworld/drawer-close-v3"}
    suite = load_suite("metaworld")
    rules = suite.training_protocol()
    stage = Stage(suite=suite, protocol=rules, wants=collection.evaluation.policy.observation)
    for demo in demos:
        assert reaches_the_goal(stage, demo)


def reaches_the_goal(stage: Stage, demo: Demo) -> bool:
    assert demo.origin
    with closing(stage.make_env(demo.task_id)) as env:
        env.reset(demo.origin.episode)
        for state, action in zip(demo.state, demo.executed, strict=True):
            np.testing.assert_array_equal(env.observe().state, state)
            success = env.step(action.copy()).success
    return success
