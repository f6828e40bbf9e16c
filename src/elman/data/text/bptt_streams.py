"""Encoded text as batches for truncated backpropagation: B contiguous streams, split into windows of T steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.data.batching import IGNORED, ResumableBatches
from elman.data.text.token_file import TokenFile
from elman.errors import DataError, SettingError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_RELEASE_AFTER = 1 << 26
_PAGES_AROUND = 1 << 16  # bytes that the system maps around a byte that is read


@dataclass(frozen=True)
class Window:
    """T steps of B streams.

    Attributes:
        input_TB: int64, the token ids of the input.
        target_TB: int64, the token id after each; IGNORED where none is predicted.
        resets_TB: bool, true where the input begins a document; None if it never does.
        first: whether the streams begin here, without a state from before.
        count: the targets that are not IGNORED.
    """

    input_TB: Tensor
    target_TB: Tensor
    resets_TB: Tensor | None
    first: bool
    count: int

    def to(self, device: torch.device | str) -> Window:
        """Return the window on a device."""
        resets_TB = None if self.resets_TB is None else self.resets_TB.to(device)
        return Window(self.input_TB.to(device), self.target_TB.to(device), resets_TB, self.first, self.count)


class Streams(ResumableBatches[Window]):
    """A text as B contiguous streams of equal length, split into windows; the state is carried between windows.

    With `drop=True`, for training, each stream has floor((N - 1) / B) predictions, and the rest, less than B, is
    dropped. With `drop=False`, for evaluation, every token but the first is a target exactly once, for any B and T.
    Only batch_size=1 gives each its full left context, so that the result depends on neither B nor T. Otherwise each
    stream begins `warmup` tokens early, without targets, to build up a state.

    A document's first token is never a target (the document before does not determine it), and `resets_TB` is true
    where it is the input.

    Args:
        text: the encoded text, N tokens.
        batch_size: B, the number of streams.
        window: T, the truncation length.
        vary: draw the length of each window as in AWD-LSTM (Merity et al. 2018): T, in one of twenty windows T / 2,
            plus normal noise, so that the truncations differ in each epoch. At least 1, at most 2 T.
        seed: the seed of the lengths; each length depends only on seed, epoch and offset.
        drop: see above.
        warmup: see above; unused if `drop` is true.
        unscored: a token id that is never a target; None for none.

    Attributes:
        length: the steps of each stream, with those of the warm-up.

    Raises:
        SettingError: a size is not positive.
        DataError: the text is too short for one window of each stream.
    """

    def __init__(
        self, text: TokenFile, *, batch_size: int, window: int, vary: bool = False, seed: int = 0, drop: bool = True,
        warmup: int = 0, unscored: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        sizes = (("batch_size", batch_size, 1, 32), ("window", window, 1, 64), ("warmup", warmup, 0, 0))
        for name, value, least, default in sizes:
            if value < least:
                hint = f"{name}={default}"
                raise SettingError(f"invalid value for {name}", should=f"at least {least}", found=str(value), hint=hint)
        self.text, self.batch_size, self.window, self.vary, self.seed = text, batch_size, window, vary, seed
        self._unscored = unscored
        predictions = len(text) - 1
        self._stride = predictions // batch_size if drop else -(-predictions // batch_size)
        self._check_length(drop)
        self._warmup = 0 if drop else warmup
        self.length = self._warmup + self._stride
        self._touched = 0

    def _check_length(self, drop: bool) -> None:
        needed = self.batch_size * self.window + 1 if drop else max(2, self.batch_size)
        if len(self.text) >= needed:
            return
        longest = (len(self.text) - 1) // self.batch_size
        hint = f"--set window={longest}, or a smaller batch_size" if longest else "a smaller batch_size, or more text"
        raise DataError(
            "the text is shorter than one window of each stream",
            should=f"at least {needed} tokens (batch_size {self.batch_size}, window {self.window})",
            found=f"{len(self.text)} tokens",
            hint=hint if drop else "more text, or a smaller batch_size",
        )

    def __len__(self) -> int:
        """The number of windows in an epoch, approximate if their lengths vary."""
        return -(-self.length // self.window)

    def epoch_length(self, epoch: int) -> int:
        """Return the steps of each stream, the same in every epoch."""
        return self.length

    def _batch_end(self, epoch: int, start: int) -> int:
        steps = varied_length(self.window, self.seed, epoch, start) if self.vary else self.window
        return min(start + steps, self.length)

    def _batch(self, epoch: int, start: int, stop: int) -> Window:
        window = self._window(start, stop - start)
        self._touched += self.batch_size * ((stop - start) * self.text.token_ids.itemsize + _PAGES_AROUND)
        if self._touched > _RELEASE_AFTER:
            self.text.release()
            self._touched = 0
        return window

    def _window(self, start: int, steps: int) -> Window:
        """Return steps `start` to `start + steps` of each stream; tokens of the warm-up are not targets."""
        import torch  # only here: text is read without it

        token_ids, last = self.text.token_ids, len(self.text) - 1
        input_BT = np.zeros((self.batch_size, steps), np.int64)
        target_BT = np.full((self.batch_size, steps), IGNORED, np.int64)
        resets_BT = np.zeros((self.batch_size, steps), np.bool_)
        for b in range(self.batch_size):
            # Step t of stream b reads token b * stride - warmup + t.
            zero = b * self._stride - self._warmup + start
            begin, end = max(zero, 0), min(zero + steps, last)
            if begin >= end:
                continue
            piece = token_ids[begin : end + 1]
            input_BT[b, begin - zero : end - zero] = piece[:-1]
            first = max(begin, min(b * self._stride, end))  # the first target
            target_BT[b, first - zero : end - zero] = piece[first - begin + 1 :]
            self._mark_documents(b, zero, begin, end, target_BT, resets_BT)
        if self._unscored is not None:
            target_BT[target_BT == self._unscored] = IGNORED
        if start == 0:
            resets_BT[:, 0] = False  # the state is initial there anyway
        return Window(
            input_TB=torch.from_numpy(np.ascontiguousarray(input_BT.T)),
            target_TB=torch.from_numpy(np.ascontiguousarray(target_BT.T)),
            resets_TB=torch.from_numpy(np.ascontiguousarray(resets_BT.T)) if resets_BT.any() else None,
            first=start == 0,
            count=int((target_BT != IGNORED).sum()),
        )

    def _mark_documents(self, b: int, zero: int, begin: int, end: int, target_BT: Any, resets_BT: Any) -> None:
        """Reset at documents among the inputs begin..end - 1, and do not predict their first tokens."""
        starts = self.text.document_starts
        inside = starts[np.searchsorted(starts, begin) : np.searchsorted(starts, end, side="right")]
        resets_BT[b, inside[inside < end] - zero] = True
        target_BT[b, inside[inside > begin] - 1 - zero] = IGNORED


def varied_length(window: int, seed: int, epoch: int, offset: int) -> int:
    """Return the length of the window that begins at `offset`, a pure function of its arguments.

    The random numbers come from Philox (Salmon et al. 2011), a counter-based generator: there is no state to save.
    """
    key = np.array([seed % (1 << 64), epoch], np.uint64)  # a list of large numbers would become float64
    words = np.random.Philox(key=key, counter=np.array([0, 0, 0, offset], np.uint64)).random_raw(3)
    uniform = [(int(word) + 0.5) / 2.0**64 for word in words]
    middle = window if uniform[0] < 0.95 else window / 2
    noise = math.sqrt(-2 * math.log(uniform[1])) * math.cos(2 * math.pi * uniform[2])
    spread = min(5.0, window / 14)  # AWD-LSTM has 5 at T = 70
    return min(max(1, round(middle + spread * noise)), 2 * window)
