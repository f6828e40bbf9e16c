"""Dropout on sequences: a fresh mask for every step, or one mask for all steps of a sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class SequenceDropout(nn.Module):
    """Drops features of (T, B, F) sequences while training.

    Args:
        probability: of dropping a feature.
        variational: one mask for all steps of a sequence (Gal and Ghahramani 2016, https://arxiv.org/abs/1512.05287).
    """

    def __init__(self, probability: float, variational: bool = False) -> None:
        super().__init__()
        self.probability, self.variational = probability, variational

    def forward(self, x_TBF: Tensor) -> Tensor:
        """Return the sequences with features dropped and the rest scaled up, or as they are in evaluation."""
        if not self.training or self.probability == 0:
            return x_TBF
        if not self.variational:
            return functional.dropout(x_TBF, self.probability)
        keep = 1 - self.probability
        mask_BF = torch.empty_like(x_TBF[0]).bernoulli_(keep).div_(keep) if keep else torch.zeros_like(x_TBF[0])
        return x_TBF * mask_BF

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"{self.probability}, variational={self.variational}"
