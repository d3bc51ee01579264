"""Commands along an axis: `vlabench sweep` runs a grid, `vlabench scaling` reads what there is."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import product
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlabench.cli.options import (
    Episodes,
    Json,
    MaxErrors,
    OnErrorOption,
    PolicyId,
    ProtocolName,
    Quiet,
    Repeats,
    RetryErrors,
    Seed,
    SuiteId,
    Tasks,
    Watchdog,
    Workers,
)
from vlabench.errors import RecordError, SettingError

if TYPE_CHECKING:
    from vlabench.record import RunHeader

Axis = Annotated[
    str | None,
    typer.Option(
        "--axis",
        help="Along which setting, or a name for what --at counts run by run. "
        "[default: the first setting whose values are numbers]",
        metavar="NAME",
        show_default=False,
    ),
]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        help="Where the axis's values are, if they are no numbers: checkpoints at their steps. Of "
        "runs of several policies, or that differ in no setting: where each run is.",
        metavar="X,X,...",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("sweep")(sweep)
    app.command("scaling")(scaling)


def sweep(
    suite: SuiteId,
    policy: PolicyId,
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            help="A setting of the suite or the policy, with a list of values to go through; again "
            "for a grid. One value holds at every point.",
            metavar="KEY=VALUE,VALUE,...",
        ),
    ],
    axis: Axis = None,
    at: At = None,
    protocol: ProtocolName = None,
    tasks: Tasks = "*",
    episodes: Episodes = None,
    repeats: Repeats = 1,
    seed: Seed = 0,
    workers: Workers = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for one results file a point, scaling.csv and scaling.png; one that holds "
            "this sweep already is gone on with. [default: results/sweeps/SUITE/POLICY/...]",
            metavar="FOLDER",
            show_default=False,
        ),
    ] = None,
    watchdog: Watchdog = 600.0,
    max_errors: MaxErrors = 10,
    retry_errors: RetryErrors = False,
    on_error: OnErrorOption = "raise",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run a policy at every point of a grid, on the same episodes, and say what more of it does.

    vlabench sweep --suite point-reach --policy sft --set temperature=0.5,1,2,4

    The same command again goes on where the last one stopped, longer lists add points. With
    --repeats 8 it also says what a perfect choice among up to 8 whole episodes would reach.
    """
    from vlabench.cli.running import finished_well, follow_to_end, require_positive
    from vlabench.evaluation import prepare
    from vlabench.runners.processes import ProcessRunner

    require_positive("watchdog", watchdog)
    require_positive("max-errors", max_errors)
    count = workers or os.cpu_count() or 1
    fixed, swept = split_grid(settings)
    numbers = split_numbers(at)
    common: dict[str, Any] = {
        "protocol": protocol,
        "request": {"tasks": tasks, "episodes": episodes, "repeats": repeats, "seed": seed},
        "workers": count,
    }
    grid = list(grid_of(swept))
    # Everything is checked before anything runs; policies are made again, one at a time.
    headers = [
        prepare(suite, policy, settings={**fixed, **point}, **common).header for point in grid
    ]
    chosen = check_axis(swept, axis, numbers)
    folder = out or default_folder(headers[0], swept)
    refuse_other_sweep(folder, headers[0], swept)
    paths, good = [folder / file_name(point) for point in grid], True
    for number, (point, path) in enumerate(zip(grid, paths, strict=True), start=1):
        if not (quiet or as_json):
            print(f"point {number} of {len(grid)}: {describe(point)}", file=sys.stderr)
        evaluation = prepare(suite, policy, settings={**fixed, **point}, **common)
        runner = ProcessRunner(count, watchdog_seconds=watchdog)
        records = evaluation.run(runner, path, retry_errors=retry_errors, max_errors=max_errors)
        hang = follow_to_end(evaluation, records, path, quiet=quiet or as_json)
        good &= finished_well(evaluation, path, hang=hang)
        if hang:
            sys.stdout.flush()
            os._exit(1)  # a thread that hangs would keep the process
    _report(paths, folder, good, axis=chosen, at=numbers, on_error=on_error, as_json=as_json)


