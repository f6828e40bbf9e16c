"""The items that a model knows: their names, and how often each was seen in training."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError
from elman.storage import records
from elman.storage.files import write_bytes
from elman.storage.run_validation import largest_by_weights

FILENAME = "items.json"
UNKNOWN = -1
"""The number of an item that was not seen in training."""

_LARGEST = 1 << 29  # bytes


class ItemCatalogue:
    """Items numbered from 0, the most frequent first.

    Attributes:
        names: (V,) by number.
        counts: (V,) int64, events in the training data.
    """

    def __init__(self, names: Sequence[str], counts: Iterable[int]) -> None:
        self.names, self.counts = list(names), np.asarray(list(counts), np.int64)

    @classmethod
    def of(cls, names: Sequence[str], events: NDArray[np.int64], *, least: int = 1) -> tuple[Self, NDArray[np.int64]]:
        """Number the items of the training events by falling frequency; of equal ones the first seen comes first.

        Args:
            names: of all items that occur anywhere.
            events: the training events, as places in `names`.
            least: events that an item must have to be known.

        Returns:
            the items, and the new number of each of `names`, UNKNOWN for those that are not known.

        Raises:
            DataError: fewer than two are known.
        """
        counts = np.bincount(events, minlength=len(names))
        order = np.argsort(-counts, kind="stable")
        order = order[counts[order] >= max(1, least)]
        if len(order) < 2:
            raise DataError(
                "there is nothing to choose among",
                should=f"at least 2 items with {max(1, least)} or more events in the training part",
                found=f"{len(order)} of {len(names)} items",
                hint="more data, or a smaller min_item_count" if least > 1 else "more data",
            )
        numbers = np.full(len(names), UNKNOWN, np.int64)
        numbers[order] = np.arange(len(order))
        return cls([names[n] for n in order], counts[order]), numbers

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each name."""
        return {name: number for number, name in enumerate(self.names)}

    def save(self, folder: Path) -> None:
        """Write the items into a run's folder.

        Raises:
            RunError: it cannot be written.
        """
        content = {"version": 1, "items": self.names, "counts": self.counts.tolist()}
        write_bytes(folder / FILENAME, json.dumps(content, ensure_ascii=True).encode())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            RunError: it is missing or broken.
        """
        largest = largest_by_weights(folder / FILENAME, _LARGEST)
        record = records.read(folder / FILENAME, _ItemRecord, "the items of a run", largest=largest)
        return cls(record.items, record.counts)


@dataclass(frozen=True)
class _ItemRecord:
    """What items.json holds."""

    items: list[str]
    counts: list[int] = field(metadata={"low": 1, "high": 1 << 62})
    version: int = field(default=1, metadata={"later": True})

    def check(self) -> None:
        if len(self.items) < 2 or "" in self.items or len(set(self.items)) != len(self.items):
            raise ValueError("items are not at least two different names")
        if len(self.counts) != len(self.items):
            raise ValueError(f"{len(self.counts)} counts for {len(self.items)} items")
        if any(a < b for a, b in pairwise(self.counts)):
            raise ValueError("items are not in order of decreasing frequency")
