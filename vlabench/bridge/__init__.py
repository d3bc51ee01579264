"""Gymnasium both ways: a task as a `gymnasium.Env`, and a registered environment as a suite."""

from vlabench.bridge.task_env import TaskEnv
from vlabench.bridge.wrapped import suite_from_gymnasium

__all__ = ["TaskEnv", "suite_from_gymnasium"]
