"""The lines of files, one by one, and kept on disk so that any of them can be had again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from elman.data.text.documents import Document, read_text
from elman.errors import DataError
from elman.storage.ragged import Sequences


def lines_of(document: Document) -> Iterator[str]:
    """Yield the lines of a document with their ends, in constant memory.

    Raises:
        DataError: the file cannot be read, is binary, or is not of its encoding.
    """
    rest: list[str] = []
    for piece in _pieces(document):
        lines = piece.split("\n")
        for line in lines[:-1]:
            yield "".join([*rest, line, "\n"])
            rest = []
        rest.append(lines[-1])
    if any(rest):
        yield "".join(rest)


def _pieces(document: Document) -> Iterator[str]:
    """Yield the text; what is tried for one that cannot be read as text leaves out to read it as bytes."""
    try:
        yield from document.pieces()
    except DataError as error:
        hint = (error.hint or "").partition("--set vocabulary=")[0].removesuffix(", or ")
        raise DataError(
            error.what, should=error.should, found=error.found, hint=hint or "another file, one of text"
        ) from error


class KeptLines:
    """The lines of a text file, without their ends, in a folder; `lines[n]` is line n from 0.

    Args:
        path: the file.
        folder: where they are kept; memory does not grow with them.
        encoding: of the file.

    Raises:
        DataError: the file cannot be read.
    """

    def __init__(self, path: Path, folder: Path, *, encoding: str = "utf-8") -> None:
        (document,) = read_text(path, encoding=encoding)
        rows = (np.frombuffer(line.rstrip("\r\n").encode(), np.uint8) for line in lines_of(document))
        self.rows = Sequences.write(folder, "lines", rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, n: int) -> str:
        return self.rows[n].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        return (self[n] for n in range(len(self)))
