"""Words to numbers: instructions, and the names of things, in one vocabulary.

A thing called `akita_black_bowl_1` and a sentence about the black bowl share the words `black` and
`bowl`, so that what is asked for can be found among what is there.
"""

import re
from collections.abc import Iterable, Sequence
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vlabench_baselines.nanovla.config import WORDS_PER_NAME, WORDS_PER_SENTENCE

_SPARE = 16
"""Places that words outside the vocabulary share; 0 is no word."""
_KEPT = 4096
"""Texts whose numbers are kept, more than any suite has; bounds memory where texts never recur."""


def split(text: str) -> list[str]:
    """Return the words and numbers of a sentence or a name, in lower case."""
    return re.findall(r"[a-z]+|\d+", text.lower())


def vocabulary(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the words of all texts, sorted."""
    return tuple(sorted({word for text in texts for word in split(text)}))


class Words:
    """Numbers for words.

    Attributes:
        size: How many numbers there are, 0 for no word included.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._number = {word: 1 + _SPARE + place for place, word in enumerate(words)}
        self.size = 1 + _SPARE + len(words)
        self._known: dict[tuple[str, int], NDArray[np.int64]] = {}

    def sentence(self, text: str) -> NDArray[np.int64]:
        """Return the numbers of an instruction, `[WORDS_PER_SENTENCE]`, read-only."""
        return self._numbers(text, WORDS_PER_SENTENCE)

    def name(self, text: str) -> NDArray[np.int64]:
        """Return the numbers of a thing's name, `[WORDS_PER_NAME]`, read-only."""
        return self._numbers(text, WORDS_PER_NAME)

    def _numbers(self, text: str, length: int) -> NDArray[np.int64]:
        """Look a text up; the same few are asked for at every decision."""
        key = text, length
        if key not in self._known:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = self._spell(text, length)
        return self._known[key]

    def _spell(self, text: str, length: int) -> NDArray[np.int64]:
        numbers = np.zeros(length, dtype=np.int64)
        for place, word in enumerate(split(text)[:length]):
            spare = 1 + crc32(word.encode()) % _SPARE
            numbers[place] = self._number.get(word, spare)
        numbers.setflags(write=False)  # many share it
        return numbers


class SentenceEncoder(nn.Module):
    """A sentence as a few tokens: one layer over its words, then a few learned questions to it."""

    def __init__(self, dim: int, heads: int, tokens: int = 4) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(WORDS_PER_SENTENCE, dim) * 0.02)
        self.layer = nn.TransformerEncoderLayer(
            dim, heads, 2 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.questions = nn.Parameter(torch.randn(tokens, dim) * 0.02)
        self.ask = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm = nn.LayerNorm(dim)

    def forward(self, words: Tensor, embedding: nn.Embedding) -> Tensor:
        """Encode sentences, `[U, WORDS_PER_SENTENCE]`, as tokens `[U, tokens, dim]`."""
        missing = words == 0
        hidden = self.layer(embedding(words) + self.places, src_key_padding_mask=missing)
        questions = self.questions.expand(len(words), -1, -1)
        answers, _ = self.ask(
            questions, hidden, hidden, key_padding_mask=missing, need_weights=False
        )
        out: Tensor = self.norm(answers)
        return out
