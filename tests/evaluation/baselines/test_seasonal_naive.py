"""Seasonal-naive baselines against loops and NumPy."""

from pathlib import Path

import numpy as np
import pytest

from elman.errors import RunError
from elman.evaluation.baselines.seasonal_naive import SeasonalNaive, error_quantiles, seasonal_errors, seasonal_naive

LEVELS = (0.1, 0.5, 0.9)


def test_the_seasonal_naive_forecast_repeats_the_season() -> None:
    history_TB = np.arange(14.0).reshape(7, 2)
    for season in (1, 3, 7):
        result = seasonal_naive(history_TB, season, 8)
        for f in range(8):
            back = season
            while back <= f:
                back += season
            np.testing.assert_array_equal(result[f], history_TB[7 + f - back])


def test_a_series_that_is_its_season_makes_no_error() -> None:
    series = [np.tile([1.0, 5.0, 2.0], 9), np.arange(27.0)]
    assert seasonal_errors(series, 3).tolist() == [0.0, 3.0]
    result = error_quantiles(series, 3, 7, LEVELS)
    assert result.shape == (3, 2, 3)
    assert result[:, 0].tolist() == [[0.0] * 3] * 3
    assert result[:, 1].tolist() == [[3.0] * 3, [6.0] * 3, [9.0] * 3]


def test_errors_of_the_naive_forecast_as_numpy_counts_them() -> None:
    rng = np.random.default_rng(1)
    values_T = rng.normal(size=50)
    values_T[[3, 20]] = np.nan
    result = error_quantiles([values_T, np.ones(4)], 4, 9, LEVELS)
    for cycle in range(3):
        errors = [values_T[t] - values_T[t - 4 * (cycle + 1)] for t in range(4 * (cycle + 1), 50)]
        np.testing.assert_allclose(result[cycle, 0], np.quantile([e for e in errors if e == e], LEVELS))
    assert result[:, 1].tolist() == [[0.0] * 3] * 3  # too short to tell
    assert np.isnan(seasonal_errors([np.ones(4)], 4)).all()


def fitted(season: int) -> SeasonalNaive:
    """Return a baseline for two series with known errors."""
    series = [np.random.default_rng(n).normal(size=60) for n in range(2)]
    return SeasonalNaive(season, seasonal_errors(series, season), error_quantiles(series, season, 5, LEVELS))


def test_the_quantiles_are_the_point_plus_those_of_the_error_of_its_season() -> None:
    baseline, history_TB = fitted(2), np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    point_FB, quantiles_FBQ = baseline.forecast(history_TB, 5, np.array([1, 0]))
    assert point_FB.tolist() == [[2, 20], [3, 30], [2, 20], [3, 30], [2, 20]]
    for f in range(5):
        for b, series in enumerate((1, 0)):
            expected = point_FB[f, b] + baseline.errors_NSQ[f // 2, series]
            np.testing.assert_allclose(quantiles_FBQ[f, b], expected)


def test_a_saved_baseline_is_read_back(tmp_path: Path) -> None:
    baseline = fitted(3)
    baseline.save(tmp_path)
    same = SeasonalNaive.open(tmp_path, 3, 2, 3)
    np.testing.assert_array_equal(same.errors_S, baseline.errors_S)
    np.testing.assert_array_equal(same.errors_NSQ, baseline.errors_NSQ)
    with pytest.raises(RunError, match="does not fit the run"):
        SeasonalNaive.open(tmp_path, 3, 5, 3)
    with pytest.raises(RunError):
        SeasonalNaive.open(tmp_path, 7, 2, 3)
    assert (baseline.name, fitted(1).name) == ("seasonal naive, 3 steps", "last value")
