"""Embeddings: normally distributed symbol vectors, and word vectors with subwords and pretrained vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def normal_embedding(symbols: int, size: int, deviation: float) -> nn.Embedding:
    """Build an embedding (V, E) with normally distributed weights."""
    embedding = nn.Embedding(symbols, size, _weight=torch.empty(symbols, size))
    if not embedding.weight.is_meta:  # on meta it would do nothing but load torch's compiler
        nn.init.normal_(embedding.weight, std=deviation)
    return embedding


def embed(embedding: nn.Embedding, ids: Tensor, symbols: int) -> Tensor:
    """Return the vectors of token ids below `symbols`; the vector of every other one, of an unknown symbol, is zero.

    Training has no unknown symbols: there the ids are not looked at, which would wait for a GPU.
    """
    if embedding.training or not bool((ids >= symbols).any()):
        return embedding(ids)  # type: ignore[no-any-return]
    vectors: Tensor = embedding(ids.clamp(max=symbols - 1))
    return vectors * (ids < symbols)[..., None]


class WordEmbedding(nn.Module):
    """Word vectors [e_w + mean of the word's subword vectors, g_w], where g_w is pretrained and fixed.

    Subwords represent unknown words too (fastText, Bojanowski et al. 2017, https://arxiv.org/abs/1607.04606).

    Args:
        words: V, number of words; 0 is the unknown word.
        size: E, size of the learned vectors.
        subword_buckets: number of hashed subwords; 0: no subwords.
        pretrained: D, size of the pretrained vectors; 0: no pretrained vectors.
        word_dropout: probability that a word of a batch, with all its occurrences, becomes unknown in training.
    """

    def __init__(
        self, words: int, size: int, *, subword_buckets: int = 0, pretrained: int = 0, word_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.own = nn.Embedding(words, size)
        nn.init.normal_(self.own.weight, std=0.1)
        self.pieces = nn.EmbeddingBag(subword_buckets, size, mode="mean") if subword_buckets else None
        if self.pieces is not None:
            nn.init.normal_(self.pieces.weight, std=0.1)
        self.given: Tensor | None
        self.register_buffer("given", torch.zeros(words, pretrained) if pretrained else None)
        self.word_dropout = word_dropout
        self.output_size = size + pretrained

    def forward(self, word_W: Tensor, piece_N: Tensor, begin_W: Tensor) -> Tensor:
        """Return the word vectors, (W, E + D).

        `piece_N` holds the subwords of all words, one word after the other; those of each begin at `begin_W`.
        """
        known_W = word_W
        if self.training and self.word_dropout:
            known_W = word_W.masked_fill(torch.rand(word_W.shape, device=word_W.device) < self.word_dropout, 0)
        own_WE: Tensor = self.own(known_W)
        if self.pieces is not None:
            own_WE = own_WE + self.pieces(piece_N, begin_W)
        return own_WE if self.given is None else torch.cat([own_WE, self.given[word_W]], -1)
