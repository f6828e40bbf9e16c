"""Step-wise forecasters: by a loop with torch's own layers."""

import pytest
import torch
from torch import nn

from elman.modules.forecast_heads import QuantileHead
from elman.modules.segment_rnn import Covariates
from elman.modules.step_rnn import DirectRNN, RecursiveRNN

T, F, B = 6, 4, 3
SIZES = {"series": 4, "covariates": 2, "hidden": 5, "cell": "gru"}


def batch() -> tuple[torch.Tensor, torch.Tensor, Covariates, torch.Tensor]:
    torch.manual_seed(2)
    covariates = Covariates(torch.randn(T + F, B, 1).double(), torch.randn(T + F, B, 1).double())
    return torch.randn(T, B).double(), torch.randint(2, (T, B)).double(), covariates, torch.tensor([3, 0, 1])


def torch_gru(network: nn.Module) -> nn.GRU:
    gru = nn.GRU(2 + 2 + 8, 5).double()
    gru.load_state_dict(network.recurrent.state_dict())
    return gru


def test_direct_by_torchs_gru() -> None:
    network = DirectRNN(horizon=F, outputs=2, **SIZES).double()
    x_TB, observed_TB, covariates, series_B = batch()
    known_SBK = torch.cat(list(covariates), -1)
    input_TBI = torch.cat(
        [x_TB[..., None], observed_TB[..., None], known_SBK[:T], network.identity(series_B)[None].repeat(T, 1, 1)], -1
    )
    last_BH = torch_gru(network)(input_TBI)[0][-1]
    output_FBP = network(x_TB, observed_TB, covariates, series_B)
    for b in range(B):
        expected_FP = network.head(last_BH[b]).view(F, 2) + network.ahead(known_SBK[T:, b])
        torch.testing.assert_close(output_FBP[:, b], expected_FP)


def test_recursive_reads_its_own_medians() -> None:
    """One longer sequence, whose values beyond the past are the forecasts, gives the same outputs."""
    head = QuantileHead((0.1, 0.5, 0.9))
    network = RecursiveRNN(output=head, **SIZES).double()
    x_TB, observed_TB, covariates, series_B = batch()
    known_SBK = torch.cat(list(covariates), -1)
    output_FBP = network(x_TB, observed_TB, covariates, series_B)
    assert output_FBP.shape == (F, B, 3)
    values_SB = torch.cat([x_TB, head.point(head(output_FBP))[:-1]])
    observed_SB = torch.cat([observed_TB, torch.ones(F - 1, B).double()])
    identity_SBE = network.identity(series_B)[None].repeat(T + F - 1, 1, 1)
    input_SBI = torch.cat([values_SB[..., None], observed_SB[..., None], known_SBK[1:], identity_SBE], -1)
    y_SBH = torch_gru(network)(input_SBI)[0]
    torch.testing.assert_close(output_FBP, network.head(y_SBH[T - 1 :]))


def test_a_recursive_forecast_has_any_horizon() -> None:
    network = RecursiveRNN(output=QuantileHead((0.5,)), **SIZES).double()
    x_TB, observed_TB, covariates, series_B = batch()
    longer = Covariates(*(torch.cat([part, part]) for part in covariates))
    output_FBP = network(x_TB, observed_TB, longer, series_B)
    assert len(output_FBP) == 2 * (T + F) - T
    torch.testing.assert_close(output_FBP[:F], network(x_TB, observed_TB, covariates, series_B))


@pytest.mark.parametrize(
    "build",
    [lambda: DirectRNN(horizon=F, outputs=1, **SIZES), lambda: RecursiveRNN(output=QuantileHead((0.5,)), **SIZES)],
)
def test_each_parameter_has_a_gradient(build: object) -> None:
    network = build().double()
    network(*batch()).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
