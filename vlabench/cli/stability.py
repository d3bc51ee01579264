"""`vlabench stability`: how much success varies, where that comes from, what to buy next."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from vlabench.cli.options import Json, OnErrorOption
from vlabench.cli.output import print_json
from vlabench.errors import RecordError

if TYPE_CHECKING:
    from vlabench.metrics.curves import CurveStability
    from vlabench.metrics.estimate import Estimate
    from vlabench.metrics.stability import Purchase, Stability

_MANY = ("--against", "--curve", "--against-curve")


class Lists(TyperCommand):
    """A command some of whose options take every file up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat an option before each of its files, which is what the parser knows."""
        repeated: list[str] = []
        option = ""
        for word in args:
            name, equals, value = word.partition("=")
            if name in _MANY:
                option = name
                repeated += [name, value] if equals else []
            elif word.startswith("-"):
                option = ""
                repeated.append(word)
            else:
                repeated += [option, word] if option else [word]
        if missing := [word for word in args if word in _MANY and word not in repeated]:
            raise RecordError(f"{missing[0]} names no file; expected one for each training")
        return super().parse_args(ctx, repeated)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("stability", cls=Lists)(stability)


def stability(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Results files of one method: one run of each training, all on one plan. One "
            "run tells tasks apart, --repeats 2 tells states from draws, two runs tell trainings.",
            metavar="RUN...",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="The same of another method, which is compared.", metavar="RUN..."),
    ] = None,
    curve: Annotated[
        list[Path] | None,
        typer.Option(
            help="Training logs instead of runs: CSV files, one for each training, whose first "
            "column counts steps, with columns success and success_n.",
            metavar="CSV...",
        ),
    ] = None,
    against_curve: Annotated[
        list[Path] | None,
        typer.Option(help="The same of another method.", metavar="CSV..."),
    ] = None,
    column: Annotated[
        str, typer.Option(help="Which column of the logs.", metavar="NAME")
    ] = "success",
    on_error: OnErrorOption = "raise",
    as_json: Json = False,
) -> None:
    """Say where the variance of success comes from, and what to buy next.

    vlabench stability seed1.jsonl seed2.jsonl seed3.jsonl --against other1.jsonl other2.jsonl

    vlabench stability --curve a/log.csv b/log.csv c/log.csv --against-curve d/log.csv e/log.csv
    """
    if bool(runs) == bool(curve):
        raise RecordError(
            "give results files, or training logs after --curve; one of both, found "
            + ("both" if runs else "neither")
        )
    if (against and curve) or (against_curve and runs):
        raise RecordError("--against goes with runs, --against-curve with --curve")
    if runs:
        _of_runs(runs, against or [], on_error, as_json=as_json)
    else:
        _of_curves(curve or [], against_curve or [], column, as_json=as_json)


def _of_runs(
    runs: Sequence[Path], against: Sequence[Path], on_error: Any, *, as_json: bool
) -> None:
    from vlabench.metrics.stability import stability_of_runs, stability_ratio
    from vlabench.metrics.wording import stability_sentence
    from vlabench.store import read_all

    if logs := [path for path in (*runs, *against) if path.suffix == ".csv"]:
        raise RecordError(f"{logs[0]} is a training log; put logs after --curve, --against-curve")
    sides = [read_all(paths, hashed=False) for paths in (runs, against) if paths]
    found = [stability_of_runs(side, on_error=on_error) for side in sides]
    times = stability_ratio(*sides, on_error=on_error) if against else None
    names = _names([side[0].header.policy_id for side in sides])
    if as_json:
        rows = [{"method": n, **asdict(f)} for n, f in zip(names, found, strict=True)]
        print_json({"methods": rows, "times_as_stable": times and asdict(times)})
        return
    if times is not None:
        _say(stability_sentence(times, names, [f.trainings for f in found]))
    for name, each in zip(names, found, strict=True):
        _print_components(name, each)


def _of_curves(
    curves: Sequence[Path], against: Sequence[Path], column: str, *, as_json: bool
) -> None:
    from vlabench.metrics.curves import curve_ratios, stability_of_curves
    from vlabench.metrics.wording import larger_sentence, stability_sentence
    from vlabench.reports.logs import read_curve

    sides = [[read_curve(path, column) for path in paths] for paths in (curves, against) if paths]
    found = [stability_of_curves(side) for side in sides]
    ratios = curve_ratios(*sides) if against else {}
    names = _names(["trainings"] * len(sides))
    if as_json:
        rows = [{"method": n, **asdict(f)} for n, f in zip(names, found, strict=True)]
        print_json({"methods": rows, "ratios": {k: asdict(v) for k, v in ratios.items()}})
        return
    if ratios:
        _say(stability_sentence(ratios["final_deviation"], names, [len(side) for side in sides]))
        for name, title in (
            ("mean_deviation", "spread of success over the training"),
            ("fall", "worst fall from the running best"),
            ("under", "share of the training under the start"),
        ):
            some = any(getattr(each, name).value for each in found)
            larger = larger_sentence(title, ratios[name], names)
            _say(larger if some else f"{title}: none in either, so that there is no ratio")
    for name, each in zip(names, found, strict=True):
        _print_curves(name, each)


def _names(methods: Sequence[str]) -> list[str]:
    """Name one method as it is, and two with letters."""
    if len(methods) == 1:
        return list(methods)
    return [f"{letter} ({name})" for letter, name in zip("AB", methods, strict=True)]


def _print_components(name: str, found: "Stability") -> None:
    from vlabench.cli.tables import console, print_rows

    out = console()
    for line in _headline(name, found):
        out.print(line, soft_wrap=True, markup=False)
    print_rows([
        {
            "variance between": component.name,
            "deviation, points": _points(component.deviation),
            "95 % interval": _interval(component.deviation),
            "share, %": _share(component.share),
            "large when success depends on": component.means,
            "": f"unknown: {component.unknown}" if component.unknown else "",
        }
        for component in found.components
    ])  # fmt: skip
    print_rows([_purchase(purchase) for purchase in found.purchases])
    _say(_advice(found))


def _headline(name: str, found: "Stability") -> list[str]:
    mean = found.mean
    many = f"{found.trainings} training{'s' * (found.trainings > 1)}"
    lines = [
        f"{name}: {mean.value:.1%} [{mean.low:.1%}, {mean.high:.1%}] of n = {mean.n}, "
        f"{mean.question}",
        f"{many} x {found.tasks} tasks x {found.states:.3g} initial states x {found.repeats} "
        f"repeats; standard error {_points(found.deviation)} points "
        f"[{_interval(found.deviation)}]; intervals: surrogate variables, 95 %",
    ]
    if found.left_out:
        lines.append(
            f"{found.left_out} initial states are left out: an episode broke or is missing"
        )
    return lines


def _purchase(purchase: "Purchase") -> dict[str, object]:
    return {
        "as many episodes again, on": f"more {_WORDS[purchase.what]}",
        "standard error, points": _points(purchase.deviation),
        "95 % interval": _interval(purchase.deviation),
        "surely the best": {None: "-", True: "yes", False: "no"}[purchase.certain],
        "": f"unknown: {purchase.unknown}" if purchase.unknown else "",
    }


_WORDS = {"states": "initial states", "repeats": "repeats", "trainings": "trained seeds"}


def _advice(found: "Stability") -> str:
    best = found.next
    line = f"buy next: more {_WORDS[best.what]}"
    if best.certain is False:
        line += ", though these runs do not make it certain"
    if found.trainings == 1:
        line += (
            ". All of it is about this one training: what another seed would give is unknown, "
            "until there are runs of two checkpoints"
        )
    return line


def _print_curves(name: str, found: "CurveStability") -> None:
    from vlabench.cli.tables import print_rows

    _say(f"{name}: {len(found.curves)} curve{'s' * (len(found.curves) > 1)}")
    print_rows([
        {
            "curve": fact.name,
            "final (95 % interval)": _rate(fact.final_rate, fact.final),
            "mean over the training": _rate(fact.mean_rate, fact.mean),
            "worst fall, points": f"{100 * fact.fall:.1f}",
            "by luck alone up to": _or_dash(fact.fall_by_luck, 100),
            f"{found.unit}s under the start": f"{fact.under:g}",
            "by luck up to": _or_dash(fact.under_by_luck, 1),
        }
        for fact in found.curves
    ])  # fmt: skip
    if not found.noise:
        _say("n is unknown (no column success_n): the noise of episodes is in every number")
    if found.final is None:
        _say("one training has no spread; give the logs of other seeds, too")
        return
    rows = {
        "final success, points": found.final,
        "standard deviation between trainings, final, points": found.final_deviation,
        "standard deviation between trainings, over the training, points": found.mean_deviation,
        "worst fall, points": found.fall,
    }
    shown = {what: (_points(each), _interval(each)) for what, each in rows.items()}
    if found.under is not None:
        under = found.under
        ends = f"{under.low:.3g} to {under.high:.3g}"
        shown[f"{found.unit}s under the start"] = (f"{under.value:.3g}", ends)
    print_rows([
        {"over trainings": what, "": value, "95 % interval": interval}
        for what, (value, interval) in shown.items()
    ])  # fmt: skip


def _say(line: str) -> None:
    from vlabench.cli.tables import console

    console().print(line, soft_wrap=True, markup=False)


def _points(estimate: "Estimate | None") -> str:
    return "-" if estimate is None else f"{100 * estimate.value:.1f}"


def _interval(estimate: "Estimate | None") -> str:
    return "-" if estimate is None else f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f}"


def _rate(estimate: "Estimate | None", value: float) -> str:
    if estimate is None:
        return f"{value:.1%} (n unknown)"
    return f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"


def _share(estimate: "Estimate | None") -> str:
    if estimate is None:
        return "-"
    value, low, high = (100 * x for x in (estimate.value, estimate.low, estimate.high))
    return f"{value:.0f} ({low:.0f} to {high:.0f})"


def _or_dash(value: float | None, scale: float) -> str:
    return "-" if value is None else f"{scale * value:.3g}"
