"""Test-time compute: several chunks are drawn for one decision, and a verifier picks one.

Best of N with a learned verifier is from Cobbe et al. (arXiv 2110.14168); taking what most draws
agree on is self-consistency (Wang et al., arXiv 2203.11171). Chunks hardly ever agree to the last
token, so the consensus here is the medoid: the chunk that is nearest to all others. A verifier may
also weigh the votes (Li et al., arXiv 2206.02336), so that one chunk that it is wrong about decides
nothing alone.

Draws are nested: the first k of N chunks are, to the token, what a search with k samples draws.
Each sample has luck of its own, and is drawn in a batch of its own size whatever N is, because
matrix products round differently in batches of different sizes; see `blocks`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vlabench.errors import SettingError
from vlabench_baselines.nanovla.actions import unit
from vlabench_baselines.nanovla.heads import TokenHead, require_finite
from vlabench_baselines.nanovla.model import Judge, NanoVLA, Understood
from vlabench_baselines.nanovla.perception import Batch

MOST_SAMPLES = 1024
"""More would not fit into a small machine's memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How a decision is searched for.

    Attributes:
        samples: Chunks drawn for each decision, `N`.
        temperature: Of drawn tokens; 0 reads them off. Continuous heads have none.
        judge: A learned verifier; None for the consensus.
        vote: Whether its scores weigh the votes of a consensus; else its highest score wins.

    Raises:
        SettingError: If a number is out of range, or all samples would be the same.
    """

    samples: int = 1
    temperature: float = 0.0
    judge: Judge | None = None
    vote: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 10:
            raise SettingError(f"temperature={self.temperature:g}, expected a number from 0 to 10")
        if not 1 <= self.samples <= MOST_SAMPLES:
            raise SettingError(f"samples={self.samples}, expected 1 to {MOST_SAMPLES}")
        if self.samples > 1 and self.temperature == 0:
            raise SettingError(
                f"samples={self.samples} with temperature=0 is {self.samples} times the same "
                "chunk; expected a temperature above 0, such as temperature=1"
            )


GREEDY = Search()
"""One chunk, read off."""


def luck_of(policy_seed: int, samples: int) -> tuple[np.random.Generator, ...]:
    """Return the luck of each sample in an episode.

    It does not depend on how many samples there are. The first one's is that of the seed alone:
    `SeedSequence` takes `[seed, 0]` and `seed` for the same.
    """
    return tuple(np.random.default_rng([policy_seed, sample]) for sample in range(samples))


def blocks(samples: int) -> Iterator[tuple[int, int]]:
    """Yield the batches in which samples are drawn, as (first, behind last): 1, 1, 2, 4, 8, ...

    A sample is in the same place of a batch of the same size whatever their number is. That
    takes about log2(N) calls, and computes nothing in vain where N is a power of two.
    """
    first, behind = 0, 1
    while first < samples:
        yield first, behind
        first, behind = behind, 2 * behind


def propose(model: NanoVLA, batch: Batch, luck: Tensor, temperature: float) -> Tensor:
    """Return `N` chunks for one moment, `[N, H, A]`; a continuous head proposes just one.

    Args:
        model: In evaluation mode; its backbone runs once.
        batch: The moment.
        luck: Of each sample, uniform in [0, 1), `[N, H, A]`; with less than the model's `H`, only
            the first actions are drawn.
        temperature: Of drawn tokens.

    Raises:
        ValueError: If the model computes numbers that are not finite.
    """
    understood: Understood = model(batch)
    if not isinstance(model.head, TokenHead):
        chunk: Tensor = model.head(*understood)
        require_finite(chunk, "actions")
        return chunk
    drawn = list[Tensor]()
    for first, behind in blocks(len(luck)):
        size, lucky = behind - first, luck[first:behind]
        lucky = functional.pad(lucky, (0, 0, 0, 0, 0, size - len(lucky)))
        tokens, seen = understood.tokens.expand(size, -1, -1), understood.seen.expand(size, -1)
        drawn.append(model.head.sample(tokens, seen, lucky, temperature))
    return model.head.code.decode(torch.cat(drawn)[: len(luck)])


def choose(
    model: NanoVLA, batch: Batch, chunks: Tensor, judge: Judge | None, *, vote: bool = False
) -> int:
    """Return which of `N` chunks, `[N, H, A]`, is best; the first of those that are equally good.

    Args:
        model: What proposed them.
        batch: The moment that they are for.
        chunks: As far as they count.
        judge: Scores as many of their first actions as it was trained on; the consensus decides
            when None. One chunk alone needs neither.
        vote: Whether the chunk wins that is nearest to all others, each of which counts as much as
            the judge believes in it, instead of the one that it believes in most.

    Raises:
        ValueError: If the judge gives a score that is not finite.
    """
    if len(chunks) == 1:
        return 0
    weights: Tensor | None = None
    if judge is not None:
        scores = judge(batch, chunks[None, :, : judge.config.chunk])[0]
        if not scores.isfinite().all():
            raise ValueError(f"the judge gave scores that are not finite: {scores.tolist()}")
        if not vote:
            return int(scores.argmax())
        weights = scores.double().sigmoid()
    return medoid(unit(chunks, model.head.low, model.head.high), weights)


def medoid(chunks: Tensor, weights: Tensor | None = None) -> int:
    """Return which of `[N, H, A]` has the least sum of L1 distances to the others.

    Args:
        chunks: The first of those that are equally near is taken.
        weights: How much each one counts, `[N]`; all alike if not given.
    """
    flat = chunks.flatten(1).double()
    apart = torch.cdist(flat, flat, p=1)
    return int((apart.sum(1) if weights is None else apart @ weights).argmin())
