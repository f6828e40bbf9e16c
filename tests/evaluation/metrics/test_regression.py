"""Regression metrics against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as judge

from elman.evaluation.metrics.regression import regression_metrics


def test_the_metrics_are_those_of_scikit_learn() -> None:
    answer, target = np.array([1.0, 2, 4]), np.array([1.0, 3, 5])
    result = regression_metrics(answer, target)
    assert result["mse"] == pytest.approx(judge.mean_squared_error(target, answer))
    assert result["mae"] == pytest.approx(judge.mean_absolute_error(target, answer))
    assert result["r2"] == pytest.approx(judge.r2_score(target, answer))
    assert regression_metrics(answer, np.ones(3))["r2"] is None
