"""Attention as operators of ONNX: keys, scores, and the weighted mean of a memory, for one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from elman.exporters.applications.blocks import LOWEST, linear, scalar, size, unsqueezed
from elman.exporters.onnx.graph import GraphBuilder
from elman.modules.attention import AdditiveAttention, MultiplicativeAttention


def _multiplicative(graph: GraphBuilder, module: MultiplicativeAttention, query_BQ: str, keys_BSQ: str) -> str:
    scores_BS1 = graph.add("MatMul", keys_BSQ, unsqueezed(graph, query_BQ, 2))
    return graph.add("Squeeze", scores_BS1, graph.constant([2]))


def _additive(graph: GraphBuilder, module: AdditiveAttention, query_BQ: str, keys_BSQ: str) -> str:
    query_B1Q = unsqueezed(graph, linear(graph, module.query, query_BQ), 1)
    hidden_BSQ = graph.add("Tanh", graph.add("Add", query_B1Q, keys_BSQ))
    return graph.add("Squeeze", linear(graph, module.score, hidden_BSQ), graph.constant([2]))


SCORES: dict[type, Callable[[GraphBuilder, Any, str, str], str]] = {
    MultiplicativeAttention: _multiplicative,
    AdditiveAttention: _additive,
}
"""By the class of the module: (graph, module, query (B, Q), keys (B, S, Q)) -> scores (B, S)."""


def attend(graph: GraphBuilder, scores_BS: str, memory_BSM: str, lengths_B: str | None) -> tuple[str, str]:
    """Return the weighted mean of the memory, (B, M), and the weights, (B, S), zero beyond the lengths (int32)."""
    if lengths_B is not None:
        S = graph.add("Squeeze", size(graph, memory_BSM, 1), graph.constant([0]))
        places_S = graph.add("Range", graph.constant(0), S, graph.constant(1))
        exists_BS = graph.add("Less", places_S, unsqueezed(graph, graph.add("Cast", lengths_B, to=7), 1))
        scores_BS = graph.add("Where", exists_BS, scores_BS, scalar(graph, LOWEST))
    weights_BS = graph.add("Softmax", scores_BS, axis=-1)
    mean_B1M = graph.add("MatMul", unsqueezed(graph, weights_BS, 1), memory_BSM)
    return graph.add("Squeeze", mean_B1M, graph.constant([1])), weights_BS
