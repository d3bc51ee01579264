"""Numbers from records. Pure functions: no files, no simulator, no global random state."""

from vlabench.metrics.comparison import Comparison, Evidence, Rules, Verdict
from vlabench.metrics.counts import OnError
from vlabench.metrics.curves import Curve, CurveStability, curve_ratios, stability_of_curves
from vlabench.metrics.estimate import Estimate
from vlabench.metrics.paired import compare_all, compare_runs, group_letters
from vlabench.metrics.rates import mean_of, rate_bounds, success_rate, suite_rate
from vlabench.metrics.scaling import Scaling, scaling_of_curve, scaling_of_runs
from vlabench.metrics.stability import Stability, stability_of_runs, stability_ratio

__all__ = [
    "Comparison",
    "Curve",
    "CurveStability",
    "Estimate",
    "Evidence",
    "OnError",
    "Rules",
    "Scaling",
    "Stability",
    "Verdict",
    "compare_all",
    "compare_runs",
    "curve_ratios",
    "group_letters",
    "mean_of",
    "rate_bounds",
    "scaling_of_curve",
    "scaling_of_runs",
    "stability_of_curves",
    "stability_of_runs",
    "stability_ratio",
    "success_rate",
    "suite_rate",
]
