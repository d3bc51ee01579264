"""A scripted expert for LIBERO, which sees poses and joints and sends ordinary actions."""

from vlabench_baselines.experts.libero.policy import make

__all__ = ["make"]
