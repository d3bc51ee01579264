"""Making demonstrations: an expert is asked at every step, and what it did in a success is kept.

It is an ordinary run with an ordinary results file; two things are put around the parts of one.
The `Recorder` stands around the expert: it sees more than the expert asked for, remembers it, and
may add noise to what is executed, so that ways back from mistakes are in the data while the labels
stay the expert's (DART, Laskey et al., 2017). The `RecordingRunner` stands around a runner: it
writes a demonstration before it yields the record that says so.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlabench.demos.storage import Demo, Origin, demo_path, require_h5py, write_demo
from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench.errors import DemoError, PlanError, SettingError
from vlabench.evaluation import Evaluation, prepare, prepare_again
from vlabench.plan import PlanRequest
from vlabench.policy import Decision, Policy
from vlabench.protocol import Protocol
from vlabench.record import EpisodeRecord, Outcome, Run, RunHeader
from vlabench.registry import load_suite
from vlabench.runners import Runner, Stage
from vlabench.spaces import Camera, Gripper, ObservationSpec

RUN_FILE = "run.jsonl"
_HOLD_STEPS = 4
"""How long one draw of noise is executed: single steps of it average out and push nothing away."""
_NOISE_STREAM = 0x4E6F6973
"""Keeps the draws of noise apart from those that the expert makes with the same seed."""
_SETTINGS = "demos."
_NOISE = f"{_SETTINGS}noise"
"""What a collection's run file says of the noise, beside the settings of suite and expert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What is added to episodes and kept of them.

    Attributes:
        noise: Largest standard deviation of the noise on executed actions, in halves of the action
            range. Each episode draws its own between 0 and this.
        cameras: Pictures to keep.
    """

    noise: float = 0.0
    cameras: tuple[Camera, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.noise <= 1:
            raise SettingError(
                f"noise is {self.noise:g}; expected a standard deviation between 0 and 1, in "
                "halves of the action range"
            )


class Take:
    """What an episode in progress has given so far."""

    def __init__(self, episode: EpisodeSpec, size: int, largest: float) -> None:
        """Begin an episode.

        Args:
            episode: Which one.
            size: How many components of an action, from the first, are given noise.
            largest: Largest standard deviation of it.
        """
        self.episode = episode
        self.observations: list[Observation] = []
        self.wanted: list[NDArray[np.float32]] = []
        self.executed: list[NDArray[np.float32]] = []
        self._rng = np.random.default_rng([_NOISE_STREAM, episode.policy_seed])
        self.noise = float(self._rng.uniform(0.0, largest))
        self._size = size
        self._push = np.zeros(size)

    def push(self) -> NDArray[np.float64]:
        """Return the noise of the next step, `[size]`."""
        if len(self.wanted) % _HOLD_STEPS == 0:
            self._push = self._rng.normal(0.0, self.noise, self._size)
        return self._push


class Recorder:
    """A policy that does what an expert wants, with noise, and remembers it episode by episode."""

    def __init__(
        self, expert: Policy, protocol: Protocol, recording: Recording | None = None
    ) -> None:
        """Put a recorder around an expert.

        Args:
            expert: Must answer with chunks of one action.
            protocol: The rules; state and privileged state are kept where they offer them.
            recording: What is added and kept.
        """
        recording = recording or Recording()
        self.id, self.digest, self.action = expert.id, expert.digest, expert.action
        self.observation = _union(expert.observation, protocol.observation, recording.cameras)
        self.recording = recording
        self.refusal = ""
        self._expert = expert
        self._scale = recording.noise and (self.action.high - self.action.low) / 2
        self._noisy = self.action.size - (self.action.gripper is not Gripper.NONE)
        self._slots: dict[int, Take] = {}
        self._takes: dict[str, Take] = {}

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        """Begin an episode; see `Policy.reset`."""
        take = Take(episode, self._noisy, self.recording.noise)
        self._slots[slot] = self._takes[episode.key] = take
        self._expert.reset(slot, episode)

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        """Return what is executed, one action a slot; see `Policy.act`.

        Raises:
            DemoError: If the expert answers with chunks of more.
            ValueError: If an action is not finite.
        """
        decision = self._expert.act(slots, observations)
        actions = np.asarray(decision.actions)
        if actions.ndim != 3 or actions.shape[1] != 1:
            self.refusal = (
                f"policy {self.id!r} answers with actions of shape {list(actions.shape)}, expected "
                f"[{len(slots)}, 1, {self.action.size}]: demonstrations need an expert that is "
                "asked at every step (--set chunk=1, where it has that setting)"
            )
            raise DemoError(self.refusal)
        if not np.isfinite(actions).all():  # clipping would make a number of infinity
            raise ValueError(f"policy {self.id!r} returned an action that is not finite")
        low, high = self.action.low, self.action.high
        wanted = np.clip(actions[:, 0], low, high, dtype=np.float32)
        executed = wanted.copy()
        for row, (slot, observation) in enumerate(zip(slots, observations, strict=True)):
            take = self._slots[slot]
            if self._scale:
                executed[row, : self._noisy] += self._scale * take.push()
            take.observations.append(observation)
            take.wanted.append(wanted[row])
            take.executed.append(executed[row])
        np.clip(executed, low, high, out=executed)
        return replace(decision, actions=executed[:, None])

    def hand_over(self, episode: EpisodeSpec) -> Take:
        """Return what an episode that ended has given, and forget it."""
        return self._takes.pop(episode.key)


class RecordingRunner:
    """Writes each success's demonstration before it yields the record.

    So no crash leaves a recorded success without its demonstration. One without a record is
    written again, with the same bytes, when the episode is run again.
    """

    def __init__(self, runner: Runner, folder: Path) -> None:
        self._runner = runner
        self._folder = folder

    def run(
        self, stage: Stage, policy: Policy, episodes: Iterable[EpisodeSpec]
    ) -> Iterator[EpisodeRecord]:
        """Run `episodes`; see `Runner.run`. What failed is dropped.

        Raises:
            DemoError: If the expert answers with chunks.
            StorageError: If a demonstration cannot be written.
        """
        if not isinstance(policy, Recorder):
            raise TypeError(f"only what a Recorder saw can be written, not {policy!r}")
        for record in self._runner.run(stage, policy, episodes):
            take = policy.hand_over(record.episode)
            if policy.refusal:
                raise DemoError(policy.refusal)
            if record.outcome is Outcome.SUCCESS:
                write_demo(demo_path(self._folder, record.episode), _demo(stage, policy, take))
            yield record


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A collection of demonstrations, ready to run.

    Attributes:
        evaluation: Its policy is a `Recorder`.
    """

    evaluation: Evaluation

    def run(
        self,
        runner: Runner,
        folder: Path,
        *,
        retry_errors: bool = False,
        max_errors: int | None = None,
    ) -> Generator[tuple[Run, EpisodeRecord | None]]:
        """Run what `folder/run.jsonl` does not hold yet; the same again goes on.

        Yields what `Evaluation.run` yields.

        Args:
            runner: How to run.
            folder: Where demonstrations and the results file are kept.
            retry_errors: Whether episodes recorded as errors are run again.
            max_errors: Stop after so many errors if nothing but errors has come back.

        Raises:
            DemoError: If the folder holds demonstrations of something else, or lost some.
            RecordError: If the results file cannot be written or belongs to another collection.
            RunLockedError: If another process is collecting there.
        """
        path = folder / RUN_FILE
        if not path.exists() and folder.is_dir() and any(folder.rglob("*.hdf5")):
            raise DemoError(
                f"{folder} holds demonstrations and no {RUN_FILE} that says where they are from; "
                "choose another --out"
            )
        records = self.evaluation.run(
            RecordingRunner(runner, folder),
            path,
            retry_errors=retry_errors,
            max_errors=max_errors,
        )
        with closing(records):
            for found, record in records:
                if record is None:
                    _check_complete(found, folder)
                yield found, record


