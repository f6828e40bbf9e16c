"""What predicts the next item without a network: popularity, items that go together, and Markov chains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.sessions.questions import Histories, Predictor
from elman.storage.ragged import RaggedArrays

LAST = 20
"""How many of the last events the decayed Markov chain looks at."""

DECAY = 0.8
"""The weight of an event by that of the one after it; of 0.7 to 1 the best on the validation part of MovieLens 100k."""

TOGETHER = 50
"""Events of a session that may lie between two items that go together, so that a long one does not pair everything."""

PAIRS_AT_ONCE = 1 << 24
"""How many are in memory before they are counted: 128 MB."""


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


@dataclass(frozen=True)
class Pairs:
    """A sparse matrix, (V, V), by rows: `columns` and `values` of row i lie from `starts[i]` to `starts[i + 1]`."""

    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float64]

    def weighted_rows(self, items: list[NDArray[np.int64]], weights: list[NDArray[Any]]) -> Tensor:
        """Return sums of rows, (N, V): of row items[n][k] times weights[n][k]."""
        size = len(self.starts) - 1
        owner = np.repeat(np.arange(len(items)), [len(each) for each in items])
        row, weight = np.concatenate(items), np.concatenate(weights)
        lengths = self.starts[row + 1] - self.starts[row]
        # Entry k of the chosen rows, end to end, lies `k - how many came before its row` behind that row's start.
        before = np.cumsum(lengths) - lengths
        places = np.arange(int(lengths.sum())) + np.repeat(self.starts[row] - before, lengths)
        flat = np.repeat(owner * size, lengths) + self.columns[places]
        sums = np.bincount(flat, np.repeat(weight, lengths) * self.values[places], minlength=len(items) * size)
        return torch.from_numpy(sums.reshape(len(items), size))


def count_pairs(training: RaggedArrays, items: int, furthest: int) -> Pairs:
    """Count how often an item comes 1 to `furthest` events after another one of the same session."""
    item = training.values["item"].astype(np.int64)
    owner = np.repeat(np.arange(len(training)), training.lengths)
    keys, found = np.zeros(0, np.int64), np.zeros(0, np.int64)
    waiting: list[NDArray[np.int64]] = []
    for lag in range(1, furthest + 1):
        same = owner[lag:] == owner[:-lag]
        waiting.append(item[:-lag][same] * items + item[lag:][same])
        if lag == furthest or not len(waiting[-1]) or sum(map(len, waiting)) > PAIRS_AT_ONCE:
            some, counts = np.unique(np.concatenate(waiting), return_counts=True)
            keys, place = np.unique(np.concatenate([keys, some]), return_inverse=True)
            found = np.bincount(place, np.concatenate([found, counts])).astype(np.int64)
            waiting = []
            if not same.any():
                break
    return _by_rows(keys // items, keys % items, found.astype(np.float64), items)


def _by_rows(rows: NDArray[np.int64], columns: NDArray[np.int64], values: NDArray[np.float64], items: int) -> Pairs:
    """Return a sparse matrix of entries that stand by rising row."""
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=items))])
    return Pairs(starts, columns, values)


def popularity(counts: NDArray[np.int64]) -> Predictor:
    """Score an item by how often it occurs, whatever the session."""
    scores_V = torch.from_numpy(counts.astype(np.float64))
    return lambda histories: scores_V.expand(len(histories), -1)


def item_to_item(training: RaggedArrays, counts: NDArray[np.int64]) -> Predictor:
    """Score an item by how often it occurs in sessions with the last one, by the cosine of their occurrences.

    Linden, Smith and York 2003; the baseline "item-KNN" of Hidasi et al. 2016. Two items go together where at most
    `TOGETHER` events lie between them.
    """
    after = count_pairs(training, len(counts), TOGETHER)
    rows = np.repeat(np.arange(len(counts)), np.diff(after.starts))
    both = np.concatenate([rows, after.columns]), np.concatenate([after.columns, rows])
    keys, place = np.unique(both[0] * len(counts) + both[1], return_inverse=True)
    together = np.bincount(place, np.concatenate([after.values, after.values]))
    rows, columns = keys // len(counts), keys % len(counts)
    cosine = np.where(rows == columns, 0.0, together / np.sqrt(counts[rows] * counts[columns]))
    return _last(_by_rows(rows, columns, cosine, len(counts)), 1, 1.0)


def decayed_markov(transitions: Pairs, *, last: int, decay: float) -> Predictor:
    """Score an item by how often it came right after each of the last events, the older ones weighing less."""
    return _last(transitions, last, decay)


def _last(pairs: Pairs, last: int, decay: float) -> Predictor:
    weights = decay ** np.arange(last)

    def predict(histories: Histories) -> Tensor:
        recent = [history[-last:][::-1] for history in histories]
        return pairs.weighted_rows(recent, [weights[: len(each)] for each in recent])

    return predict
