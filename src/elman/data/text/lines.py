"""Lines of text files: streamed, or stored on disk for random access."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from elman.data.text.documents import Document, read_text
from elman.errors import DataError
from elman.storage.files import is_file
from elman.storage.ragged import RaggedArrays


def document_lines(document: Document) -> Iterator[str]:
    """Yield the lines of a document with their line ends, in constant memory.

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
    """Yield the text; the hint of an error does not propose to read it as bytes."""
    try:
        yield from document.pieces()
    except DataError as error:
        hint = (error.hint or "").partition("--set vocabulary=")[0].removesuffix(", or ")
        raise error.amended(hint=hint or "another file, one of text") from error


class LineStore:
    """Lines of a text file, without line ends, stored in a folder; `lines[n]` is line n from 0.

    Args:
        path: the file.
        folder: where the lines are stored; memory does not grow with them.
        encoding: the encoding of the file.

    Raises:
        DataError: the file cannot be read.
    """

    def __init__(self, path: Path, folder: Path, *, encoding: str = "utf-8") -> None:
        (document,) = read_text(path, encoding=encoding)
        rows = (np.frombuffer(line.rstrip("\r\n").encode(), np.uint8) for line in document_lines(document))
        self.rows = RaggedArrays.write(folder, "lines", rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, n: int) -> str:
        return self.rows[n].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        return (self[n] for n in range(len(self)))


LONGEST_LINE = 1 << 20
"""The most bytes of a line."""


def file_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, plain or .gz, without whitespace at their ends.

    Raises:
        DataError: the file is missing, broken, not valid UTF-8, or a line is too long.
    """
    try:
        with io.BufferedReader(gzip.open(path)) if path.suffix == ".gz" else path.open("rb") as file:
            yield from decoded_lines(file, str(path))
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path} cannot be read", should="a text file, plain or .gz", found=reason) from error


def decoded_lines(file: BinaryIO, name: str) -> Iterator[str]:
    """Yield the lines of an open file as `file_lines` does, with `name` for messages."""
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise DataError(
                f"{name}, line {number} is too long",
                should=f"at most {LONGEST_LINE} bytes",
                found="more",
                hint="split it into sentences, a line each",
            )
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name}, line {number} is not valid UTF-8",
                should="text in UTF-8",
                found=f"the byte {line[error.start]:#04x} at offset {error.start}",
                hint=f"iconv -f latin1 -t utf-8{f' {name}' if is_file(Path(name)) else ', before it is piped in'}",
            ) from error
