"""Image encoders as operators of ONNX: ResNets over pixels, and a linear layer over region features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from elman.exporters.applications.blocks import array, linear
from elman.exporters.applications.input_layers import convolution
from elman.exporters.onnx.graph import GraphBuilder
from elman.modules.image_encoder import PixelEncoder, RegionEncoder
from elman.modules.resnet import BasicBlock, ResNet


def batch_norm(graph: GraphBuilder, module: nn.BatchNorm2d, x: str) -> str:
    """Return a batch normalisation by the running mean and variance."""
    mean, variance = module.running_mean, module.running_var
    assert mean is not None and variance is not None
    parts = [graph.weight(name, array(part)) for name, part in module.named_parameters()]
    moments = [graph.constant(array(part), np.float32) for part in (mean, variance)]
    return graph.add("BatchNormalization", x, *parts, *moments, epsilon=module.eps)


def _basic_block(graph: GraphBuilder, module: BasicBlock, x: str) -> str:
    hidden = graph.add("Relu", batch_norm(graph, module.bn1, convolution(graph, module.conv1, x)))
    residual = batch_norm(graph, module.bn2, convolution(graph, module.conv2, hidden))
    if module.downsample is not None:
        shortcut: Any = module.downsample
        x = batch_norm(graph, shortcut[1], convolution(graph, shortcut[0], x))
    return graph.add("Relu", graph.add("Add", residual, x))


def _resnet(graph: GraphBuilder, module: ResNet, x_BHWC: str) -> str:
    centred = graph.add("Sub", x_BHWC, graph.constant(array(module.mean), np.float32))
    scaled = graph.add("Div", centred, graph.constant(array(module.deviation), np.float32))
    x = graph.add("Transpose", scaled, perm=[0, 3, 1, 2])
    x = graph.add("Relu", batch_norm(graph, module.bn1, convolution(graph, module.conv1, x)))
    if isinstance(module.maxpool, nn.MaxPool2d):
        x = graph.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage in range(module.stages):
        for block in getattr(module, f"layer{stage + 1}"):
            x = _basic_block(graph, block, x)
    return x


def _pixels(graph: GraphBuilder, module: PixelEncoder, x_BHWC: str) -> str:
    map_BMYX = _resnet(graph, module.net, x_BHWC)
    map_BMS = graph.add("Reshape", map_BMYX, graph.constant([0, 0, -1]))
    return graph.add("Transpose", map_BMS, perm=[0, 2, 1])


def _regions(graph: GraphBuilder, module: RegionEncoder, x_BSF: str) -> str:
    centred = graph.add("Sub", x_BSF, graph.constant(array(module.mean), np.float32))
    scaled = graph.add("Div", centred, graph.constant(array(module.deviation), np.float32))
    return graph.add("Relu", linear(graph, module.linear, scaled))


IMAGE_ENCODERS: dict[type, Callable[[GraphBuilder, Any, str], str]] = {PixelEncoder: _pixels, RegionEncoder: _regions}
"""By the class of the module: (graph, module, images) -> features (B, S, M)."""
