"""From two encoded texts to how alike they are, 0 to 1: distances of vectors, and small networks over both.

Every comparison is symmetric: the texts may change places.
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
    """Texts after the encoder. F is the size of its outputs, I of the words'.

    Attributes:
        vector_BF: one vector for each text.
        y_TBF: the outputs at all words.
        x_TBI: the words themselves.
        weight_TB: how much each word says; 0 beyond the end of a text.
        lengths_B: the words of each text.
    """

    vector_BF: Tensor
    y_TBF: Tensor
    x_TBI: Tensor
    weight_TB: Tensor
    lengths_B: Tensor


class Grades(nn.Module):
    """A distribution over K grades from 0 to 1, evenly spaced; the score is its mean (Tai et al. 2015, section 4.2).

    https://arxiv.org/abs/1503.00075. The target puts its weight on the two grades next to the score, so that its mean
    is the score; the loss is the cross-entropy, which differs from their divergence by a constant.

    Args:
        features: size of what the grades are told from.
        hidden: units of the hidden layer.
        grades: K, at least 2.
        dropout: before each layer.
    """

    grade_K: Tensor

    def __init__(self, features: int, hidden: int, grades: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, grades)
        )
        self.register_buffer("grade_K", torch.linspace(0, 1, grades), persistent=False)

    def forward(self, features_BF: Tensor) -> Tensor:
        """Return log p of each grade, (B, K)."""
        log_p_BK: Tensor = self.layers(features_BF).log_softmax(-1)
        return log_p_BK

    def score(self, log_p_BK: Tensor) -> Tensor:
        """Return the mean grade, (B,)."""
        return log_p_BK.exp() @ self.grade_K

    def loss(self, log_p_BK: Tensor, target_B: Tensor) -> Tensor:
        """Return the cross-entropy of each target, 0 to 1, (B,)."""
        place_B = target_B.clamp(0, 1) * (len(self.grade_K) - 1)
        near_BK = 1 - (place_B[:, None] - torch.arange(len(self.grade_K), device=place_B.device)).abs()
        return -(near_BK.clamp(min=0) * log_p_BK).sum(-1)


class Manhattan(nn.Module):
    """exp(-|u - v|_1 / s) with a learned s (MaLSTM, Mueller and Thyagarajan 2016, where s is 1)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        # The mean distance of fresh vectors grows with their size; s makes a fresh score neither 0 nor 1.
        self.log_scale = nn.Parameter(torch.tensor(math.log(features / 8)))

    def forward(self, one: EncodedText, other: EncodedText, alike_BTT: Tensor) -> Tensor:
        """Return how alike they are, (B,)."""
        return self.of((one.vector_BF - other.vector_BF).abs().sum(-1))

    def of(self, distance: Tensor) -> Tensor:
        """Return how alike vectors at these distances are, of the same shape."""
        return torch.exp(-distance / self.log_scale.exp())


class Cosine(nn.Module):
    """The cosine of u and v, where it is positive."""

    def __init__(self, features: int) -> None:
        super().__init__()

    def forward(self, one: EncodedText, other: EncodedText, alike_BTT: Tensor) -> Tensor:
        """Return how alike they are, (B,)."""
        return functional.cosine_similarity(one.vector_BF, other.vector_BF).clamp(0, 1)


def by_vectors(one: EncodedText, other: EncodedText) -> Tensor:
    """Return |u - v| and u * v, (B, 2F) (InferSent, Conneau et al. 2017, https://arxiv.org/abs/1705.02364)."""
    u_BF, v_BF = one.vector_BF, other.vector_BF
    return torch.cat([(u_BF - v_BF).abs(), u_BF * v_BF], -1)


