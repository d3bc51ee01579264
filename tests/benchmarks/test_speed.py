"""What `vlabench bench` measures, for pytest-benchmark. Asserts that bits are equal, never speed.

Ratio and equality of each kind of work are in `extra_info`.
"""

from typing import Any

import pytest

from vlabench import load_suite
from vlabench.errors import MissingExtraError
from vlabench.registry import require_packages


@pytest.mark.sim
@pytest.mark.parametrize("suite_id", ["libero", "metaworld"])
def test_vlabench_gives_the_same_bits_in_less_time(benchmark: Any, suite_id: str) -> None:
    suite = load_suite(suite_id)
    try:
        require_packages(suite)
    except MissingExtraError as missing:
        pytest.skip(str(missing))
    assert suite.bench is not None
    bench = suite.bench
    found = benchmark.pedantic(lambda: list(bench(1, lambda _: None)), rounds=1)
    for each in found:
        benchmark.extra_info[each.work] = {"ratio": round(each.ratio, 3), "equal": each.equal}
    assert [each.work for each in found if each.equal is False] == []
