"""Short calls and steps never compute with the weights of before, however these were changed; and what is promised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
            with pytest.raises(elman.ElmanError, match="does not match weight dtype"):
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
        assert packing.current_promise()
        layer.weight_hh_l0.mul_(0.5)
        assert not torch.equal(layer.step(x, hx)[0], before)
        assert not torch.equal(layer(x[None], hx)[0][0], before)
    assert not packing.current_promise()
    layer.weight_hh_l0.data[0, 0] += 1
    with torch.no_grad():
        wanted = torch.nn.LSTM(8, 20)
        wanted.load_state_dict(layer.state_dict())
        torch.testing.assert_close(layer.step(x, hx)[0], wanted(x[None], tuple(hx))[0][0])


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_change_before_the_promise_is_seen(kind: str) -> None:
    """The weights are compared once, at the first use, by a step as by a short call."""
    layer, x = getattr(elman, kind)(8, 20, 2), torch.randn(1, 8)
    with torch.no_grad():
        hx = layer.step(x)[1]
        for change in (1.0, -0.5):
            with elman.frozen_weights():
                layer.step(x, hx), layer(x[None], hx)
            layer.weight_hh_l1.data[0, 0] += change
            theirs = getattr(torch.nn, kind)(8, 20, 2)
            theirs.load_state_dict(layer.state_dict())
            wanted = theirs(x[None], hx)[0][0]
            with elman.frozen_weights():
                torch.testing.assert_close(layer.step(x, hx)[0], wanted)
                torch.testing.assert_close(layer(x[None], hx)[0][0], wanted)


def test_weights_are_compared_once_under_a_promise() -> None:
    """A change that breaks the promise is what shows it; two streams over one model take turns without comparing."""
    layer, x = elman.LSTM(8, 20), torch.randn(1, 8)
    first, second = (elman.frozen_weights()(layer.step) for _ in range(2))
    with torch.no_grad():
        hx = layer.step(x)[1]
        before = first(x, hx)[0], second(x, hx)[0]
        layer.weight_hh_l0.data[0, 0] += 1
        for _ in range(2):
            assert torch.equal(first(x, hx)[0], before[0]) and torch.equal(second(x, hx)[0], before[1])
        layer.weight_hh_l0.mul_(1.0)  # torch counts it
        changed = first(x, hx)[0]
        assert not torch.equal(changed, before[0])
        assert torch.equal(layer.step(x, hx)[0], changed)


def test_a_decorated_function_holds_its_promise_inside_alone() -> None:
    inside: list[int] = []
    outer = elman.frozen_weights()
    note = elman.frozen_weights()(lambda: inside.append(packing.current_promise()))
    note()
    assert inside[0] > 0 and not packing.current_promise()
    with outer:
        held = packing.current_promise()
        note()
        assert inside[1] == held  # one that holds already is enough
    with pytest.raises(ZeroDivisionError):
        elman.frozen_weights()(lambda: 1 // 0)()
    assert not packing.current_promise()


def test_weights_without_a_count_are_always_compared() -> None:
    with torch.inference_mode():
        layer, x = elman.GRU(8, 20), torch.randn(1, 8)
        with elman.frozen_weights():
            hx = layer.step(x)[1]
            before = layer.step(x, hx)[0]
            layer.weight_hh_l0.mul_(0.5)
            assert not torch.equal(layer.step(x, hx)[0], before)
            assert torch.equal(layer.step(x, hx)[0], layer(x[None], hx)[0][0])


def test_an_iterator_holds_a_promise_while_it_computes_alone() -> None:
    promises: list[int] = []
    closed: list[bool] = []

    def numbers() -> Iterator[int]:
        try:
            for number in range(3):
                promises.append(packing.current_promise())
                yield number
        finally:
            closed.append(True)

    for _ in elman.frozen_weights().iterate(numbers()):
        assert not packing.current_promise()
    assert promises[0] > 0 and promises == [promises[0]] * 3 and closed == [True]
    items = elman.frozen_weights().iterate(numbers())
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert closed == [True, True] and promises[3] > promises[0]


def test_the_error_of_an_iterator_comes_through() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    items = elman.frozen_weights().iterate(broken())
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)
    assert not packing.current_promise()


def test_a_promise_may_be_entered_again() -> None:
    promise = elman.frozen_weights()
    with promise, promise:
        assert packing.current_promise()
    assert not packing.current_promise()
