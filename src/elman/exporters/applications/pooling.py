"""Pooling as operators of ONNX: over whole sequences, and step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.exporters.applications.blocks import LOWEST, existing_steps, linear, positive_length, scalar, unsqueezed
from elman.exporters.onnx.graph import GraphBuilder
from elman.modules.pooling import AttentionPool, LastPool, MaxPool, MeanPool


@dataclass(frozen=True)
class Pooling:
    """How a pooling is written.

    Attributes:
        whole: (graph, module, outputs (T, B, F), lengths (B) int32, last outputs (B, F)) -> (B, F).
        step: (graph, module, output (B, F), states before) -> (B, F), the states after.
        states: the states of a stream by name: the features, None for F, and the value before the first step.
    """

    whole: Callable[[GraphBuilder, Any, str, str, str], str]
    step: Callable[[GraphBuilder, Any, str, list[str]], tuple[str, list[str]]]
    states: dict[str, tuple[int | None, float]]


def _mean(graph: GraphBuilder, module: MeanPool, y_TBF: str, lengths_B: str, last_BF: str) -> str:
    total_BF = graph.add("ReduceSum", y_TBF, graph.constant([0]), keepdims=0)
    return graph.add("Div", total_BF, positive_length(graph, lengths_B))


def _mean_step(graph: GraphBuilder, module: MeanPool, y_BF: str, before: list[str]) -> tuple[str, list[str]]:
    count_B1 = graph.add("Add", before[0], scalar(graph, 1))
    total_BF = graph.add("Add", before[1], y_BF)
    return graph.add("Div", total_BF, count_B1), [count_B1, total_BF]


def _max(graph: GraphBuilder, module: MaxPool, y_TBF: str, lengths_B: str, last_BF: str) -> str:
    exists_TB1 = unsqueezed(graph, existing_steps(graph, y_TBF, lengths_B), 2)
    masked_TBF = graph.add("Where", exists_TB1, y_TBF, scalar(graph, LOWEST))
    greatest_BF = graph.add("ReduceMax", masked_TBF, graph.constant([0]), keepdims=0)
    nonempty_B1 = unsqueezed(graph, graph.add("Greater", lengths_B, graph.constant(0, np.int32)), 1)
    return graph.add("Where", nonempty_B1, greatest_BF, scalar(graph, 0))


def _max_step(graph: GraphBuilder, module: MaxPool, y_BF: str, before: list[str]) -> tuple[str, list[str]]:
    greatest_BF = graph.add("Max", before[0], y_BF)
    return greatest_BF, [greatest_BF]


def _attention(graph: GraphBuilder, module: AttentionPool, y_TBF: str, lengths_B: str, last_BF: str) -> str:
    score_TB1 = _score(graph, module, y_TBF)
    exists_TB1 = unsqueezed(graph, existing_steps(graph, y_TBF, lengths_B), 2)
    weights_TB1 = graph.add("Softmax", graph.add("Where", exists_TB1, score_TB1, scalar(graph, LOWEST)), axis=0)
    return graph.add("ReduceSum", graph.add("Mul", weights_TB1, y_TBF), graph.constant([0]), keepdims=0)


def _attention_step(graph: GraphBuilder, module: AttentionPool, y_BF: str, before: list[str]) -> tuple[str, list[str]]:
    """Weights are relative to the greatest score so far."""
    score_B1 = _score(graph, module, y_BF)
    max_B1 = graph.add("Max", before[0], score_B1)
    old_B1, added_B1 = (graph.add("Exp", graph.add("Sub", each, max_B1)) for each in (before[0], score_B1))
    weight_B1 = graph.add("Add", graph.add("Mul", before[1], old_B1), added_B1)
    total_BF = graph.add("Add", graph.add("Mul", before[2], old_B1), graph.add("Mul", y_BF, added_B1))
    return graph.add("Div", total_BF, weight_B1), [max_B1, weight_B1, total_BF]


def _score(graph: GraphBuilder, module: AttentionPool, y: str) -> str:
    return linear(graph, module.score, graph.add("Tanh", linear(graph, module.hidden, y)))


POOLINGS: dict[type, Pooling] = {
    LastPool: Pooling(lambda graph, module, y, lengths, last: last, lambda graph, module, y, before: (y, []), {}),
    MeanPool: Pooling(_mean, _mean_step, {"count": (1, 0.0), "total": (None, 0.0)}),
    MaxPool: Pooling(_max, _max_step, {"greatest": (None, LOWEST)}),
    AttentionPool: Pooling(
        _attention, _attention_step, {"greatest_score": (1, LOWEST), "weight": (1, 0.0), "total": (None, 0.0)}
    ),
}
"""By the class of the module."""
