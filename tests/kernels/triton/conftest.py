"""What the tests of the GPU kernel share. Where there is no GPU they run it under Triton's interpreter, on the CPU.

Triton looks for TRITON_INTERPRET where it is imported and where a kernel is defined, so both are imported here, first
of all, and the variable is put back. With ELMAN_TEST_INTERPRET=1 a machine with a GPU runs the interpreter too.
"""

# ruff: noqa: E402  (the kernels are imported where the variable is set)

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

INTERPRETED = not torch.cuda.is_available() or os.environ.get("ELMAN_TEST_INTERPRET") == "1"
with pytest.MonkeyPatch.context() as patch:
    patch.setenv("TRITON_INTERPRET", "1" if INTERPRETED else "0")
    pytest.importorskip("triton", reason="triton is not installed: pip install 'elman[gpu]'")
    if INTERPRETED:
        importlib.import_module("triton.experimental.gluon")  # the interpreter's first call would, without the variable
    from elman.kernels.triton import launch

from elman.kernels import triton
from elman.kernels.triton import forward_pass
from elman.kernels.triton.plan import KINDS
from elman.layers import LAYERS, layer_class
from elman.layers.cell import Cell

assert launch.INTERPRETED == INTERPRETED

ALL_CELLS: dict[str, Cell] = {
    str(cell.kernel): cell() for layer in map(layer_class, LAYERS) for cell in layer.cells if cell.kernel in KINDS
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if INTERPRETED and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="there is no GPU, and the interpreter cannot stand for one here"))


class OnDevice:
    """The kernel as one of the CPU: tensors go to its device and come back, gradients too."""

    def unroll(self, cell: Cell, *arguments: Any, **options: Any) -> Any:
        return moved(triton.unroll(cell, *moved(arguments, triton.device), **moved(options, triton.device)), "cpu")


def moved(value: Any, device: str) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: moved(v, device) for name, v in value.items()}
    if isinstance(value, tuple):
        found = [moved(v, device) for v in value]
        return type(value)(*found) if hasattr(value, "_fields") else tuple(found)
    return value


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The device of the tests; fresh memory is NaN, so that an output which nobody writes is seen."""
    monkeypatch.setattr(triton, "device", "cpu" if INTERPRETED else "cuda")
    monkeypatch.setattr(forward_pass, "poison", True)
    yield triton.device
    assert triton.options() == triton.EngineOptions()


@pytest.fixture(params=list(ALL_CELLS))
def cell(request: pytest.FixtureRequest) -> Cell:
    return ALL_CELLS[request.param]


@pytest.fixture(params=["rnn_tanh", "gru", "lstm"])
def main_cell(request: pytest.FixtureRequest) -> Cell:
    return ALL_CELLS[request.param]


@pytest.fixture(params=[1, 2, 3], ids=["alone", "resident", "steps"])
def tier(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def kernel() -> OnDevice:
    return OnDevice()
