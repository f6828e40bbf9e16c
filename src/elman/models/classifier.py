"""The classifier: an input layer, recurrent layers, and scores for the sequence or for each step.

e_t = input layer (x_t)
s_t = recurrent layers (e_t, s_{t-1})
scores = V pool(s_1 .. s_T) + c,  or V s_t + c at each step
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from elman.errors import SettingError
from elman.modules.recurrent_stack import RecurrentStack


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
        """Return the scores, (B, C), or (T, B, C) for each step.

        Args:
            x: the input of the input layer, (T, B, ...).
            lengths_B: (B,), None if all have T steps.
        """
        pooled_BF, y_TBF = self.encoder(self.front(x, lengths_B), lengths_B)
        scores: Tensor = self.output(y_TBF if self.per_step else pooled_BF)
        return scores

    @torch.no_grad()
    def stream(self, steps: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the scores (1, C) after each step of one sequence, as if it ended there, in constant memory.

        Args:
            steps: the steps of one sequence, (...) each.

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
