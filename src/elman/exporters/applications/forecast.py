"""The export of a forecaster: windows of series in their own units to quantiles in these units."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from elman.errors import DataError
from elman.exporters.applications.application import (
    NO_DATA,
    VALIDATION_INPUTS,
    Application,
    Comparison,
    finished,
    outputs,
    validation_data,
)
from elman.exporters.applications.blocks import floats
from elman.exporters.applications.forecast_blocks import HEADS, NETWORKS, WindowInputs, forward_filled, instance_norm
from elman.exporters.onnx.graph import GraphBuilder, value
from elman.exporters.parity import ParityRow
from elman.exporters.stack import Array
from elman.modules.segment_rnn import Covariates
from elman.predictors.forecaster import ForecastPredictor
from elman.recipes import use

COLUMNS = ("time_columns", "series_column", "missing_values", "gaps")
"""The settings of files that the program reads."""

REPAIRS = {"frequency": None, "unsorted": "refuse", "duplicates": "refuse"}
"""The settings that repair irregular files, and what they are where nothing is repaired."""


def application(predictor: ForecastPredictor, precision: str) -> Application:
    """Return the export of a forecaster."""
    spec, data = predictor.spec, validation_data(predictor)
    recipe, _ = use.opened(predictor.run)
    repairs = [name for name, unset in REPAIRS.items() if getattr(recipe.settings, name) != unset]
    remarks = [] if data is not None else [NO_DATA]
    if repairs:
        names = ", ".join(repairs)
        remarks.append(f"predict.py does not repair files ({names}): their rows must be regular and in order")
    return Application(
        "forecast",
        {"whole": _graph(predictor, precision)},
        {
            "x": "the last values of each series, in its unit; nan where one is missing",
            "calendar": "sine and cosine of each wave of each cycle, at the steps of the past and the future",
            "known": f"{', '.join(spec.known)}, in their units, at the steps of the past and the future",
            "series": "number of each series: the group times the columns, plus the column",
            "y": f"quantiles {', '.join(f'{level:g}' for level in predictor.levels)}, in the unit of each series",
        },
        lambda comparison: _compare(predictor, data, comparison),
        facts={
            "series": {
                **{name: getattr(recipe.settings, name) for name in COLUMNS},
                **{name: getattr(spec, name) for name in ("groups", "columns", "known", "lookback", "horizon")},
                "recursive": predictor.recursive,
                "levels": [f"{level:g}" for level in predictor.levels],
                "clock": asdict(spec.clock),
                "cycles": [{"period": period, "waves": waves} for period, waves in spec.calendar.periods],
            }
        },
        remarks=tuple(remarks),
    )


def _graph(predictor: ForecastPredictor, precision: str) -> onnx.ModelProto:
    graph, model, spec = GraphBuilder(precision), predictor.model, predictor.spec
    T, K, scaler = spec.lookback, len(spec.known), spec.scaler
    S: int | str = "S" if predictor.recursive else T + spec.horizon
    inputs = [value("x", (T, "B"), "float64"), value("series", ("B",), "int64")]
    # Without covariates a recursive network would not know how many steps to forecast.
    calendar, known = None, None
    if spec.calendar.size or (predictor.recursive and not K):
        calendar = "calendar"
        inputs.append(value("calendar", (S, "B", spec.calendar.size)))
    if K:
        inputs.append(value("known", (S, "B", K), "float64"))
        centred = graph.add("Sub", "known", graph.constant(scaler.known_mean, np.float64))
        known = floats(graph, graph.add("Div", centred, graph.constant(scaler.known_deviation, np.float64)))
    mean_B, deviation_B = (
        graph.add("Gather", graph.constant(part.ravel(), np.float64), "series")
        for part in (scaler.mean, scaler.deviation)
    )
    scaled = floats(graph, graph.add("Div", graph.add("Sub", "x", mean_B), deviation_B))
    observed = floats(graph, graph.add("Not", graph.add("IsNaN", scaled)))
    filled = forward_filled(graph, scaled)
    z, location, scale = instance_norm(graph, model.normalise, filled, observed, "series")
    window = WindowInputs(z, observed, calendar, known, "series", T)
    raw = NETWORKS[type(model.network)](graph, model.network, window)
    quantiles = HEADS[type(model.output)](graph, model.output, raw)
    last = graph.constant([1])
    quantiles = graph.add("Mul", quantiles, graph.add("Unsqueeze", scale, last))
    quantiles = graph.add("Add", quantiles, graph.add("Unsqueeze", location, last))
    y = graph.add("Cast", quantiles, to=onnx.TensorProto.DOUBLE)
    y = graph.add("Mul", y, graph.add("Unsqueeze", deviation_B, last))
    y = graph.add("Add", y, graph.add("Unsqueeze", mean_B, last))
    if predictor.min_value is not None:
        y = graph.add("Max", y, graph.constant(predictor.min_value, np.float64))
    outputs(graph, {"y": (y, ())})
    F = "F" if predictor.recursive else spec.horizon
    return finished(graph, "whole", inputs, [value("y", (F, "B", len(predictor.levels)), "float64")])


def _compare(predictor: ForecastPredictor, data: Any, comparison: Comparison) -> list[ParityRow]:
    """Compare the quantiles of random and of validation windows, in deviations, and the forecasts of the run."""
    whole, rows = comparison.session("whole"), []
    windows = {f"random windows, B = {B}": _random(predictor, B) for B in (1, 7)}
    if data is not None and len(data):
        batch = data.batch(np.linspace(0, len(data) - 1, VALIDATION_INPUTS).astype(np.int64))
        windows["validation windows"] = (
            batch.past_TB,
            batch.past_seen_TB,
            Covariates(batch[2], batch[3]),
            batch.series_B,
        )
    for title, (past_TB, seen_TB, covariates, series_B) in windows.items():
        mean_B, deviation_B = (each.ravel()[series_B.numpy()] for each in _scales(predictor))
        x_TB = np.where(seen_TB.numpy() > 0, past_TB.numpy() * deviation_B + mean_B, np.nan)
        scaler = predictor.spec.scaler
        known_SBK = covariates.known_SBK.numpy() * scaler.known_deviation + scaler.known_mean
        feeds = {"x": x_TB, "series": series_B.numpy(), "known": known_SBK}
        (y_FBQ,) = whole.run({**feeds, "calendar": covariates.calendar_SBK.numpy()})
        with torch.no_grad():
            output_FBP = predictor.model(past_TB, seen_TB, covariates, series_B)
            original = predictor.model.output.quantiles(output_FBP).double().numpy()
        if predictor.min_value is not None:
            original = np.maximum(original, ((predictor.min_value - mean_B) / deviation_B)[:, None])
        scaled = (y_FBQ - mean_B[:, None]) / deviation_B[:, None]
        rows.append(comparison.numbers("y of whole.onnx, in deviations", title, original, scaled))
    return [*rows, *(_compare_program(predictor, data, comparison) if data is not None else [])]


def _compare_program(predictor: ForecastPredictor, data: Any, comparison: Comparison) -> list[ParityRow]:
    """Compare what the program and the run forecast beyond the series of the run."""
    program, spec = comparison.program.SeriesForecaster(comparison.folder), predictor.spec
    panel, C = data.source, len(spec.columns)
    try:
        answers = list(predictor.answers())
    except DataError:  # the series of the run cannot be continued from their end
        return []
    rows = []
    for group, name in list(enumerate(panel.groups))[:VALIDATION_INPUTS]:
        times, y_FCQ = program.forecast(
            name, int(panel.starts[group]), panel.values[group], panel.ahead[group], spec.horizon
        )
        for c, answer in enumerate(answers[group * C : group * C + C]):
            original = np.stack(list(answer.fields["quantiles"].values()), -1)
            mean, deviation = (part[spec.groups.index(name), c] for part in _scales(predictor))
            pair = [(each - mean) / deviation for each in (original, y_FCQ[:, c])]
            rows.append(comparison.numbers("forecast of predict.py, in deviations", "the series of the run", *pair))
            rows += comparison.texts("times", answer.fields["times"], times)
    return rows


def _scales(predictor: ForecastPredictor) -> tuple[Array, Array]:
    return predictor.spec.scaler.mean, predictor.spec.scaler.deviation


def _random(predictor: ForecastPredictor, B: int) -> tuple[Tensor, Tensor, Covariates, Tensor]:
    """Return random windows with missing values, one of them at the beginning."""
    rng, spec = np.random.default_rng(1), predictor.spec
    T, S = spec.lookback, spec.lookback + spec.horizon
    past_TB, seen_TB = rng.standard_normal((T, B)), rng.random((T, B)) > 0.2
    seen_TB[0, 0], seen_TB[-1] = False, True
    past_TB[0] *= seen_TB[0]
    for t in range(1, T):
        past_TB[t] = np.where(seen_TB[t], past_TB[t], past_TB[t - 1])
    parts = (past_TB, seen_TB, *(rng.standard_normal((S, B, size)) for size in (spec.calendar.size, len(spec.known))))
    past, seen, calendar, known = (torch.from_numpy(np.asarray(part, np.float32)) for part in parts)
    return past, seen, Covariates(calendar, known), torch.from_numpy(rng.integers(0, spec.series, B))
