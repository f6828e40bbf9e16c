"""Plots of forecasts: the past, the forecast with its quantile bands, and the true values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elman.data.series.windows import ForecastFunction, Windows, spread_evenly
from elman.errors import extra
from elman.plots.figure_file import save_figure
from elman.plots.labels import labels_of

PAST_HORIZONS = 3  # length of the drawn past, in horizons
PANELS = 3  # windows of a series in a plot
MAX_SERIES = 20  # that are drawn
MAX_NAME = 80  # characters of the name of a series in a title


class ForecastPanel(NamedTuple):
    """One window of a series, in its own units.

    Attributes:
        title: the start of its future.
        past_T: the values before.
        quantiles_FQ: the forecast.
        baseline_F: the seasonal naive forecast.
        future_F: the true values; nan for a missing one.
    """

    title: str
    past_T: NDArray[np.floating]
    quantiles_FQ: NDArray[np.floating]
    baseline_F: NDArray[np.floating]
    future_F: NDArray[np.floating]


def draw_series(path: Path, name: str, panels: Sequence[ForecastPanel], levels: Sequence[float]) -> dict[str, str]:
    """Draw windows of one series, one below the other, into a PNG.

    Args:
        path: of the PNG.
        name: of the series.
        panels: one for each window.
        levels: of the quantiles.

    Returns:
        The legend of names that no installed font draws, see `elman.plots.labels`.

    Raises:
        MissingExtraError: matplotlib is not installed.
        SettingError: the file cannot be written.
    """
    with extra("plot", "plotting forecasts"):
        from matplotlib import colormaps
        from matplotlib.figure import Figure
    figure = Figure(figsize=(9, 2.6 * len(panels)), layout="constrained")
    labels = labels_of([name, *(panel.title for panel in panels)], MAX_NAME)
    rows = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for n, (axes, panel) in enumerate(zip(rows, panels, strict=True)):
        F, half = len(panel.quantiles_FQ), len(levels) // 2
        past_T = panel.past_T[-PAST_HORIZONS * F :]
        ahead = np.arange(1, F + 1)
        axes.plot(np.arange(1 - len(past_T), 1), past_T, color="0.35", linewidth=1, label="past")
        for k in range(half):
            label = f"{levels[k]:g} to {levels[-1 - k]:g}" if k in (0, half - 1) else None
            low, high = panel.quantiles_FQ[:, k], panel.quantiles_FQ[:, -1 - k]
            colour = colormaps["Blues"](0.2 + 0.4 * k / half)
            axes.fill_between(ahead, low, high, color=colour, linewidth=0, label=label)
        axes.plot(ahead, panel.quantiles_FQ[:, half], color="C0", label="forecast")
        axes.plot(ahead, panel.baseline_F, color="C1", linewidth=0.8, linestyle="--", label="seasonal naive")
        axes.plot(ahead, panel.future_F, color="k", linewidth=1, label="true values")
        title = f"from {labels.texts[n + 1]} on"
        axes.set_title(f"{labels.texts[0]}, {title}" if n == 0 else title, fontsize=9, **labels.style)
        if n == 0:
            axes.legend(fontsize=7, loc="upper left", ncols=3)
    save_figure(figure, path, dpi=110)
    return labels.legend


def draw_forecasts(
    folder: Path, windows: Windows, forecaster: ForecastFunction, baseline: ForecastFunction, levels: Sequence[float]
) -> dict[str, str]:
    """Draw a few windows of each of the first series into `folder`, a PNG for each series; errors as of `draw_series`.

    Args:
        folder: an existing one.
        windows: all windows.
        forecaster: the function that forecasts.
        baseline: the function that makes the seasonal naive forecasts.
        levels: of the quantiles.

    Returns:
        The name of each plot whose series no installed font draws, and the name of its series.
    """
    legend: dict[str, str] = {}
    panel, horizon = windows.panel, windows.horizon
    places = windows.places(np.arange(len(windows)))
    for n in range(min(MAX_SERIES, len(panel.groups) * len(panel.columns))):
        group, column = divmod(n, len(panel.columns))
        own = np.flatnonzero((places.groups == group) & (places.columns == column))
        if not len(own):
            continue
        numbers = own[spread_evenly(len(own), PANELS)]
        batch = windows.batch(numbers)
        level, deviation = windows.scaler.mean[group, column], windows.scaler.deviation[group, column]
        quantiles_FBQ = forecaster(batch, numbers)[1] * deviation + level
        baseline_FB = baseline(batch, numbers)[0]
        panels = []
        for b, row in enumerate(places.rows[numbers]):
            values_T = panel.values[group][:, column]
            title = panel.clock.text(int(panel.starts[group]) + int(row) * panel.clock.every)
            past_T, future_F = values_T[max(0, row - windows.lookback) : row], values_T[row : row + horizon]
            panels.append(
                ForecastPanel(title, past_T, quantiles_FBQ[:, b], baseline_FB[:, b] * deviation + level, future_F)
            )
        path = folder / f"forecast-{n + 1}.png"
        if draw_series(path, panel.series[n], panels, levels):
            legend[path.name] = panel.series[n]
    return legend
