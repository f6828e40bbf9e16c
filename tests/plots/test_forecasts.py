"""Plots of forecasts."""

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from elman.data.series.dataset import Panel
from elman.data.series.timestamps import HOUR, Clock
from elman.data.series.window_plan import ForecastSpec
from elman.data.series.windows import Forecast, WindowBatch
from elman.errors import MissingExtraError, SettingError
from elman.plots.forecasts import ForecastPanel, draw_forecasts, draw_series
from elman.storage.ragged import RaggedArrays

LEVELS = (0.1, 0.5, 0.9)


def flat(batch: WindowBatch, numbers: NDArray[np.int64]) -> Forecast:
    point_FB = np.zeros(batch.future_FB.shape)
    return point_FB, point_FB[..., None] + np.array([-1.0, 0.0, 1.0])


def test_each_series_has_a_plot(tmp_path: Path) -> None:
    values = RaggedArrays.of([np.random.default_rng(n).normal(size=(60, 2)) for n in range(2)])
    ahead = RaggedArrays.of([np.zeros((60, 0))] * 2)
    panel = Panel(("g", "h"), ("a", "b"), (), Clock("time", HOUR, "%Y-%m-%d %H:%M"), np.zeros(2, int), values, ahead)
    spec, _ = ForecastSpec.fit(panel, validation=0.3, season=4, horizon=3, lookback=8)
    draw_forecasts(tmp_path, spec.validation(panel), flat, flat, LEVELS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"forecast-{n}.png" for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("name", [r"price $\frac$ x", "$", "a_1^ {", r"\$5 $$"])
def test_names_are_literal_text(tmp_path: Path, name: str) -> None:
    panel = panel_at(1.0)._replace(title=name)
    draw_series(tmp_path / "a.png", name, [panel, panel], LEVELS)
    assert (tmp_path / "a.png").stat().st_size > 0


def panel_at(level: float) -> ForecastPanel:
    return ForecastPanel("1 May", np.zeros(9), np.zeros((3, 3)), np.zeros(3), np.full(3, level))


def test_the_height_grows_with_the_windows(tmp_path: Path) -> None:
    draw_series(tmp_path / "one.png", "x", [panel_at(1.0)], LEVELS)
    draw_series(tmp_path / "two.png", "x", [panel_at(1.0), panel_at(np.nan)], LEVELS)
    one, two = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("one", "two"))
    assert (len(two), two.shape[1]) == (2 * len(one), one.shape[1])


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match="cannot be written"):
        draw_series(tmp_path / "nothing" / "a.png", "x", [panel_at(1.0)], LEVELS)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match="plotting forecasts needs the extra 'plot'"):
        draw_series(tmp_path / "a.png", "x", [panel_at(1.0)], LEVELS)
