"""Batches of sentences: padded features and symbols."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.batching import pad
from elman.storage.ragged import RaggedArrays


class SpeechBatch(NamedTuple):
    """Sentences side by side.

    Attributes:
        input_TBI: the features, float32.
        lengths_B: the number of steps of each sentence.
        target_BS: the symbols of each sentence, 0 beyond their number.
        sizes_B: the number of symbols of each sentence.
    """

    input_TBI: Tensor
    lengths_B: Tensor
    target_BS: Tensor
    sizes_B: Tensor


def speech_batch(features: RaggedArrays, symbols: RaggedArrays, numbers: NDArray[np.int64]) -> SpeechBatch:
    """Return the sentences of these numbers as a batch.

    Args:
        features: of each sentence, (T, I).
        symbols: of each sentence, (S,).
        numbers: of the sentences.
    """
    input_TBI, lengths_B = pad([features[int(n)] for n in numbers])
    target_SB, sizes_B = pad([symbols[int(n)] for n in numbers])
    arrays = (input_TBI.astype(np.float32), lengths_B, np.ascontiguousarray(target_SB.T), sizes_B)
    return SpeechBatch(*map(torch.from_numpy, arrays))
