"""Outputs and states of layers are tensors of their own: they are detached and changed in place as torch.nn's are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import elman

CHANGES: dict[str, Callable[[Tensor], Any]] = {
    "relu": nn.ReLU(inplace=True),
    "a sum": lambda y: y.add_(y.detach() + 1),
    "zeros": lambda y: y.__setitem__((slice(None), slice(1, None)), 0),
    "a product": lambda y: y.mul_(2),
}


def tensors(y: Tensor, state: Any) -> list[Tensor]:
    return [y, *((state,) if isinstance(state, Tensor) else state)]


@pytest.mark.parametrize(
    "options", [{}, {"batch_first": True}, {"num_layers": 2}, {"batch_first": True, "bidirectional": True}]
)
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_detached_in_place(kind: str, options: dict[str, Any]) -> None:
    layer = getattr(elman, kind)(3, 4, **options)
    for x in (torch.randn(5, 2, 3), torch.randn(5, 3)):
        for tensor in tensors(*layer(x)):
            assert tensor.requires_grad and not tensor.detach_().requires_grad
        with torch.no_grad():
            assert not any(t._is_view() for t in tensors(*layer(x)))


def test_a_cell_of_ones_own_is_detached_in_place_too() -> None:
    class Mine(elman.layers.rnn.TanhCell):
        def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: Any) -> Any:
            return super().step(gx_BGH, gh_BGH, state)

    layer = elman.Recurrent(Mine(), 3, 4)
    x, hx = torch.randn(5, 2, 3, requires_grad=True), torch.randn(1, 2, 4)
    y, h = layer(x, hx)
    y.sum().backward()
    assert h.shape == (1, 2, 4) and not h.detach_().requires_grad
    _, h = layer(x[:0], hx)
    h.zero_()
    assert hx.abs().sum() > 0


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_changed_in_place_before_the_backward_pass(kind: str, change: str) -> None:
    for options in ({}, {"batch_first": True}, {"num_layers": 2, "bidirectional": True}):
        torch.manual_seed(0)
        ours, theirs = (getattr(of, kind)(3, 4, dtype=torch.float64, **options) for of in (elman, nn))
        theirs.load_state_dict(ours.state_dict())
        x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
        gradients = []
        for layer in (ours, theirs):
            y, *states = tensors(*layer(x))
            CHANGES[change](y)
            total = y.square().sum() + torch.stack([s.mul_(3).sum() for s in states]).sum()
            gradients.append(torch.autograd.grad(total, [x, *layer.parameters()]))
        torch.testing.assert_close(*gradients)
