"""Modules of forecasters as operators of ONNX: instance normalisation, networks, and heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from elman.exporters.applications.blocks import (
    END,
    affine,
    array,
    embedding,
    last_output,
    linear,
    recurrent,
    recurrent_step,
    scalar,
    size,
    unsqueezed,
)
from elman.exporters.onnx.graph import GraphBuilder, value
from elman.exporters.stack import stack_of
from elman.modules.forecast_heads import MIN_SCALE, DistributionHead, QuantileHead
from elman.modules.normalisation import EPSILON, InstanceNorm
from elman.modules.segment_rnn import SegmentRNN
from elman.modules.step_rnn import DirectRNN, RecursiveRNN


class WindowInputs(NamedTuple):
    """Values of a graph that a forecasting network reads; T is the lookback and S the lookback and the horizon.

    Attributes:
        x_TB: the normalised past.
        observed_TB: 1 where there is a value.
        calendar_SBK: features of the calendar, or None.
        known_SBK: scaled covariates, or None.
        series_B: the number of each series.
        lookback: T.
    """

    x_TB: str
    observed_TB: str
    calendar_SBK: str | None
    known_SBK: str | None
    series_B: str
    lookback: int

    @property
    def covariates(self) -> list[str]:
        """The covariates that there are."""
        return [each for each in (self.calendar_SBK, self.known_SBK) if each is not None]


def forward_filled(graph: GraphBuilder, z_TB: str) -> str:
    """Return values with the last one before it in place of each nan, and 0 where there is none before."""
    body = GraphBuilder(parent=graph)
    before, here = body.name("before"), body.name("here")
    filled = body.add("Where", body.add("IsNaN", here), before, here)
    results = [body.add("Identity", filled) for _ in range(2)]
    proto = body.body(
        graph.name("fill"), [value(name, ("B",)) for name in (before, here)], [value(name, ("B",)) for name in results]
    )
    zeros = graph.add("Expand", scalar(graph, 0), size(graph, z_TB, 1))
    return graph.add_several("Scan", [zeros, z_TB], 2, body=proto, num_scan_inputs=1)[1]


def instance_norm(
    graph: GraphBuilder, module: InstanceNorm, x_TB: str, observed_TB: str, series_B: str
) -> tuple[str, str, str]:
    """Return the normalised windows, and the location and scale (B) that undo it."""
    first, axis = graph.constant([-1]), graph.constant([0])
    if module.name == "last":
        location = graph.add("Squeeze", graph.add("Slice", x_TB, first, graph.constant([END]), axis), axis)
        scale = graph.add("Expand", scalar(graph, 1), size(graph, x_TB, 1))
    elif module.name == "none":
        location = graph.add("Expand", scalar(graph, 0), size(graph, x_TB, 1))
        scale = graph.add("Expand", scalar(graph, 1), size(graph, x_TB, 1))
    else:
        count = graph.add("Max", graph.add("ReduceSum", observed_TB, axis, keepdims=0), scalar(graph, 1))
        total = graph.add("ReduceSum", graph.add("Mul", x_TB, observed_TB), axis, keepdims=0)
        location = graph.add("Div", total, count)
        distance = graph.add("Sub", x_TB, location)
        squares = graph.add("Mul", graph.add("Mul", distance, distance), observed_TB)
        variance = graph.add("Div", graph.add("ReduceSum", squares, axis, keepdims=0), count)
        scale = graph.add("Sqrt", graph.add("Add", variance, scalar(graph, EPSILON)))
    if module.learned:
        gain, shift = np.maximum(array(module.gain), np.float32(1e-2)), array(module.shift)
        scale = graph.add("Div", scale, graph.add("Gather", graph.weight("gain", gain), series_B))
        shifted = graph.add("Mul", graph.add("Gather", graph.weight("shift", shift), series_B), scale)
        location = graph.add("Sub", location, shifted)
    return graph.add("Div", graph.add("Sub", x_TB, location), scale), location, scale


def quantile_head(graph: GraphBuilder, module: QuantileHead, raw: str) -> str:
    """Return the quantiles, (..., Q), in rising order."""
    sizes = [module.median, 1, module.parameters_per_step - module.median - 1]
    steps, axis = graph.add("Softplus", raw), graph.constant(-1)
    below, _, above = graph.add_several("Split", [steps, graph.constant(sizes)], 3, axis=-1)
    median = graph.add_several("Split", [raw, graph.constant(sizes)], 3, axis=-1)[1]
    low = graph.add("Sub", median, graph.add("CumSum", below, axis, reverse=1))
    high = graph.add("Add", median, graph.add("CumSum", above, axis))
    return graph.add("Concat", low, median, high, axis=-1)


def distribution_head(graph: GraphBuilder, module: DistributionHead, raw: str) -> str:
    """Return the quantiles, (..., Q), of a family with location and scale."""
    location, scale = graph.add_several("Split", [raw, graph.constant([1, 1])], 2, axis=-1)
    scale = graph.add("Add", graph.add("Softplus", scale), scalar(graph, MIN_SCALE))
    standard: Any = module.family(torch.zeros(()), torch.ones(()))
    places = array(standard.icdf(torch.tensor(module.levels)))
    return graph.add("Add", location, graph.add("Mul", scale, graph.constant(places, np.float32)))


HEADS: dict[type, Callable[[GraphBuilder, Any, str], str]] = {
    QuantileHead: quantile_head,
    DistributionHead: distribution_head,
}
"""By the class of the module: (graph, module, outputs of the network (..., P)) -> quantiles (..., Q)."""


def segment_rnn(graph: GraphBuilder, module: SegmentRNN, inputs: WindowInputs) -> str:
    """Return the outputs for each step of the horizon, (F, B, P)."""
    T, W, H, ahead = inputs.lookback, module.segment, module.recurrent.hidden_size, module.ahead
    lead, batch = -T % W, size(graph, inputs.x_TB, 1)
    past = graph.add("Mul", inputs.x_TB, inputs.observed_TB)
    parts = [_segments(graph, each, lead, W) for each in (past, inputs.observed_TB)]
    e_NBH = linear(graph, module.past, graph.add("Concat", *parts, axis=2))
    identity = embedding(graph, module.identity.weight, inputs.series_B)
    e_MBH = graph.add("Add", graph.weight("place", array(module.place)[:, None]), identity)
    if module.covariates is not None:
        covariates = linear(graph, module.covariates, _segment_covariates(graph, module, inputs, lead))
        counts = graph.constant([(T + lead) // W, ahead])
        before, after = graph.add_several("Split", [covariates, counts], 2, axis=0)
        e_NBH, e_MBH = graph.add("Add", e_NBH, before), graph.add("Add", e_MBH, after)
    _, states = recurrent(graph, module.recurrent, graph.add("Relu", e_NBH))
    repeated = [graph.add("Tile", state, graph.constant([1, ahead, 1])) for state in states]
    e_1NH = graph.add("Reshape", graph.add("Relu", e_MBH), graph.constant([1, -1, H]))
    s_1NH, _ = recurrent(graph, module.recurrent, e_1NH, repeated)
    shape = graph.add("Concat", graph.constant([ahead]), batch, graph.constant([W, module.outputs]), axis=0)
    output = graph.add("Transpose", graph.add("Reshape", linear(graph, module.head, s_1NH), shape), perm=[0, 2, 1, 3])
    shape = graph.add("Concat", graph.constant([ahead * W]), batch, graph.constant([module.outputs]), axis=0)
    steps = graph.add("Reshape", output, shape)
    return graph.add("Slice", steps, graph.constant([0]), graph.constant([module.horizon]), graph.constant([0]))


def _segments(graph: GraphBuilder, x_TB: str, lead: int, segment: int) -> str:
    """Return windows split into segments, (N, B, W), with zeros before their beginning."""
    padded = graph.add("Pad", x_TB, graph.constant([lead, 0, 0, 0])) if lead else x_TB
    shape = graph.add("Concat", graph.constant([-1, segment]), size(graph, x_TB, 1), axis=0)
    return graph.add("Transpose", graph.add("Reshape", padded, shape), perm=[0, 2, 1])


def _segment_covariates(graph: GraphBuilder, module: SegmentRNN, inputs: WindowInputs, lead: int) -> str:
    T, W, F = inputs.lookback, module.segment, module.horizon
    parts = []
    if inputs.calendar_SBK is not None:
        starts = np.arange(-lead, T + F, W).clip(min=0)
        parts.append(graph.add("Gather", inputs.calendar_SBK, graph.constant(starts), axis=0))
    if inputs.known_SBK is not None:
        steps = np.arange(-lead, T + module.ahead * W).clip(0, T + F - 1)
        padded = graph.add("Gather", inputs.known_SBK, graph.constant(steps), axis=0)
        sizes = graph.add("Shape", inputs.known_SBK, start=1, end=3)
        split = graph.add("Reshape", padded, graph.add("Concat", graph.constant([-1, W]), sizes, axis=0))
        swapped = graph.add("Transpose", split, perm=[0, 2, 1, 3])
        parts.append(graph.add("Reshape", swapped, graph.constant([0, 0, -1])))
    return graph.add("Concat", *parts, axis=2)


def _steps(graph: GraphBuilder, covariates: list[str], begin: int, end: int = END) -> list[str]:
    """Return the covariates of some steps."""
    bounds = graph.constant([begin]), graph.constant([end]), graph.constant([0])
    return [graph.add("Slice", each, *bounds) for each in covariates]


def _step_inputs(graph: GraphBuilder, module: DirectRNN | RecursiveRNN, inputs: WindowInputs, first: int) -> str:
    """Return what the layers read of the past, (T, B, I), with the covariates from the step `first` on."""
    T = inputs.lookback
    values = [unsqueezed(graph, each, 2) for each in (inputs.x_TB, inputs.observed_TB)]
    identity = embedding(graph, module.identity.weight, inputs.series_B)
    size_E = graph.constant([module.identity.embedding_dim])
    sizes = graph.add("Concat", graph.add("Shape", inputs.x_TB), size_E, axis=0)
    expanded = graph.add("Expand", identity, sizes)
    return graph.add("Concat", *values, *_steps(graph, inputs.covariates, first, T + first), expanded, axis=2)


def direct_rnn(graph: GraphBuilder, module: DirectRNN, inputs: WindowInputs) -> str:
    """Return the outputs for each step of the horizon, (F, B, P)."""
    _, states = recurrent(graph, module.recurrent, _step_inputs(graph, module, inputs, 0))
    y_BX = linear(graph, module.head, last_output(graph, states, 1))
    y_BFP = graph.add("Reshape", y_BX, graph.constant([0, module.horizon, module.outputs]))
    y_FBP = graph.add("Transpose", y_BFP, perm=[1, 0, 2])
    if module.ahead is None:
        return y_FBP
    known = graph.add("Concat", *_steps(graph, inputs.covariates, inputs.lookback), axis=2)
    return graph.add("Add", y_FBP, affine(graph, known, array(module.ahead.weight)))


def recursive_rnn(graph: GraphBuilder, module: RecursiveRNN, inputs: WindowInputs) -> str:
    """Return the outputs for each step of the horizon, (F, B, P), which has as many steps as the covariates have.

    A Scan reads at each step the last output of the layers and the covariates of the step after it; those of the last
    step stand for the ones after it, whose output is not used.
    """
    y_TBH, states = recurrent(graph, module.recurrent, _step_inputs(graph, module, inputs, 1))
    last = graph.add("Slice", y_TBH, *(graph.constant([bound]) for bound in (-1, END, 0)))
    stack, graph_inputs = stack_of(module.recurrent), []
    body = GraphBuilder(parent=graph)
    names = [body.name(f"{name}_before") for name in stack.states]
    y_BH, steps = body.name("y"), [body.name("covariates") for _ in inputs.covariates]
    graph_inputs.append(value(y_BH, ("B", stack.output_size)))
    count = len(stack.layers)
    graph_inputs += [value(name, (count, "B", width)) for name, width in zip(names, stack.state_sizes, strict=True)]
    graph_inputs += [value(name, ("B", f"K{n}")) for n, name in enumerate(steps)]
    raw_BP = linear(body, module.head, y_BH)
    point_B1 = _point(body, module.output, raw_BP)
    identity = embedding(body, module.identity.weight, inputs.series_B)
    ones = body.add("Add", body.add("Mul", point_B1, scalar(body, 0)), scalar(body, 1))
    x_BI = body.add("Concat", point_B1, ones, *steps, identity, axis=1)
    after_y, after = recurrent_step(body, module.recurrent, x_BI, names)
    results = [body.add("Identity", each) for each in (after_y, *after, raw_BP)]
    shapes: list[tuple[int | str, ...]] = [("B", stack.output_size)]
    shapes += [(count, "B", width) for width in stack.state_sizes]
    shapes.append(("B", module.output.parameters_per_step))
    described = [value(name, shape) for name, shape in zip(results, shapes, strict=True)]
    proto = body.body(graph.name("step"), graph_inputs, described)
    ahead = []
    for each in inputs.covariates:
        rest, end = _steps(graph, [each], inputs.lookback + 1)[0], _steps(graph, [each], -1)[0]
        ahead.append(graph.add("Concat", rest, end, axis=0))
    start = [graph.add("Squeeze", last, graph.constant([0])), *states, *ahead]
    return graph.add_several("Scan", start, len(results), body=proto, num_scan_inputs=len(ahead))[-1]


def _point(graph: GraphBuilder, head: QuantileHead | DistributionHead, raw_BP: str) -> str:
    """Return the point forecast (B, 1), which is an output of the network in both heads."""
    place = head.median if isinstance(head, QuantileHead) else 0
    return graph.add("Slice", raw_BP, *(graph.constant([bound]) for bound in (place, place + 1, 1)))


NETWORKS: dict[type, Callable[[GraphBuilder, Any, WindowInputs], str]] = {
    SegmentRNN: segment_rnn,
    DirectRNN: direct_rnn,
    RecursiveRNN: recursive_rnn,
}
"""By the class of the module: (graph, module, inputs) -> outputs (F, B, P)."""
