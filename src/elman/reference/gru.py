"""The gated recurrent unit, in the form of torch.nn.GRU (and cuDNN).

With gx = U x_t + b_ih and gh = W h_{t-1} + b_hh, each cut into three blocks:

    r = sigmoid(gx_r + gh_r)            reset:     at 1 the candidate sees the past, at 0 it does not
    z = sigmoid(gx_z + gh_z)            update:    at 1 the state stays as it was, at 0 it becomes the candidate
    n = tanh(gx_n + r * gh_n)           candidate
    h_t = (1 - z) * n + z * h_{t-1}

r acts after the product with W, on W_n h_{t-1} + b_hn; in the paper it acts before, on h_{t-1}. The derivation is in
docs/maths/gru.md.

Source: K. Cho and others, Learning phrase representations using RNN encoder-decoder, 2014.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from elman.reference import unroll
from elman.reference.activations import Array, sigmoid, sigmoid_slope, tanh, tanh_slope
from elman.reference.weights import State


class GRUStep:
    """One step of the gated recurrent unit, forward and backward."""

    gates: ClassVar[tuple[str, ...]] = ("r", "z", "n")
    states: ClassVar[tuple[str, ...]] = ("h",)

    def step(self, gx: list[Array], gh: list[Array], state: State) -> tuple[State, State]:
        """Return h_t, and what the way back needs."""
        (past,) = state
        gx_r, gx_z, gx_n = gx
        gh_r, gh_z, gh_n = gh
        r = sigmoid(gx_r + gh_r)
        z = sigmoid(gx_z + gh_z)
        n = tanh(gx_n + r * gh_n)
        h = (1.0 - z) * n + z * past
        return (h,), (past, gh_n, r, z, n)

    def step_backward(self, kept: State, d_state: State) -> tuple[list[Array], list[Array], State]:
        """Return the gradients of gx, gh, and of h_{t-1} where z carries it past the gates."""
        past, gh_n, r, z, n = kept
        (d_h,) = d_state
        d_n = d_h * (1.0 - z)
        d_z = d_h * (past - n)
        d_past = d_h * z
        d_a_n = d_n * tanh_slope(n)
        d_gh_n = d_a_n * r
        d_r = d_a_n * gh_n
        d_a_r = d_r * sigmoid_slope(r)
        d_a_z = d_z * sigmoid_slope(z)
        return [d_a_r, d_a_z, d_a_n], [d_a_r, d_a_z, d_gh_n], (d_past,)


# By the name that a layer's cell gives as its `kernel`.
STEPS: dict[str, unroll.CellStep] = {"gru": GRUStep()}


# Returns y_TBH, the last state (h,) and the tape; see `unroll.forward`.
forward = partial(unroll.forward, GRUStep())
backward = unroll.backward
contributions = unroll.contributions
