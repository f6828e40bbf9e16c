"""The forecaster: equivariant to location and scale, rows are independent, missing values have no effect."""

import math
from typing import Any

import pytest
import torch

from elman.errors import SettingError
from elman.models.forecaster import DECODINGS, Forecaster
from elman.modules.forecast_heads import OUTPUTS
from elman.modules.segment_rnn import Covariates

T, F, B = 11, 7, 5
SIZES: dict[str, Any] = {
    "horizon": F,
    "segment": 3,
    "series": 4,
    "calendar_features": 2,
    "known_covariates": 1,
    "hidden": 6,
    "cell": "gru",
}


def batch(B: int = B, steps: int = T + F) -> tuple:
    torch.manual_seed(2)
    x_TB = torch.randn(T, B, dtype=torch.float64)
    covariates = Covariates(torch.randn(steps, B, 2).double(), torch.randn(steps, B, 1).double())
    return x_TB, torch.ones_like(x_TB), covariates, torch.arange(B) % 4


def forecaster(**options: Any) -> Forecaster:
    torch.manual_seed(1)
    model = Forecaster(**{**SIZES, **options}).double().eval()
    with torch.no_grad():
        for parameter in model.normalise.parameters():
            parameter.add_(0.3 * torch.rand_like(parameter))
    return model


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_rows_are_independent(decoding: str, output: str, cell: str) -> None:
    model = forecaster(decoding=decoding, output=output, cell=cell, layers=2)
    x_TB, observed_TB, covariates, series_B = batch()
    forecast_FBP = model(x_TB, observed_TB, covariates, series_B)
    assert forecast_FBP.shape == (F, B, model.output.parameters_per_step)
    for b in range(B):
        one = slice(b, b + 1)
        part = Covariates(*(c_SBK[:, one] for c_SBK in covariates))
        alone_FBP = model(x_TB[:, one], observed_TB[:, one], part, series_B[one])
        torch.testing.assert_close(alone_FBP, forecast_FBP[:, one], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_forecasts_follow_location_and_scale_of_the_series(decoding: str, output: str) -> None:
    x_TB, *rest = batch()
    for window_norm, scale in (("last", 1.0), ("revin", 3.0)):
        model = forecaster(decoding=decoding, output=output, window_norm=window_norm)
        before = model.output.quantiles(model(x_TB, *rest))
        after = model.output.quantiles(model(scale * x_TB - 20, *rest))
        torch.testing.assert_close(after, scale * before - 20, rtol=1e-4, atol=1e-4)  # a variance has 1e-5 added
    plain = forecaster(decoding=decoding, window_norm="none")
    assert (plain(x_TB + 1, *rest) - plain(x_TB, *rest) - 1).abs().max() > 1e-3


def test_missing_values_are_not_read() -> None:
    x_TB, observed_TB, *rest = batch()
    observed_TB[[0, 4, 5]] = 0
    model = forecaster()
    other_TB = torch.where(observed_TB > 0, x_TB, 1e3 * torch.randn_like(x_TB))
    torch.testing.assert_close(model(x_TB, observed_TB, *rest), model(other_TB, observed_TB, *rest))
    nothing = model(x_TB, torch.zeros_like(x_TB), *rest)
    assert torch.isfinite(nothing).all()


def test_a_recursive_forecast_has_any_horizon() -> None:
    model = forecaster(decoding="recursive")
    x_TB, observed_TB, covariates, series_B = batch(steps=T + 30)
    far = model(x_TB, observed_TB, covariates, series_B)
    near = model(x_TB, observed_TB, Covariates(*(c[: T + F] for c in covariates)), series_B)
    assert far.shape[0] == 30
    torch.testing.assert_close(far[:F], near)


def test_missing_targets_have_no_loss() -> None:
    model = forecaster().requires_grad_(False)
    forecast_FBP = model(*batch())
    target_FB, observed_FB = torch.randn(F, B).double(), torch.ones(F, B).double()
    observed_FB[3:, 1] = 0
    loss, count = model.loss(forecast_FBP, target_FB, observed_FB)
    assert count == F * B - 4
    other_FB = torch.where(observed_FB > 0, target_FB, 1e6)
    assert float(model.loss(forecast_FBP, other_FB, observed_FB)[0]) == float(loss)
    assert model.loss(forecast_FBP, target_FB, torch.zeros_like(observed_FB))[1] == 0
    assert math.isfinite(model.loss(forecast_FBP, target_FB, torch.zeros_like(observed_FB))[0])


def test_unknown_names() -> None:
    for name, kind in (("decoding", "decoding"), ("output", "output"), ("window_norm", "normalisation")):
        with pytest.raises(SettingError, match=f"unknown {kind} 'x'"):
            Forecaster(**{**SIZES, name: "x"})
