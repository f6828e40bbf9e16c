"""Frames to vectors: one small convolutional network over all frames of a batch at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import SettingError
from elman.models.augment import ShiftFrames
from elman.models.pooling import steps_exist

AT_ONCE = 1024  # frames in evaluation, so that memory does not grow with the video


class FrameEncoder(nn.Module):
    """Convolutions that halve the frame, and a linear layer: frames (T, B, H, W) or (T, B, H, W, C) -> (T, B, F).

    Each sequence has its own mean frame taken away and is divided by its own deviation, so that what does not change
    (a face, the light) counts for nothing. Normalisation between the convolutions is by groups of channels (Wu and He
    2018, https://arxiv.org/abs/1803.08494), so that the company in a batch changes nothing.

    Args:
        shape: (H, W) or (H, W, C).
        features: F.
        channels: of each convolution, multiples of 4.
        dropout: probability of dropping a number before and after the linear layer.
        margin: pixels that are cut off on each side, in training elsewhere each time; see `ShiftFrames`.
        mirror: half of the sequences are mirrored in training.

    Raises:
        SettingError: the frames are too small.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        features: int,
        *,
        channels: tuple[int, ...] = (16, 32, 64),
        dropout: float = 0.0,
        margin: int = 0,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        height, width = (size - 2 * margin for size in shape[:2])
        if height < 1 or width < 1:
            raise SettingError(
                "the frames are too small for the margin",
                should=f"more than {2 * margin} pixels in height and width",
                found=f"{shape[0]} x {shape[1]}",
                hint="larger frames, or a smaller margin",
            )
        self.shift = ShiftFrames(margin, mirror)
        layers: list[nn.Module] = []
        before = shape[2] if len(shape) == 3 else 1
        for after in channels:
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after), nn.ReLU()]
            before, height, width = after, -(-height // 2), -(-width // 2)
        self.convolutions = nn.Sequential(*layers)
        self.linear = nn.Linear(before * height * width, features)
        self.dropout = dropout
        self.output_size = features

    def forward(self, frames_TBHW: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Return (T, B, F), zero beyond a sequence's length.

        Args:
            frames_TBHW: (T, B, H, W) or (T, B, H, W, C), of any type of number.
            lengths_B: (B,), None where all have T steps.
        """
        T, B = frames_TBHW.shape[:2]
        known_B = (
            torch.full((B,), T, device=frames_TBHW.device) if lengths_B is None else lengths_B.to(frames_TBHW.device)
        )
        exists_TB = steps_exist(frames_TBHW, known_B)
        shifted = self.shift(frames_TBHW)
        if shifted.dim() == 4:
            shifted = shifted[..., None]
        frames_NCHW = own_scale(shifted, exists_TB)[exists_TB].permute(0, 3, 1, 2)
        pieces = [frames_NCHW] if self.training else torch.split(frames_NCHW, AT_ONCE)
        found_NF = torch.cat([self._vectors(piece) for piece in pieces])
        y_TBF = found_NF.new_zeros(T, B, self.output_size)
        y_TBF[exists_TB] = found_NF
        return y_TBF

    def _vectors(self, frames_NCHW: Tensor) -> Tensor:
        flat = functional.dropout(self.convolutions(frames_NCHW).flatten(1), self.dropout, self.training)
        return functional.dropout(functional.relu(self.linear(flat)), self.dropout, self.training)


def own_scale(frames_TBHWC: Tensor, exists_TB: Tensor) -> Tensor:
    """Return the frames less the mean frame of their sequence, divided by its deviation from it, as float32.

    Args:
        frames_TBHWC: (T, B, H, W, C).
        exists_TB: which of the frames there are.
    """
    there = exists_TB[..., None, None, None].to(torch.float32)
    frames = frames_TBHWC.to(torch.float32) * there
    count_B = there.sum(0).clamp(min=1)
    centred = (frames - frames.sum(0) / count_B) * there
    pixels = centred.shape[2:].numel()
    variance_B = centred.square().sum((0, 2, 3, 4), keepdim=True) / (count_B * pixels)
    return centred / (variance_B + 1.0).sqrt()  # of a still picture, in steps of its brightness, nothing is made
