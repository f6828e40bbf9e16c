"""A trained forecaster: it continues series, with quantiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.in_memory import RowFormat
from elman.data.series.dataset import Panel
from elman.data.series.readers import SeriesTable
from elman.data.series.window_plan import ForecastSpec
from elman.data.series.windows import Forecast, WindowBatch, Windows
from elman.errors import SettingError
from elman.models.forecaster import Forecaster
from elman.modules.segment_rnn import Covariates
from elman.number_format import resolved
from elman.predictors.answer import Answer
from elman.predictors.base import Predictor, non_finite_output
from elman.predictors.inputs import input_file
from elman.predictors.options import ForecastOptions


class ForecastPredictor(Predictor):
    """A forecaster that is ready to use.

    Args:
        model: the model, in evaluation mode.
        run: the run directory.
        spec: names, scales and sizes of the training series.
        levels: of the quantiles.
        min_value: the minimum of a forecast, in units of the files; None: no minimum.
        recursive: whether the model forecasts any number of steps.
        own_series: () -> the series of the run.
        read_table: (paths, skip_bad=...) -> the series in files, in the format of the training.
    """

    Options = ForecastOptions
    input_rows = RowFormat(("value",), counter="time")
    one_answer_per_row = False
    model: Forecaster

    def __init__(
        self,
        model: Forecaster,
        run: Path,
        spec: ForecastSpec,
        *,
        levels: Sequence[float],
        min_value: float | None,
        recursive: bool,
        own_series: Callable[[], Panel],
        read_table: Callable[..., SeriesTable],
    ) -> None:
        super().__init__(model, run)
        self.spec, self.levels, self.min_value, self.recursive = spec, levels, min_value, recursive
        self.own_series, self.read_table = own_series, read_table

    def answers(self, inputs: Sequence[str | Path] = (), **options: Any) -> Iterator[Answer]:
        """Forecast each series from the end of each input; without inputs, those of the run.

        Args:
            inputs: files; "-" reads standard input.
            options: the fields of `ForecastOptions`.

        Raises:
            DataError: a file cannot be read, or its series are unknown or too short.
            NonFiniteError: the model gives numbers that are not finite.
            RunError: there are no inputs, and the run came without its series.
            SettingError: an option is invalid, or the horizon is too long for the model.
        """
        chosen = ForecastOptions(**options)
        horizon, trained = chosen.horizon or self.spec.horizon, self.spec.horizon
        if horizon > trained and not self.recursive:
            raise SettingError(
                f"the horizon is too long for {self.run}",
                should=f"at most {trained} steps",
                found=f"{horizon}",
                hint=f"train with --set horizon={horizon}, or with --set decoding=recursive, which has no maximum",
            )
        for name in inputs or [self.run]:
            if inputs:
                with input_file(name) as path:
                    panel, _, skipped, _ = self.read_table([path], skip_bad=chosen.skip_bad)
                for row in skipped.lines():
                    yield Answer(f"skipped: {row}", {"input": str(name), "error": row}, answered=False)
            else:
                panel = self.own_series()
            windows = self.spec.beyond(panel, horizon if self.recursive else trained, str(name), needed=horizon)
            for number, series in enumerate(panel.series):
                yield self.answer(windows, number, str(name), series, horizon)

    def forecast(self, batch: WindowBatch, numbers: NDArray[np.int64]) -> Forecast:
        """Return the point forecast and the quantiles of windows, in units of the training part's deviation.

        This is a `ForecastFunction`. Both are at least `min_value`: a quantile below the minimum of a variable is that
        minimum.
        """
        point_FB, quantiles_FBQ = self._forecast(batch)
        if self.min_value is None:
            return point_FB, quantiles_FBQ
        lowest_S = ((self.min_value - self.spec.scaler.mean) / self.spec.scaler.deviation).ravel()
        lowest_B = lowest_S[batch.series_B.numpy()].astype(point_FB.dtype)
        return np.maximum(point_FB, lowest_B), np.maximum(quantiles_FBQ, lowest_B[:, None])

    @torch.no_grad()
    def _forecast(self, batch: WindowBatch) -> Forecast:
        device, head = next(self.model.parameters()).device, self.model.output
        output_FBP = model_output(self.model, WindowBatch(*(part.to(device) for part in batch)))
        return head.point(output_FBP).cpu().numpy(), head.quantiles(output_FBP).cpu().numpy()

    def answer(self, windows: Windows, number: int, source: str, series: str, horizon: int) -> Answer:
        """Return the forecast of one series in its own units."""
        group, column = divmod(number, len(self.spec.columns))
        _, quantiles_FBQ = self._forecast(windows.batch(np.array([number])))
        scaler, panel = windows.scaler, windows.panel
        values_FQ = quantiles_FBQ[:horizon, 0].astype(np.float64) * scaler.deviation[group, column]
        values_FQ += scaler.mean[group, column]
        if self.min_value is not None:
            values_FQ = np.maximum(values_FQ, self.min_value)  # exactly, in the units of the file
        if not np.isfinite(values_FQ).all():
            raise non_finite_output(self.run)
        times = [panel.clock.text(panel.end(group) + f * panel.clock.every) for f in range(horizon)]
        levels = [f"{level:g}" for level in self.levels]
        half = levels.index("0.5")
        fields = {
            "input": source,
            "series": series,
            "times": times,
            "forecast": values_FQ[:, half].tolist(),
            "quantiles": {level: values_FQ[:, q].tolist() for q, level in enumerate(levels)},
        }
        shown_FQ = values_FQ[:, [0, half, -1]]
        widths = np.ptp(shown_FQ, axis=1)
        width = float(np.median(widths[widths > 0])) if widths.any() else np.inf
        spread = min(float(scaler.deviation[group, column]), width)
        numbers = resolved(shown_FQ.ravel(), spread)
        rows = [("", levels[0], levels[half], levels[-1]), *zip(times, *(numbers[q::3] for q in range(3)), strict=True)]
        widest = max(12, *map(len, numbers))
        lines = [f"{time:20} " + " ".join(f"{cell:>{widest}}" for cell in cells) for time, *cells in rows]
        return Answer("\n".join([f"{series}: from the end of {source}", *lines]), fields)


def model_output(model: Forecaster, batch: WindowBatch) -> Tensor:
    """Return the output of a model for windows, (F, B, P); their future is not among its inputs."""
    covariates = Covariates(batch.calendar_SBK, batch.known_SBK)
    output_FBP: Tensor = model(batch.past_TB, batch.past_seen_TB, covariates, batch.series_B)
    return output_FBP
