"""Probabilities from the scores of a model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from elman.errors import NonFiniteError

Floats = NDArray[np.floating[Any]]


def softmax(logits_NC: Floats, temperature: float = 1.0) -> Floats:
    """Return the probabilities, (N, C)."""
    scaled = np.asarray(logits_NC, np.float64) / temperature
    risen = np.exp(scaled - scaled.max(1, keepdims=True))
    share: Floats = risen / risen.sum(1, keepdims=True)
    return share


def sigmoid(logits: Floats, temperature: float = 1.0) -> Floats:
    """Return the probabilities of classes that do not exclude each other."""
    return 0.5 * (1 + np.tanh(np.asarray(logits, np.float64) / (2 * temperature)))


def refuse_nan(scores: Tensor) -> None:
    """Check that all scores are numbers; infinity is one.

    Raises:
        NonFiniteError: one is not.
    """
    if bool(scores.isnan().any()):
        raise NonFiniteError(
            "the model predicts no numbers",
            should="finite weights",
            found="a score that is not a number",
            hint="train anew, with a smaller learning rate",
        )
