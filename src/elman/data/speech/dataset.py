"""Data set of transcribed sentences in the folder of a run, and how its features are computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.batching import pad
from elman.data.speech.eigenlips import Lips
from elman.data.speech.utterance import SoundFeatures
from elman.data.text.vocabularies import Vocabulary
from elman.errors import BrokenRun
from elman.storage import records
from elman.storage.files import checked_object, read_checked
from elman.storage.ragged import RaggedArrays

LARGEST = 1 << 29
"""Bytes of JSON that are read; the texts of a large data set are far more than other JSON of a run."""


class SpeechBatch(NamedTuple):
    """Sentences side by side.

    Attributes:
        input_TBI: the features, float32.
        lengths_B: steps of each sentence.
        target_BS: token ids, 0 beyond the sizes.
        sizes_B: symbols of each sentence.
    """

    input_TBI: Tensor
    lengths_B: Tensor
    target_BS: Tensor
    sizes_B: Tensor


class SpeechDataset(NamedTuple):
    """Features of sentences, and the token ids of their transcripts.

    Attributes:
        input: float16, (T, I) of each sentence.
        target: int64, (S,) of each sentence.
    """

    input: RaggedArrays
    target: RaggedArrays

    @classmethod
    def complete(cls, folder: Path, texts: Sequence[str], vocabulary: Vocabulary) -> Self:
        """Write the transcripts beside the features in a folder, and map both."""
        RaggedArrays.write(folder, "target", (vocabulary.encode(text).astype(np.int64) for text in texts))
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map what `complete` wrote.

        Raises:
            RunError: it is missing or broken.
        """
        found = cls(RaggedArrays.open(folder, "input"), RaggedArrays.open(folder, "target"))
        fits = found.input.values.ndim == 2 and found.target.values.ndim == 1 and found.target.values.dtype == np.int64
        if len(found.input) != len(found.target) or not fits:
            raise BrokenRun(
                f"the sentences in {folder} are broken",
                should="features (T, I) and as many rows of symbols",
                found=f"{len(found.input)} and {len(found.target)}",
            )
        return found

    @property
    def fingerprint(self) -> str:
        """What changes with every change of the data."""
        return self.input.fingerprint + self.target.fingerprint

    def batch(self, chosen: NDArray[np.int64]) -> SpeechBatch:
        """Return these sentences as a batch."""
        features, lengths = pad([self.input[int(n)] for n in chosen])
        target, sizes = pad([self.target[int(n)] for n in chosen])
        found = (features.astype(np.float32), lengths, np.ascontiguousarray(target.T), sizes)
        return SpeechBatch(*(torch.from_numpy(array) for array in found))


def save_extractor(folder: Path, features: SoundFeatures | Lips) -> None:
    """Write how features are computed."""
    if isinstance(features, Lips):
        features.save(folder)
    else:
        records.write(folder / "features.json", features)


def load_extractor(folder: Path) -> SoundFeatures | Lips:
    """Return what `save_extractor` wrote.

    Raises:
        RunError: it is missing or broken.
    """
    if (folder / Lips.filename).exists():
        return Lips.load(folder)
    return records.read(folder / "features.json", SoundFeatures, "how features are computed")


def read_numbers(path: Path) -> dict[str, Any]:
    """Return a JSON object of a run.

    Raises:
        RunError: it is missing or broken.
    """
    numbers: dict[str, Any] = read_checked(path, "a JSON object", checked_object, largest=LARGEST)
    return numbers
