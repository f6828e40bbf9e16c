"""The vector of a word: one of its own, the mean of its pieces', and one that is given."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WordEmbedding(nn.Module):
    """[e_w + mean of the vectors of the word's pieces, P g_w], where g_w is a given vector that is not trained.

    A word without a vector of its own lives by its pieces (Bojanowski et al. 2017, https://arxiv.org/abs/1607.04606).

    Args:
        words: V; number 0 stands for every word that is not known.
        size: E, of the vector of a word.
        buckets: of the pieces; 0: words have no pieces.
        given: D, size of the vectors that are given; 0: none are.
        word_dropout: probability, while training, that all occurrences of a word in a batch count as unknown.
    """

    def __init__(self, words: int, size: int, *, buckets: int = 0, given: int = 0, word_dropout: float = 0.0) -> None:
        super().__init__()
        self.own = nn.Embedding(words, size)
        nn.init.normal_(self.own.weight, std=0.1)
        self.pieces = nn.EmbeddingBag(buckets, size, mode="mean") if buckets else None
        if self.pieces is not None:
            nn.init.normal_(self.pieces.weight, std=0.1)
        self.given: Tensor | None
        self.register_buffer("given", torch.zeros(words, given) if given else None)
        self.word_dropout = word_dropout
        self.output_size = size + given

    def forward(self, word_W: Tensor, piece_N: Tensor, begin_W: Tensor) -> Tensor:
        """Return (W, E + D) for W words with their pieces, end to end in `piece_N` from `begin_W` on."""
        known_W = word_W
        if self.training and self.word_dropout:
            known_W = word_W.masked_fill(torch.rand(word_W.shape, device=word_W.device) < self.word_dropout, 0)
        own_WE: Tensor = self.own(known_W)
        if self.pieces is not None:
            own_WE = own_WE + self.pieces(piece_N, begin_W)
        return own_WE if self.given is None else torch.cat([own_WE, self.given[word_W]], -1)
