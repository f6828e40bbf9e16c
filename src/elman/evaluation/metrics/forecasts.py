"""Forecast metrics: squared, absolute and scaled errors, CRPS, and coverage of the intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from elman.data.series.windows import ForecastFunction, Windows
from elman.evaluation.result import Metrics


class ForecastScore:
    """Forecast metrics that are accumulated batch by batch, in constant memory.

    Every step of every window counts once, whatever its series; only MASE is the mean over the series.

    Args:
        levels: of the quantiles, Q.
        errors_S: the scale of the absolute error of each series in MASE; nan if unknown.
    """

    def __init__(self, levels: Sequence[float], errors_S: NDArray[np.float64]) -> None:
        self.levels, self.errors_S = np.asarray(levels, np.float64), errors_S
        self.count_S = np.zeros(len(errors_S))
        self.absolute_S = np.zeros(len(errors_S))
        self.squared = self.pinball = self.inside = 0.0

    def add(
        self,
        point_FB: NDArray[np.floating],
        quantiles_FBQ: NDArray[np.floating],
        target_FB: NDArray[np.floating],
        seen_FB: NDArray[np.floating],
        series_B: NDArray[np.int64],
    ) -> None:
        """Add the forecasts of B windows.

        Args:
            point_FB: the point forecasts.
            quantiles_FBQ: the quantiles.
            target_FB: the true values.
            seen_FB: 1 for a true value, 0 for a missing one, which does not count.
            series_B: the number of each window's series.
        """
        seen = seen_FB > 0
        error_FB = np.where(seen, np.asarray(target_FB, np.float64) - point_FB, 0.0)
        self.squared += float(np.square(error_FB).sum())
        np.add.at(self.absolute_S, series_B, np.abs(error_FB).sum(0))
        np.add.at(self.count_S, series_B, seen.sum(0))
        error_FBQ = np.asarray(target_FB, np.float64)[..., None] - quantiles_FBQ
        pinball_FB = 2 * np.maximum(self.levels * error_FBQ, (self.levels - 1) * error_FBQ).mean(-1)
        self.pinball += float(pinball_FB[seen].sum())
        inside_FB = (quantiles_FBQ[..., 0] <= target_FB) & (target_FB <= quantiles_FBQ[..., -1])
        self.inside += float(inside_FB[seen].sum())

    @property
    def steps(self) -> int:
        """Number of steps with a true value."""
        return int(self.count_S.sum())

    def metrics(self) -> Metrics:
        """Return the metrics; all but MASE and coverage are in units of the training part's standard deviation.

        mse, mae: of the point forecast.
        mase: the absolute error divided by that of the seasonal naive forecast, one season ahead, in the training
            part, mean over the series; None if unknown for all series.
        crps: the continuous ranked probability score, as twice the mean pinball loss over the levels (Gneiting and
            Raftery 2007, https://doi.org/10.1198/016214506000001437); for one quantile, the median, it is mae.
        coverage_80: the share of the true values between the outermost quantiles; its name has the nominal coverage.
        """
        steps = max(1, self.steps)
        known = (self.count_S > 0) & np.isfinite(self.errors_S) & (self.errors_S > 0)
        scaled = self.absolute_S[known] / self.count_S[known] / self.errors_S[known]
        return {
            "crps": self.pinball / steps,
            "mse": self.squared / steps,
            "mae": float(self.absolute_S.sum()) / steps,
            "mase": float(scaled.mean()) if len(scaled) else None,
            coverage_name(self.levels): self.inside / steps,
        }


def coverage_name(levels: Sequence[float] | NDArray[np.float64]) -> str:
    """Return the name of the metric of the outermost interval: coverage_80 from the quantiles 0.1 to 0.9."""
    return f"coverage_{100 * (levels[-1] - levels[0]):.3g}"


def score_forecasts(
    forecaster: ForecastFunction,
    windows: Windows,
    numbers: NDArray[np.int64],
    levels: Sequence[float],
    errors_S: NDArray[np.float64],
    batch_size: int = 512,
) -> ForecastScore:
    """Forecast windows batch by batch, and accumulate the metrics.

    Args:
        forecaster: the function that forecasts.
        windows: all windows.
        numbers: of the windows to forecast.
        levels: of the quantiles, Q.
        errors_S: as of `ForecastScore`.
        batch_size: windows at a time; it affects memory only.
    """
    score = ForecastScore(levels, errors_S)
    for begin in range(0, len(numbers), batch_size):
        chosen = numbers[begin : begin + batch_size]
        batch = windows.batch(chosen)
        point_FB, quantiles_FBQ = forecaster(batch, chosen)
        future = (batch.future_FB.numpy(), batch.future_seen_FB.numpy(), batch.series_B.numpy())
        score.add(point_FB, quantiles_FBQ, *future)
    return score
