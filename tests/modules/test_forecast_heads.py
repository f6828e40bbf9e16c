"""Forecast heads: against scipy's distributions, scikit-learn's pinball loss, and in the units of the series."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mean_pinball_loss

from elman.errors import SettingError
from elman.modules.forecast_heads import OUTPUTS, QuantileHead, build_output


@given(st.integers(0, 100))
def test_quantiles_never_cross(seed: int) -> None:
    output = QuantileHead((0.05, 0.25, 0.5, 0.75, 0.95))
    torch.manual_seed(seed)
    quantiles_FBQ = output(100 * torch.randn(3, 2, 5))
    assert (quantiles_FBQ.diff(dim=-1) >= 0).all()
    assert torch.equal(output.point(quantiles_FBQ), quantiles_FBQ[..., 2])


def test_the_pinball_loss_is_that_of_scikit_learn() -> None:
    levels = (0.1, 0.5, 0.9)
    torch.manual_seed(1)
    forecast_FBQ, target_FB = torch.randn(4, 6, 3), torch.randn(4, 6)
    loss = QuantileHead(levels).loss(forecast_FBQ, target_FB).mean()
    expected = [
        mean_pinball_loss(target_FB.ravel(), forecast_FBQ[..., q].ravel(), alpha=level)
        for q, level in enumerate(levels)
    ]
    assert float(loss) == pytest.approx(2 * np.mean(expected), rel=1e-5)


@pytest.mark.parametrize(("name", "reference"), [("normal", stats.norm), ("laplace", stats.laplace)])
def test_distributions_are_those_of_scipy(name: str, reference: Any) -> None:
    levels = (0.1, 0.5, 0.9)
    output = build_output(name, levels)
    forecast_FBP = output(torch.randn(4, 3, 2).double())
    location, scale = forecast_FBP[..., 0].numpy(), forecast_FBP[..., 1].numpy()
    target_FB = torch.randn(4, 3).double()
    np.testing.assert_allclose(output.loss(forecast_FBP, target_FB), -reference.logpdf(target_FB, location, scale))
    expected = reference.ppf(np.array(levels), location[..., None], scale[..., None])
    np.testing.assert_allclose(output.quantiles(forecast_FBP), expected, atol=1e-6)


@pytest.mark.parametrize("name", OUTPUTS)
def test_rescaling_is_affine_in_the_quantiles(name: str) -> None:
    head, window = build_output(name, (0.1, 0.5, 0.9)), (torch.tensor([2.0, -1.0]), torch.tensor([3.0, 0.5]))
    forecast_FBP = head(torch.randn(4, 2, head.parameters_per_step))
    rescaled_FBP = head.rescale(forecast_FBP, window)
    expected_FBQ = head.quantiles(forecast_FBP) * window[1][:, None] + window[0][:, None]
    torch.testing.assert_close(head.quantiles(rescaled_FBP), expected_FBQ)
    torch.testing.assert_close(head.point(rescaled_FBP), head.quantiles(rescaled_FBP)[..., 1])


@pytest.mark.parametrize("name", OUTPUTS)
def test_gradients(name: str) -> None:
    torch.manual_seed(1)
    head = build_output(name, (0.25, 0.5, 0.75))
    raw_FBP = torch.randn(2, 2, head.parameters_per_step).double().requires_grad_()
    target_FB = torch.randn(2, 2).double()
    assert torch.autograd.gradcheck(lambda raw_FBP: head.loss(head(raw_FBP), target_FB), raw_FBP)


@pytest.mark.parametrize("levels", [(), (0.1, 0.9), (0.5, 0.1), (0.1, 0.5, 0.8), (0.0, 0.5, 1.0)])
def test_invalid_levels(levels: tuple) -> None:
    with pytest.raises(SettingError, match="the quantiles do not fit together"):
        build_output("quantiles", levels)


def test_unknown_name() -> None:
    with pytest.raises(SettingError, match="unknown output 'norml'"):
        build_output("norml", (0.5,))
