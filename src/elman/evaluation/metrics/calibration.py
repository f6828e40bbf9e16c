"""Probabilities that mean what they say: temperature scaling, and how far off they are.

Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural networks", https://arxiv.org/abs/1706.04599.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.decoding.probabilities import Floats, softmax

BINS = 15
LOWEST, HIGHEST = 0.05, 20.0  # temperature; few examples, all of them right, would ask for zero


def fit_temperature(logits_NC: Floats, target_N: NDArray[np.integer[Any]]) -> float:
    """Return the temperature by which the logits are divided so that the targets are most likely.

    The negative log-likelihood is convex in the inverse temperature b, and its derivative is the sum over the examples
    of (the expected logit under softmax(b z)) less (the target's logit); its zero is found by halving.

    Args:
        logits_NC: before the softmax, of examples that were not trained on.
        target_N: their classes.
    """
    logits = np.asarray(logits_NC, np.float64)
    own = logits[np.arange(len(logits)), target_N].sum()

    def derivative(inverse: float) -> float:
        return float((softmax(logits, 1 / inverse) * logits).sum() - own)

    low, high = 1 / HIGHEST, 1 / LOWEST
    if derivative(high) <= 0:
        return LOWEST
    if derivative(low) >= 0:
        return HIGHEST
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if derivative(middle) > 0 else (middle, high)
    return float((low * high) ** -0.5)


def calibration_error(confidence_N: Floats, right_N: NDArray[np.bool_], bins: int = BINS) -> float:
    """Return the expected calibration error: how far confidence is from the share that is right, 0 to 1.

    Examples are sorted into bins of equal width by their confidence; the error is the mean over the examples of the
    distance between the mean confidence and the share of right answers in their bin.
    """
    place_N = np.minimum((np.asarray(confidence_N) * bins).astype(int), bins - 1)
    confident = np.bincount(place_N, confidence_N, bins)
    right = np.bincount(place_N, np.asarray(right_N, float), bins)
    return float(np.abs(confident - right).sum() / max(1, len(place_N)))
