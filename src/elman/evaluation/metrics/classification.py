"""How well classes are told: accuracy, F1, confusion, and the cost of the probabilities in nats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.decoding.probabilities import sigmoid, softmax
from elman.evaluation.metrics.calibration import calibration_error

Floats = NDArray[np.floating[Any]]
Whole = NDArray[np.integer[Any]]
LEAST = 1e-12  # of a probability whose logarithm is taken


def class_metrics(logits_NC: Floats, target_N: Whole, temperature: float = 1.0) -> dict[str, float | None]:
    """Judge answers of one class each.

    Args:
        logits_NC: before the softmax.
        target_N: the classes that are right.
        temperature: what the logits are divided by.

    Returns:
        accuracy, macro_f1 (the mean over the classes that stand in target or answer), nats (mean of -log p of the
        right class), calibration_error (expected, 0 to 1), and examples.
    """
    probability_NC = softmax(logits_NC, temperature)
    answer_N = probability_NC.argmax(1)
    own_N = probability_NC[np.arange(len(target_N)), target_N]
    return {
        "accuracy": float((answer_N == target_N).mean()),
        "macro_f1": macro_f1(confusion(answer_N, target_N, logits_NC.shape[1])),
        "nats": float(np.log(1 / np.maximum(own_N, LEAST)).mean()),
        "calibration_error": calibration_error(probability_NC.max(1), answer_N == target_N),
        "examples": len(target_N),
    }


def classes_metrics(logits_NC: Floats, target_NC: NDArray[Any], temperature: float = 1.0) -> dict[str, float | None]:
    """Judge answers of any number of classes each; a class is answered where its probability is above one half.

    Returns:
        accuracy (the share of examples all of whose classes are right), macro_f1, nats (mean of -log p over examples
        and classes), calibration_error (of all decisions), and examples.
    """
    held_NC = np.asarray(target_NC) > 0
    probability_NC = sigmoid(logits_NC, temperature)
    answer_NC = probability_NC > 0.5
    own_NC = np.where(held_NC, probability_NC, 1 - probability_NC)
    hits, answered, held = (a.sum(0) for a in (answer_NC & held_NC, answer_NC, held_NC))
    return {
        "accuracy": float((answer_NC == held_NC).all(1).mean()),
        "macro_f1": f1_mean(hits, answered, held),
        "nats": float(np.log(1 / np.maximum(own_NC, LEAST)).mean()),
        "calibration_error": calibration_error(
            np.maximum(probability_NC, 1 - probability_NC).ravel(), (answer_NC == held_NC).ravel()
        ),
        "examples": len(held_NC),
    }


def confusion(answer_N: Whole, target_N: Whole, classes: int) -> Whole:
    """Return how often each class (row) was answered as each (column), (C, C)."""
    return np.bincount(target_N * classes + answer_N, minlength=classes * classes).reshape(classes, classes)


def macro_f1(table_CC: Whole) -> float:
    """Return the mean over the classes of F1, the harmonic mean of precision and recall."""
    return f1_mean(np.diag(table_CC), table_CC.sum(0), table_CC.sum(1))


def f1_mean(hits_C: NDArray[Any], answered_C: NDArray[Any], held_C: NDArray[Any]) -> float:
    """Return the mean of 2 hits / (answered + held) over the classes that were answered or held at all."""
    known = answered_C + held_C > 0
    return float((2 * hits_C[known] / (answered_C + held_C)[known]).mean()) if known.any() else 0.0


def prior_logits(counts: tuple[int, ...], rows: int) -> Floats:
    """Return what a predictor says that knows only how often each class stands in the training part, (rows, C)."""
    return np.tile(np.log(np.asarray(counts) / sum(counts)), (rows, 1))
