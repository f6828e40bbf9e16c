"""Rolling evaluation: a forecaster on every window of some series, and the naive forecasts beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elman.data.series.window_plan import ForecastSpec
from elman.data.series.windows import ForecastFunction, Windows, spread_evenly
from elman.evaluation.baselines.seasonal_naive import Naive
from elman.evaluation.metrics.forecasts import score


def naives_of(folder: Path, plan: ForecastSpec, levels: Sequence[float]) -> list[Naive]:
    """Return the naive forecasts of a run: the season again, and the last value again; errors as of `Naive.open`."""
    seasons = [plan.season, 1] if plan.season > 1 else [1]
    return [Naive.open(folder, steps, plan.series, len(levels)) for steps in seasons]


def judge(
    what: ForecastFunction | Naive, windows: Windows, naives: Sequence[Naive], levels: Sequence[float], most: int | None
) -> dict[str, Any]:
    """Return the metrics of a forecaster, or of a naive forecast.

    Args:
        what: is judged.
        windows: on which it is.
        naives: the first of them scales MASE.
        levels: of the quantiles.
        most: how many windows at most, evenly spread; None: all.

    Returns:
        Those of `ForecastScore.metrics`, how many windows there were, and for a single series the absolute error in
        its own units.
    """
    numbers, errors_S = spread_evenly(len(windows), most), naives[0].errors_S
    if isinstance(what, Naive):
        found = what.score(windows, numbers, levels, errors_S)
    else:
        found = score(what, windows, numbers, levels, errors_S)
    metrics: dict[str, Any] = found.metrics()
    if len(errors_S) == 1:
        metrics["mae_in_units"] = metrics["mae"] * float(windows.scaler.deviation[0, 0])
    return {**metrics, "windows": len(numbers)}


def beside(
    windows: Windows, naives: Sequence[Naive], levels: Sequence[float], most: int | None
) -> dict[str, dict[str, Any]]:
    """Return the metrics of the naive forecasts, by their names; arguments as of `judge`."""
    return {naive.name: judge(naive, windows, naives, levels, most) for naive in naives}
