"""Input layers: symbol and feature encoders, and their builder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import look_up
from elman.modules.augmentation import FrequencyMasking, TimeMasking
from elman.modules.frame_encoder import FrameEncoder


class SymbolInput(nn.Module):
    """Symbol embedding: token ids (T, B) -> vectors (T, B, E).

    The last symbol is the unknown one. Word dropout (Iyyer et al. 2015, deep averaging networks) replaces symbols by
    it in training, so that its vector is learned.

    Args:
        symbols: V, the unknown one included.
        size: E, size of the vectors.
        word_dropout: probability that a symbol becomes unknown in training.
    """

    def __init__(self, symbols: int, size: int, word_dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, size)
        nn.init.normal_(self.embedding.weight, std=size**-0.5)
        self.word_dropout, self.output_size = word_dropout, size

    def forward(self, x_TB: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Return the vectors, (T, B, E); the lengths (B,) have no effect."""
        x_TB = x_TB.long()
        if self.training and self.word_dropout:
            dropped_TB = torch.rand(x_TB.shape, device=x_TB.device) < self.word_dropout
            x_TB = x_TB.masked_fill(dropped_TB, self.embedding.num_embeddings - 1)
        vectors: Tensor = functional.embedding(x_TB, self.embedding.weight)
        return vectors


class FeatureInput(nn.Module):
    """Standardisation of features (T, B, I), with time and frequency masking (SpecAugment) in training.

    Args:
        size: I, number of features.
        mean: of each feature, or one for all.
        deviation: standard deviation of each feature, or one for all.
        mask_steps: greatest length of each of two masked runs of steps.
        mask_features: greatest width of each of two masked runs of features.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, size: int, mean: Sequence[float] = (0.0,), deviation: Sequence[float] = (1.0,),
        mask_steps: int = 0, mask_features: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.masks = nn.Sequential(TimeMasking(mask_steps, 2), FrequencyMasking(mask_features, 2))
        self.register_buffer("mean", torch.tensor(tuple(mean)))
        self.register_buffer("deviation", torch.tensor(tuple(deviation)))
        self.output_size = size

    def forward(self, x_TBI: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Return the standardised features, (T, B, I); masks lie within the lengths (B,), None if all have T steps."""
        mask_steps, mask_features = self.masks
        scaled_TBI = (x_TBI.to(self.mean.dtype) - self.mean) / self.deviation
        masked: Tensor = mask_features(mask_steps(scaled_TBI, lengths_B))
        return masked


INPUT_LAYERS: dict[str, Callable[..., Any]] = {
    "symbols": lambda shape, *, symbols, embedding, word_dropout, **_: SymbolInput(symbols, embedding, word_dropout),
    "features": lambda shape, *, mean, deviation, mask_steps=0, mask_features=0, **_: FeatureInput(
        shape[0], mean, deviation, mask_steps, mask_features
    ),
    "frames": lambda shape, *, mean, deviation, embedding, dropout=0.0, max_shift=0, horizontal_flip=False, **_: (
        FrameEncoder(
            shape,
            embedding,
            mean=mean[0],
            deviation=deviation[0],
            dropout=dropout,
            max_shift=max_shift,
            horizontal_flip=horizontal_flip,
        )
    ),
}
"""Builders by the kind of a step: (shape of a step, options) -> an input layer."""


def build_input_layer(kind: str, shape: Sequence[int], **options: Any) -> Any:
    """Build the input layer of `INPUT_LAYERS` for steps of a shape; it has `output_size`.

    The options are symbols, embedding, word_dropout, mean, deviation, mask_steps, mask_features, dropout, max_shift and
    horizontal_flip; each layer uses some of them. An unknown kind is a SettingError.
    """
    return look_up("kind of step", kind, INPUT_LAYERS)(tuple(shape), **options)
