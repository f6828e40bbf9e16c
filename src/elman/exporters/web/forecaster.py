"""Forecasters for the page: scales, calendar, network and forecast head."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from elman.errors import BrokenRun, DataError, ExportError, RunError
from elman.exporters.applications.application import NO_DATA
from elman.exporters.stack import Array
from elman.exporters.web.case import SEED, WebCase, numbers
from elman.exporters.web.model import WebModel
from elman.modules.forecast_heads import DistributionHead
from elman.modules.segment_rnn import Covariates, SegmentRNN
from elman.modules.step_rnn import DirectRNN, RecursiveRNN
from elman.predictors.forecaster import ForecastPredictor

EXAMPLE = 2
"""Lookbacks of the run's own series that the page may begin with."""

DECODINGS = {SegmentRNN: "segments", DirectRNN: "direct", RecursiveRNN: "recursive"}


def describe(predictor: ForecastPredictor, example: bool = False) -> WebModel:
    """Return a forecaster as the page computes it.

    Args:
        predictor: the forecaster.
        example: whether the page has the end of the first series of the run.

    Raises:
        ExportError: it reads columns that are known ahead.
    """
    spec, model = predictor.spec, predictor.model
    if spec.known:
        raise ExportError(
            "the target web reads no columns that are known ahead",
            should="a run on the series and the calendar alone",
            found=", ".join(spec.known[:5]),
            hint="train without them, or choose another target",
        )
    network: Any = model.network
    head = model.output
    web = WebModel({"recipe": "forecast", "forecast": _fields(predictor, DECODINGS[type(network)])})
    web.fields["forecast"]["example"] = _example(predictor) if example else None
    if isinstance(head, DistributionHead):
        standard = head.family(torch.zeros(()).double(), torch.ones(()).double())
        web.fields["forecast"]["standard"] = standard.icdf(torch.tensor(head.levels, dtype=torch.float64)).tolist()
    if model.normalise.learned:
        web.add("norm.gain", model.normalise.gain)
        web.add("norm.shift", model.normalise.shift)
    web.add("identity", network.identity.weight)
    web.add("place", getattr(network, "place", None))
    for name in ("past", "covariates", "head", "ahead"):
        if isinstance(layer := getattr(network, name, None), torch.nn.Linear):
            web.add_linear(name, layer)
    web.add_recurrent(network.recurrent)
    return web


def _fields(predictor: ForecastPredictor, decoding: str) -> dict[str, Any]:
    spec, head = predictor.spec, predictor.model.output
    calendar = spec.calendar
    family = getattr(getattr(head, "family", None), "__name__", "quantiles").lower()
    groups = [f"{group} {column}".strip() for group in spec.groups for column in spec.columns]
    return {
        "decoding": decoding,
        "output": family,
        "levels": list(predictor.levels),
        "norm": predictor.model.normalise.name,
        "horizon": spec.horizon,
        "lookback": spec.lookback,
        "segment": spec.segment,
        "season": spec.season,
        "series": list(spec.groups) if len(spec.columns) == 1 and spec.groups != ("",) else groups,
        "mean": spec.scaler.mean.ravel().tolist(),
        "deviation": spec.scaler.deviation.ravel().tolist(),
        "clock": {**asdict(spec.clock), "step": spec.clock.step},
        "cycles": calendar.periods,
        "min_value": predictor.min_value,
        "start": spec.cut - spec.lookback * spec.clock.every,
    }


def _example(predictor: ForecastPredictor) -> dict[str, Any]:
    """Return the end of the first series of the run; raises RunError where the run came without its series."""
    panel = predictor.own_series()
    values = np.asarray(panel.values[0])[:, 0]
    skipped = max(0, len(values) - EXAMPLE * predictor.spec.lookback)
    return {"values": numbers(values[skipped:]), "first": int(panel.starts[0]) + skipped * panel.clock.every}


def cases(predictor: ForecastPredictor) -> list[WebCase]:
    """Return series with their forecasts: random ones, with missing values, constant ones, and those of the run."""
    return random_cases(predictor) + _own_cases(predictor)


