"""The laws of cells, kernels and recipes, as tests for anyone: `check_cell(MyCell())`, `check_recipe(MyRecipe, data)`.

The project's own tests run the same laws over every cell, kernel and recipe.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from elman.kernels import eager
from elman.layers.cell import Cell
from elman.testing.case import TOLERANCE, Case, Kernel, LawBroken, make_arguments
from elman.testing.laws import LAWS
from elman.testing.recipe_laws import RECIPE_LAWS, RecipeTrial, check_recipe

__all__ = [
    "CASES",
    "LAWS",
    "RECIPE_LAWS",
    "TOLERANCE",
    "Case",
    "LawBroken",
    "RecipeTrial",
    "check_cell",
    "check_kernel",
    "check_laws",
    "check_recipe",
    "make_arguments",
]

CASES: tuple[Case, ...] = (
    Case(),
    Case(T=0),
    Case(T=1, B=1, I=1, H=1),
    Case(B=0),
    Case(T=6, I=4, H=5, lengths=True, resets=True, initial=True, seed=1),
    Case(T=6, H=4, bias=False, lengths=True, resets=True, reverse=True, seed=2),
    Case(T=4, B=2, H=7, dtype=torch.float32, seed=3),
)


def check_cell(cell: Cell | type[Cell], cases: Iterable[Case] = CASES) -> None:
    """Hold a cell to the contract and to every law, on the eager kernel.

    Raises:
        LawBroken: the cell breaks a law, or its declaration and its step disagree; the message names the case.
    """
    cell = cell() if isinstance(cell, type) else cell
    kind = type(cell).__name__
    for name, declared in (("gates", cell.gates), ("states", cell.states)):
        if not declared or len(set(declared)) != len(declared):
            raise LawBroken(f"{kind}.{name} should be a tuple of different names, is {declared!r}")
    for case in cases:
        arguments = make_arguments(cell, case)
        gates_BGH = torch.zeros(case.B, len(cell.gates), case.H, dtype=case.dtype)
        after = cell.step(gates_BGH, gates_BGH, arguments.state)
        if not isinstance(after, tuple):
            raise LawBroken(f"{kind}.step should return a tuple of states, returns {type(after).__name__}: return (h,)")
        shapes = [tuple(s.shape) for s in after]
        if shapes != [(case.B, case.H)] * len(cell.states):
            raise LawBroken(f"{kind}.step should return {len(cell.states)} tensors (B, H), returns {shapes}")
        check_laws(eager, cell, case)


def check_kernel(kernel: Kernel, cells: Iterable[Cell], cases: Iterable[Case] = CASES) -> None:
    """Hold a kernel to every law for the cells that it runs, the reference included.

    Raises:
        LawBroken: the kernel breaks a law; the message names the law, the cell and the case.
    """
    cells = list(cells)
    for case in cases:
        for cell in cells:
            check_laws(kernel, cell, case)


def check_laws(kernel: Kernel, cell: Cell, case: Case) -> None:
    """Hold a kernel to every law for one cell and one case.

    Raises:
        LawBroken: the message names the law, the cell and the case.
    """
    for name, law in LAWS.items():
        try:
            law(kernel, cell, case)
        except LawBroken as error:
            raise LawBroken(f"{name}: {type(cell).__name__}: {error}\n  {case}") from error
