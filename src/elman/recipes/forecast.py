"""A series -> its future, with uncertainty."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from elman.data.batching import BucketBatches
from elman.data.series.builtin import SEASON, sunspots
from elman.data.series.readers import SeriesFormat, read_series
from elman.data.series.regularisation import RegularisationRules
from elman.data.series.window_plan import LONGEST, ForecastSpec
from elman.data.series.windows import WindowBatch, spread_evenly
from elman.errors import SettingError
from elman.evaluation.backtest import evaluate_baselines, evaluate_forecaster, open_baselines
from elman.evaluation.baselines.seasonal_naive import SeasonalNaive
from elman.models.forecaster import Forecaster
from elman.modules.forecast_heads import check_levels
from elman.predictors.forecaster import ForecastPredictor, forecast_function, least_of, panel_of, plan_of, read, say
from elman.predictors.options import ForecastOptions
from elman.recipes.legacy import LegacyRecipe, LegacySample
from elman.recipes.network_settings import NetworkSettings
from elman.settings import setting
from elman.storage.run_directory import RunDirectory
from elman.training.device import choose_device
from elman.training.task import Loss, Task

REFUSE = "refuse"
WINDOWS_A_MINUTE = 2000  # a short series is learned in seconds, and a longer budget would only be fitted to it
SAMPLE_ROWS, SAMPLE_BATCHES = 8, 2  # of windows that a diagnosis looks at


@dataclass(frozen=True, kw_only=True)
class ForecastSettings(NetworkSettings):
    """The settings of a forecaster."""

    time: tuple[str, ...] = setting(
        (), "column of times, or those of year,month,day,hour; none: by its name", fixed=True
    )
    time_format: str | None = setting(None, "how times are written, as %d.%m.%Y %H:%M; none: ISO 8601", fixed=True)
    series: str | None = setting(None, "column that names the series of a row (long form)", fixed=True)
    columns: tuple[str, ...] = setting((), "columns to forecast; none: all others", fixed=True)
    known: tuple[str, ...] = setting((), "columns of numbers that are known ahead", fixed=True)
    every: str | None = setting(None, "step, as 15min, 1h, 1d, 1month: the mean of what falls into each", fixed=True)
    order: str = setting(REFUSE, "rows out of order", choices=(REFUSE, "sort"), fixed=True)
    duplicates: str = setting(REFUSE, "rows of one time", choices=(REFUSE, "first", "last", "mean"), fixed=True)
    gaps: str = setting(REFUSE, "times without a row", choices=(REFUSE, "missing"), fixed=True)
    constants: str = setting(REFUSE, "series that do not move", choices=(REFUSE, "keep"), fixed=True)
    skip_bad: bool = setting(False, "leave out what cannot be read, and series that are too short", fixed=True)
    validation: float = setting(
        0.2, "share of the time, at its end, that is kept for validation", low=0, high=0.9, fixed=True
    )
    validation_windows: int = setting(1000, "most windows of it that are judged, evenly spread", low=1, fixed=True)
    season: int | None = setting(
        None, "steps of a season; none: the usual one of the step", low=1, high=LONGEST, fixed=True
    )
    horizon: int | None = setting(None, "steps to forecast; none: a season", low=1, high=LONGEST, fixed=True)
    lookback: int | None = setting(
        None, "steps that are read; none: four seasons or so", low=1, high=LONGEST, fixed=True
    )
    segment: int | None = setting(None, "steps in a segment; none: a season or so", low=1, high=LONGEST, fixed=True)
    calendar: bool = setting(True, "features of day, week and year, where the training part knows them", fixed=True)
    decoding: str = setting("segments", "how", choices=("segments", "direct", "recursive"), fixed=True)
    output: str = setting("quantiles", "what is said", choices=("quantiles", "normal", "laplace"), fixed=True)
    quantiles: tuple[float, ...] = setting((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), "their levels", fixed=True)
    normalise: str = setting("revin", "each window by itself", choices=("none", "last", "revin"), fixed=True)
    least: float | None = setting(None, "least value there can be, as 0 of counts; none: no such value")
    hidden: int = setting(128, "units of a layer", low=1, high=65536, fixed=True)
    dropout: float = setting(0.3, "probability of dropping a feature before the output", low=0, high=1)
    batch_size: int = setting(64, "windows in a batch", low=1, high=65536, fixed=True)
    evaluate_every: int = setting(40, "steps from one evaluation to the next; 0: about 20 over the run", low=0)
    patience: int = setting(20, "stop after so many evaluations without a new best; 0: never", low=0)
    learning_rate: float = setting(0.002, "step size at the top of the schedule", low=0)

    def check(self) -> None:
        super().check()
        check_levels(self.quantiles)
        if self.bidirectional:
            raise SettingError("a forecaster reads forward only", should="bidirectional=false", found="true")
        if not self.validation:
            raise SettingError("the setting validation is out of range", should="more than 0", found="0")

    @property
    def form(self) -> SeriesFormat:
        """How files are read."""
        rules = RegularisationRules(self.order, self.duplicates, self.gaps, self.every)
        return SeriesFormat(self.time, self.time_format, self.series, self.columns, self.known, rules, self.skip_bad)


def prepare(sources: Sequence[Path], settings: ForecastSettings, folder: Path) -> dict[str, Any]:
    """Read the series, fit what is fitted to their training part, and put both into the folder."""
    season = settings.season if sources else settings.season or SEASON
    panel, counts, left_out = read_series(sources or [sunspots()], settings.form)
    sizes = {name: getattr(settings, name) for name in ("horizon", "lookback", "segment", "calendar", "constants")}
    whole = panel.groups
    plan, panel = ForecastSpec.fit(
        panel, validation=settings.validation, season=season, skip_bad=settings.skip_bad, **sizes
    )
    panel.save(folder)
    plan.save(folder, panel)
    training = panel.before(plan.cut)
    for steps in {plan.season, 1}:
        SeasonalNaive.fit(training, plan.scaler, steps, plan.horizon, settings.quantiles).save(folder)
    first, last = int(panel.starts.min()), max(panel.end(n) for n in range(len(panel.groups)))
    return {
        "sources": [str(source) for source in sources] or ["yearly sunspot numbers, 1700 to 2008"],
        "fingerprint": panel.values.fingerprint,
        "series": f"{plan.series}: {', '.join(panel.series[:20])}{' ...' if plan.series > 20 else ''}",
        "times": f"{plan.clock.text(first)} to {plan.clock.text(last - plan.clock.every)}, every {plan.clock.step}",
        "validation_from": plan.clock.text(plan.cut),
        **{name.replace(" ", "_"): count for name, count in counts.items()},
        **({"left_out": told} if (told := left_out.lines()) else {}),
        **({"series_left_out": short} if (short := [name for name in whole if name not in panel.groups]) else {}),
        "windows": f"{plan.lookback} steps read, {plan.horizon} forecast, in segments of {plan.segment}",
        "season": f"{plan.season} steps",
        "calendar": ", ".join(plan.calendar.cycles) or "none that the training part knows",
        "training_windows": len(plan.training(panel)),
        "validation_windows": len(plan.validation(panel)),
    }


def build(settings: ForecastSettings, folder: Path) -> Forecaster:
    """Build the untrained model for the series in the folder."""
    plan = plan_of(folder)
    network = settings.network()
    network.pop("bidirectional")
    return Forecaster(
        decoding=settings.decoding,
        output=settings.output,
        quantiles=settings.quantiles,
        window_norm=settings.normalise,
        horizon=plan.horizon,
        segment=plan.segment,
        series=plan.series,
        calendar_features=plan.calendar.size,
        known_covariates=len(plan.known),
        hidden=settings.hidden,
        **network,
    )


def task(settings: ForecastSettings, run: RunDirectory, model: nn.Module) -> Task:
    """Return what training needs."""
    device = choose_device(settings.device)
    plan, panel = plan_of(run.path), panel_of(run)
    windows, judged = plan.training(panel), plan.validation(panel)
    naives = open_baselines(run.path, plan, settings.quantiles)
    least_S = least_of(settings, plan)
    batches = BucketBatches(np.ones(len(windows)), windows.batch, batch_size=settings.batch_size, seed=settings.seed)

    def objective(model: Any, batch: WindowBatch, state: Any) -> Loss:
        return Loss(*loss_of(model, batch, device))

    def evaluate(model: Any) -> Mapping[str, float | None]:
        return evaluate_forecaster(
            forecast_function(model, device, least_S=least_S),
            judged,
            naives,
            settings.quantiles,
            settings.validation_windows,
        )

    minutes = min(2.0, max(0.1, len(windows) / WINDOWS_A_MINUTE))
    return Task(model, batches, objective, evaluate, metric="crps", default_minutes=minutes, unit="values")


def loss_of(model: Any, batch: WindowBatch, device: torch.device | str = "cpu") -> tuple[torch.Tensor, int]:
    """Return the mean loss over the steps to come, and how many they are."""
    batch = WindowBatch(*(part.to(device) for part in batch))
    loss: tuple[torch.Tensor, int] = model.loss(say(model, batch), batch.future_FB, batch.future_seen_FB)
    return loss


def baselines(settings: ForecastSettings, run: RunDirectory) -> dict[str, Any]:
    """Return what the naive forecasts get on the run's validation data."""
    plan = plan_of(run.path)
    naives = open_baselines(run.path, plan, settings.quantiles)
    return evaluate_baselines(plan.validation(panel_of(run)), naives, settings.quantiles, settings.validation_windows)


