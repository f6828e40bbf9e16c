"""Examples in batches: a new order in every epoch, sequences of similar length together, a place that can be kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from elman.errors import RunError, SettingError

Batch = TypeVar("Batch")

POOL = 50  # batches whose examples are sorted by length together


class BucketBatches(Generic[Batch]):
    """The batches of a set of examples, for training; `elman.training.task.Batches` says what it keeps to.

    The order of an epoch depends on the seed and the epoch alone: the examples are permuted, then sorted by length
    within pools of `POOL` batches, cut into batches, and the batches permuted. So padding is rare and the order still
    random. `seek(position)` goes on exactly where `position` was.

    Args:
        lengths: (N,), the length of each example; all equal where there is nothing to sort.
        collate: makes a batch of the numbers of its examples.
        batch_size: examples in a batch; the last one of an epoch may have fewer.
        seed: of the order.
        tokens: steps in a batch at the most, padding included; 0 for no limit. A longer example has a batch to itself.

    Raises:
        SettingError: a size is not positive, or there is no example.
    """

    def __init__(
        self,
        lengths: Sequence[int] | NDArray[Any],
        collate: Callable[[NDArray[np.int64]], Batch],
        *,
        batch_size: int,
        seed: int = 0,
        tokens: int = 0,
    ) -> None:
        self.lengths = np.asarray(lengths, np.int64)
        if batch_size < 1 or tokens < 0 or not len(self.lengths):
            raise SettingError(
                "there is nothing to make batches of",
                should="at least one example, a batch_size of 1 or more, and no negative number of tokens",
                found=f"{len(self.lengths)} examples, batch_size {batch_size}, tokens {tokens}",
            )
        self.collate, self.batch_size, self.seed, self.tokens = collate, batch_size, seed, tokens
        self._epoch, self._index = 0, 0
        self._order: list[NDArray[np.int64]] = []
        self._ordered = -1

    @property
    def position(self) -> dict[str, int]:
        """The place of the next batch: the epoch, and its number in it."""
        return {"epoch": self._epoch, "batch": self._index}

    def seek(self, position: dict[str, Any]) -> None:
        """Go to a place that `position` returned.

        Raises:
            RunError: there is no such place.
        """
        epoch, index = position.get("epoch"), position.get("batch")
        if type(epoch) is int and type(index) is int and 0 <= epoch < 1 << 63 and 0 <= index < len(self.order(epoch)):
            self._epoch, self._index = epoch, index
            return
        raise RunError(
            "the place in the data is impossible",
            should="an epoch from 0 on, and a batch in it",
            found=repr(position)[:80],
            hint="go on with the same data and settings as before",
        )

    @property
    def progress(self) -> float:
        """Epochs done, with the fraction of the current one."""
        return self._epoch + self._index / len(self.order(self._epoch))

    def __len__(self) -> int:
        """Batches of the current epoch."""
        return len(self.order(self._epoch))

    def __iter__(self) -> Iterator[Batch]:
        epoch = self._epoch
        while self._epoch == epoch:
            chosen = self.order(epoch)[self._index]
            self._index += 1
            if self._index == len(self.order(epoch)):
                self._epoch, self._index = epoch + 1, 0
            yield self.collate(chosen)

    def order(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the batches of an epoch, each as the numbers of its examples."""
        if self._ordered != epoch:
            key = np.array([self.seed % (1 << 64), epoch], np.uint64)
            chance = np.random.Generator(np.random.Philox(key=key))
            shuffled = chance.permutation(len(self.lengths))
            pool = POOL * self.batch_size
            batches: list[NDArray[np.int64]] = []
            for begin in range(0, len(shuffled), pool):
                part = shuffled[begin : begin + pool]
                part = part[np.argsort(self.lengths[part], kind="stable")]
                batches += _cut(part, self.lengths, self.batch_size, self.tokens)
            self._order = [batches[n] for n in chance.permutation(len(batches))]
            self._ordered = epoch
        return self._order


def in_order(lengths: Sequence[int] | NDArray[Any], *, batch_size: int, tokens: int = 0) -> Iterator[NDArray[np.int64]]:
    """Yield the numbers of all examples once, the shortest first, cut as `BucketBatches` does; for evaluation."""
    lengths = np.asarray(lengths, np.int64)
    yield from _cut(np.argsort(lengths, kind="stable"), lengths, batch_size, tokens)


def _cut(
    numbers: NDArray[np.int64], lengths: NDArray[np.int64], batch_size: int, tokens: int
) -> list[NDArray[np.int64]]:
    """Cut examples in rising order of length into batches of at most so many examples and padded tokens."""
    if not tokens:
        return [numbers[begin : begin + batch_size] for begin in range(0, len(numbers), batch_size)]
    batches, begin = [], 0
    for n in range(1, len(numbers) + 1):
        full = n == len(numbers) or n - begin == batch_size or (n + 1 - begin) * int(lengths[numbers[n]]) > tokens
        if full:
            batches.append(numbers[begin:n])
            begin = n
    return batches


def pad(sequences: Sequence[NDArray[Any]], fill: float = 0) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Put sequences, each (T_n, ...), side by side.

    Args:
        sequences: at least one, all of one type and shape of step.
        fill: what stands behind the end of a shorter one.

    Returns:
        (T, B, ...), T the longest, and the lengths, (B,).
    """
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    first = sequences[0]
    padded = np.full((int(lengths.max()), len(sequences), *first.shape[1:]), fill, first.dtype)
    for b, sequence in enumerate(sequences):
        padded[: len(sequence), b] = sequence
    return padded, lengths
