"""Where a number comes from: commit, packages, machine, and the simulator's fingerprint."""

import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vlabench.children import call_apart
from vlabench.errors import SimulatorError
from vlabench.protocol import Canary, Protocol
from vlabench.record import Fingerprint, Provenance
from vlabench.suite import Suite

DISTRIBUTION = "vlabench-harness"
_ALWAYS = ("numpy", "gymnasium", "torch")
UNREADABLE = "unreadable"
"""Commit of a checkout about which git says nothing."""
_LOG = logging.getLogger("vlabench")
_CODE = (":(top)", ":(top,exclude)results", ":(top,exclude)reports")


def cache_folder() -> Path:
    """Return the folder for what can be computed again: `VLABENCH_CACHE`, else the user's.

    Where the user has no home, it is one that cannot be made, so that nothing is kept.
    """
    if chosen := os.environ.get("VLABENCH_CACHE"):
        return Path(chosen)
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "vlabench"
    try:
        return Path.home() / ".cache" / "vlabench"
    except RuntimeError:
        return Path(os.devnull) / "no-home" / "vlabench"


def package_versions(distributions: Iterable[str]) -> dict[str, str]:
    """Return the versions of those distributions that are installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def provenance(suite: Suite, *, workers: int, gl: str) -> Provenance:
    """Describe this process, now.

    Args:
        suite: Whose packages to list.
        workers: Simulators side by side.
        gl: How pictures are drawn, `none` when nothing is.
    """
    commit, dirty = _git()
    return Provenance(
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        vlabench=package_versions([DISTRIBUTION]).get(DISTRIBUTION, "unknown"),
        commit=commit,
        dirty=dirty,
        python=platform.python_version(),
        packages=package_versions((*_ALWAYS, *suite.distributions)),
        machine=f"{platform.machine()} {platform.system()}",
        accelerator=_accelerator(),
        gl=gl,
        workers=workers,
    )


def fingerprint(
    suite: Suite, protocol: Protocol, *, gl: str, settings: Mapping[str, Any] | None = None
) -> Fingerprint:
    """Describe the simulator, and hold it against what the protocol means.

    Canaries are measured in a process of their own, once for each set of package versions; the
    result is kept in the cache folder.

    Args:
        suite: Whose simulator.
        protocol: Whose expectations.
        gl: How pictures are drawn; `none` leaves out the canaries that need drawing.
        settings: Parsed settings of the suite, some of which make it another simulator.

    Raises:
        SimulatorError: If the canaries cannot be measured.
    """
    versions = package_versions(suite.distributions)
    canaries = _canaries(suite, versions, gl) if protocol.canaries else {}
    mismatches = [
        f"{name} {versions.get(name, 'not installed')}, the protocol means {expected}"
        for name, expected in protocol.simulator
        if versions.get(name) != expected
    ]
    mismatches += [
        f"canary {canary.name} is {canaries[canary.name]:.4g}, "
        f"expected {canary.low:g} to {canary.high:g}"
        for canary in protocol.canaries
        if canary.name in canaries and not _holds(canary, canaries)
    ]
    mismatches += suite.caveats(settings or {}) if suite.caveats else ()
    return Fingerprint(versions=versions, canaries=canaries, mismatches=tuple(mismatches))


def _holds(canary: Canary, measured: Mapping[str, float]) -> bool:
    return canary.low <= measured[canary.name] <= canary.high


def _canaries(suite: Suite, versions: Mapping[str, str], gl: str) -> dict[str, float]:
    if suite.measure_canaries is None:
        return {}
    measure = suite.measure_canaries
    identity = json.dumps(
        [
            2,
            measure.__module__,
            measure.__qualname__,
            suite.version,
            dict(versions),
            gl,
            sys.version,
        ]
    )
    path = cache_folder() / f"canaries-{sha256(identity.encode()).hexdigest()[:16]}.json"
    if (kept := _kept(path)) is not None:
        return kept
    try:
        measured = {k: float(v) for k, v in call_apart(measure, gl != "none").items()}
    except Exception as error:
        raise SimulatorError(
            f"the simulator of suite {suite.id!r} does not work here: {error!r}; "
            "`vlabench doctor` says what is missing"
        ) from error
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"digest": _digest(path, measured), "measured": measured}))
        part.replace(path)
    except OSError:
        pass  # a read-only home costs the measurement at every run, nothing else
    return measured


def _kept(path: Path) -> dict[str, float] | None:
    """Return the canaries that were measured before; None if there are none to be trusted."""
    try:
        content = json.loads(path.read_bytes())
        measured = {name: float(value) for name, value in content["measured"].items()}
        if measured and content["digest"] == _digest(path, measured):
            return measured
    except OSError:
        return None
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        pass
    _LOG.warning("%s was damaged and is measured anew", path)
    return None


def _digest(path: Path, measured: Mapping[str, float]) -> str:
    """Return the digest that canaries are kept with: of what they are, and of what was measured."""
    return sha256(json.dumps([path.stem, measured], sort_keys=True).encode()).hexdigest()


def _git() -> tuple[str, bool]:
    """Return the commit and dirtiness of the checkout this package lies in, if it lies in one.

    Where git does not say (the checkout is another user's), the commit is `UNREADABLE`. Run files
    and what is drawn from them are no code: going on with a committed run changes it.
    """
    folder = Path(__file__).parent
    if not (folder.parent / ".git").exists():
        return "", False
    command = ["git", "-C", str(folder)]
    try:
        commit = subprocess.run(
            [*command, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        status = subprocess.run(
            [*command, "status", "--porcelain", "--untracked-files=no", "--", *_CODE],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return UNREADABLE, False
    return commit.stdout.strip(), bool(status.stdout.strip())


def _accelerator() -> str:
    """Return the GPU's name; torch is asked only when the policy has already loaded it."""
    torch = sys.modules.get("torch")
    if torch is None or find_spec("torch") is None or not torch.cuda.is_available():
        return "none"
    return str(torch.cuda.get_device_name(0))
