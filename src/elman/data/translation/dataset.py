"""Encoded pairs of lines: the vocabularies of both sides, and both sides in mapped files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.batching import IGNORED, pad
from elman.data.skipped import SkippedRows
from elman.data.text.encoding import encode_line, in_pieces
from elman.data.text.vocabularies import VOCABULARIES, Vocabulary, load_vocabulary
from elman.data.translation.parallel import SentencePair
from elman.data.translation.spool import SpooledPairs
from elman.errors import BrokenRun, DataError
from elman.storage.files import checked_json, read_checked, written_beside
from elman.storage.ragged import RaggedArrays, growing

JOINT = "symbols"
"""The folder of a vocabulary that serves both sides; else there are two, "source" and "target"."""

LARGEST_LINES = 2**30
"""Bytes of the pairs of lines that are kept to measure on."""

Encoded = tuple[NDArray[np.int64], NDArray[np.int64]]
"""The token ids of a line and of its translation."""


class Languages(NamedTuple):
    """The vocabularies of both sides; one and the same where they are joint."""

    source: Vocabulary
    target: Vocabulary

    @classmethod
    def learn(
        cls, parts: Sequence[Iterable[SentencePair]], folder: Path, *, kind: str, size: int | None, joint: bool
    ) -> Self:
        """Choose the symbols of both sides out of pairs, and keep them in the folder; no more than a piece is held.

        Args:
            parts: the pairs, which are gone through once for each vocabulary.
            folder: where the vocabularies go.
            kind: a name in `VOCABULARIES`.
            size: the number of symbols, for the kinds that choose them.
            joint: whether one vocabulary serves both sides.

        Raises:
            SettingError, DataError: as `build_vocabulary`.
        """

        def build(name: str, sides: slice) -> Vocabulary:
            lines = (f" {line}\n" for part in parts for pair in part for line in pair[sides])
            found = VOCABULARIES[kind].build([in_pieces(lines)], size=size)
            (folder / name).mkdir()
            found.save(folder / name)
            return found

        if joint:
            both = build(JOINT, slice(2))
            return cls(both, both)
        return cls(build("source", slice(0, 1)), build("target", slice(1, 2)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load what `learn` kept.

        Raises:
            RunError: a vocabulary is missing or broken.
        """
        if (folder / JOINT).exists():
            both = load_vocabulary(folder / JOINT)
            return cls(both, both)
        return cls(load_vocabulary(folder / "source"), load_vocabulary(folder / "target"))

    def encode(self, pair: SentencePair) -> Encoded:
        """Return the token ids of both sides."""
        return encode_line(self.source, pair.source), encode_line(self.target, pair.target)

    def encode_short(
        self, pairs: SpooledPairs, longest: int, left_out: SkippedRows
    ) -> Iterator[tuple[SentencePair, Encoded]]:
        """Yield the pairs of which no line has more than `longest` symbols, encoded; of the others note is taken."""
        for number, pair in pairs.numbered():
            encoded = self.encode(pair)
            sizes = [len(ids) for ids in encoded]
            if max(sizes) <= longest:
                yield pair, encoded
            else:
                side = 0 if sizes[0] > longest else -1
                left_out.add(f"{pairs.names[side]}, line {number}: {sizes[side]} symbols")


class ParallelBatch(NamedTuple):
    """Pairs side by side."""

    source_SB: Tensor
    lengths_B: Tensor  # of the sources
    target_TB: Tensor  # IGNORED beyond the ends


class ParallelDataset(NamedTuple):
    """Encoded pairs."""

    source: RaggedArrays
    target: RaggedArrays

    @classmethod
    def of(cls, pairs: Iterable[SentencePair], languages: Languages) -> Self:
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
    def write(cls, folder: Path, encoded: Iterable[Encoded]) -> Self:
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


def write_lines(path: Path, pairs: Iterable[SentencePair]) -> int:
    """Keep pairs as they are, to measure on, written as they come; return how many they are.

    Raises:
        DataError: they are more than `read_lines` reads.
        RunError: the file cannot be written.
    """
    count, end = 0, b"\n]\n"
    with written_beside(path) as file:
        for pair in pairs:
            sides = ",\n".join(f"    {json.dumps(line, ensure_ascii=False)}" for line in pair)
            file.write(f"{',' if count else '['}\n  [\n{sides}\n  ]".encode())
            count += 1
            if file.tell() + len(end) > LARGEST_LINES:
                raise DataError(
                    "there are too many pairs for validation, which are held in training",
                    should=f"at most {LARGEST_LINES} bytes of them",
                    found=f"more in the first {count}",
                    hint="--set validation=0.001, or a smaller --set validation_data=SOURCE,TARGET",
                )
        file.write(end if count else b"[]\n")
    return count


def read_lines(path: Path) -> list[SentencePair]:
    """Return what `write_lines` kept.

    Raises:
        RunError: the file is missing or broken.
    """

    def understand(content: bytes) -> list[SentencePair]:
        pairs = [SentencePair(source, target) for source, target in checked_json(content)]
        if not pairs or not all(isinstance(line, str) for pair in pairs for line in pair):
            raise ValueError("no pairs of lines")
        return pairs

    pairs: list[SentencePair] = read_checked(path, "pairs of lines", understand, largest=LARGEST_LINES)
    return pairs
