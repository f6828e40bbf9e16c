"""Graphs with weights of 8 bits: large float32 matrices become integers with a scale for each row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

from elman.exporters.precision import symmetric_rows
from elman.exporters.stack import Array

ROWS = {
    ("MatMul", 1): (2, 1),
    ("Gather", 0): (2, 0),
    ("Conv", 1): (None, 0),
    **{(operator, place): (3, 1) for operator in ("RNN", "GRU", "LSTM") for place in (1, 2)},
}
"""By an operator and the place of an input: the axes of weights there, None for any; the axis of their rows."""

LEAST_NUMBERS = 512
"""In weights that are rounded; the nodes of smaller ones would take what the rounding spares."""

LEAST_COLUMNS = 8
"""In a row, which has a scale of four bytes."""


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph whose large weights are 8-bit integers and a DequantizeLinear; biases and constants stay."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    uses: dict[str, set[tuple[str, int]]] = {}
    for node in _nodes(result.graph.node):
        for place, name in enumerate(node.input):
            uses.setdefault(name, set()).add((node.op_type, place))
    initializers, nodes = [], []
    for each in result.graph.initializer:
        axis = _axis_of_rows(each, uses.get(each.name, set()))
        if axis is None:
            initializers.append(each)
        else:
            parts, added = _rounded_weights(each, axis)
            initializers += parts
            nodes += added
    _replace(result.graph, initializers, [*nodes, *result.graph.node])
    return result


def restored(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph with the rounded weights in float32, computed here by NumPy."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    arrays = {each.name: numpy_helper.to_array(each) for each in result.graph.initializer}
    initializers, nodes, read = [], [], set()
    for node in result.graph.node:
        if node.op_type != "DequantizeLinear":
            nodes.append(node)
            continue
        axis = next(each.i for each in node.attribute if each.name == "axis")
        integers, scales = (arrays[name] for name in node.input)
        shape = [-1 if place == axis else 1 for place in range(integers.ndim)]
        initializers.append(numpy_helper.from_array(integers * scales.reshape(shape), node.output[0]))
        read |= set(node.input)
    _replace(
        result.graph, [*(each for each in result.graph.initializer if each.name not in read), *initializers], nodes
    )
    return result


def _axis_of_rows(each: onnx.TensorProto, uses: set[tuple[str, int]]) -> int | None:
    """Return the axis of the rows of a weight that is rounded; None if it stays."""
    if each.data_type != onnx.TensorProto.FLOAT or not uses or not uses <= ROWS.keys():
        return None
    axes = {ROWS[use] for use in uses}
    if any(count not in (None, len(each.dims)) for count, _ in axes):
        return None
    axis = min(axis for _, axis in axes)
    numbers, rows = (
        int(np.prod(each.dims)),
        int(np.prod(each.dims[: axis + 1]) if len(each.dims) > 2 else each.dims[axis]),
    )
    return axis if numbers >= max(LEAST_NUMBERS, LEAST_COLUMNS * rows) else None


def _rounded_weights(each: onnx.TensorProto, axis: int) -> tuple[list[onnx.TensorProto], list[onnx.NodeProto]]:
    """Return integers, scales, and the nodes that make a weight of them under its name."""
    array = numpy_helper.to_array(each)
    names = [f"{each.name}_{part}" for part in ("integers", "scale", "rows", "shape")]
    matrix = array if array.ndim == 2 else array.reshape(int(np.prod(array.shape[: axis + 1])), -1)
    rows = axis if array.ndim == 2 else 0
    integers, scales = symmetric_rows(matrix, rows)
    parts = [_constant(integers, names[0]), _constant(scales, names[1])]
    if array.ndim == 2:
        return parts, [helper.make_node("DequantizeLinear", names[:2], [each.name], axis=rows)]
    parts.append(_constant(np.array(array.shape, np.int64), names[3]))
    return parts, [
        helper.make_node("DequantizeLinear", names[:2], [names[2]], axis=rows),
        helper.make_node("Reshape", names[2:], [each.name]),
    ]


def _constant(array: Array, name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(array.copy(order="C"), name)


def _nodes(nodes: Iterator[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield nodes, and those of the graphs inside them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g.node)


def _replace(graph: onnx.GraphProto, initializers: list[onnx.TensorProto], nodes: list[onnx.NodeProto]) -> None:
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(initializers)
    graph.node.extend(nodes)
