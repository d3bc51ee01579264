"""`vlabench train`: carries out a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from vlabench.cli import interrupts
from vlabench.cli.options import NoLock


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe's TOML file, or the name of one that comes with vlabench: "
            "see `vlabench list recipes`.",
            metavar="RECIPE",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the training. [default: training/RECIPE]",
            metavar="FOLDER",
            show_default=False,
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change a value of the recipe: training.steps=1000",
            metavar="KEY=VALUE",
        ),
    ] = None,
    no_lock: NoLock = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing until the end.")] = False,
) -> None:
    """Train a baseline; the same command goes on where it was stopped.

    The folder gets the demonstrations (collected first, if the recipe asks for it), `log.csv`,
    `curves.png`, `state.pt` to go on from, and `checkpoint/`, which policies take:
    `vlabench run --policy sft --set checkpoint=FOLDER/checkpoint`.
    """
    from vlabench.locks import use_locks
    from vlabench.recipe import read_recipe
    from vlabench.registry import find_recipe, load_trainer
    from vlabench.settings import split_pairs

    use_locks(wanted=not no_lock)
    path = find_recipe(recipe)
    chosen = read_recipe(path, split_pairs(changes or []))
    folder = out or Path("training") / chosen.name
    try:
        checkpoint = load_trainer(chosen.trainer)(chosen, folder, quiet=quiet)
    except KeyboardInterrupt as interrupt:
        raise typer.Exit(interrupts.end(interrupts.AGAIN)) from interrupt
    print(checkpoint)
