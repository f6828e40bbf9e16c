"""Lines of text files: streamed, or stored on disk for random access."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from elman.data.compressed import opened
from elman.data.text.documents import Document, byte_order_mark, read_text
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
    with opened(path, "a text file, plain or .gz") as file:
        yield from decoded_lines(file, str(path))


def decoded_lines(file: BinaryIO, name: str) -> Iterator[str]:
    """Yield the lines of an open file as `file_lines` does, with `name` for messages."""
    return (decoded_line(line, number, name) for number, line in enumerate(raw_lines(file, name), 1))


def raw_lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield the lines of an open file as they come, as bytes with their ends; `decoded_line` makes text of each.

    Raises:
        DataError: a line is too long.
    """
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
        yield line


def decoded_line(line: bytes, number: int, name: str) -> str:
    """Return a line of UTF-8 as text, without whitespace at its ends.

    Args:
        line: its bytes.
        number: of the line, from 1; the first may begin with a byte order mark.
        name: what the message calls the file.

    Raises:
        DataError: it is not valid UTF-8.
    """
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError as error:
        mark = byte_order_mark(line) if number == 1 else None
        found = f"the byte {line[error.start]:#04x} at offset {error.start}"
        place = f" {name}" if is_file(name) else ", before it is piped in"
        raise DataError(
            f"{name}, line {number} is not valid UTF-8",
            should="text in UTF-8",
            found=f"the byte order mark of {mark.upper()}" if mark else found,
            hint=f"iconv -f {mark or 'latin1'} -t utf-8{place}",
        ) from error
