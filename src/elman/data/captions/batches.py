"""Batches of captioned pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.batching import IGNORED, pad
from elman.data.captions.dataset import CaptionDataset


class CaptionBatch(NamedTuple):
    """B pictures with N captions.

    Attributes:
        picture_B: (B, H, W, 3) uint8, or features (B, S, F) float32.
        flips_B: whether a picture may be flipped horizontally.
        target_TN: token ids, IGNORED beyond the ends.
        of_N: the number of the picture of each caption, rising.
        symbol_X: the different symbols of all captions of each picture, also of those that were not drawn.
        symbol_of_X: the number of the picture of each of these, rising.
    """

    picture_B: Tensor
    flips_B: Tensor
    target_TN: Tensor
    of_N: Tensor
    symbol_X: Tensor
    symbol_of_X: Tensor


def caption_batch(data: CaptionDataset, numbers: NDArray[np.int64], captions: int = 0) -> CaptionBatch:
    """Return pictures as a batch.

    Args:
        data: the pictures.
        numbers: which of them.
        captions: captions of each at most, drawn from torch's random state; 0: all.
    """
    rows: list[NDArray[np.int64]] = []
    owners: list[int] = []
    for b, n in enumerate(numbers):
        targets = data.targets[int(n)]
        order = torch.randperm(len(targets)).tolist()[:captions] if captions else range(len(targets))
        rows += [targets[k] for k in order]
        owners += [b] * len(order)
    target, _ = pad(rows, fill=IGNORED)
    symbols = [np.unique(np.concatenate(data.targets[int(n)])) for n in numbers]
    return CaptionBatch(
        torch.from_numpy(np.stack([data.values[int(n)] for n in numbers])),
        torch.from_numpy(data.flips[numbers]),
        torch.from_numpy(target),
        torch.tensor(owners),
        torch.from_numpy(np.concatenate(symbols)),
        torch.from_numpy(np.repeat(np.arange(len(symbols)), [len(row) for row in symbols])),
    )
