"""The classifier and its losses: an input layer, recurrent layers, and scores for the sequence or for each step.

e_t = input layer (x_t)
s_t = recurrent layers (e_t, s_{t-1})
scores = V pool(s_1 .. s_T) + c,  or V s_t + c at each step
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import SettingError
from elman.modules.recurrent_stack import RecurrentStack
from elman.modules.softmax import IGNORE_INDEX


class Classifier(nn.Module):
    """Sequence classifier, regressor or tagger: sequences -> scores, before the softmax or sigmoid.

    Args:
        input_layer: (batch, lengths) -> (T, B, F), as `elman.modules.input_layers.build_input_layer` returns.
        encoder: the recurrent layers and the pooling.
        outputs: C, number of scores.
        per_step: whether each step has scores, instead of the sequence.
    """

    def __init__(self, input_layer: Any, encoder: RecurrentStack, outputs: int, *, per_step: bool = False) -> None:
        super().__init__()
        self.front, self.encoder, self.per_step = input_layer, encoder, per_step
        self.output = nn.Linear(encoder.output_size, outputs)

    def forward(self, x: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Return the scores, (B, C), or (T, B, C) for each step, of inputs (T, B, ...).

        `lengths_B` is None if all have T steps.
        """
        pooled_BF, y_TBF = self.encoder(self.front(x, lengths_B), lengths_B)
        scores: Tensor = self.output(y_TBF if self.per_step else pooled_BF)
        return scores

    @torch.no_grad()
    def stream(self, steps: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the scores (1, C) after each step of one sequence, as if it ended there, in constant memory.

        Raises:
            SettingError: the layers are bidirectional.
        """
        encoder: Any = self.encoder
        if encoder.recurrent.bidirectional:
            raise SettingError(
                "a bidirectional model cannot stream",
                should="bidirectional=false",
                found="bidirectional=true, whose scores depend on all later steps",
                hint="train with --set bidirectional=false",
            )
        state, pooling_state = None, None
        for step in steps:
            y_BF, state = encoder.recurrent.step(self.front(step[None, None])[0], state)
            pooled_BF, pooling_state = encoder.pooling.step(y_BF, pooling_state)
            yield self.output(y_BF if self.per_step else pooled_BF)


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


def class_weights(counts: tuple[int, ...], balanced: bool, device: torch.device | str = "cpu") -> Tensor | None:
    """Return balanced class weights, (C,): inverse to the class frequencies, with mean 1 over the examples.

    King and Zeng 2001, "Logistic regression in rare events data".

    Args:
        counts: examples of each class in the training data.
        balanced: whether to weight the classes; if not, None is returned.
        device: of the weights.
    """
    if not balanced or not counts:
        return None
    count_C = torch.tensor(counts, dtype=torch.float32)
    return (count_C.sum() / (len(counts) * count_C)).to(device)