def random_cases(predictor: ForecastPredictor) -> list[WebCase]:
    """Return random series, with missing values and constant ones, with their forecasts.

    Forecasts are compared in deviations of their series, so that no unit of a series widens the bound.
    """
    spec = predictor.spec
    rng = np.random.default_rng(SEED)
    T, rows = spec.lookback, []
    first = max(0, spec.cut - T * spec.clock.every)
    for series in sorted({0, spec.series - 1}):
        mean, deviation = _scale(predictor, series)
        walk = mean + deviation * np.cumsum(rng.standard_normal(T)) / 3
        gaps = np.where(rng.random(T) < 0.3, np.nan, walk)
        gaps[-1] = walk[-1]
        values = {"random": walk, "with missing values": gaps, "constant": np.full(T, mean), "large": 100 * walk}
        for title, past in values.items():
            request = {"values": numbers(past), "series": series, "first": first}
            expected = {"quantiles": quantiles(predictor, past, series, first)}
            rows.append(WebCase(f"{title}, series {series}", request, expected, centre=mean, unit=deviation))
    return rows


@torch.no_grad()
def quantiles(predictor: ForecastPredictor, values: Array, series: int, first: int) -> Array:
    """Return the quantiles, (F, Q), of a window of `lookback` values, in the units of the series."""
    spec, model = predictor.spec, predictor.model
    mean, deviation = _scale(predictor, series)
    scaled = (values - mean) / deviation
    seen = ~np.isnan(scaled)
    places = np.maximum.accumulate(np.where(seen, np.arange(len(scaled)), -1))
    filled = np.where(places < 0, 0.0, scaled[np.maximum(places, 0)])
    ticks = first + spec.clock.every * np.arange(spec.lookback + spec.horizon)
    calendar = torch.from_numpy(spec.calendar.features(ticks))[:, None]
    covariates = Covariates(calendar, torch.zeros(len(ticks), 1, 0))
    columns = (torch.from_numpy(part.astype(np.float32))[:, None] for part in (filled, seen))
    output = model(*columns, covariates, torch.tensor([series]))
    quantiles_FQ: Array = model.output.quantiles(output)[:, 0].double().numpy() * deviation + mean
    return quantiles_FQ if predictor.min_value is None else np.maximum(quantiles_FQ, predictor.min_value)


def _own_cases(predictor: ForecastPredictor) -> list[WebCase]:
    """Return the run's own series, from their ends; none where it came without them, or they have no continuation."""
    panel = _own_series(predictor)
    if panel is None:
        return []
    try:
        answers = list(predictor.predict())
    except DataError:
        return []
    rows = []
    for number, answer in enumerate(answers[:4]):
        group, column = divmod(number, len(predictor.spec.columns))
        values = np.asarray(panel.values[group])[:, column]
        expected = np.array(list(answer.fields["quantiles"].values())).T
        request = {"values": numbers(values), "series": number, "first": int(panel.starts[group])}
        mean, deviation = _scale(predictor, number)
        rows.append(WebCase(f"own series {number}", request, {"quantiles": expected}, centre=mean, unit=deviation))
    return rows


def remarks(predictor: ForecastPredictor) -> tuple[str, ...]:
    """Return what the comparison lacks."""
    return (NO_DATA,) if _own_series(predictor) is None else ()


def _own_series(predictor: ForecastPredictor) -> Any:
    """Return the series of the run; None where it came without them."""
    try:
        return predictor.own_series()
    except RunError as error:
        if isinstance(error, BrokenRun):
            raise
        return None


def _scale(predictor: ForecastPredictor, series: int) -> tuple[float, float]:
    """Return the mean and the deviation of a series."""
    scaler = predictor.spec.scaler
    return float(scaler.mean.ravel()[series]), float(scaler.deviation.ravel()[series])


def step_call(predictor: ForecastPredictor) -> Any:
    """Return a call of one forecast, for a measurement."""
    spec = predictor.spec
    past = np.full(spec.lookback, float(spec.scaler.mean.ravel()[0]))
    return lambda: quantiles(predictor, past, 0, 0)
