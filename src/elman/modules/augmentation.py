"""Data augmentation: masking, shifts, time stretching and frequency warping.

The layers act in training only, and draw from torch's random state, so that a resumed run draws the same numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.modules.pooling import steps_exist


class TimeMasking(nn.Module):
    """Time masking: sets runs of steps to zero (SpecAugment, Park et al. 2019, https://arxiv.org/abs/1904.08779).

    Args:
        max_steps: greatest length of a run; each length is drawn uniformly from 0 to it, limited to a third of the
            sequence.
        runs: number of runs in a sequence; they may overlap.
    """

    def __init__(self, max_steps: int, runs: int = 1) -> None:
        super().__init__()
        self.max_steps, self.runs = max_steps, runs

    def forward(self, x_TB: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Return the sequences (T, B, ...) with runs of steps set to zero, the mean of standardised features.

        `lengths_B` is None if all have T steps.
        """
        if not self.training or self.max_steps == 0:
            return x_TB
        T, B = x_TB.shape[:2]
        sizes_B = torch.full((B,), T) if lengths_B is None else lengths_B.cpu()
        masked_TB = _random_runs(T, sizes_B, (sizes_B // 3).clamp(max=self.max_steps), self.runs)
        return x_TB.masked_fill(masked_TB.reshape(T, B, *[1] * (x_TB.dim() - 2)).to(x_TB.device), 0.0)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"{self.max_steps}, runs={self.runs}"


class FrequencyMasking(nn.Module):
    """Frequency masking: sets runs of features to zero, the same at all steps of a sequence (SpecAugment).

    Args:
        max_features: greatest width of a run; each width is drawn uniformly from 0 to it.
        runs: number of runs in a sequence; they may overlap.
    """

    def __init__(self, max_features: int, runs: int = 1) -> None:
        super().__init__()
        self.max_features, self.runs = max_features, runs

    def forward(self, x_TBI: Tensor) -> Tensor:
        """Return the sequences, (T, B, I), with runs of features set to zero."""
        if not self.training or self.max_features == 0:
            return x_TBI
        _, B, size = x_TBI.shape
        longest_B = torch.full((B,), min(self.max_features, size))
        masked_IB = _random_runs(size, torch.full((B,), size), longest_B, self.runs)
        return x_TBI.masked_fill(masked_IB.T.to(x_TBI.device), 0.0)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"{self.max_features}, runs={self.runs}"


class RandomCrop(nn.Module):
    """Random crop of image sequences in training, centre crop in evaluation.

    Args:
        max_shift: pixels cropped from each side on average; the greatest shift of an image.
        horizontal_flip: flip half of the sequences in training.
    """

    def __init__(self, max_shift: int, horizontal_flip: bool = False) -> None:
        super().__init__()
        self.max_shift, self.horizontal_flip = max_shift, horizontal_flip

    def forward(self, frames_TBHW: Tensor) -> Tensor:
        """Return the cropped frames, (T, B, H - 2 max_shift, W - 2 max_shift, ...)."""
        H, W = frames_TBHW.shape[2:4]
        shift = self.max_shift
        height, width = H - 2 * shift, W - 2 * shift
        if not self.training:
            return frames_TBHW[:, :, shift : shift + height, shift : shift + width]
        B = frames_TBHW.shape[1]
        corners = torch.randint(2 * shift + 1, (B, 2)).tolist()
        flips = (torch.rand(B) < 0.5).tolist() if self.horizontal_flip else [False] * B
        crops = []
        for b, ((top, left), flip) in enumerate(zip(corners, flips, strict=True)):
            frames_THW = frames_TBHW[:, b, top : top + height, left : left + width]
            crops.append(frames_THW.flip(2) if flip else frames_THW)
        return torch.stack(crops, 1)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"{self.max_shift}, horizontal_flip={self.horizontal_flip}"


def time_stretch(x_TBI: Tensor, lengths_B: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """Resample sequences to T' = factor * T steps by linear interpolation (speed perturbation), and their lengths.

    Values beyond a sequence's length have no effect: its last step is repeated there.
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
    """
    T, B, size = x_TBI.shape
    position_BI = (torch.arange(size) / factors_B[:, None]).clamp(max=size - 1).to(x_TBI)
    below_BI = position_BI.long()
    above_BI, share_BI = (below_BI + 1).clamp(max=size - 1), position_BI - below_BI
    below_TBI, above_TBI = (x_TBI.gather(2, index_BI.expand(T, B, size)) for index_BI in (below_BI, above_BI))
    return below_TBI + share_BI * (above_TBI - below_TBI)


def _random_runs(size: int, lengths_B: Tensor, longest_B: Tensor, runs: int) -> Tensor:
    """Return a mask (size, B), true in `runs` random runs within each length."""
    index_S1 = torch.arange(size)[:, None]
    masked = torch.zeros(size, len(lengths_B), dtype=torch.bool)
    for _ in range(runs):
        width_B = (torch.rand(len(lengths_B)) * (longest_B + 1)).long().clamp(max=longest_B)
        begin_B = (torch.rand(len(lengths_B)) * (lengths_B - width_B + 1)).long()
        masked |= (index_S1 >= begin_B) & (index_S1 < begin_B + width_B)
    return masked & steps_exist(masked, lengths_B)
