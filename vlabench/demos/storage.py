"""Files of demonstrations, in the HDF5 layout of robomimic and LIBERO.

One file holds one episode. Those of `vlabench demos collect`:

    data                    attributes: format, problem_info (JSON, as LIBERO's), env_args (JSON)
    data/demo_0             attributes: num_samples, digest, privileged_digest
      actions               [T, A] float32, what the expert wanted: the label
      executed_actions      [T, A] float32, what was executed: differs where noise was added
      rewards, dones        [T] uint8, 0 but for the last
      obs/state             [T, S] float32
      obs/privileged/NAME   [T, ...] float32
      obs/CAMERA_rgb        [T, H, W, 3] uint8; attributes: camera, digest

`obs` at `t` is what was seen before `actions` at `t`. LIBERO's own files are read as well: many
`demo_i` each, and pictures bottom row first, as OpenGL returns them.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from vlabench.episode import EpisodeSpec
from vlabench.errors import DemoError, MissingExtraError, StorageError, VlabenchError
from vlabench.spaces import Camera, Orientation, Quality

FORMAT = 1
_MAX_STEPS = 100_000
_MAX_BYTES = 4 * 2**30
"""Of one array; a file that claims more is damaged or hostile."""
_COMPRESSION: dict[str, Any] = {"compression": "gzip", "compression_opts": 1}
_LIBERO_CAMERAS = {"agentview_rgb": "agentview", "eye_in_hand_rgb": "robot0_eye_in_hand"}
_LIBERO_STATE = ("ee_pos", "ee_ori", "gripper_states")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a demonstration of ours comes from.

    Attributes:
        suite: Id of the suite.
        suite_version: Its version.
        protocol: Name and version of the rules, `training@1`.
        policy: Id of the expert.
        policy_digest: Hash of its checkpoint; empty when its code is all there is.
        episode: The plan's entry.
        noise: Standard deviation of the noise in this episode, in halves of the action range.
    """

    suite: str
    suite_version: int
    protocol: str
    policy: str
    policy_digest: str
    episode: EpisodeSpec
    noise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """One demonstration of `T` steps; what was seen at `t`, and what was done about it.

    Attributes:
        instruction: The task's sentence.
        actions: What the expert wanted, `[T, A]` float32: the label.
        executed: What was executed, `[T, A]` float32; differs where noise was added.
        state: Proprioception, `[T, S]` float32.
        images: Pictures by the camera's name, `[T, height, width, 3]` uint8.
        cameras: What those pictures are: size, orientation and quality. Also of pictures that were
            not asked for.
        privileged: Simulator state by name, `[T, ...]` float32.
        low: Smallest meaningful value of an action's components.
        high: Largest one.
        origin: Where it comes from; None for files that `vlabench demos collect` did not write.
        source: The file.
        name: Which of the file's demonstrations.
    """

    instruction: str
    actions: NDArray[np.float32]
    executed: NDArray[np.float32]
    state: NDArray[np.float32]
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    cameras: Mapping[str, Camera] = field(default_factory=dict)
    privileged: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    low: float = -1.0
    high: float = 1.0
    origin: Origin | None = None
    source: Path = Path()
    name: str = "demo_0"

    @property
    def task_id(self) -> str:
        """The task, `libero-goal/3`; empty when the file does not say."""
        return self.origin.episode.task_id if self.origin else ""

    def __len__(self) -> int:
        return len(self.actions)


def demo_path(folder: Path, episode: EpisodeSpec) -> Path:
    """Return where an episode's demonstration is kept in a folder."""
    return folder / episode.task_file / f"{episode.init_index:06d}.hdf5"


