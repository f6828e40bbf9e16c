"""Features of sound, and what transcribers do to them, as operators of ONNX."""

from __future__ import annotations

import numpy as np
import onnx

from elman.exporters.applications.application import finished
from elman.exporters.applications.blocks import END, array, floats, scalar, size, unsqueezed
from elman.exporters.onnx.graph import GraphBuilder, value
from elman.exporters.stack import Array
from elman.modules.causal_convolution import CausalConvolution
from elman.modules.normalisation import ATTACK, HEADROOM, RELEASE


def log_mel_graph(
    filters: Array, rate: int, floor: float, *, window: float = 0.025, step: float = 0.01
) -> onnx.ModelProto:
    """Return the graph from samples (N) at a sample rate to log-mel energies (T, F), rounded to float16 as in training.

    Args:
        filters: the weight of each frequency in each band, (bins // 2 + 1, F).
        rate: the sample rate (Hz).
        floor: the least energy.
        window: seconds of a frame.
        step: seconds between frames.
    """
    graph = GraphBuilder()
    width, hop, bins = max(1, round(window * rate)), max(1, round(step * rate)), 2 * (len(filters) - 1)
    sound = graph.add("Cast", "samples", to=onnx.TensorProto.DOUBLE)
    missing = graph.add("Sub", graph.constant([width]), size(graph, "samples", 0))
    missing = graph.add("Max", missing, graph.constant([0]))
    sound = graph.add("Pad", sound, graph.add("Concat", graph.constant([0]), missing, axis=0))
    spare = graph.add("Sub", size(graph, sound, 0), graph.constant([width]))
    count = graph.add("Add", graph.add("Div", spare, graph.constant([hop])), graph.constant([1]))
    count = graph.add("Squeeze", count, graph.constant([0]))
    starts_T = graph.add("Mul", graph.add("Range", graph.constant(0), count, graph.constant(1)), graph.constant(hop))
    places_TW = graph.add("Add", unsqueezed(graph, starts_T, 1), graph.constant(np.arange(width)))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(width) / width)
    hann /= np.sqrt((hann**2).sum())
    frames_TW = graph.add("Mul", graph.add("Gather", sound, places_TW, axis=0), graph.constant(hann, np.float64))
    spectrum = graph.add("DFT", unsqueezed(graph, frames_TW, 2), graph.constant(bins), axis=1, onesided=1)
    energy = graph.add("ReduceSum", graph.add("Mul", spectrum, spectrum), graph.constant([2]), keepdims=0)
    bands = graph.add("MatMul", energy, graph.constant(filters, np.float64))
    features = floats(graph, graph.add("Log", graph.add("Max", bands, graph.constant(floor, np.float64))))
    features = floats(graph, graph.add("Cast", features, to=onnx.TensorProto.FLOAT16))
    graph.add("Identity", features, output="features")
    return finished(graph, "features", [value("samples", ("N",))], [value("features", ("T", filters.shape[1]))])


def gain_control(graph: GraphBuilder, x_TBI: str, level_B: str) -> tuple[str, str]:
    """Return log energies less a running level, (T, B, I), and the level after them; nan stands for none before."""
    loudness = graph.add("ReduceLogSumExp", x_TBI, graph.constant([2]), keepdims=0)
    features = floats(graph, size(graph, x_TBI, 2))
    loudness_TB = graph.add("Sub", loudness, graph.add("Log", features))
    body = GraphBuilder(parent=graph)
    before, loud = body.name("before"), body.name("loudness")
    level = body.add("Where", body.add("IsNaN", before), body.add("Add", loud, scalar(body, HEADROOM)), before)
    above = body.add("Sub", loud, level)
    rise = body.add("Mul", body.add("Max", above, scalar(body, 0)), scalar(body, ATTACK))
    fall = body.add("Min", body.add("Add", above, scalar(body, HEADROOM)), scalar(body, 0))
    after = body.add("Add", body.add("Add", level, rise), body.add("Mul", fall, scalar(body, RELEASE)))
    results = [body.add("Identity", after) for _ in range(2)]
    names = [[value(name, ("B",)) for name in group] for group in ((before, loud), results)]
    proto = body.body(graph.name("level"), *names)
    last_B, levels_TB = graph.add_several("Scan", [level_B, loudness_TB], 2, body=proto, num_scan_inputs=1)
    return graph.add("Sub", x_TBI, unsqueezed(graph, levels_TB, 2)), last_B


def causal_convolution(graph: GraphBuilder, module: CausalConvolution, x_TBI: str, before_KBI: str) -> tuple[str, str]:
    """Return the outputs, (T / stride, B, C), and the last kernel - stride inputs, for T a multiple of the stride."""
    K, weight = module.kernel - module.stride, array(module.linear.weight)
    kernel = weight.reshape(len(weight), module.kernel, -1).transpose(0, 2, 1)
    joined = graph.add("Concat", before_KBI, x_TBI, axis=0)
    y_BCT = graph.add(
        "Conv", graph.add("Transpose", joined, perm=[1, 2, 0]), graph.weight("kernel", kernel),
        graph.weight("bias", array(module.linear.bias)), strides=[module.stride], kernel_shape=[module.kernel],
    )  # fmt: skip
    last = graph.add("Slice", joined, *(graph.constant([bound]) for bound in (-K, END, 0)))
    return graph.add("Transpose", y_BCT, perm=[2, 0, 1]), last
