"""The short way to torch's operator in half precision: torch's numbers and errors, and who must not take it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils._python_dispatch import TorchDispatchMode

import elman
from elman.errors import ShapeError
from elman.kernels.dispatch import SlowPathError
from elman.layers import direct
from elman.testing import TOLERANCE

ALL = pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
CELLS = pytest.mark.parametrize("name", ["RNNCell", "GRUCell", "LSTMCell"])
MODES = pytest.mark.parametrize("mode", ["bfloat16", "autocast"])


def pair(name: str, mode: str, *sizes: int, **options: Any) -> tuple[Any, Any]:
    theirs = getattr(nn, name)(*sizes, **options).to(torch.bfloat16 if mode == "bfloat16" else None)
    ours = getattr(elman, name)(*sizes, **options).to(torch.bfloat16 if mode == "bfloat16" else None)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def draw(mode: str, *shape: int) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return (x.bfloat16() if mode == "bfloat16" else x).requires_grad_()


def autocast(mode: str) -> Any:
    return torch.autocast("cpu", torch.bfloat16) if mode == "autocast" else nullcontext()


def flat(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [t for part in value for t in flat(part)]


def compare(ours: nn.Module, theirs: nn.Module, mode: str, *arguments: Any) -> None:
    results = []
    for layer in (ours, theirs):
        layer.zero_grad()
        torch.manual_seed(0)
        with autocast(mode):
            outputs = layer(*arguments)
        gradients = torch.autograd.grad([flat(outputs)[0].float().sum()], [flat(arguments)[0], *layer.parameters()])
        results.append((type(outputs), [*flat(outputs), *gradients]))
    (kind, one), (other_kind, other) = results
    assert kind is other_kind
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype and torch.equal(a, b)


def forbid(monkeypatch: pytest.MonkeyPatch, *owners: type) -> None:
    for owner in owners:
        monkeypatch.setattr(owner, "forward", lambda *_: pytest.fail("the long way"))


@ALL
@MODES
@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 2, "bidirectional": True, "dropout": 0.5}, {"batch_first": True}, {"bias": False}],
    ids=str,
)
def test_a_usual_call_has_torchs_bits(name: str, mode: str, options: dict[str, Any]) -> None:
    ours, theirs = pair(name, mode, 3, 4, **options)
    x, h = draw(mode, 5, 2, 3), draw(mode, ours.num_layers * ours.num_directions, x_batch(ours), 4)
    for hx in (None, (h, h * 2) if name == "LSTM" else h):
        compare(ours, theirs, mode, *((x,) if hx is None else (x, hx)))


def x_batch(layer: Any) -> int:
    return 5 if layer.batch_first else 2


@ALL
@MODES
def test_a_usual_call_takes_the_short_way(name: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = pair(name, mode, 3, 4)[0]
    with autocast(mode):
        expected = layer(draw(mode, 5, 2, 3))
        forbid(monkeypatch, layer.torch_class)
        for a, b in zip(flat(layer(draw(mode, 5, 2, 3))), flat(expected), strict=True):
            assert torch.equal(a, b)


class Operators(TorchDispatchMode):
    """Counts the operators that run, but for those that make zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count[str(func)] += "zeros" not in str(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"])
@MODES
def test_nothing_runs_beside_torchs_operators(name: str, mode: str) -> None:
    counts = []
    for layer in pair(name, mode, 3, 4):
        x = draw(mode, *((2, 3) if name.endswith("Cell") else (5, 2, 3)))
        with Operators() as operators:
            with autocast(mode):
                y = flat(layer(x))[0]
            torch.autograd.grad(y.sum(), list(layer.parameters()))
        counts.append(+operators.count)
    assert counts[0] == counts[1]


@ALL
def test_other_calls_do_not(name: str) -> None:
    layer, theirs = pair(name, "bfloat16", 3, 4)
    x = draw("bfloat16", 5, 2, 3)
    assert direct.run(layer, x, None) is not None
    float32 = getattr(elman, name)(3, 4)
    for other, input in ((layer, x[0]), (layer, x[:0]), (layer, x[..., :2]), (layer, x.float()), (float32, x.float())):
        assert direct.run(other, input, None) is None
    assert direct.run(layer, x, torch.zeros(1, 3, 4).bfloat16()) is None
    with elman.strict():
        assert direct.run(layer, x, None) is None
        with pytest.raises(SlowPathError):
            layer(x)
    freed = torch.randn(5, 2, 3).bfloat16()
    freed.untyped_storage().resize_(0)
    with pytest.raises(ShapeError, match="freed"):
        layer(freed)
    zeros = torch._efficientzerotensor(5, 2, 3, dtype=torch.bfloat16)
    y, expected = layer(zeros)[0], theirs(torch.zeros(5, 2, 3).bfloat16())[0]  # the eager kernel rounds elsewhere
    torch.testing.assert_close(y, expected, rtol=0, atol=TOLERANCE[torch.bfloat16])


@ALL
@MODES
def test_methods_of_ones_own_are_called(name: str, mode: str) -> None:
    calls = []

    def check_forward_args(self: Any, *arguments: Any) -> None:
        calls.append(len(arguments))

    own = type("Own", (getattr(nn, name),), {"check_forward_args": check_forward_args})
    layer, x = own(3, 4), draw(mode, 5, 2, 3)
    layer = elman.accelerate(layer.bfloat16() if mode == "bfloat16" else layer).model
    layer.__class__ = elman.layers.accelerate.accelerated_class(own)
    with autocast(mode):
        layer(x)
    assert calls == [3]


@ALL
@MODES
def test_pruned_weights(name: str, mode: str) -> None:
    for cell, shape in ((False, (5, 2, 3)), (True, (2, 3))):
        layers = pair(name + ("Cell" if cell else ""), mode, 3, 4)
        h = draw(mode, 2, 4)
        for weight in ("weight_hh" if cell else "weight_hh_l0", "weight_ih" if cell else "weight_ih_l0"):
            for layer in layers:
                prune.l1_unstructured(layer, weight, 0.5)
            state = ((h, h) if name == "LSTM" else h,) if cell else ()
            compare(*layers, mode, draw(mode, *shape), *state)


@CELLS
@MODES
@pytest.mark.parametrize("bias", [False, True])
def test_a_usual_step_has_torchs_bits(name: str, mode: str, bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pair(name, mode, 3, 4, bias=bias)
    h = draw(mode, 2, 4)
    hx = (h, h * 2) if name == "LSTMCell" else h
    compare(ours, theirs, mode, draw(mode, 2, 3), hx)
    compare(ours, theirs, mode, draw(mode, 2, 3))
    forbid(monkeypatch, ours.torch_class)
    with autocast(mode):
        ours(draw(mode, 2, 3), hx)


def wrong_calls(name: str, dtype: torch.dtype) -> list[tuple[Any, ...]]:
    def zeros(*shape: int, dtype: torch.dtype = dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype)

    def state(*shape: int, dtype: torch.dtype = dtype) -> Any:
        h = zeros(*shape, dtype=dtype)
        return (h, h) if name.startswith("LSTM") else h

    if name.endswith("Cell"):
        states: list[Any] = [state(2, 5), state(3, 4), state(2, 4, dtype=torch.float64), 3]
        return [(zeros(2, 2), state(2, 4)), (zeros(1, 2, 3), state(2, 4)), *((zeros(2, 3), s) for s in states)]
    states = [state(1, 2, 5), state(2, 2, 4), state(1, 4)]
    return [(zeros(5, 2, 2),), (zeros(5, 2, 1, 3),), *((zeros(5, 2, 3), s) for s in states)]


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"])
@MODES
def test_wrong_calls_are_errors_as_in_torch(name: str, mode: str) -> None:
    ours, theirs = pair(name, mode, 3, 4)
    for call in wrong_calls(name, torch.bfloat16 if mode == "bfloat16" else torch.float32):
        ends: list[Callable[[], Any]] = [lambda layer=layer, call=call: layer(*call) for layer in (ours, theirs)]  # type: ignore[misc]
        kinds = []
        for end in ends:
            try:
                with autocast(mode):
                    end()
                kinds.append(None)
            except Exception as error:
                kinds.append(error)
        if kinds[1] is None:
            assert kinds[0] is None
        else:
            assert isinstance(kinds[0], type(kinds[1])), (call, kinds)
