"""A time series -> its future, with uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.data.batching import BucketBatches
from elman.data.in_memory import RowFormat
from elman.data.series.builtin import SEASON, sunspots
from elman.data.series.dataset import Panel
from elman.data.series.readers import SeriesTable, read_series
from elman.data.series.settings import SeriesSettings
from elman.data.series.window_plan import LONGEST, ForecastSpec
from elman.data.series.windows import WindowBatch, Windows, spread_evenly
from elman.data.skipped import SkippedRows
from elman.errors import RunError, SettingError
from elman.evaluation.backtest import evaluate_baselines, evaluate_forecaster, open_baselines
from elman.evaluation.baselines.seasonal_naive import SeasonalNaive
from elman.evaluation.result import Metrics
from elman.number_format import decimal, percent
from elman.plots.forecasts import draw_forecasts
from elman.plots.labels import legend_line
from elman.predictors.options import ForecastOptions
from elman.recipes.base import Part, Recipe, skipped_rows
from elman.recipes.network_settings import NetworkSettings
from elman.settings import setting
from elman.storage.files import exists
from elman.storage.run_directory import RunDirectory
from elman.training.task import Loss

if TYPE_CHECKING:
    from elman.models.forecaster import Forecaster
    from elman.predictors.forecaster import ForecastPredictor

WINDOWS_A_MINUTE = 2000  # a short series is learned in seconds, and a longer budget would overfit


@dataclass(frozen=True, kw_only=True)
class ForecastSettings(SeriesSettings, NetworkSettings):
    """Settings of forecasting."""

    validation: float = setting(0.2, "share of the time, at its end, held out", low=0, high=0.9, fixed=True)
    max_validation_windows: int = setting(1000, "most windows of it, evenly spread", low=1, fixed=True)
    season: int | None = setting(None, "its length; none: as usual for the step", low=1, high=LONGEST, fixed=True)
    horizon: int | None = setting(None, "steps to forecast; none: a season", low=1, high=LONGEST, fixed=True)
    lookback: int | None = setting(None, "steps read; none: four seasons or so", low=1, high=LONGEST, fixed=True)
    segment: int | None = setting(None, "steps in a segment; none: a season or so", low=1, high=LONGEST, fixed=True)
    calendar_features: bool = setting(True, "of day, week and year, if the training part has two", fixed=True)
    decoding: str = setting("segments", "decoding strategy", choices=("segments", "direct", "recursive"), fixed=True)
    output: str = setting("quantiles", "the distribution", choices=("quantiles", "normal", "laplace"), fixed=True)
    quantiles: tuple[float, ...] = setting((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), "their levels", fixed=True)
    window_norm: str = setting("revin", "normalisation of each window", choices=("none", "last", "revin"), fixed=True)
    min_value: float | None = setting(None, "minimum of a forecast, such as 0 for counts; none: no minimum")
    hidden: int = setting(128, "units of a layer", low=1, high=65536, fixed=True)
    dropout: float = setting(0.3, "probability of dropping a feature before the output", low=0, high=1)
    batch_size: int = setting(64, "windows in a batch", low=1, high=65536, fixed=True)
    evaluate_every: int = setting(40, "steps from one evaluation to the next; 0: about 20 over the run", low=0)
    patience: int = setting(20, "stop after so many evaluations without a new best; 0: never", low=0)
    learning_rate: float = setting(0.002, "peak learning rate", low=0)

    def check(self) -> None:
        from elman.modules.forecast_heads import check_levels

        super().check()
        check_levels(self.quantiles)
        if self.bidirectional:
            raise SettingError("a forecaster reads forward only", should="bidirectional=false", found="true")
        if not self.validation:
            raise SettingError("the setting validation is out of range", should="more than 0", found="0")


class Forecast(Recipe[ForecastSettings, Windows]):
    """Probabilistic forecasting with one recurrent network for all series."""

    name = "forecast"
    summary = "a series -> its future, with quantiles or a distribution"
    data = "a CSV file with a column of times, several, or a folder"
    default = "yearly sunspot numbers, 1700 to 2008"
    example = "elman train forecast sales.csv --set horizon=28 --minutes 5 --out runs/sales"
    Settings, Options = ForecastSettings, ForecastOptions
    rows = RowFormat(("value",), counter="time")
    metric = "crps"
    unit, examples = "values", "windows"
    sample_size = 16
    evaluation_files = "plots of a few windows of each series"

    @property
    def default_minutes(self) -> float:
        return min(2.0, max(0.1, len(self.dataset("training")) / WINDOWS_A_MINUTE))

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What series.json holds: names, sizes, scales and the clock."""
        facts: dict[str, Any] = RunDirectory(self.folder, {}).read_json("series.json")
        return facts

    @cached_property
    def spec(self) -> ForecastSpec:
        return ForecastSpec.read(self.facts, f"{self.folder}/series.json")

    @cached_property
    def panel(self) -> Panel:
        """The series of the run, those of the training and of the validation part."""
        if not exists(self.folder / "values.values.npy"):
            raise RunError(f"{self.folder} came without its series", hint="name a file behind the run")
        return Panel.open(self.folder, self.facts)

    @cached_property
    def naives(self) -> list[SeasonalNaive]:
        return open_baselines(self.folder, self.spec, self.settings.quantiles)

    def own_series(self) -> Panel:
        """Return the series of the run, which are checked to be those that it began with."""
        self.run.check_data(self.panel.values.fingerprint, "series")
        return self.panel

    def read_table(self, sources: Sequence[Path], *, skip_bad: bool) -> SeriesTable:
        return self.spec.read_table(sources, self.settings, skip_bad=skip_bad)

    def prepare(self, sources: Sequence[Path]) -> dict[str, Any]:
        s = self.settings
        table = read_series(sources or [sunspots()], s)
        sizes = {name: getattr(s, name) for name in ("horizon", "lookback", "segment", "validation", "skip_bad")}
        season, calendar = s.season or (None if sources else SEASON), s.calendar_features
        spec, panel = ForecastSpec.fit(
            table.panel, season=season, calendar=calendar, constants=s.constant_series, **sizes
        )
        panel.save(self.folder)
        spec.save(self.folder, panel)
        training = panel.before(spec.cut)
        for steps in {spec.season, 1}:
            SeasonalNaive.fit(training, spec.scaler, steps, spec.horizon, s.quantiles).save(self.folder)
        skipped_series = [name for name in table.panel.groups if name not in panel.groups]
        return {
            **spec.described(panel),
            **{name.replace(" ", "_"): count for name, count in table.counts.items()},
            **({"notes": table.notes} if table.notes else {}),
            **skipped_rows(table),
            **({"skipped_series": skipped_series} if skipped_series else {}),
        }

    def build(self) -> Forecaster:
        from elman.models.forecaster import Forecaster

        s, spec, network = self.settings, self.spec, self.settings.network()
        network.pop("bidirectional")
        return Forecaster(
            decoding=s.decoding,
            output=s.output,
            quantiles=s.quantiles,
            window_norm=s.window_norm,
            horizon=spec.horizon,
            segment=spec.segment,
            series=spec.series,
            calendar_features=spec.calendar.size,
            known_covariates=len(spec.known),
            hidden=s.hidden,
            **network,
        )

    def dataset(self, part: Part) -> Windows:
        if part == "training":
            return self.spec.training(self.panel)
        return self.spec.validation(self.panel, self.settings.max_validation_windows)

    def evaluation_data(self) -> Windows:
        self.own_series()
        return self.dataset("validation")

    def read(
        self, sources: Sequence[Path], folder: Path, *, skip_bad: bool, limit: int | None
    ) -> tuple[Windows, SkippedRows]:
        table = self.read_table(sources, skip_bad=skip_bad)
        return self.spec.all_of(table.panel, str(sources[0])), table.skipped

    def batches(self, training: Windows) -> BucketBatches[WindowBatch]:
        s = self.settings
        return BucketBatches(np.ones(len(training)), training.batch, batch_size=s.batch_size, seed=s.seed)

    def loss(self, model: Forecaster, batch: WindowBatch, state: None, progress: float | None) -> Loss:
        from elman.predictors.forecaster import model_output

        return Loss(*model.loss(model_output(model, batch), batch.future_FB, batch.future_seen_FB))

    def measure(self, model: Forecaster, data: Windows) -> Metrics:
        levels = self.settings.quantiles
        return evaluate_forecaster(self.predictor(model).forecast, data, self.naives, levels, data.most)

    def evaluate(self, model: Forecaster, data: Windows, *, out: Path | None) -> dict[str, Any]:
        if out is not None:
            naive = self.naives[0].forecaster(data)
            legend = draw_forecasts(out, data, self.predictor(model).forecast, naive, self.settings.quantiles)
        remark = {"picture_labels": legend_line(legend)} if out is not None and legend else {}
        return {**self.measure(model, data), **remark}

    def baselines(self, data: Windows) -> dict[str, Metrics]:
        return evaluate_baselines(data, self.naives, self.settings.quantiles, data.most)

    def sample(self, data: Windows) -> tuple[list[WindowBatch], None]:
        parts = np.array_split(spread_evenly(len(data), self.sample_size), min(2, len(data)))
        return [data.batch(numbers) for numbers in parts], None

    def predictor(self, model: Forecaster) -> ForecastPredictor:
        from elman.predictors.forecaster import ForecastPredictor

        s = self.settings
        return ForecastPredictor(
            model,
            self.folder,
            self.spec,
            levels=s.quantiles,
            min_value=s.min_value,
            recursive=s.decoding == "recursive",
            own_series=self.own_series,
            read_table=self.read_table,
        )

    @staticmethod
    def headline(metrics: Metrics) -> str:
        mase, coverage = metrics["mase"], next(name for name in metrics if name.startswith("coverage"))
        return (
            f"CRPS {decimal(metrics['crps'])}, MSE {decimal(metrics['mse'])}, "
            + (f"MASE {decimal(mase, 3)}, " if mase is not None else "")
            + f"{percent(metrics[coverage], 0)} in the {coverage.removeprefix('coverage_')} % interval"
        )

    def usage(self, run: str) -> list[tuple[str, str]]:
        return [("Forecast from the end of its series, or of a file", f"elman predict {run} [FILE.csv]")]
