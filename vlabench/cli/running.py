"""Commands that run simulators: run, verify, replay."""

import os
import sys
from collections.abc import Callable, Generator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlabench.cli import deciding, interrupts
from vlabench.cli.options import (
    Episodes,
    Json,
    MaxErrors,
    NoLock,
    PolicyId,
    ProtocolName,
    Quiet,
    Repeats,
    RetryErrors,
    RunFile,
    Seed,
    Settings,
    SuiteId,
    Tasks,
    Watchdog,
    Workers,
)

if TYPE_CHECKING:
    from vlabench.evaluation import Evaluation
    from vlabench.record import EpisodeRecord, Run


class Video(StrEnum):
    """Which episodes to film."""

    NONE = "none"
    FAILURES = "failures"
    ALL = "all"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run")(run)
    app.command("verify")(verify)
    app.command("replay")(replay)


def run(
    suite: SuiteId,
    policy: PolicyId,
    protocol: ProtocolName = None,
    tasks: Tasks = "*",
    episodes: Episodes = None,
    repeats: Repeats = 1,
    seed: Seed = 0,
    workers: Workers = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Results file; one that holds this run already is gone on with. "
            "[default: results/SUITE/POLICY/...]",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    video: Annotated[
        Video, typer.Option(help="Which episodes to film, in a folder beside the results file.")
    ] = Video.NONE,
    actions: Annotated[
        bool, typer.Option("--actions", help="Keep the executed actions, for the replay policy.")
    ] = False,
    settings: Settings = None,
    watchdog: Watchdog = 600.0,
    max_errors: MaxErrors = 10,
    retry_errors: RetryErrors = False,
    until_decided: deciding.UntilDecided = False,
    against: deciding.Against = None,
    margin: deciding.Margin = None,
    max_episodes: deciding.MaxEpisodes = None,
    on_error: deciding.OnErrorOption = None,
    looks: deciding.LooksOption = None,
    spending: deciding.SpendingOption = None,
    no_lock: NoLock = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run a policy on a suite. The same command again goes on where the last one stopped.

    vlabench run --suite libero --policy mine --against A.jsonl --until-decided --margin 5
    """
    from vlabench.cli.tables import print_run
    from vlabench.evaluation import prepare
    from vlabench.locks import use_locks
    from vlabench.runners.processes import ProcessRunner
    from vlabench.settings import split_pairs
    from vlabench.store import read_results

    use_locks(wanted=not no_lock)
    require_positive("watchdog", watchdog)
    require_positive("max-errors", max_errors)
    question = deciding.question_of(
        until_decided=until_decided,
        against=against,
        margin=margin,
        most=max_episodes,
        on_error=on_error,
        looks=looks,
        spending=spending,
    )
    count = workers or os.cpu_count() or 1
    evaluation = prepare(
        suite,
        policy,
        protocol=protocol,
        request={"tasks": tasks, "episodes": episodes, "repeats": repeats, "seed": seed},
        settings=split_pairs(settings or []),
        workers=count,
        watchdog_seconds=watchdog,
    )
    path = out or evaluation.default_path(Path("results"))
    evaluation = evaluation.keeping(path, video=video.value, actions=actions)
    if question is not None:
        deciding.run_until_decided(
            evaluation,
            question,
            path,
            watchdog=watchdog,
            retry_errors=retry_errors,
            max_errors=max_errors,
            quiet=quiet,
            as_json=as_json,
        )
        return
    records = evaluation.run(
        ProcessRunner(count, watchdog_seconds=watchdog),
        path,
        retry_errors=retry_errors,
        max_errors=max_errors,
    )

    def report() -> None:
        print_run(path, read_results(path, hashed=False), as_json=as_json)

    run_to_end(evaluation, records, path, report=report, quiet=quiet or as_json)


def verify(
    run: RunFile,
    episodes: Annotated[
        int, typer.Option(min=1, help="How many episodes to run again, spread over the run.")
    ] = 10,
    workers: Workers = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Run a sample of a run's episodes again, in another order, and compare trajectories."""
    from vlabench.cli.tables import print_verification
    from vlabench.settings import split_pairs
    from vlabench.store import read_run
    from vlabench.verify import verify_run

    found, changed = read_run(run), split_pairs(settings or [])
    differences = verify_run(found, episodes=episodes, workers=workers, settings=changed)
    print_verification(run, found, differences, as_json=as_json)
    if any(difference.where for difference in differences):
        sys.exit(1)


def replay(
    run: RunFile,
    key: Annotated[
        str, typer.Argument(help="Which episode, as in `libero-goal/3#0`.", metavar="EPISODE_KEY")
    ],
    video: Annotated[Path, typer.Option(help="The video to write.", metavar="FILE")],
) -> None:
    """Run one episode of a run again and film it."""
    from vlabench.cli.output import visible
    from vlabench.store import read_run
    from vlabench.verify import film_episode, refuse_ingested

    found = read_run(run)
    refuse_ingested(found)
    said = visible(key)
    print(f"running {said} again, then once more to film it", file=sys.stderr)
    difference = film_episode(found, key, video)
    print(f"{said}: {difference.now.outcome} after {difference.now.steps} steps; filmed in {video}")
    if difference.where:
        print(f"vlabench: not the recorded trajectory: {difference.where}", file=sys.stderr)
        sys.exit(1)
    print("the trajectory is the recorded one, to the last bit")


def require_positive(name: str, value: float) -> None:
    """Refuse an option that must be greater than 0."""
    if not value > 0:
        raise typer.BadParameter(f"{value:g} is not greater than 0", param_hint=f"--{name}")


def run_to_end(
    evaluation: "Evaluation",
    records: "Generator[tuple[Run, EpisodeRecord | None]]",
    path: Path,
    *,
    report: Callable[[], None],
    quiet: bool,
) -> None:
    """Follow a run until it ends, report, and exit with 1 if it was not all good."""
    hang = follow_to_end(evaluation, records, path, quiet=quiet)
    report()
    if not finished_well(evaluation, path, hang=hang):
        sys.stdout.flush()
        os._exit(1) if hang else sys.exit(1)  # a thread that hangs would keep the process


def follow_to_end(
    evaluation: "Evaluation",
    records: "Generator[tuple[Run, EpisodeRecord | None]]",
    path: Path,
    *,
    quiet: bool,
) -> bool:
    """Follow a run until it ends; return whether the policy hangs. Exits when interrupted."""
    from vlabench.cli.progress import follow
    from vlabench.errors import PolicyHangError

    try:
        follow(evaluation, records, path, quiet=quiet)
    except PolicyHangError as error:
        print(f"vlabench: {error}", file=sys.stderr)
        return True
    except KeyboardInterrupt as interrupt:
        records.close()  # ends the workers
        raise typer.Exit(interrupts.end(interrupts.AGAIN)) from interrupt
    return False


def finished_well(evaluation: "Evaluation", path: Path, *, hang: bool) -> bool:
    """Return whether every episode ended without an error; say so if some were not begun."""
    from vlabench.record import Outcome
    from vlabench.store import read_run

    found = read_run(path)
    recorded = {record.episode.key for record in found.episodes}
    left = sum(episode.key not in recorded for episode in evaluation.plan.episodes)
    if left and not hang:
        print(
            f"vlabench: stopped with {left} episodes left: nothing but errors came back. Run the "
            "same command again when the reason is gone; --retry-errors runs the errors again",
            file=sys.stderr,
        )
    return (
        not hang
        and not left
        and all(record.outcome is not Outcome.ERROR for record in found.episodes)
    )
