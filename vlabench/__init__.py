"""vlabench: run robot-policy benchmarks so that every episode can be run again.

The public API is what `__all__` lists. Names are imported when they are first used, so that
`import vlabench` costs nothing.
"""

TYPE_CHECKING = False  # that of `typing`, which takes a while to import

if TYPE_CHECKING:
    from vlabench.env import Env as Env
    from vlabench.env import Graded as Graded
    from vlabench.env import Observation as Observation
    from vlabench.env import Step as Step
    from vlabench.episode import EpisodeSpec as EpisodeSpec
    from vlabench.errors import VlabenchError as VlabenchError
    from vlabench.evaluation import prepare as prepare
    from vlabench.frames import read_frame as read_frame
    from vlabench.metrics import Comparison as Comparison
    from vlabench.metrics import Estimate as Estimate
    from vlabench.metrics import Rules as Rules
    from vlabench.metrics import Verdict as Verdict
    from vlabench.metrics import compare_runs as compare_runs
    from vlabench.metrics import success_rate as success_rate
    from vlabench.metrics import suite_rate as suite_rate
    from vlabench.plan import Plan as Plan
    from vlabench.plan import make_plan as make_plan
    from vlabench.policy import Decision as Decision
    from vlabench.policy import Policy as Policy
    from vlabench.protocol import Protocol as Protocol
    from vlabench.protocol import protocol_diff as protocol_diff
    from vlabench.record import EpisodeRecord as EpisodeRecord
    from vlabench.record import Outcome as Outcome
    from vlabench.record import Run as Run
    from vlabench.record import RunHeader as RunHeader
    from vlabench.registry import load_policy as load_policy
    from vlabench.registry import load_suite as load_suite
    from vlabench.registry import policy_ids as policy_ids
    from vlabench.registry import suite_ids as suite_ids
    from vlabench.runners.processes import ProcessRunner as ProcessRunner
    from vlabench.runners.serial import SerialRunner as SerialRunner
    from vlabench.runners.slot import Stage as Stage
    from vlabench.spaces import ActionSpec as ActionSpec
    from vlabench.spaces import Camera as Camera
    from vlabench.spaces import Gripper as Gripper
    from vlabench.spaces import ObservationSpec as ObservationSpec
    from vlabench.spaces import Orientation as Orientation
    from vlabench.spaces import Rotation as Rotation
    from vlabench.store import RunWriter as RunWriter
    from vlabench.store import read_results as read_results
    from vlabench.store import read_run as read_run
    from vlabench.suite import Suite as Suite
    from vlabench.suite import Task as Task
    from vlabench.table import Results as Results

_HOME = {
    "ActionSpec": "spaces",
    "Camera": "spaces",
    "Comparison": "metrics",
    "Decision": "policy",
    "Env": "env",
    "EpisodeRecord": "record",
    "EpisodeSpec": "episode",
    "Estimate": "metrics",
    "Graded": "env",
    "Gripper": "spaces",
    "Observation": "env",
    "ObservationSpec": "spaces",
    "Orientation": "spaces",
    "Outcome": "record",
    "Plan": "plan",
    "Policy": "policy",
    "ProcessRunner": "runners.processes",
    "Protocol": "protocol",
    "Results": "table",
    "Rotation": "spaces",
    "Rules": "metrics",
    "Run": "record",
    "RunHeader": "record",
    "RunWriter": "store",
    "SerialRunner": "runners.serial",
    "Stage": "runners.slot",
    "Step": "env",
    "Suite": "suite",
    "Task": "suite",
    "Verdict": "metrics",
    "VlabenchError": "errors",
    "compare_runs": "metrics",
    "load_policy": "registry",
    "load_suite": "registry",
    "make_plan": "plan",
    "policy_ids": "registry",
    "prepare": "evaluation",
    "protocol_diff": "protocol",
    "read_frame": "frames",
    "read_results": "store",
    "read_run": "store",
    "success_rate": "metrics",
    "suite_ids": "registry",
    "suite_rate": "metrics",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'vlabench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"vlabench.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
