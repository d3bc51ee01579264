"""From what the backbone understood to a chunk of actions.

Both heads begin with a *token learner*: learned questions to the backbone's tokens (Set
Transformer's pooling, arXiv 1810.00825, which iRe-VLA cites), which makes one vector of them.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlabench_baselines.nanovla.actions import ActionTokens, draw, unit, ununit
from vlabench_baselines.nanovla.config import NanoConfig


class TokenLearner(nn.Module):
    """Reads one vector, `[B, head_dim]`, out of the backbone's tokens, `[B, N, dim]`."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.questions = nn.Parameter(torch.randn(config.seeds, config.dim) * 0.02)
        self.ask = nn.MultiheadAttention(config.dim, config.heads, batch_first=True)
        self.mix = nn.Sequential(
            nn.Linear(config.seeds * config.dim, config.head_dim), nn.GELU()
        )  # fmt: skip

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """Read; `seen` says which tokens are there, `[B, N]`."""
        questions = self.questions.expand(len(tokens), -1, -1)
        answers, _ = self.ask(
            questions, tokens, tokens, key_padding_mask=~seen, need_weights=False
        )  # fmt: skip
        out: Tensor = self.mix(answers.flatten(1))
        return out


class TokenHead(nn.Module):
    """Action tokens, one after the other: each number of an action knows those before it.

    It also knows the action before its own; what lies further back reaches it through the
    backbone's vector only, which keeps drawing a chunk cheap.
    """

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.chunk, self.size, self.bins = config.chunk, config.action_size, config.bins
        self.readout = config.readout
        width = config.head_dim
        self.learner = TokenLearner(config)
        self.context = nn.Linear(width, self.chunk * width)
        self.slot = nn.Parameter(torch.randn(self.size, width) * 0.02)
        self.earlier = nn.Embedding(self.size * self.bins, width)  # numbers of this action
        self.before = nn.Embedding(self.size * self.bins, width)  # the action before
        nn.init.normal_(self.earlier.weight, std=0.02)
        nn.init.normal_(self.before.weight, std=0.02)
        self.hidden = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
        self.out = nn.Linear(width, self.bins)
        self.low: Tensor
        self.high: Tensor
        _keep_scales(self, config)

    @property
    def code(self) -> ActionTokens:
        """Between actions and tokens."""
        return ActionTokens(self.low, self.high, self.bins)

    def logits(self, tokens: Tensor, seen: Tensor, chosen: Tensor) -> Tensor:
        """Return logits of every token given those before it, `[B, H, A, bins]`.

        Args:
            tokens: The backbone's, `[B, N, dim]`.
            seen: Which are there, `[B, N]`.
            chosen: The chunk whose probability is asked for, `[B, H, A]`, or its first actions.
        """
        numbered = chosen + self._offsets(chosen)
        earlier = self.earlier(numbered)  # [B, H, A, width]
        so_far = functional.pad(earlier[:, :, :-1].cumsum(2), (0, 0, 1, 0))
        whole = self.before(numbered).sum(2)  # [B, H, width]
        before = functional.pad(whole[:, :-1], (0, 0, 1, 0))
        context = self._context(tokens, seen)[:, : chosen.shape[1]] + before
        out: Tensor = self.out(self.hidden(context.unsqueeze(2) + so_far + self.slot))
        return out

    def loss(self, tokens: Tensor, seen: Tensor, actions: Tensor, weight: Tensor) -> Tensor:
        """Return the mean cross-entropy of demonstrated chunks, `[B, H, A]`; weights `[B, H]`."""
        chosen = self.code.encode(actions)
        logits = self.logits(tokens, seen, chosen)
        each = functional.cross_entropy(
            logits.flatten(0, 2).float(), chosen.flatten(), reduction="none"
        )
        per_action = each.view(chosen.shape).mean(-1)
        return (per_action * weight).sum() / weight.sum()

    def log_probs(
        self, tokens: Tensor, seen: Tensor, chosen: Tensor, temperature: float = 1.0
    ) -> Tensor:
        """Return the log-probability of each token of given chunks, `[B, H, A]`."""
        logits = self.logits(tokens, seen, chosen).float() / temperature
        return logits.log_softmax(-1).gather(-1, chosen.unsqueeze(-1)).squeeze(-1)

    def sample(self, tokens: Tensor, seen: Tensor, luck: Tensor, temperature: float) -> Tensor:
        """Draw chunks of tokens, `[B, H, A]`, with the luck that is handed over.

        Args:
            tokens: The backbone's, `[B, N, dim]`.
            seen: Which are there, `[B, N]`.
            luck: Uniform numbers in [0, 1), `[B, H, A]`; with less than `H`, only the first actions
                are drawn, which are the same whether or not the rest is.
            temperature: Of the draws; 0 reads tokens off, whatever the luck.

        Raises:
            ValueError: If logits are not finite: tokens would come of them all the same.
        """
        if temperature == 0 and self.readout == "median":
            luck, temperature = torch.full_like(luck, 0.5), 1.0
        before = torch.zeros((), device=tokens.device)
        logits_of, earlier, slots = self._scores(), self.earlier.weight, self.slot.unbind()
        chunk, scored = list[Tensor](), list[Tensor]()
        contexts = self._context(tokens, seen)[:, : luck.shape[1]].unbind(1)
        for context, lucky in zip(contexts, luck.unbind(1), strict=True):
            inner, row = context + before, list[Tensor]()
            for slot, uniforms in zip(slots, lucky.unbind(-1), strict=True):
                scored.append(logits_of(inner + slot))
                token = draw(scored[-1], uniforms, temperature)
                row.append(token + len(row) * self.bins)
                inner = inner + functional.embedding(row[-1], earlier)
            chunk.append(torch.stack(row, dim=-1))
            before = self.before(chunk[-1]).sum(1)
        require_finite(torch.stack(scored), "logits")
        drawn = torch.stack(chunk, dim=1)
        return drawn - self._offsets(drawn)

    def _scores(self) -> Callable[[Tensor], Tensor]:
        """Return `self.out` of `self.hidden` as one function.

        It is called for every token, and looking up modules and their weights each time takes a
        third of the time of a draw.
        """
        norm, widen = self.hidden[0], self.hidden[1]
        assert isinstance(norm, nn.LayerNorm) and isinstance(widen, nn.Linear)  # noqa: PT018
        shape, scale, shift, eps = norm.normalized_shape, norm.weight, norm.bias, norm.eps
        inward, inward_bias = widen.weight, widen.bias
        outward, outward_bias = self.out.weight, self.out.bias

        def scores(inner: Tensor) -> Tensor:
            normed = functional.layer_norm(inner, shape, scale, shift, eps)
            hidden = functional.gelu(functional.linear(normed, inward, inward_bias))
            return functional.linear(hidden, outward, outward_bias)

        return scores

    def _context(self, tokens: Tensor, seen: Tensor) -> Tensor:
        out: Tensor = self.context(self.learner(tokens, seen))
        return out.view(len(tokens), self.chunk, -1)

    def _offsets(self, like: Tensor) -> Tensor:
        return torch.arange(self.size, device=like.device) * self.bins


