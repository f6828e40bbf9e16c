import math

import pytest
import torch

import elman
from elman.inspection.capture.recorder import record
from elman.inspection.capture.replay import Linear, replay
from elman.inspection.measures import saturation


def measure(layer: torch.nn.Module, x: torch.Tensor, **options: object) -> saturation.Saturation:
    passages = record(layer, x, lambda m, b: m(b, **options)[0].sum()).calls
    return saturation.measure([Linear(replay(p)) for p in passages])


def still(layer: torch.nn.Module, **biases: list[float]) -> torch.nn.Module:
    """Return the layer with all weights zero and the biases of some gates set, so that every step is the same."""
    with torch.no_grad():
        for weight in layer.parameters():
            weight.zero_()
        for gate, values in biases.items():
            g, H = layer.cell.gates.index(gate), layer.hidden_size
            layer.bias_ih_l0[g * H : (g + 1) * H] = torch.tensor(values)
    return layer


def test_known_forget_gates_give_their_time_constants() -> None:
    keep = [0.1, 0.5, 0.9, 0.99, 0.999]
    layer = still(elman.LSTM(2, 5), f=[math.log(k / (1 - k)) for k in keep])
    found = measure(layer, torch.randn(7, 3, 2))
    expected = torch.quantile(torch.tensor([-1 / math.log(k) for k in keep]), torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9]))
    assert found.time_constants == pytest.approx(expected.tolist(), rel=1e-3)
    assert found.time_constants[2] == pytest.approx(-1 / math.log(0.9), rel=1e-5)
    assert found.gates["f"].mean == pytest.approx(sum(keep) / 5, rel=1e-5)
    assert found.gates["f"].open == pytest.approx(0.4) and found.gates["f"].closed == 0
    assert found.gates["i"].mean == pytest.approx(0.5)


def test_the_update_gate_of_the_gru_is_its_time_constant() -> None:
    found = measure(still(elman.GRU(2, 3), z=[0.0, 0.0, 0.0]), torch.randn(5, 2, 2))
    assert found.time_constants == pytest.approx([-1 / math.log(0.5)] * 5)
    assert found.gates.keys() == {"r", "z"}


def test_gates_stuck_shut_are_counted() -> None:
    found = measure(still(elman.LSTM(2, 4), o=[-9.0, -9.0, -9.0, 0.0]), torch.randn(5, 2, 2))
    assert found.gates["o"].closed == pytest.approx(0.75)


def test_flat_slopes_are_counted_by_step_and_by_unit() -> None:
    layer = still(elman.RNN(1, 4), h=[5.0, 0.0, 0.0, 0.0])
    with torch.no_grad():
        layer.weight_ih_l0[1] = 5.0  # saturated at every other step
    x = torch.tensor([0.0, 1.0, 0.0, 1.0])[:, None, None]
    found = measure(layer, x)
    assert found.saturated == pytest.approx((4 + 2) / 16) and found.always_saturated == pytest.approx(0.25)
    assert found.dead is None and found.gates == {} and found.time_constants == ()


def test_the_candidates_of_gated_cells_saturate() -> None:
    assert measure(still(elman.LSTM(2, 2), g=[9.0, 0.0]), torch.randn(5, 2, 2)).saturated == pytest.approx(0.5)
    assert measure(still(elman.GRU(2, 2), n=[9.0, 0.0]), torch.randn(5, 2, 2)).saturated == pytest.approx(0.5)


def test_dead_units_never_answer() -> None:
    layer = still(elman.RNN(1, 4, nonlinearity="relu"), h=[-1.0, 1.0, 0.0, -1.0])
    with torch.no_grad():
        layer.weight_ih_l0[3] = 2.0  # wakes at one step
    x = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    found = measure(layer, x)
    assert found.dead == pytest.approx(0.5) and found.saturated is None


def test_padding_is_left_out() -> None:
    layer = still(elman.RNN(1, 2, nonlinearity="relu"), h=[-1.0, 1.0])
    with torch.no_grad():
        layer.weight_ih_l0[1] = -2.0  # answers where there is no input, as in the padding
    x = torch.tensor([1.0, 1.0, 0.0])[:, None, None]
    assert measure(layer, x, lengths=[2]).dead == 1 and measure(layer, x, lengths=[3]).dead == 0.5


def test_a_cell_of_ones_own_has_no_gates_that_we_know() -> None:
    class Leaky(elman.Cell):
        """h' = k h + (1 - k) tanh(a), k = sigmoid(b)."""

        gates = ("k", "a")

        def step(self, gx, gh, state):
            k = torch.sigmoid(gx[:, 0] + gh[:, 0])
            return (k * state[0] + (1 - k) * torch.tanh(gx[:, 1] + gh[:, 1]),)

    found = measure(still(elman.Recurrent(Leaky(), 2, 3)), torch.randn(4, 2, 2))
    assert found.saturated is None and found.gates == {}
    assert found.time_constants == pytest.approx([-1 / math.log(0.5)] * 5)
