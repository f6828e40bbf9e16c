"""Bytes of files of data, plain or compressed by gzip, in pieces; and one error for every broken file."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from elman.errors import DataError, ElmanError, first_line

PIECE = 1 << 18
"""Bytes read at a time."""

MOST_EXPANSION = 200
"""The most bytes that a byte of a compressed file may become: tables and pictures have 3 to 30, zeros have 1000."""

FREE_EXPANSION = 1 << 26
"""Bytes that any compressed file may become."""


@contextmanager
def read_errors(path: Path | str, should: str, *, hint: str | None = None) -> Iterator[None]:
    """Name a file in the error of the library that reads it.

    Libraries fail on untrusted files in more ways than they document, so that every exception counts as a broken file,
    a lack of memory included: sizes come from the file. Nothing but calls of the library belongs inside.

    Args:
        path: what the message calls the file.
        should: what the file should be.
        hint: what to try.

    Raises:
        DataError: the library raised anything but an `ElmanError`.
    """
    try:
        yield
    except ElmanError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise DataError(f"{path} cannot be read", should=should, found=reason, hint=hint) from error


def check_expansion(path: Path, expanded: int, compressed: int) -> None:
    """Check how many bytes a compressed file becomes.

    Raises:
        DataError: they are more than `FREE_EXPANSION`, and `MOST_EXPANSION` times the compressed ones.
    """
    if expanded > max(FREE_EXPANSION, MOST_EXPANSION * compressed):
        raise DataError(
            f"{path} expands too far",
            should=f"at most {MOST_EXPANSION} bytes from each byte of a compressed file",
            found=f"{expanded:,} bytes from {compressed:,}",
            hint="decompress it first with gunzip, if it is what it should be",
        )


@contextmanager
def opened(path: Path, should: str, *, hint: str | None = None, compressed: bool | None = None) -> Iterator[BinaryIO]:
    """Open a file, decompressed where it is compressed by gzip; a pipe too.

    Args:
        path: the file.
        should: what it should be, for messages.
        hint: what to try where it cannot be read.
        compressed: whether it is compressed; None: by its name, which then ends in .gz.

    Raises:
        DataError: it cannot be read; also, while it is read, as `check_expansion`.
    """
    with read_errors(path, should, hint=hint), path.open("rb") as file:
        if path.suffix == ".gz" if compressed is None else compressed:
            counted = _Counted(file)
            with gzip.open(io.BufferedReader(counted, PIECE)) as expanded:
                yield io.BufferedReader(_Expanding(path, counted, expanded), PIECE)
        else:
            yield file


class _Counted(io.RawIOBase):
    """A file that counts the bytes that are read; a pipe has no size."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.count = file, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.file.read(len(buffer))
        buffer[: len(piece)] = piece
        self.count += len(piece)
        return len(piece)


class _Expanding(io.RawIOBase):
    """Decompressed bytes that may not be many more than the compressed ones."""

    def __init__(self, path: Path, compressed: _Counted, expanded: Any) -> None:
        self.path, self.compressed, self.expanded, self.count = path, compressed, expanded, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.expanded.read(len(buffer))
        buffer[: len(piece)] = piece
        self.count += len(piece)
        check_expansion(self.path, self.count, self.compressed.count)
        return len(piece)
