"""A trained forecaster: it continues series from their end, with quantiles, and does not see the future."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman.errors import DataError, SettingError
from elman.predictors.forecaster import ForecastPredictor
from elman.predictors.options import ForecastOptions
from elman.recipes import use

Elman = Callable[..., Any]
Series = Callable[..., np.ndarray]
Monthly = Callable[..., Path]


@pytest.fixture
def file(forecast_data: Path) -> Path:
    return forecast_data


@pytest.fixture
def run(forecast_run: Path) -> Path:
    return forecast_run


def test_predictions_continue_from_the_end(
    elman: Elman, run: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions = json.loads(elman("predict", run, file, "--json").out)["predictions"]
    assert [prediction["series"] for prediction in predictions] == ["a", "b"]
    for prediction in predictions:
        assert prediction["input"] == str(file)
        assert prediction["times"] == ["2025-01", "2025-02", "2025-03", "2025-04", "2025-05", "2025-06"]
        assert prediction["forecast"] == prediction["quantiles"]["0.5"]
        values = np.array(list(prediction["quantiles"].values()))
        assert values.shape == (9, 6)
        assert (np.diff(values, axis=0) >= 0).all()
    truth = 20 + 5 * np.sin(2 * np.pi * np.arange(300, 306) / 12)
    assert np.abs(np.array(predictions[0]["forecast"]) - truth).max() < 10  # in the units of the file
    lines = elman("predict", run, file, "--set", "horizon=2").out.splitlines()
    assert lines[0] == f"a: from the end of {file}"
    assert lines[1].split() == ["0.1", "0.5", "0.9"]
    assert [line.split()[0] for line in lines[2:4]] == ["2025-01", "2025-02"]
    assert lines[4].startswith("b: ")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    piped = json.loads(elman("predict", run, "-", "--json").out)["predictions"]
    own = json.loads(elman("predict", run, "--json").out)["predictions"]
    for answers in (piped, own):
        assert [answer["forecast"] for answer in answers] == [answer["forecast"] for answer in predictions]


def test_a_forecast_does_not_see_the_future(run: Path, tmp_path: Path, series: Series, monthly: Monthly) -> None:
    """The forecast from row 200 on is the same for any values behind row 200."""
    predictor = use.load(run)
    assert isinstance(predictor, ForecastPredictor)
    cut = monthly(tmp_path / "cut.csv", series()[:200])
    expected = [answer.fields["forecast"] for answer in predictor.predict([cut])]
    values = series()
    values[200:] = 1e4
    recipe, _ = use.opened(run)
    windows, _ = recipe.read([monthly(tmp_path / "y.csv", values)], tmp_path, skip_bad=False, limit=None)
    numbers = np.flatnonzero(windows.places(np.arange(len(windows))).rows == 200)
    point_FB, _ = predictor.forecast(windows.batch(numbers), numbers)
    scaler = predictor.spec.scaler
    np.testing.assert_allclose(point_FB.T * scaler.deviation[0][:, None] + scaler.mean[0][:, None], expected, rtol=1e-5)


def test_options_are_checked(run: Path, file: Path) -> None:
    predictor = use.load(run)
    assert predictor.Options is ForecastOptions
    assert len(next(predictor.predict([file], horizon=2)).fields["times"]) == 2
    with pytest.raises(SettingError, match="horizon is out of range"):
        list(predictor.predict([file], horizon=0))
    with pytest.raises(SettingError, match=r"the horizon is too long for .*\n.*at most 6 steps\n.*7\n.*recursive"):
        list(predictor.predict([file], horizon=7))


def test_a_series_that_is_too_short_is_refused(run: Path, tmp_path: Path, series: Series, monthly: Monthly) -> None:
    with pytest.raises(DataError, match=r"too short a past to be continued\n.*24 rows"):
        list(use.load(run).predict([str(monthly(tmp_path / "short.csv", series()[:20]))]))


def test_skipped_rows_are_named(elman: Elman, run: Path, tmp_path: Path, series: Series, monthly: Monthly) -> None:
    fresh = monthly(tmp_path / "fresh.csv", series(seed=7)[:120])
    broken = tmp_path / "broken.csv"
    broken.write_text(fresh.read_text() + "2000-02,much,2\n")
    assert "line 122" in elman("predict", run, broken).err
    answer = elman("predict", run, broken, "--skip-bad")
    assert answer.err.startswith(f"skipped: {broken}, line 122")
    assert answer.out == elman("predict", run, fresh).out.replace(str(fresh), str(broken))
    predictions = json.loads(elman("predict", run, broken, "--skip-bad", "--json").out)["predictions"]
    assert [sorted(prediction)[:2] for prediction in predictions] == [["error", "input"], *[["forecast", "input"]] * 2]
