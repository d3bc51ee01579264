"""A NanoVLA behind the harness's interface."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench.policy import Decision
from vlabench.spaces import ObservationSpec
from vlabench_baselines.nanovla.checkpoint import Origin
from vlabench_baselines.nanovla.heads import TokenHead
from vlabench_baselines.nanovla.model import NanoVLA
from vlabench_baselines.nanovla.perception import Batch, batch_of


class NanoPolicy:
    """Asks the model for each slot by itself.

    Matrix products round differently in batches of different sizes, and a simulator makes
    trajectories of it; one slot at a time, an episode does not depend on what runs beside it. The
    model is small enough that little is lost.

    Args:
        policy_id: Name in records.
        model: In evaluation mode, on the CPU.
        origin: What it fits.
        digest: Of the checkpoint.
        temperature: Of drawn tokens; 0 takes the likeliest. Continuous heads have none.
        execute: How many actions of a chunk are handed over; all of them when None.
    """

    def __init__(
        self,
        policy_id: str,
        model: NanoVLA,
        origin: Origin,
        *,
        digest: str = "",
        temperature: float = 0.0,
        execute: int | None = None,
    ) -> None:
        self.id, self.digest = policy_id, digest
        self._model, self._config, self._temperature = model, model.config, temperature
        self._execute = execute or self._config.chunk
        self.observation = ObservationSpec(
            cameras=self._config.cameras,
            state=origin.state if self._config.state_size else "",
            state_size=self._config.state_size,
            privileged=self._config.front == "privileged",
        )
        self.action = origin.action
        self._luck: dict[int, np.random.Generator] = {}
        self._flops: dict[int, float] = {}

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        self._luck[slot] = np.random.default_rng(episode.policy_seed)

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        with torch.inference_mode():
            answers = [
                self._answer(self._luck[slot], observation)
                for slot, observation in zip(slots, observations, strict=True)
            ]
        chunks = np.stack([chunk[: self._execute] for chunk, _ in answers])
        low, high = self.action.low, self.action.high
        flops = sum(cost for _, cost in answers) / len(answers)
        return Decision(actions=np.clip(chunks, low, high, dtype=np.float32), flops=flops)

    def _answer(
        self, luck: np.random.Generator, observation: Observation
    ) -> tuple[NDArray[np.float32], float]:
        batch = batch_of([observation], self._model.words, self._config)
        shape = (1, self._config.chunk, self._config.action_size)
        uniforms = torch.from_numpy(luck.random(shape, dtype=np.float32))[:, : self._execute]
        if batch.names.shape[1] not in self._flops:
            with FlopCounterMode(display=False) as counter:
                decide(self._model, batch, uniforms, self._temperature)
            self._flops[batch.names.shape[1]] = float(counter.get_total_flops())
        chunk = decide(self._model, batch, uniforms, self._temperature)
        return chunk[0].numpy(), self._flops[batch.names.shape[1]]


def decide(
    model: NanoVLA, batch: Batch, uniforms: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return a chunk of actions for each moment, `[B, H, A]`.

    Args:
        model: In evaluation mode.
        batch: The moments.
        uniforms: The luck of drawn tokens, `[B, H, A]` in [0, 1); continuous heads need none.
        temperature: Of drawn tokens.
    """
    understood = model(batch)
    if isinstance(model.head, TokenHead):
        drawn = model.head.sample(understood.tokens, understood.seen, uniforms, temperature)
        return model.head.code.decode(drawn)
    chunk: torch.Tensor = model.head(understood.tokens, understood.seen)
    return chunk