def demo_files(path: Path) -> list[Path]:
    """Return the files of a folder (at any depth) or the one file, numbers in numeric order.

    Raises:
        DemoError: If there is none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DemoError(f"{path} does not exist; expected a folder or a file of demonstrations")
    found = [
        file
        for file in path.rglob("*.hdf5")
        if not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]
    if not found:
        raise DemoError(
            f"{path} holds no *.hdf5; demonstrations are made with: vlabench demos collect"
        )
    return sorted(found, key=lambda file: natural(str(file.relative_to(path))))


def read_demos(
    path: Path, *, tasks: str = "*", images: bool = True, privileged: bool = True
) -> Iterator[Demo]:
    """Read demonstrations one after the other, in an order that depends on their names alone.

    Args:
        path: A file, or a folder with files at any depth.
        tasks: Globs over task ids or over the part after the slash, separated by commas. Where the
            task is not known, over the file's name without its suffix.
        images: Whether pictures are read; they are most of a file.
        privileged: Whether privileged state is read.

    Raises:
        DemoError: If there is none, or one is not what it claims to be: damaged, cut off, of
            another layout, with absurd sizes.
        MissingExtraError: If h5py is not installed.
    """
    matched = 0
    for file in demo_files(path):
        with _opened(file) as data:
            if not _matches(data.label, tasks):
                continue
            for name in data.names():
                matched += 1
                yield data.demo(name, images=images, privileged=privileged)
    if not matched:
        raise DemoError(f"no demonstration in {path} is of a task that matches {tasks!r}")


def first_of_each_task(path: Path) -> Iterator[Demo]:
    """Read the first demonstration of every task, or of every file whose task is not known.

    Raises:
        DemoError: As `read_demos` does.
    """
    seen = set()
    for file in demo_files(path):
        with _opened(file) as data:
            if data.label not in seen:
                seen.add(data.label)
                yield data.demo(data.names()[0], images=True, privileged=False)


def demos_digest(path: Path, *, tasks: str = "*") -> str:
    """Hash what demonstrations hold, so that a checkpoint can name its training data.

    Two folders with the same demonstrations have the same digest, whatever they are called. Our
    files say their digest themselves, which `read_demos` checks; others are hashed whole.

    Raises:
        DemoError: As `read_demos` does.
    """
    entries = []
    for file in demo_files(path):
        with _opened(file) as data:
            if _matches(data.label, tasks):
                entries += data.digests()
    if not entries:
        raise DemoError(f"no demonstration in {path} is of a task that matches {tasks!r}")
    return hashlib.sha256("\n".join(sorted(entries)).encode()).hexdigest()[:16]


def write_demo(path: Path, demo: Demo) -> None:
    """Write one demonstration of ours. The file appears under its name when it is whole.

    Equal demonstrations give equal bytes. What is on disk when this returns survives a crash.

    Raises:
        StorageError: If it cannot be written.
        MissingExtraError: If h5py is not installed.
    """
    assert demo.origin is not None, "only what was collected is written"
    content = _content(demo)
    unfinished = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error.strerror}") from error


def require_h5py() -> ModuleType:
    """Import h5py.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("a file of demonstrations", "h5py", "demos") from error
    module: ModuleType = h5py
    return module


def _content(demo: Demo) -> bytes:
    """Put the file together in memory, which takes a third of the time that it takes on disk."""
    h5py = require_h5py()
    texts, images = _texts(demo), {name: _hash(image) for name, image in demo.images.items()}
    privileged = _hash_all(demo.privileged)
    last = np.zeros(len(demo), dtype=np.uint8)
    last[-1] = 1
    with h5py.File("demo", "w", driver="core", backing_store=False) as file:
        data = file.create_group("data")
        data.attrs.update({"format": FORMAT, "num_demos": 1, "total": len(demo)})
        data.attrs.update({name: _fixed(text) for name, text in texts.items()})
        group = data.create_group(demo.name)
        group.attrs["num_samples"] = len(demo)
        group.attrs["privileged_digest"] = _fixed(privileged)
        group.attrs["digest"] = _fixed(_digest(texts, _core(demo), privileged, images))
        for name, array in {**_core(demo), "rewards": last, "dones": last}.items():
            group[name] = array
        obs = group["obs"]
        shown = obs.create_group("privileged")
        for name, values in demo.privileged.items():
            shown[quote(name, safe=" ")] = values
        for name, image in demo.images.items():
            chunk = (1, *image.shape[1:])
            drawn = obs.create_dataset(f"{name}_rgb", data=image, chunks=chunk, **_COMPRESSION)
            drawn.attrs["camera"] = _fixed(str(demo.cameras[name]))
            drawn.attrs["digest"] = _fixed(images[name])
        file.flush()
        content: bytes = file.id.get_file_image()
    return content


def _fixed(text: str) -> np.bytes_:
    """Return a text of fixed length: HDF5 hangs on some damaged files with texts of another."""
    return np.bytes_(text.encode())


