"""A trained forecaster: what it is measured by, and the future that it says of series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman.data.series.dataset import Panel
from elman.data.series.readers import SeriesTable, read_series
from elman.data.series.window_plan import ForecastSpec
from elman.data.series.windows import Forecast, ForecastFunction, WindowBatch, Windows
from elman.errors import DataError, NonFiniteError, RunError, SettingError
from elman.evaluation.backtest import evaluate_baselines, evaluate_forecaster, open_baselines
from elman.models.forecaster import Forecaster
from elman.modules.segment_rnn import Covariates
from elman.plots.forecasts import draw_forecasts
from elman.predictors.answer import Answer
from elman.predictors.inputs import input_file
from elman.storage.run_directory import RunDirectory

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ForecastPredictor:
    """A forecaster that is ready to use."""

    model: Forecaster
    plan: ForecastSpec
    settings: Any
    run: RunDirectory

    def evaluate(
        self, data: Sequence[Path] | None = None, *, pictures: Path | None = None, skip_bad: bool = False
    ) -> dict[str, Any]:
        """Return the metrics on all windows of `data`, or on those of the run's validation part that training judged.

        The first `lookback` rows of DATA are read and not judged.

        Raises:
            DataError, RunError: the series cannot be read, are others or too short, or the run has none.
        """
        plan, settings, run, levels = self.plan, self.settings, self.run, self.settings.quantiles
        naives, heard = (
            open_baselines(run.path, plan, levels),
            forecast_function(self.model, least_S=least_of(settings, plan)),
        )
        told: dict[str, Any] = {}
        if data:
            found = read(data, settings, plan, skip_bad=skip_bad)
            told = {"rows_left_out": found.skipped.count, "left_out": found.skipped.lines()} if skip_bad else {}
            windows, most = plan.all_of(found.panel, str(data[0])), None
        else:
            windows, most = plan.validation(panel_of(run)), settings.validation_windows
        if pictures is not None:
            draw_forecasts(pictures, windows, heard, naives[0].forecaster(windows), levels)
        metrics = evaluate_forecaster(heard, windows, naives, levels, most)
        if not np.isfinite([value for value in metrics.values() if value is not None]).all():
            raise self._no_numbers()
        return {**metrics, **told, "baselines": evaluate_baselines(windows, naives, levels, most)}

    def predict(
        self, inputs: Sequence[str] = (), *, horizon: int | None = None, skip_bad: bool = False
    ) -> Iterator[Answer]:
        """Yield the forecast of each series from the end of each input on; without inputs, of the run's own series.

        Args:
            inputs: files; "-" reads standard input.
            horizon: steps to forecast; None: as in training.
            skip_bad: leave out rows that cannot be read, and name them before the forecasts.

        Raises:
            DataError, RunError: the series cannot be read, are others or too short, or the run has none.
            SettingError: the model cannot look so far ahead.
        """
        plan = self.plan
        horizon = horizon or plan.horizon
        recursive = self.settings.decoding == "recursive"
        if horizon > plan.horizon and not recursive:
            raise SettingError(
                f"{self.run.path} cannot look so far ahead",
                should=f"at most {plan.horizon} steps",
                found=f"{horizon}",
                hint=f"train with --set horizon={horizon}, or with --set decoding=recursive, which goes on for ever",
            )
        for name in inputs or [str(self.run.path)]:
            if inputs:
                with input_file(name) as path:
                    panel, _, left_out = read([path], self.settings, plan, skip_bad=skip_bad)
                for row in left_out.lines():
                    yield Answer(f"left out: {row}", {"input": name, "error": row}, answered=False)
            else:
                panel = panel_of(self.run)
            windows = plan.beyond(panel, horizon if recursive else plan.horizon, name, needed=horizon)
            for number, series in enumerate(panel.series):
                yield self._answer(windows, number, name, series, horizon)

    def _no_numbers(self) -> NonFiniteError:
        where, hint = f"the model in {self.run.path}", "train anew, with a smaller learning rate"
        return NonFiniteError(f"{where} predicts no numbers", should="finite weights", hint=hint)

    def _answer(self, windows: Windows, number: int, source: str, series: str, horizon: int) -> Answer:
        """Return the forecast of one series in its own units."""
        group, column = divmod(number, len(self.plan.columns))
        _, quantiles_FBQ = forecast_function(self.model)(windows.batch(np.array([number])), np.array([number]))
        scaler, panel = windows.scaler, windows.panel
        values_FQ = quantiles_FBQ[:horizon, 0].astype(np.float64) * scaler.deviation[group, column]
        values_FQ += scaler.mean[group, column]
        if self.settings.least is not None:
            values_FQ = np.maximum(values_FQ, self.settings.least)  # exactly, in the units of the file
        if not np.isfinite(values_FQ).all():
            raise self._no_numbers()
        times = [panel.clock.text(panel.end(group) + f * panel.clock.every) for f in range(horizon)]
        levels = [f"{level:g}" for level in self.settings.quantiles]
        half = levels.index("0.5")
        fields = {
            "input": source,
            "series": series,
            "times": times,
            "forecast": values_FQ[:, half].tolist(),
            "quantiles": {level: values_FQ[:, q].tolist() for q, level in enumerate(levels)},
        }
        shown = [0, half, len(levels) - 1]
        lines = [f"{series}: from the end of {source}", f"{'':20} " + " ".join(f"{levels[q]:>12}" for q in shown)]
        lines += [
            f"{time:20} " + " ".join(f"{row[q]:12.6g}" for q in shown)
            for time, row in zip(times, values_FQ, strict=True)
        ]
        return Answer("\n".join(lines), fields)


def plan_of(run: Path) -> ForecastSpec:
    """Return the plan of a run."""
    return ForecastSpec.read(RunDirectory(run, {}).read_json("series.json"), f"{run}/series.json")


def panel_of(run: RunDirectory) -> Panel:
    """Return the series of a run.

    Raises:
        RunError: it came without them, or with others.
    """
    if not (run.path / "values.values.npy").exists():
        raise RunError(f"{run.path} came without its series", hint="name a file behind the run")
    panel = Panel.open(run.path, run.read_json("series.json"))
    run.check_data(panel.values.fingerprint, "series")
    return panel


def read(sources: Sequence[Path], settings: Any, plan: ForecastSpec, *, skip_bad: bool = False) -> SeriesTable:
    """Read other series in the form of the run's; times whose rows are left out are missing.

    Raises:
        DataError: they cannot be read, or are irregular in a way that the run was not told to put right.
    """
    form = settings.form
    form = replace(form, columns=form.columns or plan.columns, skip_bad=skip_bad)  # further columns are not looked at
    if skip_bad:
        form = replace(form, rules=replace(form.rules, gaps="missing"))
    try:
        return read_series(sources, form, plan.clock)
    except DataError as error:
        if not (error.hint or "").startswith("--set"):
            raise
        hint = f"mend the file, or train a run with {error.hint}"
        raise error.amended(hint=hint) from error


def say(model: Any, batch: WindowBatch) -> torch.Tensor:
    """Return what a model says of the future of windows; their future is not among what it is given."""
    covariates = Covariates(batch.calendar_SBK, batch.known_SBK)
    said: torch.Tensor = model(batch.past_TB, batch.past_seen_TB, covariates, batch.series_B)
    return said


def forecast_function(
    model: Any, device: torch.device | str = "cpu", *, least_S: Floats | None = None
) -> ForecastFunction:
    """Return a model as what `elman.evaluation.metrics.forecasts.score_forecasts` asks.

    Args:
        model: the forecaster.
        device: where it is.
        least_S: below which nothing of each series is said, as of `least_of`; None: no such value.
    """

    @torch.no_grad()
    def found(batch: WindowBatch, numbers: NDArray[np.int64]) -> Forecast:
        said_FBP = say(model, WindowBatch(*(part.to(device) for part in batch)))
        point_FB, quantiles_FBQ = model.output.point(said_FBP), model.output.quantiles(said_FBP)
        point_FB, quantiles_FBQ = point_FB.cpu().numpy(), quantiles_FBQ.cpu().numpy()
        if least_S is None:
            return point_FB, quantiles_FBQ
        least_B = least_S[batch.series_B.numpy()].astype(point_FB.dtype)
        return np.maximum(point_FB, least_B), np.maximum(quantiles_FBQ, least_B[:, None])

    return found


def least_of(settings: Any, plan: ForecastSpec) -> Floats | None:
    """Return the least value that each series can have, in units of its deviation, (S,); None where none is known.

    Of a value that is never below it, a quantile raised to it is the quantile: nothing else changes.
    """
    if settings.least is None:
        return None
    least_GC: Floats = (settings.least - plan.scaler.mean) / plan.scaler.deviation
    return least_GC.ravel()