class Alignment(nn.Module):
    """Every word of a text beside what corresponds to it in the other (Parikh et al. 2016, ESIM: Chen et al. 2017).

    https://arxiv.org/abs/1606.01933, https://arxiv.org/abs/1609.06038. Attention between the words of both texts takes
    their states, and whether they are spelt alike; beside each state and its counterpart stand how much the word says
    and how well it is matched.

    Args:
        states: F, features of a state.
        words: I, features of a word.
        hidden: P, of the projections.
        dropout: of the projections.
    """

    FEATURES = 4  # of each word: weight, same word, spelt alike, same neighbour

    def __init__(self, states: int, words: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(states + words, hidden), nn.Tanh(), nn.Dropout(dropout))
        self.spelling = nn.Parameter(torch.tensor([4.0, 4.0]))
        self.compare = nn.Sequential(nn.Linear(4 * hidden + self.FEATURES, hidden), nn.ReLU())
        self.output_size = 4 * hidden

    def forward(self, one: EncodedText, other: EncodedText, alike_BTT: Tensor) -> Tensor:
        """Return what the words of both say together, (B, 4P)."""
        p_BTP, q_BTP = (self._projected(e) for e in (one, other))
        same_BTT = (alike_BTT >= 1).to(alike_BTT)
        energy_BTT = p_BTP @ q_BTP.transpose(1, 2) / math.sqrt(p_BTP.shape[-1])
        energy_BTT = energy_BTT + self.spelling[0] * same_BTT + self.spelling[1] * alike_BTT
        following_BTT = neighbours(same_BTT)
        u_BP = self._side(p_BTP, q_BTP, energy_BTT, (alike_BTT, same_BTT, following_BTT), one, other)
        matched = tuple(matrix.transpose(1, 2) for matrix in (alike_BTT, same_BTT, following_BTT))
        v_BP = self._side(q_BTP, p_BTP, energy_BTT.transpose(1, 2), matched, other, one)
        return torch.cat([u_BP + v_BP, (u_BP - v_BP).abs()], -1)

    def _projected(self, e: EncodedText) -> Tensor:
        """Return the words of a text with their states, (B, T, P); zero beyond its end."""
        p_TBP: Tensor = self.project(torch.cat([e.y_TBF, e.x_TBI], -1))
        return (p_TBP * steps_exist(e.y_TBF, e.lengths_B)[..., None]).transpose(0, 1)

    def _side(
        self,
        p_BTP: Tensor,
        q_BTP: Tensor,
        energy_BTT: Tensor,
        matches: tuple[Tensor, ...],
        one: EncodedText,
        other: EncodedText,
    ) -> Tensor:
        there_BT = steps_exist(other.y_TBF, other.lengths_B).T
        energy_BTT = energy_BTT.masked_fill(~there_BT[:, None, :], torch.finfo(energy_BTT.dtype).min)
        counterpart_BTP = energy_BTT.softmax(-1) @ q_BTP
        facts_BTF = torch.stack([one.weight_TB.T, *(match_BTT.amax(-1) for match_BTT in matches)], -1)
        both = [p_BTP, counterpart_BTP, (p_BTP - counterpart_BTP).abs(), p_BTP * counterpart_BTP, facts_BTF]
        said_BTP = self.compare(torch.cat(both, -1))
        here_BT1 = steps_exist(one.y_TBF, one.lengths_B).T[..., None].to(said_BTP)
        said_BTP = said_BTP * here_BT1
        mean_BP = said_BTP.sum(1) / here_BT1.sum(1).clamp(min=1)
        return torch.cat([mean_BP, said_BTP.amax(1)], -1)


def neighbours(same_BTT: Tensor) -> Tensor:
    """Return where a word is the same and the next or the previous one is too, (B, T, T)."""
    after = functional.pad(same_BTT[:, 1:, 1:], (0, 1, 0, 1))
    before = functional.pad(same_BTT[:, :-1, :-1], (1, 0, 1, 0))
    return same_BTT * torch.maximum(after, before)


OVERLAPS = 10
"""How many numbers `overlaps` returns for a pair."""


def overlaps(one: EncodedText, other: EncodedText, alike_BTT: Tensor) -> Tensor:
    """Return how much the words of two texts overlap, (B, 10), as plain numbers from 0 to 1.

    Of both texts the smaller and the greater share of words, and of their weight, that the other has too; of words
    matched by spelling, weighted; of words with the same neighbour; and the ratios of their lengths and weights.
    """
    same_BTT = (alike_BTT >= 1).to(alike_BTT)
    following_BTT = neighbours(same_BTT)
    shares = []
    for e, matrices in (
        (one, (same_BTT, alike_BTT, following_BTT)),
        (other, tuple(m.transpose(1, 2) for m in (same_BTT, alike_BTT, following_BTT))),
    ):
        same_BT, alike_BT, following_BT = (m.amax(-1) for m in matrices)
        weight_BT = e.weight_TB.T
        number_B, total_B = e.lengths_B.clamp(min=1).to(weight_BT), weight_BT.sum(-1).clamp(min=1e-6)
        weighted = [(same_BT * weight_BT).sum(-1) / total_B, (alike_BT * weight_BT).sum(-1) / total_B]
        shares.append(torch.stack([same_BT.sum(-1) / number_B, *weighted, following_BT.sum(-1) / number_B], -1))
    least, most = torch.minimum(*shares), torch.maximum(*shares)
    lengths = torch.stack([one.lengths_B, other.lengths_B]).to(least).clamp(min=1)
    weights = torch.stack([one.weight_TB.sum(0), other.weight_TB.sum(0)]).clamp(min=1e-6)
    ratios = [sizes.amin(0) / sizes.amax(0) for sizes in (lengths, weights)]
    return torch.cat([least, most, torch.stack(ratios, -1)], -1)


COMPARISONS: dict[str, Callable[[int], nn.Module] | None] = {
    "aligned": None,
    "learned": None,
    "manhattan": Manhattan,
    "cosine": Cosine,
}
