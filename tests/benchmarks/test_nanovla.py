"""How many decisions a second a NanoVLA takes on one core, pictures already drawn.

`make bench` runs these. A decision is a whole chunk of actions for one slot.
"""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra: pip install 'vlabench-harness[torch]'")

import torch

from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench_baselines.nanovla.checkpoint import read_checkpoint
from vlabench_baselines.nanovla.policy import NanoPolicy
from vlabench_baselines.nanovla.shipped import SHIPPED

_THINGS = 14
_LEAST = {"privileged": 100.0, "vision": 20.0}  # a second, on one core


@pytest.mark.parametrize("name", sorted(path.name for path in SHIPPED.iterdir()))
def test_a_core_takes_so_many_decisions_a_second(benchmark: Any, name: str) -> None:
    checkpoint = read_checkpoint(SHIPPED / name)
    config, luck = checkpoint.config, np.random.default_rng(0)
    execute = checkpoint.notes.get("execute")  # as `--policy sft` does
    policy = NanoPolicy("sft", checkpoint.load_model(), checkpoint.origin, execute=execute)
    policy.reset(0, EpisodeSpec(task_id="a/b", init_index=0, scene_seed=0, policy_seed=0))
    privileged = {f"black_bowl_{n}": luck.normal(size=7) for n in range(_THINGS)}
    shown = Observation(
        instruction="pick up the black bowl and place it on the plate",
        images={
            camera.name: luck.integers(0, 256, (camera.height, camera.width, 3), dtype=np.uint8)
            for camera in config.cameras
        },
        state=luck.normal(size=config.state_size).astype(np.float32),
        privileged={**privileged, "gripper": luck.normal(size=7)},
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        benchmark.pedantic(policy.act, ([0], [shown]), rounds=50, warmup_rounds=5)
    finally:
        torch.set_num_threads(threads)
    rate = 1 / benchmark.stats.stats.median
    benchmark.extra_info.update(decisions_per_second=rate, wanted=_LEAST[config.front])