def _texts(demo: Demo) -> dict[str, str]:
    """Return what is written as JSON, by attribute."""
    origin = demo.origin
    assert origin is not None, "only what was collected is written"
    about = {
        "env_name": demo.task_id,
        "type": "vlabench",
        "action_range": [demo.low, demo.high],
        "env_kwargs": asdict(origin),
    }
    return {
        "problem_info": json.dumps({"language_instruction": demo.instruction}),
        "env_args": json.dumps(about, sort_keys=True),
    }


def _core(demo: Demo) -> dict[str, NDArray[np.float32]]:
    return {"actions": demo.actions, "executed_actions": demo.executed, "obs/state": demo.state}


def _hash(array: NDArray[Any]) -> str:
    whole = hashlib.blake2b(f"{array.dtype.str}{array.shape}".encode(), digest_size=16)
    whole.update(np.ascontiguousarray(array).data)
    return whole.hexdigest()


def _hash_all(arrays: Mapping[str, NDArray[Any]]) -> str:
    text = "\n".join(f"{name}\0{_hash(arrays[name])}" for name in sorted(arrays))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _digest(
    texts: Mapping[str, str],
    core: Mapping[str, NDArray[np.float32]],
    privileged: str,
    images: Mapping[str, str],
) -> str:
    whole = json.dumps([texts, _hash_all(core), privileged, images], sort_keys=True)
    return hashlib.blake2b(whole.encode(), digest_size=16).hexdigest()


def natural(text: str) -> list[str | int]:
    """Return a key that puts demo_2 before demo_10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]


def _matches(label: str, tasks: str) -> bool:
    patterns = [part.strip() for part in tasks.split(",") if part.strip()]
    names = (label, label.partition("/")[2])
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


@contextmanager
def _opened(path: Path) -> Iterator["_Data"]:
    h5py = require_h5py()
    try:
        with h5py.File(path, "r") as file:
            yield _Data(path, file)
    except VlabenchError:
        raise
    except Exception as error:  # h5py has an exception of almost every kind for damaged files
        found = str(error).strip("'\"").splitlines() or [repr(error)]
        raise DemoError(
            f"{path} cannot be read: {found[0]}; expected an HDF5 file of demonstrations, as "
            "`vlabench demos collect` or LIBERO write them"
        ) from error


class _Data:
    """An open file: the group `data`, ours or LIBERO's."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self._root = _Node(path, file)
        self._node = self._root.child("data")
        self.instruction = _instruction(self._node, path)
        self.ours = "format" in self._node.group.attrs
        self.about = self._about() if self.ours else {}
        self.label = self.about["origin"].episode.task_id if self.ours else path.stem

    def names(self) -> list[str]:
        """Return the names of the demonstrations, in numeric order."""
        found = [name for name in self._node.names() if re.fullmatch(r"demo_\d+", name)]
        if not found:
            raise DemoError(f"{self.path}: data holds no demo_0, demo_1, ...")
        return sorted(found, key=natural)

    def demo(self, name: str, *, images: bool, privileged: bool) -> Demo:
        """Read one demonstration."""
        node = self._node.child(name)
        actions = node.floats("actions", "[T, A]")
        if self.ours:
            return self._our_demo(node, actions, images=images, privileged=privileged)
        return self._libero_demo(node, actions, images=images)

    def digests(self) -> list[str]:
        """Return a line for every demonstration."""
        if not self.ours:
            with self.path.open("rb") as file:
                return [f"{self.path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}"]
        key = self.about["origin"].episode.key
        return [f"{key} {self._node.child(name).text('digest')}" for name in self.names()]

    def _about(self) -> dict[str, Any]:
        form = self._node.group.attrs["format"]
        if form != FORMAT:
            raise DemoError(
                f"{self.path} has format {form}; this version reads {FORMAT}: use the vlabench "
                "version that wrote it"
            )
        about = self._node.json("env_args")
        try:
            origin = dict(about["env_kwargs"])
            origin["episode"] = EpisodeSpec(**origin["episode"])
            about["origin"] = Origin(**origin)
            about["low"], about["high"] = map(float, about["action_range"])
        except (KeyError, TypeError, ValueError) as error:
            raise DemoError(
                f"{self.path}: data has an env_args that `vlabench demos collect` did not write: "
                f"{error!r}"
            ) from error
        return about

    def _our_demo(
        self, node: "_Node", actions: NDArray[np.float32], *, images: bool, privileged: bool
    ) -> Demo:
        steps, obs = len(actions), node.child("obs")
        drawn = [name for name in obs.names() if name.endswith("_rgb")]
        cameras = {name.removesuffix("_rgb"): _camera(obs.child(name)) for name in drawn}
        shown = obs.child("privileged")
        demo = Demo(
            instruction=self.instruction,
            actions=actions,
            executed=node.floats("executed_actions", "[T, A]", steps=steps),
            state=obs.floats("state", "[T, S]", steps=steps),
            cameras=cameras,
            images={name: obs.pictures(f"{name}_rgb", steps) for name in cameras if images},
            privileged={
                unquote(name): shown.floats(name, "[T, ...]", steps=steps)
                for name in shown.names()
                if privileged
            },
            low=self.about["low"],
            high=self.about["high"],
            origin=self.about["origin"],
            source=self.path,
            name=node.name,
        )
        self._check_digests(node, demo, drawn, privileged=privileged)
        return demo

    def _check_digests(
        self, node: "_Node", demo: Demo, drawn: Iterable[str], *, privileged: bool
    ) -> None:
        obs, said = node.child("obs"), node.text("privileged_digest")
        images = {name.removesuffix("_rgb"): obs.child(name).text("digest") for name in drawn}
        texts = {name: self._node.text(name) for name in ("problem_info", "env_args")}
        whole = _digest(texts, _core(demo), said, images) == node.text("digest")
        whole &= not privileged or _hash_all(demo.privileged) == said
        whole &= all(_hash(image) == images[name] for name, image in demo.images.items())
        if not whole:
            raise DemoError(
                f"{self.path}: data/{demo.name} does not have the digest that it was written with: "
                "the file was damaged or edited; collect it again"
            )

    def _libero_demo(self, node: "_Node", actions: NDArray[np.float32], *, images: bool) -> Demo:
        steps, obs = len(actions), node.child("obs")
        convention = self._node.group.attrs.get("macros_image_convention", "opengl")
        upright = _as_text(convention) == "opencv"
        orientation = Orientation.UPRIGHT if upright else Orientation.UPSIDE_DOWN
        cameras, pictures = {}, {}
        for dataset, name in _LIBERO_CAMERAS.items():
            if dataset in obs.group:
                shape = obs.array(dataset, "[T, H, W, 3]").shape
                cameras[name] = Camera(
                    name=name, height=shape[1], width=shape[2], orientation=orientation
                )
                if images:
                    pictures[name] = obs.pictures(dataset, steps)
        parts = [obs.floats(name, "[T, S]", steps=steps) for name in _LIBERO_STATE]
        return Demo(
            instruction=self.instruction,
            actions=actions,
            executed=actions,
            state=np.concatenate(parts, axis=1),
            images=pictures,
            cameras=cameras,
            source=self.path,
            name=node.name,
        )


