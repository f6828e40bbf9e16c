"""The evaluation of an exported forecaster by NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from elman.exporters.stack import Array
from elman.exporters.web.evaluation import Evaluation


def forecast(model: Evaluation, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the quantiles, (F, Q), of a series, in its own units."""
    spec, series = model.manifest["forecast"], request["series"]
    T, F, every = spec["lookback"], spec["horizon"], spec["clock"]["every"]
    values = np.array([np.nan if value is None else value for value in request["values"]], np.float64)
    start = request["first"] + (len(values) - T) * every
    mean, deviation = spec["mean"][series], spec["deviation"][series]
    x = (values[-T:] - mean) / deviation
    seen = ~np.isnan(x)
    places = np.maximum.accumulate(np.where(seen, np.arange(T), -1))
    x = np.where(places < 0, 0.0, x[np.maximum(places, 0)])
    location, scale = _window(model, x, seen, series)
    columns = (x - location) / scale, seen.astype(np.float64), _calendar(spec, start + every * np.arange(T + F))
    raw = {"segments": _segments, "direct": _direct, "recursive": _recursive}[spec["decoding"]](model, *columns, series)
    units = (_quantiles(spec, raw) * scale + location) * deviation + mean
    return {"quantiles": units if spec["min_value"] is None else np.maximum(units, spec["min_value"])}


def _calendar(spec: Mapping[str, Any], ticks: Array) -> Array:
    places = [(ticks % period / period * 2 * np.pi, waves) for period, waves in spec["cycles"]]
    columns = [f(k * place) for place, waves in places for k in range(1, waves + 1) for f in (np.sin, np.cos)]
    return np.stack(columns, -1) if columns else np.zeros((len(ticks), 0))


def _window(model: Evaluation, x: Array, seen: Array, series: int) -> tuple[float, float]:
    norm = model.manifest["forecast"]["norm"]
    if norm != "revin":
        return (float(x[-1]) if norm == "last" else 0.0), 1.0
    count = max(1, seen.sum())
    location = (x * seen).sum() / count
    scale = np.sqrt((((x - location) ** 2) * seen).sum() / count + 1e-5)
    scale /= max(model.tensors["norm.gain"][series], 1e-2)
    return float(location - model.tensors["norm.shift"][series] * scale), float(scale)


def _quantiles(spec: Mapping[str, Any], raw_FP: Array) -> Array:
    softplus = np.logaddexp(0, raw_FP)
    if spec["output"] != "quantiles":
        quantiles: Array = raw_FP[:, :1] + (softplus[:, 1:] + 1e-3) * np.array(spec["standard"])
        return quantiles
    middle = spec["levels"].index(0.5)
    median = raw_FP[:, middle : middle + 1]
    below = median - softplus[:, :middle][:, ::-1].cumsum(1)[:, ::-1]
    return np.concatenate([below, median, median + softplus[:, middle + 1 :].cumsum(1)], 1)


def _segments(model: Evaluation, z: Array, seen: Array, calendar: Array, series: int) -> Array:
    spec = model.manifest["forecast"]
    W, T, F = spec["segment"], len(z), spec["horizon"]
    lead, ahead = -T % W, -(-F // W)
    past, observed = (np.concatenate([np.zeros(lead), part]).reshape(-1, W) for part in (z * seen, seen))
    inputs = model.linear("past", np.concatenate([past, observed], 1))
    future = model.tensors["place"] + model.tensors["identity"][series]
    if "covariates.weight" in model.tensors:
        added = model.linear("covariates", calendar[np.maximum(np.arange(-lead, T + F, W), 0)])
        inputs, future = inputs + added[: len(inputs)], future + added[len(inputs) :]
    _, state = model.recurrent(np.maximum(inputs, 0))
    rows = [model.linear("head", model.recurrent(np.maximum(e, 0)[None], state)[0][0]) for e in future]
    assert len(rows) == ahead
    return np.concatenate(rows).reshape(ahead * W, -1)[:F]


def _inputs(model: Evaluation, z: Array, seen: Array, calendar: Array, series: int) -> Array:
    identity = np.tile(model.tensors["identity"][series], (len(z), 1))
    return np.concatenate([z[:, None], seen[:, None], calendar, identity], 1)


def _direct(model: Evaluation, z: Array, seen: Array, calendar: Array, series: int) -> Array:
    y, _ = model.recurrent(_inputs(model, z, seen, calendar[: len(z)], series))
    rows = model.linear("head", y[-1]).reshape(model.manifest["forecast"]["horizon"], -1)
    return rows + model.linear("ahead", calendar[len(z) :]) if "ahead.weight" in model.tensors else rows


def _recursive(model: Evaluation, z: Array, seen: Array, calendar: Array, series: int) -> Array:
    spec, T, rows = model.manifest["forecast"], len(z), []
    place = spec["levels"].index(0.5) if spec["output"] == "quantiles" else 0
    y, state = model.recurrent(_inputs(model, z, seen, calendar[1 : T + 1], series))
    for f in range(spec["horizon"]):
        rows.append(model.linear("head", y[-1]))
        if f + 1 < spec["horizon"]:
            step = _inputs(model, rows[-1][place : place + 1], np.ones(1), calendar[T + f + 1 : T + f + 2], series)
            y, state = model.recurrent(step, state)
    return np.array(rows)
