"""Files of demonstrations: ours, LIBERO's, and those that are neither."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlabench import Camera, EpisodeSpec, Orientation, SerialRunner
from vlabench.demos import (
    Demo,
    Origin,
    Recording,
    demos_digest,
    prepare_collection,
    read_demos,
    write_demo,
)
from vlabench.demos.collect import choose_cameras, training_rules
from vlabench.demos.show import contact_sheet, summarize
from vlabench.errors import DemoError, MissingExtraError, RecordError, StorageError

h5py = pytest.importorskip("h5py", reason="needs: pip install 'vlabench-harness[demos]'")

FRONT = Camera(name="front", height=4, width=6, orientation=Orientation.MIRRORED)
PLACE = "data/demo_0"


def made(task: str = "kitchen/3", index: int = 0, steps: int = 5) -> Demo:
    """Return a small demonstration that depends on its arguments alone."""
    rng = np.random.default_rng([index, steps])
    episode = EpisodeSpec(task_id=task, init_index=index, scene_seed=7, policy_seed=8)
    return Demo(
        instruction="open the drawer",
        actions=rng.uniform(-1, 1, (steps, 7)).astype(np.float32),
        executed=rng.uniform(-1, 1, (steps, 7)).astype(np.float32),
        state=rng.normal(size=(steps, 8)).astype(np.float32),
        images={"front": rng.integers(0, 256, (steps, 4, 6, 3), dtype=np.uint8)},
        cameras={"front": FRONT},
        privileged={
            "drawer 1/handle": rng.normal(size=(steps, 7)).astype(np.float32),
            "joint": rng.normal(size=(steps, 1)).astype(np.float32),
        },
        origin=Origin(
            suite="kitchen",
            suite_version=2,
            protocol="training@1",
            policy="expert",
            policy_digest="",
            episode=episode,
            noise=0.1,
        ),
    )


def equal(a: Demo, b: Demo) -> bool:
    arrays = [
        {"a": d.actions, "e": d.executed, "s": d.state, **d.images, **d.privileged} for d in (a, b)
    ]
    same = all(
        left.dtype == arrays[1][name].dtype and np.array_equal(left, arrays[1][name])
        for name, left in arrays[0].items()
    )
    rest = [(d.instruction, d.cameras, d.origin, d.low, d.high, len(d)) for d in (a, b)]
    return same and arrays[0].keys() == arrays[1].keys() and rest[0] == rest[1]


def liberos(path: Path, numbers: tuple[int, ...] = (0, 1), steps: int = 4, **attrs: str) -> Path:
    """Write a small file in the layout of LIBERO's public demonstrations."""
    rng = np.random.default_rng(0)
    problem = {"problem_name": "libero", "language_instruction": "put the bowl on the plate"}
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs.update({"problem_info": json.dumps(problem), "num_demos": len(numbers)} | attrs)
        data.attrs["env_args"] = json.dumps({"env_name": "Libero_Tabletop_Manipulation"})
        for number in numbers:
            demo = data.create_group(f"demo_{number}")
            demo["actions"] = np.full((steps, 7), number / 100)  # float64, as theirs
            demo["states"] = rng.normal(size=(steps, 92))
            demo["robot_states"] = rng.normal(size=(steps, 9))
            demo["rewards"] = demo["dones"] = np.zeros(steps, dtype=np.uint8)
            obs = demo.create_group("obs")
            for name, size in (("ee_pos", 3), ("ee_ori", 3), ("gripper_states", 2)):
                obs[name] = rng.normal(size=(steps, size))
            obs["ee_states"] = np.hstack([obs["ee_pos"][()], obs["ee_ori"][()]])
            obs["joint_states"] = rng.normal(size=(steps, 7))
            for name in ("agentview_rgb", "eye_in_hand_rgb"):
                obs[name] = rng.integers(0, 256, (steps, 8, 8, 3), dtype=np.uint8)
    return path


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    write_demo(tmp_path / "a.hdf5", made())
    (found,) = read_demos(tmp_path)
    assert equal(found, made())
    assert found.source == tmp_path / "a.hdf5"
    assert found.task_id == "kitchen/3"


