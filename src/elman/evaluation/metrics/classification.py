"""Classification metrics: accuracy, F1, confusion matrix, log loss and calibration error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.decoding.probabilities import Floats, sigmoid, softmax
from elman.evaluation.metrics.calibration import calibration_error
from elman.evaluation.result import Metrics

Integers = NDArray[np.integer[Any]]
MIN_PROBABILITY = 1e-12  # in a logarithm


def single_label_metrics(logits_NC: Floats, target_N: Integers, temperature: float = 1.0) -> Metrics:
    """Return the metrics of examples with one class each.

    Args:
        logits_NC: before the softmax.
        target_N: the true classes.
        temperature: the logits are divided by it.

    Returns:
        accuracy, macro_f1 (the mean over the classes that are true or predicted at least once), nats (log loss: the
        mean of -log p of the true class), calibration_error (expected, 0 to 1), and examples.
    """
    probability_NC = softmax(logits_NC, temperature)
    predicted_N = probability_NC.argmax(1)
    table_CC = confusion_matrix(predicted_N, target_N, logits_NC.shape[1])
    own_N = probability_NC[np.arange(len(target_N)), target_N]
    return {
        "accuracy": float((predicted_N == target_N).mean()),
        "macro_f1": mean_f1(np.diag(table_CC), table_CC.sum(0), table_CC.sum(1)),
        "nats": float(np.log(1 / np.maximum(own_N, MIN_PROBABILITY)).mean()),
        "calibration_error": calibration_error(probability_NC.max(1), predicted_N == target_N),
        "examples": len(target_N),
    }


def multi_label_metrics(logits_NC: Floats, target_NC: NDArray[Any], temperature: float = 1.0) -> Metrics:
    """Return the metrics of examples with any number of classes each; p > 1/2 predicts a class.

    Args:
        logits_NC: before the sigmoid.
        target_NC: 1 for a true class.
        temperature: the logits are divided by it.

    Returns:
        accuracy (the share of examples with all classes correct), macro_f1, nats (mean of -log p over examples and
        classes), calibration_error (of all decisions), and examples.
    """
    true_NC = np.asarray(target_NC) > 0
    probability_NC = sigmoid(logits_NC, temperature)
    predicted_NC = probability_NC > 0.5
    own_NC = np.where(true_NC, probability_NC, 1 - probability_NC)
    hits, predicted, true = (a.sum(0) for a in (predicted_NC & true_NC, predicted_NC, true_NC))
    return {
        "accuracy": float((predicted_NC == true_NC).all(1).mean()),
        "macro_f1": mean_f1(hits, predicted, true),
        "nats": float(np.log(1 / np.maximum(own_NC, MIN_PROBABILITY)).mean()),
        "calibration_error": calibration_error(
            np.maximum(probability_NC, 1 - probability_NC).ravel(), (predicted_NC == true_NC).ravel()
        ),
        "examples": len(true_NC),
    }


def confusion_matrix(predicted_N: Integers, target_N: Integers, classes: int) -> Integers:
    """Return how often each true class (row) was predicted as each class (column), (C, C)."""
    return np.bincount(target_N * classes + predicted_N, minlength=classes * classes).reshape(classes, classes)


def mean_f1(hits_C: NDArray[Any], predicted_C: NDArray[Any], true_C: NDArray[Any]) -> float:
    """Return the mean of F1, 2 hits / (predicted + true), over the classes that are predicted or true at least once."""
    known = predicted_C + true_C > 0
    return float((2 * hits_C[known] / (predicted_C + true_C)[known]).mean()) if known.any() else 0.0


def prior_logits(counts: tuple[int, ...], rows: int) -> Floats:
    """Return the logits of the class frequencies of the training part, (rows, C)."""
    return np.tile(np.log(np.asarray(counts) / sum(counts)), (rows, 1))
