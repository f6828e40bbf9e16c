"""The recommender: which item comes next, given the items of a session so far.

    e_t = embedding of item t
    s_t = recurrent layers (e_t, s_{t-1})
    f_t = P s_t                     where the size of the embedding is not that of the layers, else f_t = s_t
    score of item j = v_j . f_t + c_j        v: the embedding again (tied), or weights of its own

Hidasi et al. 2016, "Session-based recommendations with recurrent neural networks", https://arxiv.org/abs/1511.06939.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import SettingError
from elman.modules.dropout import SequenceDropout
from elman.modules.pooling import last_output
from elman.modules.recurrent_stack import build_layers


class Recommender(nn.Module):
    """Embedding, recurrent layers, and a score for every item.

    Args:
        items: V, how many items there are.
        hidden: H, units of each layer.
        embedding: E, size of the vector of an item.
        tied: the scores use the weight of the embedding (Press and Wolf 2017, https://arxiv.org/abs/1608.05859).
        embedding_dropout: probability of dropping a feature of an embedding while training.
        item_dropout: probability that the vector of a whole item is zero, as if one did not know which it was.
        dropout: of features of the layers' outputs; between layers too.
        network: cell, layers, nonlinearity, variational, init, learn_initial_state of `build_layers`.

    Raises:
        SettingError: an unknown name or an impossible size.
    """

    def __init__(
        self,
        items: int,
        hidden: int,
        *,
        embedding: int,
        tied: bool = True,
        embedding_dropout: float = 0.0,
        item_dropout: float = 0.0,
        dropout: float = 0.0,
        **network: Any,
    ) -> None:
        super().__init__()
        if network.get("bidirectional"):
            raise SettingError(
                "a recommender reads in one direction only",
                should="bidirectional=false",
                found="bidirectional=true, which would read the item that is to be predicted",
            )
        self.embedding = nn.Embedding(items, embedding, _weight=torch.empty(items, embedding))
        self.tied, self.item_dropout = tied, item_dropout
        if not tied:
            self.weight = nn.Parameter(torch.empty(items, embedding))
        self.bias = nn.Parameter(torch.zeros(items))
        for weight in (self.embedding.weight, *(() if tied else (self.weight,))):
            if not weight.is_meta:
                nn.init.normal_(weight, std=embedding**-0.5)
        self.embedding_dropout = SequenceDropout(embedding_dropout, bool(network.get("variational")))
        self.recurrent = build_layers(network.pop("cell", "gru"), embedding, hidden, dropout=dropout, **network)
        self.project = nn.Linear(hidden, embedding, bias=False) if hidden != embedding else nn.Identity()
        self.dropout = SequenceDropout(dropout, bool(network.get("variational")))

    def features(
        self, input_TB: Tensor, state: Any = None, *, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Return what the scores are made of, (T, B, E), and the state after the last step.

        Args:
            input_TB: numbers of items.
            state: as returned before, None for the initial one.
            lengths: (B,), how many steps each session has.
            resets: (T, B), true where a session begins.
        """
        e_TBE = self.embedding_dropout(self.embedding(input_TB))
        if self.training and self.item_dropout:
            e_TBE = e_TBE * (torch.rand(input_TB.shape, device=e_TBE.device) >= self.item_dropout)[..., None]
        s_TBH, state = self.recurrent(e_TBE, state, lengths=lengths, resets=resets)
        return self.dropout(self.project(s_TBH)), state

    def scores(self, f_NE: Tensor, items_K: Tensor | None = None) -> Tensor:
        """Return the scores of the items K, (N, K), or of all, (N, V)."""
        weight = self.embedding.weight if self.tied else self.weight
        if items_K is None:
            return functional.linear(f_NE, weight, self.bias)
        return functional.linear(f_NE, functional.embedding(items_K, weight), self.bias[items_K])

    def score(self, f_NE: Tensor, item_N: Tensor) -> Tensor:
        """Return the score of one item for each row, (N,)."""
        weight = self.embedding.weight if self.tied else self.weight
        return (f_NE * functional.embedding(item_N, weight)).sum(-1) + self.bias[item_N]

    def forward(self, input_TB: Tensor, state: Any = None, *, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return the scores of all items after each step, (T, B, V), and the state; arguments as in `features`."""
        f_TBE, state = self.features(input_TB, state, lengths=lengths)
        return self.scores(f_TBE), state

    @torch.no_grad()
    def read(self, input_B: Tensor, state: Any = None) -> Any:
        """Return the state after one more item of each row; the work is that of one step."""
        return self.recurrent.step(self.embedding(input_B), state)[1]

    @torch.no_grad()
    def answer(self, state: Any) -> Tensor:
        """Return the scores of all items after what a state has read, (B, V)."""
        return self.scores(self.project(last_output(state, 1)))
