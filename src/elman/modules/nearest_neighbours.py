"""The nearest of many vectors, a piece of them at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

PIECE = 1 << 14
"""Vectors that are looked at together."""


def nearest(
    query_QF: Tensor, rows_NF: Any, count: int, closeness: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return how close the closest rows are to each query, (Q, count), the closest first, and which they are.

    Args:
        query_QF: Q vectors.
        rows_NF: N vectors in a NumPy array, perhaps mapped from a file; memory does not grow with N.
        count: how many; fewer where N is less.
        closeness: (query_QF, rows_MF) -> (Q, M), greater is closer.
    """
    best_QK = query_QF.new_empty(len(query_QF), 0)
    place_QK = torch.empty(len(query_QF), 0, dtype=torch.int64)
    for begin in range(0, len(rows_NF), PIECE):
        piece_MF = torch.tensor(rows_NF[begin : begin + PIECE])
        close_QM = closeness(query_QF, piece_MF)
        places_QM = torch.arange(begin, begin + len(piece_MF)).expand(len(query_QF), -1)
        both_QN, places_QN = torch.cat([best_QK, close_QM], 1), torch.cat([place_QK, places_QM], 1)
        best_QK, chosen_QK = both_QN.topk(min(count, both_QN.shape[1]), dim=1)
        place_QK = places_QN.gather(1, chosen_QK)
    return best_QK, place_QK
