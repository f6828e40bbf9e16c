"""A program that compares exported layers with the layers, over many sizes.

    python layer_trials.py shapes COUNT      COUNT random sizes over all kinds of layers, in ONNX Runtime
    python layer_trials.py steps COUNT       COUNT single steps of each kind of cell against the whole sequence
    python layer_trials.py reference COUNT   onnx's checker, strict inference and ReferenceEvaluator for COUNT kinds

It prints a JSON object: the number of trials, the largest difference, and what was beyond the bound. test_layers.py
runs a few of them, `make trials` all.
"""

import itertools
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator
from onnx.reference.ops.op_gru import GRU
from onnx.reference.ops.op_lstm import LSTM
from onnx.reference.ops.op_rnn import RNN_14
from torch import nn

import elman
from elman.exporters.layer_cases import LayerCase, original_outputs
from elman.exporters.onnx.layers import step_graph, whole_graph
from elman.exporters.onnx.runtime import OnnxSession, case_feeds, run_steps
from elman.exporters.stack import LayerStack, stack_of

BOUND, STEPS_BOUND = 1e-5, 1e-4
CELLS = ("tanh", "relu", "sigmoid", "identity", "gru", "lstm")


class Kind(NamedTuple):
    cell: str
    layers: int
    bidirectional: bool
    bias: bool
    lengths: bool


KINDS = [Kind(*values) for values in itertools.product(CELLS, (1, 3), (False, True), (True, False), (False, True))]


def build(kind: Kind, input_size: int, hidden_size: int) -> nn.Module:
    options: dict[str, Any] = {"bias": kind.bias, "bidirectional": kind.bidirectional}
    if kind.cell in ("gru", "lstm"):
        return getattr(elman, kind.cell.upper())(input_size, hidden_size, kind.layers, **options)
    return elman.RNN(input_size, hidden_size, kind.layers, kind.cell, **options)


def random_case(stack: LayerStack, T: int, B: int, lengths: bool, rng: np.random.Generator) -> LayerCase:
    count = len(stack.layers) * stack.num_directions
    states = tuple(rng.standard_normal((count, B, size)).astype(np.float32) for size in stack.state_sizes)
    x = rng.standard_normal((T, B, stack.input_size)).astype(np.float32)
    return LayerCase(f"T = {T}, B = {B}", x, states, rng.integers(0, T + 1, B, np.int32) if lengths else None)


def difference(expected: list[np.ndarray], actual: list[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max(initial=0.0)) for a, b in zip(expected, actual, strict=True))


