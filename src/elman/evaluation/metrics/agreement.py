"""Agreement of predicted and true scores of pairs: correlations, errors, and the rank of the true partner."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.pairs.readers import ScoredPair
from elman.data.pairs.score_scale import ScoreScale

Scores = NDArray[np.float64]

MAX_RANKED = 1000  # pairs among whose second texts partners are searched
PARTNER = 0.8  # of the scale: the score from which on two texts are partners


def agreement(predicted_B: Scores, true_B: Scores, *, yes_no: bool = False) -> dict[str, float | None]:
    """Compare predicted scores with the true ones, (B,) each, by scipy's correlations.

    Args:
        predicted_B: the scores of a model; for yes and no a probability.
        true_B: the scores that people gave; for yes and no 1 and 0.
        yes_no: whether they are yes and no.

    Returns:
        pearson and spearman (0 if all predictions are equal; absent if all true scores are), mse, and for yes and no
        accuracy and f1 (of yes).
    """
    from scipy.stats import pearsonr, spearmanr  # type: ignore[import-untyped]

    metrics: dict[str, float | None] = {}
    if np.ptp(true_B) > 0:
        varies = np.ptp(predicted_B) > 1e-9 * max(1.0, float(np.abs(predicted_B).max()))
        for name, correlation in (("pearson", pearsonr), ("spearman", spearmanr)):
            metrics[name] = float(correlation(predicted_B, true_B).statistic) if varies else 0.0
    metrics["mse"] = float(np.mean((predicted_B - true_B) ** 2))
    if yes_no:
        predicted, true = predicted_B >= 0.5, true_B >= 0.5
        both = int((predicted & true).sum())
        metrics["accuracy"] = float((predicted == true).mean())
        metrics["f1"] = 2 * both / max(1, int(predicted.sum()) + int(true.sum()))
    return metrics


def partner_rank(
    pairs: Iterable[ScoredPair], scale: ScoreScale, vector_similarity: Callable[[list[str], list[str]], NDArray[Any]]
) -> dict[str, float]:
    """Return the mean reciprocal rank of the partners of texts, by the name of the metric; empty without partners.

    Of the first `MAX_RANKED` pairs those in the upper fifth of the scale are used: the second text of each is searched
    among the different second texts of all of them.

    Args:
        pairs: the pairs with their true scores.
        scale: the range of the scores.
        vector_similarity: (queries, candidates) -> the similarity of each two, (queries, candidates).
    """
    used = list(islice(pairs, MAX_RANKED))
    number_of = {text: n for n, text in enumerate(dict.fromkeys(pair.second for pair in used))}
    partners = [pair for pair in used if pair.score >= scale.low + PARTNER * (scale.high - scale.low)]
    if not partners:
        return {}
    similarity_BN = vector_similarity([pair.first for pair in partners], list(number_of))
    partner_B = np.array([number_of[pair.second] for pair in partners])
    return {"mean_reciprocal_rank": mean_reciprocal_rank(similarity_BN, partner_B)}


def mean_reciprocal_rank(similarity_BN: NDArray[Any], partner_B: NDArray[np.int64]) -> float:
    """Return the mean of 1 / rank of each row's partner; among equals it gets the mean of the best and worst rank.

    Args:
        similarity_BN: the similarity of each of B texts to each of N.
        partner_B: the number of each text's partner among the N.
    """
    own_B1 = np.take_along_axis(similarity_BN, partner_B[:, None], 1)
    closer_B, equal_B = (similarity_BN > own_B1).sum(1), (similarity_BN == own_B1).sum(1) - 1
    return float(np.mean(1 / (1 + closer_B + equal_B / 2)))
