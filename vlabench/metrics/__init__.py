"""Numbers from records. Pure functions: no files, no simulator, no global random state."""

from vlabench.metrics.rates import Estimate, OnError, success_rate

__all__ = ["Estimate", "OnError", "success_rate"]
