"""One step of the gated recurrent unit: the complex step, and what each gate does at its ends."""

from __future__ import annotations

import numpy as np
import pytest

from elman.reference.gru import GRUStep

OPEN, SHUT = np.full((2, 3), 100.0), np.full((2, 3), -100.0)


def some(n):
    return list(np.random.default_rng(n).normal(size=(n, 2, 3)))


def test_step_backward_equals_the_complex_step(close):
    *gates, past, d_h = some(8)
    _, kept = GRUStep().step(gates[:3], gates[3:], (past,))
    d_gx, d_gh, d_state = GRUStep().step_backward(kept, (d_h,))
    # Each unit has its own gates, so one argument may be moved in all units at once.
    inputs, step = [*gates, past], 1e-30
    for i, got in enumerate([*d_gx, *d_gh, *d_state]):
        moved = [a + 1j * step if i == j else a for j, a in enumerate(inputs)]
        (h,), _ = GRUStep().step(moved[:3], moved[3:6], (moved[6],))
        close("complex step", got, d_h * h.imag / step)


def test_update_gate_at_1_keeps_the_state_and_at_0_takes_the_candidate(close):
    gx_r, gx_n, gh_r, gh_z, gh_n, past = some(6)
    (kept,), _ = GRUStep().step([gx_r, OPEN, gx_n], [gh_r, gh_z, gh_n], (past,))
    (taken,), _ = GRUStep().step([gx_r, SHUT, gx_n], [gh_r, gh_z, gh_n], (past,))
    close("same sum", kept, past)
    r = 1 / (1 + np.exp(-gx_r - gh_r))
    close("same sum", taken, np.tanh(gx_n + r * gh_n))


@pytest.mark.parametrize(("gate", "seen"), [(OPEN, 1.0), (SHUT, 0.0)])
def test_reset_gate_acts_on_the_product_with_its_bias(gate, seen, close):
    gx_n, gh_r, gh_n, past = some(4)
    (h,), _ = GRUStep().step([gate, SHUT, gx_n], [gh_r, np.zeros((2, 3)), gh_n], (past,))
    close("same sum", h, np.tanh(gx_n + seen * gh_n))
