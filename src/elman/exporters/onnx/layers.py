"""The graphs of a recurrent layer: whole sequences, and one step."""

from __future__ import annotations

import numpy as np
import onnx

from elman.exporters.onnx import own_cell
from elman.exporters.onnx.graph import GraphBuilder, value
from elman.exporters.onnx.operators import is_standard, recurrent_node
from elman.exporters.onnx.scan import existing_steps, scan_nodes, step_nodes
from elman.exporters.stack import OWN, Layer, LayerStack

OPSET = 17
"""The version of ONNX's operators: any runtime from 2022 on has them."""


def opset_of(stack: LayerStack) -> int:
    """Return the version of operators of the graphs of a layer."""
    return own_cell.OPSET if stack.cell == OWN else OPSET


def whole_graph(
    stack: LayerStack, *, lengths: bool = False, resets: bool = False, precision: str = "float32",
    cell: onnx.ModelProto | None = None,
) -> onnx.ModelProto:  # fmt: skip
    """Return the graph from x (T, B, I), the lengths (B) and the states to y (T, B, D*P) and the states.

    Args:
        stack: the layer.
        lengths: whether it has the input `lengths`.
        resets: whether it has the input `resets`, (T, B) booleans.
        precision: of the weights.
        cell: the step of a cell with equations of its own, translated by `own_cell.step_model`.
    """
    graph = GraphBuilder(precision, cell=cell)
    D, standard = stack.num_directions, is_standard(stack) and not resets
    inputs = [value("x", ("T", "B", stack.input_size)), *([value("lengths", ("B",), "int32")] if lengths else [])]
    inputs += [value("resets", ("T", "B"), "bool")] if resets else []
    exists = existing_steps(graph, "x", "lengths") if lengths and not standard else None
    if resets:
        resets_TB1 = graph.add("Unsqueeze", "resets", graph.constant([2]))
        resets_TB1 = graph.add("And", resets_TB1, exists) if exists else resets_TB1
    states = _states_of_layers(graph, stack)
    x, after = "x", []
    for k, layer in enumerate(stack.layers):
        before = [each[k] for each in states]
        if standard:
            y, last = recurrent_node(graph, stack, layer, x, before, "lengths" if lengths else "")
            x = _joined_directions(graph, y, D, stack.output_size)
        else:
            initial = initial_rows(graph, stack, k)
            flags = (exists, resets_TB1 if resets else None)
            x, last = _scanned_layer(graph, stack, layer, x, before, initial, *flags)
        after.append(last)
    graph.add("Identity", x, output="y")
    ran = _ran(graph, lengths) if standard else None
    for number, name in enumerate(stack.states):
        parts = [last[number] for last in after]
        if ran is None:
            graph.add("Concat", *parts, axis=0, output=f"{name}_n")
        else:  # a sequence without a step keeps its state
            graph.add("Where", ran, graph.add("Concat", *parts, axis=0), name, output=f"{name}_n")
    outputs = [value("y", ("T", "B", stack.output_size)), *_described(stack, "_n")]
    return graph.model("whole", [*inputs, *_described(stack)], outputs, opset_of(stack))


