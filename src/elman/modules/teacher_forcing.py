"""Teacher forcing: the inputs and labels of a decoder that reads its target."""

from __future__ import annotations

import torch
from torch import Tensor

from elman.modules.softmax import IGNORE_INDEX


def teacher_forcing(target_TB: Tensor, boundary: int) -> tuple[Tensor, Tensor]:
    """Return what a decoder reads, and what it predicts at each step, (T + 1, B) each.

    The inputs begin with the boundary symbol and the labels end with it; targets and labels are -100 beyond the ends.
    The boundary symbol inside a target stands for an unknown symbol: no label, and as an input the boundary plus 1.
    """
    padding_1B = target_TB.new_full((1, target_TB.shape[1]), IGNORE_INDEX)
    label_TB = torch.cat((target_TB, padding_1B))
    label_TB[label_TB == boundary] = IGNORE_INDEX
    label_TB[(target_TB >= 0).sum(0), torch.arange(target_TB.shape[1])] = boundary
    read_TB = torch.where(target_TB == boundary, boundary + 1, target_TB.clamp(min=0))
    return torch.cat((torch.full_like(padding_1B, boundary), read_TB)), label_TB
