"""The public contract suite holds an outsider's cell to the laws, and says what is wrong with a bad one."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import Tensor

import elman
from elman.layers.cell import Cell, State
from elman.layers.lstm import LSTMEquations
from elman.testing import LawBroken, check_cell


class MinimalGatedCell(Cell):
    """f = sigmoid(gx_f + gh_f), n = tanh(gx_n + f * gh_n), h' = (1 - f) h + f n."""

    gates: ClassVar[tuple[str, ...]] = ("f", "n")

    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: State) -> State:
        (h_BH,) = state
        f = torch.sigmoid(gx_BGH[:, 0] + gh_BGH[:, 0])
        return ((1 - f) * h_BH + f * torch.tanh(gx_BGH[:, 1] + f * gh_BGH[:, 1]),)


class WithMemory(MinimalGatedCell):
    """Keeps a count between calls, which no cell may."""

    calls = 0

    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: State) -> State:
        self.calls += 1
        return (super().step(gx_BGH, gh_BGH, state)[0] + 0.01 * self.calls,)


class AcrossRows(MinimalGatedCell):
    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: State) -> State:
        return (super().step(gx_BGH, gh_BGH, state)[0] + state[0].sum(),)


class Detached(MinimalGatedCell):
    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: State) -> State:
        return super().step(gx_BGH, gh_BGH, (state[0].detach(),))


class TwoInstead(MinimalGatedCell):
    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: State) -> State:
        return super().step(gx_BGH, gh_BGH, state) * 2


class BareTensor(MinimalGatedCell):
    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: State) -> State:
        return super().step(gx_BGH, gh_BGH, state)[0]  # type: ignore[return-value]


class NoGates(Cell):
    pass


def test_an_outsiders_cell_passes_and_runs_as_a_layer() -> None:
    check_cell(MinimalGatedCell)
    layer = elman.Recurrent(MinimalGatedCell(), 3, 4, num_layers=2, bidirectional=True)
    y, h = layer(torch.randn(5, 2, 3), lengths=[5, 0])
    assert isinstance(h, Tensor)
    assert (y.shape, h.shape) == ((5, 2, 8), (4, 2, 4))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (WithMemory, "a sequence may be cut anywhere: WithMemory"),
        (AcrossRows, "the order of a batch does not matter: AcrossRows"),
        (Detached, "the gradient is right: Detached"),
        (TwoInstead, r"should return 1 tensors \(B, H\), returns \[\(3, 3\), \(3, 3\)\]"),
        (BareTensor, r"should return a tuple of states, returns Tensor: return \(h,\)"),
        (NoGates, "NoGates.gates should be a tuple of different names"),
    ],
)
def test_a_bad_cell_is_told_its_law(cell: type[Cell], message: str) -> None:
    with pytest.raises(LawBroken, match=message):
        check_cell(cell)


def test_a_cell_with_its_own_step_does_not_inherit_a_fast_kernel() -> None:
    class Renamed(LSTMEquations):
        pass

    class Changed(LSTMEquations):
        def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: State) -> State:
            return super().step(gx_BGH, 2 * gh_BGH, state)

    assert Renamed.kernel == "lstm"
    assert Changed.kernel is None
