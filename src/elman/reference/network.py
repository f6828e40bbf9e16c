"""The Elman network: its state, its output, its error, and backpropagation through time written out.

    s_t = f(U x_t + W s_{t-1} + b)      f: tanh, relu, sigmoid, identity
    o_t = g(V s_t + c)                  g: softmax, sigmoid, identity
    E   = sum over t of E_t(o_t, y_t)   E_t: cross-entropy, binary cross-entropy, squared error

U, V and W are shared by all steps. A batch is B sequences side by side, and E is the sum over steps, over sequences
and over outputs; nothing is averaged. Sums count from t = 1 in the equations and from 0 in the code: `s_TBH[0]` is
s_1, and s_0 has its own name. The derivation is in docs/maths/rnn.md.

Sources: J. L. Elman, Finding structure in time, 1990; P. J. Werbos, Backpropagation through time, 1990; for the sum
over pairs (t, k): R. Pascanu, T. Mikolov, Y. Bengio, On the difficulty of training recurrent neural networks, 2013.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from elman.reference.activations import Array, activation
from elman.reference.output import check_targets, output_loss
from elman.shapes import check_shape


@dataclass(frozen=True, eq=False)
class Network:
    """The parameters, and the functions between them.

    Attributes:
        U_HI: input to state.
        W_HH: state to next state.
        V_VH: state to output.
        b_H: bias of the state; None stands for zeros.
        c_V: bias of the output; None stands for zeros.
        f: tanh, relu, sigmoid or identity.
        g: softmax, sigmoid or identity.
        error: cross-entropy, binary cross-entropy or squared error.

    Raises:
        SettingError: f, g or error is unknown, or g and error do not fit each other (see `elman.reference.output`).
        ShapeError: the parameters do not fit each other.
    """

    U_HI: Array
    W_HH: Array
    V_VH: Array
    b_H: Array | None = None
    c_V: Array | None = None
    f: str = "tanh"
    g: str = "softmax"
    error: str = "cross-entropy"

    def __post_init__(self) -> None:
        activation(self.f)
        output_loss(self.g, self.error)
        H = check_shape("U", self.U_HI, "HI")["H"]
        # The two axes of W are the same letter, so they are checked as the axes of U and V that they meet.
        check_shape("W", self.W_HH, "HK", H=H, K=H)
        V = check_shape("V", self.V_VH, "VH", H=H)["V"]
        if self.b_H is not None:
            check_shape("b", self.b_H, "H", H=H)
        if self.c_V is not None:
            check_shape("c", self.c_V, "V", V=V)


class NetworkTape(NamedTuple):
    """What a forward pass leaves for the backward pass.

    Attributes:
        x_TBI: the input.
        s0_BH: the state before the first step.
        past_TBH: s_{t-1}, the state that step t starts from.
        s_TBH: s_t.
        a_TBV: V s_t + c.
        o_TBV: g of it.
    """

    x_TBI: Array
    s0_BH: Array
    past_TBH: Array
    s_TBH: Array
    a_TBV: Array
    o_TBV: Array


class NetworkGradients(NamedTuple):
    """dE / d each parameter (None where the network has no such bias), dE/dx and dE/ds_0."""

    U_HI: Array
    W_HH: Array
    V_VH: Array
    b_H: Array | None
    c_V: Array | None
    x_TBI: Array
    s0_BH: Array


class Contributions(NamedTuple):
    """What every pair of an error step t and an earlier step k <= t adds to a gradient; zero where k > t.

    Attributes:
        U_TTHI: [t, k] is the part of dE_t/dU that went through step k.
        W_TTHH: [t, k] is the part of dE_t/dW that went through step k.
    """

    U_TTHI: Array
    W_TTHH: Array


def forward(network: Network, x_TBI: Array, s0_BH: Array | None = None) -> NetworkTape:
    """Run the network over a batch of sequences, from the state `s0_BH` (zeros if None).

    Raises:
        ShapeError: the input or the state does not fit the network.
    """
    H, I = network.U_HI.shape
    x_TBI = np.asarray(x_TBI, dtype=np.float64)
    sizes = check_shape("x", x_TBI, "TBI", I=I)
    T, B = sizes["T"], sizes["B"]
    s0_BH = np.zeros((B, H)) if s0_BH is None else np.asarray(s0_BH, dtype=np.float64)
    check_shape("s_0", s0_BH, "BH", B=B, H=H)
    f = activation(network.f).value
    g = output_loss(network.g, network.error).output
    U, W, V = network.U_HI, network.W_HH, network.V_VH
    b = 0.0 if network.b_H is None else network.b_H
    c = 0.0 if network.c_V is None else network.c_V

    past_TBH, s_TBH = np.zeros((T, B, H)), np.zeros((T, B, H))
    s = s0_BH
    for t in range(T):
        past_TBH[t] = s
        s = s_TBH[t] = f(x_TBI[t] @ U.T + s @ W.T + b)
    a_TBV = s_TBH @ V.T + c
    return NetworkTape(x_TBI, s0_BH, past_TBH, s_TBH, a_TBV, g(a_TBV))


def errors(network: Network, tape: NetworkTape, y_TBV: Array) -> Array:
    """Return E_t of every step and sequence, (T, B); their sum is E.

    Args:
        network: the network that ran.
        tape: what `forward` returned.
        y_TBV: the target of every step; `np.eye(V)[classes_TB]` makes it from class numbers.

    Raises:
        ShapeError: the targets have another shape than the output.
        DataError: the targets are no probabilities, or no distributions, and the error needs them to be.
    """
    y_TBV = _targets(network, tape, y_TBV)
    return output_loss(network.g, network.error).error(tape.a_TBV, tape.o_TBV, y_TBV)


def bptt(network: Network, tape: NetworkTape, y_TBV: Array) -> NetworkGradients:
    """Return the gradient of E by backpropagation through time; arguments and errors are those of `errors`."""
    U, W, V = network.U_HI, network.W_HH, network.V_VH
    slope = activation(network.f).slope
    d_a_TBV = _d_a(network, tape, y_TBV)  # dE/d(V s_t + c): only the step itself counts
    d_U, d_W, d_V = np.zeros_like(U), np.zeros_like(W), np.zeros_like(V)
    d_b, d_c = np.zeros(U.shape[0]), np.zeros(V.shape[0])
    d_x_TBI = np.zeros_like(tape.x_TBI)

    d_s = np.zeros_like(tape.s0_BH)  # what all later steps say about s_t
    for t in reversed(range(len(tape.x_TBI))):
        d_V += d_a_TBV[t].T @ tape.s_TBH[t]
        d_c += d_a_TBV[t].sum(axis=0)

        d_s = d_a_TBV[t] @ V + d_s  # the error of this step, and of all later ones
        d_p = d_s * slope(tape.s_TBH[t])  # through f, to p_t = U x_t + W s_{t-1} + b
        d_U += d_p.T @ tape.x_TBI[t]
        d_W += d_p.T @ tape.past_TBH[t]
        d_b += d_p.sum(axis=0)
        d_x_TBI[t] = d_p @ U
        d_s = d_p @ W  # on to s_{t-1}
    biases = (None if network.b_H is None else d_b, None if network.c_V is None else d_c)
    return NetworkGradients(d_U, d_W, d_V, *biases, d_x_TBI, d_s)


def jacobians(network: Network, tape: NetworkTape) -> Array:
    """Return ds_t/ds_{t-1} = diag(f'(p_t)) W of every step and sequence, (T, B, H, H).

    Entry [t, b, i, j] is how unit i of s_t moves with unit j of s_{t-1}.
    """
    slope_TBH = activation(network.f).slope(tape.s_TBH)
    return slope_TBH[:, :, :, None] * network.W_HH


def contributions(network: Network, tape: NetworkTape, y_TBV: Array) -> Contributions:
    """Return the gradient of U and W pair by pair, as the formula has it; arguments and errors are those of `errors`.

        dE/dW = sum_t sum_{k<=t}  dE_t/do_t  do_t/ds_t  ( prod_{j=k+1..t} ds_j/ds_{j-1} )  d+s_k/dW

    d+s_k/dW is the immediate derivative: s_{k-1} is held still. The sum over both axes is the total of `bptt`. This
    takes T^2 times the memory of the weights, and is for looking, not for training.
    """
    T, (H, I) = len(tape.x_TBI), network.U_HI.shape
    d_a_TBV = _d_a(network, tape, y_TBV)
    J_TBHH = jacobians(network, tape)
    slope_TBH = activation(network.f).slope(tape.s_TBH)
    U_TTHI, W_TTHH = np.zeros((T, T, H, I)), np.zeros((T, T, H, H))
    for t in range(T):
        d_s = d_a_TBV[t] @ network.V_VH  # dE_t/do_t do_t/ds_t
        for k in reversed(range(t + 1)):  # here d_s is dE_t/ds_k
            d_p = d_s * slope_TBH[k]
            U_TTHI[t, k] = d_p.T @ tape.x_TBI[k]  # d+s_k/dU is diag(f'(p_k)) times x_k
            W_TTHH[t, k] = d_p.T @ tape.past_TBH[k]  # d+s_k/dW is diag(f'(p_k)) times s_{k-1}
            d_s = np.einsum("bi,bij->bj", d_s, J_TBHH[k])  # one more factor of the product
    return Contributions(U_TTHI, W_TTHH)


def _targets(network: Network, tape: NetworkTape, y_TBV: Array) -> Array:
    T, B, V = tape.o_TBV.shape
    y_TBV = np.asarray(y_TBV, dtype=np.float64)
    check_shape("y", y_TBV, "TBV", T=T, B=B, V=V)
    check_targets(network.error, y_TBV)
    return y_TBV


def _d_a(network: Network, tape: NetworkTape, y_TBV: Array) -> Array:
    return output_loss(network.g, network.error).slope(tape.o_TBV, _targets(network, tape, y_TBV))
