"""Short calls and steps never compute with the weights of before, however these were changed; and what is promised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils import prune, spectral_norm, weight_norm

import elman
from elman.kernels.cpu import packing


def one_number(w: Tensor) -> None:
    w.data[3, 7] += 2.0**-20


def through_numpy(w: Tensor) -> None:
    w.detach().numpy()[5, 1] = 0.25


def two_signs(w: Tensor) -> None:
    w.data[0, 0] *= -1
    w.data.view(-1)[64] *= -1  # in the same lane of the digest


CHANGES: dict[str, Callable[[Tensor], Any]] = {
    "one number": one_number,
    "through NumPy": through_numpy,
    "two signs": two_signs,
    "clamped": lambda w: w.data.clamp_(-0.12, 0.12),
    "a row of zeros": lambda w: w.data[9].zero_(),
    "a column of zeros": lambda w: w.data[:, 2].zero_(),
    "masked": lambda w: w.data.mul_(w.data.abs() > 0.01),
    "two rows exchanged": lambda w: w.data.__setitem__([1, 2], w.data[[2, 1]]),
    "another type and back": lambda w: setattr(w, "data", w.data.bfloat16().float()),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_every_change_is_seen(kind: str, change: str) -> None:
    torch.manual_seed(0)
    layer, x = getattr(elman, kind)(24, 40), torch.randn(1, 24)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        with torch.no_grad():
            _, hx = layer.step(x, layer.step(x)[1])
            layer(x[None], hx)
            CHANGES[change](getattr(layer, name))
            y, called = layer.step(x, hx)[0], layer(x[None], hx)[0][0]
            fresh = getattr(elman, kind)(24, 40)
            fresh.load_state_dict(layer.state_dict())
            wanted = fresh(x[None], hx)[0][0]
        assert torch.equal(y, wanted) and torch.equal(called, wanted)


def test_a_layer_of_another_type_between_steps() -> None:
    """The numbers of the type of before are not read from memory that holds another."""
    for change in ("bfloat16", "double", "half"):
        layer, x = elman.LSTM(8, 600), torch.randn(1, 8)
        with torch.no_grad():
            _, hx = layer.step(x, layer.step(x)[1])
            getattr(layer, change)()
            with pytest.raises(elman.ElmanError, match="another type"):
                layer.step(x, hx)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's own, of weight_norm
def test_hooks_that_compute_weights_run_for_a_step() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 5)
    tools: list[Callable[[Any], Any]] = [
        lambda m: prune.l1_unstructured(m, "weight_hh_l0", 0.5),
        lambda m: weight_norm(m, "weight_ih_l0"),
        lambda m: spectral_norm(m, "weight_hh_l0"),
    ]
    for tool in tools:
        layer = elman.GRU(5, 8)
        tool(layer)
        hx = torch.randn(1, 3, 8)
        layer.eval()
        with torch.no_grad():
            layer.step(x, hx)
            for parameter in layer.parameters():
                parameter.mul_(1.5)
            y = layer.step(x, hx)[0]
            torch.testing.assert_close(y, layer(x[None], hx)[0][0])


def test_frozen_weights_are_a_promise_about_what_torch_does_not_count() -> None:
    layer, x = elman.LSTM(8, 20), torch.randn(1, 8)
    with torch.no_grad(), elman.frozen_weights():
        _, hx = layer.step(x, layer.step(x)[1])
        before = layer.step(x, hx)[0]
        assert packing.is_promised()
        layer.weight_hh_l0.mul_(0.5)
        assert not torch.equal(layer.step(x, hx)[0], before)
        assert not torch.equal(layer(x[None], hx)[0][0], before)
    assert not packing.is_promised()
    layer.weight_hh_l0.data[0, 0] += 1
    with torch.no_grad():
        wanted = torch.nn.LSTM(8, 20)
        wanted.load_state_dict(layer.state_dict())
        torch.testing.assert_close(layer.step(x, hx)[0], wanted(x[None], tuple(hx))[0][0])
