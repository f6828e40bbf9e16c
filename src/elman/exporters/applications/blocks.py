"""Modules as operators of ONNX: a function for each, which adds it to a graph and returns the name of its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from torch import Tensor, nn

from elman.exporters.onnx import own_cell
from elman.exporters.onnx.graph import GraphBuilder, value
from elman.exporters.onnx.layers import step_graph, whole_graph
from elman.exporters.stack import OWN, Array, LayerStack, stack_of
from elman.modules.softmax import AdaptiveSoftmax, FullSoftmax

LOWEST = float(np.finfo(np.float32).min)
"""Stands for minus infinity, of which a whole row would make the softmax NaN."""

END = np.iinfo(np.int64).max
"""The end of an axis, for Slice."""


def array(tensor: Tensor) -> Array:
    """Return a tensor as an array."""
    result: Array = tensor.detach().cpu().numpy()
    return result


def linear(graph: GraphBuilder, module: nn.Linear, x: str) -> str:
    """Return W x + b."""
    return affine(graph, x, array(module.weight), None if module.bias is None else array(module.bias))


def affine(graph: GraphBuilder, x: str, weight: Array, bias: Array | None = None) -> str:
    """Return x W^T + b, for a weight (outputs, inputs)."""
    y = graph.add("MatMul", x, graph.weight("weight", weight.T, 1))
    return y if bias is None else graph.add("Add", y, graph.weight("bias", bias))


def embedding(graph: GraphBuilder, weight: Tensor, ids: str, *, zero_beyond: bool = False) -> str:
    """Return the vectors of token ids; with `zero_beyond` that of an id beyond the symbols is zero."""
    table = array(weight)
    if zero_beyond:
        ids = graph.add("Min", ids, graph.constant(len(table)))
        table = np.concatenate([table, np.zeros_like(table[:1])])
    return graph.add("Gather", graph.weight("embedding", table), ids, axis=0)


def states_of(stack: LayerStack, prefix: str = "", ending: str = "") -> dict[str, tuple[int | str, ...]]:
    """Return the names and shapes (L*D, B, H) of the states of recurrent layers."""
    count = len(stack.layers) * stack.num_directions
    sizes = zip(stack.states, stack.state_sizes, strict=True)
    return {f"{prefix}{name}{ending}": (count, "B", size) for name, size in sizes}


def state_inputs(stack: LayerStack, prefix: str = "") -> list[onnx.ValueInfoProto]:
    """Return the descriptions of the states as inputs of a graph."""
    return [value(name, shape) for name, shape in states_of(stack, prefix).items()]


def initial_states(graph: GraphBuilder, stack: LayerStack, batch: str) -> list[str]:
    """Return the states before the first step of B sequences; `batch` is B, (1,)."""
    count = len(stack.layers) * stack.num_directions
    states = []
    for rows in stack.initial_states(1):
        shape = graph.add("Concat", graph.constant([count]), batch, graph.constant([rows.shape[2]]), axis=0)
        states.append(graph.add("Expand", graph.constant(rows, np.float32), shape))
    return states


def size(graph: GraphBuilder, x: str, axis: int) -> str:
    """Return the size of an axis, (1,)."""
    return graph.add("Shape", x, start=axis, end=axis + 1)


def recurrent(
    graph: GraphBuilder, layer: nn.Module, x_TBI: str, states: Sequence[str] | None = None, lengths: str | None = None
) -> tuple[str, list[str]]:
    """Return the outputs (T, B, F) and the states after the last step; `states` of None are the initial ones."""
    stack = stack_of(layer)
    whole = whole_graph(stack, lengths=lengths is not None, precision=graph.precision, cell=_own_step(stack))
    before = initial_states(graph, stack, size(graph, x_TBI, 1)) if states is None else states
    y, *after = own_cell.inlined(graph, whole, [x_TBI, *([] if lengths is None else [lengths]), *before])
    return y, after


def recurrent_step(graph: GraphBuilder, layer: nn.Module, x_BI: str, states: Sequence[str]) -> tuple[str, list[str]]:
    """Return the output (B, F) and the states after one step."""
    stack = stack_of(layer)
    step = step_graph(stack, precision=graph.precision, cell=_own_step(stack))
    y, *after = own_cell.inlined(graph, step, [x_BI, *states])
    return y, after


def _own_step(stack: LayerStack) -> onnx.ModelProto | None:
    return own_cell.step_model(stack) if stack.cell == OWN else None


def softmax_logits(graph: GraphBuilder, module: FullSoftmax | AdaptiveSoftmax, s: str) -> str:
    """Return the logits of all symbols, (..., V), as `module.logits` does."""
    if isinstance(module, FullSoftmax):
        tied: list[Any] = module._tied
        return affine(graph, s, array(tied[0].weight if tied else module.weight), array(module.bias))
    softmax: Any = module.softmax
    head = graph.add("LogSoftmax", linear(graph, softmax.head, s), axis=-1)
    clusters = softmax.n_clusters
    first, *rest = graph.add_several(
        "Split", [head, graph.constant([softmax.shortlist_size, *[1] * clusters])], 1 + clusters, axis=-1
    )
    tails = []
    for cluster_log_p, tail in zip(rest, softmax.tail, strict=True):
        y = linear(graph, tail[1], linear(graph, tail[0], s))
        tails.append(graph.add("Add", graph.add("LogSoftmax", y, axis=-1), cluster_log_p))
    return graph.add("Concat", first, *tails, axis=-1)


def existing_steps(graph: GraphBuilder, x_TB: str, lengths_B: str) -> str:
    """Return booleans (T, B), true for the steps within the lengths, (B,) int32."""
    T = graph.add("Squeeze", size(graph, x_TB, 0), graph.constant([0]))
    steps_T = graph.add("Range", graph.constant(0), T, graph.constant(1))
    steps_T1 = graph.add("Unsqueeze", steps_T, graph.constant([1]))
    return graph.add("Less", steps_T1, graph.add("Cast", lengths_B, to=onnx.TensorProto.INT64))


def last_output(graph: GraphBuilder, states: Sequence[str], directions: int) -> str:
    """Return the output of the last layer at the last step, (B, D*H), from the states of layers with D directions."""
    axis = graph.constant([0])
    last = graph.add("Slice", states[0], graph.constant([-directions]), graph.constant([np.iinfo(np.int64).max]), axis)
    if directions == 1:
        return graph.add("Squeeze", last, axis)
    parts = graph.add_several("Split", [last, graph.constant([1] * directions)], directions, axis=0)
    return graph.add("Concat", *[graph.add("Squeeze", part, axis) for part in parts], axis=1)


def unsqueezed(graph: GraphBuilder, x: str, axis: int) -> str:
    """Return x with an axis of size 1."""
    return graph.add("Unsqueeze", x, graph.constant([axis]))


def floats(graph: GraphBuilder, x: str) -> str:
    """Return x as float32."""
    return graph.add("Cast", x, to=onnx.TensorProto.FLOAT)


def scalar(graph: GraphBuilder, number: float) -> str:
    """Return a constant in float32."""
    return graph.constant(number, np.float32)


def positive_length(graph: GraphBuilder, lengths_B: str) -> str:
    """Return the lengths, at least 1, as float32 (B, 1)."""
    return unsqueezed(graph, graph.add("Max", floats(graph, lengths_B), scalar(graph, 1)), 1)


def state_parts(state: Any) -> tuple[Any, ...]:
    """Return the tensors of a state of recurrent layers."""
    return state if isinstance(state, tuple) else (state,)
