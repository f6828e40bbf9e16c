"""Comparison heads of siamese networks: vector similarities, word alignment and overlap features.

All of them are symmetric in the two texts. A similarity goes from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.modules.pooling import steps_exist


class EncodedText(NamedTuple):
    """Encoded texts: F is the size of the encoder's outputs, I that of its inputs.

    Attributes:
        vector_BF: the pooled vector of each text, (B, F).
        y_TBF: the encoder's outputs, (T, B, F).
        x_TBI: the word vectors that the encoder reads, (T, B, I).
        weight_TB: the weight of each word, such as its inverse document frequency, (T, B); 0 beyond the length.
        lengths_B: the number of words of each text, (B,).
    """

    vector_BF: Tensor
    y_TBF: Tensor
    x_TBI: Tensor
    weight_TB: Tensor
    lengths_B: Tensor


class ScoreDistribution(nn.Module):
    """Score head: a distribution over K evenly spaced scores from 0 to 1, whose mean is the predicted score.

    Tai et al. 2015, section 4.2, https://arxiv.org/abs/1503.00075. A target becomes the distribution over its two
    neighbouring bins whose mean it is; the loss is the cross-entropy.

    Args:
        features: F, input features.
        hidden: units of the hidden layer.
        bins: K, at least 2.
        dropout: probability of dropping a feature before each layer.
    """

    score_K: Tensor

    def __init__(self, features: int, hidden: int, bins: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, bins)
        )
        self.register_buffer("score_K", torch.linspace(0, 1, bins), persistent=False)

    def forward(self, features_BF: Tensor) -> Tensor:
        """Return log p of each bin, (B, K), for features (B, F)."""
        log_p_BK: Tensor = self.layers(features_BF).log_softmax(-1)
        return log_p_BK

    def score(self, log_p_BK: Tensor) -> Tensor:
        """Return the mean score, (B,)."""
        return log_p_BK.exp() @ self.score_K

    def loss(self, log_p_BK: Tensor, target_B: Tensor) -> Tensor:
        """Return the cross-entropy of each row, (B,), for targets (B,) from 0 to 1."""
        position_B = target_B.clamp(0, 1) * (len(self.score_K) - 1)
        weight_BK = 1 - (position_B[:, None] - torch.arange(len(self.score_K), device=position_B.device)).abs()
        return -(weight_BK.clamp(min=0) * log_p_BK).sum(-1)


class ManhattanSimilarity(nn.Module):
    """Manhattan similarity: exp(-|u - v|_1 / s) with a learned s (MaLSTM, Mueller and Thyagarajan 2016, has s = 1)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        # The mean distance of untrained vectors grows with their size; s keeps the initial similarity between 0 and 1.
        self.log_scale = nn.Parameter(torch.tensor(math.log(features / 8)))

    def forward(self, first: EncodedText, second: EncodedText, similarity_BTT: Tensor) -> Tensor:
        """Return the similarity of each pair, (B,)."""
        return self.from_distance((first.vector_BF - second.vector_BF).abs().sum(-1))

    def from_distance(self, distance: Tensor) -> Tensor:
        """Return the similarity of vectors at these distances, of the same shape."""
        return torch.exp(-distance / self.log_scale.exp())


class ClampedCosine(nn.Module):
    """Cosine similarity of u and v, clamped to at least 0."""

    def __init__(self, features: int) -> None:
        super().__init__()

    def forward(self, first: EncodedText, second: EncodedText, similarity_BTT: Tensor) -> Tensor:
        """Return the similarity of each pair, (B,)."""
        return functional.cosine_similarity(first.vector_BF, second.vector_BF).clamp(0, 1)


def vector_features(first: EncodedText, second: EncodedText) -> Tensor:
    """Return |u - v| and u * v, (B, 2F) (InferSent, Conneau et al. 2017, https://arxiv.org/abs/1705.02364)."""
    u_BF, v_BF = first.vector_BF, second.vector_BF
    return torch.cat([(u_BF - v_BF).abs(), u_BF * v_BF], -1)


