"""Instance normalisation: statistics by NumPy, reversible, and with the learned gain and shift of RevIN."""

import numpy as np
import pytest
import torch

from elman.errors import SettingError
from elman.modules.instance_norm import NORMALISATIONS, InstanceNorm

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
