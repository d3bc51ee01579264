"""What a training asks of the machine, and gives back."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def device_of(name: str) -> torch.device:
    """Return the device called `cpu` or `cuda`; `auto` is a GPU if there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def cores() -> int:
    """Return how many there are: so many simulators compute side by side."""
    return os.cpu_count() or 1


def compiled(function: Any, device: torch.device) -> Any:
    """Compile on a GPU; on a CPU it takes longer than it saves for models this small."""
    return torch.compile(function) if device.type == "cuda" else function


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread meanwhile: simulators need the other cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def no_denormals() -> Iterator[None]:
    """Take numbers below 1e-38 for zero meanwhile: an optimiser's averages are full of them.

    Processors are slow with them. The mode is the whole thread's, and whoever computes in it
    afterwards, a simulator among them, would round otherwise than elsewhere.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library can (glibc).

    What was explored is a hundred thousand small arrays, and the holes that they leave are kept
    otherwise: a training grows by a hundred megabytes in each iteration.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
