"""The classifier: a front for each step, recurrent layers, and an answer for the sequence or for each step.

e_t = front(x_t)
s_t = recurrent layers (e_t, s_{t-1})
answer = V pool(s_1 .. s_T) + c,  or V s_t + c at each step
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from elman.errors import SettingError
from elman.modules.recurrent_stack import RecurrentStack


class Classifier(nn.Module):
    """Sequences to the scores of classes, before the softmax or sigmoid.

    Args:
        front: what makes (T, B, F) of a batch and its lengths; it has `output_size`.
        encoder: the recurrent layers and the pooling.
        outputs: C, how many scores.
        per_step: scores at each step rather than for the sequence.
    """

    def __init__(self, front: Any, encoder: RecurrentStack, outputs: int, *, per_step: bool = False) -> None:
        super().__init__()
        self.front, self.encoder, self.per_step = front, encoder, per_step
        self.output = nn.Linear(encoder.output_size, outputs)

    def forward(self, x: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Return the scores, (B, C), or (T, B, C) for each step.

        Args:
            x: (T, B, ...), what the front takes.
            lengths_B: (B,), None where all have T steps.
        """
        pooled_BF, y_TBF = self.encoder(self.front(x, lengths_B), lengths_B)
        scores: Tensor = self.output(y_TBF if self.per_step else pooled_BF)
        return scores

    @torch.no_grad()
    def running(self, steps: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the scores (1, C) after each step of one sequence, as if it ended there, in constant memory.

        Args:
            steps: each (...), what one step of one sequence is.

        Raises:
            SettingError: the layers read in both directions.
        """
        encoder: Any = self.encoder
        if encoder.recurrent.bidirectional:
            raise SettingError(
                "a bidirectional model has no running answer",
                should="bidirectional=false",
                found="bidirectional=true, whose answer depends on all later steps",
                hint="train with --set bidirectional=false",
            )
        state, memory = None, None
        for step in steps:
            y_BF, state = encoder.recurrent.step(self.front(step[None, None])[0], state)
            pooled_BF, memory = encoder.pooling.running(y_BF, memory)
            yield self.output(y_BF if self.per_step else pooled_BF)
