"""One step of the long short-term memory: the complex step, and what each gate does at its ends."""

from __future__ import annotations

import numpy as np

from elman.reference import lstm
from elman.reference.lstm import LSTMStep
from elman.reference.weights import LayerWeights

OPEN, SHUT, ZERO = np.full((2, 3), 100.0), np.full((2, 3), -100.0), [np.zeros((2, 3))] * 4


def some(n):
    return list(np.random.default_rng(n).normal(size=(n, 2, 3)))


def test_step_backward_equals_the_complex_step(close):
    *gates, past_h, past_c, d_m, d_c = some(12)
    _, kept = LSTMStep().step(gates[:4], gates[4:], (past_h, past_c))
    d_gx, d_gh, d_state = LSTMStep().step_backward(kept, (d_m, d_c))
    # Each unit has its own gates, so one argument may be moved in all units at once.
    inputs, step = [*gates, past_h, past_c], 1e-30
    for i, got in enumerate([*d_gx, *d_gh, *d_state]):
        moved = [a + 1j * step if i == j else a for j, a in enumerate(inputs)]
        (m, c), _ = LSTMStep().step(moved[:4], moved[4:8], tuple(moved[8:]))
        close("complex step", got, (d_m * m + d_c * c).imag / step)


def test_forget_at_1_and_input_at_0_keep_the_memory(close):
    a_g, a_o, h, c = some(4)
    (_, kept), _ = LSTMStep().step([SHUT, OPEN, a_g, a_o], ZERO, (h, c))
    close("same sum", kept, c)


def test_forget_at_0_and_input_at_1_take_the_candidate(close):
    a_g, a_o, h, c = some(4)
    (m, taken), _ = LSTMStep().step([OPEN, SHUT, a_g, a_o], ZERO, (h, c))
    close("same sum", taken, np.tanh(a_g))
    close("same sum", m, np.tanh(np.tanh(a_g)) / (1 + np.exp(-a_o)))


def test_output_at_0_hides_the_memory(close):
    a_i, a_f, a_g, h, c = some(5)
    (m, _), _ = LSTMStep().step([a_i, a_f, a_g, SHUT], ZERO, (h, c))
    close("same sum", m, np.zeros((2, 3)))


def test_projection_is_applied_to_what_the_past_sees_and_the_output(close):
    rng = np.random.default_rng(0)
    R, W = rng.normal(size=(2, 3)), rng.normal(size=(12, 2))
    weights = LayerWeights(rng.normal(size=(12, 1)), W, hr=R)
    plain = LayerWeights(weights.ih, W @ R)  # the same network with the projection pulled into W
    x, h, c = rng.normal(size=(4, 2, 1)), rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    y, (last_h, last_c), _ = lstm.forward(x, (h @ R.T, c), weights)
    want_y, (want_h, want_c), _ = lstm.forward(x, (h, c), plain)
    close("same sum", y, want_y @ R.T)
    close("same sum", last_h, want_h @ R.T)
    close("same sum", last_c, want_c)
