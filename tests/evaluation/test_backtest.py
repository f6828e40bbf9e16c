"""Backtest: windows one by one, and scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import mean_absolute_error, mean_squared_error

from elman.data.series.dataset import Panel
from elman.data.series.timestamps import HOUR, Clock
from elman.data.series.window_plan import ForecastSpec
from elman.data.series.windows import Forecast, WindowBatch, Windows
from elman.evaluation.backtest import evaluate_baselines, evaluate_forecaster, open_baselines
from elman.evaluation.baselines.seasonal_naive import SeasonalNaive
from elman.storage.ragged import RaggedArrays

LEVELS = (0.1, 0.5, 0.9)


def prepared(folder: Path, columns: int) -> tuple[ForecastSpec, Windows]:
    """Return the spec and the validation windows of random series, with fitted baselines in the folder."""
    rng = np.random.default_rng(1)
    values, ahead = RaggedArrays.of([rng.normal(3, 2, (96, columns))]), RaggedArrays.of([np.zeros((96, 0))])
    clock = Clock("time", HOUR, "%Y-%m-%d %H:%M")
    panel = Panel(("g",), tuple("ab"[:columns]), (), clock, np.array([0]), values, ahead)
    spec, training = ForecastSpec.fit(panel, validation=0.3, season=4, horizon=3, lookback=8)
    for season in (4, 1):
        SeasonalNaive.fit(training, spec.scaler, season, spec.horizon, LEVELS).save(folder)
    return spec, spec.validation(panel)


def constant(batch: WindowBatch, numbers: NDArray[np.int64]) -> Forecast:
    point_FB = np.full(batch.future_FB.shape, 0.25)
    return point_FB, point_FB[..., None] + np.array([-1.0, 0.0, 1.0])


@pytest.mark.parametrize("most", [None, 7])
def test_the_errors_are_those_of_scikit_learn(tmp_path: Path, most: int | None) -> None:
    spec, windows = prepared(tmp_path, 1)
    baselines = open_baselines(tmp_path, spec, LEVELS)
    metrics = evaluate_forecaster(constant, windows, baselines, LEVELS, most)
    numbers = np.arange(len(windows)) if most is None else np.linspace(0, len(windows) - 1, most).round().astype(int)
    future_FB = windows.batch(numbers).future_FB.numpy()
    expected = np.full(future_FB.shape, 0.25)
    assert metrics["windows"] == len(numbers)
    assert metrics["mse"] == pytest.approx(mean_squared_error(future_FB, expected))
    mae = mean_absolute_error(future_FB, expected)
    assert metrics["mae"] == pytest.approx(mae)
    assert metrics["mase"] == pytest.approx(mae / baselines[0].errors_S[0])
    assert metrics["mae_in_units"] == pytest.approx(mae * spec.scaler.deviation[0, 0])


def test_the_baselines_repeat_the_season_and_the_last_value(tmp_path: Path) -> None:
    spec, windows = prepared(tmp_path, 2)
    table = evaluate_baselines(windows, open_baselines(tmp_path, spec, LEVELS), LEVELS, None)
    assert list(table) == ["seasonal naive, 4 steps", "last value"]
    batch = windows.batch(np.arange(len(windows)))
    past_TB, future_FB = batch.past_TB.numpy(), batch.future_FB.numpy()
    assert table["last value"]["mae"] == pytest.approx(np.abs(future_FB - past_TB[-1]).mean(), rel=1e-5)
    season = np.abs(future_FB - past_TB[-4:-1]).mean()
    assert table["seasonal naive, 4 steps"]["mae"] == pytest.approx(season, rel=1e-5)
    assert "mae_in_units" not in table["last value"]
