"""Exact nearest-neighbour search, a chunk of the rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

CHUNK = 1 << 14
"""Rows that are compared at a time."""


def nearest(
    query_QF: Tensor, rows_NF: Any, count: int, similarity: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the similarities of the nearest rows to each query, (Q, K), the nearest first, and their indices, (Q, K).

    Args:
        query_QF: Q vectors.
        rows_NF: N vectors in a NumPy array, which may be memory-mapped; memory does not grow with N.
        count: K, at most N of them are returned.
        similarity: (query_QF, rows_MF) -> (Q, M), greater is nearer.
    """
    best_QK = query_QF.new_empty(len(query_QF), 0)
    index_QK = torch.empty(len(query_QF), 0, dtype=torch.int64)
    for begin in range(0, len(rows_NF), CHUNK):
        chunk_MF = torch.tensor(rows_NF[begin : begin + CHUNK])
        similarity_QM = similarity(query_QF, chunk_MF)
        index_QM = torch.arange(begin, begin + len(chunk_MF)).expand(len(query_QF), -1)
        joined_QN, index_QN = torch.cat([best_QK, similarity_QM], 1), torch.cat([index_QK, index_QM], 1)
        best_QK, chosen_QK = joined_QN.topk(min(count, joined_QN.shape[1]), dim=1)
        index_QK = index_QN.gather(1, chosen_QK)
    return best_QK, index_QK
