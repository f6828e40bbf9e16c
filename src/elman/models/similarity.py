"""Two texts through one encoder, and how alike they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import unknown_name
from elman.modules.comparison import (
    COMPARISONS,
    OVERLAPS,
    Alignment,
    EncodedText,
    Grades,
    Manhattan,
    by_vectors,
    overlaps,
)
from elman.modules.dropout import SequenceDropout
from elman.modules.recurrent_stack import RecurrentStack
from elman.modules.word_embedding import WordEmbedding


class SimilarityModel(nn.Module):
    """A siamese network: both texts are read by the same encoder, and a comparison says how alike they are.

    Args:
        words: the vectors of words.
        hidden: H, units of the encoder and of the comparison's layers.
        comparison: a name in `elman.modules.comparison.COMPARISONS`.
        grades: K, of the learned comparisons.
        embedding_dropout: probability of dropping a feature of a word.
        vector_weight: what the squared error of the vectors' cosine counts beside the loss of a learned comparison; so
            the vectors alone can be compared too.
        pooling, dropout, and the other settings of the layers: see `elman.modules.recurrent_stack.RecurrentStack`.

    Raises:
        SettingError: an unknown name or an impossible size.
    """

    def __init__(
        self,
        words: WordEmbedding,
        hidden: int,
        *,
        comparison: str = "aligned",
        grades: int = 6,
        embedding_dropout: float = 0.0,
        vector_weight: float = 0.0,
        dropout: float = 0.0,
        pooling: str = "max",
        **network: Any,
    ) -> None:
        super().__init__()
        if comparison not in COMPARISONS:
            raise unknown_name("comparison", comparison, COMPARISONS)
        self.words = words
        self.word_dropout = SequenceDropout(embedding_dropout)
        self.encoder = RecurrentStack(words.output_size, hidden, dropout=dropout, pooling=pooling, **network)
        features = self.encoder.output_size
        build = COMPARISONS[comparison]
        self.distance = build(features) if build else None
        self.alignment: Alignment | None = None
        self.grades: Grades | None = None
        if build is None:
            told = 2 * features
            if comparison == "aligned":
                self.alignment = Alignment(features, words.output_size, hidden, dropout)
                told += self.alignment.output_size + OVERLAPS
            self.grades = Grades(told, hidden, grades, dropout)
        self.vector_weight = vector_weight

    def encode(self, texts: Any) -> EncodedText:
        """Return texts (see `elman.data.pairs.batches.TextBatch`) after the encoder."""
        x_WI = self.words(texts.word_W, texts.piece_N, texts.begin_W)
        x_TBI = self.word_dropout(x_WI[texts.place_TB])
        vector_BF, y_TBF = self.encoder(x_TBI, texts.lengths_B)
        exist_TB = torch.arange(len(x_TBI), device=x_TBI.device)[:, None] < texts.lengths_B
        return EncodedText(vector_BF, y_TBF, x_TBI, texts.weight_W[texts.place_TB] * exist_TB, texts.lengths_B)

    def forward(self, batch: Any) -> Tensor:
        """Return how alike the texts of each pair are, 0 to 1, (B,); of `elman.data.pairs.batches.PairBatch`."""
        told = self._compare(batch)[2]
        return told if self.grades is None else self.grades.score(told)

    def loss(self, batch: Any, target_B: Tensor) -> Tensor:
        """Return the mean loss; the targets go from 0 to 1."""
        one, other, told_B = self._compare(batch)
        if self.grades is None:
            return functional.mse_loss(told_B, target_B)
        loss = self.grades.loss(told_B, target_B).mean()
        if self.vector_weight:
            cosine_B = functional.cosine_similarity(one.vector_BF, other.vector_BF)
            loss = loss + self.vector_weight * functional.mse_loss(cosine_B, target_B)
        return loss

    def closeness(self, query_QF: Tensor, rows_MF: Tensor) -> Tensor:
        """Return how close vectors are, (Q, M): by their distance where that is compared, else by their cosine."""
        if isinstance(self.distance, Manhattan):
            close_QM: Tensor = self.distance.of(torch.cdist(query_QF, rows_MF, p=1.0))
            return close_QM
        cosine_QM: Tensor = functional.normalize(query_QF, dim=-1) @ functional.normalize(rows_MF, dim=-1).T
        return cosine_QM

    def _compare(self, batch: Any) -> tuple[EncodedText, EncodedText, Tensor]:
        both = self.encode(batch.texts)
        one, other = halves(both)
        alike_BTT = between(batch)
        if self.distance is not None:
            return one, other, self.distance(one, other, alike_BTT)
        assert self.grades is not None
        told = [by_vectors(one, other)]
        if self.alignment is not None:
            told += [self.alignment(one, other, alike_BTT), overlaps(one, other, alike_BTT)]
        return one, other, self.grades(torch.cat(told, -1))


def halves(both: EncodedText) -> tuple[EncodedText, EncodedText]:
    """Return the first and the second half of the texts of a batch."""
    B = both.vector_BF.shape[0] // 2

    def part(begin: int, end: int) -> EncodedText:
        return EncodedText(
            both.vector_BF[begin:end],
            both.y_TBF[:, begin:end],
            both.x_TBI[:, begin:end],
            both.weight_TB[:, begin:end],
            both.lengths_B[begin:end],
        )

    return part(0, B), part(B, 2 * B)


def between(batch: Any) -> Tensor:
    """Return how alike the words of both texts of each pair are spelt, (B, T, T); 0 beyond the end of a text."""
    texts = batch.texts
    B = texts.place_TB.shape[1] // 2
    exist_BT = (torch.arange(len(texts.place_TB), device=texts.place_TB.device)[:, None] < texts.lengths_B).T
    place_BT = texts.place_TB.T
    alike_BTT: Tensor = batch.similarity_WW[place_BT[:B, :, None], place_BT[B:, None, :]]
    return alike_BTT.mul(exist_BT[:B, :, None]).mul(exist_BT[B:, None, :])
