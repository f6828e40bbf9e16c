"""Normalisation: instance statistics by NumPy, reversible, with the learned gain and shift of RevIN; gain control."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import SettingError
from elman.modules.normalisation import ATTACK, HEADROOM, NORMALISATIONS, RELEASE, GainControl, InstanceNorm

X_TB = torch.tensor([[1.0, 5.0], [4.0, 5.0], [2.0, 5.0], [9.0, 5.0]]).double()
OBSERVED_TB = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0]]).double()


def test_mean_and_deviation_of_the_observed_values() -> None:
    (location_B, scale_B) = NORMALISATIONS["revin"](X_TB, OBSERVED_TB)
    assert location_B.tolist() == pytest.approx([4.0, 0.0])
    assert scale_B.tolist() == pytest.approx([np.sqrt(np.var([1, 2, 9]) + 1e-5), np.sqrt(1e-5)])
    assert [part.tolist() for part in NORMALISATIONS["last"](X_TB, OBSERVED_TB)] == [[9.0, 5.0], [1.0, 1.0]]
    assert [part.tolist() for part in NORMALISATIONS["none"](X_TB, OBSERVED_TB)] == [[0.0, 0.0], [1.0, 1.0]]


def test_gain_and_shift_of_each_series() -> None:
    norm, series_B = InstanceNorm("revin", 3).double(), torch.tensor([2, 0])
    norm.gain.data, norm.shift.data = torch.tensor([2.0, 9.0, 0.5]).double(), torch.tensor([1.0, 9.0, -3.0]).double()
    z_TB, (location_B, scale_B) = norm(X_TB, torch.ones_like(X_TB), series_B)
    standard_TB = (X_TB - X_TB.mean(0)) / (X_TB.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(z_TB, standard_TB * norm.gain[series_B] + norm.shift[series_B])
    torch.testing.assert_close(z_TB * scale_B + location_B, X_TB)


def test_gradients() -> None:
    norm, series_B = InstanceNorm("revin", 2).double(), torch.tensor([1, 0])
    x_TB, observed_TB = X_TB[:, [0, 0]].requires_grad_(), OBSERVED_TB[:, [0, 0]]

    def normalised(x_TB: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        parameters = {"gain": gain, "shift": shift}
        return torch.func.functional_call(norm, parameters, (x_TB, observed_TB, series_B))[0]

    assert torch.autograd.gradcheck(normalised, (x_TB, norm.gain, norm.shift))


def test_a_gain_of_zero_is_clamped() -> None:
    norm = InstanceNorm("revin", 1)
    norm.gain.data.zero_()
    z_TB, _ = norm(X_TB[:, :1].float(), torch.ones(4, 1), torch.tensor([0]))
    assert torch.isfinite(z_TB).all() and z_TB.std(correction=0).item() == pytest.approx(0.01, rel=1e-3)


def test_unknown_name() -> None:
    with pytest.raises(SettingError, match="unknown normalisation 'revim'"):
        InstanceNorm("revim", 1)


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
