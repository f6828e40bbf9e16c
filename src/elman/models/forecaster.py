"""The forecaster: instance normalisation around a network, and what it says of every step to come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from elman.errors import unknown_name
from elman.modules.forecast_heads import Quantiles, Spread, build_output
from elman.modules.instance_norm import InstanceNorm
from elman.modules.segment_rnn import Covariates, SegmentNetwork
from elman.modules.step_rnn import DirectNetwork, RecursiveNetwork

Output = Quantiles | Spread


def _segments(output: Output, horizon: int, segment: int, calendar: int, known: int, **rest: Any) -> nn.Module:
    size = output.parameters_of_a_step
    return SegmentNetwork(segment=segment, horizon=horizon, outputs=size, calendar=calendar, known=known, **rest)


def _direct(output: Output, horizon: int, segment: int, calendar: int, known: int, **rest: Any) -> nn.Module:
    return DirectNetwork(horizon=horizon, outputs=output.parameters_of_a_step, covariates=calendar + known, **rest)


def _recursive(output: Output, horizon: int, segment: int, calendar: int, known: int, **rest: Any) -> nn.Module:
    return RecursiveNetwork(output=output, covariates=calendar + known, **rest)


DECODINGS: dict[str, Callable[..., nn.Module]] = {"segments": _segments, "direct": _direct, "recursive": _recursive}


class Forecaster(nn.Module):
    """Windows of many series, one number a step -> what is said of each step to come.

    Args:
        decoding: a key of `DECODINGS`.
        output: a key of `elman.modules.forecast_heads.OUTPUTS`.
        levels: of the quantiles.
        normalise: a key of `elman.modules.instance_norm.NORMALISATIONS`.
        horizon: F, steps to forecast.
        segment: steps in a segment, for the decoding "segments".
        series: how many series there are.
        calendar, known: how many covariates of each kind there are.
        network: hidden, dropout, and what `elman.modules.recurrent_stack.build_layers` takes.

    Raises:
        SettingError: an unknown name or an impossible size.
    """

    def __init__(
        self,
        *,
        decoding: str = "segments",
        output: str = "quantiles",
        levels: Sequence[float] = (0.1, 0.5, 0.9),
        normalise: str = "revin",
        horizon: int,
        segment: int,
        series: int,
        calendar: int = 0,
        known: int = 0,
        **network: Any,
    ) -> None:
        super().__init__()
        if decoding not in DECODINGS:
            raise unknown_name("decoding", decoding, DECODINGS)
        self.normalise = InstanceNorm(normalise, series)
        self.output = build_output(output, levels)
        self.network = DECODINGS[decoding](self.output, horizon, segment, calendar, known, series=series, **network)

    def forward(self, x_TB: Tensor, seen_TB: Tensor, covariates: Covariates, series_B: Tensor) -> Tensor:
        """Return what is said of each step to come, (F, B, P), in the units of the windows.

        Args:
            x_TB: the past; where a value was missing, the last one before it.
            seen_TB: 1 where there was a value, 0 where it was missing.
            covariates: of the T steps and the F to come.
            series_B: the number of each window's series.
        """
        z_TB, scale = self.normalise(x_TB, seen_TB, series_B)
        return self.output.rescale(self.output(self.network(z_TB, seen_TB, covariates, series_B)), scale)

    def loss(self, said_FBP: Tensor, target_FB: Tensor, seen_FB: Tensor) -> tuple[Tensor, int]:
        """Return the mean loss over the steps to come that were seen, and how many they are.

        Args:
            said_FBP: what `forward` returned.
            target_FB: what came; any number where it was missing.
            seen_FB: 1 where there was a value, 0 where it was missing.
        """
        count = int(seen_FB.sum())
        return (self.output.loss(said_FBP, target_FB) * seen_FB).sum() / max(1, count), count
