"""Commands that say what there is: list, protocol, cache."""

from enum import StrEnum
from typing import Annotated

import typer

from vlabench.cli.options import Json
from vlabench.cli.output import print_json


class What(StrEnum):
    """What can be listed."""

    SUITES = "suites"
    TASKS = "tasks"
    POLICIES = "policies"
    PROTOCOLS = "protocols"
    RECIPES = "recipes"


SuiteFilter = Annotated[
    str | None, typer.Option("--suite", help="Only of this suite.", metavar="ID")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list")(list_)
    protocols = typer.Typer(help="Look at protocols.", no_args_is_help=True, rich_markup_mode=None)
    protocols.command("diff")(diff)
    protocols.command("show")(show)
    app.add_typer(protocols, name="protocol")
    cache = typer.Typer(help="Look at the cache.", no_args_is_help=True, rich_markup_mode=None)
    cache.command("info")(info)
    cache.command("clear")(clear)
    app.add_typer(cache, name="cache")


def list_(
    what: Annotated[What, typer.Argument(help="What to list.", show_default=False)],
    suite: SuiteFilter = None,
    as_json: Json = False,
) -> None:
    """List suites, tasks, policies, protocols or recipes."""
    from vlabench.cli import listing
    from vlabench.cli.tables import print_rows

    make = {
        What.SUITES: listing.suites,
        What.TASKS: listing.tasks,
        What.POLICIES: listing.policies,
        What.PROTOCOLS: listing.protocols,
        What.RECIPES: listing.recipes,
    }[what]
    rows = make(suite)
    if as_json:
        print_json(rows)
    else:
        print_rows(rows)


def diff(
    a: Annotated[str, typer.Argument(help="A protocol.", metavar="A")],
    b: Annotated[str, typer.Argument(help="Another one.", metavar="B")],
    suite: SuiteFilter = None,
    as_json: Json = False,
) -> None:
    """Show in which fields two protocols differ."""
    from vlabench.cli.listing import find_protocols
    from vlabench.cli.tables import print_rows
    from vlabench.protocol import protocol_diff

    left, right = find_protocols([a, b], suite)
    rows = [
        {"field": name, left.name: one, right.name: other}
        for name, one, other in protocol_diff(left, right)
    ]
    print_json(rows) if as_json else print_rows(rows)


def show(
    name: Annotated[str, typer.Argument(help="A protocol.", metavar="ID")],
    suite: SuiteFilter = None,
    as_json: Json = False,
) -> None:
    """Show every field of a protocol, and where its values come from."""
    from vlabench.cli.listing import find_protocols
    from vlabench.cli.tables import print_rows
    from vlabench.protocol import protocol_fields

    (protocol,) = find_protocols([name], suite)
    rows = [{"field": field, protocol.name: value} for field, value in protocol_fields(protocol)]
    print_json(rows) if as_json else print_rows(rows)


def info(as_json: Json = False) -> None:
    """Say where the cache is and how large."""
    from vlabench.cache import cache_info

    found = cache_info()
    if as_json:
        content = {"folder": str(found.folder), "files": found.files, "bytes": found.bytes}
        print_json(content)
    else:
        print(f"{found.folder}: {found.files} files, {found.bytes / 1e6:.0f} MB")


def clear() -> None:
    """Remove what the cache holds: it will be computed again when it is needed."""
    from vlabench.cache import clear_cache

    found = clear_cache()
    print(f"{found.folder}: removed {found.files} files, {found.bytes / 1e6:.0f} MB")