def prepare_collection(
    suite_id: str,
    policy_id: str,
    *,
    protocol: str | None = None,
    request: Mapping[str, Any] | PlanRequest | None = None,
    settings: Mapping[str, str] | None = None,
    recording: Recording | None = None,
    workers: int = 1,
    watchdog_seconds: float | None = None,
) -> Collection:
    """Load everything that collecting demonstrations needs, and check that it fits together.

    Args:
        suite_id: Whose tasks.
        policy_id: The expert.
        protocol: Name of the rules; the suite's first for training when None.
        request: Arguments of `make_plan`; its `episodes` are attempts.
        settings: Text values by name, for whoever takes them.
        recording: What is added to episodes and kept of them.
        workers: Simulators side by side, for the record.
        watchdog_seconds: See `vlabench.prepare`.

    Raises:
        PlanError: If the rules are those of an evaluation.
        VlabenchError: As `vlabench.prepare` does.
    """
    require_h5py()
    rules = training_rules(suite_id, protocol)
    recording = recording or Recording()
    evaluation = prepare(
        suite_id,
        policy_id,
        protocol=rules.name,
        request=request,
        settings=settings,
        workers=workers,
        wrap=lambda expert: Recorder(expert, rules, recording),
        watchdog_seconds=watchdog_seconds,
    )
    said = {_NOISE: _text(recording.noise)}
    if recording.cameras:
        said[f"{_SETTINGS}cameras"] = ", ".join(map(str, recording.cameras))
    header = replace(evaluation.header, settings={**evaluation.header.settings, **said})
    return Collection(evaluation=replace(evaluation, header=header))


