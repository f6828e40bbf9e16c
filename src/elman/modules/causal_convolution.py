"""A convolution over time that never looks ahead, so that a stream can be cut anywhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CausalConvolution(nn.Module):
    """Features of the last `kernel` steps, every `stride` steps.

    Output j sees the inputs up to (j + 1) * stride and no later one; before the beginning there are zeros. T steps give
    T // stride outputs; what is left waits in the state for the steps to come.

    Args:
        input_size: I.
        output_size: C.
        kernel: steps that an output sees, at least `stride`.
        stride: steps from one output to the next.
    """

    def __init__(self, input_size: int, output_size: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.linear = nn.Linear(kernel * input_size, output_size)

    def forward(self, x_TBI: Tensor, left_KBI: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the outputs, (T', B, C), and the state: the steps that the next output begins with.

        Args:
            x_TBI: some more steps.
            left_KBI: the state before them; None at the beginning.
        """
        _, B, size = x_TBI.shape
        if left_KBI is None:
            left_KBI = x_TBI.new_zeros(self.kernel - self.stride, B, size)
        x_TBI = torch.cat((left_KBI, x_TBI))
        count = max(0, (len(x_TBI) - self.kernel) // self.stride + 1)
        if not count:
            return self.linear(x_TBI.new_zeros(0, B, self.kernel * size)), x_TBI
        seen_TBIK = x_TBI.unfold(0, self.kernel, self.stride)[:count]
        return self.linear(seen_TBIK.transpose(2, 3).flatten(2)), x_TBI[count * self.stride :]
