"""The recommender: which item comes next, given the items of a session so far.

    e_t = embedding of item t
    s_t = recurrent layers (e_t, s_{t-1})
    f_t = P s_t                     where the size of the embedding is not that of the layers, else f_t = s_t
    score of item j = v_j . f_t + c_j        v: the embedding again (tied), or weights of its own

Hidasi et al. 2016, "Session-based recommendations with recurrent neural networks", https://arxiv.org/abs/1511.06939.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import SettingError, unknown_name
from elman.modules.dropout import SequenceDropout
from elman.modules.pooling import last_output
from elman.modules.ranking_loss import LOSSES, OUT, Pairs
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
