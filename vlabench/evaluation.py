"""An evaluation, ready to run: everything is loaded and checked, and nothing has been started."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vlabench.episode import EpisodeSpec
from vlabench.errors import DrawingError, RecordError
from vlabench.plan import Plan, PlanRequest, make_plan
from vlabench.policy import Policy
from vlabench.protocol import Protocol
from vlabench.provenance import fingerprint, provenance
from vlabench.record import EpisodeRecord, Outcome, Run, RunHeader
from vlabench.registry import load_policy, load_suite, policy_factory, require_packages
from vlabench.runners import Runner, Stage
from vlabench.runners.slot import Film, Which
from vlabench.settings import assign_settings, parse_settings
from vlabench.spaces import check_match
from vlabench.store import RunWriter
from vlabench.strangers import deadline
from vlabench.suite import Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A suite, a plan and a policy that fit each other.

    Attributes:
        suite: The suite.
        protocol: The rules.
        plan: What has to be run.
        policy: What is evaluated.
        stage: What slots need.
        header: The first line of the results file.
    """

    suite: Suite
    protocol: Protocol
    plan: Plan
    policy: Policy
    stage: Stage
    header: RunHeader

    def default_path(self, folder: Path) -> Path:
        """Return where the run belongs in a results folder: the same for the same command."""
        identity = json.dumps(self.header.identity, sort_keys=True)
        digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
        request = self.plan.request
        name = f"{self.protocol.id}-e{request.episodes}-s{request.seed}-{digest}.jsonl"
        return folder / _folder_name(self.suite.id) / _folder_name(self.policy.id) / name

    def keeping(self, path: Path, *, video: Which = "none", actions: bool = False) -> "Evaluation":
        """Return the evaluation with what it keeps of episodes beside their results file.

        Raises:
            DrawingError: If videos are asked for and nothing can draw or there is no camera.
        """
        if video != "none":
            if self.suite.film is None:
                raise DrawingError(f"suite {self.suite.id!r} has no camera to film with")
            _gl(self.suite, needed=True)
        path = path.absolute()  # a simulator may change its folder
        stage = replace(
            self.stage,
            film=Film(which=video, folder=beside(path, "videos")),
            actions_folder=beside(path, "actions") if actions else None,
        )
        return replace(self, stage=stage)

    def run(
        self,
        runner: Runner,
        path: Path,
        *,
        retry_errors: bool = False,
        max_errors: int | None = None,
    ) -> Generator[tuple[Run, EpisodeRecord | None]]:
        """Run what the results file does not hold yet, and append to it.

        Yields the run as it was found with None, once; then with each record when it is on disk.

        Args:
            runner: How to run.
            path: The results file.
            retry_errors: Whether episodes recorded as errors are run again.
            max_errors: Stop after so many errors if nothing but errors has come back.

        Raises:
            RecordError: If the file cannot be written or belongs to another run.
            RunLockedError: If another process is writing it.
            StorageError: If it cannot be written any more.
        """
        with RunWriter(path, self.header, self._planned()) as writer:
            found = writer.run
            yield found, None
            skip = {
                record.episode.key
                for record in found.episodes
                if not (retry_errors and record.outcome is Outcome.ERROR)
            }
            left = [episode for episode in self.plan.episodes if episode.key not in skip]
            errors = good = 0
            records = runner.run(self.stage, self.policy, left)
            with closing(records) if isinstance(records, Generator) else nullcontext():
                for record in records:
                    writer.write(record)
                    yield found, record
                    errors += record.outcome is Outcome.ERROR
                    good += record.outcome is not Outcome.ERROR
                    if max_errors is not None and errors >= max_errors and not good:
                        return

    def _planned(self) -> Iterator[EpisodeSpec]:
        """Give every episode that was asked for; `plan` may be a part of them."""
        request = _plan_arguments(self.plan.request)
        yield from make_plan(self.suite, self.protocol.name, **request).episodes


