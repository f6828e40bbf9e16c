"""Batches of sentences: padded features and symbols."""

import numpy as np

from elman.data.speech.batches import speech_batch
from elman.storage.ragged import RaggedArrays


def test_sentences_are_padded() -> None:
    features = RaggedArrays.of(np.full((length, 2), length, np.float16) for length in (1, 3, 2))
    symbols = RaggedArrays.of(np.arange(size) for size in (2, 0, 3))
    batch = speech_batch(features, symbols, np.array([2, 0]))
    assert (batch.lengths_B.tolist(), batch.sizes_B.tolist()) == ([2, 1], [3, 2])
    assert batch.input_TBI[..., 0].tolist() == [[2.0, 1.0], [2.0, 0.0]]
    assert batch.target_BS.tolist() == [[0, 1, 2], [0, 1, 0]]
