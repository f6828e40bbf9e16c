"""Instance normalisation: each window of a series is judged against itself, and its forecast is put back afterwards."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from elman.errors import unknown_name

SMALLEST = 1e-5  # what is added to a variance, so that a window that does not move has a spread

Scale = tuple[Tensor, Tensor]
"""The level and the spread of each window, (B,) each: normalised = (x - level) / spread."""


def no_scale(x_TB: Tensor, seen_TB: Tensor) -> Scale:
    """Level 0, spread 1: the network sees the values as they are."""
    return torch.zeros_like(x_TB[0]), torch.ones_like(x_TB[0])


def last_value(x_TB: Tensor, seen_TB: Tensor) -> Scale:
    """The level is the last value (Zeng et al. 2023, NLinear, https://arxiv.org/abs/2205.13504)."""
    return x_TB[-1], torch.ones_like(x_TB[0])


def mean_and_deviation(x_TB: Tensor, seen_TB: Tensor) -> Scale:
    """Mean and standard deviation of the values that were seen; 0 and nearly 0 where there was none."""
    count_B = seen_TB.sum(0).clamp(min=1)
    level_B = (x_TB * seen_TB).sum(0) / count_B
    variance_B = ((x_TB - level_B).square() * seen_TB).sum(0) / count_B
    return level_B, (variance_B + SMALLEST).sqrt()


NORMALISATIONS: dict[str, Callable[[Tensor, Tensor], Scale]] = {
    "none": no_scale,
    "last": last_value,
    "revin": mean_and_deviation,
}


class InstanceNorm(nn.Module):
    """Reversible instance normalisation (Kim et al. 2022, RevIN, https://openreview.net/forum?id=cGDAkQo1C0p).

    For "revin" each series has a gain and a shift of its own, learned, as in the paper.

    Args:
        name: of the scale: a key of `NORMALISATIONS`.
        series: how many series there are.

    Raises:
        SettingError: there is no scale of this name.
    """

    def __init__(self, name: str, series: int) -> None:
        super().__init__()
        if name not in NORMALISATIONS:
            raise unknown_name("normalisation", name, NORMALISATIONS)
        self.name, self.learned = name, name == "revin"
        if self.learned:
            self.gain = nn.Parameter(torch.ones(series))
            self.shift = nn.Parameter(torch.zeros(series))

    def forward(self, x_TB: Tensor, seen_TB: Tensor, series_B: Tensor) -> tuple[Tensor, Scale]:
        """Return the normalised windows, and the scale that puts their forecasts back.

        Args:
            x_TB: values; where one was missing, the last one before it.
            seen_TB: 1 where there was a value, 0 where it was missing.
            series_B: the number of each window's series.
        """
        level_B, spread_B = NORMALISATIONS[self.name](x_TB, seen_TB)
        if not self.learned:
            return (x_TB - level_B) / spread_B, (level_B, spread_B)
        gain_B, shift_B = self.gain[series_B], self.shift[series_B]
        # gain * (x - level) / spread + shift, written as one level and one spread, so that undoing it is the same.
        spread_B = spread_B / _away_from_zero(gain_B)
        level_B = level_B - shift_B * spread_B
        return (x_TB - level_B) / spread_B, (level_B, spread_B)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return repr(self.name)


def _away_from_zero(gain_B: Tensor) -> Tensor:
    """Return the gains, none nearer to zero than a hundredth: what is divided by one must stay a number."""
    return gain_B.clamp(min=1e-2)