def test_the_layout_is_robomimics(tmp_path: Path) -> None:
    write_demo(tmp_path / "a.hdf5", made())
    with h5py.File(tmp_path / "a.hdf5") as file:
        data, demo = file["data"], file[PLACE]
        assert json.loads(data.attrs["problem_info"]) == {"language_instruction": "open the drawer"}
        about = json.loads(data.attrs["env_args"])
        assert about["env_name"] == "kitchen/3"
        assert about["env_kwargs"]["suite"] == "kitchen"
        assert about["env_kwargs"]["protocol"] == "training@1"
        assert (data.attrs["format"], data.attrs["total"], demo.attrs["num_samples"]) == (1, 5, 5)
        assert demo["rewards"][()].tolist() == demo["dones"][()].tolist() == [0, 0, 0, 0, 1]
        shapes = {}
        demo.visititems(lambda name, item: shapes.update({name: getattr(item, "shape", None)}))
        assert {name: shape for name, shape in shapes.items() if shape} == {
            "actions": (5, 7),
            "executed_actions": (5, 7),
            "rewards": (5,),
            "dones": (5,),
            "obs/state": (5, 8),
            "obs/privileged/joint": (5, 1),
            "obs/privileged/drawer 1%2Fhandle": (5, 7),
            "obs/front_rgb": (5, 4, 6, 3),
        }
        assert demo["obs/front_rgb"].attrs["camera"] == b"front 6x4 mirrored full"
        assert demo["obs/front_rgb"].compression == "gzip"


