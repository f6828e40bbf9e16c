"""The similarity model: a siamese recurrent encoder and a comparison of two texts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import look_up
from elman.modules.comparison import (
    COMPARISONS,
    OVERLAP_FEATURES,
    Alignment,
    EncodedText,
    ManhattanSimilarity,
    ScoreDistribution,
    overlap_features,
    vector_features,
)
from elman.modules.dropout import SequenceDropout
from elman.modules.pooling import steps_exist
from elman.modules.recurrent_stack import RecurrentStack
from elman.modules.word_embedding import WordEmbedding


class SimilarityModel(nn.Module):
    """Siamese network: one encoder reads both texts, and a comparison head predicts their similarity.

    Args:
        words: the word embedding.
        hidden: H, units of the encoder and of the comparison's layers.
        comparison: a name in `elman.modules.comparison.COMPARISONS`.
        score_bins: K, bins of the score distribution of a learned comparison.
        embedding_dropout: probability of dropping a feature of a word vector.
        vector_weight: weight of the squared error of the vectors' cosine, beside the loss of a learned comparison; it
            makes the vectors comparable without the head.
        dropout: probability of dropping a feature between layers and after them.
        pooling: a name in `elman.modules.pooling.POOLINGS`.
        network: the other arguments of `elman.modules.recurrent_stack.RecurrentStack`.

    Raises:
        SettingError: an unknown name or an invalid size.
    """

    def __init__(
        self, words: WordEmbedding, hidden: int, *, comparison: str = "aligned", score_bins: int = 6,
        embedding_dropout: float = 0.0, vector_weight: float = 0.0, dropout: float = 0.0, pooling: str = "max",
        **network: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        build = look_up("comparison", comparison, COMPARISONS)
        self.words = words
        self.embedding_dropout = SequenceDropout(embedding_dropout)
        self.encoder = RecurrentStack(words.output_size, hidden, dropout=dropout, pooling=pooling, **network)
        features = self.encoder.output_size
        self.distance = build(features) if build else None
        self.alignment: Alignment | None = None
        self.grades: ScoreDistribution | None = None
        if build is None:
            size = 2 * features
            if comparison == "aligned":
                self.alignment = Alignment(features, words.output_size, hidden, dropout)
                size += self.alignment.output_size + OVERLAP_FEATURES
            self.grades = ScoreDistribution(size, hidden, score_bins, dropout)
        self.vector_weight = vector_weight

    def encode(self, texts: Any) -> EncodedText:
        """Encode texts, an `elman.data.pairs.batches.TextBatch`."""
        x_WI = self.words(texts.word_W, texts.piece_N, texts.begin_W)
        x_TBI = self.embedding_dropout(x_WI[texts.place_TB])
        vector_BF, y_TBF = self.encoder(x_TBI, texts.lengths_B)
        exist_TB = steps_exist(x_TBI, texts.lengths_B)
        return EncodedText(vector_BF, y_TBF, x_TBI, texts.weight_W[texts.place_TB] * exist_TB, texts.lengths_B)

    def forward(self, batch: Any) -> Tensor:
        """Return the similarity, 0 to 1, (B,), of each pair of an `elman.data.pairs.batches.PairBatch`."""
        compared = self._compare(batch)[2]
        return compared if self.grades is None else self.grades.score(compared)

    def loss(self, batch: Any, target_B: Tensor) -> Tensor:
        """Return the mean loss, a scalar, of a batch as in `forward`; the targets are scores from 0 to 1."""
        first, second, compared = self._compare(batch)
        if self.grades is None:
            return functional.mse_loss(compared, target_B)
        loss = self.grades.loss(compared, target_B).mean()
        if self.vector_weight:
            cosine_B = functional.cosine_similarity(first.vector_BF, second.vector_BF)
            loss = loss + self.vector_weight * functional.mse_loss(cosine_B, target_B)
        return loss

    def vector_similarity(self, query_QF: Tensor, rows_MF: Tensor) -> Tensor:
        """Return the similarity of vectors, (Q, M): Manhattan where the model compares by it, else the cosine."""
        if isinstance(self.distance, ManhattanSimilarity):
            similarity_QM: Tensor = self.distance.from_distance(torch.cdist(query_QF, rows_MF, p=1.0))
            return similarity_QM
        cosine_QM: Tensor = functional.normalize(query_QF, dim=-1) @ functional.normalize(rows_MF, dim=-1).T
        return cosine_QM

    def _compare(self, batch: Any) -> tuple[EncodedText, EncodedText, Tensor]:
        first, second = split_pairs(self.encode(batch.texts))
        similarity_BTT = spelling_similarity(batch)
        if self.distance is not None:
            return first, second, self.distance(first, second, similarity_BTT)
        assert self.grades is not None
        features = [vector_features(first, second)]
        if self.alignment is not None:
            features += [layer(first, second, similarity_BTT) for layer in (self.alignment, overlap_features)]
        return first, second, self.grades(torch.cat(features, -1))


def split_pairs(texts: EncodedText) -> tuple[EncodedText, EncodedText]:
    """Split the 2B texts of a batch into the first and the second texts of its B pairs."""
    vectors = texts.vector_BF.chunk(2)
    y, x, weights = (tensor.chunk(2, 1) for tensor in (texts.y_TBF, texts.x_TBI, texts.weight_TB))
    lengths = texts.lengths_B.chunk(2)
    first, second = (EncodedText(*parts) for parts in zip(vectors, y, x, weights, lengths, strict=True))
    return first, second


def spelling_similarity(batch: Any) -> Tensor:
    """Return the spelling similarity between the words of each pair of a batch, (B, T, T); 0 beyond the lengths."""
    texts = batch.texts
    B = texts.place_TB.shape[1] // 2
    exist_BT = steps_exist(texts.place_TB, texts.lengths_B).T
    place_BT = texts.place_TB.T
    similarity_BTT: Tensor = batch.similarity_WW[place_BT[:B, :, None], place_BT[B:, None, :]]
    return similarity_BTT.mul(exist_BT[:B, :, None]).mul(exist_BT[B:, None, :])
