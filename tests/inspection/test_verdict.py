"""Verdicts on twenty seeds of healthy layers and of each problem: no false positives, no false negatives."""

import math

import pytest
import torch
from torch import nn

import elman
from elman.inspection import diagnose
from elman.inspection.results import LayerReport
from elman.inspection.verdict import VERDICTS

T, B, H = 48, 3, 16
SEEDS = range(20)


def examine(layer: nn.Module, x_TBI: torch.Tensor, **options: object) -> LayerReport:
    """Diagnose a layer with a random error direction at each step."""
    direction_TBH = torch.randn(*x_TBI.shape[:2], layer.hidden_size)

    def loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return (model(batch)[0] * direction_TBH).sum()

    (report,) = diagnose(layer, [x_TBI], loss, **options).layers
    return report


def with_gain(layer: elman.RNN, gain: float) -> elman.RNN:
    with torch.no_grad():
        layer.weight_hh_l0.copy_(gain * torch.randn(layer.hidden_size, layer.hidden_size) / layer.hidden_size**0.5)
    return layer


def loud(layer: elman.RNN) -> elman.RNN:
    with torch.no_grad():
        layer.weight_ih_l0.mul_(30.0)
    return layer


def killed(layer: elman.RNN, share: float) -> elman.RNN:
    with torch.no_grad():
        layer.bias_ih_l0[: round(share * layer.hidden_size)] = -100.0
    return layer


def one_way(layer: elman.RNN) -> elman.RNN:
    """One direction of the state is kept, of all others 0.4 a step."""
    with torch.no_grad():
        Q = torch.linalg.qr(torch.randn(H, H)).Q
        layer.weight_hh_l0.copy_(Q @ torch.diag(torch.tensor([1.0] + [0.4] * (H - 1))) @ Q.T)
    return layer


