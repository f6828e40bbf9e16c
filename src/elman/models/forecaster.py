"""The forecaster: instance normalisation, a recurrent network and a forecast head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from elman.errors import look_up
from elman.modules.forecast_heads import DistributionHead, QuantileHead, build_output
from elman.modules.normalisation import InstanceNorm
from elman.modules.segment_rnn import Covariates, SegmentRNN
from elman.modules.step_rnn import DirectRNN, RecursiveRNN

Output = QuantileHead | DistributionHead


DECODINGS: dict[str, Callable[..., nn.Module]] = {
    "segments": lambda output, horizon, segment, calendar, known, **network: SegmentRNN(
        segment=segment,
        horizon=horizon,
        outputs=output.parameters_per_step,
        calendar_features=calendar,
        known_covariates=known,
        **network,
    ),
    "direct": lambda output, horizon, segment, calendar, known, **network: DirectRNN(
        horizon=horizon, outputs=output.parameters_per_step, covariates=calendar + known, **network
    ),
    "recursive": lambda output, horizon, segment, calendar, known, **network: RecursiveRNN(
        output=output, covariates=calendar + known, **network
    ),
}
"""Builders of the network by the decoding strategy."""


class Forecaster(nn.Module):
    """Forecaster: windows of many univariate series -> the predictive distribution of each step of the horizon.

    Args:
        decoding: a name in `DECODINGS`.
        output: a name in `elman.modules.forecast_heads.OUTPUTS`.
        quantiles: the quantile levels.
        window_norm: a name in `elman.modules.normalisation.NORMALISATIONS`.
        horizon: F, steps to forecast.
        segment: steps in a segment, for the decoding "segments".
        series: number of series.
        calendar_features: number of calendar features.
        known_covariates: number of other covariates.
        network: hidden, dropout, and arguments of `elman.modules.recurrent_stack.build_layers`.

    Raises:
        SettingError: an unknown name or an invalid size.
    """

    def __init__(
        self, *, decoding: str = "segments", output: str = "quantiles", quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        window_norm: str = "revin", horizon: int, segment: int, series: int, calendar_features: int = 0,
        known_covariates: int = 0, **network: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        build = look_up("decoding", decoding, DECODINGS)
        self.normalise = InstanceNorm(window_norm, series)
        self.output = build_output(output, quantiles)
        covariates = (calendar_features, known_covariates)
        self.network = build(self.output, horizon, segment, *covariates, series=series, **network)

    def forward(self, x_TB: Tensor, observed_TB: Tensor, covariates: Covariates, series_B: Tensor) -> Tensor:
        """Return the predictive distribution of each step of the horizon, (F, B, P), in the units of the windows.

        Args:
            x_TB: the past; a missing value is replaced by the last one before it.
            observed_TB: 1 where there is a value, 0 where it is missing.
            covariates: of the T past and the F future steps.
            series_B: index of each window's series.
        """
        z_TB, window = self.normalise(x_TB, observed_TB, series_B)
        return self.output.rescale(self.output(self.network(z_TB, observed_TB, covariates, series_B)), window)

    def loss(self, forecast_FBP: Tensor, target_FB: Tensor, observed_FB: Tensor) -> tuple[Tensor, int]:
        """Return the mean loss over the observed steps of the horizon, and their number.

        Args:
            forecast_FBP: what `forward` returned.
            target_FB: the true values; any number where one is missing.
            observed_FB: 1 where there is a value, 0 where it is missing.
        """
        count = int(observed_FB.sum())
        return (self.output.loss(forecast_FBP, target_FB) * observed_FB).sum() / max(1, count), count
