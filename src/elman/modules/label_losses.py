"""Losses of labelled sequences: one class, several classes, a number, or a tag at each step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from elman.modules.softmax import IGNORE_INDEX

TargetLoss = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, int]]
"""(scores, target, class weights) -> the mean loss, and the number of targets."""


def class_loss(scores_BC: Tensor, target_B: Tensor, weight_C: Tensor | None) -> tuple[Tensor, int]:
    """Return the mean cross-entropy in nats, each example weighted by its class.

    The weights have mean 1 over the training examples, so that losses with and without them compare.
    """
    return functional.cross_entropy(scores_BC, target_B, weight_C, reduction="sum") / len(target_B), len(target_B)


def classes_loss(scores_BC: Tensor, target_BC: Tensor, weight_C: Tensor | None) -> tuple[Tensor, int]:
    """Return the mean binary cross-entropy in nats over examples and classes; the weights are of positive labels."""
    return functional.binary_cross_entropy_with_logits(scores_BC, target_BC, pos_weight=weight_C), len(target_BC)


def number_loss(scores_B1: Tensor, target_B: Tensor, weight_C: Tensor | None) -> tuple[Tensor, int]:
    """Return the mean squared error."""
    return functional.mse_loss(scores_B1[:, 0], target_B), len(target_B)


def tags_loss(scores_TBC: Tensor, target_TB: Tensor, weight_C: Tensor | None) -> tuple[Tensor, int]:
    """Return the mean cross-entropy in nats over the tags that are not IGNORE_INDEX."""
    count = int((target_TB != IGNORE_INDEX).sum())
    scores_NC, target_N = scores_TBC.flatten(0, 1), target_TB.flatten()
    total = functional.cross_entropy(scores_NC, target_N, weight_C, ignore_index=IGNORE_INDEX, reduction="sum")
    return total / max(1, count), count


TARGET_LOSSES: dict[str, TargetLoss] = {
    "class": class_loss,
    "classes": classes_loss,
    "number": number_loss,
    "tags": tags_loss,
}


def class_weights(counts: tuple[int, ...], balanced: bool) -> Tensor | None:
    """Return balanced class weights, (C,): inverse to the class frequencies, with mean 1 over the examples.

    King and Zeng 2001, "Logistic regression in rare events data".

    Args:
        counts: examples of each class in the training data.
        balanced: whether to weight the classes; if not, None is returned.
    """
    if not balanced or not counts:
        return None
    count_C = torch.tensor(counts, dtype=torch.float32)
    return count_C.sum() / (len(counts) * count_C)
