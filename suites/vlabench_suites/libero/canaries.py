"""Two measurements that silent changes of MuJoCo are known to move."""

from collections.abc import Mapping

import numpy as np

from vlabench.episode import EpisodeSpec
from vlabench.spaces import ObservationSpec


def measure_canaries(may_draw: bool) -> Mapping[str, float]:  # noqa: FBT001 - Suite's signature
    """Measure the canaries of LIBERO's protocols.

    Args:
        may_draw: Whether pictures can be drawn; without, the second canary is left out.
    """
    measured = {"libero-spatial/5 bowl height, m": _bowl_height()}
    if may_draw:
        measured["libero-object/0 mean brightness"] = _brightness()
    return measured


def _bowl_height() -> float:
    """Where the bowl rests that stands on the ramekin, after settling; metres."""
    from vlabench_suites.libero import LIBERO_SPATIAL

    suite, protocol = LIBERO_SPATIAL, LIBERO_SPATIAL.protocol()
    env = suite.make_env(suite.tasks[5], protocol, ObservationSpec(privileged=True))
    try:
        env.reset(_first_episode(suite.tasks[5].id))
        return float(env.observe().privileged["akita_black_bowl_1"][2])
    finally:
        env.close()


def _brightness() -> float:
    """Mean value of the agent's view of a scene that shows much floor, 0 to 255."""
    from vlabench_suites.libero import LIBERO_OBJECT

    suite, protocol = LIBERO_OBJECT, LIBERO_OBJECT.protocol()
    camera = protocol.observation.cameras[0]
    env = suite.make_env(suite.tasks[0], protocol, ObservationSpec(cameras=(camera,)))
    try:
        env.reset(_first_episode(suite.tasks[0].id))
        return float(np.mean(env.draw(camera)))
    finally:
        env.close()


def _first_episode(task_id: str) -> EpisodeSpec:
    return EpisodeSpec(task_id=task_id, init_index=0, scene_seed=0, policy_seed=0)
