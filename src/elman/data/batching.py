"""Batches that training can resume: positions, length buckets, padding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError, RunError, SettingError

Batch = TypeVar("Batch")
Item = TypeVar("Item")

IGNORED = -100
"""A target that no loss counts; what torch's cross-entropy ignores by default."""

POOL = 50
"""Batches whose examples are sorted by length together."""


class ResumableBatches(ABC, Generic[Batch]):
    """Batches of epoch after epoch, with a position from which a new process continues.

    Iterating yields the batches that are left of the current epoch; iterating again yields the next epoch. The
    position moves before a batch is yielded. This is the contract `elman.training.task.Batches`.

    Attributes:
        unit: what an epoch consists of, and the key of its part of the position.
    """

    unit: ClassVar[str] = "offset"

    def __init__(self) -> None:
        self._epoch, self._offset = 0, 0

    @abstractmethod
    def epoch_length(self, epoch: int) -> int:
        """Return how many units an epoch has."""

    @abstractmethod
    def _batch_end(self, epoch: int, start: int) -> int:
        """Return the unit behind the batch that begins at `start`."""

    @abstractmethod
    def _batch(self, epoch: int, start: int, stop: int) -> Batch:
        """Return the batch of these units."""

    @property
    def position(self) -> dict[str, int]:
        """The position of the next batch as JSON: the epoch, and the units of it that are done."""
        return {"epoch": self._epoch, self.unit: self._offset}

    def seek(self, position: dict[str, Any]) -> None:
        """Continue from a `position` of the same data and settings.

        Raises:
            RunError: there is no such position.
        """
        epoch: Any = position.get("epoch")
        offset: Any = position.get(self.unit)
        integers = type(epoch) is int and type(offset) is int and 0 <= epoch < 1 << 63
        if not integers or not 0 <= offset < self.epoch_length(epoch):
            raise RunError(
                "invalid position in the data",
                should=f"an epoch from 0 on, and an integer from 0 to {self.epoch_length(0) - 1} for {self.unit}",
                found=repr(position)[:80],
                hint="resume with the same data and settings as before",
            )
        self._epoch, self._offset = epoch, offset

    @property
    def progress(self) -> float:
        """Epochs done, with the fraction of the current one."""
        return self._epoch + self._offset / self.epoch_length(self._epoch)

    def __iter__(self) -> Iterator[Batch]:
        epoch = self._epoch
        while self._epoch == epoch:
            yield self.next_batch()

    def next_batch(self) -> Batch:
        """Return the batch at `position` and move on, into the next epoch where this one ends."""
        epoch, start = self._epoch, self._offset
        stop = self._batch_end(epoch, start)
        self._epoch, self._offset = (epoch + 1, 0) if stop == self.epoch_length(epoch) else (epoch, stop)
        return self._batch(epoch, start, stop)


class BucketBatches(ResumableBatches[Batch]):
    """Batches of examples of similar length, for training.

    The order of an epoch depends on the seed and the epoch alone: the examples are permuted, then sorted by length
    within pools of `POOL` batches, split into batches, and the batches permuted. So padding is rare and the order still
    random.

    Args:
        lengths: (N,), the length of each example; all equal where there is nothing to sort.
        collate: makes a batch of the numbers of its examples.
        batch_size: examples in a batch; the last one of an epoch may have fewer.
        seed: the seed of the order.
        tokens: the most steps of a batch, padding included; 0 for no limit. A longer example has a batch to itself.

    Raises:
        SettingError: a size is not positive, or there is no example.
    """

    unit = "batch"

    def __init__(
        self,
        lengths: Sequence[int] | NDArray[Any],
        collate: Callable[[NDArray[np.int64]], Batch],
        *,
        batch_size: int,
        seed: int = 0,
        tokens: int = 0,
    ) -> None:
        super().__init__()
        self.lengths = np.asarray(lengths, np.int64)
        if batch_size < 1 or tokens < 0 or not len(self.lengths):
            raise SettingError(
                "there is nothing to make batches of",
                should="at least one example, a batch_size of at least 1, and a number of tokens that is not negative",
                found=f"{len(self.lengths)} examples, batch_size {batch_size}, tokens {tokens}",
            )
        self.collate, self.batch_size, self.seed, self.tokens = collate, batch_size, seed, tokens
        self._order: list[NDArray[np.int64]] = []
        self._ordered = -1

    def __len__(self) -> int:
        """Batches of the current epoch."""
        return len(self.order(self._epoch))

    def epoch_length(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        return len(self.order(epoch))

    def _batch_end(self, epoch: int, start: int) -> int:
        return start + 1

    def _batch(self, epoch: int, start: int, stop: int) -> Batch:
        return self.collate(self.order(epoch)[start])

    def order(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the batches of an epoch, each the numbers of its examples."""
        if self._ordered != epoch:
            key = np.array([self.seed % (1 << 64), epoch], np.uint64)
            rng = np.random.Generator(np.random.Philox(key=key))
            shuffled = rng.permutation(len(self.lengths))
            pool = POOL * self.batch_size
            batches: list[NDArray[np.int64]] = []
            for begin in range(0, len(shuffled), pool):
                rows = shuffled[begin : begin + pool]
                rows = rows[np.argsort(self.lengths[rows], kind="stable")]
                batches += _split(rows, self.lengths, self.batch_size, self.tokens)
            self._order = [batches[n] for n in rng.permutation(len(batches))]
            self._ordered = epoch
        return self._order


def in_order(lengths: Sequence[int] | NDArray[Any], *, batch_size: int, tokens: int = 0) -> Iterator[NDArray[np.int64]]:
    """Yield the numbers of all examples once, the shortest first, in the batches of `BucketBatches`; for evaluation."""
    lengths = np.asarray(lengths, np.int64)
    yield from _split(np.argsort(lengths, kind="stable"), lengths, batch_size, tokens)


def _split(
    numbers: NDArray[np.int64], lengths: NDArray[np.int64], batch_size: int, tokens: int
) -> list[NDArray[np.int64]]:
    """Split examples in increasing order of length into batches of a greatest number of examples and padded tokens."""
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
    """Padded sequences side by side.

    Args:
        sequences: at least one, each (T_n, ...), all of one type and shape of step.
        fill: the value behind the end of a shorter one.

    Returns:
        (T, B, ...), T the longest, and the lengths, (B,).
    """
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    first = sequences[0]
    padded = np.full((int(lengths.max()), len(sequences), *first.shape[1:]), fill, first.dtype)
    for b, sequence in enumerate(sequences):
        padded[: len(sequence), b] = sequence
    return padded, lengths


def count_held_out(total: int, share: float, what: str, *, least: int = 1, hint: str) -> int:
    """Return how many of `total` examples a share for validation is, at least `least`.

    Raises:
        DataError: none would be left for training; the message calls them `what`.
    """
    count = max(least, round(total * share))
    if not 0 < share < 1 or count >= total:
        raise DataError(
            f"there are too few {what} for a validation part",
            should=f"at least {least + 1}, and a share between 0 and 1",
            found=f"{total}, validation={share}",
            hint=f"--set validation_data={hint}",
        )
    return count


def chunked(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items in order; the last one may be shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
