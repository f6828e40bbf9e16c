"""What a forecast says of a value to come: quantiles, or a distribution."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Laplace, Normal
from torch.nn import functional

from elman.errors import SettingError, unknown_name
from elman.modules.instance_norm import Scale

LEAST_SCALE = 1e-3  # of a distribution, in units of the normalised series


class Quantiles(nn.Module):
    """The values below which the future lies with given probabilities, trained by the pinball loss.

    (Koenker and Bassett 1978, Regression Quantiles; Wen et al. 2017, https://arxiv.org/abs/1711.11053.) The median is
    one number of the network's, and every other quantile a positive step away from its neighbour, so they never cross.

    Args:
        levels: the probabilities, rising, each between 0 and 1, the half among them.

    Raises:
        SettingError: the levels are not so.
    """

    def __init__(self, levels: Sequence[float]) -> None:
        super().__init__()
        self.levels = check_levels(levels)
        self.parameters_of_a_step = len(self.levels)
        self.middle = self.levels.index(0.5)

    def forward(self, raw_FBP: Tensor) -> Tensor:
        """Return the quantiles, (F, B, Q), rising, of whatever a network says, (F, B, Q)."""
        middle = self.middle
        steps_FBP = functional.softplus(raw_FBP)
        median_FB1 = raw_FBP[..., middle : middle + 1]
        below_FBP = median_FB1 - steps_FBP[..., :middle].flip(-1).cumsum(-1).flip(-1)
        above_FBP = median_FB1 + steps_FBP[..., middle + 1 :].cumsum(-1)
        return torch.cat([below_FBP, median_FB1, above_FBP], -1)

    def rescale(self, said_FBP: Tensor, scale: Scale) -> Tensor:
        """Return the quantiles in the units of the series."""
        level_B, spread_B = scale
        return said_FBP * spread_B[:, None] + level_B[:, None]

    def loss(self, said_FBP: Tensor, target_FB: Tensor) -> Tensor:
        """Return twice the pinball loss at each step, mean over the levels, (F, B)."""
        levels_P = torch.tensor(self.levels, dtype=said_FBP.dtype, device=said_FBP.device)
        miss_FBP = target_FB[..., None] - said_FBP
        return 2 * torch.maximum(levels_P * miss_FBP, (levels_P - 1) * miss_FBP).mean(-1)

    def point(self, said_FBP: Tensor) -> Tensor:
        """Return the median, (F, B)."""
        return said_FBP[..., self.middle]

    def quantiles(self, said_FBP: Tensor) -> Tensor:
        """Return (F, B, Q)."""
        return said_FBP

    def extra_repr(self) -> str:
        """Return the arguments."""
        return repr(self.levels)


class Spread(nn.Module):
    """A distribution with a location and a scale, trained by its likelihood.

    Args:
        family: of `torch.distributions`, with the arguments location and scale.
        levels: of the quantiles that it is asked for.
    """

    def __init__(self, family: Callable[[Tensor, Tensor], Distribution], levels: Sequence[float]) -> None:
        super().__init__()
        self.family, self.levels = family, check_levels(levels)
        self.parameters_of_a_step = 2

    def forward(self, raw_FBP: Tensor) -> Tensor:
        """Return location and scale, (F, B, 2), of whatever a network says, (F, B, 2)."""
        location_FB, scale_FB = raw_FBP.unbind(-1)
        return torch.stack([location_FB, functional.softplus(scale_FB) + LEAST_SCALE], -1)

    def rescale(self, said_FBP: Tensor, scale: Scale) -> Tensor:
        """Return location and scale in the units of the series."""
        level_B, spread_B = scale
        location_FB, scale_FB = said_FBP.unbind(-1)
        return torch.stack([location_FB * spread_B + level_B, scale_FB * spread_B], -1)

    def loss(self, said_FBP: Tensor, target_FB: Tensor) -> Tensor:
        """Return -log p of each step, (F, B)."""
        log_p_FB: Tensor = self._of(said_FBP).log_prob(target_FB)
        return -log_p_FB

    def point(self, said_FBP: Tensor) -> Tensor:
        """Return the location, which is median and mean, (F, B)."""
        return said_FBP[..., 0]

    def quantiles(self, said_FBP: Tensor) -> Tensor:
        """Return (F, B, Q)."""
        distribution: Any = self._of(said_FBP[..., None, :])
        levels_Q = torch.tensor(self.levels, dtype=said_FBP.dtype, device=said_FBP.device)
        found_FBQ: Tensor = distribution.icdf(levels_Q)
        return found_FBQ

    def _of(self, said_FBP: Tensor) -> Distribution:
        return self.family(said_FBP[..., 0], said_FBP[..., 1])

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"{getattr(self.family, '__name__', self.family)}, {self.levels}"


OUTPUTS: dict[str, Callable[[Sequence[float]], Quantiles | Spread]] = {
    "quantiles": Quantiles,
    "normal": lambda levels: Spread(Normal, levels),
    "laplace": lambda levels: Spread(Laplace, levels),
}


def build_output(name: str, levels: Sequence[float]) -> Quantiles | Spread:
    """Return the kind of forecast of a name, for these levels of quantiles.

    Raises:
        SettingError: there is none of this name, or the levels are not as they should be.
    """
    if name not in OUTPUTS:
        raise unknown_name("output", name, OUTPUTS)
    return OUTPUTS[name](levels)


def check_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """Return levels of quantiles that rise from above 0 to below 1, with the half and as much above it as below.

    Raises:
        SettingError: they do not.
    """
    found = tuple(levels)
    rising = all(low < high for low, high in zip((0.0, *found), (*found, 1.0), strict=True))
    mirrored = rising and all(math.isclose(a, 1 - b) for a, b in zip(found, reversed(found), strict=True))
    if not mirrored or 0.5 not in found:
        raise SettingError(
            "the quantiles do not fit together",
            should="rising levels between 0 and 1, with 0.5, and 1 - q beside each q",
            found=", ".join(f"{level:g}" for level in found) or "none",
            hint="--set quantiles=0.1,0.25,0.5,0.75,0.9",
        )
    return found
