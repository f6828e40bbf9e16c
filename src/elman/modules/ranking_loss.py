"""Losses that put the item that came above the others: cross-entropy, BPR-max and TOP1-max.

With r the scores, i the item that came, and s_j the softmax of the scores of the others:

    cross-entropy    -log( exp r_i / sum over all j of exp r_j )
    BPR-max          -log( sum_j s_j sigmoid(r_i - r_j) ) + lambda sum_j s_j r_j^2
    TOP1-max         sum_j s_j ( sigmoid(r_j - r_i) + sigmoid(r_j^2) )

Hidasi and Karatzoglou 2018, "Recurrent neural networks with top-k gains for session-based recommendations",
https://arxiv.org/abs/1706.03847. The others are all items, or a sample that all rows of a batch share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from elman.errors import unknown_name
from elman.models.recommender import Recommender

OUT = -1e4
"""The score of an item that does not count; its softmax is 0 in any type of number, and its square is finite."""

Pairs = tuple[Tensor, Tensor]
"""Rows and columns, (M,) each, of scores that do not count."""


def bpr_max(positive_N: Tensor, negative_NK: Tensor, decay: float) -> Tensor:
    """Return the loss of each row, (N,)."""
    s_NK = negative_NK.softmax(-1)
    better_N = (s_NK * torch.sigmoid(positive_N[:, None] - negative_NK)).sum(-1)
    return -torch.log(better_N + 1e-24) + decay * (s_NK * negative_NK.square()).sum(-1)


def top1_max(positive_N: Tensor, negative_NK: Tensor, decay: float) -> Tensor:
    """Return the loss of each row, (N,); `decay` has no part in it."""
    s_NK = negative_NK.softmax(-1)
    return (s_NK * (torch.sigmoid(negative_NK - positive_N[:, None]) + torch.sigmoid(negative_NK.square()))).sum(-1)


def cross_entropy(positive_N: Tensor, negative_NK: Tensor, decay: float) -> Tensor:
    """Return the loss of each row, (N,); `decay` has no part in it."""
    return torch.logsumexp(torch.cat([positive_N[:, None], negative_NK], -1), -1) - positive_N


LOSSES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "cross-entropy": cross_entropy,
    "bpr-max": bpr_max,
    "top1-max": top1_max,
}


@dataclass
class RankingLoss:
    """A loss over the items that may come next.

    Args:
        name: in `LOSSES`.
        counts: (V,), how often each item occurs.
        negatives: K, how many others are drawn for each batch, with replacement; 0: all items.
        power: they are drawn in proportion to counts^power.
        decay: lambda of BPR-max.

    Raises:
        SettingError: an unknown name.
    """

    name: str
    counts: Tensor
    negatives: int = 0
    power: float = 0.75
    decay: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in LOSSES:
            raise unknown_name("loss", self.name, LOSSES)
        chance_V = self.counts.double() ** self.power
        self._chance_V = chance_V / chance_V.sum()
        self._sum_V = self._chance_V.cumsum(0)

    def __call__(self, model: Recommender, f_NE: Tensor, target_N: Tensor, out: Pairs | None = None) -> Tensor:
        """Return the mean over the rows.

        Args:
            model: makes scores of features.
            f_NE: features.
            target_N: the items that came.
            out: items that cannot come; with sampled negatives they stay.
        """
        if self.negatives:
            return self._sampled(model, f_NE, target_N)
        scores_NV = model.scores(f_NE)
        if out is not None:
            scores_NV = scores_NV.index_put(out, scores_NV.new_tensor(OUT))
        if self.name == "cross-entropy":
            return functional.cross_entropy(scores_NV, target_N)
        positive_N = scores_NV.gather(1, target_N[:, None])[:, 0]
        others_NV = scores_NV.scatter(1, target_N[:, None], OUT)
        return LOSSES[self.name](positive_N, others_NV, self.decay).mean()

    def _sampled(self, model: Recommender, f_NE: Tensor, target_N: Tensor) -> Tensor:
        drawn_K = torch.searchsorted(self._sum_V, torch.rand(self.negatives, dtype=torch.float64))
        drawn_K = drawn_K.clamp(max=len(self._sum_V) - 1)
        items_K = drawn_K.to(f_NE.device)
        negative_NK = model.scores(f_NE, items_K)
        if self.name == "cross-entropy":
            # Each item drawn stands for 1 / (K q) items, so that the sum of exponentials is right on average
            # (Bengio and Senecal 2008; Jean et al. 2015, https://arxiv.org/abs/1412.2007).
            correction_K = torch.log(self.negatives * self._chance_V[drawn_K])
            negative_NK = negative_NK - correction_K.to(negative_NK)
        negative_NK = negative_NK.masked_fill(items_K == target_N[:, None], OUT)
        return LOSSES[self.name](model.score(f_NE, target_N), negative_NK, self.decay).mean()
