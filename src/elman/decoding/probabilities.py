"""Probabilities from the scores of a model: softmax, sigmoid, and a check for NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from elman.errors import NonFiniteError

Floats = NDArray[np.floating[Any]]


def softmax(logits_NC: Floats, temperature: float = 1.0) -> Floats:
    """Return the probabilities of classes that exclude each other, (N, C)."""
    scaled = np.asarray(logits_NC, np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(1, keepdims=True))
    share: Floats = exponentials / exponentials.sum(1, keepdims=True)
    return share


def sigmoid(logits: Floats, temperature: float = 1.0) -> Floats:
    """Return the probabilities of classes that do not exclude each other."""
    return 0.5 * (1 + np.tanh(np.asarray(logits, np.float64) / (2 * temperature)))


def refuse_nan(scores: Tensor) -> None:
    """Check that no score is NaN; infinity is allowed.

    Raises:
        NonFiniteError: a score is NaN.
    """
    if bool(scores.isnan().any()):
        raise NonFiniteError(
            "the model predicts no numbers",
            should="finite weights",
            found="a score that is NaN",
            hint="train again with a smaller learning rate",
        )
