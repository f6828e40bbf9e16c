"""What the kernel refuses, with which words, and that the layers are right there all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad

import elman
from elman.kernels import cpu
from elman.kernels.cpu import passes
from elman.kernels.dispatch import choose
from elman.layers.lstm import LSTMEquations

Draw = Callable[..., Any]


class Mine(LSTMEquations):
    """A user's own cell: a step of its own takes the kernel's name away."""

    def step(self, gx_BGH: Any, gh_BGH: Any, state: Any) -> Any:
        return super().step(gx_BGH, gh_BGH, state)


def why(drawn: Any, **changes: Any) -> str | None:
    arguments = {"cell": drawn.cell, "x_TBI": drawn.x_TBI, "state": drawn.state, "weights": drawn.weights} | changes
    return cpu.refusal(**arguments)


@pytest.fixture
def drawn(draw: Draw) -> Any:
    return draw(LSTMEquations(), 3, 2, 2, 4)


def test_an_ordinary_call_is_taken(drawn: Any) -> None:
    assert why(drawn) is None
    assert choose(drawn.cell, drawn.x_TBI, drawn.state, drawn.weights).name == "cpu"


def test_reasons(drawn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Mine" in (why(drawn, cell=Mine()) or "")
    assert "projection" in (why(drawn, weights=drawn.weights._replace(hr=torch.zeros(1, 4))) or "")
    assert "float16" in (why(drawn, x_TBI=drawn.x_TBI.half()) or "")
    assert "weight or state torch.float64" in (
        why(drawn, weights=drawn.weights._replace(ih=drawn.weights.ih.double())) or ""
    )
    assert "on meta" in (why(drawn, x_TBI=drawn.x_TBI.to("meta")) or "")
    assert "is on meta" in (why(drawn, state=tuple(s.to("meta") for s in drawn.state)) or "")
    with torch.autocast("cpu", torch.bfloat16):
        assert "autocast" in (why(drawn) or "")
    monkeypatch.setattr(
        passes, "missing", "the extension is not there (no): pip install . where there is a C++ compiler"
    )
    assert "pip install ." in (why(drawn) or "")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.func's own, of torch.jit
def test_modes(drawn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with forward_ad.dual_level():
        assert why(drawn) is None
        dual = forward_ad.make_dual(drawn.x_TBI, torch.ones_like(drawn.x_TBI))
        assert "forward-mode" in (why(drawn, x_TBI=dual) or "")
    seen: list[str | None] = []
    torch.func.vmap(lambda x: (seen.append(why(drawn)), x)[1])(torch.zeros(2))
    assert "function transform" in (seen[0] or "")
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert "ONNX" in (why(drawn) or "")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.func's own, of torch.jit
def test_function_transforms_are_right(drawn: Any) -> None:
    layer = elman.LSTM(2, 4).double()
    x = torch.randn(3, 2, 2, dtype=torch.float64)
    parameters = dict(layer.named_parameters())

    def loss(p: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, p, (x,))[0].square().sum()

    found = torch.func.grad(loss)(parameters, x)
    loss(parameters, x).backward()
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)
    _, tangent = torch.func.jvp(lambda x: layer(x)[0], (x,), (torch.ones_like(x),))
    assert torch.isfinite(tangent).all()


def test_a_half_precision_layer_is_right() -> None:
    layer = elman.LSTM(2, 4).bfloat16()
    assert layer(torch.randn(3, 2, 2).bfloat16())[0].dtype == torch.bfloat16


def test_the_engine_checks_what_it_is_given(drawn: Any) -> None:
    """The glue never asks for these; if it did, memory would be safe."""
    w = drawn.weights
    packed = passes._engine.pack(2, 0, w.ih, w.hh, w.b_ih, w.b_hh, 1)
    h, c = drawn.state
    x = drawn.x_TBI[0]
    for bad in (
        (x[:, :1], h, c),
        (x.double(), h, c),
        (x, h[:1], c),
        (x, h.t().contiguous().t(), c),
        (x, h, None),
        (x.to("meta"), h, c),
    ):
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            passes._engine.step(packed, *bad, torch.empty_like(h), torch.empty_like(c), 1)
    with pytest.raises(TypeError):
        passes._engine.step(packed, [1.0], h, c, h, c, 1)
    y = torch.empty(3, 2, 4)
    for lengths in ([-1, 2], [4, 1], [1]):
        with pytest.raises(ValueError, match="lengths"):
            call = passes.Call(drawn.x_TBI, h, c, *w[:4], None, None, torch.tensor(lengths), None)
            passes._engine.forward(2, 0, packed, call, False, 1, y, h.clone(), c.clone(), None)
