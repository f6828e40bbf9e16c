"""Ragged arrays in files that are mapped into memory, for data sets larger than memory.

Two files of NumPy's format, written in one pass before the number of sequences is known: `NAME.values.npy` holds all
sequences end to end, (N, ...), and `NAME.ends.npy` the end of each, (sequences,) int64.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from elman.errors import BrokenRun, DataError, first_line
from elman.storage.files import refused, written_beside

LONGEST = 1 << 28
"""The most sequences in one file; the end of each takes 8 bytes of memory."""

_AT_ONCE = 1 << 16


class RaggedArrays:
    """Sequences of one type and one shape of step; `arrays[n]` is (T_n, ...), a view.

    Attributes:
        values: all steps, end to end, (N, ...).
        ends: where each sequence ends in them, (sequences,) int64.
    """

    def __init__(self, values: NDArray[Any], ends: NDArray[np.int64]) -> None:
        self.values, self.ends = values, ends

    @classmethod
    def of(cls, arrays: Iterable[Any]) -> Self:
        """Ragged arrays of arrays in memory, each (T_n, ...) of one type.

        Raises:
            DataError: there is none, or one is not like the first.
        """
        joined = [np.asarray(steps) for steps in arrays]
        if not joined:
            raise DataError("there are no sequences", should="at least one", found="none")
        for n, steps in enumerate(joined):
            _check_alike(f"sequence {n}", steps, joined[0])
        ends = np.cumsum([len(steps) for steps in joined], dtype=np.int64)
        return cls(np.concatenate(joined), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, n: int) -> NDArray[Any]:
        n = range(len(self.ends))[n]
        return self.values[0 if n == 0 else self.ends[n - 1] : self.ends[n]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of steps of each sequence, (sequences,)."""
        return np.diff(self.ends, prepend=0)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the lengths and all numbers, in hexadecimal."""
        hasher = hashlib.sha256(np.ascontiguousarray(self.ends, "<i8").data)
        hasher.update(f"{self.values.dtype.str}{self.values.shape[1:]}".encode())
        for begin in range(0, len(self.values), 1 << 16):
            hasher.update(np.ascontiguousarray(self.values[begin : begin + (1 << 16)]).data)
        return hasher.hexdigest()

    def within(self, low: float, high: float) -> bool:
        """Return whether all numbers, which are finite, lie from `low` to `high`; read piece by piece."""
        if self.values.dtype == np.uint8 and low <= 0 and high >= 255:
            return True
        low, high = np.float64(low), np.float64(high)  # compared as such: a float32 has no 1e300
        parts = (self.values[begin : begin + _AT_ONCE] for begin in range(0, len(self.values), _AT_ONCE))
        return all(bool(((part >= low) & (part <= high)).all()) for part in parts)

    @classmethod
    def write(cls, folder: Path, name: str, arrays: Iterable[Any]) -> Self:
        """Write sequences one by one, as `growing` does, and map them.

        Raises:
            DataError: there is none, or one is not like the first.
            RunError: the files cannot be written.
        """
        with growing(folder, name) as add:
            for steps in arrays:
                add(steps)
        return cls.open(folder, name)

    @classmethod
    def open(cls, folder: Path, name: str) -> Self:
        """Map sequences that `write` wrote.

        Raises:
            BrokenRun: a file is missing or truncated, or the two do not fit each other.
        """
        values = read_array(folder / f"{name}.values.npy")
        ends = read_array(folder / f"{name}.ends.npy")
        fits = ends.ndim == 1 and ends.dtype == np.int64 and 0 < len(ends) <= LONGEST and values.ndim >= 1
        if not (fits and ends[-1] == len(values) and _is_increasing(ends)):
            raise BrokenRun(
                f"{folder}/{name}.ends.npy does not fit the values",
                should=f"increasing ends up to {len(values) if values.ndim else 0}",
                found=f"{len(ends) if ends.ndim else 0} ends up to {ends[-1] if fits else 'nowhere'}",
            )
        return cls(values, np.asarray(ends))

    @staticmethod
    def remove(folder: Path, name: str) -> None:
        """Delete the files of sequences."""
        for part in ("values", "ends"):
            (folder / f"{name}.{part}.npy").unlink()


def _is_increasing(ends: NDArray[np.int64]) -> bool:
    """Return whether ends begin at 0 or later and never fall, without a copy of them."""
    parts = (ends[begin : begin + _AT_ONCE + 1] for begin in range(0, len(ends), _AT_ONCE))
    return bool(ends[0] >= 0) and all(bool((part[1:] >= part[:-1]).all()) for part in parts)


@contextmanager
def growing(folder: Path, name: str) -> Iterator[Callable[[Any], None]]:
    """Give a function that writes one more sequence, (T_n, ...); memory grows by the 8 bytes of its end.

    The files are there, whole, when the context is left; after an error neither is.

    Raises:
        DataError: there is no sequence, or one is not like the first.
        RunError: the files cannot be written.
    """
    ends = array("q")
    with growing_array(folder / f"{name}.values.npy", "sequence") as append:
        yield lambda sequence: ends.append(append(sequence))
    with written_beside(folder / f"{name}.ends.npy") as file:
        np.save(file, np.frombuffer(ends, np.int64), allow_pickle=False)


@contextmanager
def growing_array(path: Path, kind: str) -> Iterator[Callable[[Any], int]]:
    """Give a function that appends steps, (n, ...), to a new .npy file, and returns how many steps it has then.

    Args:
        path: the file.
        kind: what is appended each time, for the message.

    Raises:
        DataError: nothing is appended, or something that is not like the first.
        RunError: the file cannot be written.
    """
    first: NDArray[Any] | None = None
    parts = count = 0
    with written_beside(path) as file:

        def append(steps: Any) -> int:
            nonlocal first, parts, count
            steps = np.ascontiguousarray(steps)
            if first is None:
                first = steps[:0].copy()
                file.write(_npy_header(first, 0))
            _check_alike(f"{kind} {parts}", steps, first)
            file.write(steps.data)
            parts, count = parts + 1, count + len(steps)
            return count

        yield append
        if first is None:
            raise DataError(f"there are no {kind}s", should="at least one", found="none")
        file.seek(0)
        file.write(_npy_header(first, count))


def read_array(path: Path) -> NDArray[Any]:
    """Map a file of NumPy's format into memory; one that could run code is refused.

    Raises:
        BrokenRun: the file is missing, truncated, or not of this format.
    """
    # NumPy's documentation does not say what it raises for a damaged header: it may be a tokenizer's error.
    with refused(path, "an array of numbers"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return np.lib.format.open_memmap(path, mode="r")
        except (OSError, MemoryError):
            raise
        except Exception as error:
            raise ValueError(first_line(error)) from error


def _npy_header(like: NDArray[Any], count: int) -> bytes:
    """Return the header for `count` steps, of one length for every count: NumPy leaves room in it."""
    buffer = io.BytesIO()
    shape = (count, *like.shape[1:])
    fields = {"descr": np.lib.format.dtype_to_descr(like.dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()


def _check_alike(what: str, array: NDArray[Any], first: NDArray[Any]) -> None:
    if array.ndim < 1 or array.shape[1:] != first.shape[1:] or array.dtype != first.dtype or array.dtype.hasobject:
        raise DataError(
            f"{what} is not like the others",
            should=f"{first.dtype} of shape {('T', *first.shape[1:])}",
            found=f"{array.dtype} of shape {array.shape}",
        )