@dataclass(frozen=True, slots=True)
class _Node:
    """A group or a dataset of an open file, read with every size and type checked."""

    path: Path
    group: Any

    @property
    def where(self) -> str:
        """File and place in it, for messages."""
        return f"{self.path}: {self.group.name.strip('/') or 'the file'}"

    @property
    def name(self) -> str:
        """Last part of the place in the file."""
        return str(self.group.name).rpartition("/")[2]

    def names(self) -> list[str]:
        """Return what a group holds."""
        found = list(self.group) if hasattr(self.group, "get") else []
        return [name for name in found if isinstance(name, str)]  # h5py has bytes for bad names

    def child(self, name: str) -> "_Node":
        """Return what is called `name` in a group."""
        if not hasattr(self.group, "get") or name not in self.group:
            raise DemoError(
                f"{self.where} has no {name!r}; expected demonstrations in the layout of "
                "`vlabench demos collect` or of LIBERO"
            )
        if self.group.id.links.get_info(name.encode()).type != require_h5py().h5l.TYPE_HARD:
            raise DemoError(f"{self.where}: {name} is a link, expected what it links to")
        return _Node(self.path, self.group[name])

    def text(self, name: str) -> str:
        """Return an attribute."""
        if name not in self.group.attrs:
            raise DemoError(f"{self.where} has no attribute {name!r}")
        return _as_text(self.group.attrs[name])

    def json(self, name: str) -> dict[str, Any]:
        """Return an attribute that is a JSON object."""
        text = self.text(name)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise DemoError(f"{self.where}: {name} is {text[:60]!r}, expected a JSON object")
        return found

    def array(self, name: str, expected: str) -> Any:
        """Return an array that was not read yet, after checking all that needs no reading."""
        dataset = self.child(name).group
        where, shape = f"{self.where}/{name}", getattr(dataset, "shape", None)
        if shape is None:
            raise DemoError(f"{where} is not an array, expected one of shape {expected}")
        rank = 0 if "..." in expected else expected.count(",") + 1
        sizes = f"shape {list(shape)}, expected {expected}"
        if not shape or (rank and len(shape) != rank) or not prod(shape):
            raise DemoError(f"{where} has {sizes}, none of them 0")
        if shape[0] > _MAX_STEPS or prod(shape) * dataset.dtype.itemsize > _MAX_BYTES:
            raise DemoError(f"{where} has {sizes}, with at most {_MAX_STEPS} steps and 4 GiB")
        layout = dataset.id.get_create_plist()
        if layout.get_layout() == require_h5py().h5d.VIRTUAL or layout.get_external_count():
            raise DemoError(f"{where} lies in another file, expected an array in this one")
        return dataset

    def floats(self, name: str, expected: str, *, steps: int | None = None) -> NDArray[np.float32]:
        """Return an array of finite numbers."""
        dataset = self.array(name, expected)
        if dataset.dtype.kind not in "fiu":
            raise DemoError(f"{self.where}/{name} is of type {dataset.dtype}, expected numbers")
        with np.errstate(over="ignore"):
            found: NDArray[np.float32] = self._read(dataset, steps).astype(np.float32, copy=False)
        if not np.isfinite(found).all():
            raise DemoError(f"{self.where}/{name} holds numbers that are not finite")
        return found

    def pictures(self, name: str, steps: int) -> NDArray[np.uint8]:
        """Return pictures, `[T, height, width, 3]`."""
        dataset = self.array(name, "[T, H, W, 3]")
        if dataset.dtype != np.uint8 or dataset.shape[3] != 3:
            raise DemoError(
                f"{self.where}/{name} is {dataset.dtype} {list(dataset.shape)}, expected uint8 "
                "[T, H, W, 3]"
            )
        return self._read(dataset, steps)

    def _read(self, dataset: Any, steps: int | None) -> NDArray[Any]:
        if steps is not None and len(dataset) != steps:
            raise DemoError(
                f"{self.path}: {dataset.name.strip('/')} has {len(dataset)} steps, its actions "
                f"have {steps}"
            )
        found: NDArray[Any] = dataset[()]
        return found


