"""Regression metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.evaluation.result import Metrics


def regression_metrics(predicted_N: NDArray[Any], target_N: NDArray[Any]) -> Metrics:
    """Return the mean squared and the mean absolute error, R² (None if all targets are equal), and examples."""
    predicted_N, target_N = np.asarray(predicted_N, np.float64), np.asarray(target_N, np.float64)
    squared = float(((predicted_N - target_N) ** 2).mean())
    spread = float(target_N.var())
    return {
        "mse": squared,
        "mae": float(np.abs(predicted_N - target_N).mean()),
        "r2": 1 - squared / spread if spread > 0 else None,
        "examples": len(target_N),
    }
