"""Ranking losses: cross-entropy, BPR-max and TOP1-max.

With r the scores, i the target item, and s_j the softmax of the scores of the negative items:

    cross-entropy    -log( exp r_i / sum over all j of exp r_j )
    BPR-max          -log( sum_j s_j sigmoid(r_i - r_j) ) + lambda sum_j s_j r_j^2
    TOP1-max         sum_j s_j ( sigmoid(r_j - r_i) + sigmoid(r_j^2) )

Hidasi and Karatzoglou 2018, "Recurrent neural networks with top-k gains for session-based recommendations",
https://arxiv.org/abs/1706.03847. The negatives are all other items, or a sample that the rows of a batch share.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

EXCLUDED = -1e4
"""The score of an excluded item: its softmax is 0 and its square is finite in every floating-point type."""

ScoreIndices = tuple[Tensor, Tensor]
"""Rows and columns of scores, (M,) each."""


def bpr_max(positive_N: Tensor, negative_NK: Tensor, decay: float) -> Tensor:
    """Return BPR-max of each row, (N,), from the scores of target and negative items; `decay` is lambda."""
    s_NK = negative_NK.softmax(-1)
    win_N = (s_NK * torch.sigmoid(positive_N[:, None] - negative_NK)).sum(-1)
    return -torch.log(win_N + 1e-24) + decay * (s_NK * negative_NK.square()).sum(-1)


def top1_max(positive_N: Tensor, negative_NK: Tensor, decay: float) -> Tensor:
    """Return TOP1-max of each row, (N,); arguments as in `bpr_max`, `decay` is not used."""
    s_NK = negative_NK.softmax(-1)
    return (s_NK * (torch.sigmoid(negative_NK - positive_N[:, None]) + torch.sigmoid(negative_NK.square()))).sum(-1)


def cross_entropy(positive_N: Tensor, negative_NK: Tensor, decay: float) -> Tensor:
    """Return the cross-entropy of each row, (N,); arguments as in `bpr_max`, `decay` is not used."""
    return torch.logsumexp(torch.cat([positive_N[:, None], negative_NK], -1), -1) - positive_N


LOSSES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "cross-entropy": cross_entropy,
    "bpr-max": bpr_max,
    "top1-max": top1_max,
}
