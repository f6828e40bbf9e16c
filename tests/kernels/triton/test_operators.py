"""The operators: opcheck, torch.compile without a break, fake tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import elman
from elman.kernels import triton
from elman.kernels.call import flatten
from elman.kernels.triton import forward_pass, recurrent
from elman.layers.cell import Cell
from elman.layers.gru import GRUEquations
from elman.layers.lstm import LSTMEquations
from elman.layers.rnn import TanhCell
from elman.testing import Case, make_arguments


@pytest.mark.parametrize(
    ("cell", "keep"),
    [(TanhCell(), forward_pass.NOTHING), (GRUEquations(), forward_pass.GATES), (LSTMEquations(), forward_pass.PAST)],
    ids=repr,
)
def test_opcheck(cell: Cell, here: str, keep: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_pass, "poison", False)  # opcheck compares what is allocated and not used, too
    options = keep == forward_pass.GATES
    case = Case(T=2, B=2, I=2, H=3, lengths=options, resets=options, dtype=torch.float32)
    x, state, weights, lengths, resets, _ = make_arguments(cell, case)
    call = flatten(x, state, weights, lengths, resets)
    call = type(call)(*(None if t is None else t.to(here) for t in call))
    if keep:
        for tensor in call[:7]:
            if tensor is not None:
                tensor.requires_grad_()
    tests = ["test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"]
    torch.library.opcheck(recurrent, (cell.kernel, False, keep, None, *call), test_utils=tests)


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of its own parts
@pytest.mark.parametrize(("kind", "recompute"), [("RNN", False), ("GRU", True), ("LSTM", False)])
def test_compile_takes_a_layer_whole(kind: str, recompute: bool, here: str) -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    layer: Any = getattr(elman, kind)(3, 4, bidirectional=True, device=here)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x, lengths = torch.randn(3, 2, 3, device=here), torch.tensor([3, 1], device=here)
    resets = torch.tensor([[False, False], [True, False], [False, False]], device=here)
    with triton.use(recompute=recompute):
        y, _ = compiled(x, lengths=lengths, resets=resets)
        found = torch.autograd.grad(y.square().sum(), list(layer.parameters()))
    wanted, _ = layer(x, lengths=lengths, resets=resets)
    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(found, torch.autograd.grad(wanted.square().sum(), list(layer.parameters())))


def test_fake_tensors(here: str) -> None:
    layer = elman.GRU(3, 4, device=here)
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert layer(torch.empty(9, 2, 3, device=here))[0].shape == (9, 2, 4)


def test_a_call_that_kept_nothing_says_so(main_cell: Cell, here: str) -> None:
    call = flatten(*make_arguments(main_cell, Case(T=2, dtype=torch.float32))[:3], None, None)
    call = type(call)(*(None if t is None else t.to(here).requires_grad_() for t in call))
    y = recurrent(main_cell.kernel, False, forward_pass.NOTHING, None, *call)[0]
    with pytest.raises(RuntimeError, match="keep nothing"):
        y.sum().backward()
