"""Tensors that are not what they seem: an error of ours or the right numbers, never a read of memory of nobody."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import elman
from elman.errors import ShapeError
from elman.kernels import cpu
from elman.kernels.cpu import _engine
from elman.layers.lstm import LSTMEquations

Draw = Callable[..., Any]


def test_wrappers_of_tensors_are_left_to_the_eager_kernel(draw: Draw) -> None:
    drawn = draw(LSTMEquations(), 3, 2, 2, 4)
    freed = torch.ones(3, 2, 2)
    freed.untyped_storage().resize_(0)
    for x in (torch._to_functional_tensor(drawn.x_TBI), torch._efficientzerotensor((3, 2, 2)), freed):
        why = cpu.refusal(drawn.cell, x, drawn.state, drawn.weights)
        assert why == "the input, a weight or a state wraps another tensor, or has no memory of its own"
    state = tuple(torch._efficientzerotensor((2, 2, 4))[1] for _ in range(2))  # a view into nothing: its offset
    assert "no memory" in (cpu.refusal(drawn.cell, drawn.x_TBI, state, drawn.weights) or "")
    layer = elman.LSTM(2, 4)
    zeros = layer(torch._efficientzerotensor((3, 2, 2)))[0]
    torch.testing.assert_close(zeros, layer(torch.zeros(3, 2, 2))[0])
    x, hx = torch.randn(3, 2, 2), tuple(torch._efficientzerotensor((1, 2, 4)) for _ in range(2))
    torch.testing.assert_close(layer(x, hx)[0], layer(x)[0])
    with pytest.raises(ShapeError, match="memory of an input, a state or a weight was freed"):
        layer(freed)


FREED = """
import itertools, torch, elman

def call_layer(layer, x, call):
    with torch.set_grad_enabled(call != "step"):
        if call == "step":
            layer.step(x[0])
        else:
            layer(x, lengths=torch.ones(x.shape[0 if layer.batch_first else 1]).int() if call == "lengths" else None)

OPTIONS = ({}, {"batch_first": True}, {"num_layers": 2}, {"learn_initial_state": True}, {"proj_size": 2})
for kind, options, call in itertools.product(("RNN", "GRU", "LSTM"), OPTIONS, ("forward", "lengths", "step")):
    if "proj_size" in options and kind != "LSTM":
        continue
    for name, _ in getattr(elman, kind)(3, 4, **options).named_parameters():
        layer, x = getattr(elman, kind)(3, 4, **options), torch.randn(5, 2, 3)
        call_layer(layer, x, call)
        dict(layer.named_parameters())[name].untyped_storage().resize_(0)
        try:
            call_layer(layer, x, call)
        except elman.ElmanError as error:
            assert "was freed" in str(error), error
        else:
            raise AssertionError((kind, options, call, name))
print("to the end")
"""


def test_freed_weights_are_an_error_and_not_the_end_of_the_process() -> None:
    """In a process of its own: torch's operators read a bias without memory."""
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "to the end", done.stderr[-2000:]


def test_negated_views_are_read_as_what_they_are() -> None:
    x = torch.randn(5, 2, 3, dtype=torch.complex64).conj().imag
    assert x.is_neg()
    layer = elman.GRU(3, 4)
    torch.testing.assert_close(layer(x)[0], layer(x.clone().resolve_neg())[0])


def test_huge_sizes_are_refused() -> None:
    layer = elman.LSTM(1, 4)
    with torch.no_grad():
        for steps in (2**40, 2**60):
            with pytest.raises((RuntimeError, ShapeError)):
                layer(torch.zeros(1, 1, 1).expand(steps, 1, 1))
        y, _ = layer(torch.zeros(1, 0, 1).expand(2**30, 0, 1))
        assert y.shape == (2**30, 0, 4)
    for sizes in ((2**31, 2**31, 2**31), (2**60, 4), (-1, 3), (2, 2, 2, 2)):
        with pytest.raises((RuntimeError, ShapeError)):
            _engine.fresh((sizes,), True, 1 << 18, False)
    with pytest.raises(ShapeError, match="too large"):
        _engine.saved_width(2, 2**60, True)


def test_weights_put_in_each_others_place() -> None:
    layer = elman.LSTM(3, 4)
    layer.weight_ih_l0, layer.weight_hh_l0 = layer.weight_hh_l0, layer.weight_ih_l0
    with pytest.raises(ShapeError, match="should be"):
        layer(torch.randn(5, 2, 3))


def test_operators_say_what_is_wrong() -> None:
    def call(kind: str = "lstm", **changes: Tensor) -> Any:
        tensors = {"x": torch.randn(3, 2, 2), "h": torch.zeros(2, 4), "c": torch.zeros(2, 4)}
        tensors |= {"ih": torch.randn(16, 2), "hh": torch.randn(16, 4)} | changes
        return torch.ops.elman.recurrent(kind, False, True, *tensors.values(), *[None] * 6)

    assert call()[0].shape == (3, 2, 4)
    for changes in (
        {"x": torch.randn(3, 2)},
        {"hh": torch.randn(16)},
        {"c": torch.zeros(3, 4)},
        {"ih": torch.randn(2, 16)},
    ):
        with pytest.raises(ShapeError):
            call(**changes)
    with pytest.raises(elman.ElmanError, match="unknown cell 'gpu'"):
        call("gpu")


def test_nothing_to_compute_takes_no_time() -> None:
    """Without rows or units there is nothing to do, for however many steps."""
    for B, H in ((0, 4), (1, 0)):
        x = torch.zeros(1, B, 1).expand(2**36, B, 1)
        states, weights = [torch.zeros(B, H)] * 2, [torch.zeros(4 * H, 1), torch.zeros(4 * H, H)]
        y, hn, *_ = torch.ops.elman.recurrent("lstm", False, False, x, *states, *weights, *[None] * 6)
        assert y.numel() == 0 and hn.shape == (B, H)


POOL = """
from elman.kernels.cpu import _engine

for _ in range(9):
    small = _engine.fresh(((270_000,), (300_000,)), True, 1 << 18, True)
    del small
    large = _engine.fresh(((524_000,), (524_000,)), True, 1 << 18, True)
    assert all(tensor.isnan().all() for tensor in large)
    del large
"""


def test_a_block_of_the_pool_is_as_large_as_its_next_user_needs() -> None:
    done = subprocess.run([sys.executable, "-c", POOL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
