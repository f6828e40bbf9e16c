"""Reversible instance normalisation of the windows of a series (RevIN)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from elman.errors import look_up

EPSILON = 1e-5  # added to a variance, so that the scale of a constant window is not 0

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