def scaling(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Results files of one plan which differ in a setting, or a sweep's folder.",
            metavar="RUN...",
            show_default=False,
        ),
    ] = None,
    curve: Annotated[
        list[Path] | None,
        typer.Option(
            help="A training log instead, for success against steps: a CSV file whose first column "
            "counts them, with columns success and success_n; again for more.",
            metavar="CSV",
        ),
    ] = None,
    column: Annotated[
        str, typer.Option(help="Which column of the logs.", metavar="NAME")
    ] = "success",
    axis: Axis = None,
    at: At = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for scaling.csv and scaling.png.", metavar="FOLDER"),
    ] = None,
    on_error: OnErrorOption = "raise",
    as_json: Json = False,
) -> None:
    """Say what more samples, or more training, do to success; from runs or training logs.

    vlabench scaling step100.jsonl step200.jsonl step400.jsonl --at 100,200,400

    vlabench scaling sft.jsonl step100.jsonl step200.jsonl --at 0,100,200 --axis step
    """
    from vlabench.cli.scaling import print_scaling, write_scaling
    from vlabench.reports.logs import read_curve
    from vlabench.reports.series import series_of_curves, series_of_runs, title_of
    from vlabench.store import read_all

    if bool(runs) == bool(curve):
        raise RecordError("give results files, or training logs with --curve; one of both")
    if curve and (axis or at):
        raise RecordError(
            f"{'--axis' if axis else '--at'} is for results files; a training log has its steps in "
            "its first column"
        )
    if curve:
        series = series_of_curves([read_curve(path, column) for path in curve])
        title = ", ".join(path.parent.name or path.stem for path in curve)
    else:
        loaded = read_all(_files(runs or []), hashed=False)
        series = series_of_runs(loaded, axis=axis, at=split_numbers(at), on_error=on_error)
        title = title_of(loaded)
    written = write_scaling(series, out, title) if out else []
    print_scaling(series, written, as_json=as_json)


def split_grid(pairs: Sequence[str]) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Read `key=value,value` texts: what holds at every point, and what is gone through.

    Raises:
        SettingError: If a text is not of this form, a value is empty or there twice, or nothing is
            a list.
    """
    from vlabench.settings import split_pairs

    fixed: dict[str, str] = {}
    swept: dict[str, tuple[str, ...]] = {}
    for key, text in split_pairs(pairs).items():
        values = tuple(value.strip() for value in text.split(","))
        if len(values) == 1:
            fixed[key] = text
            continue
        if "" in values:
            raise SettingError(f"--set {key}={text}: a value is empty; expected {key}=1,2,4")
        if twice := [value for value in values if values.count(value) > 1]:
            raise SettingError(f"--set {key}={text}: {twice[0]} is there twice")
        swept[key] = values
    if not swept:
        raise SettingError(
            f"nothing to go through in --set {' '.join(pairs)}; give a list, as in "
            "--set samples=1,2,4,8, or use `vlabench run` for one point"
        )
    return fixed, swept


def split_numbers(text: str | None) -> list[float]:
    """Read `--at 100,200`.

    Raises:
        SettingError: If a part is no number, or no finite one.
    """
    try:
        found = [float(part) for part in text.split(",")] if text else []
    except ValueError as error:
        raise SettingError(f"--at {text}: {error}; expected numbers, as in 100,200,400") from error
    if odd := [number for number in found if not isfinite(number)]:
        raise SettingError(
            f"--at {text}: {odd[0]:g} is no place on an axis; expected numbers, as in 100,200,400"
        )
    return found


def grid_of(swept: dict[str, tuple[str, ...]]) -> Iterator[dict[str, str]]:
    """Yield the settings of every point; the first list changes fastest."""
    for values in product(*reversed(swept.values())):
        yield dict(zip(swept, reversed(values), strict=True))


def check_axis(swept: Mapping[str, Sequence[str]], axis: str | None, at: Sequence[float]) -> str:
    """Choose the axis, and refuse a sweep that could be run and not be read afterwards.

    Raises:
        SettingError: As `vlabench.reports.series.series_of_runs` does.
    """
    from vlabench.reports.series import axis_of, places_of

    chosen = axis_of(swept, axis, at)
    places_of(swept[chosen], at, chosen)
    return chosen


def file_name(point: Mapping[str, str]) -> str:
    """Return the name of a point's results file, `samples=4,temperature=0.5.jsonl`.

    Values that are no file names, such as paths, are shortened and told apart by a hash.
    """
    return ",".join(f"{key}={_short(value)}" for key, value in sorted(point.items())) + ".jsonl"


def describe(point: Mapping[str, str]) -> str:
    """Write a point's settings for people."""
    return ", ".join(f"{key}={value}" for key, value in point.items())


