"""Batches of sessions for training: whole sessions side by side, or laid end to end in streams that are cut.

Whole sessions give backpropagation through all of a session's history. Streams are the session-parallel batches of
Hidasi et al. 2016 (https://arxiv.org/abs/1511.06939): each of B streams takes the next session where one ends, and the
state is reset there; the gradient is cut every T steps. A session of n events has n - 1 steps: each event but the last
is read, and the one after it predicted.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.batching import IGNORED, BucketBatches, ResumableBatches, pad
from elman.storage.ragged import RaggedArrays


@dataclass(frozen=True)
class SessionBatch:
    """T steps of B sessions or streams.

    Attributes:
        input_TB: int64, the items that are read.
        target_TB: int64, the item after each; IGNORED where there is none.
        lengths_B: int64, of whole sessions, on the CPU; None for streams.
        resets_TB: bool, true where a session begins in a stream; None for whole sessions.
        first: whether no state is carried into it.
        count: of the targets that are not IGNORED.
    """

    input_TB: Tensor
    target_TB: Tensor
    lengths_B: Tensor | None
    resets_TB: Tensor | None
    first: bool
    count: int

    def to(self, device: torch.device) -> SessionBatch:
        """Return the batch on a device; the lengths stay on the CPU."""
        resets_TB = None if self.resets_TB is None else self.resets_TB.to(device)
        input_TB, target_TB = self.input_TB.to(device), self.target_TB.to(device)
        return replace(self, input_TB=input_TB, target_TB=target_TB, resets_TB=resets_TB)


class WholeSessions(BucketBatches[SessionBatch]):
    """Whole sessions side by side, those of similar length together.

    Args:
        sessions: structured steps with the fields `item` and `tied`, each of two events or more.
        batch_size: sessions in a batch, at most.
        events: steps in a batch at most, padding included; 0: no limit.
        shuffle_ties: draw the order of events of one moment again in every epoch.
        seed: of the order.
    """

    def __init__(
        self, sessions: RaggedArrays, *, batch_size: int, events: int = 0, shuffle_ties: bool = False, seed: int = 0
    ) -> None:
        super().__init__(sessions.lengths - 1, self._collate, batch_size=batch_size, seed=seed, tokens=events)
        self.sessions, self.shuffle_ties = sessions, shuffle_ties
        self._drawn = 0

    def __iter__(self) -> Iterator[SessionBatch]:
        self._drawn = self.position["epoch"]
        yield from super().__iter__()

    def _collate(self, chosen: NDArray[np.int64]) -> SessionBatch:
        drawn = [
            session_items(self.sessions, int(n), self.seed, self._drawn, self.shuffle_ties).astype(np.int64)
            for n in chosen
        ]
        input_TB, lengths_B = pad([items[:-1] for items in drawn])
        target_TB, _ = pad([items[1:] for items in drawn], IGNORED)
        return SessionBatch(
            torch.from_numpy(input_TB),
            torch.from_numpy(target_TB),
            torch.from_numpy(lengths_B),
            None,
            True,
            int(lengths_B.sum()),
        )


class SessionStreams(ResumableBatches[SessionBatch]):
    """Sessions laid end to end in B streams, cut into windows of T steps.

    In every epoch the sessions come in a new order, and each goes to the stream that ends first, so that none is cut
    in two and the streams end at about the same step. A stream that has ended has no targets any more.

    Args:
        sessions: structured steps with the fields `item` and `tied`, each of two events or more.
        batch_size: B.
        window: T.
        shuffle_ties: as in `WholeSessions`.
        seed: of the order.
    """

    def __init__(
        self, sessions: RaggedArrays, *, batch_size: int, window: int, shuffle_ties: bool = False, seed: int = 0
    ) -> None:
        super().__init__()
        self.sessions, self.seed, self.shuffle_ties = sessions, seed, shuffle_ties
        self.batch_size, self.window = min(batch_size, len(sessions)), window
        self._laid = -1
        self._streams: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def epoch_length(self, epoch: int) -> int:
        """Return the steps of the longest stream in an epoch."""
        return max(int(ends[-1]) for _, ends in self.streams(epoch))

    def streams(self, epoch: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Return for each stream the numbers of its sessions, and the steps at which each ends."""
        if self._laid != epoch:
            key = np.array([self.seed % (1 << 64), epoch], np.uint64)
            order = np.random.Generator(np.random.Philox(key=key)).permutation(len(self.sessions))
            steps = (self.sessions.lengths - 1).tolist()
            laid: list[list[int]] = [[] for _ in range(self.batch_size)]
            ends = [(0, b) for b in range(self.batch_size)]
            for n in order.tolist():
                end, b = ends[0]
                laid[b].append(n)
                heapq.heapreplace(ends, (end + steps[n], b))
            self._streams = [(np.array(each), np.cumsum([steps[n] for n in each])) for each in laid]
            self._laid = epoch
        return self._streams

    def _batch_end(self, epoch: int, start: int) -> int:
        return min(start + self.window, self.epoch_length(epoch))

    def _batch(self, epoch: int, start: int, stop: int) -> SessionBatch:
        shape = (stop - start, self.batch_size)
        input_TB, target_TB = np.zeros(shape, np.int64), np.full(shape, IGNORED, np.int64)
        resets_TB = np.zeros(shape, np.bool_)
        for b, (numbers, ends) in enumerate(self.streams(epoch)):
            k = int(np.searchsorted(ends, start, side="right"))
            while k < len(numbers) and (begin := 0 if k == 0 else int(ends[k - 1])) < stop:
                items = session_items(self.sessions, int(numbers[k]), self.seed, epoch, self.shuffle_ties)
                first, last = max(begin, start), min(int(ends[k]), stop)
                input_TB[first - start : last - start, b] = items[first - begin : last - begin]
                target_TB[first - start : last - start, b] = items[first - begin + 1 : last - begin + 1]
                resets_TB[first - start, b] = first == begin
                k += 1
        return SessionBatch(
            torch.from_numpy(input_TB),
            torch.from_numpy(target_TB),
            None,
            torch.from_numpy(resets_TB),
            start == 0,
            int((target_TB != IGNORED).sum()),
        )