def test_equal_demonstrations_give_equal_bytes_and_nothing_else_is_left(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_demo(tmp_path / f"{name}.hdf5", made())
    assert (tmp_path / "a.hdf5").read_bytes() == (tmp_path / "b.hdf5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.hdf5", "b.hdf5"]


def test_the_order_is_that_of_numbers(tmp_path: Path) -> None:
    for task in ("k/10", "k/2"):
        for index in (10, 2):
            write_demo(tmp_path / task.replace("/", "-") / f"{index}.hdf5", made(task, index))
    liberos(tmp_path / "a_demo.hdf5", (10, 2, 0))
    found = [
        (demo.origin.episode.key if demo.origin else demo.name) for demo in read_demos(tmp_path)
    ]
    assert found == ["demo_0", "demo_2", "demo_10", "k/2#2", "k/2#10", "k/10#2", "k/10#10"]


@pytest.mark.parametrize(
    ("tasks", "count"),
    [("*", 5), ("k/2", 2), ("2", 2), ("k/*", 3), ("2, 3", 3), ("a_demo", 2)],
)
def test_tasks_are_chosen_by_globs(tasks: str, count: int, tmp_path: Path) -> None:
    for number, task in enumerate(["k/2", "k/2", "k/3"]):
        write_demo(tmp_path / f"{number}.hdf5", made(task, number))
    liberos(tmp_path / "a_demo.hdf5")
    assert len(list(read_demos(tmp_path, tasks=tasks))) == count
    with pytest.raises(DemoError, match="of a task that matches 'k/4'"):
        list(read_demos(tmp_path, tasks="k/4"))


def test_pictures_and_privileged_state_can_be_left_out(tmp_path: Path) -> None:
    write_demo(tmp_path / "a.hdf5", made())
    (found,) = read_demos(tmp_path / "a.hdf5", images=False, privileged=False)
    assert equal(found, replace(made(), images={}, privileged={}))
    assert found.cameras == {"front": FRONT}


def test_liberos_own_demonstrations_are_read(tmp_path: Path) -> None:
    path = liberos(tmp_path / "put_the_bowl_on_the_plate_demo.hdf5", (0, 1))
    first, second = read_demos(path)
    assert first.instruction == "put the bowl on the plate"
    assert (first.task_id, first.origin, second.name) == ("", None, "demo_1")
    assert first.actions.dtype == first.state.dtype == np.float32
    assert second.actions.tolist() == np.full((4, 7), np.float32(0.01)).tolist()
    assert second.executed is second.actions
    with h5py.File(path) as file:
        obs = file["data/demo_0/obs"]
        state = np.hstack([obs[name][()] for name in ("ee_pos", "ee_ori", "gripper_states")])
        np.testing.assert_array_equal(first.state, state.astype(np.float32))
        np.testing.assert_array_equal(first.images["agentview"], obs["agentview_rgb"][()])
        wrist = first.images["robot0_eye_in_hand"]
        np.testing.assert_array_equal(wrist, obs["eye_in_hand_rgb"][()])
    assert {str(camera) for camera in first.cameras.values()} == {
        "agentview 8x8 upside-down full",
        "robot0_eye_in_hand 8x8 upside-down full",
    }


@pytest.mark.parametrize(
    "said", [{"language_instruction": '"pick it"'}, {"language_instruction": list("pick it")}]
)
def test_liberos_sentences_come_in_three_ways(said: dict[str, Any], tmp_path: Path) -> None:
    path = liberos(tmp_path / "x.hdf5", problem_info=json.dumps(said))
    assert {demo.instruction for demo in read_demos(path)} == {"pick it"}


def test_liberos_pictures_may_say_that_they_are_upright(tmp_path: Path) -> None:
    path = liberos(tmp_path / "x.hdf5", macros_image_convention="opencv")
    (demo, _) = read_demos(path)
    assert {camera.orientation for camera in demo.cameras.values()} == {Orientation.UPRIGHT}


def test_a_digest_is_of_what_the_files_hold(tmp_path: Path) -> None:
    for number, place in enumerate(["one", "two/deep"]):
        write_demo(tmp_path / place / "b.hdf5", made(index=1))
        write_demo(tmp_path / place / f"{number}.hdf5", made(index=0))
        liberos(tmp_path / place / "libero.hdf5")
    whole = demos_digest(tmp_path / "one")
    assert whole == demos_digest(tmp_path / "two")
    assert whole != demos_digest(tmp_path / "one", tasks="kitchen/*")
    write_demo(tmp_path / "two" / "c.hdf5", made(index=2))
    assert whole != demos_digest(tmp_path / "two")
    with pytest.raises(DemoError, match="of a task that matches 'nothing'"):
        demos_digest(tmp_path, tasks="nothing")


def rewrite(name: str, value: object) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[f"{PLACE}/{name}"]
        file[f"{PLACE}/{name}"] = value

    return change


def remove(name: str) -> Callable[[Any], None]:
    return lambda file: file.__delitem__(name)


def attribute(place: str, name: str, value: object) -> Callable[[Any], None]:
    return lambda file: file[place].attrs.__setitem__(name, value)


def add_one(name: str) -> Callable[[Any], None]:
    return lambda file: file[f"{PLACE}/{name}"].__setitem__(0, file[f"{PLACE}/{name}"][0] + 1)


def claim(name: str, shape: tuple[int, ...]) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[f"{PLACE}/{name}"]
        file[PLACE].create_dataset(name, shape=shape, dtype="f4", chunks=(1, *shape[1:]))

    return change


def link(name: str) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[f"{PLACE}/{name}"]
        file[f"{PLACE}/{name}"] = h5py.ExternalLink("other.hdf5", f"{PLACE}/{name}")

    return change


def group_in_place_of(name: str) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[f"{PLACE}/{name}"]
        file.create_group(f"{PLACE}/{name}")

    return change


DAMAGE = {
    "no data": (remove("data"), "the file has no 'data'"),
    "no demo": (remove(PLACE), "data holds no demo_0"),
    "no actions": (remove(f"{PLACE}/actions"), "data/demo_0 has no 'actions'"),
    "no state": (remove(f"{PLACE}/obs/state"), "data/demo_0/obs has no 'state'"),
    "flat": (rewrite("actions", np.zeros(5)), r"shape \[5\], expected \[T, A\]"),
    "empty": (rewrite("actions", np.zeros((0, 7))), r"shape \[0, 7\], .* none of them 0"),
    "scalar": (rewrite("actions", 3.0), r"shape \[\], expected"),
    "group": (group_in_place_of("actions"), "is not an array, expected one of shape"),
    "text": (rewrite("actions", np.array([[b"x"]])), r"of type \|S1, expected numbers"),
    "nan": (rewrite("actions", np.full((5, 7), np.nan)), "numbers that are not finite"),
    "short": (rewrite("obs/state", np.zeros((4, 8))), "has 4 steps, its actions have 5"),
    "huge": (claim("actions", (10**9, 7)), "with at most 100000 steps and 4 GiB"),
    "wide": (claim("actions", (10**5, 10**6)), "with at most 100000 steps and 4 GiB"),
    "link": (link("actions"), "actions is a link"),
    "pictures": (rewrite("obs/front_rgb", np.zeros((5, 4, 6, 3))), "float64|no attribute 'camera'"),
    "camera": (attribute(f"{PLACE}/obs/front_rgb", "camera", "front"), "camera is 'front', expec"),
    "label": (add_one("actions"), "does not have the digest that it was written with"),
    "executed": (add_one("executed_actions"), "does not have the digest"),
    "seen": (add_one("obs/privileged/joint"), "does not have the digest"),
    "drawn": (add_one("obs/front_rgb"), "does not have the digest"),
    "sentence": (attribute("data", "problem_info", "{}"), "language_instruction None, expected a"),
    "no JSON": (attribute("data", "problem_info", "{"), "problem_info is '{', expected a JSON"),
    "a list": (attribute("data", "env_args", "[]"), "env_args is '.*', expected a JSON object"),
    "not ours": (attribute("data", "env_args", '{"env_name": ""}'), "env_args that .* not write"),
    "newer": (attribute("data", "format", 2), "has format 2; this version reads 1"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_file_is_named_and_not_read(what: str, tmp_path: Path) -> None:
    damage, said = DAMAGE[what]
    path = tmp_path / "some.hdf5"
    write_demo(path, made())
    with h5py.File(path, "a") as file:
        damage(file)
    with pytest.raises(DemoError, match=said) as caught:
        list(read_demos(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read: .*expected an HDF5 file"),
        (b"somebody's notes\n" * 100, "cannot be read: .*file signature not found"),
        (b"\x80\x04\x95\x10\x00\x00\x00", "cannot be read: .*file signature not found"),
    ],
)
def test_a_foreign_file_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "some.hdf5"
    path.write_bytes(content)
    for read in (lambda: list(read_demos(path)), lambda: demos_digest(path)):
        with pytest.raises(DemoError, match=f"^{re.escape(str(path))} {said}"):
            read()


@pytest.mark.parametrize("part", [0.05, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("libero", [False, True])
def test_a_file_that_is_cut_off_is_named(part: float, libero: bool, tmp_path: Path) -> None:
    path = tmp_path / "some.hdf5"
    liberos(path) if libero else write_demo(path, made())
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(DemoError, match=f"^{re.escape(str(path))} cannot be read: "):
        list(read_demos(path))


@pytest.mark.parametrize("seed", range(30))
def test_noise_in_a_file_is_found_or_harmless(seed: int, tmp_path: Path) -> None:
    rng, path = np.random.default_rng(seed), tmp_path / "some.hdf5"
    write_demo(path, made())
    content = bytearray(path.read_bytes())
    for place in rng.integers(0, len(content), 20):
        content[place] ^= int(rng.integers(1, 256))
    path.write_bytes(content)
    try:
        (found,) = read_demos(path)
    except DemoError:
        return
    assert equal(found, made())


@pytest.mark.parametrize(
    ("name", "said"),
    [("nowhere", "does not exist"), (".", "holds no \\*.hdf5"), ("x.hdf5/y", "does not exist")],
)
def test_a_place_without_demonstrations_is_said(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    write_demo(tmp_path / ".hidden" / "a.hdf5", made())
    with pytest.raises(DemoError, match=said):
        list(read_demos(tmp_path / name))


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*/file/a\.hdf5: File exists"):
        write_demo(tmp_path / "file" / "a.hdf5", made())


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "a.hdf5").write_bytes(b"")
    with pytest.raises(MissingExtraError, match=r"'h5py'.*pip install 'vlabench-harness\[demos\]'"):
        list(read_demos(tmp_path))
    with pytest.raises(MissingExtraError, match="'h5py'"):
        prepare_collection("point-reach", "point-reach-expert")


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demos")
    collection = prepare_collection(
        "point-reach",
        "point-reach-expert",
        request={"episodes": 9},
        settings={"speed": "0.5"},
        recording=Recording(
            noise=0.2, cameras=choose_cameras(training_rules("point-reach"), ["front"])
        ),
    )
    list(collection.run(SerialRunner(), folder))
    return folder


def test_a_summary_counts_attempts_demonstrations_and_steps(collected: Path) -> None:
    summary, demos = summarize(collected), list(read_demos(collected))
    assert summary.demos == len(demos) == sum(task.demos for task in summary.tasks)
    assert summary.steps == sum(map(len, demos))
    assert [task.task for task in summary.tasks] == ["point-reach/left", "point-reach/right"]
    assert {(task.attempts, task.errors) for task in summary.tasks} == {(9, 0)}
    assert summary.demos < 18
    assert summary.digest == demos_digest(collected)
    assert summary.settings["demos.noise"] == "0.2"
    (action,) = summary.actions
    labels = np.concatenate([demo.actions for demo in demos])
    assert action.low == labels.min() == -0.5
    assert action.mean == pytest.approx(labels.mean())
    assert action.saturated == 0
    assert 0 < action.noise < 0.2


def test_a_summary_says_when_nothing_was_kept(tmp_path: Path) -> None:
    collection = prepare_collection(
        "point-reach", "noop", settings={"chunk": "1"}, request={"episodes": 2}
    )
    list(collection.run(SerialRunner(), tmp_path))
    summary = summarize(tmp_path)
    assert (summary.demos, summary.actions, summary.digest) == (0, (), "")
    assert [(task.attempts, task.demos) for task in summary.tasks] == [(2, 0), (2, 0)]


def test_a_summary_of_liberos_files_has_no_attempts(tmp_path: Path) -> None:
    liberos(tmp_path / "bowl_demo.hdf5", (0, 1, 2))
    (task,) = summarize(tmp_path).tasks
    assert (task.task, task.demos, task.attempts, task.mean) == ("bowl_demo", 3, None, 4)


def test_actions_of_different_sizes_are_not_counted_together(tmp_path: Path) -> None:
    write_demo(tmp_path / "a.hdf5", made())
    write_demo(tmp_path / "b.hdf5", replace(made(), actions=np.zeros((5, 4), np.float32)))
    with pytest.raises(DemoError, match=r"actions have \[4, 7\] components"):
        summarize(tmp_path)


def test_a_damaged_results_file_is_named(collected: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(collected, tmp_path / "copy")
    (folder / "run.jsonl").write_text("notes\n")
    with pytest.raises(RecordError, match=r"run\.jsonl:1 is not JSON"):
        summarize(folder)


@pytest.mark.parametrize("kind", ["pictures", "path", "course"])
def test_a_sheet_is_drawn_of_pictures_or_of_paths(
    kind: str, collected: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    import imageio.v3 as imageio

    folder = tmp_path / "demos"
    if kind == "pictures":
        folder = collected
    elif kind == "path":
        write_demo(folder / "a.hdf5", replace(made(), images={}))
    else:
        demo = replace(made(), images={}, state=np.zeros((5, 2), np.float32))
        write_demo(folder / "a.hdf5", demo)
    assert contact_sheet(folder, tmp_path / "sheet.png") == (2 if kind == "pictures" else 1)
    picture = imageio.imread(tmp_path / "sheet.png")
    assert min(picture.shape[:2]) > 100
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 3
    with pytest.raises(DemoError, match=r"sheet\.txt: a sheet is one of \.png"):
        contact_sheet(folder, tmp_path / "sheet.txt")
    with pytest.raises(DemoError, match=r"cannot write .*: No such file"):
        contact_sheet(folder, tmp_path / "nowhere" / "sheet.png")


def test_a_sheet_of_many_tasks_is_about_as_wide_as_it_is_high(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    import imageio.v3 as imageio

    for task in range(40):
        demo = replace(made(f"kitchen/{task}"), images={}, state=np.zeros((5, 2), np.float32))
        write_demo(tmp_path / f"{task}.hdf5", demo)
    assert contact_sheet(tmp_path, tmp_path / "sheet.png") == 40
    height, width = imageio.imread(tmp_path / "sheet.png").shape[:2]
    assert 2 / 3 < width / height < 3 / 2


def test_the_sentence_is_in_the_files_name_where_no_attribute_says_it(tmp_path: Path) -> None:
    def without_attributes(name: str) -> Path:
        path = liberos(tmp_path / name)
        with h5py.File(path, "a") as file:
            for attribute in list(file["data"].attrs):
                del file["data"].attrs[attribute]
        return path

    for name, sentence in (
        ("open_the_drawer_demo.hdf5", "open the drawer"),
        ("LIVING_ROOM_SCENE2_put_the_cup_down_demo.hdf5", "put the cup down"),
    ):
        (demo, *_) = read_demos(without_attributes(name))
        assert demo.instruction == sentence
    for name in ("data.hdf5", "_demo.hdf5"):
        with pytest.raises(DemoError, match="'problem_info', and the file's name says no sentence"):
            list(read_demos(without_attributes(name)))
