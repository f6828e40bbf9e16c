"""Sequences that differ a little each time they are seen in training; in evaluation they stay as they are.

Like dropout these are layers: they draw from torch's random state, so a run that goes on draws what it would have.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

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


def time_stretch(x_TBI: Tensor, lengths_B: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """Resample sequences in time by linear interpolation (speed perturbation).

    Values beyond a sequence's length have no effect: its last step is repeated there.

    Args:
        x_TBI: (T, B, I).
        lengths_B: (B,).
        factor: above 1 the sequences become longer, that is slower.

    Returns:
        The sequences, (T', B, I) with T' = factor * T, rounded, and their lengths, (B,).
    """
    size = max(1, round(len(x_TBI) * factor))
    last_B = (lengths_B - 1).clamp(min=0).to(x_TBI.device)
    step_TB = torch.arange(len(x_TBI), device=x_TBI.device)[:, None].minimum(last_B)
    x_TBI = x_TBI.gather(0, step_TB[..., None].expand_as(x_TBI))
    y_BIT = functional.interpolate(x_TBI.permute(1, 2, 0), size=size, mode="linear", align_corners=False)
    return y_BIT.permute(2, 0, 1), (lengths_B * size // len(x_TBI)).clamp(max=size)


def frequency_warp(x_TBI: Tensor, factors_B: Tensor) -> Tensor:
    """Resample features along their axis: feature i becomes what was at i / factor, by linear interpolation.

    Beyond the last feature its value is repeated. On features along the mel scale this is vocal tract length
    perturbation (Jaitly and Hinton 2013, "Vocal tract length perturbation improves speech recognition").

    Args:
        x_TBI: (T, B, I).
        factors_B: (B,), one for each sequence.

    Returns:
        (T, B, I).
    """
    T, B, size = x_TBI.shape
    place_BI = (torch.arange(size) / factors_B[:, None]).clamp(max=size - 1).to(x_TBI)
    below_BI = place_BI.long()
    above_BI, share_BI = (below_BI + 1).clamp(max=size - 1), place_BI - below_BI
    below_TBI, above_TBI = (x_TBI.gather(2, index_BI.expand(T, B, size)) for index_BI in (below_BI, above_BI))
    return below_TBI + share_BI * (above_TBI - below_TBI)


def _runs(size: int, lengths_B: Tensor, longest_B: Tensor, runs: int) -> Tensor:
    """Return (size, B), true in `runs` random runs within each length."""
    place = torch.arange(size)[:, None]
    masked = torch.zeros(size, len(lengths_B), dtype=torch.bool)
    for _ in range(runs):
        width_B = (torch.rand(len(lengths_B)) * (longest_B + 1)).long().clamp(max=longest_B)
        begin_B = (torch.rand(len(lengths_B)) * (lengths_B - width_B + 1)).long()
        masked |= (place >= begin_B) & (place < begin_B + width_B)
    return masked & steps_exist(masked, lengths_B)
