"""The scale that a run's scores are on, and what its training data say about trivial predictors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from elman.data.pairs.readers import ScoredPair
from elman.errors import DataError
from elman.evaluation.baselines.word_overlap import OverlapBaselines
from elman.storage.files import checked_json, read_checked, write_json


@dataclass(frozen=True)
class ScoreScale:
    """From the lowest to the highest score of the training data; models see 0 to 1.

    Attributes:
        low, high: the ends.
        yes_no: the scores are 0 and 1 and nothing between: a score is then the probability of yes.
        trivial: the trivial predictors, fitted to the training data.
    """

    low: float
    high: float
    yes_no: bool
    trivial: OverlapBaselines

    @classmethod
    def of(cls, pairs: Sequence[ScoredPair]) -> ScoreScale:
        """Look at all training pairs.

        Raises:
            DataError: they have one score only.
        """
        low, high, yes_no = math.inf, -math.inf, True
        for pair in pairs:
            low, high = min(low, pair.score), max(high, pair.score)
            yes_no = yes_no and pair.score in (0.0, 1.0)
        if not low < high:
            raise DataError(
                "all pairs have the same score, so there is nothing to learn",
                should="at least two different scores in the training part",
                found=f"{len(pairs)} pairs with the score {low:g}",
                hint="more data, or another column: --set score=NAME",
            )
        return cls(low, high, yes_no, OverlapBaselines.fit(pairs))

    def check(self, pairs: Sequence[ScoredPair]) -> None:
        """Check pairs that are to be judged.

        Raises:
            DataError: the run knows yes and no only, and they have other scores.
        """
        wrong = next((pair for pair in pairs if pair.score not in (0.0, 1.0)), None) if self.yes_no else None
        if wrong is not None:
            raise DataError(
                "the training pairs say yes or no, and these have scores",
                should="yes and no, or 1 and 0",
                found=f"{wrong.score:g} for {wrong.first[:30]!r} and {wrong.second[:30]!r}",
                hint="other data, or a run that was trained with scores",
            )

    def to_unit(self, score_B: Tensor) -> Tensor:
        """Return scores as 0 to 1."""
        return ((score_B - self.low) / (self.high - self.low)).clamp(0, 1)

    def from_unit(self, unit_B: Tensor) -> Tensor:
        """Return 0 to 1 as scores, in double precision."""
        return self.low + (self.high - self.low) * unit_B.to(torch.float64)

    def save(self, folder: Path) -> None:
        """Write scale.json."""
        write_json(folder / "scale.json", asdict(self))

    @classmethod
    def open(cls, folder: Path) -> ScoreScale:
        """Read what `save` wrote.

        Raises:
            RunError: the file is missing or broken.
        """

        def understand(content: bytes) -> ScoreScale:
            fields = checked_json(content)
            low, high, yes_no = float(fields["low"]), float(fields["high"]), fields["yes_no"]
            trivial = OverlapBaselines(**{name: float(value) for name, value in fields["trivial"].items()})
            numbers = (low, high, *asdict(trivial).values())
            if not (all(map(math.isfinite, numbers)) and low < high and isinstance(yes_no, bool)):
                raise ValueError(f"from {low} to {high}, {trivial}")
            return cls(low, high, yes_no, trivial)

        found: ScoreScale = read_checked(folder / "scale.json", "the scale of the scores", understand)
        return found


def refuse_one_score(pairs: Sequence[ScoredPair]) -> None:
    """Check that pairs for validation can say what is best.

    Raises:
        DataError: they have one score only, with which nothing correlates.
    """
    if len({pair.score for pair in pairs}) < 2:
        raise DataError(
            "all validation pairs have the same score, with which nothing correlates",
            should="at least two different scores in the validation part",
            found=f"{len(pairs)} pairs with the score {pairs[0].score:g}",
            hint="other or more validation data: --set validation_data=FILE or --set validation=0.2",
        )
