"""The names of the cells that the engines run are those that the layers' cells give."""

from __future__ import annotations

import pytest

from elman.kernels.cpu import passes
from elman.kernels.triton import plan
from elman.layers import LAYERS, layer_class

NAMES = {cell.kernel for layer in map(layer_class, LAYERS) for cell in layer.cells}


@pytest.mark.parametrize("kinds", [passes.KINDS, plan.KINDS], ids=["cpu", "triton"])
def test_every_kind_is_a_cell(kinds: dict[str, object]) -> None:
    assert kinds.keys() <= NAMES
