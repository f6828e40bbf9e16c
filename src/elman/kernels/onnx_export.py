"""The kernel of `torch.onnx.export(dynamo=True)`: one layer in one direction as ONNX's operator RNN, GRU or LSTM.

It runs while torch traces a model for ONNX and nowhere else; what it returns has shapes and no numbers. The operator
has no number of steps in it, so that the graph is right for every length.
"""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor

from elman.kernels.eager import Options, State, Steps
from elman.kernels.weights import Weights

RNN_ACTIVATIONS: dict[str, dict[str, Any]] = {
    "rnn_tanh": {"activations": ["Tanh"]},
    "rnn_relu": {"activations": ["Relu"]},
    "rnn_sigmoid": {"activations": ["Sigmoid"]},
    "rnn_identity": {"activations": ["Affine"], "activation_alpha": [1.0], "activation_beta": [0.0]},
}

OPERATORS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    **{kernel: ("RNN", attributes, (0,)) for kernel, attributes in RNN_ACTIVATIONS.items()},
    "gru": ("GRU", {"linear_before_reset": 1}, (1, 0, 2)),
    "lstm": ("LSTM", {}, (0, 3, 1, 2)),
}
"""By the kernel of a cell: ONNX's operator, its attributes, and our number of each gate in ONNX's order."""


def refusal(cell: Steps, x_TBI: Tensor, state: State, weights: Weights, **options: Unpack[Options]) -> str | None:
    """Return why ONNX has no operator for the call, or None."""
    if cell.kernel not in OPERATORS:
        return f"ONNX has no operator of the cell {type(cell).__name__}"
    if weights.hr is not None:
        return "ONNX has no operator with a projection (proj_size)"
    if options.get("resets") is not None:
        return "ONNX has no operator with resets="
    return None


def unroll(
    cell: Steps, x_TBI: Tensor, state: State, weights: Weights, *,
    lengths: Tensor | None = None, resets: Tensor | None = None, reverse: bool = False,
) -> tuple[Tensor, State]:  # fmt: skip
    """Run one layer in one direction as a node of ONNX; the contract is `eager.unroll`'s."""
    assert cell.kernel is not None
    operator, attributes, order = OPERATORS[cell.kernel]
    T, B, _ = x_TBI.shape
    H = weights.hh.shape[1]
    lengths_B = None if lengths is None else lengths.to(torch.int32)
    inputs = [
        x_TBI,
        _in_order(weights.ih, order)[None],
        _in_order(weights.hh, order)[None],
        _bias(weights, order),
        lengths_B,
        *(each[None] for each in state),
    ]
    direction = {"direction": "reverse" if reverse else "forward", "hidden_size": H}
    y_TDBH, *after = torch.onnx.ops.symbolic_multi_out(
        operator, inputs, {**attributes, **direction},
        dtypes=[x_TBI.dtype] * (1 + len(state)), shapes=[(T, 1, B, H), *[(1, B, H)] * len(state)],
    )  # fmt: skip
    last = tuple(each.squeeze(0) for each in after)
    if lengths_B is not None:  # ONNX Runtime leaves zeros where a sequence has no step
        ran = (lengths_B > 0)[:, None]
        last = tuple(torch.where(ran, new, old) for new, old in zip(last, state, strict=True))
    return y_TDBH.squeeze(1), last


def _bias(weights: Weights, order: tuple[int, ...]) -> Tensor | None:
    if weights.b_ih is None or weights.b_hh is None:
        return None
    return torch.cat([_in_order(weights.b_ih, order), _in_order(weights.b_hh, order)])[None]


def _in_order(rows: Tensor, order: tuple[int, ...]) -> Tensor:
    """Return rows of gates in ONNX's order."""
    if len(order) == 1:
        return rows
    H = len(rows) // len(order)
    numbers = [number * H + row for number in order for row in range(H)]
    return rows.index_select(0, torch.tensor(numbers, device=rows.device))  # one node, which a runtime folds