class ContinuousHead(nn.Module):
    """iRe-VLA's action head: a token learner, then an MLP that puts out the numbers themselves."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.chunk, self.size = config.chunk, config.action_size
        width = config.head_dim
        self.learner = TokenLearner(config)
        self.body = nn.Sequential(
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, self.chunk * self.size),
        )
        self.low: Tensor
        self.high: Tensor
        _keep_scales(self, config)

    def scaled(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """Return chunks in units in which the 1 % and 99 % quantiles are -1 and 1, `[B, H, A]`."""
        out: Tensor = self.body(self.learner(tokens, seen))
        return out.view(-1, self.chunk, self.size)

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """Return chunks of actions, `[B, H, A]`."""
        return ununit(self.scaled(tokens, seen).float(), self.low, self.high)

    def loss(self, tokens: Tensor, seen: Tensor, actions: Tensor, weight: Tensor) -> Tensor:
        """Return the mean squared error of demonstrated chunks (iRe-VLA, eq. 2), in those units."""
        wanted = unit(actions, self.low, self.high).clamp(-1, 1)
        error = (self.scaled(tokens, seen).float() - wanted).square().mean(-1)
        return (error * weight).sum() / weight.sum()


class ValueHead(nn.Module):
    """A token learner, then an MLP with one output: iRe-VLA's critic, and VLA-RL's value model."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.learner = TokenLearner(config)
        width = config.head_dim
        self.body = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """Return values, `[B]`."""
        out: Tensor = self.body(self.learner(tokens, seen))
        return out.squeeze(-1)


class JudgeHead(nn.Module):
    """A token learner beside an encoding of a chunk, then an MLP with one output."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        width = config.head_dim
        self.learner = TokenLearner(config)
        self.chunk = nn.Sequential(
            nn.Linear(config.chunk * config.action_size, width), nn.GELU(), nn.Linear(width, width)
        )
        self.body = nn.Sequential(
            nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1)
        )  # fmt: skip
        self.low: Tensor
        self.high: Tensor
        _keep_scales(self, config)

    def forward(self, tokens: Tensor, seen: Tensor, actions: Tensor) -> Tensor:
        """Return logits, `[B, N]`, of chunks `[B, N, H, A]`."""
        planned = self.chunk(unit(actions, self.low, self.high).clamp(-1, 1).flatten(-2))
        out: Tensor = self.body(self.learner(tokens, seen).unsqueeze(1) + planned)
        return out.squeeze(-1)


def require_finite(numbers: Tensor, what: str) -> None:
    """Refuse what a model computes where it is no number.

    Raises:
        ValueError: With how many there are.
    """
    if not (finite := numbers.isfinite()).all():
        raise ValueError(
            f"{int((~finite).sum())} of {numbers.numel()} {what} of the model are not finite: "
            "what it was shown is none of what it was trained on, or it is damaged"
        )


def _keep_scales(head: nn.Module, config: NanoConfig) -> None:
    for name in ("low", "high"):
        value = torch.tensor(getattr(config.scales, f"action_{name}"), dtype=torch.float32)
        head.register_buffer(name, value, persistent=False)
