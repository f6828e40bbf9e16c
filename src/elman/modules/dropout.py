"""Dropout of sequences: a mask for each step, or one mask for all steps (variational dropout)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class SequenceDropout(nn.Module):
    """Dropout of features of (T, B, F) sequences.

    Args:
        probability: probability of dropping a feature.
        variational: one mask for all steps of a sequence (Gal and Ghahramani 2016, https://arxiv.org/abs/1512.05287).
    """

    def __init__(self, probability: float, variational: bool = False) -> None:
        super().__init__()
        self.probability, self.variational = probability, variational

    def forward(self, x_TBF: Tensor) -> Tensor:
        """Return the sequences, (T, B, F), with features dropped and the others scaled up in training."""
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
