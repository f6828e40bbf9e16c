"""How well numbers are told."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def number_metrics(answer_N: NDArray[Any], target_N: NDArray[Any]) -> dict[str, float | None]:
    """Return the mean squared and the mean absolute error, R² (None where the targets are all equal), and examples."""
    answer_N, target_N = np.asarray(answer_N, np.float64), np.asarray(target_N, np.float64)
    squared = float(((answer_N - target_N) ** 2).mean())
    spread = float(target_N.var())
    return {
        "mse": squared,
        "mae": float(np.abs(answer_N - target_N).mean()),
        "r2": 1 - squared / spread if spread > 0 else None,
        "examples": len(target_N),
    }