def session_items(sessions: RaggedArrays, n: int, seed: int, epoch: int, shuffle_ties: bool) -> NDArray[np.int32]:
    """Return the items of a session; with `shuffle_ties` those of one moment in an order drawn for this epoch.

    The draw depends on the seed, the epoch and the session alone, so that a session that is cut by a window, or by the
    end of the process, goes on in the same order.
    """
    steps = sessions[n]
    items: NDArray[np.int32] = steps["item"]
    if not shuffle_ties or not steps["tied"].any():
        return items
    key = np.array([(seed ^ 0x7469_6573) % (1 << 64), epoch], np.uint64)
    counter = np.array([0, 0, 0, n], np.uint64)
    draws = np.random.Generator(np.random.Philox(key=key, counter=counter)).random(len(items))
    return items[np.argsort(np.cumsum(~steps["tied"]) + draws)]


def seen_before(batch: SessionBatch) -> tuple[Tensor, Tensor]:
    """Return which items each target of a batch comes after, but for itself: (M,) rows and (M,) items.

    A row is the number of a target among those that are predicted, in the order of `target_TB`. In streams only what
    the window holds of a session is known.
    """
    batch = batch.to(torch.device("cpu"))
    input_TB, target_TB = batch.input_TB.numpy(), batch.target_TB.numpy()
    counted_TB = target_TB != IGNORED
    row_TB = np.cumsum(counted_TB).reshape(counted_TB.shape) - 1
    rows, items = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for b in range(input_TB.shape[1]):
        length = int(counted_TB[:, b].sum())
        begins = [0] if batch.resets_TB is None else np.flatnonzero(batch.resets_TB[:length, b].numpy()).tolist()
        for begin, end in pairwise(sorted({0, *begins, length})):
            steps, before = (each + begin for each in np.tril_indices(end - begin))
            seen = input_TB[before, b]
            other = seen != target_TB[steps, b]
            rows.append(row_TB[steps, b][other])
            items.append(seen[other])
    return torch.from_numpy(np.concatenate(rows)), torch.from_numpy(np.concatenate(items))
