"""Batches of labelled sequences: padded side by side, with their labels as the losses take them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.batching import IGNORED, BucketBatches, in_order, pad
from elman.data.labelled.dataset import LabelledPart
from elman.data.labelled.labels import Labels


class LabelledBatch(NamedTuple):
    """Sequences side by side.

    Attributes:
        input: (T, B, ...), of the type of the files.
        lengths_B: (B,) int64; None where all have T steps.
        target: (B,) int64 for classes, (B, C) float32 for several classes, (B,) float32 for numbers, standardised, and
            (T, B) int64 for tags.
    """

    input: Tensor
    lengths_B: Tensor | None
    target: Tensor

    def to(self, device: torch.device | str) -> LabelledBatch:
        """Return the batch on a device, with the lengths on the CPU."""
        return LabelledBatch(self.input.to(device), self.lengths_B, self.target.to(device))


def collate(part: LabelledPart, labels: Labels, numbers: NDArray[np.int64]) -> LabelledBatch:
    """Return the batch of some members of a part, by their places in `part.chosen`."""
    chosen = part.chosen[numbers]
    padded, lengths = pad([part.input[int(n)] for n in chosen])
    targets = [part.target[int(n)] for n in chosen]
    if labels.target == "tags":
        target = torch.from_numpy(pad(targets, IGNORED)[0].astype(np.int64))
    elif labels.target == "number":
        target = torch.from_numpy(((np.concatenate(targets) - labels.mean) / labels.deviation).astype(np.float32))
    else:
        dtype = np.float32 if labels.target == "classes" else np.int64
        target = torch.from_numpy(np.concatenate(targets).astype(dtype))
    ragged = bool((lengths != len(padded)).any())
    return LabelledBatch(torch.from_numpy(padded), torch.from_numpy(lengths) if ragged else None, target)


def training_batches(part: LabelledPart, labels: Labels, *, batch_size: int, seed: int) -> BucketBatches[LabelledBatch]:
    """Return the batches of a part for training, in a new order in every epoch."""
    return BucketBatches(part.lengths, partial(collate, part, labels), batch_size=batch_size, seed=seed)


def evaluation_batches(
    part: LabelledPart, labels: Labels, *, batch_size: int = 256, tokens: int = 1 << 16
) -> Iterator[LabelledBatch]:
    """Yield all members of a part once, the shortest first, for evaluation; at most `tokens` padded steps at a time."""
    for numbers in in_order(part.lengths, batch_size=batch_size, tokens=tokens):
        yield collate(part, labels, numbers)
