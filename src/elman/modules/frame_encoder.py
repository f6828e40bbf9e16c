"""Frame encoder: a small convolutional network over the frames of a video."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import SettingError
from elman.modules.augmentation import RandomCrop

MAX_FRAMES = 1024  # at a time in evaluation, so that memory does not grow with the video


class FrameEncoder(nn.Module):
    """Per-frame CNN: frames (T, B, H, W) or (T, B, H, W, C) -> vectors (T, B, F).

    Convolutions of stride 2 and a linear layer. Frames are independent, so that padding has no effect and a video can
    be streamed; therefore group normalisation (Wu and He 2018, https://arxiv.org/abs/1803.08494).

    Args:
        shape: (H, W) or (H, W, C).
        features: F, size of the vectors.
        mean: mean of the pixels.
        deviation: standard deviation of the pixels.
        channels: output channels of each convolution, multiples of 4.
        dropout: probability of dropping a feature before and after the linear layer.
        max_shift: see `RandomCrop`.
        horizontal_flip: see `RandomCrop`.

    Raises:
        SettingError: the frames are too small.
    """

    def __init__(
        self, shape: tuple[int, ...], features: int, *, mean: float = 0.0, deviation: float = 1.0,
        channels: tuple[int, ...] = (16, 32, 64), dropout: float = 0.0, max_shift: int = 0,
        horizontal_flip: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        height, width = (size - 2 * max_shift for size in shape[:2])
        if height < 1 or width < 1:
            raise SettingError(
                "the frames are too small for the shift",
                should=f"more than {2 * max_shift} pixels in height and width",
                found=f"{shape[0]} x {shape[1]}",
                hint="larger frames, or a smaller --set max_shift",
            )
        self.shift = RandomCrop(max_shift, horizontal_flip)
        self.mean, self.deviation, self.dropout, self.output_size = mean, deviation, dropout, features
        layers: list[nn.Module] = []
        in_channels = shape[2] if len(shape) == 3 else 1
        for out_channels in channels:
            convolution = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
            layers += [convolution, nn.GroupNorm(4, out_channels), nn.ReLU()]
            in_channels, height, width = out_channels, -(-height // 2), -(-width // 2)
        self.convolutions = nn.Sequential(*layers)
        self.linear = nn.Linear(in_channels * height * width, features)

    def forward(self, frames_TBHW: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Return the vectors, (T, B, F), of frames of any dtype; the lengths (B,) have no effect."""
        T, B = frames_TBHW.shape[:2]
        cropped = self.shift(frames_TBHW).flatten(0, 1)
        frames_NCHW = cropped[:, None] if cropped.dim() == 3 else cropped.permute(0, 3, 1, 2)
        chunks = [frames_NCHW] if self.training else torch.split(frames_NCHW, MAX_FRAMES)
        return torch.cat([self._encode(chunk) for chunk in chunks]).view(T, B, self.output_size)

    def _encode(self, frames_NCHW: Tensor) -> Tensor:
        scaled = (frames_NCHW.to(self.linear.weight.dtype) - self.mean) / self.deviation
        flat = functional.dropout(self.convolutions(scaled).flatten(1), self.dropout, self.training)
        return functional.dropout(functional.relu(self.linear(flat)), self.dropout, self.training)
