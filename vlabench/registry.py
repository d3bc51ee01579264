"""From an id to a suite or a policy.

An installed package joins in by naming one of its modules in its pyproject:

    [project.entry-points."vlabench.suites"]
    my_suites = "my_package.suites"

The module carries a table, `SUITES` or `POLICIES`, from id to "module:attribute". The attribute is
a `Suite`, or a function `(suite, protocol, *, settings...) -> Policy`. Nothing in the table is
imported until it is asked for.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, Literal

from vlabench.errors import MissingExtraError, PluginError, UnknownNameError
from vlabench.policy import Policy
from vlabench.protocol import Protocol
from vlabench.settings import parse_settings
from vlabench.suite import Suite

Kind = Literal["suite", "policy"]
_GROUPS = {"suite": "suites", "policy": "policies"}


def suite_ids() -> list[str]:
    """Return the id of every installed suite, sorted."""
    return sorted(_table("suite"))


def policy_ids() -> list[str]:
    """Return the id of every installed policy, sorted."""
    return sorted(_table("policy"))


def load_suite(suite_id: str) -> Suite:
    """Import one suite; no simulator is imported by this.

    Raises:
        UnknownNameError: If no installed package registers it.
        PluginError: If the package that registers it is broken.
    """
    suite = _load("suite", suite_id)
    if not isinstance(suite, Suite) or suite.id != suite_id:
        raise PluginError(f"{_table('suite')[suite_id]} is not a Suite with the id {suite_id!r}")
    return suite


def policy_factory(policy_id: str) -> Callable[..., Policy]:
    """Import the function that makes a policy; its keyword-only parameters are its settings.

    Raises:
        UnknownNameError: If no installed package registers it.
        PluginError: If the package that registers it is broken.
    """
    factory = _load("policy", policy_id)
    if not callable(factory):
        raise PluginError(f"{_table('policy')[policy_id]} is not a function that makes a policy")
    return factory  # type: ignore[no-any-return]


def load_policy(
    policy_id: str,
    suite: Suite,
    protocol: Protocol | None = None,
    settings: Mapping[str, str] | None = None,
) -> Policy:
    """Make one policy for a suite under a protocol.

    Args:
        policy_id: Which policy.
        suite: What it will act in.
        protocol: The rules; the suite's default when None.
        settings: Text values by name, as `--set` gives them.

    Raises:
        UnknownNameError: If no installed package registers it.
        SettingError: If it does not take one of the settings.
        PluginError: If the package that registers it is broken.
    """
    factory = policy_factory(policy_id)
    values = parse_settings(factory, settings or {}, f"policy {policy_id!r}")
    return factory(suite, protocol or suite.protocol(), **values)


def require_packages(suite: Suite) -> None:
    """Check that what the suite's simulator is made of is installed.

    Raises:
        MissingExtraError: With the command that installs it.
    """
    for package, extra in suite.packages:
        if find_spec(package) is None:
            raise MissingExtraError(f"suite {suite.id!r}", package, extra)


def _load(kind: Kind, name: str) -> Any:
    table = _table(kind)
    if name not in table:
        raise UnknownNameError(kind, name, table)
    module, _, attribute = table[name].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except Exception as error:
        raise PluginError(f"{kind} {name!r} is registered as {table[name]!r}: {error!r}") from error


def _table(kind: Kind) -> dict[str, str]:
    table: dict[str, str] = {}
    owner: dict[str, str] = {}
    for plugin in entry_points(group=f"vlabench.{_GROUPS[kind]}"):
        for name, target in _entries(plugin, _GROUPS[kind].upper()).items():
            if table.setdefault(name, target) != target:
                raise PluginError(
                    f"{kind} {name!r} is registered twice: as {table[name]!r} by {owner[name]} and "
                    f"as {target!r} by {plugin.value}; uninstall one of the two packages"
                )
            owner[name] = plugin.value
    return table


def _entries(plugin: EntryPoint, attribute: str) -> Mapping[str, str]:
    where = f"plug-in {plugin.name!r} ({plugin.value})"
    try:
        table = getattr(plugin.load(), attribute)
    except Exception as error:
        raise PluginError(f"{where} cannot be loaded: {error!r}; fix or uninstall it") from error
    if not isinstance(table, Mapping) or not all(isinstance(t, str) for t in table.values()):
        raise PluginError(f'{where}: {attribute} is not a table from id to "module:attribute"')
    return table
