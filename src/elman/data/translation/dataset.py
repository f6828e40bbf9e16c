"""Data set of encoded pairs of lines, both sides in mapped files, and batches of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.batching import IGNORED, pad
from elman.data.translation.readers import SentencePair
from elman.data.translation.vocabularies import EncodedPair, VocabularyPair
from elman.errors import BrokenRun, DataError
from elman.storage.files import checked_json, read_checked, written_beside
from elman.storage.ragged import RaggedArrays, growing

MAX_BYTES = 2**30
"""Bytes of the pairs of lines that are kept for evaluation."""


class ParallelBatch(NamedTuple):
    """Pairs side by side.

    Attributes:
        source_SB: token ids of the sources.
        lengths_B: symbols of the sources.
        target_TB: token ids of the targets, -100 beyond the ends.
    """

    source_SB: Tensor
    lengths_B: Tensor  # of the sources
    target_TB: Tensor  # IGNORED beyond the ends


class ParallelDataset(NamedTuple):
    """Encoded pairs.

    Attributes:
        source: the token ids of each source, int64.
        target: the token ids of each target, int64.
    """

    source: RaggedArrays
    target: RaggedArrays

    @classmethod
    def of(cls, pairs: Iterable[SentencePair], languages: VocabularyPair) -> Self:
        """Encode pairs at hand, at least one."""
        source, target = zip(*(languages.encode(pair) for pair in pairs), strict=True)
        return cls(RaggedArrays.of(source), RaggedArrays.of(target))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map the pairs in a folder, which `write` wrote.

        Raises:
            RunError: they are missing or broken.
        """
        found = cls(RaggedArrays.open(folder, "source"), RaggedArrays.open(folder, "target"))
        if len(found.source) != len(found.target) or not all(part.values.dtype == np.int64 for part in found):
            raise BrokenRun(
                f"the pairs in {folder} are broken",
                should="as many sources as targets, of token ids",
                found=f"{len(found.source)} and {len(found.target)}",
            )
        return found

    @classmethod
    def write(cls, folder: Path, encoded: Iterable[EncodedPair]) -> Self:
        """Write encoded pairs into a folder as they come, and map them.

        Raises:
            DataError: there is none.
            RunError: the files cannot be written.
        """
        with growing(folder, "source") as add_source, growing(folder, "target") as add_target:
            for source, target in encoded:
                add_source(source)
                add_target(target)
        return cls.open(folder)

    @property
    def steps(self) -> NDArray[np.int64]:
        """Steps that each pair takes, (pairs,): the symbols of its longer side, the end of the target counted."""
        return np.maximum(self.source.lengths, self.target.lengths + 1)

    @property
    def fingerprint(self) -> str:
        """What changes with every change of the pairs."""
        return self.source.fingerprint + self.target.fingerprint

    def batch(self, chosen: NDArray[np.int64]) -> ParallelBatch:
        """Return these pairs as a batch."""
        source, lengths = pad([self.source[int(n)] for n in chosen])
        target, _ = pad([self.target[int(n)] for n in chosen], fill=IGNORED)
        return ParallelBatch(torch.from_numpy(source), torch.from_numpy(lengths), torch.from_numpy(target))


def write_validation_pairs(path: Path, pairs: Iterable[SentencePair]) -> int:
    """Keep pairs as they are, to measure on, written as they come; return how many they are.

    Raises:
        DataError: they are more than `read_validation_pairs` reads.
        RunError: the file cannot be written.
    """
    count, end = 0, b"\n]\n"
    with written_beside(path) as file:
        for pair in pairs:
            sides = ",\n".join(f"    {json.dumps(line, ensure_ascii=False)}" for line in pair)
            file.write(f"{',' if count else '['}\n  [\n{sides}\n  ]".encode())
            count += 1
            if file.tell() + len(end) > MAX_BYTES:
                raise DataError(
                    "there are too many pairs for validation, which are held in training",
                    should=f"at most {MAX_BYTES} bytes of them",
                    found=f"more in the first {count}",
                    hint="--set validation=0.001, or a smaller --set validation_data=SOURCE,TARGET",
                )
        file.write(end if count else b"[]\n")
    return count


def read_validation_pairs(path: Path) -> list[SentencePair]:
    """Return what `write_validation_pairs` wrote.

    Raises:
        RunError: the file is missing or broken.
    """

    def understand(content: bytes) -> list[SentencePair]:
        pairs = [SentencePair(source, target) for source, target in checked_json(content)]
        if not pairs or not all(isinstance(line, str) for pair in pairs for line in pair):
            raise ValueError("no pairs of lines")
        return pairs

    pairs: list[SentencePair] = read_checked(path, "pairs of lines", understand, largest=MAX_BYTES)
    return pairs