def sample(settings: ForecastSettings, run: RunDirectory, sources: Sequence[Path]) -> LegacySample:
    """Return some windows, of DATA or of the validation part, and the loss of the training on them."""
    plan = plan_of(run.path)
    windows = plan.all_of(read(sources, settings, plan).panel, "DATA") if sources else plan.validation(panel_of(run))
    numbers = spread_evenly(len(windows), SAMPLE_ROWS * SAMPLE_BATCHES)
    batches = [windows.batch(part) for part in np.array_split(numbers, min(SAMPLE_BATCHES, len(numbers)))]
    return LegacySample(batches, lambda model, batch: loss_of(model, batch)[0], None)


def load(settings: ForecastSettings, run: RunDirectory, model: nn.Module) -> ForecastPredictor:
    """Return the trained model with what belongs to it."""
    assert isinstance(model, Forecaster)
    return ForecastPredictor(model, plan_of(run.path), settings, run)


def headline(metrics: Mapping[str, float | None]) -> str:
    """Return how well, in a few words."""
    mase, coverage = metrics["mase"], next(name for name in metrics if name.startswith("coverage"))
    return (
        f"CRPS {metrics['crps']:.4f}, MSE {metrics['mse']:.4f}, "
        + (f"MASE {mase:.3f}, " if mase is not None else "")
        + f"{metrics[coverage]:.0%} in the {coverage.removeprefix('coverage_')} % interval"
    )


def commands(folder: Path) -> list[tuple[str, str]]:
    """Return what can be done next."""
    run = shlex.quote(str(folder))
    return [
        ("Forecast from the end of its series, or of a file", f"elman predict {run} [FILE.csv]"),
        ("Measure it on a file, with pictures", f"elman evaluate {run} FILE.csv --out pictures"),
        ("See how its gradients flow", f"elman diagnose {run}"),
        ("Train it further", f"elman train forecast --out {run} --resume --minutes 10"),
    ]


RECIPE = LegacyRecipe(
    name="forecast",
    summary="a series -> its future, with quantiles or a distribution",
    data="a CSV file with a column of times, several, or a folder",
    default="yearly sunspot numbers, 1700 to 2008",
    example="elman train forecast sales.csv --set horizon=28 --minutes 5 --out runs/sales",
    settings=ForecastSettings,
    prepare=prepare,
    build=build,
    task=task,
    sample=sample,
    load=load,
    headline=headline,
    commands=commands,
    predict=ForecastOptions,
    baselines=baselines,
)
