"""Rows for `vlabench list` and `vlabench protocol`."""

from collections.abc import Sequence
from importlib.util import find_spec
from inspect import Parameter

from vlabench.errors import UnknownNameError, VlabenchError
from vlabench.protocol import Protocol
from vlabench.recipe import read_recipe
from vlabench.registry import load_suite, policy_factory, policy_ids, recipe_paths, suite_ids
from vlabench.settings import settings_of
from vlabench.suite import Suite

Row = dict[str, object]


def suites(suite_id: str | None) -> list[Row]:
    """List suites: how large they are and whether they can be run here."""
    return [
        {
            "suite": suite.id,
            "tasks": len(suite.tasks),
            "protocols": ", ".join(protocol.id for protocol in suite.protocols),
            "installed": _installed(suite),
            "what": suite.summary,
        }
        for suite in _chosen(suite_id)
    ]


def tasks(suite_id: str | None) -> list[Row]:
    """List tasks; groups repeat the tasks of their members, so they are left out unless named."""
    seen: dict[str, Row] = {}
    for suite in _chosen(suite_id):
        for task in suite.tasks:
            inits = "sampled" if task.num_inits is None else task.num_inits
            seen[task.id] = {
                "task": task.id,
                "initial states": inits,
                "instruction": task.instruction,
            }
    return list(seen.values())


def policies(_: str | None) -> list[Row]:
    """List policies and what `--set` can change in them."""
    rows: list[Row] = []
    for policy_id in policy_ids():
        factory = policy_factory(policy_id)
        settings = " ".join(map(_setting, settings_of(factory).values()))
        what = (factory.__doc__ or "").strip().partition("\n")[0]
        rows.append({"policy": policy_id, "settings": settings, "what": what})
    return rows


def protocols(suite_id: str | None) -> list[Row]:
    """List protocols; one that several suites share is listed once."""
    found: dict[Protocol, list[str]] = {}
    for suite in _chosen(suite_id):
        for protocol in suite.protocols:
            found.setdefault(protocol, []).append(suite.id)
    return [
        {
            "protocol": protocol.name,
            "suites": ", ".join(of),
            "episodes": protocol.episodes_per_task,
            "horizons": "/".join(str(steps) for _, steps in protocol.horizons),
            "settle": protocol.settle_steps,
            "cameras": ", ".join(map(str, protocol.observation.cameras)) or "none",
            "source": protocol.source,
        }
        for protocol, of in found.items()
    ]


def recipes(_: str | None) -> list[Row]:
    """List the recipes that come with installed packages."""
    rows: list[Row] = []
    for name, path in recipe_paths().items():
        recipe = read_recipe(path)
        first = path.read_text("utf-8").partition("\n")[0]
        what = first.removeprefix("#").strip() if first.startswith("#") else ""
        suite = recipe.values.get("suite", "")
        rows.append({"recipe": name, "trainer": recipe.trainer, "suite": suite, "what": what})
    return rows


def find_protocols(names: Sequence[str], suite_id: str | None) -> list[Protocol]:
    """Find protocols by name, all in one suite: two suites may use one name for two things.

    Raises:
        UnknownNameError: If no suite (or not the given one) has all of them.
    """
    for suite in _chosen(suite_id):
        try:
            return [suite.protocol(name) for name in names]
        except UnknownNameError:
            continue
    known = {p.id for suite in _chosen(suite_id) for p in suite.protocols}
    for name in names:
        if name.partition("@")[0] not in known:
            raise UnknownNameError("protocol", name, known)
    raise VlabenchError(f"no suite has all of {', '.join(names)}; two suites' rules do not compare")


def _chosen(suite_id: str | None) -> list[Suite]:
    return [load_suite(i) for i in ([suite_id] if suite_id else suite_ids())]


def _installed(suite: Suite) -> str:
    missing = {extra for package, extra in suite.packages if find_spec(package) is None}
    return f"no: needs the extra {', '.join(sorted(missing))}" if missing else "yes"


def _setting(parameter: Parameter) -> str:
    if parameter.default is Parameter.empty:
        return f"{parameter.name}=..."
    return f"{parameter.name}={parameter.default}"