def prepare_recorded(
    header: RunHeader, *, workers: int = 1, settings: Mapping[str, str] | None = None
) -> Evaluation:
    """Prepare the evaluation that a run came from, which may have been a collection.

    A collection's noise is executed again; the pictures that it kept are not drawn again.

    Args:
        header: Of the run.
        workers: Simulators side by side.
        settings: To change, of those that the run had.

    Raises:
        VlabenchError: As `vlabench.evaluation.prepare_again` does.
    """
    if _NOISE not in header.settings:
        return prepare_again(header, workers=workers, settings=settings)
    given = {k: v for k, v in header.settings.items() if not k.startswith(_SETTINGS)}
    rules = load_suite(header.suite_id).protocol(header.protocol)
    recording = Recording(noise=float(header.settings[_NOISE]))
    return prepare_again(
        replace(header, settings=given),
        workers=workers,
        settings=settings,
        wrap=lambda expert: Recorder(expert, rules, recording),
    )


def training_rules(suite_id: str, protocol: str | None = None) -> Protocol:
    """Return a protocol whose episodes no evaluation shares.

    Raises:
        PlanError: If there is none, or the one that is named is not of that kind.
        UnknownNameError: If there is no such suite or protocol.
    """
    suite = load_suite(suite_id)
    if protocol is None:
        return suite.training_protocol()
    rules = suite.protocol(protocol)
    if rules.purpose != "training":
        fit = ", ".join(p.id for p in suite.protocols if p.purpose == "training") or "none"
        raise PlanError(
            f"protocol {rules.name} of suite {suite.id!r} is for evaluation; demonstrations of its "
            f"episodes would make its numbers worthless. Protocols for training: {fit}"
        )
    return rules


def choose_cameras(protocol: Protocol, names: Iterable[str]) -> tuple[Camera, ...]:
    """Find the cameras that `NAME:SIZE` mean, `agentview:128` or `front:64x16`.

    More may follow where that is not enough: `agentview:256:fast`.

    Raises:
        SettingError: If the protocol offers no such camera, more than one, or one twice.
    """
    chosen: list[Camera] = []
    for name in names:
        wanted = set(name.split(":")[1:])
        found = [
            camera
            for camera in protocol.observation.cameras
            if camera.name == name.partition(":")[0] and wanted <= set(_words(camera))
        ]
        if len(found) != 1:
            problem = "could be any of" if found else "is none of"
            offered = ", ".join(":".join((c.name, *_words(c)[-3:])) for c in found)
            offered = offered or ", ".join(
                ":".join((c.name, *_words(c)[-3:])) for c in protocol.observation.cameras
            )
            raise SettingError(
                f"camera {name!r} {problem} what protocol {protocol.name} shows: "
                f"{offered or 'no camera'}"
            )
        if found[0] in chosen:
            raise SettingError(f"camera {name!r} is asked for twice")
        chosen += found
    return tuple(chosen)


def _words(camera: Camera) -> tuple[str, ...]:
    """Return what a camera may be asked for by, besides its name."""
    size = f"{camera.width}x{camera.height}"
    square = (str(camera.width),) if camera.width == camera.height else ()
    return (size, *square, camera.orientation.value, camera.quality.value)


def _text(number: float) -> str:
    """Return a number as it is usually written, with all its digits where those are needed."""
    return short if float(short := f"{number:g}") == number else repr(number)


def _union(
    expert: ObservationSpec, offered: ObservationSpec, cameras: Iterable[Camera]
) -> ObservationSpec:
    """Return what the expert needs and what is kept; what does not fit is found later."""
    state = expert if expert.state_size else offered
    return ObservationSpec(
        cameras=tuple(dict.fromkeys((*expert.cameras, *cameras))),
        state=state.state,
        state_size=state.state_size,
        privileged=expert.privileged or offered.privileged,
    )


def _check_complete(found: Run, folder: Path) -> None:
    lost = [
        demo_path(folder, record.episode)
        for record in found.episodes
        if record.outcome is Outcome.SUCCESS and not demo_path(folder, record.episode).is_file()
    ]
    if lost:
        raise DemoError(
            f"{folder / RUN_FILE} records {len(lost)} successes whose demonstrations are gone, "
            f"the first is {lost[0]}; collect again with another --out"
        )


def _demo(stage: Stage, recorder: Recorder, take: Take) -> Demo:
    """Put a demonstration together from what was kept of its episode."""
    seen, first = take.observations, take.observations[0]
    return Demo(
        instruction=first.instruction,
        actions=np.array(take.wanted),
        executed=np.array(take.executed),
        state=np.array([view.state for view in seen], dtype=np.float32),
        images={name: np.array([view.images[name] for view in seen]) for name in first.images},
        cameras={camera.name: camera for camera in recorder.observation.cameras},
        privileged={
            name: np.array([view.privileged[name] for view in seen], dtype=np.float32)
            for name in first.privileged
        },
        low=recorder.action.low,
        high=recorder.action.high,
        origin=Origin(
            suite=stage.suite.id,
            suite_version=stage.suite.version,
            protocol=stage.protocol.name,
            policy=recorder.id,
            policy_digest=recorder.digest,
            episode=take.episode,
            noise=take.noise,
        ),
    )
