"""Input layers as operators of ONNX: symbols, standardised features, and a convolutional network over frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from elman.exporters.applications.blocks import array, embedding, linear, scalar, size
from elman.exporters.onnx.graph import GraphBuilder
from elman.modules.frame_encoder import FrameEncoder
from elman.modules.input_layers import FeatureInput, SymbolInput


def _symbols(graph: GraphBuilder, module: SymbolInput, x_TB: str) -> str:
    return embedding(graph, module.embedding.weight, x_TB)


def _features(graph: GraphBuilder, module: FeatureInput, x_TBI: str) -> str:
    centred = graph.add("Sub", x_TBI, graph.constant(array(module.mean), np.float32))
    return graph.add("Div", centred, graph.constant(array(module.deviation), np.float32))


def _frames(graph: GraphBuilder, module: FrameEncoder, x_TBHW: str) -> str:
    shift, colours = module.shift.max_shift, module.convolutions[0].in_channels
    x = x_TBHW
    if shift:
        bounds = (graph.constant([bound] * 2) for bound in (shift, -shift))
        x = graph.add("Slice", x, *bounds, graph.constant([2, 3]))
    axes = size(graph, x_TBHW, 0), size(graph, x_TBHW, 1)
    if colours == 1:
        image = graph.add("Concat", graph.constant([-1, 1]), graph.add("Shape", x, start=2, end=4), axis=0)
        x = graph.add("Reshape", x, image)
    else:
        image = graph.add("Concat", graph.constant([-1]), graph.add("Shape", x, start=2, end=5), axis=0)
        x = graph.add("Transpose", graph.add("Reshape", x, image), perm=[0, 3, 1, 2])
    x = graph.add("Div", graph.add("Sub", x, scalar(graph, module.mean)), scalar(graph, module.deviation))
    for layer in module.convolutions:
        x = LAYERS[type(layer)](graph, layer, x)
    flat = graph.add("Flatten", x, axis=1)
    y_NF = graph.add("Relu", linear(graph, module.linear, flat))
    return graph.add("Reshape", y_NF, graph.add("Concat", *axes, graph.constant([module.output_size]), axis=0))


def convolution(graph: GraphBuilder, module: nn.Conv2d, x: str) -> str:
    """Return a convolution of images (N, C, H, W)."""
    bias = "" if module.bias is None else graph.weight("bias", array(module.bias))
    (top, left), padding = (int(each) for each in module.padding), module.padding
    return graph.add(
        "Conv", x, graph.weight("kernel", array(module.weight)), bias, strides=list(module.stride),
        pads=[top, left, *map(int, padding)], dilations=list(module.dilation), group=module.groups,
    )  # fmt: skip


def group_norm(graph: GraphBuilder, module: nn.GroupNorm, x: str) -> str:
    """Return a group normalisation of images: an instance normalisation of groups of channels."""
    shape, groups = graph.add("Shape", x), module.num_groups
    grouped = graph.add("Reshape", x, graph.constant([0, groups, -1]))
    ones, zeros = (graph.constant([number] * groups, np.float32) for number in (1, 0))
    normal = graph.add("InstanceNormalization", grouped, ones, zeros, epsilon=module.eps)
    y = graph.add("Reshape", normal, shape)
    if module.weight is None:
        return y
    gain, shift = (graph.weight(name, array(each)[:, None, None]) for name, each in module.named_parameters())
    return graph.add("Add", graph.add("Mul", y, gain), shift)


LAYERS: dict[type, Callable[[GraphBuilder, Any, str], str]] = {
    nn.Conv2d: convolution,
    nn.GroupNorm: group_norm,
    nn.ReLU: lambda graph, module, x: graph.add("Relu", x),
}
"""Layers over images (N, C, H, W), by their class."""

INPUT_LAYERS: dict[type, Callable[[GraphBuilder, Any, str], str]] = {
    SymbolInput: _symbols,
    FeatureInput: _features,
    FrameEncoder: _frames,
}
"""By the class of the module: (graph, module, x (T, B, ...)) -> vectors (T, B, F)."""
