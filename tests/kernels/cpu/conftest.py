"""What the tests of the CPU kernel share: its cells, arguments drawn for them, and poisoned memory.

ELMAN_TEST_ENGINE names another build of the extension to test in place of the installed one, such as one with the
sanitizers: cmake -DELMAN_SANITIZE=ON, and LD_PRELOAD with the compiler's libasan.so.
"""

# ruff: noqa: E402  (the engine to test is loaded before what imports it)

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

ENGINE = "elman.kernels.cpu._engine"
path = os.environ.get("ELMAN_TEST_ENGINE")
if path is not None:
    spec = importlib.util.spec_from_file_location(ENGINE, path)
    assert spec is not None and spec.loader is not None
    sys.modules[ENGINE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[ENGINE])

from elman.kernels import cpu
from elman.kernels.cpu import passes
from elman.kernels.weights import Weights
from elman.layers import LAYERS, layer_class
from elman.layers.cell import Cell, State

assert path is None or passes._engine.__file__ == path
if passes.missing is not None:
    pytest.skip(passes.missing, allow_module_level=True)

ALL_CELLS: dict[str, Cell] = {
    str(cell.kernel): cell()
    for layer in map(layer_class, LAYERS)
    for cell in layer.cells
    if cell.kernel in passes.KINDS
}


@dataclass
class Drawn:
    """The arguments of `unroll`."""

    cell: Cell
    x_TBI: Tensor
    state: State
    weights: Weights

    def leaves(self) -> list[Tensor]:
        optional = (*self.weights[:4], *(self.weights.initial or ()))
        return [self.x_TBI, *self.state, *(t for t in optional if t is not None)]

    def on(self, kernel: object, **options: object) -> tuple[Tensor, State]:
        return kernel.unroll(self.cell, self.x_TBI, self.state, self.weights, **options)  # type: ignore[attr-defined,no-any-return]


@pytest.fixture(autouse=True)
def poisoned() -> Iterator[None]:
    """Fresh memory is NaN, so that an output which nobody writes is seen."""
    passes.poison = True
    yield
    passes.poison = False


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=list(ALL_CELLS))
def cell(request: pytest.FixtureRequest) -> Cell:
    return ALL_CELLS[request.param]


@pytest.fixture(params=["rnn_tanh", "gru", "lstm"])
def main_cell(request: pytest.FixtureRequest) -> Cell:
    return ALL_CELLS[request.param]


@pytest.fixture
def draw() -> Callable[..., Drawn]:
    def draw(
        cell: Cell,
        T: int,
        B: int,
        I: int,
        H: int,
        dtype: torch.dtype = torch.float32,
        grad: bool = False,
        seed: int = 0,
    ) -> Drawn:
        generator = torch.Generator().manual_seed(seed)

        def tensor(*shape: int, scale: float = 1.0) -> Tensor:
            numbers = scale * torch.randn(*shape, generator=generator, dtype=torch.float64)
            return numbers.to(dtype).requires_grad_(grad)

        rows = len(cell.gates) * H
        weights = Weights(
            tensor(rows, I, scale=I**-0.5),
            tensor(rows, H, scale=0.5 * H**-0.5),
            tensor(rows, scale=0.3),
            tensor(rows, scale=0.3),
            initial=tuple(tensor(H) for _ in cell.states),
        )
        return Drawn(cell, tensor(T, B, I), tuple(tensor(B, H) for _ in cell.states), weights)

    return draw


@pytest.fixture
def kernel() -> object:
    return cpu
