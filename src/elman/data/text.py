"""Text documents from files and folders, read in pieces so that their size does not matter."""

from __future__ import annotations

import codecs
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elman.errors import DataError, SettingError

TEXT_SUFFIXES = (".txt", ".text", ".md", ".rst", ".tex", ".tokens")
"""The files that are taken from a folder."""

PIECE = 1 << 20
"""Bytes read at a time."""

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_TRY_BYTES = "--set vocabulary=bytes, which reads any file"


@dataclass(frozen=True)
class Document:
    """One text: a file, or text at hand. A model's state begins anew with each document."""

    name: str  # what messages call it
    source: Path | str  # the file, or the text itself
    encoding: str = "utf-8"  # of the file; any codec of Python

    def chunks(self) -> Iterator[bytes]:
        """Yield the raw bytes, about a megabyte at a time.

        Raises:
            DataError: the file cannot be read.
        """
        if isinstance(self.source, str):
            for start in range(0, len(self.source), PIECE):
                yield self.source[start : start + PIECE].encode("utf-8")
            return
        try:
            with self.source.open("rb") as file:
                while chunk := file.read(PIECE):
                    yield chunk
        except OSError as error:
            raise DataError(f"cannot read {self.name}: {error.strerror or error}") from error

    def pieces(self) -> Iterator[str]:
        """Yield the text, about a megabyte at a time, never cutting a character; a byte order mark is left out.

        Raises:
            DataError: the file cannot be read, is binary, or is not of its encoding.
        """
        return self.decoded(self.chunks())

    def decoded(self, chunks: Iterable[bytes]) -> Iterator[str]:
        """Decode `chunks`, the raw bytes of this document, into text; `pieces` is this over `chunks()`."""
        if isinstance(self.source, str):
            for chunk in chunks:
                yield chunk.decode("utf-8")
            return
        decoder = codecs.getincrementaldecoder(self.encoding)()
        is_utf8 = codecs.lookup(self.encoding).name == "utf-8"
        done = 0  # bytes before this chunk
        for chunk in chunks:
            if is_utf8:
                self._refuse_binary(chunk, done)
            skipped = 3 if is_utf8 and done == 0 and chunk.startswith(codecs.BOM_UTF8) else 0
            yield self._decode(decoder, chunk[skipped:], done + skipped)
            done += len(chunk)
        self._decode(decoder, b"", done, final=True)

    def _decode(self, decoder: codecs.IncrementalDecoder, chunk: bytes, done: int, final: bool = False) -> str:
        try:
            return decoder.decode(chunk, final)
        except UnicodeError as error:
            found = str(error)
            if isinstance(error, UnicodeDecodeError):
                # The decoder keeps an incomplete character of the chunk before, and counts from there.
                offset = done - (len(error.object) - len(chunk)) + error.start
                found = f"byte 0x{error.object[error.start]:02x} at byte offset {offset}"
            raise DataError(
                f"{self.name} is not {self.encoding.upper()} text",
                should=f"a file in {self.encoding.upper()}",
                found=found,
                hint=_TRY_BYTES,
            ) from error

    def _refuse_binary(self, chunk: bytes, done: int) -> None:
        mark = next((mark for mark in _MARKS if done == 0 and chunk.startswith(mark)), None)
        if mark is not None:
            raise DataError(
                f"{self.name} is not UTF-8 text",
                should="a file in UTF-8",
                found=f"the mark of {_MARKS[mark].upper()} at byte offset 0",
                hint=f"--set encoding={_MARKS[mark]}",
            )
        zero = chunk.find(b"\0")
        if zero >= 0:
            raise DataError(
                f"{self.name} is a binary file",
                should="text",
                found=f"a zero byte at byte offset {done + zero}",
                hint=_TRY_BYTES,
            )

    def stamp(self) -> dict[str, Any]:
        """Return what tells cheaply whether the document has changed.

        That is the name, size in bytes, time of the last change and encoding of a file; the SHA-256 of text at hand.

        Raises:
            DataError: the file cannot be looked at.
        """
        if isinstance(self.source, str):
            raw = self.source.encode("utf-8")
            return {"name": self.name, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        try:
            status = self.source.stat()
        except OSError as error:
            raise DataError(f"cannot read {self.name}: {error.strerror or error}") from error
        name, bytes_, modified = str(self.source.resolve()), status.st_size, status.st_mtime_ns
        return {"name": name, "bytes": bytes_, "modified": modified, "encoding": self.encoding}


def read_text(
    paths: str | Path | Iterable[str | Path], *, encoding: str = "utf-8", suffixes: tuple[str, ...] = TEXT_SUFFIXES
) -> list[Document]:
    """Find the documents in a file, several files, or folders; each file is one document.

    A folder gives its files with one of `suffixes`, also from folders in it, sorted by path; hidden and empty ones
    are left out. Nothing is read yet but the sizes.

    Raises:
        DataError: a file is missing, empty or no file, or a folder holds no text.
        SettingError: the encoding is unknown.
    """
    _check_encoding(encoding)
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise DataError("no text was given", should="a file, several files, or a folder", found="nothing")
    files: list[Path] = []
    for path in map(Path, given):
        files += _folder(path, suffixes) if path.is_dir() else [_file(path)]
    return [Document(str(file), file, encoding) for file in files]


def _check_encoding(encoding: str) -> None:
    try:
        "".encode(encoding)  # refuses codecs that are no text encodings, too
        codecs.getincrementaldecoder(encoding)
    except (LookupError, ValueError) as error:
        raise SettingError(
            "the encoding is unknown",
            should="a text encoding that Python knows",
            found=repr(encoding),
            hint="--set encoding=utf-8",
        ) from error


def _file(path: Path) -> Path:
    if not path.exists():
        raise DataError(f"{path} does not exist", should="a text file or a folder of text files", found="nothing there")
    if not path.is_file():
        raise DataError(
            f"{path} is not a file", should="a text file or a folder of text files", found="a device or pipe"
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty", should="a text", found="0 bytes")
    return path


def _folder(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = [Path(parent, name) for name in names if not name.startswith(".")]
        found += [file for file in files if file.suffix.lower() in suffixes and file.is_file() and file.stat().st_size]
    if not found:
        raise DataError(
            f"the folder {folder} holds no text",
            should=f"at least one file that is not empty with the ending {', '.join(suffixes)}",
            found="none, in it or in the folders below",
            hint="name the files one by one to read others",
        )
    return sorted(found)
