"""Seasonal-naive baselines: the last season, or the last value, repeated."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from elman.data.series.dataset import Panel
from elman.data.series.scaler import Scaler
from elman.data.series.windows import Forecast, ForecastFunction, WindowBatch, Windows
from elman.errors import BrokenRun
from elman.storage.files import write_bytes
from elman.storage.ragged import read_array

MAX_CYCLES = 64  # seasons ahead with error quantiles of their own; later ones have those of the last of them


def seasonal_naive(history_TB: NDArray[np.float64], season: int, horizon: int) -> NDArray[np.float64]:
    """Return the last season, repeated, (F, B).

    Args:
        history_TB: the values before the future, at least a season of them.
        season: steps; 1 repeats the last value.
        horizon: F.
    """
    last_MB = history_TB[len(history_TB) - season :]
    return last_MB[np.arange(horizon) % season]


def seasonal_errors(series: Sequence[NDArray[np.float64]], season: int) -> NDArray[np.float64]:
    """Return the mean absolute error of the seasonal naive forecast, one season ahead, in each series, (S,).

    It is the scale of MASE (Hyndman and Koehler 2006, https://doi.org/10.1016/j.ijforecast.2006.03.001); nan if a
    series has no two values one season apart.
    """
    means = []
    for values_T in series:
        errors = np.abs(values_T[season:] - values_T[:-season])
        errors = errors[~np.isnan(errors)]
        means.append(errors.mean() if len(errors) else np.nan)
    return np.asarray(means, np.float64)


def error_quantiles(
    series: Sequence[NDArray[np.float64]], season: int, horizon: int, levels: Sequence[float]
) -> NDArray[np.float64]:
    """Return the quantiles of the true value minus the seasonal naive forecast, (seasons ahead, S, Q).

    A series that is too short for so many seasons has the quantiles of the last one that it is long enough for, or
    zeros.

    Args:
        series: of the training part, (T_n,) each; nan for a missing value.
        season: steps.
        horizon: F; there is a row for each season of it.
        levels: Q of them.
    """
    cycles = min(MAX_CYCLES, -(-horizon // season))
    errors_NSQ = np.zeros((cycles, len(series), len(levels)))
    for s, values_T in enumerate(series):
        for cycle in range(cycles):
            lag = (cycle + 1) * season
            errors = values_T[lag:] - values_T[:-lag] if lag < len(values_T) else np.empty(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # only nan
                quantiles = np.nanquantile(errors, levels) if len(errors) else np.full(len(levels), np.nan)
            known = np.isfinite(quantiles).all()
            errors_NSQ[cycle, s] = quantiles if known else errors_NSQ[cycle - 1, s] if cycle else 0.0
    return errors_NSQ


@dataclass(frozen=True)
class SeasonalNaive:
    """Seasonal naive forecasts with error quantiles from the training part, in units of the scaled series.

    Attributes:
        season: steps; 1 repeats the last value.
        errors_S: its mean absolute error one season ahead, see `seasonal_errors`.
        errors_NSQ: the quantiles of its errors, see `error_quantiles`.
    """

    season: int
    errors_S: NDArray[np.float64]
    errors_NSQ: NDArray[np.float64]

    @classmethod
    def fit(cls, training: Panel, scaler: Scaler, season: int, horizon: int, levels: Sequence[float]) -> Self:
        """Fit the errors to a training part."""
        scaled = [
            (values_TC[:, c] - scaler.mean[n, c]) / scaler.deviation[n, c]
            for n, values_TC in enumerate(training.values_of_groups())
            for c in range(len(training.columns))
        ]
        return cls(season, seasonal_errors(scaled, season), error_quantiles(scaled, season, horizon, levels))

    @property
    def name(self) -> str:
        """Name in tables of results."""
        return "last value" if self.season == 1 else f"seasonal naive, {self.season} steps"

    def forecast(self, history_TB: NDArray[np.float64], horizon: int, series_B: NDArray[np.int64]) -> Forecast:
        """Return the forecast, (F, B), and its quantiles, (F, B, Q).

        Args:
            history_TB: the values before the future, at least a season of them.
            horizon: F.
            series_B: the number of each window's series.
        """
        point_FB = seasonal_naive(history_TB, self.season, horizon)
        cycle_F = np.minimum(np.arange(horizon) // self.season, len(self.errors_NSQ) - 1)
        return point_FB, point_FB[..., None] + self.errors_NSQ[cycle_F[:, None], series_B]

    def forecaster(self, windows: Windows) -> ForecastFunction:
        """Return the forecasts of windows as a function, which a backtest takes."""

        def forecast(batch: WindowBatch, numbers: NDArray[np.int64]) -> Forecast:
            history_TB = windows.history(numbers, self.season)
            return self.forecast(history_TB, windows.horizon, batch.series_B.numpy())

        return forecast

    def save(self, folder: Path) -> None:
        """Write the errors into a run's folder."""
        for part in ("errors_S", "errors_NSQ"):
            buffer = io.BytesIO()
            np.save(buffer, getattr(self, part), allow_pickle=False)
            write_bytes(folder / f"naive-{self.season}.{part}.npy", buffer.getvalue())

    @classmethod
    def open(cls, folder: Path, season: int, series: int, levels: int) -> Self:
        """Read what `save` wrote.

        Raises:
            RunError: a file is missing, broken or of another size.
        """
        errors_S, errors_NSQ = (read_array(folder / f"naive-{season}.{p}.npy") for p in ("errors_S", "errors_NSQ"))
        fits = errors_S.shape == (series,) and errors_NSQ.shape[1:] == (series, levels) and len(errors_NSQ)
        if not fits or errors_S.dtype != np.float64 or errors_NSQ.dtype != np.float64:
            raise BrokenRun(
                f"{folder}/naive-{season}.errors_NSQ.npy does not fit the run",
                should=f"{series} series with {levels} quantiles",
                found=f"{errors_S.shape} and {errors_NSQ.shape}",
            )
        return cls(season, np.asarray(errors_S), np.asarray(errors_NSQ))
