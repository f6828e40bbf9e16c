"""Limits of decoded sequences, which follow from those of training: their length, and how often they repeat."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

PERIODS = 16
"""The longest cycle of symbols, in symbols, whose repetition is limited."""

EARLIER_RATIO = 3.0
"""The ratio for runs of earlier versions, which do not say theirs."""

SPARE_SYMBOLS = 10
_QUANTILE = 0.999
_MARGIN = 1.2
_SHORTEST_SOURCE = 5  # symbols; the ratio of a shorter one says little
_BINS, _BINS_OF_A_UNIT = 5000, 100  # of the histogram of ratios
_AT_ONCE = 1 << 12


@dataclass(frozen=True)
class DecodingLimits:
    """The limits of a decoded sequence.

    Attributes:
        ratio: output symbols for each input symbol, beside `SPARE_SYMBOLS`.
        repetitions: for each period p from 1 on, how many symbols in a row may equal the one p before them; empty for
            any number.
    """

    ratio: float = field(default=EARLIER_RATIO, metadata={"later": True, "low": 0.0})
    repetitions: list[int] = field(default_factory=list, metadata={"later": True, "low": 0})

    @classmethod
    def of(cls, source_lengths: Iterable[int], targets: Iterable[NDArray[Any]]) -> Self:
        """Return limits that training sequences keep, with a margin: 20 % for the length, 3 times each cycle.

        Args:
            source_lengths: symbols of each source.
            targets: the token ids of each target, in the same order.
        """
        counts = np.zeros((2, _BINS), np.int64)  # of pairs by their ratio: of short sources, and of others

        def counted() -> Iterator[NDArray[Any]]:
            for length, target in zip(source_lengths, targets, strict=True):
                ratio = (len(target) + 1) / max(1, int(length))
                counts[int(length >= _SHORTEST_SOURCE), min(_BINS - 1, int(ratio * _BINS_OF_A_UNIT))] += 1
                yield target

        longest = [max(2 * p, run) for p, run in enumerate(longest_repetitions(counted()), 1)]
        ratios = counts[1] if counts[1].any() else counts[0]
        if not ratios.any():
            return cls(repetitions=longest)
        place = int(np.searchsorted(np.cumsum(ratios), _QUANTILE * ratios.sum()))
        return cls(float(f"{_MARGIN * (place + 1) / _BINS_OF_A_UNIT:.4g}"), longest)

    def length(self, source_length: int) -> int:
        """Return the maximum number of symbols, the end included, for a source of `source_length` symbols."""
        return math.ceil(self.ratio * source_length) + SPARE_SYMBOLS

    def repeating(self, written_NT: Tensor) -> Tensor | None:
        """Return the symbols that would repeat a cycle once too often, (N, periods), -1 for none; None if none would.

        Args:
            written_NT: the symbols so far, (N, T).
        """
        import torch  # only here: data is prepared without it

        T = written_NT.shape[1]
        columns = []
        for p, most in enumerate(self.repetitions, 1):
            if most + p > T:
                continue
            cycle_N = (written_NT[:, T - most :] == written_NT[:, T - most - p : T - p]).all(1)
            columns.append(torch.where(cycle_N, written_NT[:, T - p], -1))
        if not columns:
            return None
        ids_NP = torch.stack(columns, 1)
        return ids_NP if bool((ids_NP >= 0).any()) else None


def longest_repetitions(sequences: Iterable[NDArray[Any]]) -> list[int]:
    """Return, for each period p up to `PERIODS`, the most symbols in a row that equal the one p before them."""
    longest = [0] * PERIODS
    parts: list[NDArray[Any]] = []
    count = 0
    for n, sequence in enumerate(sequences):
        # Between two sequences stand symbols that equal no other one within any period.
        parts += [sequence, -1 - np.arange(PERIODS) - n % 2 * PERIODS]
        count += len(sequence) + PERIODS
        if count >= _AT_ONCE:
            longest = _longest(parts, longest)
            parts, count = [], 0
    return _longest(parts, longest) if parts else longest


def _longest(parts: Sequence[NDArray[Any]], before: Sequence[int]) -> list[int]:
    flat = np.concatenate(parts)
    longest = []
    for p, run in enumerate(before, 1):
        differing = np.flatnonzero(flat[p:] != flat[:-p])
        gaps = np.diff(differing, prepend=-1, append=max(0, len(flat) - p)) - 1
        longest.append(max(run, int(gaps.max(initial=0))))
    return longest
