"""The plain recurrent layer: the state of the Elman network, without its output.

    h_t = f(U x_t + b_ih + W h_{t-1} + b_hh)        f: tanh, relu, sigmoid, identity

One gate, one state. With a = gx + gh the backward step is one line, d_a = d_h f'(a): it is the only way back, so the
gradient that reaches h_{t-1} is W^T diag(f'(a)) d_h, and nothing but that product carries it over many steps.
The whole network, with V and the error, is in network.py; the derivation in docs/maths/rnn.md.

Source: J. L. Elman, Finding structure in time, 1990. Two biases, as torch.nn.RNN has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from elman.reference import unroll
from elman.reference.activations import Array, activation
from elman.reference.unroll import Tape
from elman.reference.weights import LayerWeights, State


@dataclass(frozen=True)
class RNNStep:
    """One step of the plain recurrent layer, forward and backward.

    Attributes:
        nonlinearity: the name of f.
    """

    gates: ClassVar[tuple[str, ...]] = ("h",)
    states: ClassVar[tuple[str, ...]] = ("h",)
    nonlinearity: str = "tanh"

    def step(self, gx: list[Array], gh: list[Array], state: State) -> tuple[State, State]:
        """Return h_t, and what the way back needs."""
        (past,) = state
        h = activation(self.nonlinearity).value(gx[0] + gh[0])
        return (h,), (past, h)

    def step_backward(self, kept: State, d_state: State) -> tuple[list[Array], list[Array], State]:
        """Return the gradients of gx, gh, and nothing for h_{t-1}: it enters only through gh."""
        past, h = kept
        (d_h,) = d_state
        d_a = d_h * activation(self.nonlinearity).slope(h)
        return [d_a], [d_a], (np.zeros_like(past),)


# By the name that a layer's cell gives as its `kernel`.
STEPS: dict[str, unroll.CellStep] = {f"rnn_{f}": RNNStep(f) for f in ("tanh", "relu", "sigmoid", "identity")}


def forward(
    x_TBI: Array, state: State, weights: LayerWeights, *, nonlinearity: str = "tanh", **options: Any
) -> tuple[Array, State, Tape]:
    """Return y_TBH, the last state (h,) and the tape; see `unroll.forward`.

    Raises:
        SettingError: the nonlinearity is unknown.
        ShapeError: sizes do not fit each other.
    """
    activation(nonlinearity)
    return unroll.forward(RNNStep(nonlinearity), x_TBI, state, weights, **options)


backward = unroll.backward
contributions = unroll.contributions
