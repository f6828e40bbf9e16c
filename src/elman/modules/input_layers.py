"""What stands before the recurrent layers: from symbols, numbers or frames to vectors, each step for itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import unknown_name
from elman.modules.augmentation import MaskFeatures, MaskSteps
from elman.modules.frame_encoder import FrameEncoder


class SymbolInput(nn.Module):
    """Token ids (T, B) to vectors (T, B, E).

    The last symbol stands for what is unknown. While training each symbol becomes it with a small probability, so that
    its vector is learned and no symbol is relied on alone (word dropout, Iyyer et al. 2015, deep averaging networks).

    Args:
        symbols: V, the unknown one included.
        size: E.
        dropout: the probability of becoming unknown.
    """

    def __init__(self, symbols: int, size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, size)
        nn.init.normal_(self.embedding.weight, std=size**-0.5)
        self.dropout, self.output_size = dropout, size

    def forward(self, x_TB: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Return (T, B, E); the lengths (B,) change nothing, each step is read for itself."""
        x_TB = x_TB.long()
        if self.training and self.dropout:
            gone_TB = torch.rand(x_TB.shape, device=x_TB.device) < self.dropout
            x_TB = x_TB.masked_fill(gone_TB, self.embedding.num_embeddings - 1)
        vectors: Tensor = functional.embedding(x_TB, self.embedding.weight)
        return vectors


class FeatureInput(nn.Module):
    """Numbers (T, B, I) less their mean, by their standard deviation; while training, runs of them are masked.

    Args:
        size: I.
        mean, deviation: of each feature, or one for all.
        mask_steps, mask_features: steps and features of the two runs of each that are masked, at the most.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        size: int,
        mean: Sequence[float] = (0.0,),
        deviation: Sequence[float] = (1.0,),
        mask_steps: int = 0,
        mask_features: int = 0,
    ) -> None:
        super().__init__()
        self.masks = nn.Sequential(MaskSteps(mask_steps, 2), MaskFeatures(mask_features, 2))
        self.register_buffer("mean", torch.tensor(tuple(mean)))
        self.register_buffer("deviation", torch.tensor(tuple(deviation)))
        self.output_size = size

    def forward(self, x_TBI: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Return (T, B, I) as floating-point numbers; masks keep within the lengths (B,), None where all have T."""
        mask_steps, mask_features = self.masks
        scaled_TBI = (x_TBI.to(self.mean.dtype) - self.mean) / self.deviation
        masked: Tensor = mask_features(mask_steps(scaled_TBI, lengths_B))
        return masked


INPUT_LAYERS: dict[str, Callable[..., Any]] = {
    "symbols": lambda shape, *, symbols, embedding, symbol_dropout, **_: SymbolInput(
        symbols, embedding, symbol_dropout
    ),
    "features": lambda shape, *, mean, deviation, mask_steps=0, mask_features=0, **_: FeatureInput(
        shape[0], mean, deviation, mask_steps, mask_features
    ),
    "frames": lambda shape, *, mean, deviation, embedding, dropout=0.0, shift=0, mirror=False, **_: FrameEncoder(
        shape, embedding, mean=mean[0], deviation=deviation[0], dropout=dropout, margin=shift, mirror=mirror
    ),
}
"""By what a step is; each takes the shape of a step and what it needs of the settings."""


def build_input_layer(kind: str, shape: Sequence[int], **options: Any) -> Any:
    """Return the front for steps of a kind and shape; it has `output_size`.

    Args:
        kind: a name in `INPUT_LAYERS`.
        shape: of a step.
        options: symbols, embedding, symbol_dropout, mean, deviation, mask_steps, mask_features, dropout, shift, mirror;
            each front takes its own.

    Raises:
        SettingError: there is none of this name.
    """
    if kind not in INPUT_LAYERS:
        raise unknown_name("kind of step", kind, INPUT_LAYERS)
    return INPUT_LAYERS[kind](tuple(shape), **options)
