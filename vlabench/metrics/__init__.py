"""Numbers from records. Pure functions: no files, no simulator, no global random state."""

from vlabench.metrics.comparison import Comparison, Evidence, Rules, Verdict
from vlabench.metrics.counts import OnError
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.paired import compare_all, compare_runs, group_letters
from vlabench.metrics.rates import mean_of, rate_bounds, success_rate, suite_rate

__all__ = [
    "Comparison",
    "Estimate",
    "Evidence",
    "OnError",
    "Rules",
    "Verdict",
    "compare_all",
    "compare_runs",
    "group_letters",
    "mean_of",
    "rate_bounds",
    "success_rate",
    "suite_rate",
]
