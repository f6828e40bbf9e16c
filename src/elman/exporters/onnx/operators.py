"""ONNX's own recurrent operators: one layer, in one or both directions, as a node RNN, GRU or LSTM."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman.exporters.onnx.graph import Graph
from elman.exporters.stack import Array, Direction, Layer, LayerStack

ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid", "identity": "Affine"}
"""The activation of ONNX's RNN by our nonlinearity; Affine is a x + b, with a = 1 and b = 0 the identity."""

GATES = {"rnn": (0,), "gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}
"""Our number of each gate in ONNX's order: GRU z, r, h from r, z, n; LSTM i, o, f, c from i, f, g, o."""


def is_standard(stack: LayerStack) -> bool:
    """Return whether an operator of ONNX computes the layer: its cell is known, and there is no projection."""
    return stack.cell in GATES and stack.projection_size is None


def recurrent_node(
    graph: Graph, stack: LayerStack, layer: Layer, x_TBI: str, states: list[str], lengths: str = ""
) -> tuple[str, list[str]]:
    """Add one layer.

    Args:
        graph: where it is added.
        stack: the options of all layers.
        layer: the weights.
        x_TBI: the input.
        states: the state before the first step, (D, B, H) each.
        lengths: (B,) int32, or "" for none.

    Returns:
        The outputs (T, D, B, H) and the states after the last step, (D, B, H) each. ONNX Runtime leaves zeros where a
        sequence has no step, so that these are not the states before it.
    """
    directions = layer.directions
    inputs = [x_TBI, _joined(graph, stack, "U", [each.U for each in directions])]
    inputs += [_joined(graph, stack, "W", [each.W for each in directions]), _bias(graph, stack, directions)]
    attributes: dict[str, Any] = {"hidden_size": stack.hidden_size}
    attributes["direction"] = "forward" if len(directions) == 1 else "bidirectional"
    if stack.cell == "gru":
        attributes["linear_before_reset"] = 1
    if stack.nonlinearity is not None:
        attributes["activations"] = [ACTIVATIONS[stack.nonlinearity]] * len(directions)
        if stack.nonlinearity == "identity":
            attributes["activation_alpha"] = [1.0] * len(directions)
            attributes["activation_beta"] = [0.0] * len(directions)
    outputs = graph.add_several(
        stack.cell.upper(), [*inputs, lengths, *states], 1 + len(stack.states), **attributes
    )
    return outputs[0], outputs[1:]


def _joined(graph: Graph, stack: LayerStack, stem: str, parts: list[Array]) -> str:
    """Return the weights (D, G*H, ...) of all directions, which under int8 are stored one by one."""
    parts = [_in_order(stack, part) for part in parts]
    if graph.precision != "int8":
        return graph.weight(stem, np.stack(parts), 1)
    axes = graph.constant([0])
    single = [graph.add("Unsqueeze", graph.weight(stem, part, 0), axes) for part in parts]
    return single[0] if len(single) == 1 else graph.add("Concat", *single, axis=0)


def _bias(graph: Graph, stack: LayerStack, directions: tuple[Direction, ...]) -> str:
    rows = []
    for each in directions:
        if each.b is None and each.b_hidden is None:
            return ""
        zeros = np.zeros(len(each.U), stack.dtype)
        parts = (zeros if part is None else part for part in (each.b, each.b_hidden))
        rows.append(np.concatenate([_in_order(stack, part) for part in parts]))
    return graph.weight("b", np.stack(rows))


def _in_order(stack: LayerStack, rows: Array) -> Array:
    """Return rows of gates in ONNX's order."""
    blocks = np.split(rows, len(stack.gates))
    return np.concatenate([blocks[number] for number in GATES[stack.cell]])
