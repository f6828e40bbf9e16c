"""Ranking metrics: Recall@K, MRR@K, NDCG@K of the target item, and coverage and popularity of the lists.

An item that shares its score with others gets the mean over all orders of them. A predictor that gives every item the
same score has Recall@K = K / V, and not 1.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.decoding.probabilities import refuse_nan
from elman.errors import SettingError
from elman.evaluation.result import Metrics


class RankingTally:
    """Ranking metrics that are accumulated batch by batch.

    Args:
        at: K, the length of a list; at most the number of items.
        counts: (V,), how often each item occurs in training.

    Raises:
        SettingError: K is not positive.
    """

    def __init__(self, at: int, counts: NDArray[np.int64]) -> None:
        if at < 1:
            raise SettingError("invalid length of a list", should="at of 1 or more", found=str(at))
        self.at, self.counts = at, counts
        # For recall, reciprocal rank and NDCG; with a single target the ideal list has it first.
        rank = np.arange(1, at + 1)
        gains = np.stack([np.ones(at), 1 / rank, 1 / np.log2(1 + rank)])
        self._sums = np.concatenate([np.zeros((3, 1)), np.cumsum(gains, 1)], 1)  # of the first n ranks, n = 0 to K
        self._gained = np.zeros(3)
        self.events = self._unknown = 0
        self._listed, self._popularity = np.zeros(len(counts), np.int64), 0.0

    def add(self, scores_NV: Tensor, target_N: Tensor) -> None:
        """Add N rankings.

        Args:
            scores_NV: minus infinity for an item that is omitted from the list.
            target_N: the item that came; -1 for one that is not among the V, which no list holds.

        Raises:
            NonFiniteError: a score is NaN.
        """
        refuse_nan(scores_NV)
        known_N = target_N >= 0
        target_score_N = scores_NV.gather(1, target_N.clamp(min=0)[:, None])
        above_N = (scores_NV > target_score_N).sum(1)
        equal_N = (scores_NV == target_score_N).sum(1)  # the target included
        listed_N = known_N & (target_score_N[:, 0] > -torch.inf)
        above, equal = above_N[listed_N].numpy(), equal_N[listed_N].numpy()
        first, last = np.minimum(above, self.at), np.minimum(above + equal, self.at)
        self._gained += ((self._sums[:, last] - self._sums[:, first]) / equal).sum(1)
        self.events += len(target_N)
        self._unknown += int((~known_N).sum())
        best = scores_NV.topk(min(self.at, scores_NV.shape[1]), 1)
        listed = best.indices[best.values > -torch.inf].numpy()
        self._listed += np.bincount(listed, minlength=len(self.counts))

    def metrics(self) -> Metrics:
        """Return the metrics; their names contain K.

        recall_K, mrr_K, ndcg_K: means over all events. coverage_K: the share of the items that are in any list.
        popularity_K: the mean training frequency of the listed items, relative to the mean over all items: 1 for
        random lists, more if popular items are preferred. events: how many; of_unknown_items: how many of them have an
        unknown target.
        """
        recall, mrr, ndcg = (self._gained / max(1, self.events)).tolist()
        listed = max(1, int(self._listed.sum()))
        named = {"recall": recall, "mrr": mrr, "ndcg": ndcg, "coverage": float((self._listed > 0).mean())}
        named["popularity"] = float((self._listed * self.counts).sum() / listed / self.counts.mean())
        counts = {"events": self.events, "of_unknown_items": self._unknown}
        return {**{f"{name}_{self.at}": value for name, value in named.items()}, **counts}
