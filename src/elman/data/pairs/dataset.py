"""Data set of scored pairs in the folder of a run, mapped into memory, and its split."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.pairs.readers import ScoredPair
from elman.errors import BrokenRun, DataError
from elman.storage.ragged import RaggedArrays


class PairDataset(Sequence[ScoredPair]):
    """Pairs that are read from a file when they are asked for; each is `score TAB first TAB second` in UTF-8.

    Args:
        rows: the bytes of each pair.
        name: of the file, for messages.
    """

    def __init__(self, rows: RaggedArrays, name: str) -> None:
        self.rows, self.name = rows, name

    @classmethod
    def write(cls, folder: Path, name: str, pairs: Iterable[ScoredPair]) -> PairDataset:
        """Write a part of the pairs, in constant memory.

        Raises:
            DataError: there is none; the message names the part.
        """
        rest = iter(pairs)
        first = next(rest, None)
        if first is None:
            raise DataError(
                f"there are no pairs for {name}",
                should="at least one pair in each part",
                found="none",
                hint="more data, or --set validation=0.2, or --set validation_data=FILE",
            )
        return cls(RaggedArrays.write(folder, name, map(_row, chain([first], rest))), f"{folder}/{name}")

    @classmethod
    def open(cls, folder: Path, name: str) -> PairDataset:
        """Map the pairs that `write` wrote.

        Raises:
            RunError: a file is missing or broken.
        """
        rows = RaggedArrays.open(folder, name)
        if rows.values.dtype != np.uint8 or rows.values.ndim != 1:
            raise _broken(f"{folder}/{name}", "bytes", f"{rows.values.dtype} of shape {rows.values.shape}")
        return cls(rows, f"{folder}/{name}")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, n: Any) -> Any:
        raw = self.rows[n].tobytes()
        try:
            score, first, second = raw.decode().split("\t")
            pair = ScoredPair(first, second, float(score))
        except ValueError as error:
            raise _broken(self.name, "a score and two texts with tabs between", repr(raw[:60])) from error
        if not math.isfinite(pair.score):
            raise _broken(self.name, "a number as the score", score)
        return pair

    def __iter__(self) -> Iterator[ScoredPair]:
        return (self[n] for n in range(len(self)))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The bytes of each pair, (pairs,): about how long its texts are."""
        return self.rows.lengths

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all pairs."""
        return self.rows.fingerprint

    def scores(self) -> NDArray[np.float64]:
        """Return the score of every pair, (pairs,)."""
        return np.fromiter((pair.score for pair in self), np.float64, len(self))


def split_pairs(
    folder: Path,
    pairs: Iterable[ScoredPair],
    validation: Iterable[ScoredPair] | None,
    share: float,
    seed: int,
    *,
    by_first: bool = False,
) -> tuple[PairDataset, PairDataset]:
    """Write the training and the validation pairs into a folder, in constant memory.

    Args:
        folder: where.
        pairs: all pairs, which are read twice.
        validation: the validation pairs; None: a share of `pairs`, drawn by their texts.
        share: of the pairs, for validation.
        seed: of the draw.
        by_first: pairs with the same first text stay in one part; else the pairs with the same two texts.

    Raises:
        DataError: a part has no pairs.
    """

    def part(is_validation: bool) -> Iterator[ScoredPair]:
        if validation is not None:
            yield from validation if is_validation else pairs
            return
        for pair in pairs:
            texts = (pair.first,) if by_first else (pair.first, pair.second)
            if is_held_out(texts, share, seed) == is_validation:
                yield pair

    return PairDataset.write(folder, "training", part(False)), PairDataset.write(folder, "validation", part(True))


def is_held_out(texts: Sequence[str], share: float, seed: int) -> bool:
    """Return whether what these texts stand for is among about `share` of all, which are held out for validation.

    The texts decide, in any order: a pair that occurs twice, or once with its texts exchanged, stands on one side.
    """
    key = "\t".join([str(seed), *sorted(texts)])
    return zlib.crc32(key.encode("utf-8", "replace")) < share * 2**32


def _row(pair: ScoredPair) -> NDArray[np.uint8]:
    text = f"{pair.score!r}\t{pair.first}\t{pair.second}"
    return np.frombuffer(text.encode("utf-8", "replace"), np.uint8)


def _broken(name: str, should: str, found: str) -> BrokenRun:
    return BrokenRun(f"the pairs in {name} are broken", should=should, found=found)
