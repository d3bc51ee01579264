"""`vlabench profile`: interquartile means and performance profiles over runs x tasks."""

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlabench.cli.options import Json, OnErrorOption
from vlabench.drawing import figure_class, without_glyphs
from vlabench.errors import RecordError
from vlabench.text import plain_cell

if TYPE_CHECKING:
    from vlabench.metrics.estimate import Estimate
    from vlabench.metrics.profiles import Profile
    from vlabench.table import Results

_COLUMNS = ("policy", "runs", "n", "tau", "above", "low", "high")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("profile")(profile)


def profile(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Results files or folders of them; NAME=FILE names a method, and several files of "
            "one NAME are its trainings.",
            metavar="RUN...",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for profile.csv and profile.png.", metavar="FOLDER"),
    ] = None,
    on_error: OnErrorOption = "raise",
    as_json: Json = False,
) -> None:
    """Say how scores spread over runs and tasks: interquartile mean and performance profile.

    A score is the success rate of one run on one task. A method has one run for each of its
    trainings, which differ in their seeds: two snapshots of one training are two methods, and so is
    one checkpoint under two settings. NAME=FILE says which method a run is of. Runs without a name
    are of one method where they have the same policy and settings, except for `checkpoint`. All of
    them, of every method, have to be on one plan.

    vlabench profile a-seed1.jsonl a-seed2.jsonl a-seed3.jsonl b-seed1.jsonl --out profiles

    vlabench profile last=seed1-9000.jsonl last=seed2-9000.jsonl half=seed1-4500.jsonl
    """
    from vlabench.metrics.profiles import profile_of_runs
    from vlabench.metrics.stability import refuse_other_plan
    from vlabench.reports.requests import runs_of_arguments

    groups = runs_of_arguments(runs, alike=("checkpoint",))
    (first, *_), *_ = groups.values()
    for members in groups.values():
        refuse_other_plan(first, members[0])
    found = {
        _name(method, members): profile_of_runs(members, on_error=on_error)
        for method, members in groups.items()
    }
    title = f"{first.header.suite_id} under {first.header.protocol}"
    written = write_profiles(found, out, title) if out else []
    if as_json:
        _print_json(found, written)
    else:
        _print_text(found, written)


def write_profiles(found: Mapping[str, "Profile"], folder: Path, title: str) -> list[Path]:
    """Write `profile.csv` and `profile.png` into a folder and return their paths.

    Without matplotlib the picture is left out, and the user is told.

    Raises:
        RecordError: If a file cannot be written.
    """
    table, picture = folder / "profile.csv", folder / "profile.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_COLUMNS)
            for policy, each in found.items():
                for tau, share in zip(each.taus, each.above, strict=True):
                    ends = (f"{v:.6g}" for v in (share.value, share.low, share.high))
                    writer.writerow([plain_cell(policy), each.runs, share.n, f"{tau:g}", *ends])
        drawn = _draw(found, picture, title)
    except OSError as error:
        raise RecordError(f"cannot write into {folder}: {error.strerror}") from error
    return [table, picture] if drawn else [table]


def _name(method: str, runs: Sequence["Results"]) -> str:
    return f"{method} (privileged)" if any(run.header.privileged for run in runs) else method


def _aggregates(found: "Profile") -> dict[str, "Estimate"]:
    return {
        "interquartile mean": found.iqm,
        "mean": found.mean,
        "median": found.median,
        "optimality gap": found.gap,
    }


def _print_text(found: Mapping[str, "Profile"], written: Sequence[Path]) -> None:
    from vlabench.cli.tables import print_rows

    lines = []
    for policy, each in found.items():
        many = f"{each.runs} run{'s' * (each.runs > 1)}"
        left = f"; {each.left_out} more are left out, an episode broke or is missing"
        lines.append(
            f"{policy}: {many} x {each.tasks} tasks x {each.states:.3g} initial states"
            + left * bool(each.left_out)
        )
    _say(lines)
    print_rows([
        {
            "policy": policy,
            "of its scores": name,
            "value": f"{estimate.value:.1%}",
            "95 % interval": f"{estimate.low:.1%} to {estimate.high:.1%}",
            "n": estimate.n,
        }
        for policy, each in found.items()
        for name, estimate in _aggregates(each).items()
    ])  # fmt: skip
    about = [e for each in found.values() for e in (each.iqm, each.mean)]
    _say(dict.fromkeys(f"{e.question}: {e.method}" for e in about))
    _say(str(path) for path in written)


def _say(lines: Iterable[str]) -> None:
    from vlabench.cli.tables import console

    for line in lines:
        console().print(line, soft_wrap=True, markup=False)


def _print_json(found: Mapping[str, "Profile"], written: Sequence[Path]) -> None:
    from vlabench.cli.output import print_json

    rows = []
    for policy, each in found.items():
        whole = asdict(each)
        del whole["taus"], whole["above"]
        rows.append({"policy": policy, **whole, "profile": _columns(each)})
    print_json({"policies": rows, "files": [str(path) for path in written]})


def _columns(found: "Profile") -> dict[str, object]:
    """Return the profile without saying at each threshold what is the same at all."""
    first = found.above[0]
    return {
        "question": first.question.replace("above 0", "above tau"),
        "method": first.method,
        "n": first.n,
        "tau": found.taus,
        **{end: [getattr(share, end) for share in found.above] for end in ("value", "low", "high")},
    }


def _draw(found: Mapping[str, "Profile"], path: Path, title: str) -> bool:
    try:
        figure_type = figure_class()
    except ImportError:
        print(
            "vlabench: no picture: matplotlib is not installed. Install it with: pip install "
            "'vlabench-harness[demos]'",
            file=sys.stderr,
        )
        return False
    figure = figure_type(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.subplots()
    for number, (policy, each) in enumerate(found.items()):
        colour = f"C{number % 10}"
        taus = [*each.taus, 1.0]
        value, low, high = (
            [getattr(share, end) for share in (*each.above, each.above[-1])]
            for end in ("value", "low", "high")
        )
        label = f"{policy}, {each.runs} run{'s' * (each.runs > 1)}, n = {each.iqm.n}"
        axes.step(taus, value, where="post", color=colour, label=label)
        axes.fill_between(taus, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
    axes.set(
        xlabel="success rate of a run on a task",
        ylabel="share of runs x tasks above, 95 % interval",
        xlim=(0, 1),
        ylim=(-0.02, 1.02),
        title=title,
    )
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", frameon=False, fontsize=8)
    with without_glyphs():
        figure.savefig(path, dpi=130)
    return True
