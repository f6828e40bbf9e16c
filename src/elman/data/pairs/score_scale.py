"""The range of the scores of a run, and its mapping to 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from elman.data.pairs.readers import ScoredPair
from elman.errors import DataError
from elman.storage.files import checked_json, read_checked

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ScoreScale:
    """From the lowest to the highest score of the training data; models see 0 to 1.

    Attributes:
        low: the lowest score.
        high: the highest score.
        yes_no: all scores are 0 or 1; a score is then the probability of yes.
    """

    low: float
    high: float
    yes_no: bool

    @classmethod
    def fit(cls, training: Sequence[ScoredPair], validation: Sequence[ScoredPair]) -> ScoreScale:
        """Fit the scale to all training pairs, and check that the validation pairs can be evaluated on it.

        Raises:
            DataError: a part has one score only, or the validation pairs have scores of another kind.
        """
        low, high, yes_no = math.inf, -math.inf, True
        for pair in training:
            low, high = min(low, pair.score), max(high, pair.score)
            yes_no = yes_no and pair.score in (0.0, 1.0)
        if not low < high:
            raise DataError(
                "all pairs have the same score, so there is nothing to learn",
                should="at least two different scores in the training part",
                found=f"{len(training)} pairs with the score {low:g}",
                hint="more data, or another column: --set score_column=NAME",
            )
        scale = cls(low, high, yes_no)
        scale.check(validation)
        if len({pair.score for pair in validation}) < 2:
            raise DataError(
                "all validation pairs have the same score, with which nothing correlates",
                should="at least two different scores in the validation part",
                found=f"{len(validation)} pairs with the score {validation[0].score:g}",
                hint="other or more validation data: --set validation_data=FILE or --set validation=0.2",
            )
        return scale

    def check(self, pairs: Sequence[ScoredPair]) -> None:
        """Check that pairs for an evaluation have scores of the same kind.

        Raises:
            DataError: the run has yes and no only, and they have other scores.
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
        return self.low + (self.high - self.low) * unit_B.double()

    @classmethod
    def open(cls, folder: Path) -> ScoreScale:
        """Read the scale from scale.json.

        Raises:
            RunError: the file is missing or broken.
        """

        def parse(content: bytes) -> ScoreScale:
            fields = checked_json(content)
            low, high, yes_no = float(fields["low"]), float(fields["high"]), fields["yes_no"]
            if not (-math.inf < low < high < math.inf and isinstance(yes_no, bool)):
                raise ValueError(f"from {low} to {high}")
            return cls(low, high, yes_no)

        scale: ScoreScale = read_checked(folder / "scale.json", "the scale of the scores", parse)
        return scale

    def __str__(self) -> str:
        return "yes and no" if self.yes_no else f"{self.low:g} to {self.high:g}"
