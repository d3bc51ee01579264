"""Every error the harness raises on purpose.

* VlabenchError
  + UnknownNameError      an id that nothing registers
  + PluginError           an installed package whose table of suites or policies is broken
  + MissingExtraError     an optional package that is not installed
  + SettingError          a `--set key=value` that nobody takes, or of the wrong type
  + SpecMismatchError     a policy and a suite disagree about actions or observations
  + PlanError             a plan that the suite cannot honour
  + RecordError           a results file that is not what it claims to be
  + RunLockedError        a results file that another process is writing
  + StorageError          what happened cannot be written any more: a full disk, a file that is gone
  + DemoError             a demonstration that is not what it claims to be, or cannot be made
  + DrawingError          pictures are asked for and no OpenGL library can draw them
  + SimulatorError        a simulator that does not work here
  + PolicyHangError       a policy that does not answer

An exception raised by a simulator or a policy during an episode is not in this list: it ends that
episode with `Outcome.ERROR` and is stored with it.
"""

from collections.abc import Iterable
from difflib import get_close_matches


def close_name(name: str, known: Iterable[str]) -> str:
    """Return the known name that somebody may have meant; empty where none is close.

    Capitals count as small letters, and underscores as hyphens.
    """
    plain = {_folded(each): each for each in known}
    close = get_close_matches(_folded(name), plain, n=1)
    return plain[close[0]] if close else ""


def _folded(name: str) -> str:
    return name.lower().replace("_", "-")


class VlabenchError(Exception):
    """Base class, so that callers can catch everything the harness raises on purpose."""


class UnknownNameError(VlabenchError):
    """An id that nothing registers."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        if not hint:
            close = close_name(name, names)
            hint = f"Did you mean {close!r}?" if close else f"Known: {', '.join(names) or 'none'}."
        super().__init__(f"no {kind} is called {name!r}. {hint}")


class PluginError(VlabenchError):
    """An installed package whose table of suites or policies is broken."""


class MissingExtraError(VlabenchError):
    """An optional package that is not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the Python package {package!r}, which is not installed. "
            f"Install it with: pip install 'vlabench-harness[{extra}]'"
        )


class SettingError(VlabenchError):
    """A `--set key=value` that nobody takes, or of the wrong type."""


class SpecMismatchError(VlabenchError):
    """A policy and a suite disagree about actions or observations."""


class PlanError(VlabenchError):
    """A plan that the suite cannot honour."""


class RecordError(VlabenchError):
    """A results file that is not what it claims to be."""


class RunLockedError(VlabenchError):
    """A results file that another process is writing."""


class StorageError(VlabenchError):
    """What happened cannot be written any more; what was written before is kept."""


class DemoError(VlabenchError):
    """A demonstration that is not what it claims to be, or cannot be made."""


class DrawingError(VlabenchError):
    """Pictures are asked for and no OpenGL library can draw them."""


class SimulatorError(VlabenchError):
    """A simulator that does not work here."""


class PolicyHangError(VlabenchError):
    """A policy that does not answer."""
