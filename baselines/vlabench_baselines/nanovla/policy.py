"""A NanoVLA behind the harness's interface."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from vlabench.env import Observation
from vlabench.episode import EpisodeSpec
from vlabench.errors import SettingError
from vlabench.policy import Decision
from vlabench.spaces import ObservationSpec
from vlabench_baselines.nanovla.checkpoint import Origin
from vlabench_baselines.nanovla.config import NanoConfig
from vlabench_baselines.nanovla.heads import TokenHead
from vlabench_baselines.nanovla.model import NanoVLA
from vlabench_baselines.nanovla.perception import Batch, batch_of
from vlabench_baselines.nanovla.search import GREEDY, Search, choose, luck_of, propose


def observation_of(config: NanoConfig, origin: Origin) -> ObservationSpec:
    """Return what a model has to be shown."""
    return ObservationSpec(
        cameras=config.cameras,
        state=origin.state if config.state_size else "",
        state_size=config.state_size,
        privileged=config.front == "privileged",
    )


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
        search: How many chunks are drawn for a decision, and which of them is taken.
        execute: How many actions of a chunk are handed over; all of them when None.

    Raises:
        SettingError: If several samples are asked of a continuous head.
    """

    def __init__(
        self,
        policy_id: str,
        model: NanoVLA,
        origin: Origin,
        *,
        digest: str = "",
        search: Search = GREEDY,
        execute: int | None = None,
    ) -> None:
        if search.samples > 1 and not isinstance(model.head, TokenHead):
            raise SettingError(
                f"samples={search.samples}, expected 1: this {policy_id!r} has a continuous head, "
                "which draws nothing; a search needs a checkpoint with head = tokens"
            )
        self.id, self.digest = policy_id, digest
        self._model, self._config, self._search = model, model.config, search
        self._judge = search.judge if search.samples > 1 else None
        self._execute = execute or self._config.chunk
        self._drawn = max(self._execute, self._judge.config.chunk if self._judge else 0)
        self.observation = observation_of(self._config, origin)
        self.action = origin.action
        self._luck: dict[int, tuple[np.random.Generator, ...]] = {}
        self._flops: dict[int, float] = {}

    def reset(self, slot: int, episode: EpisodeSpec) -> None:
        self._luck[slot] = luck_of(episode.policy_seed, self._search.samples)

    def act(self, slots: Sequence[int], observations: Sequence[Observation]) -> Decision:
        with torch.inference_mode():
            answers = [
                self._answer(self._luck[slot], observation)
                for slot, observation in zip(slots, observations, strict=True)
            ]
        chunks = np.stack([chunk[: self._execute] for chunk, _ in answers])
        return Decision(
            actions=np.clip(chunks, self.action.low, self.action.high, dtype=np.float32),
            num_samples=self._search.samples,
            flops=sum(cost for _, cost in answers) / len(answers),
        )

    def _answer(
        self, luck: Sequence[np.random.Generator], observation: Observation
    ) -> tuple[NDArray[np.float32], float]:
        batch = batch_of([observation], self._model.words, self._config)
        shape = (self._config.chunk, self._config.action_size)
        lucky = np.stack([each.random(shape, dtype=np.float32) for each in luck])
        uniforms, things = torch.from_numpy(lucky)[:, : self._drawn], batch.names.shape[1]
        if things not in self._flops:
            with FlopCounterMode(display=False) as counter:
                self._decide(batch, uniforms)
            self._flops[things] = float(counter.get_total_flops())
        return self._decide(batch, uniforms).numpy(), self._flops[things]

    def _decide(self, batch: Batch, luck: torch.Tensor) -> torch.Tensor:
        """Return the chunk, `[H, A]`, that one moment's search ends with."""
        chunks = propose(self._model, batch, luck, self._search.temperature)
        return chunks[choose(self._model, batch, chunks, self._judge, vote=self._search.vote)]