def _instruction(data: _Node, path: Path) -> str:
    """Return LIBERO's sentence; some of its files have it in quotes, or letter by letter.

    Files that others made of LIBERO's have it in their names alone: OpenVLA's without idle steps.
    """
    if "problem_info" not in data.group.attrs:
        return _named_sentence(data, path)
    found = data.json("problem_info").get("language_instruction")
    if isinstance(found, list) and all(isinstance(part, str) for part in found):
        found = "".join(found)
    if not isinstance(found, str):
        raise DemoError(
            f"{data.where}: problem_info has language_instruction {found!r}, expected a sentence"
        )
    return found.strip().strip('"')


def _named_sentence(data: _Node, path: Path) -> str:
    """Return the sentence in the name of a file, as LIBERO forms names, without the scene's."""
    name = re.sub(r"^[A-Z_]+SCENE\d+_", "", path.stem)
    sentence = name.removesuffix("_demo").replace("_", " ").strip()
    if not name.endswith("_demo") or not sentence:
        raise DemoError(
            f"{data.where} has no attribute 'problem_info', and the file's name says no sentence; "
            "expected either, as in open_the_drawer_demo.hdf5"
        )
    return sentence


def _camera(drawn: _Node) -> Camera:
    """Read what `str(Camera)` wrote."""
    text = drawn.text("camera")
    try:
        name, size, orientation, quality = text.rsplit(" ", 3)
        width, height = map(int, size.split("x"))
        return Camera(
            name=name, width=width, height=height,
            orientation=Orientation(orientation), quality=Quality(quality),
        )  # fmt: skip
    except ValueError as error:
        raise DemoError(
            f"{drawn.where}: camera is {text!r}, expected NAME WIDTHxHEIGHT ORIENTATION QUALITY"
        ) from error


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
