"""Floating-point operations, as `torch.utils.flop_counter` counts them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils.flop_counter import FlopCounterMode

import elman


def count(layer: nn.Module, input: Tensor | PackedSequence, hx: Any) -> tuple[int, int]:
    with FlopCounterMode(display=False) as counter:
        y = layer(input, hx)[0]
        forward = counter.get_total_flops()
        (y.data if isinstance(y, PackedSequence) else y).sum().backward()
    return forward, counter.get_total_flops() - forward


@pytest.mark.parametrize("needs_input", [False, True])
@pytest.mark.parametrize("name", ["RNN", "GRU"])
def test_the_numbers_are_those_of_torchs_operator(name: str, needs_input: bool) -> None:
    layers = [getattr(module, name)(8, 16, 2, bidirectional=True) for module in (elman, nn)]
    x = torch.randn(5, 3, 8, requires_grad=needs_input)
    hx = torch.randn(4, 3, 16, requires_grad=True)
    ours, theirs = (count(layer, x, hx) for layer in layers)
    assert ours == theirs and min(ours) > 0
    packed = pack_padded_sequence(x.detach(), torch.tensor([5, 3, 1]))
    ours, theirs = (count(layer, packed, hx) for layer in layers)
    assert ours[0] == theirs[0] == 9 * count(layers[0], x, hx)[0] // 15


def test_the_lstms_operations_are_counted_which_torchs_operator_hides() -> None:
    layer, x = elman.LSTM(8, 16), torch.randn(5, 3, 8)
    forward, backward = count(layer, x, None)
    assert forward == 2 * 15 * 4 * 16 * (8 + 16)
    assert backward == 2 * 15 * 4 * 16 * (8 + 2 * 16)


def test_a_step_is_counted() -> None:
    layer, x = elman.GRU(8, 16, 2), torch.randn(3, 8)
    with torch.no_grad():
        _, state = layer.step(x)
        layer.step(x, state)  # by the quick way
        with FlopCounterMode(display=False) as counter:
            layer.step(x, state)
    assert counter.get_total_flops() == 2 * 3 * 3 * 16 * (8 + 3 * 16)


def test_nothing_is_counted_where_nobody_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    from elman.kernels import flops

    monkeypatch.setattr(flops, "forward_flops", lambda call: pytest.fail("counted"))
    elman.GRU(3, 4)(torch.randn(2, 1, 3))
