"""Word-overlap and mean-score baselines of text similarity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elman.data.pairs.dataset import PairDataset
from elman.data.pairs.readers import ScoredPair
from elman.data.pairs.score_scale import ScoreScale
from elman.data.text.subwords import split_sentence
from elman.evaluation.metrics.agreement import agreement, partner_rank
from elman.evaluation.result import Metrics
from elman.storage.files import checked_json, read_checked


def dice(first: set[str], second: set[str]) -> float:
    """Return Dice's coefficient of two sets: 1 for equal ones, 0 for nothing in common."""
    return 2 * len(first & second) / max(1, len(first) + len(second))


def shared_words(first: str, second: str) -> float:
    """Return Dice's coefficient of the different words of two texts."""
    return dice(set(split_sentence(first)), set(split_sentence(second)))


@dataclass(frozen=True)
class OverlapBaselines:
    """The mean of the training scores, and the straight line from shared words to scores that fits them best.

    Attributes:
        mean: the mean score.
        slope: the slope of the line.
        start: the score at no word in common.
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

    @classmethod
    def open(cls, folder: Path) -> OverlapBaselines:
        """Read the baselines from scale.json, where they are under the key "trivial".

        Raises:
            RunError: the file is missing or broken.
        """

        def parse(content: bytes) -> OverlapBaselines:
            fields = checked_json(content)["trivial"]
            numbers = {name: float(value) for name, value in fields.items()}
            if not all(map(math.isfinite, numbers.values())):
                raise ValueError(str(numbers))
            return cls(**numbers)

        baselines: OverlapBaselines = read_checked(folder / "scale.json", "the baselines of the scores", parse)
        return baselines

    def metrics(self, pairs: PairDataset, scale: ScoreScale) -> dict[str, Metrics]:
        """Return the metrics of both baselines on pairs, by their names."""
        true_B = pairs.scores()
        shared_B = np.array([shared_words(pair.first, pair.second) for pair in pairs])
        overlap = agreement(self.start + self.slope * shared_B, true_B, yes_no=scale.yes_no)
        mean = agreement(np.full(len(true_B), self.mean), true_B, yes_no=scale.yes_no)
        uncorrelated = {name: value for name, value in mean.items() if name not in ("pearson", "spearman")}
        return {"word overlap": {**overlap, **partner_rank(pairs, scale, shared_matrix)}, "mean score": uncorrelated}


def shared_matrix(queries: Sequence[str], candidates: Sequence[str]) -> NDArray[np.float64]:
    """Return Dice's coefficient of the words of each query and each candidate, (queries, candidates)."""
    query_sets, candidate_sets = ([set(split_sentence(text)) for text in texts] for texts in (queries, candidates))
    return np.array([[dice(query, candidate) for candidate in candidate_sets] for query in query_sets])
