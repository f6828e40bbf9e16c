"""Next-item baselines: popularity, item-to-item similarity, and Markov chains."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.sessions.questions import Histories, Predictor
from elman.storage.ragged import RaggedArrays

LAST = 20
"""Events that the decayed Markov chain looks back."""

DECAY = 0.8
"""Weight of an event relative to the next one; of 0.7 to 1 the best on the validation part of MovieLens 100k."""

MAX_DISTANCE = 50
"""Events of a session between two items that still count as a pair, which bounds the pairs of a long session."""

PAIRS_AT_ONCE = 1 << 23
"""Pairs in memory before they are counted: about 200 MB."""


def build_baselines(training: RaggedArrays, counts: NDArray[np.int64]) -> dict[str, Predictor]:
    """Return the predictors by their names, fitted on the training sessions.

    Args:
        training: structured steps with the field `item`, all of known items.
        counts: (V,), of each item in training.
    """
    transitions = count_pairs(training, len(counts), 1)
    return {
        "popularity": popularity(counts),
        "item to item": item_to_item(training, counts),
        "Markov": decayed_markov(transitions, last=1, decay=1.0),
        f"Markov, last {LAST}": decayed_markov(transitions, last=LAST, decay=DECAY),
    }


def count_pairs(training: RaggedArrays, items: int, furthest: int) -> Any:
    """Count how often an item comes 1 to `furthest` events after another one of the same session.

    Returns:
        A csr_array, (items, items): the row is the earlier item.
    """
    from scipy.sparse import csr_array  # type: ignore[import-untyped]

    item = training.values["item"].astype(np.int64)
    owner = np.repeat(np.arange(len(training)), training.lengths)
    total, pending = csr_array((items, items), dtype=np.float64), [np.zeros((2, 0), np.int64)]
    for lag in range(1, furthest + 1):
        same = owner[lag:] == owner[:-lag]
        pending.append(np.stack([item[:-lag][same], item[lag:][same]]))
        if lag == furthest or not same.any() or sum(pairs.shape[1] for pairs in pending) > PAIRS_AT_ONCE:
            pairs = np.concatenate(pending, axis=1)
            total = total + csr_array((np.ones(pairs.shape[1]), (pairs[0], pairs[1])), shape=total.shape)
            pending = [pairs[:, :0]]
            if not same.any():
                break
    return total


def popularity(counts: NDArray[np.int64]) -> Predictor:
    """Score an item by its frequency, whatever the session."""
    scores_V = torch.from_numpy(counts.astype(np.float64))
    return lambda histories: scores_V.expand(len(histories), -1)


def item_to_item(training: RaggedArrays, counts: NDArray[np.int64]) -> Predictor:
    """Score an item by its co-occurrence with the last one: the cosine of their occurrences in sessions.

    Linden, Smith and York 2003; the baseline "item-KNN" of Hidasi et al. 2016. Two items co-occur if they are at most
    `MAX_DISTANCE` events apart.
    """
    after = count_pairs(training, len(counts), MAX_DISTANCE)
    cosine = (after + after.T).tocoo()
    rows, columns = cosine.coords
    cosine.data = np.where(rows == columns, 0.0, cosine.data / np.sqrt(counts[rows] * counts[columns]))
    return decayed_markov(cosine.tocsr(), last=1, decay=1.0)


def decayed_markov(transitions: Any, *, last: int, decay: float) -> Predictor:
    """Score an item by its count right after each of the last events, with weights that decay with their age.

    Args:
        transitions: a csr_array, (V, V), of counts.
        last: events that are used.
        decay: weight of an event relative to the next one.
    """
    from scipy.sparse import csr_array

    weights = decay ** np.arange(last)

    def predict(histories: Histories) -> Tensor:
        recent = [history[-last:][::-1] for history in histories]
        weight = np.concatenate([weights[: len(items)] for items in recent])
        ends = np.cumsum([0, *map(len, recent)])
        weights_NV = csr_array((weight, np.concatenate(recent), ends), shape=(len(recent), transitions.shape[0]))
        return torch.from_numpy((weights_NV @ transitions).toarray())

    return predict
