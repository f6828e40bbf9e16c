import math

import pytest
import torch

import elman
from elman.inspection.capture.recorder import record
from elman.inspection.capture.replay import Linear, replay
from elman.inspection.measures import jacobian

CELLS = {"tanh": elman.RNN, "gru": elman.GRU, "lstm": elman.LSTM}


def linear_of(layer: torch.nn.Module, x: torch.Tensor) -> Linear:
    return Linear(replay(record(layer, x, lambda m, b: m(b)[0].sum()).calls[0]))


@pytest.mark.parametrize("matrix", ["random", "rotation", "nilpotent", "zero"])
def test_the_spectral_radius_is_the_largest_eigenvalue(matrix: str) -> None:
    torch.manual_seed(0)
    W = {
        "random": torch.randn(40, 40),
        "rotation": 0.7 * torch.linalg.qr(torch.randn(40, 40)).Q,
        "nilpotent": torch.diag(torch.ones(9), 1),
        "zero": torch.zeros(3, 3),
    }[matrix]
    expected = float(torch.linalg.eigvals(W.double()).abs().max())
    assert jacobian.spectral_radius(W) == pytest.approx(expected, rel=1e-4, abs=1e-12)


@pytest.mark.parametrize("name", CELLS)
def test_jacobians_are_autograds(name: str) -> None:
    torch.manual_seed(0)
    layer = CELLS[name](3, 5).double()
    linear = linear_of(layer, torch.randn(6, 2, 3, dtype=torch.float64))
    trace, result = linear.trace, jacobian.sample(linear)
    places = trace.thread_TB.nonzero()
    picked = places[torch.linspace(0, len(places) - 1, len(result)).long()].tolist()
    assert len(result) == 8
    for J, (t, b) in zip(result, picked, strict=True):

        def step(before: torch.Tensor, t: int = t, b: int = b) -> torch.Tensor:
            state = before.view(1, -1).split(5, dim=1)
            gh = torch.nn.functional.linear(state[0], layer.weight_hh_l0, layer.bias_hh_l0).view(1, -1, 5)
            return torch.cat(layer.cell.step(trace.gx_TBGH[t, b][None], gh, state), dim=1)[0]

        before = torch.cat([s[t, b] for s in trace.before])
        torch.testing.assert_close(J, torch.autograd.functional.jacobian(step, before))
    values = torch.stack([torch.linalg.svdvals(J) for J in result])
    measured = jacobian.measure(linear)
    assert measured.singular_values[2] == pytest.approx(float(values[:, 0].median()))
    assert measured.samples == 8


def test_lyapunov_exponents_of_a_linear_network_are_the_logarithms_of_its_eigenvalues() -> None:
    layer = elman.RNN(2, 4, nonlinearity="identity")
    with torch.no_grad():
        layer.weight_hh_l0.copy_(torch.diag(torch.tensor([0.5, 1.1, 0.9, 0.2])) + 0.01 * torch.ones(4, 4).triu(1))
    exponents_BK, steps = jacobian.lyapunov(linear_of(layer, torch.randn(200, 2, 2) * 0), count=3)
    assert steps == 179
    for row in exponents_BK.tolist():
        assert row == pytest.approx([math.log(1.1), math.log(0.9), math.log(0.5)], abs=2e-3)


def test_chaos_begins_near_gain_one() -> None:
    """Sompolinsky, Crisanti and Sommers, "Chaos in random neural networks", 1988: at gain 1 for large networks."""
    torch.manual_seed(0)
    H, T = 100, 300
    exponent = {}
    x = torch.zeros(T, 1, H)
    x[0] = torch.randn(H)
    W = torch.randn(H, H) / H**0.5
    for gain in (0.7, 0.9, 1.1, 1.3, 2.0):
        layer = elman.RNN(H, H)
        with torch.no_grad():
            layer.weight_hh_l0.copy_(gain * W)
            layer.weight_ih_l0.copy_(torch.eye(H))
            layer.bias_ih_l0.zero_()
            layer.bias_hh_l0.zero_()
        exponent[gain] = float(jacobian.lyapunov(linear_of(layer, x), count=2)[0][0, 0])
    values = list(exponent.values())
    assert exponent[0.7] < -0.2 and exponent[2.0] > 0.1
    assert values[:2] == sorted(values[:2])
    crossing = next(gain for gain, value in exponent.items() if value > 0)
    assert 0.9 < crossing <= 1.3 and exponent[0.9] < 0


def test_resets_and_padding_are_left_out() -> None:
    torch.manual_seed(0)
    layer = elman.RNN(2, 4, nonlinearity="identity", init="orthogonal=0.9")
    resets = torch.zeros(30, 2, dtype=torch.bool)
    resets[10] = True
    x = torch.randn(30, 2, 2)
    passages = record(layer, x, lambda m, b: m(b, resets=resets, lengths=[30, 20])[0].sum()).calls
    exponents_BK, _ = jacobian.lyapunov(Linear(replay(passages[0])))
    assert exponents_BK.flatten().tolist() == pytest.approx([math.log(0.9)] * 8, abs=1e-5)
