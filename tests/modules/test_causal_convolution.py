"""Causal convolution: torch's convolution over a zero-padded past, and cut anywhere."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from elman.modules.causal_convolution import CausalConvolution


@given(st.integers(1, 3), st.integers(0, 3), st.lists(st.integers(0, 7), min_size=1, max_size=4))
def test_it_may_be_cut_anywhere(stride: int, more: int, pieces: list[int]) -> None:
    torch.manual_seed(1)
    layer = CausalConvolution(2, 4, kernel=stride + more, stride=stride).double()
    x_TBI = torch.randn(sum(pieces), 3, 2, dtype=torch.float64)
    whole, _ = layer(x_TBI)
    assert whole.shape == (sum(pieces) // stride, 3, 4)
    state, outputs = None, []
    for piece in x_TBI.split(pieces):
        y, state = layer(piece, state)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs), whole, rtol=1e-12, atol=1e-12)


def test_it_is_conv1d_over_zeros_before_the_beginning() -> None:
    layer = CausalConvolution(2, 4, kernel=6, stride=2)
    x_TBI = torch.randn(9, 3, 2)
    kernel = layer.linear.weight.view(4, 6, 2).transpose(1, 2)
    padded = functional.pad(x_TBI.permute(1, 2, 0), (4, 0))
    expected = functional.conv1d(padded, kernel, layer.linear.bias, stride=2)
    torch.testing.assert_close(layer(x_TBI)[0], expected.permute(2, 0, 1))


def test_gradients() -> None:
    layer = CausalConvolution(2, 3, kernel=3, stride=2).double()
    x_TBI, state_KBI = torch.randn(5, 2, 2).double().requires_grad_(), torch.randn(1, 2, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, state: layer(x, state), (x_TBI, state_KBI))
