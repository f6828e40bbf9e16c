"""ONNX's own recurrent operators: one layer, in one or both directions, as a node RNN, GRU or LSTM."""

from __future__ import annotations

import numpy as np

from elman.exporters.onnx.graph import GraphBuilder
from elman.exporters.stack import Array, Direction, Layer, LayerStack
from elman.kernels.onnx_export import OPERATORS


def is_standard(stack: LayerStack) -> bool:
    """Return whether an operator of ONNX computes the layer: its cell is known, and there is no projection."""
    return stack.equations.kernel in OPERATORS and stack.projection_size is None


def recurrent_node(
    graph: GraphBuilder, stack: LayerStack, layer: Layer, x_TBI: str, states: list[str], lengths: str = ""
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
    assert stack.equations.kernel is not None
    operator, options, order = OPERATORS[stack.equations.kernel]
    directions = layer.directions
    inputs = [x_TBI, _joined(graph, "U", [_in_order(each.U, order) for each in directions])]
    inputs += [_joined(graph, "W", [_in_order(each.W, order) for each in directions]), _bias(graph, directions, order)]
    # What an operator says of its activations it says for each direction.
    attributes = {
        name: value * len(directions) if isinstance(value, list) else value for name, value in options.items()
    }
    attributes["direction"] = "forward" if len(directions) == 1 else "bidirectional"
    outputs = graph.add_several(
        operator, [*inputs, lengths, *states], 1 + len(stack.states), hidden_size=stack.hidden_size, **attributes
    )
    return outputs[0], outputs[1:]


def _joined(graph: GraphBuilder, stem: str, parts: list[Array]) -> str:
    """Return the weights (D, G*H, ...) of all directions, which under int8 are stored one by one."""
    if graph.precision != "int8":
        return graph.weight(stem, np.stack(parts), 1)
    axes = graph.constant([0])
    single = [graph.add("Unsqueeze", graph.weight(stem, part, 0), axes) for part in parts]
    return single[0] if len(single) == 1 else graph.add("Concat", *single, axis=0)


def _bias(graph: GraphBuilder, directions: tuple[Direction, ...], order: tuple[int, ...]) -> str:
    rows = []
    for each in directions:
        if each.b is None and each.b_hidden is None:
            return ""
        zeros = np.zeros(len(each.U), each.U.dtype)
        parts = (zeros if part is None else part for part in (each.b, each.b_hidden))
        rows.append(np.concatenate([_in_order(part, order) for part in parts]))
    return graph.weight("b", np.stack(rows))


def _in_order(rows: Array, order: tuple[int, ...]) -> Array:
    """Return rows of gates in ONNX's order."""
    blocks = np.split(rows, len(order))
    return np.concatenate([blocks[number] for number in order])
