"""Commands that decide: compare, power."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vlabench.cli.options import Json, Margin, OnErrorOption, Unpaired, rules_of

Runs = Annotated[
    list[Path],
    typer.Argument(help="Results files, the reference first.", metavar="A B [C...]"),
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


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("compare")(compare)
    app.command("power")(power)


def compare(
    runs: Runs,
    margin: Margin = 3.0,
    unpaired: Unpaired = False,
    on_error: OnErrorOption = "raise",
    as_json: Json = False,
) -> None:
    """Say whether B is better than A, by how much, and how sure; exit 2 if not comparable."""
    from vlabench.cli.verdicts import print_comparisons, run_names
    from vlabench.metrics import Verdict, compare_all
    from vlabench.store import read_results

    rules = rules_of(margin, unpaired, on_error)
    if len(runs) < 2:
        raise typer.BadParameter("one run cannot be compared; name two or more")
    loaded = [read_results(path, hashed=False) for path in runs]
    found = compare_all(loaded, names=run_names(runs, loaded), rules=rules)
    print_comparisons(found, as_json=as_json)
    if any(comparison.verdict is Verdict.NOT_COMPARABLE for comparison in found):
        sys.exit(2)


def power(
    rate: Rate,
    effect: Effect = 5.0,
    discordance: Discordance = None,
    chance: PowerOption = 80.0,
    episodes: Episodes = None,
    as_json: Json = False,
) -> None:
    """Say how many episodes a comparison needs, with and without pairs."""
    from vlabench.cli.verdicts import print_power
    from vlabench.metrics.power import Question

    if 0 < rate < 1:
        raise typer.BadParameter(f"--rate {rate:g} is in percent; did you mean {100 * rate:g}?")
    try:
        question = Question(
            rate=rate / 100,
            effect=effect / 100,
            discordance=None if discordance is None else discordance / 100,
            power=chance / 100,
        )
        print_power(question, episodes, as_json=as_json)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