def step_graph(
    stack: LayerStack, *, resets: bool = False, precision: str = "float32", cell: onnx.ModelProto | None = None
) -> onnx.ModelProto:
    """Return the graph of one step, from x (B, I) and the states to y (B, P) and the states.

    Args:
        stack: the layer, in one direction.
        resets: whether it has the input `resets`, (B) booleans.
        precision: of the weights.
        cell: the step of a cell with equations of its own, translated by `own_cell.step_model`.
    """
    graph = GraphBuilder(precision, cell=cell)
    inputs = [value("x", ("B", stack.input_size)), *([value("resets", ("B",), "bool")] if resets else [])]
    axis = graph.constant([0])
    states = _states_of_layers(graph, stack)
    if resets:
        fresh = graph.add("Unsqueeze", "resets", graph.constant([1]))
    x, after = "x", []
    for k, layer in enumerate(stack.layers):
        before = [each[k] for each in states]
        if resets:
            pairs = zip(initial_rows(graph, stack, k), before, strict=True)
            before = [graph.add("Where", fresh, initial, state) for initial, state in pairs]
        if is_standard(stack):
            _, last = recurrent_node(graph, stack, layer, graph.add("Unsqueeze", x, axis), before)
            x = graph.add("Squeeze", last[0], axis)
        else:
            single = [graph.add("Squeeze", state, axis) for state in before]
            single = step_nodes(graph, stack, layer.forward, x, single)
            x, last = single[0], [graph.add("Unsqueeze", state, axis) for state in single]
        after.append(last)
    graph.add("Identity", x, output="y")
    for number, name in enumerate(stack.states):
        graph.add("Concat", *[last[number] for last in after], axis=0, output=f"{name}_n")
    outputs = [value("y", ("B", stack.output_size)), *_described(stack, "_n")]
    return graph.model("step", [*inputs, *_described(stack)], outputs, opset_of(stack))


def initial_rows(graph: GraphBuilder, stack: LayerStack, layer: int) -> list[str]:
    """Return the initial state of a layer as constants, (D, 1, P or H) for each state."""
    D = stack.num_directions
    rows = [part[layer * D : (layer + 1) * D] for part in stack.initial_states(1)]
    return [graph.constant(part, np.float32) for part in rows]


def _described(stack: LayerStack, ending: str = "") -> list[onnx.ValueInfoProto]:
    count = len(stack.layers) * stack.num_directions
    sizes = zip(stack.states, stack.state_sizes, strict=True)
    return [value(name + ending, (count, "B", size)) for name, size in sizes]


def _states_of_layers(graph: GraphBuilder, stack: LayerStack) -> list[list[str]]:
    """Return for each state its parts, (D, B, P or H) for each layer."""
    L, D = len(stack.layers), stack.num_directions
    if L == 1:
        return [[name] for name in stack.states]
    return [graph.add_several("Split", [name, graph.constant([D] * L)], L, axis=0) for name in stack.states]


def _joined_directions(graph: GraphBuilder, y_TDBH: str, directions: int, size: int) -> str:
    if directions == 1:
        return graph.add("Squeeze", y_TDBH, graph.constant([1]))
    y_TBDH = graph.add("Transpose", y_TDBH, perm=[0, 2, 1, 3])
    return graph.add("Reshape", y_TBDH, graph.constant([0, 0, size]))  # 0 keeps T and B, also where they are 0


def _ran(graph: GraphBuilder, lengths: bool) -> str:
    """Return booleans, (B, 1) or (1), true where a sequence has a step."""
    zero = graph.constant([0])
    if lengths:
        return graph.add(
            "Unsqueeze", graph.add("Greater", "lengths", graph.constant([0], np.int32)), graph.constant([1])
        )
    return graph.add("Greater", graph.add("Shape", "x", start=0, end=1), zero)


def _scanned_layer(
    graph: GraphBuilder, stack: LayerStack, layer: Layer, x_TBI: str, before: list[str], initial: list[str],
    exists_TB1: str | None, resets_TB1: str | None,
) -> tuple[str, list[str]]:  # fmt: skip
    """Add a layer as a Scan for each direction; the states are (D, B, P or H) each."""
    outputs: list[str] = []
    finals: list[list[str]] = []
    for d, direction in enumerate(layer.directions):
        number = graph.constant(d)
        states, fresh = ([graph.add("Gather", each, number, axis=0) for each in group] for group in (before, initial))
        y, last = scan_nodes(
            graph, stack, direction, x_TBI, states,
            exists_TB1=exists_TB1, resets_TB1=resets_TB1, initial=fresh, reverse=d == 1,
        )  # fmt: skip
        outputs.append(y)
        axis = graph.constant([0])
        finals.append([graph.add("Unsqueeze", each, axis) for each in last])
    if len(outputs) == 1:
        return outputs[0], finals[0]
    joined = [graph.add("Concat", *parts, axis=0) for parts in zip(*finals, strict=True)]
    return graph.add("Concat", *outputs, axis=2), joined
