"""Attention: for each query a weighted mean of a memory, the weights a softmax of how well each entry fits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from elman.errors import unknown_name


class Multiplicative(nn.Module):
    """The score of query q and entry m is q . A m (Luong et al. 2015, "general", https://arxiv.org/abs/1508.04025).

    Args:
        query_size: Q, features of a query.
        memory_size: M, features of an entry.
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__()
        self.key = nn.Linear(memory_size, query_size, bias=False)

    def keys(self, memory_BSM: Tensor) -> Tensor:
        """Return what of the memory does not depend on the query, (B, S, Q)."""
        keys_BSQ: Tensor = self.key(memory_BSM)
        return keys_BSQ

    def scores(self, query_BTQ: Tensor, keys_BSQ: Tensor) -> Tensor:
        """Return (B, T, S)."""
        return query_BTQ @ keys_BSQ.mT


class Additive(nn.Module):
    """The score of query q and entry m is v . tanh(A m + D q) (Bahdanau et al. 2015, https://arxiv.org/abs/1409.0473).

    Args:
        query_size: Q, features of a query.
        memory_size: M, features of an entry.
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__()
        self.key = nn.Linear(memory_size, query_size, bias=False)
        self.query = nn.Linear(query_size, query_size)
        self.score = nn.Linear(query_size, 1, bias=False)

    def keys(self, memory_BSM: Tensor) -> Tensor:
        """Return what of the memory does not depend on the query, (B, S, Q)."""
        keys_BSQ: Tensor = self.key(memory_BSM)
        return keys_BSQ

    def scores(self, query_BTQ: Tensor, keys_BSQ: Tensor) -> Tensor:
        """Return (B, T, S); memory for B * T * S * Q numbers is taken."""
        hidden_BTSQ = torch.tanh(self.query(query_BTQ)[:, :, None] + keys_BSQ[:, None])
        scores_BTS: Tensor = self.score(hidden_BTSQ).squeeze(-1)
        return scores_BTS


ATTENTIONS: dict[str, Callable[[int, int], Multiplicative | Additive]] = {
    "multiplicative": Multiplicative,
    "additive": Additive,
}


def build_attention(name: str, query_size: int, memory_size: int) -> Multiplicative | Additive:
    """Return the attention of a name.

    Raises:
        SettingError: there is none of this name.
    """
    if name not in ATTENTIONS:
        raise unknown_name("attention", name, ATTENTIONS)
    return ATTENTIONS[name](query_size, memory_size)


def attend(scores_BTS: Tensor, memory_BSM: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted means of the memory, (B, T, M), and the weights, (B, T, S), zero beyond each row's length."""
    exists_BS = torch.arange(memory_BSM.shape[1], device=memory_BSM.device) < lengths_B.to(memory_BSM.device)[:, None]
    weights_BTS = scores_BTS.masked_fill(~exists_BS[:, None], torch.finfo(scores_BTS.dtype).min).softmax(2)
    return weights_BTS @ memory_BSM, weights_BTS