class Alignment(nn.Module):
    """Soft word alignment between two texts (Parikh et al. 2016; ESIM, Chen et al. 2017).

    https://arxiv.org/abs/1606.01933, https://arxiv.org/abs/1609.06038. The attention scores of two words are the
    product of their projected states plus their weighted spelling similarity; each word is compared with the attention
    mean of the second text, given its weight and its best matches.

    Args:
        features: F, size of the encoder's outputs.
        words: I, size of the word vectors.
        hidden: P, size of the projections.
        dropout: probability of dropping a projected feature.
    """

    FEATURES = 4  # of each word: weight, spelling similarity, same word, same neighbour

    def __init__(self, features: int, words: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(features + words, hidden), nn.Tanh(), nn.Dropout(dropout))
        self.spelling = nn.Parameter(torch.tensor([4.0, 4.0]))
        self.compare = nn.Sequential(nn.Linear(4 * hidden + self.FEATURES, hidden), nn.ReLU())
        self.output_size = 4 * hidden

    def forward(self, first: EncodedText, second: EncodedText, similarity_BTT: Tensor) -> Tensor:
        """Return the alignment features of each pair, (B, 4P)."""
        p_BTP, q_BTP = self._project(first), self._project(second)
        same_BTT = (similarity_BTT >= 1).to(similarity_BTT)
        energy_BTT = p_BTP @ q_BTP.transpose(1, 2) / math.sqrt(p_BTP.shape[-1])
        energy_BTT = energy_BTT + self.spelling[0] * same_BTT + self.spelling[1] * similarity_BTT
        matches = (similarity_BTT, same_BTT, same_with_neighbour(same_BTT))
        u_BP = self._compare_words(p_BTP, q_BTP, energy_BTT, matches, first, second)
        matched = tuple(matrix.transpose(1, 2) for matrix in matches)
        v_BP = self._compare_words(q_BTP, p_BTP, energy_BTT.transpose(1, 2), matched, second, first)
        return torch.cat([u_BP + v_BP, (u_BP - v_BP).abs()], -1)

    def _project(self, text: EncodedText) -> Tensor:
        """Return the projected words, (B, T, P); zero beyond the lengths."""
        p_TBP: Tensor = self.project(torch.cat([text.y_TBF, text.x_TBI], -1))
        return (p_TBP * steps_exist(text.y_TBF, text.lengths_B)[..., None]).transpose(0, 1)

    def _compare_words(
        self, p_BTP: Tensor, q_BTP: Tensor, energy_BTT: Tensor, matches: tuple[Tensor, ...],
        first: EncodedText, second: EncodedText,
    ) -> Tensor:  # fmt: skip
        """Return the mean and the maximum of the compared words of the first text, (B, 2P)."""
        exists_BT = steps_exist(second.y_TBF, second.lengths_B).T
        energy_BTT = energy_BTT.masked_fill(~exists_BT[:, None, :], torch.finfo(energy_BTT.dtype).min)
        aligned_BTP = energy_BTT.softmax(-1) @ q_BTP
        match_BTF = torch.stack([first.weight_TB.T, *(match_BTT.amax(-1) for match_BTT in matches)], -1)
        parts = [p_BTP, aligned_BTP, (p_BTP - aligned_BTP).abs(), p_BTP * aligned_BTP, match_BTF]
        compared_BTP = self.compare(torch.cat(parts, -1))
        exists_BT1 = steps_exist(first.y_TBF, first.lengths_B).T[..., None].to(compared_BTP)
        compared_BTP = compared_BTP * exists_BT1
        mean_BP = compared_BTP.sum(1) / exists_BT1.sum(1).clamp(min=1)
        return torch.cat([mean_BP, compared_BTP.amax(1)], -1)


def same_with_neighbour(same_BTT: Tensor) -> Tensor:
    """Return 1 where two words are the same and so are their next or their previous words, (B, T, T)."""
    after = functional.pad(same_BTT[:, 1:, 1:], (0, 1, 0, 1))
    before = functional.pad(same_BTT[:, :-1, :-1], (1, 0, 1, 0))
    return same_BTT * torch.maximum(after, before)


OVERLAP_FEATURES = 10
"""Features of a pair that `overlap_features` returns."""


def overlap_features(first: EncodedText, second: EncodedText, similarity_BTT: Tensor) -> Tensor:
    """Return word-overlap features of two texts, (B, 10), from 0 to 1.

    For both texts, the share of words that the second text has too: unweighted, weighted, weighted by spelling
    similarity, and of words with a common neighbour. First the smaller of the two shares of each kind, then the
    greater, then the ratios of the lengths and of the total weights.
    """
    same_BTT = (similarity_BTT >= 1).to(similarity_BTT)
    matrices = (same_BTT, similarity_BTT, same_with_neighbour(same_BTT))
    shares = []
    for text, axis in ((first, 2), (second, 1)):
        same_BT, similarity_BT, neighbour_BT = (matrix.amax(axis) for matrix in matrices)
        weight_BT = text.weight_TB.T
        count_B, total_B = text.lengths_B.clamp(min=1).to(weight_BT), weight_BT.sum(-1).clamp(min=1e-6)
        weighted = [(same_BT * weight_BT).sum(-1) / total_B, (similarity_BT * weight_BT).sum(-1) / total_B]
        shares.append(torch.stack([same_BT.sum(-1) / count_B, *weighted, neighbour_BT.sum(-1) / count_B], -1))
    smaller, greater = torch.minimum(*shares), torch.maximum(*shares)
    lengths = torch.stack([first.lengths_B, second.lengths_B]).to(smaller).clamp(min=1)
    weights = torch.stack([first.weight_TB.sum(0), second.weight_TB.sum(0)]).clamp(min=1e-6)
    ratios = [sizes.amin(0) / sizes.amax(0) for sizes in (lengths, weights)]
    return torch.cat([smaller, greater, torch.stack(ratios, -1)], -1)


COMPARISONS: dict[str, Callable[[int], nn.Module] | None] = {
    "aligned": None,
    "learned": None,
    "manhattan": ManhattanSimilarity,
    "cosine": ClampedCosine,
}
