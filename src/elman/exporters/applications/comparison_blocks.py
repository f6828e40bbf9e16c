"""Comparison heads of siamese networks as operators of ONNX; the letters are those of `elman.modules.comparison`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from elman.exporters.applications.blocks import LOWEST, array, floats, linear, scalar, unsqueezed
from elman.exporters.onnx.graph import GraphBuilder
from elman.modules.comparison import Alignment, ClampedCosine, ManhattanSimilarity, ScoreDistribution

EPSILON = 1e-8  # of torch's cosine similarity


class Encoded(NamedTuple):
    """Values of encoded texts.

    Attributes:
        vector_BF: the pooled vectors.
        y_BTF: the outputs of the encoder.
        x_BTI: the word vectors.
        weight_BT: the weight of each word; 0 beyond the length.
        exists_BT1: 1 within the length, else 0.
        lengths_B1: the number of words.
    """

    vector_BF: str
    y_BTF: str
    x_BTI: str
    weight_BT: str
    exists_BT1: str
    lengths_B1: str


def total(graph: GraphBuilder, x: str, axis: int, *, keep: bool = False) -> str:
    """Return the sum over an axis."""
    return graph.add("ReduceSum", x, graph.constant([axis]), keepdims=int(keep))


def greatest(graph: GraphBuilder, x: str, axis: int) -> str:
    """Return the maximum over an axis."""
    return graph.add("ReduceMax", x, graph.constant([axis]), keepdims=0)


def manhattan(graph: GraphBuilder, module: ManhattanSimilarity, first: Encoded, second: Encoded) -> str:
    """Return the similarity of each pair, (B,)."""
    distance = graph.add("Abs", graph.add("Sub", first.vector_BF, second.vector_BF))
    scale = graph.constant(-np.exp(array(module.log_scale)), np.float32)
    return graph.add("Exp", graph.add("Div", total(graph, distance, 1), scale))


def cosine(graph: GraphBuilder, module: ClampedCosine, first: Encoded, second: Encoded) -> str:
    """Return the similarity of each pair, (B,)."""
    product = total(graph, graph.add("Mul", first.vector_BF, second.vector_BF), 1)
    norms = []
    for vector in (first.vector_BF, second.vector_BF):
        norm = graph.add("Sqrt", total(graph, graph.add("Mul", vector, vector), 1))
        norms.append(graph.add("Max", norm, scalar(graph, EPSILON)))
    similarity = graph.add("Div", product, graph.add("Mul", *norms))
    return graph.add("Clip", similarity, scalar(graph, 0), scalar(graph, 1))


DISTANCES: dict[type, Callable[[GraphBuilder, Any, Encoded, Encoded], str]] = {
    ManhattanSimilarity: manhattan,
    ClampedCosine: cosine,
}
"""By the class of the module."""


def vector_features(graph: GraphBuilder, first: Encoded, second: Encoded) -> str:
    """Return |u - v| and u * v, (B, 2F)."""
    distance = graph.add("Abs", graph.add("Sub", first.vector_BF, second.vector_BF))
    return graph.add("Concat", distance, graph.add("Mul", first.vector_BF, second.vector_BF), axis=1)


def score(graph: GraphBuilder, module: ScoreDistribution, features: str) -> str:
    """Return the mean score of the distribution, (B,)."""
    hidden: Any = module.layers[1]
    bins: Any = module.layers[4]
    log_p = linear(graph, bins, graph.add("Relu", linear(graph, hidden, features)))
    weighted = graph.add("Mul", graph.add("Softmax", log_p, axis=-1), graph.constant(array(module.score_K), np.float32))
    return total(graph, weighted, 1)


def same_words(graph: GraphBuilder, similarity_BTT: str) -> str:
    """Return 1 where two words are the same, (B, T, T)."""
    return floats(graph, graph.add("GreaterOrEqual", similarity_BTT, scalar(graph, 1)))


def same_with_neighbour(graph: GraphBuilder, same_BTT: str) -> str:
    """Return 1 where two words are the same and so are their next or their previous words, (B, T, T)."""
    moved = []
    for sign in (1, -1):
        pads = [0, *[0 if sign > 0 else 1] * 2, 0, *[1 if sign > 0 else 0] * 2]
        bounds = ([1, 1], [np.iinfo(np.int64).max] * 2) if sign > 0 else ([0, 0], [-1, -1])
        part = graph.add("Slice", same_BTT, *(graph.constant(each) for each in bounds), graph.constant([1, 2]))
        moved.append(graph.add("Pad", part, graph.constant(pads)))
    return graph.add("Mul", same_BTT, graph.add("Max", *moved))


def alignment(
    graph: GraphBuilder, module: Alignment, first: Encoded, second: Encoded, similarity_BTT: str, same_BTT: str
) -> str:
    """Return the alignment features of each pair, (B, 4P)."""
    p_BTP, q_BTP = (_projected(graph, module, text) for text in (first, second))
    hidden: Any = module.project[0]
    product = graph.add("MatMul", p_BTP, _swapped(graph, q_BTP))
    energy = graph.add("Div", product, scalar(graph, math.sqrt(hidden.out_features)))
    for weight, matrix in zip(array(module.spelling), (same_BTT, similarity_BTT), strict=True):
        energy = graph.add("Add", energy, graph.add("Mul", matrix, graph.constant(weight, np.float32)))
    matches = [similarity_BTT, same_BTT, same_with_neighbour(graph, same_BTT)]
    u_BP = _compared_words(graph, module, p_BTP, q_BTP, energy, matches, first, second)
    matches = [_swapped(graph, matrix) for matrix in matches]
    v_BP = _compared_words(graph, module, q_BTP, p_BTP, _swapped(graph, energy), matches, second, first)
    distance = graph.add("Abs", graph.add("Sub", u_BP, v_BP))
    return graph.add("Concat", graph.add("Add", u_BP, v_BP), distance, axis=-1)


def _swapped(graph: GraphBuilder, x_BTS: str) -> str:
    return graph.add("Transpose", x_BTS, perm=[0, 2, 1])


def _projected(graph: GraphBuilder, module: Alignment, text: Encoded) -> str:
    hidden: Any = module.project[0]
    p_BTP = graph.add("Tanh", linear(graph, hidden, graph.add("Concat", text.y_BTF, text.x_BTI, axis=-1)))
    return graph.add("Mul", p_BTP, text.exists_BT1)


def _compared_words(
    graph: GraphBuilder, module: Alignment, p_BTP: str, q_BTP: str, energy_BTS: str, matches: Sequence[str],
    first: Encoded, second: Encoded,
) -> str:  # fmt: skip
    """Return the mean and the maximum of the compared words of the first text, (B, 2P)."""
    exists_B1S = graph.add("Greater", _swapped(graph, second.exists_BT1), scalar(graph, 0))
    weights_BTS = graph.add("Softmax", graph.add("Where", exists_B1S, energy_BTS, scalar(graph, LOWEST)), axis=-1)
    aligned_BTP = graph.add("MatMul", weights_BTS, q_BTP)
    match_BT1 = [unsqueezed(graph, each, 2) for each in (first.weight_BT, *(greatest(graph, m, 2) for m in matches))]
    parts = [p_BTP, aligned_BTP, graph.add("Abs", graph.add("Sub", p_BTP, aligned_BTP))]
    parts += [graph.add("Mul", p_BTP, aligned_BTP), *match_BT1]
    layer: Any = module.compare[0]
    compared_BTP = graph.add("Relu", linear(graph, layer, graph.add("Concat", *parts, axis=-1)))
    compared_BTP = graph.add("Mul", compared_BTP, first.exists_BT1)
    count_B1 = graph.add("Max", first.lengths_B1, scalar(graph, 1))
    mean_BP = graph.add("Div", total(graph, compared_BTP, 1), count_B1)
    return graph.add("Concat", mean_BP, greatest(graph, compared_BTP, 1), axis=-1)


def overlap_features(graph: GraphBuilder, first: Encoded, second: Encoded, similarity_BTT: str, same_BTT: str) -> str:
    """Return word-overlap features of two texts, (B, 10)."""
    matrices = [same_BTT, similarity_BTT, same_with_neighbour(graph, same_BTT)]
    shares, lengths, weights = [], [], []
    for text, axis in ((first, 2), (second, 1)):
        same_BT, similarity_BT, neighbour_BT = (greatest(graph, matrix, axis) for matrix in matrices)
        lengths.append(graph.add("Max", text.lengths_B1, scalar(graph, 1)))
        weights.append(graph.add("Max", total(graph, text.weight_BT, 1, keep=True), scalar(graph, 1e-6)))
        parts = [(same_BT, lengths[-1])]
        parts += [(graph.add("Mul", each, text.weight_BT), weights[-1]) for each in (same_BT, similarity_BT)]
        parts.append((neighbour_BT, lengths[-1]))
        columns = [graph.add("Div", total(graph, each, 1, keep=True), whole) for each, whole in parts]
        shares.append(graph.add("Concat", *columns, axis=1))
    ratios = [graph.add("Div", graph.add("Min", *pair), graph.add("Max", *pair)) for pair in (lengths, weights)]
    return graph.add("Concat", graph.add("Min", *shares), graph.add("Max", *shares), *ratios, axis=1)
