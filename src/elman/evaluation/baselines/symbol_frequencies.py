"""Unigram and bigram baselines of text.

    unigram:  p(v)     = (n(v) + 1) / (N + V)
    bigram:   p(v | u) = (n(u, v) + p(v)) / (n(u) + 1)

n counts in the training text. The first is Laplace smoothing; the second has the first as its Dirichlet prior of
strength 1 (MacKay & Peto 1995, "A hierarchical Dirichlet language model"). Both sum to 1 over v, so their nats are
comparable with a model's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.text.token_file import TokenFile
from elman.evaluation.metrics.perplexity import perplexity_metrics
from elman.evaluation.result import Metrics

MAX_SYMBOLS = 10_000_000
"""Symbols of the training text, from its beginning, that are counted."""

_AT_ONCE = 1 << 20


def text_baselines(
    training: TokenFile, text: TokenFile, *, characters: int | None = None, unscored: int | None = None
) -> dict[str, Metrics]:
    """Return the metrics of both baselines on a text, by their names, on the symbols that `perplexity` predicts.

    Args:
        training: the text whose symbols are counted.
        text: the text to predict, of the same vocabulary, except each document's first symbol.
        characters: as in `perplexity`.
        unscored: as in `perplexity`.
    """
    symbols = training.vocabulary_size
    size = max(symbols, text.vocabulary_size)  # one more where some are unknown
    scored = _pairs(text, 0, len(text), size)
    bigrams, place = np.unique(scored[scored % size != unscored], return_inverse=True)  # u * V + v in 64 bits
    single, double = np.zeros(size), np.zeros(len(bigrams))
    before = np.zeros(size)  # how often a symbol has a successor
    end = min(len(training), MAX_SYMBOLS)
    for begin in range(0, end, _AT_ONCE):
        stop = min(begin + _AT_ONCE, end)
        single += np.bincount(training.token_ids[begin:stop], minlength=size)
        pairs = _pairs(training, begin, min(stop + 1, end), size)
        before += np.bincount(pairs // size, minlength=size)
        index = np.searchsorted(bigrams, pairs)
        known = index[bigrams[np.minimum(index, len(bigrams) - 1)] == pairs] if len(bigrams) else index[:0]
        double += np.bincount(known, minlength=len(bigrams))
    p_V = (single + 1) / (end + symbols)
    u, v = bigrams // size, bigrams % size
    p_pair = (double + p_V[v]) / (before[u] + 1)
    nats = {"unigram": -np.log(p_V[v])[place].sum(), "bigram": -np.log(p_pair)[place].sum()}
    return {name: perplexity_metrics(float(number), len(place), characters) for name, number in nats.items()}


def _pairs(text: TokenFile, begin: int, end: int, size: int) -> NDArray[np.int64]:
    """Return each symbol with the next one as u * V + v, if both are of one document."""
    ids: Any = text.token_ids[begin:end].astype(np.int64)
    starts = text.document_starts[(text.document_starts > begin) & (text.document_starts < end)] - begin
    inside = np.ones(max(0, len(ids) - 1), bool)
    inside[starts - 1] = False
    pairs: NDArray[np.int64] = ids[:-1] * size + ids[1:]
    return pairs[inside]
