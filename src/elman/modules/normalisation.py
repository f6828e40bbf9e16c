"""Normalisation: of the windows of a series by their own moments (RevIN), and of sound by a running level."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from elman.errors import look_up

EPSILON = 1e-5  # added to a variance, so that the scale of a constant window is not 0

ATTACK = 0.1
"""Share of the way from the level to a louder step that one step takes: 0.1 s, where a step is 10 ms."""

RELEASE = 0.001
"""The same down to `HEADROOM` above a softer step: 10 s."""

HEADROOM = 4.6
"""Nats, 20 decibels: how far the level stays above soft steps, so that noise in a pause is not taken for speech."""

LocationScale = tuple[Tensor, Tensor]
"""Location and scale of each window, (B,) each: normalised = (x - location) / scale."""


def no_scale(x_TB: Tensor, observed_TB: Tensor) -> LocationScale:
    """Return location 0 and scale 1: no normalisation."""
    return torch.zeros_like(x_TB[0]), torch.ones_like(x_TB[0])


def last_value(x_TB: Tensor, observed_TB: Tensor) -> LocationScale:
    """Return the last value as location, and scale 1 (NLinear, Zeng et al. 2023, https://arxiv.org/abs/2205.13504)."""
    return x_TB[-1], torch.ones_like(x_TB[0])


def mean_and_deviation(x_TB: Tensor, observed_TB: Tensor) -> LocationScale:
    """Return mean and standard deviation of the observed values; 0 and sqrt(EPSILON) if there are none."""
    count_B = observed_TB.sum(0).clamp(min=1)
    location_B = (x_TB * observed_TB).sum(0) / count_B
    variance_B = ((x_TB - location_B).square() * observed_TB).sum(0) / count_B
    return location_B, (variance_B + EPSILON).sqrt()


NORMALISATIONS: dict[str, Callable[[Tensor, Tensor], LocationScale]] = {
    "none": no_scale,
    "last": last_value,
    "revin": mean_and_deviation,
}


class InstanceNorm(nn.Module):
    """Instance normalisation (RevIN, Kim et al. 2022, https://openreview.net/forum?id=cGDAkQo1C0p).

    With "revin" each series has a learned gain and shift, as in the paper.

    Args:
        name: a name in `NORMALISATIONS`.
        series: number of series.

    Raises:
        SettingError: an unknown name.
    """

    def __init__(self, name: str, series: int) -> None:
        super().__init__()
        look_up("normalisation", name, NORMALISATIONS)
        self.name, self.learned = name, name == "revin"
        if self.learned:
            self.gain = nn.Parameter(torch.ones(series))
            self.shift = nn.Parameter(torch.zeros(series))

    def forward(self, x_TB: Tensor, observed_TB: Tensor, series_B: Tensor) -> tuple[Tensor, LocationScale]:
        """Return the normalised windows, (T, B), and the location and scale that undo it.

        Args:
            x_TB: values; a missing one is replaced by the last one before it.
            observed_TB: 1 where there is a value, 0 where it is missing.
            series_B: index of each window's series.
        """
        location_B, scale_B = NORMALISATIONS[self.name](x_TB, observed_TB)
        if not self.learned:
            return (x_TB - location_B) / scale_B, (location_B, scale_B)
        gain_B = self.gain[series_B].clamp(min=1e-2)  # at least 0.01, so that dividing by it is safe
        shift_B = self.shift[series_B]
        # gain * (x - location) / scale + shift, written as one location and one scale.
        scale_B = scale_B / gain_B
        location_B = location_B - shift_B * scale_B
        return (x_TB - location_B) / scale_B, (location_B, scale_B)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return repr(self.name)


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
