"""The kernel against the reference: y, the last state and every gradient, in every tier, with every option.

In float64 a wrong sign or index cannot hide. Sizes are multiples of nothing; 17 rows make two tiles, and 17 units make
the second tier several programs.
"""

from __future__ import annotations

import pytest
import torch

from elman.kernels import triton
from elman.layers.cell import Cell
from elman.layers.gru import GRUEquations
from elman.layers.lstm import LSTMEquations
from elman.testing import LAWS, Case, check_laws

judge = LAWS["it equals the reference"]


@pytest.mark.parametrize("reverse", [False, True])
def test_every_option_in_every_tier(main_cell: Cell, tier: int, kernel: object, reverse: bool) -> None:
    case = Case(T=3, B=3, I=2, H=5, lengths=True, resets=True, initial=True, reverse=reverse, seed=1)
    with triton.use(tier=tier):
        judge(kernel, main_cell, case)


def test_every_cell(cell: Cell, kernel: object) -> None:
    judge(kernel, cell, Case(T=3))


@pytest.mark.parametrize("options", [{"lengths": True}, {"resets": True, "bias": False}], ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_one_option_at_a_time(main_cell: Cell, kernel: object, options: dict[str, bool], reverse: bool) -> None:
    judge(kernel, main_cell, Case(T=3, reverse=reverse, seed=2, **options))


def test_several_programs_each_way(main_cell: Cell, tier: int, kernel: object) -> None:
    case = Case(T=2, B=17, I=3, H=17, lengths=True, resets=True, seed=3)
    with triton.use(tier=tier):
        judge(kernel, main_cell, case)


@pytest.mark.parametrize("gated", [GRUEquations(), LSTMEquations()], ids=repr)
@pytest.mark.parametrize("reverse", [False, True])
def test_gates_computed_again(gated: Cell, kernel: object, reverse: bool) -> None:
    with triton.use(recompute=True):
        judge(kernel, gated, Case(T=3, B=3, H=5, lengths=True, resets=True, reverse=reverse, seed=4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_number_types(main_cell: Cell, kernel: object, dtype: torch.dtype) -> None:
    with triton.use(tier={torch.float32: 3, torch.bfloat16: 2, torch.float16: 1}[dtype]):
        judge(kernel, main_cell, Case(T=4, H=7, resets=True, dtype=dtype, seed=5))


@pytest.mark.parametrize("sizes", [{"T": 0}, {"B": 0}, {"T": 1, "B": 1, "I": 1, "H": 1}], ids=str)
def test_smallest_sizes(main_cell: Cell, kernel: object, sizes: dict[str, int]) -> None:
    judge(kernel, main_cell, Case(**sizes))
    judge(kernel, main_cell, Case(**sizes, lengths=True, resets=True, reverse=True))


def test_every_law(main_cell: Cell, kernel: object) -> None:
    check_laws(kernel, main_cell, Case(T=2, B=2, H=3, lengths=True, resets=True, initial=True, seed=6))
