"""Sequences that differ a little each time they are seen in training; in evaluation they stay as they are.

Like dropout these are layers: they draw from torch's random state, so a run that goes on draws what it would have.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elman.modules.pooling import steps_exist


class MaskSteps(nn.Module):
    """Sets runs of steps to zero in each sequence (SpecAugment, Park et al. 2019, https://arxiv.org/abs/1904.08779).

    Args:
        longest: steps of a run at the most; its length is drawn from 0 to it, evenly, but never more than a third of
            the sequence's.
        runs: how many in a sequence; they may overlap.
    """

    def __init__(self, longest: int, runs: int = 1) -> None:
        super().__init__()
        self.longest, self.runs = longest, runs

    def forward(self, x_TB: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Return (T, B, ...); the zero is what standardised features are on average."""
        if not self.training or self.longest == 0:
            return x_TB
        T, B = x_TB.shape[:2]
        known_B = torch.full((B,), T) if lengths_B is None else lengths_B.cpu()
        masked_TB = _runs(T, known_B, (known_B // 3).clamp(max=self.longest), self.runs)
        return x_TB.masked_fill(masked_TB.reshape(T, B, *[1] * (x_TB.dim() - 2)).to(x_TB.device), 0.0)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"{self.longest}, runs={self.runs}"


class MaskFeatures(nn.Module):
    """Sets runs of neighbouring features to zero, the same at all steps of a sequence, as SpecAugment does.

    Args:
        widest: features of a run at the most; its width is drawn from 0 to it, evenly.
        runs: how many in a sequence; they may overlap.
    """

    def __init__(self, widest: int, runs: int = 1) -> None:
        super().__init__()
        self.widest, self.runs = widest, runs

    def forward(self, x_TBI: Tensor) -> Tensor:
        """Return (T, B, I)."""
        if not self.training or self.widest == 0:
            return x_TBI
        _, B, size = x_TBI.shape
        masked_IB = _runs(size, torch.full((B,), size), torch.full((B,), min(self.widest, size)), self.runs)
        return x_TBI.masked_fill(masked_IB.T.to(x_TBI.device), 0.0)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"{self.widest}, runs={self.runs}"


class ShiftFrames(nn.Module):
    """Cuts a margin off the frames of a sequence: the same on all sides in evaluation, anywhere in training.

    Args:
        margin: pixels that go on each side, so that pictures are moved by that much at the most.
        mirror: whether half of the sequences are seen in a mirror.
    """

    def __init__(self, margin: int, mirror: bool = False) -> None:
        super().__init__()
        self.margin, self.mirror = margin, mirror

    def forward(self, frames_TBHW: Tensor) -> Tensor:
        """Return (T, B, H - 2 margin, W - 2 margin, ...)."""
        H, W = frames_TBHW.shape[2:4]
        height, width = H - 2 * self.margin, W - 2 * self.margin
        if not self.training:
            return frames_TBHW[:, :, self.margin : self.margin + height, self.margin : self.margin + width]
        B = frames_TBHW.shape[1]
        corners = torch.randint(2 * self.margin + 1, (B, 2)).tolist()
        mirrored = (torch.rand(B) < 0.5).tolist() if self.mirror else [False] * B
        moved = []
        for b, ((top, left), turn) in enumerate(zip(corners, mirrored, strict=True)):
            frames_THW = frames_TBHW[:, b, top : top + height, left : left + width]
            moved.append(frames_THW.flip(2) if turn else frames_THW)
        return torch.stack(moved, 1)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"{self.margin}, mirror={self.mirror}"


def _runs(size: int, lengths_B: Tensor, longest_B: Tensor, runs: int) -> Tensor:
    """Return (size, B), true in `runs` random runs within each length."""
    place = torch.arange(size)[:, None]
    masked = torch.zeros(size, len(lengths_B), dtype=torch.bool)
    for _ in range(runs):
        width_B = (torch.rand(len(lengths_B)) * (longest_B + 1)).long().clamp(max=longest_B)
        begin_B = (torch.rand(len(lengths_B)) * (lengths_B - width_B + 1)).long()
        masked |= (place >= begin_B) & (place < begin_B + width_B)
    return masked & steps_exist(masked, lengths_B)