def default_folder(header: "RunHeader", swept: Mapping[str, Sequence[str]]) -> Path:
    """Return where a sweep belongs: the same for the same command, and for one with more points."""
    import json

    digest = sha256(json.dumps(_identity(header, swept), sort_keys=True).encode()).hexdigest()[:8]
    request = header.request
    rules = header.protocol.partition("@")[0]
    name = f"{rules}-{'-'.join(sorted(swept))}-e{request.episodes}-s{request.seed}-{digest}"
    return Path("results") / "sweeps" / header.suite_id / header.policy_id / name


def refuse_other_sweep(
    folder: Path, header: "RunHeader", swept: Mapping[str, Sequence[str]]
) -> None:
    """Check that results files in a folder are points of this sweep.

    Raises:
        RecordError: If one is not.
    """
    from vlabench.store import read_run

    if folder.exists() and not folder.is_dir():
        raise RecordError(f"{folder} is a file; expected a folder, for one file a point")
    wanted = _identity(header, swept)
    for path in sorted(folder.glob("*.jsonl")):
        there = read_run(path).header
        found = _identity(there, swept)
        differences = [
            f"{what}: {found[what]} there, {value} here"
            for what, value in wanted.items()
            if found[what] != value
        ]
        if differences:
            raise RecordError(
                f"{folder} holds another sweep: {path.name} differs in {'; '.join(differences)}. "
                "Choose another --out"
            )


def _identity(header: "RunHeader", swept: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """Return what all points of a sweep share; checkpoints may be what is swept."""
    settings = header.settings
    identity = {name: v for name, v in header.identity.items() if name != "policy digest"}
    identity["settings"] = {key: v for key, v in sorted(settings.items()) if key not in swept}
    identity["lists"] = sorted(key for key in swept if key in settings)
    return identity


def _short(value: str) -> str:
    kept = "".join(c if c.isalnum() or c in "+-._" else "-" for c in value)
    if kept == value and len(value) <= 40:
        return value
    return f"{kept[-32:].strip('-.')}~{sha256(value.encode()).hexdigest()[:8]}"


def _files(paths: Sequence[Path]) -> list[Path]:
    files = [
        file
        for path in paths
        for file in (sorted(path.glob("*.jsonl")) if path.is_dir() else [path])
    ]
    if not files:
        raise RecordError(f"no results file in {', '.join(map(str, paths))}; expected *.jsonl")
    if twice := [file for file in files if files.count(file) > 1]:
        raise RecordError(f"{twice[0]} is there twice; give each run once")
    return files


def _report(paths: Sequence[Path], folder: Path, good: bool, *, as_json: bool, **how: Any) -> None:
    from vlabench.cli.scaling import print_scaling, write_scaling
    from vlabench.reports.series import series_of_runs, title_of
    from vlabench.store import read_all

    try:
        runs = read_all(paths, hashed=False)
        series = series_of_runs(runs, **how)
    except RecordError as error:
        if good:
            raise
        print(f"vlabench: {error}", file=sys.stderr)  # the runs are there, some have errors
        sys.exit(1)
    written = write_scaling(series, folder, title_of(runs))
    print_scaling(series, written, as_json=as_json)
    if not good:
        sys.exit(1)
