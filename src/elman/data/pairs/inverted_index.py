"""Inverted index: the lines of a file that share most words with a text."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elman.data.text.subwords import split_sentence
from elman.storage.ragged import RaggedArrays

PIECE = 1 << 16
"""Lines that are looked at together."""


class InvertedIndex:
    """The different words of lines, as numbers, in a folder; memory does not grow with them.

    Args:
        lines: one by one.
        folder: where they are stored.
    """

    def __init__(self, lines: Iterable[str], folder: Path) -> None:
        self.rows = RaggedArrays.write(folder, "words", map(word_hashes, lines))

    def nearest(self, text: str, count: int) -> list[int]:
        """Return the numbers, from 0, of the lines that share most with a text; none that shares nothing.

        How much is Dice's coefficient of the different words; of equal lines the first come first.
        """
        own = word_hashes(text)
        lengths, ends = self.rows.lengths, self.rows.ends
        best, places = np.zeros(0), np.zeros(0, np.int64)
        for begin in range(0, len(lengths), PIECE):
            part = lengths[begin : begin + PIECE]
            words = self.rows.values[int(ends[begin] - part[0]) : int(ends[begin + len(part) - 1])]
            owner = np.repeat(np.arange(len(part)), part)
            common = np.bincount(owner[np.isin(words, own)], minlength=len(part))
            best = np.concatenate([best, 2 * common / np.maximum(1, part + len(own))])
            places = np.concatenate([places, np.arange(begin, begin + len(part))])
            order = np.argsort(-best, kind="stable")[:count]
            best, places = best[order], places[order]
        found: list[int] = places[best > 0].tolist()
        return found


def word_hashes(text: str) -> NDArray[np.int64]:
    """Return a number for each different word, the same on every machine."""
    words = dict.fromkeys(split_sentence(text))
    return np.array([zlib.crc32(word.encode("utf-8", "replace")) for word in words], np.int64)
