"""How well scores of pairs agree with those that people gave, and whether a text's partner is found among others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def agreement(found_B: Scores, true_B: Scores, *, yes_no: bool = False) -> dict[str, float | None]:
    """Compare scores with the true ones, (B,) each, by scipy's correlations.

    Args:
        found_B: what a model says; for yes and no a probability.
        true_B: what is true; for yes and no 1 and 0.
        yes_no: whether they are yes and no.

    Returns:
        pearson and spearman (0 where all that was found is the same; left out where all that is true is),
        mean_squared_error, and for yes and no accuracy and f1 (of yes).
    """
    from scipy.stats import pearsonr, spearmanr  # type: ignore[import-untyped]

    metrics: dict[str, float | None] = {}
    if np.ptp(true_B) > 0:
        says_something = np.ptp(found_B) > 1e-9 * max(1.0, float(np.abs(found_B).max()))
        for name, correlation in (("pearson", pearsonr), ("spearman", spearmanr)):
            metrics[name] = float(correlation(found_B, true_B).statistic) if says_something else 0.0
    metrics["mean_squared_error"] = float(np.mean((found_B - true_B) ** 2))
    if yes_no:
        said, true = found_B >= 0.5, true_B >= 0.5
        both = int((said & true).sum())
        metrics["accuracy"] = float((said == true).mean())
        metrics["f1"] = 2 * both / max(1, int(said.sum()) + int(true.sum()))
    return metrics


def mean_reciprocal_rank(close_BN: NDArray[Any], partner_B: NDArray[np.int64]) -> float:
    """Return the mean of 1 / rank of each row's partner; among equals it gets the mean of the best and worst rank.

    Args:
        close_BN: how close each of B texts is to each of N.
        partner_B: which of the N belongs to each.
    """
    own_B1 = np.take_along_axis(close_BN, partner_B[:, None], 1)
    closer_B, equal_B = (close_BN > own_B1).sum(1), (close_BN == own_B1).sum(1) - 1
    return float(np.mean(1 / (1 + closer_B + equal_B / 2)))
