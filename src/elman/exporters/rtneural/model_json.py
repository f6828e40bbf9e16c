"""RTNeural's JSON: a model in it, and its equations over what was written.

The format is that of RTNeural's exporter for Keras, which `RTNeural::json_parser::parseJson` reads: kernels (I, G*H)
and (H, G*H); the gates of an LSTM in the order i, f, c, o with one bias, those of a GRU z, r, h with two biases, of the
input and of the past. https://github.com/jatinchowdhury18/RTNeural
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elman.exporters.chain import NONLINEARITIES, Chain, Dense
from elman.exporters.precision import floats
from elman.exporters.stack import Array, Direction, LayerStack


def model_json(chain: Chain) -> dict[str, Any]:
    """Return the model in RTNeural's format."""
    layers = [_recurrent(chain.stack, layer.forward) for layer in chain.stack.layers]
    layers += [_dense(dense) for dense in chain.dense]
    for layer in layers:
        layer["weights"] = [_numbers(array, chain.title) for array in layer["weights"]]
    return {"in_shape": [None, None, chain.stack.input_size], "layers": layers}


def _recurrent(stack: LayerStack, direction: Direction) -> dict[str, Any]:
    H = stack.hidden_size
    zeros = np.zeros(len(direction.U))
    b, c = (zeros if bias is None else bias.astype(np.float64) for bias in (direction.b, direction.b_hidden))
    if stack.cell == "lstm":
        weights = [direction.U.T, direction.W.T, b + c]
    else:
        order = np.concatenate([np.arange(H, 2 * H), np.arange(H), np.arange(2 * H, 3 * H)])  # r, z, n to z, r, h
        weights = [direction.U[order].T, direction.W[order].T, np.stack([b[order], c[order]])]
    return _layer(stack.cell, "tanh", H, weights)


def _dense(dense: Dense) -> dict[str, Any]:
    bias = np.zeros(len(dense.A)) if dense.b is None else dense.b
    return _layer("dense", "" if dense.activation == "identity" else dense.activation, len(dense.A), [dense.A.T, bias])


def _layer(kind: str, activation: str, size: int, weights: list[Array]) -> dict[str, Any]:
    return {"type": kind, "activation": activation, "shape": [None, None, size], "weights": weights}


def _numbers(array: Array, title: str) -> Any:
    """Return an array as lists of the shortest numbers that are the same in float32."""
    narrow = floats(array, title)
    return (
        [_numbers(row, title) for row in narrow] if narrow.ndim > 1 else [float(f"{number:.9g}") for number in narrow]
    )


def run_json(model: dict[str, Any], x: Array) -> Array:
    """Run RTNeural's equations over the numbers of a model, in float64: (T, B, I) to (T, B, O)."""
    for layer in model["layers"]:
        weights = [np.array(part, np.float64) for part in layer["weights"]]
        with np.errstate(over="ignore"):
            if layer["type"] == "dense":
                x = NONLINEARITIES[layer["activation"] or "identity"](x @ weights[0] + weights[1])
            else:
                x = _sequence(layer["type"], layer["shape"][-1], weights, x)
    return x


def _sequence(kind: str, size: int, weights: list[Array], x: Array) -> Array:
    kernel, recurrent, bias = weights
    h = c = np.zeros((x.shape[1], size))
    y, sigmoid = np.zeros((*x.shape[:2], size)), NONLINEARITIES["sigmoid"]
    for t, row in enumerate(x):
        if kind == "lstm":
            i, f, g, o = np.split(row @ kernel + h @ recurrent + bias, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            zx, rx, hx = np.split(row @ kernel + bias[0], 3, axis=1)
            zh, rh, hh = np.split(h @ recurrent + bias[1], 3, axis=1)
            z, r = sigmoid(zx + zh), sigmoid(rx + rh)
            h = (1 - z) * np.tanh(hx + r * hh) + z * h
        y[t] = h
    return y
