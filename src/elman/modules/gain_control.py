"""Automatic gain control: log energies less a running level, so that a gain of the sound changes nothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

ATTACK = 0.1
"""Share of the way from the level to a louder step that one step takes: 0.1 s, where a step is 10 ms."""

RELEASE = 0.001
"""The same down to `HEADROOM` above a softer step: 10 s."""

HEADROOM = 4.6
"""Nats, 20 decibels: how far the level stays above soft steps, so that noise in a pause is not taken for speech."""


class GainControl(nn.Module):
    """Log energies less a running level.

        l_t = log of the mean over the features of exp(x_t)
        p_0 = l_0 + h
        p_t = p_(t-1) + a max(0, l_t - p_(t-1)) + r min(0, l_t + h - p_(t-1))
        y_t = x_t - p_t

    with a, r and h `ATTACK`, `RELEASE` and `HEADROOM`. The level rises with speech and is held in its pauses: it falls
    only where all is softer by more than h, and a stream is taken to begin with a pause. A gain adds a constant to x,
    to l and so to p, and y stays as it was. Attack and release times are those of an automatic gain control or
    compressor (Giannoulis, Massberg and Reiss 2012, "Digital dynamic range compressor design"); per-channel energy
    normalisation (Wang et al. 2017) has a level for each feature instead, which takes the spectrum of a long sound
    away. Steps are taken one by one, so that a stream may be cut anywhere.

    Args:
        max_start: in training, the largest random error of the first level of each sequence, in nats; a stream comes
            to a word with a level of before.
    """

    def __init__(self, max_start: float = 0.0) -> None:
        super().__init__()
        self.max_start = max_start

    def forward(self, x_TBI: Tensor, level_B: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the log energies less the level, (T, B, I), and the level after them, (B,); None before any step.

        Args:
            x_TBI: natural logarithms of energies.
            level_B: what was returned for the steps before; None at the beginning.
        """
        if not len(x_TBI):
            return x_TBI, level_B
        loudness_TB = x_TBI.logsumexp(2) - math.log(x_TBI.shape[2])
        if level_B is None:
            level_B = loudness_TB[0] + HEADROOM
            if self.training and self.max_start:
                level_B = level_B + self.max_start * (2 * torch.rand(level_B.shape) - 1).to(level_B)
        levels = []
        for loudness_B in loudness_TB:
            above_B = loudness_B - level_B
            level_B = level_B + ATTACK * above_B.clamp(min=0) + RELEASE * (above_B + HEADROOM).clamp(max=0)
            levels.append(level_B)
        return x_TBI - torch.stack(levels)[..., None], level_B

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"max_start={self.max_start:g}"
