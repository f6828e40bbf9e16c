"""Attention: multiplicative and additive scores, and the weighted mean of a memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elman.errors import look_up


class MultiplicativeAttention(nn.Module):
    """Multiplicative attention: the score of query q and memory entry m is q . A m (Luong et al. 2015).

    It is the "general" score of https://arxiv.org/abs/1508.04025.

    Args:
        query_size: Q, features of a query.
        memory_size: M, features of an entry.
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__()
        self.key = nn.Linear(memory_size, query_size, bias=False)

    def keys(self, memory_BSM: Tensor) -> Tensor:
        """Return the projected memory, (B, S, Q), which does not depend on the query."""
        keys_BSQ: Tensor = self.key(memory_BSM)
        return keys_BSQ

    def scores(self, query_BTQ: Tensor, keys_BSQ: Tensor) -> Tensor:
        """Return the scores, (B, T, S)."""
        return query_BTQ @ keys_BSQ.mT


class AdditiveAttention(MultiplicativeAttention):
    """Additive attention: the score of query q and memory entry m is v . tanh(A m + D q).

    Bahdanau et al. 2015, https://arxiv.org/abs/1409.0473. The arguments are those of `MultiplicativeAttention`.
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__(query_size, memory_size)
        self.query = nn.Linear(query_size, query_size)
        self.score = nn.Linear(query_size, 1, bias=False)

    def scores(self, query_BTQ: Tensor, keys_BSQ: Tensor) -> Tensor:
        """Return the scores, (B, T, S), using memory for B * T * S * Q numbers."""
        hidden_BTSQ = torch.tanh(self.query(query_BTQ)[:, :, None] + keys_BSQ[:, None])
        scores_BTS: Tensor = self.score(hidden_BTSQ).squeeze(-1)
        return scores_BTS


ATTENTIONS: dict[str, type[MultiplicativeAttention]] = {
    "multiplicative": MultiplicativeAttention,
    "additive": AdditiveAttention,
}


def build_attention(name: str, query_size: int, memory_size: int) -> MultiplicativeAttention:
    """Build an attention of `ATTENTIONS`; an unknown name is a SettingError."""
    return look_up("attention", name, ATTENTIONS)(query_size, memory_size)


def attend(scores_BTS: Tensor, memory_BSM: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted means of the memory, (B, T, M), and the weights, (B, T, S), zero beyond each length."""
    exists_BS = torch.arange(memory_BSM.shape[1], device=memory_BSM.device) < lengths_B.to(memory_BSM.device)[:, None]
    weights_BTS = scores_BTS.masked_fill(~exists_BS[:, None], torch.finfo(scores_BTS.dtype).min).softmax(2)
    return weights_BTS @ memory_BSM, weights_BTS
