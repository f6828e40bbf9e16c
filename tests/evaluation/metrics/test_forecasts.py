"""The metrics of forecasts, judged by scikit-learn, scipy and the definitions."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, mean_squared_error

from elman.data.series.windows import spread_evenly
from elman.evaluation.metrics.forecasts import ForecastScore, coverage_name

LEVELS = (0.1, 0.5, 0.9)


def some(B: int = 40, F: int = 5, seed: int = 1) -> tuple:
    rng = np.random.default_rng(seed)
    quantiles_FBQ = np.sort(rng.normal(size=(F, B, 3)), -1)
    seen_FB = (rng.random((F, B)) < 0.8).astype(float)
    return quantiles_FBQ[..., 1], quantiles_FBQ, rng.normal(size=(F, B)), seen_FB, rng.integers(0, 3, B)


def test_the_metrics_are_those_of_scikit_learn() -> None:
    point_FB, quantiles_FBQ, target_FB, seen_FB, series_B = some()
    errors_S = np.array([2.0, 0.5, np.nan])
    score = ForecastScore(LEVELS, errors_S)
    score.add(point_FB, quantiles_FBQ, target_FB, seen_FB, series_B)
    result, there = score.metrics(), seen_FB > 0
    truth = target_FB[there]
    assert result["mse"] == pytest.approx(mean_squared_error(truth, point_FB[there]))
    assert result["mae"] == pytest.approx(mean_absolute_error(truth, point_FB[there]))
    pinball = [mean_pinball_loss(truth, quantiles_FBQ[there][:, q], alpha=a) for q, a in enumerate(LEVELS)]
    assert result["crps"] == pytest.approx(2 * np.mean(pinball))
    low, high = quantiles_FBQ[there][:, 0], quantiles_FBQ[there][:, 2]
    assert result["coverage_80"] == pytest.approx(np.mean((low <= truth) & (truth <= high)))
    mase = []
    for s in range(2):  # the third series has nothing to be compared with
        own = there & (series_B == s)
        mase.append(mean_absolute_error(target_FB[own], point_FB[own]) / errors_S[s])
    assert result["mase"] == pytest.approx(np.mean(mase))
    assert score.steps == there.sum()


def test_batches_change_nothing() -> None:
    parts = some()
    whole, pieces = ForecastScore(LEVELS, np.ones(3)), ForecastScore(LEVELS, np.ones(3))
    whole.add(*parts)
    for begin in range(0, 40, 7):
        cut = slice(begin, begin + 7)
        pieces.add(*(part[:, cut] for part in parts[:4]), parts[4][cut])
    assert pieces.metrics() == pytest.approx(whole.metrics())


def test_many_quantiles_give_the_crps_of_the_distribution() -> None:
    """Of a normal distribution it is sigma (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi))."""
    levels = (np.arange(2001) + 0.5) / 2001
    rng = np.random.default_rng(1)
    target_FB = rng.normal(size=(1, 50))
    quantiles_FBQ = np.broadcast_to(norm.ppf(levels, 0.3, 1.5), (1, 50, len(levels)))
    score = ForecastScore(levels.tolist(), np.ones(1))
    score.add(np.full((1, 50), 0.3), quantiles_FBQ, target_FB, np.ones((1, 50)), np.zeros(50, np.int64))
    z = (target_FB - 0.3) / 1.5
    exact = 1.5 * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
    assert score.metrics()["crps"] == pytest.approx(exact.mean(), rel=1e-3)


def test_names_and_places() -> None:
    assert coverage_name((0.05, 0.5, 0.95)) == "coverage_90"
    assert coverage_name((0.025, 0.5, 0.975)) == "coverage_95"
    assert spread_evenly(5, None).tolist() == [0, 1, 2, 3, 4]
    assert spread_evenly(100, 3).tolist() == [0, 50, 99]
    none = ForecastScore(LEVELS, np.array([np.nan]))
    assert none.metrics()["mase"] is None
