"""The long short-term memory, in the form of torch.nn.LSTM.

With gx = U x_t + b_ih and gh = W h_{t-1} + b_hh, each cut into four blocks:

    i = sigmoid(gx_i + gh_i)            input:     at 1 the candidate is written, at 0 it is not
    f = sigmoid(gx_f + gh_f)            forget:    at 1 the memory stays, at 0 it is wiped
    g = tanh(gx_g + gh_g)               candidate
    o = sigmoid(gx_o + gh_o)            output:    at 1 the memory is shown, at 0 it is hidden
    c_t = f * c_{t-1} + i * g           the memory
    m_t = o * tanh(c_t)
    h_t = R m_t                         with a projection; else h_t = m_t

The projection is done by unroll.py. The derivation is in docs/maths/lstm.md.

Sources: S. Hochreiter, J. Schmidhuber, Long short-term memory, 1997; F. A. Gers, J. Schmidhuber, F. Cummins, Learning
to forget, 2000 (the gate f); H. Sak, A. Senior, F. Beaufays, Long short-term memory recurrent neural network
architectures for large scale acoustic modeling, 2014 (the projection).
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np

from elman.reference import unroll
from elman.reference.activations import Array, sigmoid, sigmoid_slope, tanh, tanh_slope
from elman.reference.weights import State


class LSTMStep:
    """One step of the long short-term memory, forward and backward."""

    gates: ClassVar[tuple[str, ...]] = ("i", "f", "g", "o")
    states: ClassVar[tuple[str, ...]] = ("h", "c")

    def step(self, gx: list[Array], gh: list[Array], state: State) -> tuple[State, State]:
        """Return m_t and c_t, and what the way back needs."""
        past_h, past_c = state
        a_i, a_f, a_g, a_o = (x + h for x, h in zip(gx, gh, strict=True))
        i, f, g, o = sigmoid(a_i), sigmoid(a_f), tanh(a_g), sigmoid(a_o)
        c = f * past_c + i * g
        tanh_c = tanh(c)
        m = o * tanh_c
        return (m, c), (past_h, past_c, i, f, g, o, tanh_c)

    def step_backward(self, kept: State, d_state: State) -> tuple[list[Array], list[Array], State]:
        """Return the gradients of gx, gh, and of c_{t-1} where f carries it past the gates; h_{t-1} has gh only."""
        past_h, past_c, i, f, g, o, tanh_c = kept
        d_m, d_c = d_state
        d_o = d_m * tanh_c
        d_c = d_c + d_m * o * tanh_slope(tanh_c)
        d_i = d_c * g
        d_g = d_c * i
        d_f = d_c * past_c
        d_past_c = d_c * f
        d_a = [d_i * sigmoid_slope(i), d_f * sigmoid_slope(f), d_g * tanh_slope(g), d_o * sigmoid_slope(o)]
        return d_a, d_a, (np.zeros_like(past_h), d_past_c)


# By the name that a layer's cell gives as its `kernel`.
STEPS: dict[str, unroll.CellStep] = {"lstm": LSTMStep()}


# Returns y_TBH (P wide with a projection), the last state (h, c) and the tape; see `unroll.forward`.
forward = partial(unroll.forward, LSTMStep())
backward = unroll.backward
contributions = unroll.contributions
