"""From an id to a suite, a policy or a trainer.

An installed package joins in by naming one of its modules in its pyproject:

    [project.entry-points."vlabench.suites"]
    my_suites = "my_package.suites"

The module carries a table, `SUITES`, `POLICIES` or `TRAINERS`, from id to "module:attribute". The
attribute is a `Suite`, a function `(suite, protocol, *, settings...) -> Policy`, or a function
`(recipe, folder, *, quiet) -> Path` that trains and returns where the checkpoint is. Nothing in the
table is imported until it is asked for. A table `KNOWN_AS` beside it may say how other names for
the same things are spelt here: `{"libero-long": "--suite libero-10"}`.
"""

import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from vlabench import strangers
from vlabench.errors import MissingExtraError, PluginError, UnknownNameError, VlabenchError
from vlabench.policy import Policy
from vlabench.protocol import Protocol
from vlabench.settings import parse_settings
from vlabench.spaces import ActionSpec, ObservationSpec
from vlabench.strangers import call
from vlabench.suite import Suite

Kind = Literal["suite", "policy", "trainer"]
_MOST_LETTERS = 500
"""Of a policy's name, and of what is said of an error in one line."""
_GROUPS = {"suite": "suites", "policy": "policies", "trainer": "trainers"}


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
        PluginError: If the package that registers it is broken, or it makes no policy.
    """
    factory = policy_factory(policy_id)
    values = parse_settings(factory, settings or {}, f"policy {policy_id!r}")
    try:
        return _checked(call(factory, suite, protocol or suite.protocol(), **values))
    except VlabenchError:
        raise
    except Exception as error:
        raise PluginError(f"policy {policy_id!r} cannot be made: {_said(error)}") from error


def load_trainer(trainer_id: str) -> Callable[..., Path]:
    """Import the function that carries out recipes of one kind.

    Raises:
        UnknownNameError: If no installed package registers it.
        MissingExtraError: If something that training needs is not installed.
        PluginError: If the package that registers it is broken.
    """
    if trainer_id in _table("trainer"):
        for package in ("torch", "safetensors", "h5py", "matplotlib"):
            if find_spec(package) is None:
                raise MissingExtraError("training", package, "train")
    trainer = _load("trainer", trainer_id)
    if not callable(trainer):
        raise PluginError(f"{_table('trainer')[trainer_id]} is not a function that trains")
    return trainer  # type: ignore[no-any-return]


def recipe_paths() -> dict[str, Path]:
    """Return the recipes that come with installed packages, name to file, sorted.

    A module that registers trainers may keep recipes: `RECIPES` is the folder of its TOML files.
    """
    found: dict[str, Path] = {}
    for plugin in entry_points(group="vlabench.trainers"):
        folder = getattr(plugin.load(), "RECIPES", None)
        if isinstance(folder, Path):
            found.update({path.stem: path for path in folder.glob("*.toml")})
    return dict(sorted(found.items()))


def find_recipe(name: str) -> Path:
    """Return the file of a recipe, given its path or the name of one that comes along.

    Raises:
        UnknownNameError: If there is neither such a file nor such a name.
    """
    if name.endswith(".toml") or Path(name).is_file():
        return Path(name)
    known = recipe_paths()
    if name not in known:
        raise UnknownNameError("recipe", name, known)
    return known[name]


def require_packages(suite: Suite) -> None:
    """Check that what the suite's simulator is made of is installed and can be imported.

    Raises:
        MissingExtraError: With the command that installs it.
        SimulatorError: If environment variables are in the way.
    """
    for package, extra in suite.packages:
        if find_spec(package) is None:
            raise MissingExtraError(f"suite {suite.id!r}", package, extra)
    if suite.environment is not None:
        suite.environment()


def _checked(policy: Policy) -> Policy:
    """Return a policy if a results file can hold its name and digest, and its specs are specs."""
    for name, least in (("id", 1), ("digest", 0)):
        value = call(getattr, policy, name)
        if not isinstance(value, str) or not least <= len(value) <= _MOST_LETTERS:
            raise TypeError(
                f"its {name} is not text of {least} to {_MOST_LETTERS} letters: {value!r}"
            )
    for name, kind in (("observation", ObservationSpec), ("action", ActionSpec)):
        if not isinstance(value := call(getattr, policy, name), kind):
            raise TypeError(f"its {name} is {value!r}, expected an {kind.__name__}")
    return policy


def _said(error: Exception) -> str:
    """Return an exception in one line, with the line of code that raised it."""
    origin = error.__cause__ or error
    places = traceback.extract_tb(origin.__traceback__)
    last = next(p for p in reversed(places) if p.filename != strangers.__file__)
    try:
        text = call(str, error)
    except Exception:  # noqa: BLE001 - its text is a stranger's, too
        text = "it has no text"
    said = " ".join(f"{type(error).__name__}: {text}".split())
    return f"{said[:_MOST_LETTERS]} ({Path(last.filename).name}:{last.lineno})"


def _load(kind: Kind, name: str) -> Any:
    table = _table(kind)
    if name not in table:
        raise UnknownNameError(kind, name, table, _known_as(kind, name))
    module, _, attribute = table[name].partition(":")
    try:
        return getattr(call(import_module, module), attribute)
    except Exception as error:
        raise PluginError(
            f"{kind} {name!r} is registered as {table[name]!r}: {_said(error)}"
        ) from error


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


def _known_as(kind: Kind, name: str) -> str:
    """Return what a plug-in's table `KNOWN_AS` says of a name that people use for something else.

    Letters and digits alone count, in any case.
    """
    plain = _letters(name)
    for plugin in entry_points(group=f"vlabench.{_GROUPS[kind]}"):
        for other, here in getattr(plugin.load(), "KNOWN_AS", {}).items():
            if _letters(other) == plain:
                return f"Here that is {here}"
    return ""


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _entries(plugin: EntryPoint, attribute: str) -> Mapping[str, str]:
    where = f"plug-in {plugin.name!r} ({plugin.value})"
    try:
        table = getattr(call(plugin.load), attribute)
    except Exception as error:
        raise PluginError(
            f"{where} cannot be loaded: {_said(error)}; fix or uninstall it"
        ) from error
    if not isinstance(table, Mapping) or not all(isinstance(t, str) for t in table.values()):
        raise PluginError(f'{where}: {attribute} is not a table from id to "module:attribute"')
    return table
