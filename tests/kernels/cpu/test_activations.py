"""tanh and sigmoid over every float32.

The bounds are those that activations.h states: a relative error of 2^-22 (four units in the last place of a number just
above a power of two), wherever the result is a normal number.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from elman.kernels.cpu import _engine

BOUND = 2.0**-22
TANH, SIGMOID = 0, 2
PIECE = 1 << 21


def apply(f: int, x: Tensor) -> Tensor:
    y = torch.full_like(x, float("nan"))
    _engine.activation(f, x, y)
    return y


def floats(first: float, last: float) -> Iterator[Tensor]:
    """Every positive float32 from `first` up to `last`."""
    ends = torch.tensor([first, last]).view(torch.int32).tolist()
    for start in range(ends[0], ends[1] + 1, PIECE):
        yield torch.arange(start, min(start + PIECE, ends[1] + 1), dtype=torch.int32).view(torch.float32)


def worst(y: Tensor, wanted: Tensor) -> float:
    return wanted.reciprocal_().mul_(y).sub_(1).abs_().max().item()


TINY = torch.finfo(torch.float32).tiny
HUGE = torch.finfo(torch.float32).max


def test_tanh_of_every_small_float() -> None:
    """Below 2^-12 tanh x is x up to a relative 2e-8: two neighbours at most."""
    for x in floats(TINY, 2.0**-12):
        steps = (apply(TANH, x).view(torch.int32) - x.view(torch.int32)).aminmax()
        assert steps.min >= -2 and steps.max <= 2


def test_tanh_of_every_float_between() -> None:
    for x in floats(2.0**-12, 9.2):
        y = apply(TANH, x)
        assert worst(y, torch.tanh(x.double())) <= BOUND
        assert torch.equal(apply(TANH, -x), -y)


def test_tanh_of_every_large_float() -> None:
    for x in floats(9.2, HUGE):
        y = apply(TANH, x).aminmax()
        assert y.min == y.max == 1


@pytest.mark.parametrize("sign", [1, -1])
def test_sigmoid_of_every_small_float(sign: int) -> None:
    """Below 2^-24 it is 0.5, or a neighbour; up to 2^-10 two terms of its series are exact."""
    for x in floats(TINY, 2.0**-24):
        y = apply(SIGMOID, x * sign).aminmax()
        assert y.min >= 0.5 * (1 - BOUND) and y.max <= 0.5 * (1 + BOUND)
    for x in floats(2.0**-24, 2.0**-10):
        x = x.double() * sign
        assert worst(apply(SIGMOID, x.float()), 0.5 + x / 4 - x * x * x / 48) <= BOUND


@pytest.mark.parametrize("sign", [1, -1])
def test_sigmoid_of_every_float_between(sign: int) -> None:
    for x in floats(2.0**-10, 87.0):
        x = x * sign
        assert worst(apply(SIGMOID, x), torch.sigmoid(x.double())) <= BOUND


def test_sigmoid_of_every_large_float() -> None:
    for x in floats(87.0, HUGE):
        right, left = apply(SIGMOID, x).aminmax(), apply(SIGMOID, -x).aminmax()
        assert right.min == right.max == 1
        assert left.min >= 0 and left.max <= 2e-38


@pytest.mark.parametrize("f", [TANH, SIGMOID, 1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_special_numbers(f: int, dtype: torch.dtype) -> None:
    inf = float("inf")
    x = torch.tensor([0.0, -0.0, inf, -inf, float("nan"), 1e-40, -1e-40, -133.2, 1e5, -1e5], dtype=dtype)
    wanted = {TANH: torch.tanh, SIGMOID: torch.sigmoid, 1: torch.relu, 3: torch.clone}[f](x)
    y = apply(f, x)
    torch.testing.assert_close(y, wanted, rtol=1e-6, atol=1e-37, equal_nan=True)
    if f in (TANH, 3):
        assert torch.equal(torch.signbit(y[:2]), torch.tensor([False, True]))


@pytest.mark.parametrize("f", [TANH, SIGMOID])
def test_float64_on_a_grid(f: int) -> None:
    x = torch.cat(
        [torch.linspace(-40, 40, 400_001, dtype=torch.float64), torch.logspace(-300, 2, 9999, dtype=torch.float64)]
    )
    wanted = {TANH: torch.tanh, SIGMOID: torch.sigmoid}[f](x)
    assert ((apply(f, x) - wanted).abs() <= 8e-16 * wanted.abs()).all()
