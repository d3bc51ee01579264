"""What `vlabench` exports, and what importing it costs."""

import json
import subprocess
import sys
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path

import pytest

import vlabench
from vlabench import errors

HEAVY = (
    "numpy", "gymnasium", "torch", "mujoco", "robosuite", "metaworld", "libero", "pandas",
    "matplotlib", "rich", "typer", "imageio", "cloudpickle",
)  # fmt: skip
HARNESS = Path(vlabench.__file__).parent


def module_of(path: Path) -> str:
    return ".".join(("vlabench", *path.relative_to(HARNESS).with_suffix("").parts))


def imported_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after `statement`."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_importing_vlabench_imports_nothing_else() -> None:
    loaded = imported_by("import vlabench")
    assert not loaded & set(HEAVY)
    assert {name for name in loaded if name.startswith("vlabench")} == {"vlabench"}


def test_the_harness_never_imports_a_simulator_torch_or_its_own_suites() -> None:
    skipped = ("bridge", "cli")  # gymnasium and typer are theirs; no simulator is
    modules = [
        module_of(path)
        for path in sorted(HARNESS.rglob("*.py"))
        if path.relative_to(HARNESS).parts[0] not in skipped and path.stem[0] != "_"
    ]
    loaded = imported_by(f"import {', '.join(modules)}")
    assert not loaded & (set(HEAVY) - {"numpy", "cloudpickle"})
    assert not {n for n in loaded if n.startswith(("vlabench_suites", "vlabench_baselines"))}
    loaded = imported_by("import vlabench.bridge")
    assert not loaded & (set(HEAVY) - {"numpy", "gymnasium", "cloudpickle"})


@pytest.mark.parametrize("name", vlabench.__all__)
def test_a_public_name_is_what_its_home_calls_it(name: str) -> None:
    found = getattr(vlabench, name)
    assert found.__name__ == name
    assert found.__doc__
    assert getattr(import_module(found.__module__), name) is found


def test_the_list_of_public_names_is_complete_and_sorted() -> None:
    assert dir(vlabench) == vlabench.__all__ == sorted(set(vlabench.__all__))
    namespace: dict[str, object] = {}
    exec("from vlabench import *", namespace)
    assert set(vlabench.__all__) <= set(namespace)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'vlabench' has no attribute 'Simulator'"):
        vlabench.Simulator  # noqa: B018


def test_every_error_is_a_vlabench_error_and_in_the_tree_of_its_module() -> None:
    ours = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert errors.__doc__
    tree = {
        line.split()[1] for line in errors.__doc__.splitlines() if line.strip()[:1] in ("*", "+")
    }
    tree = {word for word in tree if word.endswith("Error")}
    assert tree == set(ours)
    assert all(issubclass(value, vlabench.VlabenchError) for value in ours.values())


def test_values_are_frozen() -> None:
    """So that nobody changes what was handed to somebody else; `cli` keeps its own tallies."""
    values = [
        kind
        for path in sorted(HARNESS.rglob("*.py"))
        if path.relative_to(HARNESS).parts[0] != "cli" and path.stem[0] != "_"
        for kind in vars(import_module(module_of(path))).values()
        if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module_of(path)
    ]
    assert len(values) > 50
    thawed = [kind.__name__ for kind in values if not kind.__dataclass_params__.frozen]
    assert [name for name in thawed if not name.startswith("_")] == []
