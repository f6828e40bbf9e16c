"""Bayes-optimal predictor of the built-in shop, by Bayes' rule over the hidden kind of shopper.

With a_z the probability of kind z given the session so far, and i its last item:

    a_z   proportional to   p(first item | z) times the product of p(next item | item, z) over the session
    p(j)  =  sum over z of a_z p(j | i, z)

No predictor has a higher expected recall, reciprocal rank or NDCG than the ranking by p.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from elman.data.sessions.builtin import Shop
from elman.data.sessions.questions import Histories, Predictor


def shop_oracle(shop: Shop, names: Sequence[str]) -> Predictor:
    """Return the predictor that knows the probabilities of the shop.

    Args:
        shop: its probabilities.
        names: (V,) of the items, in the order of the scores; all are the shop's.
    """
    numbers = {name: number for number, name in enumerate(shop.names)}
    own = np.array([numbers[name] for name in names], np.int64)
    log_first, log_following = np.log(shop.first), np.log(shop.following)

    def predict(histories: Histories) -> Tensor:
        rows = []
        for history in histories:
            items = own[history]
            log_a = log_first[:, items[0]] + log_following[:, items[:-1], items[1:]].sum(1)
            a = np.exp(log_a - log_a.max())
            rows.append((a / a.sum()) @ shop.following[:, items[-1]][:, own])
        return torch.from_numpy(np.stack(rows))

    return predict
