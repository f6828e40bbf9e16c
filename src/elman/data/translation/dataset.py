"""Data set of encoded pairs of lines, both sides in mapped files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from elman.data.skipped import SkippedRows
from elman.data.translation.readers import SentencePair
from elman.data.translation.vocabularies import EncodedPair, VocabularyPair, encode_within
from elman.errors import BrokenRun, DataError
from elman.storage.files import checked_json, read_checked, written_beside
from elman.storage.ragged import RaggedArrays, growing

MAX_BYTES = 2**29
"""The most bytes of the pairs of lines that are kept for evaluation."""

BYTES_PER_PAIR = 2**17
"""The most bytes of them for each pair, on average."""


@dataclass(frozen=True)
class ParallelDataset:
    """Encoded pairs.

    Attributes:
        source: the token ids of each source, int64.
        target: the token ids of each target, int64.
        lines: the pairs as text; none for training pairs.
    """

    source: RaggedArrays
    target: RaggedArrays
    lines: Sequence[SentencePair] = ()

    def __len__(self) -> int:
        return len(self.source)

    @classmethod
    def of(cls, pairs: Sequence[SentencePair], vocabularies: VocabularyPair) -> Self:
        """Encode pairs at hand, at least one."""
        source, target = zip(*map(vocabularies.encode, pairs), strict=True)
        return cls(RaggedArrays.of(source), RaggedArrays.of(target), pairs)

    @classmethod
    def checked(
        cls,
        pairs: Iterable[SentencePair],
        vocabularies: VocabularyPair,
        max_symbols: int,
        *,
        skipped: SkippedRows,
        skip_bad: bool,
    ) -> Self:
        """Encode pairs for an evaluation.

        Args:
            pairs: all of them.
            vocabularies: of both sides.
            max_symbols: symbols of a line.
            skipped: counts the skipped pairs.
            skip_bad: skip pairs with too many symbols.

        Raises:
            DataError: such a pair is there and `skip_bad` is false, or all are such pairs.
        """
        lines: list[SentencePair] = []
        first = None
        for number, pair in enumerate(pairs, 1):
            try:
                for vocabulary, line in zip(vocabularies, pair, strict=True):
                    encode_within(vocabulary, line, f"pair {number}", max_symbols, skip="--skip-bad skips such pairs")
            except DataError as error:
                if not skip_bad:
                    raise
                first = first or error
                skipped.add(f"{error.what}: {error.found}")
            else:
                lines.append(pair)
        if first and not lines:
            raise first
        return cls.of(lines, vocabularies)

    @classmethod
    def open(cls, folder: Path, symbols: tuple[int, int]) -> Self:
        """Map the pairs in a folder, which `write` wrote.

        Args:
            folder: where they are.
            symbols: the number of symbols of the sources and of the targets.

        Raises:
            RunError: they are missing or broken.
        """
        pairs = cls(RaggedArrays.open(folder, "source"), RaggedArrays.open(folder, "target"))
        fits = all(
            side.values.dtype == np.int64 and side.values.ndim == 1 and side.within(0, size - 1)
            for side, size in zip((pairs.source, pairs.target), symbols, strict=True)
        )
        if len(pairs.source) != len(pairs.target) or not fits:
            raise BrokenRun(
                f"the pairs in {folder} are broken",
                should=f"as many sources as targets, of token ids below {symbols[0]} and {symbols[1]}",
                found=f"{len(pairs.source)} and {len(pairs.target)} of {pairs.source.values.dtype}, or other numbers",
            )
        return pairs

    @classmethod
    def write(cls, folder: Path, encoded: Iterable[EncodedPair]) -> None:
        """Write encoded pairs into a folder as they come.

        Raises:
            DataError: there is none.
            RunError: the files cannot be written.
        """
        with growing(folder, "source") as add_source, growing(folder, "target") as add_target:
            for source, target in encoded:
                add_source(source)
                add_target(target)

    @property
    def steps(self) -> NDArray[np.int64]:
        """Steps that each pair takes, (pairs,): the symbols of its longer side, the end of the target counted."""
        return np.maximum(self.source.lengths, self.target.lengths + 1)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the sources, and of the targets."""
        return self.source.fingerprint + self.target.fingerprint


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


def read_validation_pairs(path: Path, count: int | None = None) -> list[SentencePair]:
    """Return what `write_validation_pairs` wrote.

    Args:
        path: the file.
        count: how many they are, where the run says so.

    Raises:
        RunError: the file is missing or broken.
    """

    def understand(content: bytes) -> list[SentencePair]:
        pairs = [SentencePair(source, target) for source, target in checked_json(content)]
        if not pairs or not all(isinstance(line, str) for pair in pairs for line in pair):
            raise ValueError("no pairs of lines")
        return pairs

    largest = MAX_BYTES if count is None else min(MAX_BYTES, BYTES_PER_PAIR * (1 + count))
    pairs: list[SentencePair] = read_checked(path, "pairs of lines", understand, largest=largest)
    return pairs
