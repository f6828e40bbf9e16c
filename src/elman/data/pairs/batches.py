"""Texts and pairs of texts as tensors: each word of a batch once, and where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.pairs.inverse_frequency import InverseFrequency
from elman.data.pairs.readers import ScoredPair
from elman.data.text.subwords import character_ngrams, hash_buckets, split_sentence

CACHED_WORDS = 1 << 17
"""Words whose pieces are cached."""


class TextBatch(NamedTuple):
    """Texts side by side. W is how many different words they have, B how many texts there are.

    Attributes:
        word_W: the number of each word in the lexicon.
        weight_W: how much each says, 0 to 1.
        piece_N: the buckets of the pieces of all words, end to end.
        begin_W: where each word's pieces begin in them.
        place_TB: which of the W words stands at each step; 0 beyond the end of a text.
        lengths_B: the words of each text.
    """

    word_W: Tensor
    weight_W: Tensor
    piece_N: Tensor
    begin_W: Tensor
    place_TB: Tensor
    lengths_B: Tensor

    def to(self, device: torch.device | str) -> TextBatch:
        """Return the texts on a device."""
        return TextBatch(*(tensor.to(device) for tensor in self))


class PairBatch(NamedTuple):
    """B pairs.

    Attributes:
        texts: the B first texts, then the B second ones.
        similarity_WW: Dice's coefficient of the pieces of two words: 1 for the same word, 0 for nothing in common.
        score_B: the similarity of the texts; nan where it is unknown.
    """

    texts: TextBatch
    similarity_WW: Tensor
    score_B: Tensor

    def to(self, device: torch.device | str) -> PairBatch:
        """Return the pairs on a device."""
        return PairBatch(self.texts.to(device), self.similarity_WW.to(device), self.score_B.to(device))


class PairCollator:
    """Makes tensors of texts.

    Args:
        lexicon: numbers and weights of words.
        buckets: B, that pieces of words are hashed into.
        max_words: words of a text that are read; the rest is cut off.
    """

    def __init__(self, lexicon: InverseFrequency, *, buckets: int, max_words: int) -> None:
        self.lexicon, self.buckets, self.max_words = lexicon, buckets, max_words
        self._pieces: dict[str, NDArray[np.int64]] = {}

    @classmethod
    def open(cls, folder: Path, buckets: int, max_words: int) -> PairCollator:
        """Return the collator of a run, with the words in its folder."""
        return cls(InverseFrequency.open(folder), buckets=buckets, max_words=max_words)

    def chosen(self, pairs: Sequence[ScoredPair], numbers: Iterable[int]) -> PairBatch:
        """Return the pairs of these numbers as tensors."""
        return self.pairs([pairs[n] for n in numbers])

    def texts(self, texts: Sequence[str]) -> TextBatch:
        """Return texts as tensors."""
        return self._tensors([split_sentence(text)[: self.max_words] for text in texts])[0]

    def pairs(self, pairs: Sequence[ScoredPair]) -> PairBatch:
        """Return pairs as tensors."""
        both = [pair.first for pair in pairs] + [pair.second for pair in pairs]
        texts, words = self._tensors([split_sentence(text)[: self.max_words] for text in both])
        score_B = torch.tensor([pair.score for pair in pairs], dtype=torch.float32)
        return PairBatch(texts, torch.from_numpy(word_similarity(words)), score_B)

    def _tensors(self, texts: list[list[str]]) -> tuple[TextBatch, list[str]]:
        place_of: dict[str, int] = {}
        places = [[place_of.setdefault(word, len(place_of)) for word in text] for text in texts]
        words = list(place_of) or [""]
        lengths = [len(text) for text in texts]
        place_TB = np.zeros((max(1, *lengths), len(texts)), np.int64)
        for b, place in enumerate(places):
            place_TB[: len(place), b] = place
        pieces = [self.pieces(word) for word in words]
        begins = np.cumsum([0, *(len(piece) for piece in pieces[:-1])])
        return TextBatch(
            torch.tensor([self.lexicon.number(word) for word in words]),
            torch.tensor([self.lexicon.weight(word) for word in words], dtype=torch.float32),
            torch.from_numpy(np.concatenate(pieces)),
            torch.from_numpy(begins),
            torch.from_numpy(place_TB),
            torch.tensor(lengths),
        ), words

    def pieces(self, word: str) -> NDArray[np.int64]:
        """Return the buckets of a word's pieces."""
        found = self._pieces.get(word)
        if found is None:
            if len(self._pieces) >= CACHED_WORDS:
                self._pieces.clear()
            found = self._pieces[word] = hash_buckets(character_ngrams(word), max(1, self.buckets))
        return found


def word_similarity(words: Sequence[str]) -> NDArray[np.float32]:
    """Return Dice's coefficient of the pieces of every two words, (W, W): twice the common ones by all of both."""
    from scipy.sparse import csr_array  # type: ignore[import-untyped]

    number_of: dict[str, int] = {}
    pieces = [[number_of.setdefault(piece, len(number_of)) for piece in character_ngrams(word)] for word in words]
    counts = np.array([len(piece) for piece in pieces])
    places = np.concatenate([[0], np.cumsum(counts)])
    columns = np.concatenate(pieces)
    has = csr_array((np.ones(len(columns), np.float32), columns, places), shape=(len(words), len(number_of)))
    common: NDArray[np.float32] = (has @ has.T).toarray()
    found: NDArray[np.float32] = (2 * common / (counts[:, None] + counts[None, :])).astype(np.float32)
    return found