def noise(scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(T, B, 4)


HEALTHY = {
    "linear rotation": lambda: (elman.RNN(4, H, nonlinearity="identity", init="orthogonal"), noise()),
    "tanh rotation": lambda: (elman.RNN(4, H, init="orthogonal"), noise(0.2)),
    "pairs of units that turn": lambda: (elman.RNN(4, H, init="rotation=2"), noise()),
    "irnn": lambda: (elman.RNN(4, H, nonlinearity="relu", init="identity"), noise()),
    "irnn on positive input": lambda: (elman.RNN(2, 64, nonlinearity="relu", init="identity"), torch.rand(T, B, 2)),
    "lstm": lambda: (elman.LSTM(4, H, init=f"chrono={T}"), noise()),
    "lstm, forget bias": lambda: (elman.LSTM(4, H, init="forget_bias=2"), noise()),
    "gru": lambda: (elman.GRU(4, H, init=f"chrono={T}"), noise()),
}
PROBLEMS = {
    "linear 0.5": ("vanishing", lambda: (elman.RNN(4, H, nonlinearity="identity", init="orthogonal=0.5"), noise())),
    "tanh 0.6": ("vanishing", lambda: (elman.RNN(4, H, init="orthogonal=0.6"), noise())),
    "torch's rnn": ("vanishing", lambda: (nn.RNN(4, H), noise())),
    "linear 1.5": ("exploding", lambda: (elman.RNN(4, H, nonlinearity="identity", init="orthogonal=1.5"), noise())),
    "relu 3": ("exploding", lambda: (elman.RNN(4, H, nonlinearity="relu", init="orthogonal=3"), noise())),
    "linear 1.2": ("exploding", lambda: (elman.RNN(4, H, nonlinearity="identity", init="orthogonal=1.2"), noise())),
    "one direction": ("narrow", lambda: (one_way(elman.RNN(4, H, nonlinearity="identity")), noise())),
    "one direction of tanh": ("narrow", lambda: (one_way(elman.RNN(4, H, init="rotation=2")), noise(0.2))),
    "gain 3": ("chaotic", lambda: (with_gain(elman.RNN(4, 64), 3.0), noise(0.1))),
    "loud input": ("saturated", lambda: (loud(elman.RNN(4, H, init="orthogonal")), noise())),
    "dead units": ("dead", lambda: (killed(elman.RNN(4, H, nonlinearity="relu", init="identity"), 0.8), noise())),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_layers_have_no_findings(name: str) -> None:
    for seed in SEEDS:
        torch.manual_seed(seed)
        layer, x = HEALTHY[name]()
        report = examine(layer, x)
        assert report.verdict == "healthy", (seed, report.findings)
        assert report.remedies == ()


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_problem_is_found(name: str) -> None:
    expected, make = PROBLEMS[name]
    for seed in SEEDS:
        torch.manual_seed(seed)
        report = examine(*make())
        assert report.verdict == expected, (seed, report.findings)
        assert report.remedies


@pytest.mark.parametrize("name", ["tanh rotation", "lstm"])
def test_only_a_window_that_is_too_short_is_reported(name: str) -> None:
    for seed in SEEDS:
        torch.manual_seed(seed)
        layer, x = HEALTHY[name]()
        assert examine(layer, x, window=2).verdict == "truncated too short"
        torch.manual_seed(seed)
        report = examine(nn.RNN(4, H), noise(), window=24, memory=12)
        assert report.verdict == "vanishing", (seed, report.findings)  # the window is not the cause


def test_a_layer_without_an_error_is_idle() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.GRU(4, 5), nn.GRU(4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)[0] + 0 * self.idle(x)[0].detach()

    report = diagnose(Two(), [noise()], lambda m, b: m(b).square().sum(), memory=2)
    assert [layer.verdict for layer in report.layers] == ["healthy", "idle"]
    assert "no gradient arrives" in report.layers[1].findings[0].message
    assert report.verdict == "idle"


def test_stuck_gates_are_saturated() -> None:
    lstm, gru = elman.LSTM(4, H), elman.GRU(4, H)
    with torch.no_grad():
        lstm.bias_ih_l0[3 * H :] = -20.0
        gru.bias_ih_l0[H : 2 * H] = 20.0
    assert "output gate of 100%" in examine(lstm, noise()).findings[0].message
    assert "update gate of 100%" in examine(gru, noise()).findings[0].message


def test_the_required_memory_decides_on_vanishing() -> None:
    torch.manual_seed(0)
    layer = elman.RNN(4, H, nonlinearity="identity", init="orthogonal=0.5")  # 1 % is passed at lag 7
    assert examine(layer, noise(), memory=7).verdict == "healthy"
    assert examine(layer, noise(), memory=8).verdict == "vanishing"


def test_errors_that_are_parallel_from_the_start_are_not_narrow() -> None:
    """The errors of a sum have one direction from the start: none was lost. Nor is it known of a few errors."""
    for rows, target, expected in ((16, 1, "healthy"), (16, 8, "narrow"), (4, 8, "healthy")):
        torch.manual_seed(0)
        layer = one_way(elman.RNN(4, H, nonlinearity="identity"))
        read_BH = torch.randn(rows, target) @ torch.randn(target, H)
        loss = lambda m, b, read_BH=read_BH: (m(b)[1][0] * read_BH).sum()  # noqa: E731
        report = diagnose(layer, [torch.randn(T, rows, 4)], loss, memory=20)
        assert report.verdict == expected, (rows, target, report.layers[0].findings)


def test_the_messages_contain_the_numbers() -> None:
    torch.manual_seed(0)
    message = examine(elman.RNN(4, H, nonlinearity="identity", init="orthogonal=0.5"), noise()).findings[0].message
    assert message == (
        "less than 1 % of the gradient is left at lag 7, a factor of 0.500 per step; 12 steps are required"
    )
    message = examine(elman.RNN(4, H, nonlinearity="identity", init="orthogonal=1.5"), noise()).findings[0].message
    assert message.startswith(f"the gradient at lag {T - 1} is {1.5 ** (T - 1):.3g} times as large")
    message = examine(one_way(elman.RNN(4, H, nonlinearity="identity")), noise()).findings[0].message
    assert message.startswith("the errors at lag 12 are parallel (participation ratio 1.0; at lag 0 1")
    message = examine(with_gain(elman.RNN(4, 64), 3.0), noise(0.1)).findings[0].message
    assert "Lyapunov exponent is +" in message and not math.isnan(float(message.split("is ")[1].split(" per")[0]))


def test_every_rule_has_a_docstring() -> None:
    assert all(rule.__doc__ for rule in VERDICTS.values())
