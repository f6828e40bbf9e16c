"""Batches of encoded pairs of lines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.batching import IGNORED, pad
from elman.data.translation.dataset import ParallelDataset


class ParallelBatch(NamedTuple):
    """Pairs side by side.

    Attributes:
        source_SB: token ids of the sources.
        lengths_B: symbols of the sources.
        target_TB: token ids of the targets, IGNORED beyond the ends.
    """

    source_SB: Tensor
    lengths_B: Tensor
    target_TB: Tensor


def parallel_batch(data: ParallelDataset, numbers: NDArray[np.int64]) -> ParallelBatch:
    """Return pairs of a data set as a batch."""
    source, lengths = pad([data.source[int(n)] for n in numbers])
    target, _ = pad([data.target[int(n)] for n in numbers], fill=IGNORED)
    return ParallelBatch(torch.from_numpy(source), torch.from_numpy(lengths), torch.from_numpy(target))
