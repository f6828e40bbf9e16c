"""Causal convolution over time, with a state so that a stream can be cut anywhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CausalConvolution(nn.Module):
    """Causal 1-D convolution: features of the last `kernel` steps, every `stride` steps.

    Output j depends on the inputs before (j + 1) * stride; zeros precede the first one. T steps give T // stride
    outputs; the state keeps the inputs that later outputs need.

    Args:
        input_size: I, input features.
        output_size: C, output features.
        kernel: steps that an output depends on, at least `stride`.
        stride: steps from one output to the next.
    """

    def __init__(self, input_size: int, output_size: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.linear = nn.Linear(kernel * input_size, output_size)

    def forward(self, x_TBI: Tensor, state_KBI: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the outputs, (T', B, C), and the state: the inputs that the next output begins with, (K, B, I)."""
        _, B, size = x_TBI.shape
        if state_KBI is None:
            state_KBI = x_TBI.new_zeros(self.kernel - self.stride, B, size)
        x_TBI = torch.cat((state_KBI, x_TBI))
        count = max(0, (len(x_TBI) - self.kernel) // self.stride + 1)
        if not count:
            return self.linear(x_TBI.new_zeros(0, B, self.kernel * size)), x_TBI
        windows_TBIK = x_TBI.unfold(0, self.kernel, self.stride)[:count]
        return self.linear(windows_TBIK.transpose(2, 3).flatten(2)), x_TBI[count * self.stride :]
