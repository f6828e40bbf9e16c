"""The losses of sequences with labels: one class, several classes, a number, or a tag at each step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from elman.modules.softmax import IGNORED

TargetLoss = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, int]]
"""(scores, target, weights of the classes) -> the mean loss, and how many it is the mean of."""


def class_loss(scores_BC: Tensor, target_B: Tensor, weight_C: Tensor | None) -> tuple[Tensor, int]:
    """Return the cross-entropy in nats; with weights, the mean over the examples of theirs times the loss.

    The weights have the mean 1 over the training part, so the loss stays comparable.
    """
    return functional.cross_entropy(scores_BC, target_B, weight_C, reduction="sum") / len(target_B), len(target_B)


def classes_loss(scores_BC: Tensor, target_BC: Tensor, weight_C: Tensor | None) -> tuple[Tensor, int]:
    """Return the binary cross-entropy in nats, the mean over examples and classes; weights are for those that hold."""
    return functional.binary_cross_entropy_with_logits(scores_BC, target_BC, pos_weight=weight_C), len(target_BC)


def number_loss(scores_B1: Tensor, target_B: Tensor, weight_C: Tensor | None) -> tuple[Tensor, int]:
    """Return the mean squared error."""
    return functional.mse_loss(scores_B1[:, 0], target_B), len(target_B)


def tags_loss(scores_TBC: Tensor, target_TB: Tensor, weight_C: Tensor | None) -> tuple[Tensor, int]:
    """Return the cross-entropy in nats over the steps whose tag counts."""
    count = int((target_TB != IGNORED).sum())
    scores_NC, target_N = scores_TBC.flatten(0, 1), target_TB.flatten()
    total = functional.cross_entropy(scores_NC, target_N, weight_C, ignore_index=IGNORED, reduction="sum")
    return total / max(1, count), count


TARGET_LOSSES: dict[str, TargetLoss] = {
    "class": class_loss,
    "classes": classes_loss,
    "number": number_loss,
    "tags": tags_loss,
}


def class_weights(counts: tuple[int, ...], balanced: bool) -> Tensor | None:
    """Return a weight for each class, in inverse proportion to how often it stands in the training part.

    Their mean over the training examples is 1 (King and Zeng 2001, "Logistic regression in rare events data").
    """
    if not balanced or not counts:
        return None
    counted = torch.tensor(counts, dtype=torch.float32)
    return counted.sum() / (len(counts) * counted)
