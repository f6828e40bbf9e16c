"""Limits of decoded sequences, which follow from those of training: their length, and how often they repeat."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PERIODS = 16
"""The longest cycle of symbols, in symbols, whose repetition is limited."""

EARLIER_RATIO = 3.0
"""The ratio for runs of earlier versions, which do not say theirs."""

SPARE_SYMBOLS = 10
_QUANTILE = 0.999
_MARGIN = 1.2
_SHORTEST_SOURCE = 5  # symbols; the ratio of a shorter one says little
_AT_ONCE = 1 << 16


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
    def of(cls, source_lengths: NDArray[Any], target_lengths: NDArray[Any], targets: Iterable[NDArray[Any]]) -> Self:
        """Return limits that training sequences keep, with a margin: 20 % for the length, 3 times each cycle.

        Args:
            source_lengths: symbols of each source, (N,).
            target_lengths: symbols of each target, (N,).
            targets: the token ids of each target.
        """
        long = source_lengths >= min(_SHORTEST_SOURCE, int(source_lengths.max(initial=0)))
        ratios = (target_lengths[long] + 1) / np.maximum(1, source_lengths[long])
        ratio = _MARGIN * float(np.quantile(ratios, _QUANTILE)) if len(ratios) else EARLIER_RATIO
        longest = [max(2 * p, run) for p, run in enumerate(longest_repetitions(targets), 1)]
        return cls(float(f"{ratio:.4g}"), longest)

    def length(self, source_length: int) -> int:
        """Return the maximum number of symbols, the end included, for a source of `source_length` symbols."""
        return math.ceil(self.ratio * source_length) + SPARE_SYMBOLS

    def repeating(self, written_NT: Tensor) -> Tensor | None:
        """Return the symbols that would repeat a cycle once too often, (N, periods), -1 for none; None if none would.

        Args:
            written_NT: the symbols so far, (N, T).
        """
        N, T = written_NT.shape
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
    """Return, for each period p up to `PERIODS`, the most symbols in a row of a sequence that equal the one p before."""
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
