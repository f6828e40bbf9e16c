"""Backtest: rolling evaluation of a forecaster on every window of some series, and of the seasonal-naive baselines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from elman.data.series.window_plan import ForecastSpec
from elman.data.series.windows import ForecastFunction, Windows, spread_evenly
from elman.evaluation.baselines.seasonal_naive import SeasonalNaive
from elman.evaluation.metrics.forecasts import score_forecasts
from elman.evaluation.result import Metrics


def open_baselines(folder: Path, spec: ForecastSpec, levels: Sequence[float]) -> list[SeasonalNaive]:
    """Return the baselines of a run: the last season, and the last value; errors as of `SeasonalNaive.open`."""
    seasons = [spec.season, 1] if spec.season > 1 else [1]
    return [SeasonalNaive.open(folder, steps, spec.series, len(levels)) for steps in seasons]


def evaluate_forecaster(
    forecaster: ForecastFunction,
    windows: Windows,
    baselines: Sequence[SeasonalNaive],
    levels: Sequence[float],
    most: int | None,
) -> Metrics:
    """Return the metrics of a forecaster.

    Args:
        forecaster: the function that forecasts.
        windows: the windows to forecast.
        baselines: the first of them scales MASE.
        levels: of the quantiles.
        most: how many windows at most, evenly spread; None: all.

    Returns:
        The metrics of `ForecastScore`, the number of windows, and for a single series the mean absolute error in its
        own units.
    """
    numbers, errors_S = spread_evenly(len(windows), most), baselines[0].errors_S
    metrics = dict(score_forecasts(forecaster, windows, numbers, levels, errors_S).metrics())
    if len(errors_S) == 1 and (mae := metrics["mae"]) is not None:
        metrics["mae_in_units"] = mae * float(windows.scaler.deviation[0, 0])
    return {**metrics, "windows": len(numbers)}


def evaluate_baselines(
    windows: Windows, baselines: Sequence[SeasonalNaive], levels: Sequence[float], most: int | None
) -> dict[str, Metrics]:
    """Return the metrics of the baselines, by their names; arguments as of `evaluate_forecaster`."""
    return {
        baseline.name: evaluate_forecaster(baseline.forecaster(windows), windows, baselines, levels, most)
        for baseline in baselines
    }
