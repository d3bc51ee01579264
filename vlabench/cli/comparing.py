"""Commands that decide: compare, power."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from vlabench.cli.options import Json, Margin, OnErrorOption, Unpaired, rules_of

if TYPE_CHECKING:
    from vlabench.metrics import Rules
    from vlabench.metrics.power import Question, Way
    from vlabench.table import Results

Runs = Annotated[
    list[str],
    typer.Argument(
        help="Results files, or folders of them, the reference first. NAME=FILE names one; several "
        "files of one NAME are trainings of one method.",
        metavar="A B [C...]",
    ),
]
Rate = Annotated[
    float, typer.Option("--rate", help="Success rate of the reference.", metavar="PERCENT")
]
Effect = Annotated[
    float, typer.Option("--effect", help="The difference to be seen.", metavar="POINTS")
]
Discordance = Annotated[
    float | None,
    typer.Option(
        "--discordance",
        help="Episodes in which one of both succeeds alone. [default: several]",
        metavar="PERCENT",
        show_default=False,
    ),
]
PowerOption = Annotated[
    float, typer.Option("--power", help="Chance of seeing the difference.", metavar="PERCENT")
]
Episodes = Annotated[
    int | None,
    typer.Option(
        "--episodes",
        min=1,
        help="Say which gain so many pairs show, too.",
        metavar="N",
        show_default=False,
    ),
]
LooksOption = Annotated[
    int | None,
    typer.Option(
        "--looks",
        min=2,
        help="Say what stopping early gains and costs, with so many looks and with one after every "
        "pair; at most --episodes pairs.",
        metavar="K",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("compare")(compare)
    app.command("power")(power)


def compare(
    runs: Runs,
    margin: Margin = 3.0,
    unpaired: Unpaired = False,
    on_error: OnErrorOption = "raise",
    tasks: Annotated[
        bool, typer.Option("--tasks", help="List tasks where there are more than 100, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say whether B is better than A, by how much, and how sure; exit 2 if not comparable.

    vlabench compare old.jsonl new.jsonl

    vlabench compare old=seed1.jsonl old=seed2.jsonl new=other1.jsonl new=other2.jsonl
    """
    from vlabench.cli.verdicts import print_comparisons
    from vlabench.metrics import Verdict, compare_all
    from vlabench.table import said_groups

    rules = rules_of(margin, unpaired, on_error)
    methods = _methods(runs)
    if len(methods) < 2:
        raise typer.BadParameter(
            f"found {', '.join(methods) or 'nothing'} alone, which cannot be compared; expected "
            "two runs or more, or two NAMEs"
        )
    rules = replace(rules, groups=said_groups(next(iter(methods.values()))[0]))
    found = compare_all(list(methods.values()), names=list(methods), rules=rules)
    print_comparisons(found, as_json=as_json, all_tasks=tasks)
    if any(comparison.verdict is Verdict.NOT_COMPARABLE for comparison in found):
        sys.exit(2)


def _methods(arguments: Sequence[str]) -> "dict[str, list[Results]]":
    """Read the runs of each method; one that is not named is a method of its own."""
    from vlabench.cli.verdicts import run_names
    from vlabench.reports.requests import results_files, split_name
    from vlabench.store import read_all

    named = [split_name(argument) for argument in arguments]
    given = [(name, file) for name, path in named for file in results_files(path)]
    loaded = read_all([path for _, path in given], hashed=False)
    names = iter(
        run_names(
            [path for name, path in given if not name],
            [run for (name, _), run in zip(given, loaded, strict=True) if not name],
        )
    )
    methods: dict[str, list[Results]] = {}
    for (name, _), run in zip(given, loaded, strict=True):
        methods.setdefault(name or next(names), []).append(run)
    return methods


def power(
    rate: Rate,
    effect: Effect = 5.0,
    discordance: Discordance = None,
    chance: PowerOption = 80.0,
    episodes: Episodes = None,
    looks: LooksOption = None,
    margin: Margin = 3.0,
    as_json: Json = False,
) -> None:
    """Say how many episodes a comparison needs, with and without pairs, and with looks before.

    vlabench power --rate 85 --effect 5 --looks 5
    """
    from vlabench.cli.verdicts import print_power
    from vlabench.metrics.power import Question

    _refuse_shares(rate=rate, effect=effect, discordance=discordance, power=chance)
    _refuse_impossible(rate, effect, discordance, chance=chance)
    question = Question(
        rate=rate / 100,
        effect=effect / 100,
        discordance=None if discordance is None else discordance / 100,
        power=chance / 100,
    )
    rules = rules_of(margin, False, "raise")
    looked = _looked(question, looks, episodes, rules) if looks else ()
    print_power(question, episodes, looked=looked, as_json=as_json)


def _looked(question: "Question", looks: int, pairs: int | None, rules: "Rules") -> "Sequence[Way]":
    from vlabench.metrics.power import ways

    try:
        return ways(question, looks=looks, pairs=pairs, rules=rules)
    except ValueError as error:
        raise typer.BadParameter(f"--looks {looks} is impossible: {error}") from error


def _refuse_shares(**options: float | None) -> None:
    """Refuse 0.05 where 5 is meant: less than one percent or point is never asked for."""
    for name, value in options.items():
        least, unit = (-1, "points") if name == "effect" else (0, "percent")
        if value and least < value < 1:
            raise typer.BadParameter(
                f"--{name} {value:g} is in {unit}, no share; did you mean {100 * value:g}?"
            )


def _refuse_impossible(
    rate: float, effect: float, discordance: float | None, *, chance: float
) -> None:
    """Say what `vlabench.metrics.power` would refuse, in the units of the options."""
    if not 0 <= rate <= 100:
        raise typer.BadParameter(f"--rate {rate:g} is impossible; expected percent, 0 to 100")
    if effect == 0:
        raise typer.BadParameter("--effect 0 needs infinitely many episodes; expected points, as 5")
    if not 0 <= rate + effect <= 100:
        raise typer.BadParameter(
            f"--effect {effect:g} is impossible: {effect:+g} points from --rate {rate:g} make a "
            f"success rate of {rate + effect:g} %; expected {-rate:g} to {100 - rate:g} points"
        )
    if not 0 < chance < 100:
        raise typer.BadParameter(
            f"--power {chance:g} is impossible; expected percent between 0 and 100, as 80"
        )
    if discordance is None:
        return
    if abs(effect) > discordance:
        raise typer.BadParameter(
            f"--discordance {discordance:g} is impossible with --effect {effect:g}: one alone "
            f"succeeds less often than the rates differ; expected {abs(effect):g} percent or more"
        )
    if not discordance <= 100:
        raise typer.BadParameter(
            f"--discordance {discordance:g} is impossible; expected percent, 100 at most"
        )
