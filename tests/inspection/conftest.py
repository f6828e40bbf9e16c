"""What the tests of the doctor share: a model around a layer, its batch and its loss."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn


class Reader(nn.Module):
    """A recurrent layer between nothing and a linear read-out of every step."""

    def __init__(self, layer: nn.Module, width: int, outputs: int = 3) -> None:
        super().__init__()
        self.layer = layer
        self.read = nn.Linear(width, outputs)

    def forward(self, x: Tensor, **options: Any) -> Tensor:
        y, _ = self.layer(x, **options)
        return self.read(y)


def squares(model: nn.Module, batch: Any) -> Tensor:
    """Return the sum of squared errors over all steps."""
    x, target, *options = batch
    return ((model(x, **(options[0] if options else {})) - target) ** 2).sum()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The sizes are tiny: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def reader() -> Callable[..., nn.Module]:
    """Return the maker of a model around a layer."""

    def make(layer: nn.Module, outputs: int = 3) -> nn.Module:
        width = (getattr(layer, "proj_size", 0) or layer.hidden_size) * (2 if layer.bidirectional else 1)
        return Reader(layer, width, outputs).to(next(layer.parameters()).dtype)

    return make


@pytest.fixture
def loss() -> Callable[[nn.Module, Any], Tensor]:
    """Return the loss of a batch (x, target) or (x, target, options of the call)."""
    return squares
