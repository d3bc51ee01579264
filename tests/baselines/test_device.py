"""What a training gives back to the machine."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from vlabench_baselines.common.device import give_back_memory


def resident_mb() -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found.group(1)) / 1000


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_the_holes_that_many_small_arrays_leave_go_back_to_the_system() -> None:
    arrays = [np.zeros(64) for _ in range(200_000)]  # 100 MB
    kept = arrays[::100]
    del arrays
    before = resident_mb()
    give_back_memory()
    assert before - resident_mb() > 50
    assert len(kept) == 2000