def prepare(
    suite_id: str,
    policy_id: str,
    *,
    protocol: str | None = None,
    request: Mapping[str, Any] | PlanRequest | None = None,
    settings: Mapping[str, str] | None = None,
    workers: int = 1,
    wrap: Callable[[Policy], Policy] | None = None,
    watchdog_seconds: float | None = None,
) -> Evaluation:
    """Load everything an evaluation needs and check that it fits together.

    Args:
        suite_id: The suite.
        policy_id: The policy.
        protocol: Name of the rules; the suite's default when None.
        request: Arguments of `make_plan`.
        settings: Text values by name, for whoever takes them.
        workers: Simulators side by side, for the record.
        wrap: Puts another policy around the one that was loaded, before it is checked.
        watchdog_seconds: How long making the policy may take. The process ends if it takes longer.

    Raises:
        VlabenchError: If anything is unknown, missing, or does not fit; see `errors`.
    """
    suite = load_suite(suite_id)
    rules = suite.protocol(protocol)
    wanted = _plan_arguments(request)
    plan = make_plan(suite, rules.name, **wanted)
    require_packages(suite)
    with deadline(watchdog_seconds, f"making policy {policy_id!r}"):
        owners: dict[str, Callable[..., object]] = {
            f"suite {suite_id!r}": suite.make_env,
            f"policy {policy_id!r}": policy_factory(policy_id),
        }
        of_suite, of_policy = assign_settings(settings or {}, owners).values()
        policy = load_policy(policy_id, suite, rules, of_policy)
    policy = policy if wrap is None else wrap(policy)
    check_match(
        suite.id,
        rules.observation,
        rules.action,
        policy_id=policy.id,
        needed=policy.observation,
        produced=policy.action,
    )
    gl = _gl(suite, needed=bool(policy.observation.cameras))
    stage = Stage(
        suite=suite,
        protocol=rules,
        wants=policy.observation,
        settings=parse_settings(suite.make_env, of_suite, f"suite {suite_id!r}"),
    )
    header = _header(stage, plan, policy, settings=settings or {}, workers=workers, gl=gl)
    return Evaluation(
        suite=suite, protocol=rules, plan=plan, policy=policy, stage=stage, header=header
    )


def prepare_again(
    header: RunHeader,
    *,
    workers: int = 1,
    settings: Mapping[str, str] | None = None,
    wrap: Callable[[Policy], Policy] | None = None,
) -> Evaluation:
    """Prepare the evaluation that a run came from.

    Args:
        header: Of the run.
        workers: Simulators side by side.
        settings: To change, of those that the run had.
        wrap: See `prepare`.

    Raises:
        RecordError: If what is installed now plans other episodes, or is another policy.
        VlabenchError: As `prepare` does.
    """
    again = prepare(
        header.suite_id,
        header.policy_id,
        protocol=header.protocol,
        request=header.request,
        settings={**header.settings, **(settings or {})},
        workers=workers,
        wrap=wrap,
    )
    for what, then, now in (
        ("suite version", header.suite_version, again.header.suite_version),
        ("plan", header.plan_digest, again.header.plan_digest),
        ("policy digest", header.policy_digest, again.header.policy_digest),
    ):
        if then != now:
            raise RecordError(
                f"the run was made with {what} {then} and what is installed now has {now}; "
                "install the vlabench version that made it"
            )
    return again


def beside(path: Path, kind: str) -> Path:
    """Return the folder for what is kept beside a results file: `x.jsonl` to `x.videos`."""
    return path.parent / f"{path.stem}.{kind}"


def _folder_name(name: str) -> str:
    """Return a name as that of one folder, wherever it may point to and however long it is."""
    return name if re.fullmatch(r"\w[\w.+@ -]{,99}", name) else quote(name, safe="")[:200]


def _plan_arguments(request: Mapping[str, Any] | PlanRequest | None) -> dict[str, Any]:
    if isinstance(request, PlanRequest):
        return {name: getattr(request, name) for name in request.__slots__}
    return dict(request or {})


def _header(
    stage: Stage,
    plan: Plan,
    policy: Policy,
    *,
    settings: Mapping[str, str],
    workers: int,
    gl: str,
) -> RunHeader:
    suite, rules = stage.suite, stage.protocol
    return RunHeader(
        suite_id=suite.id,
        suite_version=suite.version,
        protocol=rules.name,
        plan_digest=plan.digest,
        request=plan.request,
        policy_id=policy.id,
        policy_digest=policy.digest,
        cameras=tuple(map(str, policy.observation.cameras)),
        privileged=policy.observation.privileged,
        settings=dict(sorted(settings.items())),
        fingerprint=fingerprint(suite, rules, gl=gl, settings=stage.settings),
        provenance=provenance(suite, workers=workers, gl=gl),
        planned=dict(Counter(episode.task_id for episode in plan.episodes)),
    )


def _gl(suite: Suite, *, needed: bool) -> str:
    """Return how pictures are drawn; `none` when nobody looks or OpenGL has no part in it."""
    return suite.drawing() if needed and suite.drawing is not None else "none"
