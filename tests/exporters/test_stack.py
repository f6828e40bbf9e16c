"""The view of a layer that targets write: its numbers are the layer's, whatever class the layer has."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import elman
from elman.errors import ExportError
from elman.exporters.layer_cases import layer_cases, original_outputs
from elman.exporters.stack import stack_of
from elman.layers.gru import GRUEquations


class OwnCell(elman.Cell):
    gates = ("a",)

    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (torch.sin(gx_BGH[:, 0] + gh_BGH[:, 0]),)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu", "sigmoid", "identity"])
def test_a_plain_network_names_its_nonlinearity(nonlinearity: str) -> None:
    stack = stack_of(elman.RNN(3, 4, 2, nonlinearity, bidirectional=True, batch_first=True))
    assert (stack.cell, stack.nonlinearity, stack.batch_first) == ("rnn", nonlinearity, True)
    assert (stack.input_size, stack.hidden_size, len(stack.layers), stack.num_directions) == (3, 4, 2, 2)
    assert stack.layers[1].forward.U.shape == (4, 8) and stack.output_size == 8


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [nn.LSTM, elman.LSTM])
def test_the_weights_are_the_layers(kind: Any, bias: bool) -> None:
    layer = kind(3, 6, 2, bias=bias, bidirectional=True, proj_size=2, dtype=torch.float64)
    stack = stack_of(layer)
    reverse = stack.layers[1].reverse
    assert stack.dtype == np.float64 and reverse is not None and reverse.projection is not None
    np.testing.assert_array_equal(reverse.U, layer.weight_ih_l1_reverse.detach().numpy())
    np.testing.assert_array_equal(reverse.projection, layer.weight_hr_l1_reverse.detach().numpy())
    assert (reverse.b is not None) == (reverse.b_hidden is not None) == bias
    assert (stack.projection_size, stack.state_sizes, stack.output_size) == (2, (2, 6), 4)
    assert [part.shape for part in stack.initial_states(5)] == [(4, 5, 2), (4, 5, 6)]
    reverse.U[:] = 0
    assert layer.weight_ih_l1_reverse.detach().any()  # the stack has a copy


def test_an_accelerated_layer_and_computed_weights_are_read_as_they_are() -> None:
    model = nn.Sequential(nn.GRU(3, 4))
    torch.nn.utils.parametrizations.weight_norm(model[0], "weight_hh_l0")
    stack = stack_of(model[0])
    np.testing.assert_array_equal(stack.layers[0].forward.W, model[0].weight_hh_l0.detach().numpy())
    accelerated = elman.accelerate(nn.GRU(3, 4)).model
    assert isinstance(accelerated, elman.GRU) and stack_of(accelerated).cell == "gru"


def test_learned_initial_states_are_given_for_each_layer() -> None:
    layer = elman.LSTM(3, 4, 2, learn_initial_state=True)
    with torch.no_grad():
        layer.initial_c_l1.fill_(7.0)
    stack = stack_of(layer)
    assert stack.initial is not None and [part.shape for part in stack.initial] == [(2, 4), (2, 4)]
    assert (stack.initial_states(3)[1][1] == 7).all() and not (stack.initial_states(3)[1][0] == 7).any()


@pytest.mark.parametrize("cell", [elman.RNNCell(3, 4, nonlinearity="relu"), nn.GRUCell(3, 4), nn.LSTMCell(3, 4, False)])
def test_a_cell_is_a_layer_of_one(cell: Any) -> None:
    stack = stack_of(cell)
    assert len(stack.layers) == 1 and stack.layers[0].reverse is None
    case = layer_cases(stack)[0]
    y, state = original_outputs(cell, stack, case)
    assert y.shape == (9, 4, 4) and state[0].shape == (1, 4, 4)
    np.testing.assert_array_equal(y[-1], state[0][0])


def test_other_equations_are_given_as_the_cell() -> None:
    stack = stack_of(elman.Recurrent(OwnCell(), 3, 4))
    assert stack.cell == "own" and isinstance(stack.equations, OwnCell) and stack.gates == ("a",)
    assert stack_of(elman.Recurrent(GRUEquations(), 3, 4)).cell == "gru"


class Doubled(nn.LSTM):
    def forward(self, input: Any, hx: Any = None) -> Any:
        y, state = super().forward(input, hx)
        return 2 * y, state


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Linear(3, 4), "not a recurrent layer"),
        (Doubled(3, 4), "forward of its own"),
        (elman.GRU(3, 4).half(), "cannot be exported"),
        (nn.GRU(3, 4, dtype=torch.bfloat16), "cannot be exported"),
        (elman.GRU(3, 4, device="meta"), "cannot be exported"),
    ],
)
def test_what_cannot_be_read_is_refused(layer: nn.Module, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        stack_of(layer)


def test_weights_that_are_not_finite_are_refused() -> None:
    layer = nn.GRU(3, 4)
    with torch.no_grad():
        layer.bias_hh_l0[2] = torch.nan
    with pytest.raises(ExportError, match="not finite"):
        stack_of(layer)


@pytest.mark.parametrize("kind", [nn.GRU, elman.GRU])
@pytest.mark.parametrize("batch_first", [False, True])
def test_the_original_takes_lengths_and_resets(kind: Any, batch_first: bool) -> None:
    layer = kind(3, 4, batch_first=batch_first, dropout=0.5, num_layers=2)
    stack = stack_of(layer)
    for case in layer_cases(stack, lengths=True, resets=True):
        y, (h,) = original_outputs(layer, stack, case)
        T, B, _ = case.x.shape
        assert y.shape == (T, B, 4) and h.shape == (2, B, 4)
        if case.lengths is not None:
            for b, length in enumerate(case.lengths):
                assert not y[length:, b].any()
                np.testing.assert_array_equal(y[length - 1, b] if length else case.states(stack)[0][1, b], h[1, b])
    assert layer.training
