"""Automatic gain control: the gain of a sound changes nothing, and a stream may be cut anywhere."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.modules.gain_control import ATTACK, HEADROOM, RELEASE, GainControl


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_it_may_be_cut_anywhere_to_the_bit(pieces: list[int]) -> None:
    x_TBI, level, parts = 3 * torch.randn(sum(pieces), 2, 5), None, []
    whole, last = GainControl()(x_TBI)
    for piece in x_TBI.split(pieces):
        part, level = GainControl()(piece, level)
        parts.append(part)
    assert torch.equal(torch.cat(parts), whole)
    assert last is level is None or torch.equal(last, level)


@pytest.mark.parametrize("decibels", [-60.0, -10.0, 20.0])
def test_a_gain_changes_nothing(decibels: float) -> None:
    x_TBI = 3 * torch.randn(50, 2, 5, dtype=torch.float64)
    gained = x_TBI + decibels * np.log(10) / 10
    torch.testing.assert_close(GainControl()(gained)[0], GainControl()(x_TBI)[0])


def test_the_level_by_its_equations() -> None:
    energies = np.exp(3 * np.random.default_rng(1).standard_normal((30, 4)))
    level = np.log(energies[0].mean()) + HEADROOM
    expected = []
    for row in energies:
        loudness = np.log(row.mean())
        if loudness > level:
            level += ATTACK * (loudness - level)
        elif loudness + HEADROOM < level:
            level += RELEASE * (loudness + HEADROOM - level)
        expected.append(np.log(row) - level)
    actual, last = GainControl()(torch.from_numpy(np.log(energies))[:, None])
    np.testing.assert_allclose(actual[:, 0].numpy(), expected, rtol=1e-10)
    assert last is not None and last.item() == pytest.approx(level)


def test_a_pause_is_softer_than_speech_however_long_it_is() -> None:
    x_TBI = torch.full((9000, 1, 2), -20.0)
    x_TBI[500:600] = 0.0
    y_T = GainControl()(x_TBI)[0][:, 0, 0]
    assert y_T[:500].max() < -4.5 and y_T[600:].max() < -4.5
    assert y_T[590:600].abs().max() < 0.5


def test_the_first_level_is_random_in_training_only() -> None:
    x_TBI, control = torch.randn(3, 200, 5), GainControl(2.0)
    plain = GainControl()(x_TBI)[0]
    torch.testing.assert_close(control.eval()(x_TBI)[0], plain)
    difference = (control.train()(x_TBI)[0] - plain)[0, :, 0]
    assert -2.2 < difference.min() < -1 and 1 < difference.max() < 2.2
