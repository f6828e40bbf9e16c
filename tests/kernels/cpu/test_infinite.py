"""Infinite and NaN inputs: gradients are finite wherever those of torch.nn are, for sizes with padded lanes too."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import elman

INF = float("inf")


def results(layer: Any, x: Tensor, hx: Any, leaves: list[Tensor]) -> list[Tensor]:
    y, _ = layer(x, hx)
    return [y.detach(), *torch.autograd.grad(y.sum(), [*leaves, *layer.parameters()])]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["tanh", "relu", "GRU", "LSTM"])
@pytest.mark.parametrize("value", [INF, -INF, float("nan")])
def test_gradients_are_finite_where_torchs_are(kind: str, value: float, dtype: torch.dtype) -> None:
    options = {} if kind in ("GRU", "LSTM") else {"nonlinearity": kind}
    name = kind if kind in ("GRU", "LSTM") else "RNN"
    for I, H, B in ((3, 4, 2), (1, 16, 3), (20, 17, 7)):
        torch.manual_seed(0)
        ours, theirs = (getattr(of, name)(I, H, dtype=dtype, **options) for of in (elman, torch.nn))
        theirs.load_state_dict(ours.state_dict())
        x = torch.randn(5, B, I, dtype=dtype)
        x[1, 0, 0] = value
        x.requires_grad_()
        h = torch.randn(1, B, H, dtype=dtype, requires_grad=True)
        hx = (h, h.detach() * 0.5) if kind == "LSTM" else h
        with elman.strict():
            found = results(ours, x, hx, [x, h])
        for f, w in zip(found, results(theirs, x, hx, [x, h]), strict=True):
            assert torch.equal(f.isfinite(), w.isfinite())
            assert not (f.isnan() & ~w.isnan()).any()
            torch.testing.assert_close(f[w.isfinite()], w[w.isfinite()], rtol=1e-3, atol=1e-4)


def test_lengths_resets_and_threads() -> None:
    """The row with the infinite number is the only one that it reaches."""
    torch.manual_seed(0)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for layer in (elman.LSTM(3, 21), elman.GRU(3, 21), elman.RNN(3, 21)):
            x = torch.randn(30, 12, 3)
            x[4, 0, 0] = INF
            x.requires_grad_()
            y, _ = layer(x, lengths=torch.arange(30, 18, -1), resets=torch.rand(30, 12) < 0.1)
            (d_x, d_hh) = torch.autograd.grad(y.sum(), [x, layer.weight_hh_l0])
            assert d_x.isfinite().all() and d_hh.isfinite().all()
