"""Frames to vectors: one small convolutional network over all frames of a batch at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import SettingError
from elman.modules.augmentation import RandomCrop

AT_ONCE = 1024  # frames in evaluation, so that memory does not grow with the video


class FrameEncoder(nn.Module):
    """Convolutions that halve the frame, and a linear layer: frames (T, B, H, W) or (T, B, H, W, C) -> (T, B, F).

    Each frame is seen for itself, so that padding changes nothing and a video can be answered while it runs; for the
    same reason normalisation between the convolutions is by groups of channels (Wu and He 2018,
    https://arxiv.org/abs/1803.08494).

    Args:
        shape: (H, W) or (H, W, C).
        features: F.
        mean, deviation: of a pixel.
        channels: of each convolution, multiples of 4.
        dropout: probability of dropping a number before and after the linear layer.
        margin: pixels that are cut off on each side, in training elsewhere each time; see `RandomCrop`.
        mirror: half of the sequences are mirrored in training.

    Raises:
        SettingError: the frames are too small.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        features: int,
        *,
        mean: float = 0.0,
        deviation: float = 1.0,
        channels: tuple[int, ...] = (16, 32, 64),
        dropout: float = 0.0,
        margin: int = 0,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        height, width = (size - 2 * margin for size in shape[:2])
        if height < 1 or width < 1:
            raise SettingError(
                "the frames are too small for the shift",
                should=f"more than {2 * margin} pixels in height and width",
                found=f"{shape[0]} x {shape[1]}",
                hint="larger frames, or a smaller --set shift",
            )
        self.shift = RandomCrop(margin, mirror)
        self.mean, self.deviation, self.dropout, self.output_size = mean, deviation, dropout, features
        layers: list[nn.Module] = []
        before = shape[2] if len(shape) == 3 else 1
        for after in channels:
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after), nn.ReLU()]
            before, height, width = after, -(-height // 2), -(-width // 2)
        self.convolutions = nn.Sequential(*layers)
        self.linear = nn.Linear(before * height * width, features)

    def forward(self, frames_TBHW: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Return (T, B, F).

        Args:
            frames_TBHW: (T, B, H, W) or (T, B, H, W, C), of any type of number.
            lengths_B: (B,); they change nothing, each frame is read for itself.
        """
        T, B = frames_TBHW.shape[:2]
        shifted = self.shift(frames_TBHW).flatten(0, 1)
        frames_NCHW = shifted[:, None] if shifted.dim() == 3 else shifted.permute(0, 3, 1, 2)
        pieces = [frames_NCHW] if self.training else torch.split(frames_NCHW, AT_ONCE)
        return torch.cat([self._vectors(piece) for piece in pieces]).view(T, B, self.output_size)

    def _vectors(self, frames_NCHW: Tensor) -> Tensor:
        scaled = (frames_NCHW.to(self.linear.weight.dtype) - self.mean) / self.deviation
        flat = functional.dropout(self.convolutions(scaled).flatten(1), self.dropout, self.training)
        return functional.dropout(functional.relu(self.linear(flat)), self.dropout, self.training)
