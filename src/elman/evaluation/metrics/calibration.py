"""Calibration of probabilities: temperature scaling, and the expected calibration error.

Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural networks", https://arxiv.org/abs/1706.04599.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.decoding.probabilities import Floats, softmax

BINS = 15
LOWEST, HIGHEST = 0.05, 20.0  # temperature; the best one for few examples, all correct, is 0


def fit_temperature(logits_NC: Floats, target_N: NDArray[np.integer[Any]]) -> float:
    """Return the temperature with the highest likelihood of the targets; the logits are divided by it.

    The negative log-likelihood is convex in the inverse temperature b. Its derivative is the sum over the examples of
    the expected logit under softmax(b z) minus the target's logit; its zero is found by bisection.

    Args:
        logits_NC: before the softmax, of held-out examples.
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


def calibration_error(confidence_N: Floats, correct_N: NDArray[np.bool_], bins: int = BINS) -> float:
    """Return the expected calibration error, 0 to 1; NaN if a probability is.

    Examples are put into bins of equal width by their confidence. The error is the mean over the examples of the
    absolute difference between the mean confidence and the accuracy in their bin.

    Args:
        confidence_N: the probabilities of the predictions.
        correct_N: whether they are correct.
        bins: how many.
    """
    if not np.isfinite(confidence_N).all():
        return float("nan")
    bin_N = np.minimum((np.asarray(confidence_N) * bins).astype(int), bins - 1)
    confident = np.bincount(bin_N, confidence_N, bins)
    correct = np.bincount(bin_N, np.asarray(correct_N, float), bins)
    return float(np.abs(confident - correct).sum() / max(1, len(bin_N)))
