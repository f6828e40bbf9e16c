"""Pictures of forecasts: the past, what was forecast with its bands, and what came."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elman.data.series.windows import ForecastFunction, Windows, spread_evenly
from elman.errors import SettingError, extra
from elman.evaluation.baselines.seasonal_naive import Naive

SHOWN_PAST = 3  # as many steps of the past as three horizons are drawn
PANELS = 3  # windows of a series in a picture
SERIES = 20  # that are drawn


class Drawing(NamedTuple):
    """One window of a series, in its own units.

    Attributes:
        title: where its future begins.
        past_T: what came before.
        quantiles_FQ: what was forecast.
        naive_F: what the seasonal naive forecast said.
        future_F: what came; nan where it is missing.
    """

    title: str
    past_T: NDArray[np.floating]
    quantiles_FQ: NDArray[np.floating]
    naive_F: NDArray[np.floating]
    future_F: NDArray[np.floating]


def draw_forecasts(path: Path, name: str, drawings: Sequence[Drawing], levels: Sequence[float]) -> None:
    """Draw windows of one series, one below the other, into a PNG.

    Raises:
        MissingExtraError: matplotlib is not there.
        SettingError: the file cannot be written.
    """
    with extra("plot", "drawing"):
        from matplotlib import colormaps
        from matplotlib.figure import Figure
    figure = Figure(figsize=(9, 2.6 * len(drawings)), layout="constrained")
    for n, (axes, drawing) in enumerate(
        zip(np.ravel(figure.subplots(len(drawings), 1, squeeze=False)), drawings, strict=True)
    ):
        F, half = len(drawing.quantiles_FQ), len(levels) // 2
        past_T = drawing.past_T[-SHOWN_PAST * F :]
        ahead = np.arange(1, F + 1)
        axes.plot(np.arange(1 - len(past_T), 1), past_T, color="0.35", linewidth=1, label="past")
        for k in range(half):
            label = f"{levels[k]:g} to {levels[-1 - k]:g}" if k in (0, half - 1) else None
            low, high = drawing.quantiles_FQ[:, k], drawing.quantiles_FQ[:, -1 - k]
            axes.fill_between(
                ahead, low, high, color=colormaps["Blues"](0.2 + 0.4 * k / half), linewidth=0, label=label
            )
        axes.plot(ahead, drawing.quantiles_FQ[:, half], color="C0", label="forecast")
        axes.plot(ahead, drawing.naive_F, color="C1", linewidth=0.8, linestyle="--", label="seasonal naive")
        axes.plot(ahead, drawing.future_F, color="k", linewidth=1, label="what came")
        axes.set_title(f"{name}, from {drawing.title} on" if n == 0 else f"from {drawing.title} on", fontsize=9)
        if n == 0:
            axes.legend(fontsize=7, loc="upper left", ncols=3)
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise SettingError(f"{path} cannot be written", found=error.strerror, hint="--out another folder") from error


def draw_windows(folder: Path, windows: Windows, say: ForecastFunction, naive: Naive, levels: Sequence[float]) -> None:
    """Draw a few windows of each of the first series into `folder`, a PNG for each series; errors as `draw_forecasts`.

    Args:
        folder: is there.
        windows: where they are.
        say: the forecaster, see `elman.evaluation.metrics.forecasts.score`.
        naive: the forecast that is drawn beside it.
        levels: of the quantiles.
    """
    panel, horizon = windows.panel, windows.horizon
    places = windows.places(np.arange(len(windows)))
    shown = [(group, column) for group in range(len(panel.groups)) for column in range(len(panel.columns))]
    for group, column in shown[:SERIES]:
        own = np.flatnonzero((places.groups == group) & (places.columns == column))
        if not len(own):
            continue
        numbers = own[spread_evenly(len(own), PANELS)]
        batch = windows.batch(numbers)
        level, deviation = windows.scaler.mean[group, column], windows.scaler.deviation[group, column]
        quantiles_FBQ = say(batch, numbers)[1] * deviation + level
        naive_FB = naive.say(windows.history(numbers, naive.season), horizon, batch.series_B.numpy())[0]
        drawings = []
        for b, row in enumerate(places.rows[numbers]):
            values_T = panel.values[group][:, column]
            title = panel.clock.text(int(panel.starts[group]) + int(row) * panel.clock.every)
            past_T, future_F = values_T[max(0, row - windows.lookback) : row], values_T[row : row + horizon]
            drawings.append(Drawing(title, past_T, quantiles_FBQ[:, b], naive_FB[:, b] * deviation + level, future_F))
        name = panel.series[group * len(panel.columns) + column]
        draw_forecasts(folder / f"forecast-{group * len(panel.columns) + column + 1}.png", name, drawings, levels)
