"""The trivial predictors of likeness: how many words two texts share, and the mean of all scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elman.data.pairs.readers import ScoredPair
from elman.data.text.subwords import split_sentence
from elman.evaluation.metrics.agreement import Scores, agreement, mean_reciprocal_rank


def shared_words(first: str, second: str) -> float:
    """Return Dice's coefficient of the different words of two texts: 1 for the same words, 0 for none in common."""
    one, other = set(split_sentence(first)), set(split_sentence(second))
    return 2 * len(one & other) / max(1, len(one) + len(other))


@dataclass(frozen=True)
class OverlapBaselines:
    """The mean of the training scores, and the straight line from shared words to scores that fits them best.

    Attributes:
        mean: of the scores.
        slope: of the line.
        start: where the line begins, at no word in common.
    """

    mean: float
    slope: float
    start: float

    @classmethod
    def fit(cls, pairs: Iterable[ScoredPair]) -> OverlapBaselines:
        """Fit to training pairs by least squares, in constant memory."""
        sums = np.zeros(5)
        for pair in pairs:
            x, y = shared_words(pair.first, pair.second), pair.score
            sums += (1, x, y, x * x, x * y)
        n, x, y, xx, xy = sums
        spread = n * xx - x * x
        slope = float((n * xy - x * y) / spread) if spread > 1e-9 * n * n else 0.0
        return cls(float(y / n), slope, float((y - slope * x) / n))

    def metrics(
        self, pairs: Sequence[ScoredPair], true_B: Scores, *, yes_no: bool
    ) -> dict[str, dict[str, float | None]]:
        """Return what both get on pairs, by the names that the table of results has for them."""
        shared_B = np.array([shared_words(pair.first, pair.second) for pair in pairs])
        mean = agreement(np.full(len(true_B), self.mean), true_B, yes_no=yes_no)
        return {
            "word overlap": agreement(self.start + self.slope * shared_B, true_B, yes_no=yes_no),
            "mean score": {name: value for name, value in mean.items() if name not in ("pearson", "spearman")},
        }


def shared_rank(firsts: Sequence[str], others: Sequence[str], partner_B: NDArray[np.int64]) -> float:
    """Return the mean reciprocal rank of each text's partner among others, the one with most words in common first."""
    sets = [set(split_sentence(text)) for text in others]
    rows = []
    for text in firsts:
        one = set(split_sentence(text))
        rows.append([2 * len(one & other) / max(1, len(one) + len(other)) for other in sets])
    return mean_reciprocal_rank(np.array(rows), partner_B)
