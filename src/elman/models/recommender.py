"""The recommender: scores of the next item, given the items of a session so far.

    e_t = embedding of item t
    s_t = recurrent layers (e_t, s_{t-1})
    f_t = P s_t                     if embedding and layers differ in size, else f_t = s_t
    score of item j = v_j . f_t + c_j        v: the embedding (tied weights), or its own weights

Hidasi et al. 2016, "Session-based recommendations with recurrent neural networks", https://arxiv.org/abs/1511.06939.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import SettingError, look_up
from elman.modules.dropout import SequenceDropout
from elman.modules.pooling import last_output
from elman.modules.ranking_loss import EXCLUDED, LOSSES, ScoreIndices
from elman.modules.recurrent_stack import build_layers
from elman.modules.word_embedding import normal_embedding


class Recommender(nn.Module):
    """Session-based recommender: embedding, recurrent layers, and a score for each item.

    Args:
        items: V, number of items.
        hidden: H, units of each layer.
        embedding: E, size of the vector of an item.
        tie_weights: whether the scores use the weight of the embedding (Press and Wolf 2017, https://arxiv.org/abs/1608.05859).
        embedding_dropout: probability of dropping a feature of an embedding.
        item_dropout: probability of masking an item, whose vector becomes zero.
        dropout: probability of dropping a feature between layers and after them.
        network: cell and other arguments of `elman.modules.recurrent_stack.build_layers`.

    Raises:
        SettingError: an unknown name or an invalid size.
    """

    def __init__(
        self, items: int, hidden: int, *, embedding: int, tie_weights: bool = True, embedding_dropout: float = 0.0,
        item_dropout: float = 0.0, dropout: float = 0.0, **network: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        if network.get("bidirectional"):
            raise SettingError(
                "a recommender is unidirectional",
                should="bidirectional=false",
                found="bidirectional=true, which would read the target item",
            )
        self.embedding = normal_embedding(items, embedding, embedding**-0.5)
        self.tie_weights, self.item_dropout = tie_weights, item_dropout
        if not tie_weights:
            self.weight = normal_embedding(items, embedding, embedding**-0.5).weight
        self.bias = nn.Parameter(torch.zeros(items))
        self.embedding_dropout = SequenceDropout(embedding_dropout, bool(network.get("variational_dropout")))
        self.recurrent = build_layers(network.pop("cell", "gru"), embedding, hidden, dropout=dropout, **network)
        self.project = nn.Linear(hidden, embedding, bias=False) if hidden != embedding else nn.Identity()
        self.dropout = SequenceDropout(dropout, bool(network.get("variational_dropout")))

    def features(
        self, input_TB: Tensor, state: Any = None, *, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Return the features of the scores, (T, B, E), and the state after the last step.

        Args:
            input_TB: items, (T, B).
            state: the state that an earlier call returned; None for the initial one.
            lengths: (B,), the number of steps of each session.
            resets: (T, B), true where a session begins.
        """
        e_TBE = self.embedding_dropout(self.embedding(input_TB))
        if self.training and self.item_dropout:
            e_TBE = e_TBE * (torch.rand(input_TB.shape, device=e_TBE.device) >= self.item_dropout)[..., None]
        s_TBH, state = self.recurrent(e_TBE, state, lengths=lengths, resets=resets)
        return self.dropout(self.project(s_TBH)), state

    def scores(self, f_NE: Tensor, items_K: Tensor | None = None) -> Tensor:
        """Return the scores of some items, (N, K), or of all, (N, V), for what `features` returned."""
        weight = self.embedding.weight if self.tie_weights else self.weight
        if items_K is None:
            return functional.linear(f_NE, weight, self.bias)
        return functional.linear(f_NE, functional.embedding(items_K, weight), self.bias[items_K])

    def score(self, f_NE: Tensor, item_N: Tensor) -> Tensor:
        """Return the score of one item of each row, (N,)."""
        weight = self.embedding.weight if self.tie_weights else self.weight
        return (f_NE * functional.embedding(item_N, weight)).sum(-1) + self.bias[item_N]

    def forward(self, input_TB: Tensor, state: Any = None, *, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return the scores of all items after each step, (T, B, V), and the state; arguments as in `features`."""
        f_TBE, state = self.features(input_TB, state, lengths=lengths)
        return self.scores(f_TBE), state

    @torch.no_grad()
    def read(self, input_B: Tensor, state: Any = None) -> Any:
        """Return the state after one more item of each row, (B,)."""
        return self.recurrent.step(self.embedding(input_B), state)[1]

    @torch.no_grad()
    def answer(self, state: Any) -> Tensor:
        """Return the scores of all items in a state, (B, V)."""
        return self.scores(self.project(last_output(state, 1)))


@dataclass
class RankingLoss:
    """Ranking loss over the next items, with all items or sampled ones as negatives.

    Attributes:
        name: a name in `elman.modules.ranking_loss.LOSSES`.
        counts: occurrences of each item, (V,).
        negatives: K, number of negative items that are sampled for each batch, with replacement; 0: all items.
        power: the sampling probability is proportional to counts^power.
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
        look_up("loss", self.name, LOSSES)
        probability_V = self.counts.double() ** self.power
        self._probability_V = probability_V / probability_V.sum()
        self._cumulative_V = self._probability_V.cumsum(0)

    def __call__(
        self, model: Recommender, f_NE: Tensor, target_N: Tensor, excluded: ScoreIndices | None = None
    ) -> Tensor:
        """Return the mean loss over the rows, a scalar.

        Args:
            model: maps features to scores.
            f_NE: features, (N, E).
            target_N: the target items, (N,).
            excluded: scores that are no negatives; not used with sampled negatives.
        """
        if self.negatives:
            return self._sampled(model, f_NE, target_N)
        scores_NV = model.scores(f_NE)
        if excluded is not None:
            scores_NV = scores_NV.index_put(excluded, scores_NV.new_tensor(EXCLUDED))
        if self.name == "cross-entropy":
            return functional.cross_entropy(scores_NV, target_N)
        positive_N = scores_NV.gather(1, target_N[:, None])[:, 0]
        negative_NV = scores_NV.scatter(1, target_N[:, None], EXCLUDED)
        return LOSSES[self.name](positive_N, negative_NV, self.decay).mean()

    def _sampled(self, model: Recommender, f_NE: Tensor, target_N: Tensor) -> Tensor:
        sample_K = torch.searchsorted(self._cumulative_V, torch.rand(self.negatives, dtype=torch.float64))
        sample_K = sample_K.clamp(max=len(self._cumulative_V) - 1)
        items_K = sample_K.to(f_NE.device)
        negative_NK = model.scores(f_NE, items_K)
        if self.name == "cross-entropy":
            # Each sample has weight 1 / (K q), which makes the sum of exponentials unbiased
            # (Bengio and Senecal 2008; Jean et al. 2015, https://arxiv.org/abs/1412.2007).
            correction_K = torch.log(self.negatives * self._probability_V[sample_K])
            negative_NK = negative_NK - correction_K.to(negative_NK)
        negative_NK = negative_NK.masked_fill(items_K == target_N[:, None], EXCLUDED)
        return LOSSES[self.name](model.score(f_NE, target_N), negative_NK, self.decay).mean()
