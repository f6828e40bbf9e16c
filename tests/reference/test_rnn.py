"""One step of the plain recurrent layer, and the layer against the network of network.py."""

from __future__ import annotations

import numpy as np
import pytest

from elman.errors import SettingError
from elman.reference import network, rnn
from elman.reference.activations import ACTIVATIONS
from elman.reference.network import Network
from elman.reference.rnn import RNNStep
from elman.reference.weights import LayerWeights


@pytest.mark.parametrize("nonlinearity", ACTIVATIONS)
def test_step_backward_equals_the_complex_step(nonlinearity, close):
    rng = np.random.default_rng(0)
    gx, gh, past, d_h = rng.normal(size=(4, 2, 3))
    cell = RNNStep(nonlinearity)
    _, kept = cell.step([gx], [gh], (past,))
    (d_gx,), (d_gh,), (d_past,) = cell.step_backward(kept, (d_h,))
    step = 1e-30
    # Each unit has its own gates, so all may be moved at once.
    (moved_x,), _ = cell.step([gx + 1j * step], [gh], (past,))
    (moved_h,), _ = cell.step([gx], [gh + 1j * step], (past,))
    close("complex step", d_gx, d_h * moved_x.imag / step)
    close("complex step", d_gh, d_h * moved_h.imag / step)
    assert not d_past.any()


@pytest.mark.parametrize("f", ACTIVATIONS)
def test_layer_is_the_network_without_its_output(f, close):
    """With V the identity and the target zero, squared error sends s_t itself back into the state."""
    rng = np.random.default_rng(0)
    T, B, I, H = 5, 2, 3, 4
    U, W, b = rng.normal(size=(H, I)), 0.5 * rng.normal(size=(H, H)), rng.normal(size=H)
    x, s0 = rng.normal(size=(T, B, I)), rng.normal(size=(B, H))
    net = Network(U, W, np.eye(H), b, None, f, "identity", "squared error")
    run = network.forward(net, x, s0)
    whole = network.bptt(net, run, np.zeros((T, B, H)))
    pairs = network.contributions(net, run, np.zeros((T, B, H)))

    y, _, tape = rnn.forward(x, (s0,), LayerWeights(U, W, b), nonlinearity=f)
    grads = rnn.backward(tape, run.s_TBH)
    layer_pairs = rnn.contributions(tape, run.s_TBH)
    scale = max(1.0, np.abs(whole.W_HH).max())
    close("same sum", y, run.s_TBH)
    close("same sum", grads.weights.ih, whole.U_HI, scale)
    close("same sum", grads.weights.hh, whole.W_HH, scale)
    close("same sum", grads.weights.b_ih, whole.b_H, scale)
    close("same sum", grads.x_TBI, whole.x_TBI, scale)
    close("same sum", grads.state[0], whole.s0_BH, scale)
    close("same sum", layer_pairs.ih, pairs.U_TTHI, scale)
    close("same sum", layer_pairs.hh, pairs.W_TTHH, scale)


def test_an_unknown_nonlinearity_is_refused_with_the_nearest():
    with pytest.raises(SettingError, match=r"unknown function f 'sigmiod'(.|\n)*did you mean 'sigmoid'"):
        rnn.forward(
            np.zeros((1, 1, 1)), (np.zeros((1, 1)),), LayerWeights(np.eye(1), np.eye(1)), nonlinearity="sigmiod"
        )
