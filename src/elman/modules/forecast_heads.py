"""Forecast heads: quantiles, or the parameters of a distribution, for each step of the horizon."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Laplace, Normal
from torch.nn import functional

from elman.errors import SettingError, look_up
from elman.modules.normalisation import LocationScale

MIN_SCALE = 1e-3  # of a distribution, in units of the normalised series


class QuantileHead(nn.Module):
    """Quantile head, trained by the pinball loss (quantile regression, Koenker and Bassett 1978).

    Wen et al. 2017, https://arxiv.org/abs/1711.11053. The median is one output of the network, and each other quantile
    lies a positive distance from its neighbour, so that quantiles never cross.

    Args:
        levels: the quantile levels, see `check_levels`.

    Raises:
        SettingError: invalid levels.
    """

    def __init__(self, levels: Sequence[float]) -> None:
        super().__init__()
        self.levels = check_levels(levels)
        self.parameters_per_step = len(self.levels)
        self.median = self.levels.index(0.5)

    def forward(self, raw_FBP: Tensor) -> Tensor:
        """Return the quantiles, (F, B, Q), in rising order, for a network's outputs, (F, B, Q)."""
        median = self.median
        steps_FBP = functional.softplus(raw_FBP)
        median_FB1 = raw_FBP[..., median : median + 1]
        below_FBP = median_FB1 - steps_FBP[..., :median].flip(-1).cumsum(-1).flip(-1)
        above_FBP = median_FB1 + steps_FBP[..., median + 1 :].cumsum(-1)
        return torch.cat([below_FBP, median_FB1, above_FBP], -1)

    def rescale(self, forecast_FBP: Tensor, window: LocationScale) -> Tensor:
        """Return the quantiles in the units of the series, (F, B, Q)."""
        location_B, scale_B = window
        return forecast_FBP * scale_B[:, None] + location_B[:, None]

    def loss(self, forecast_FBP: Tensor, target_FB: Tensor) -> Tensor:
        """Return twice the pinball loss at each step, mean over the levels, (F, B)."""
        levels_P = torch.tensor(self.levels, dtype=forecast_FBP.dtype, device=forecast_FBP.device)
        error_FBP = target_FB[..., None] - forecast_FBP
        return 2 * torch.maximum(levels_P * error_FBP, (levels_P - 1) * error_FBP).mean(-1)

    def point(self, forecast_FBP: Tensor) -> Tensor:
        """Return the median, (F, B)."""
        return forecast_FBP[..., self.median]

    def quantiles(self, forecast_FBP: Tensor) -> Tensor:
        """Return the quantiles, (F, B, Q)."""
        return forecast_FBP

    def extra_repr(self) -> str:
        """Return the arguments."""
        return repr(self.levels)


class DistributionHead(nn.Module):
    """Distribution head: a location-scale family, trained by maximum likelihood.

    Args:
        family: a class of `torch.distributions` with the arguments location and scale.
        levels: the levels of the quantiles that `quantiles` returns.

    Raises:
        SettingError: invalid levels.
    """

    def __init__(self, family: Callable[[Tensor, Tensor], Distribution], levels: Sequence[float]) -> None:
        super().__init__()
        self.family, self.levels = family, check_levels(levels)
        self.parameters_per_step = 2

    def forward(self, raw_FBP: Tensor) -> Tensor:
        """Return location and scale, (F, B, 2), for a network's outputs, (F, B, 2)."""
        location_FB, scale_FB = raw_FBP.unbind(-1)
        return torch.stack([location_FB, functional.softplus(scale_FB) + MIN_SCALE], -1)

    def rescale(self, forecast_FBP: Tensor, window: LocationScale) -> Tensor:
        """Return location and scale in the units of the series, (F, B, 2)."""
        location_B, scale_B = window
        location_FB, scale_FB = forecast_FBP.unbind(-1)
        return torch.stack([location_FB * scale_B + location_B, scale_FB * scale_B], -1)

    def loss(self, forecast_FBP: Tensor, target_FB: Tensor) -> Tensor:
        """Return -log p of each step, (F, B)."""
        log_p_FB: Tensor = self._distribution(forecast_FBP).log_prob(target_FB)
        return -log_p_FB

    def point(self, forecast_FBP: Tensor) -> Tensor:
        """Return the location, which is median and mean, (F, B)."""
        return forecast_FBP[..., 0]

    def quantiles(self, forecast_FBP: Tensor) -> Tensor:
        """Return the quantiles, (F, B, Q)."""
        distribution: Any = self._distribution(forecast_FBP[..., None, :])
        levels_Q = torch.tensor(self.levels, dtype=forecast_FBP.dtype, device=forecast_FBP.device)
        quantiles_FBQ: Tensor = distribution.icdf(levels_Q)
        return quantiles_FBQ

    def _distribution(self, forecast_FBP: Tensor) -> Distribution:
        return self.family(forecast_FBP[..., 0], forecast_FBP[..., 1])

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"{getattr(self.family, '__name__', self.family)}, {self.levels}"


OUTPUTS: dict[str, Callable[[Sequence[float]], QuantileHead | DistributionHead]] = {
    "quantiles": QuantileHead,
    "normal": lambda levels: DistributionHead(Normal, levels),
    "laplace": lambda levels: DistributionHead(Laplace, levels),
}


def build_output(name: str, levels: Sequence[float]) -> QuantileHead | DistributionHead:
    """Build a forecast head of `OUTPUTS`; an unknown name and invalid levels are a SettingError."""
    return look_up("output", name, OUTPUTS)(levels)


def check_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """Return quantile levels, in rising order between 0 and 1, symmetric about 0.5, which is one of them.

    Raises:
        SettingError: the levels are not so.
    """
    ordered = tuple(levels)
    rising = all(low < high for low, high in zip((0.0, *ordered), (*ordered, 1.0), strict=True))
    symmetric = rising and all(math.isclose(a, 1 - b) for a, b in zip(ordered, reversed(ordered), strict=True))
    if not symmetric or 0.5 not in ordered:
        raise SettingError(
            "the quantiles do not fit together",
            should="rising levels between 0 and 1, with 0.5, and 1 - q beside each q",
            found=", ".join(f"{level:g}" for level in ordered) or "none",
            hint="--set quantiles=0.1,0.25,0.5,0.75,0.9",
        )
    return ordered
