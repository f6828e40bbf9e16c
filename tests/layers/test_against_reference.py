"""The NumPy reference, composed layer by layer and direction by direction, judges whole layers, all options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from elman import GRU, LSTM, RNN, Recurrent
from elman.reference import gru, lstm, rnn, unroll
from elman.reference.weights import LayerWeights
from elman.testing import TOLERANCE

KINDS: dict[str, tuple[type[Recurrent], dict[str, Any], unroll.Cell]] = {
    **{f"rnn-{f}": (RNN, {"nonlinearity": f}, rnn.RNNStep(f)) for f in ("tanh", "relu", "sigmoid", "identity")},
    "gru": (GRU, {}, gru.GRUStep()),
    "lstm": (LSTM, {}, lstm.LSTMStep()),
    "lstm-projected": (LSTM, {"proj_size": 2}, lstm.LSTMStep()),
}


def array(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(array(v) for v in value)
    return None if value is None else value.detach().numpy()


class Judge:
    """Forward and backward over all layers and directions, in NumPy."""

    def __init__(self, cell: unroll.Cell, layer: Recurrent) -> None:
        self.cell, self.layers, self.directions = cell, layer.num_layers, layer.num_directions
        self.weights = {
            (k, d): LayerWeights(**{name: array(w) for name, w in layer.weights(k, d)._asdict().items()})
            for k in range(self.layers)
            for d in range(self.directions)
        }
        self.tapes: dict[tuple[int, int], unroll.Tape] = {}

    def forward(self, x: Any, state: Any, **options: Any) -> tuple[Any, list[Any]]:
        last = []
        for k in range(self.layers):
            outputs = []
            for d in range(self.directions):
                before = tuple(s[len(last)] for s in state)
                y, after, self.tapes[k, d] = unroll.forward(
                    self.cell, x, before, self.weights[k, d], reverse=d == 1, **options
                )
                outputs.append(y)
                last.append(after)
            x = np.concatenate(outputs, axis=2)
        return x, [np.stack(each) for each in zip(*last, strict=True)]

    def backward(self, d_y: Any, d_state: Any) -> tuple[Any, list[Any], dict[tuple[int, int], LayerWeights]]:
        d_before: dict[tuple[int, int], Any] = {}
        d_weights: dict[tuple[int, int], LayerWeights] = {}
        for k in reversed(range(self.layers)):
            halves = np.split(d_y, self.directions, axis=2)
            d_y = 0
            for d in range(self.directions):
                row = k * self.directions + d
                found = unroll.backward(self.tapes[k, d], halves[d], tuple(s[row] for s in d_state))
                d_before[k, d], d_weights[k, d] = found.state, found.weights
                d_y = d_y + found.x_TBI
        rows = [d_before[k, d] for k in range(self.layers) for d in range(self.directions)]
        return d_y, [np.stack(each) for each in zip(*rows, strict=True)], d_weights


def same(what: str, ours: Tensor, wanted: Any) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), wanted, rtol=0, atol=TOLERANCE[torch.float64], err_msg=what)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(
    T=st.sampled_from([0, 1, 2, 5]),
    B=st.sampled_from([1, 2, 3]),
    I=st.sampled_from([1, 3, 18]),
    H=st.sampled_from([3, 5, 19]),
    layers=st.integers(1, 3),
    bias=st.booleans(),
    batch_first=st.booleans(),
    bidirectional=st.booleans(),
    learned=st.booleans(),
    ragged=st.booleans(),
    resetting=st.booleans(),
    seed=st.integers(0, 999),
)
def test_whole_layers(
    kind: str,
    T: int,
    B: int,
    I: int,
    H: int,
    layers: int,
    bias: bool,
    batch_first: bool,
    bidirectional: bool,
    learned: bool,
    ragged: bool,
    resetting: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    build, extra, cell = KINDS[kind]
    layer = build(
        I,
        H,
        layers,
        bias=bias,
        batch_first=batch_first,
        bidirectional=bidirectional,
        learn_initial_state=learned,
        dtype=torch.float64,
        **extra,
    )
    for name, parameter in layer.named_parameters():
        if name.startswith("initial"):
            torch.nn.init.normal_(parameter)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn_like(s).requires_grad_() for s in layer.initial_state(B))
    lengths = torch.randint(0, T + 1, (B,)) if ragged else None
    resets = torch.rand(T, B) < 0.3 if resetting else None

    def turned(tensor: Tensor | None) -> Tensor | None:
        return tensor.transpose(0, 1) if batch_first and tensor is not None else tensor

    y, last = layer(turned(x), state if len(state) > 1 else state[0], lengths=lengths, resets=turned(resets))
    y, last = turned(y), last if isinstance(last, tuple) else (last,)
    judge = Judge(cell, layer)
    wanted_y, wanted_last = judge.forward(array(x), array(state), lengths=array(lengths), resets=array(resets))
    same("y", y, wanted_y)
    for name, found, wanted in zip(layer.cell.states, last, wanted_last, strict=True):
        same(name, found, wanted)

    d_y, *d_last = (torch.randn(r.shape, dtype=torch.float64) for r in (y, *last))
    total = sum((r * d).sum() for r, d in zip((y, *last), (d_y, *d_last), strict=True))
    d_x, d_state, d_weights = judge.backward(array(d_y), [array(d) for d in d_last])
    found = torch.autograd.grad(total, [x, *state], retain_graph=True, allow_unused=True, materialize_grads=True)
    same("d_x", found[0], d_x)
    for name, ours, wanted in zip(layer.cell.states, found[1:], d_state, strict=True):
        same(f"d_{name}", ours, wanted)
    for (k, d), wanted_weights in d_weights.items():
        mine = layer.weights(k, d)
        flat = [*mine[:5], *(mine.initial or ())]
        wanted_flat = [*wanted_weights[:5], *(wanted_weights.initial or ())]
        for number, (tensor, wanted) in enumerate(zip(flat, wanted_flat, strict=True)):
            if tensor is not None:
                (ours,) = torch.autograd.grad(
                    total, tensor, retain_graph=True, allow_unused=True, materialize_grads=True
                )
                same(f"gradient {number} of layer {k}, direction {d}", ours, wanted)