def shape_differences(count: int, seed: int = 1) -> Iterator[tuple[Kind, str, float]]:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    rounds = -(-count // len(KINDS))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "whole.onnx"
        for kind in KINDS[:count]:
            layer = build(kind, int(rng.integers(1, 20)), int(rng.integers(1, 33)))
            stack = stack_of(layer)
            onnx.save(whole_graph(stack, lengths=kind.lengths), path)
            session = OnnxSession(path)
            for number in range(rounds):
                # No steps end ONNX Runtime in its GRU without lengths, as an empty batch does; the manifest says so.
                empty = number % 4 == 0 and (kind.cell != "gru" or kind.lengths)
                T, B = int(rng.integers(0 if empty else 1, 3 if empty else 40)), int(rng.integers(1, 9))
                case = random_case(stack, T, B, kind.lengths, rng)
                y, states = original_outputs(layer, stack, case)
                yield kind, case.title, difference([y, *states], session.run(case_feeds(stack, case)))


def step_differences(count: int, seed: int = 1) -> Iterator[tuple[Kind, str, float]]:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, step = (Path(folder) / name for name in ("whole.onnx", "step.onnx"))
        for cell, layers in zip(CELLS, (1, 2, 3, 1, 2, 3), strict=True):
            kind = Kind(cell, layers, False, True, False)
            layer = build(kind, 5, 16)
            stack = stack_of(layer)
            onnx.save(whole_graph(stack), whole)
            onnx.save(step_graph(stack), step)
            case = random_case(stack, count, 1, False, rng)
            feeds = case_feeds(stack, case)
            expected = OnnxSession(whole).run(feeds)
            y, states = original_outputs(layer, stack, case)
            steps = run_steps(OnnxSession(step), stack, feeds)
            yield kind, case.title, max(difference(expected, steps), difference([y, *states], steps))


def reference_differences(count: int, seed: int = 1) -> Iterator[tuple[Kind, str, float]]:
    """Yield how far the ReferenceEvaluator is from ONNX Runtime; the checks of a graph raise what they find."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        for kind in [KINDS[n * len(KINDS) // count] for n in range(count)]:
            stack = stack_of(build(kind, int(rng.integers(1, 8)), int(rng.integers(1, 12))))
            case = random_case(stack, int(rng.integers(1, 12)), int(rng.integers(1, 6)), kind.lengths, rng)
            feeds = case_feeds(stack, case)
            graphs = {"whole": whole_graph(stack, lengths=kind.lengths)}
            if not kind.bidirectional:
                graphs["step"] = step_graph(stack)
            for name, graph in graphs.items():
                check(graph)
                onnx.save(graph, path)
                inputs = feeds if name == "whole" else {**feeds, "x": feeds["x"][0]}
                yield kind, name, difference(reference_outputs(graph, inputs), OnnxSession(path).run(inputs))


def check(model: onnx.ModelProto) -> None:
    """Run onnx's checker and strict shape inference, and see that the axes T and B are free."""
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    for each in (*inferred.graph.input, *inferred.graph.output):
        free = {axis.dim_param for axis in each.type.tensor_type.shape.dim if axis.dim_param}
        assert free <= {"T", "B"} and "B" in free, each


def reference_outputs(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    names = {each.name for each in model.graph.input}
    evaluator = ReferenceEvaluator(model, new_ops=[RaggedRNN, RaggedGRU, RaggedLSTM])
    return evaluator.run(None, {name: feed for name, feed in feeds.items() if name in names})


class Ragged:
    """The reference of onnx one sequence at a time: alone it ignores `sequence_lens`, which end each sequence here."""

    op_domain = ""

    def _run(self, X, W, R, B=None, sequence_lens=None, *states, **attributes):  # type: ignore[no-untyped-def]
        if sequence_lens is None:
            return super()._run(X, W, R, B, None, *states, **attributes)  # type: ignore[misc]
        results = []
        for b, length in enumerate(sequence_lens):
            own = [None if state is None else state[:, b : b + 1] for state in states]
            if length == 0:  # nothing runs, and what the operator returns here is not used
                y, *after = super()._run(X[:1, b : b + 1], W, R, B, None, *own, **attributes)  # type: ignore[misc]
                y = y[:0]
            else:
                y, *after = super()._run(X[:length, b : b + 1], W, R, B, None, *own, **attributes)  # type: ignore[misc]
            padding = np.zeros((len(X) - length, *y.shape[1:]), y.dtype)
            results.append((np.concatenate([y, padding]), *after))
        y, *after = zip(*results, strict=True)
        return (np.concatenate(y, axis=2), *(np.concatenate(each, axis=1) for each in after))


class RaggedRNN(Ragged, RNN_14):
    """With the two activations that the reference of onnx lacks."""

    def choose_act(self, name, alpha, beta):  # type: ignore[no-untyped-def]
        own = {"Relu": lambda x: np.maximum(x, 0), "Sigmoid": lambda x: 1 / (1 + np.exp(-x))}
        return own[name] if name in own else super().choose_act(name, alpha, beta)


RaggedRNN.__name__ = "RNN"


class RaggedGRU(Ragged, GRU):
    pass


RaggedGRU.__name__ = "GRU"


class RaggedLSTM(Ragged, LSTM):
    pass


RaggedLSTM.__name__ = "LSTM"

TRIALS = {
    "shapes": (shape_differences, BOUND),
    "steps": (step_differences, STEPS_BOUND),
    "reference": (reference_differences, BOUND),
}


def run(name: str, count: int) -> dict[str, Any]:
    differences, bound = TRIALS[name]
    trials = list(differences(count))
    beyond = [[*kind, what, size] for kind, what, size in trials if not size <= bound]
    return {"trials": len(trials), "largest": max(size for *_, size in trials), "bound": bound, "beyond": beyond}


if __name__ == "__main__":
    result = run(sys.argv[1], int(sys.argv[2]))
    print(json.dumps(result))  # noqa: T201
    sys.exit(bool(result["beyond"]))
