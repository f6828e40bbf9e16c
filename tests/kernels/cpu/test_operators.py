"""The operators: opcheck, torch.compile without a break, torch.export with a dynamic length, fake tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

import elman
from elman.kernels import cpu
from elman.kernels.call import flatten
from elman.kernels.cpu import recurrent
from elman.layers.cell import Cell

Draw = Callable[..., Any]


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
def test_opcheck(main_cell: Cell, draw: Draw, grad: bool, ragged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu.passes, "poison", False)  # opcheck compares what is allocated and not used, too
    drawn = draw(main_cell, 4, 3, 2, 5, grad=grad)
    lengths = torch.tensor([4, 1, 2]) if ragged else None
    resets = torch.tensor([[False, True, False]] * 4) if ragged else None
    call = flatten(drawn.x_TBI, drawn.state, drawn.weights, lengths, resets)
    arguments = (main_cell.kernel, False, grad, *call)
    tests = ["test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"]
    torch.library.opcheck(recurrent, arguments, test_utils=tests)


@pytest.fixture(params=["RNN", "GRU", "LSTM"])
def layer(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    return getattr(elman, request.param)(3, 5, num_layers=2, bidirectional=True)


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of its own parts
def test_compile_takes_a_layer_whole(layer: Any) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for steps in (4, 6):
        x = torch.randn(steps, 2, 3)
        y, _ = compiled(x)
        wanted, _ = layer(x)
        torch.testing.assert_close(y, wanted)
        found = torch.autograd.grad(y.square().sum(), list(layer.parameters()))
        right = torch.autograd.grad(wanted.square().sum(), list(layer.parameters()))
        torch.testing.assert_close(found, right)


@pytest.mark.filterwarnings("ignore")
def test_compile_under_lengths_and_resets(layer: Any) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x, lengths, resets = torch.randn(4, 2, 3), torch.tensor([3, 1]), torch.rand(4, 2) < 0.4
    y, _ = compiled(x, lengths=lengths, resets=resets)
    torch.testing.assert_close(y, layer(x, lengths=lengths, resets=resets)[0])


@pytest.mark.filterwarnings("ignore")
def test_export_with_a_dynamic_length(layer: Any) -> None:
    T, B = torch.export.Dim("T", min=2, max=1000), torch.export.Dim("B", min=2, max=64)
    with torch.no_grad():
        program = torch.export.export(layer, (torch.randn(7, 4, 3),), dynamic_shapes=({0: T, 1: B},))
        for steps, rows in ((7, 4), (30, 2), (2, 9)):
            x = torch.randn(steps, rows, 3)
            torch.testing.assert_close(program.module()(x), layer(x))
    assert "elman.recurrent" in str(program.graph)


def test_fake_tensors_and_modes(layer: Any) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        y, _ = layer(torch.empty(9, 4, 3))
        assert tuple(y.shape) == (9, 4, 10)
    with FlopCounterMode(display=False):
        assert layer(torch.randn(2, 2, 3))[0].shape == (2, 2, 10)


def test_a_call_that_saved_nothing_says_so(draw: Draw, main_cell: Cell) -> None:
    drawn = draw(main_cell, 2, 2, 2, 2, grad=True)
    call = flatten(drawn.x_TBI, drawn.state, drawn.weights, None, None)
    y: Tensor = recurrent(main_cell.kernel, False, False, *call)[0]
    with pytest.raises(RuntimeError, match="keep nothing"):
        y.sum().backward()
