"""What counting alone predicts of a text: the frequencies of symbols, and of pairs of them.

    frequencies:  p(v)     = (n(v) + 1) / (N + V)
    pairs:        p(v | u) = (n(u, v) + p(v)) / (n(u) + 1)

n counts in the training text. The first is Laplace's rule; the second leans on the first as if it had seen one more
symbol after each u (the Dirichlet prior of MacKay & Peto 1995, "A hierarchical Dirichlet language model", of strength
1). Both sums over v are 1, so their nats stand beside a model's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.text.token_file import TokenFile
from elman.evaluation.metrics.perplexity import summary

MOST = 10_000_000
"""Symbols of the training text, from its beginning, that are counted."""

_AT_ONCE = 1 << 20


def text_baselines(
    training: TokenFile, text: TokenFile, *, characters: int | None = None
) -> dict[str, dict[str, float | None]]:
    """Return the metrics of both predictors on a text, by their names; they judge what `perplexity` judges.

    Args:
        training: what is counted.
        text: what is predicted, each document's first symbol left out; of the same vocabulary.
        characters: as in `perplexity`.
    """
    size = training.vocabulary_size
    wanted, place = np.unique(_pairs(text, 0, len(text)), return_inverse=True)  # u * V + v, which 64 bits hold
    single, double = np.zeros(size), np.zeros(len(wanted))
    before = np.zeros(size)  # how often a symbol has one behind it
    end = min(len(training), MOST)
    for begin in range(0, end, _AT_ONCE):
        stop = min(begin + _AT_ONCE, end)
        single += np.bincount(training.token_ids[begin:stop], minlength=size)
        pairs = _pairs(training, begin, min(stop + 1, end))
        before += np.bincount(pairs // size, minlength=size)
        found = np.searchsorted(wanted, pairs)
        known = found[wanted[np.minimum(found, len(wanted) - 1)] == pairs] if len(wanted) else found[:0]
        double += np.bincount(known, minlength=len(wanted))
    p_V = (single + 1) / (end + size)
    u, v = wanted // size, wanted % size
    p_pair = (double + p_V[v]) / (before[u] + 1)
    nats = {"frequencies": -np.log(p_V[v])[place].sum(), "pairs": -np.log(p_pair)[place].sum()}
    return {name: summary(float(number), len(place), characters) for name, number in nats.items()}


def _pairs(text: TokenFile, begin: int, end: int) -> NDArray[np.int64]:
    """Return each symbol with the next one as u * V + v, where both are of one document."""
    ids: Any = text.token_ids[begin:end].astype(np.int64)
    starts = text.document_starts[(text.document_starts > begin) & (text.document_starts < end)] - begin
    inside = np.ones(max(0, len(ids) - 1), bool)
    inside[starts - 1] = False
    pairs: NDArray[np.int64] = ids[:-1] * text.vocabulary_size + ids[1:]
    return pairs[inside]
