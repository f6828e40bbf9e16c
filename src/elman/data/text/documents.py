"""Text documents from files and folders, read in pieces, in constant memory."""

from __future__ import annotations

import codecs
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elman.data.folders import is_hidden
from elman.errors import DataError, SettingError, valid_unicode

TEXT_SUFFIXES = (".txt", ".text", ".md", ".rst", ".tex", ".tokens")
"""The suffixes of the files that are read from a folder."""

PIECE = 1 << 20
"""Bytes read at a time."""

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark is a prefix of it
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_TEXT = "a text file or a folder of text files"
_TRY_BYTES = "--set vocabulary=bytes, which reads any file"


@dataclass(frozen=True)
class Document:
    """A text, from a file or in memory. The state of a model is reset at each document.

    Attributes:
        name: the name in messages.
        source: the file, or the text itself.
        encoding: the encoding of the file; any codec of Python.
    """

    name: str
    source: Path | str
    encoding: str = "utf-8"

    def chunks(self) -> Iterator[bytes]:
        """Yield the raw bytes, about a megabyte at a time.

        Raises:
            DataError: the file cannot be read.
        """
        if isinstance(self.source, str):
            for start in range(0, len(self.source), PIECE):
                yield self._checked(self.source[start : start + PIECE], start).encode("utf-8")
            return
        try:
            with self.source.open("rb") as file:
                while chunk := file.read(PIECE):
                    yield chunk
        except OSError as error:
            raise _unreadable(self.name, error) from error

    def pieces(self) -> Iterator[str]:
        """Yield the text in whole characters, about a megabyte at a time, without a byte order mark.

        Raises:
            DataError: the file cannot be read, is binary, or has another encoding.
        """
        return self.decoded(self.chunks())

    def decoded(self, chunks: Iterable[bytes]) -> Iterator[str]:
        """Decode `chunks`, the raw bytes of this document, as `pieces` does."""
        if isinstance(self.source, str):
            for chunk in chunks:
                yield chunk.decode("utf-8")
            return
        decoder = codecs.getincrementaldecoder(self.encoding)()
        is_utf8 = codecs.lookup(self.encoding).name == "utf-8"
        done = characters = 0  # bytes and characters before this chunk
        for chunk in chunks:
            if is_utf8:
                self._refuse_binary(chunk, done)
            skipped = 3 if is_utf8 and done == 0 and chunk.startswith(codecs.BOM_UTF8) else 0
            piece = self._decode(decoder, chunk[skipped:], done + skipped)
            if not is_utf8 and characters == 0:
                piece = piece.removeprefix("\ufeff")  # which utf-16-le, utf-16-be and others leave
            yield piece if is_utf8 else self._checked(piece, characters)  # UTF-8 has no surrogates
            done, characters = done + len(chunk), characters + len(piece)
        piece = self._decode(decoder, b"", done, final=True)
        if piece:
            yield self._checked(piece, characters)

    def _decode(self, decoder: codecs.IncrementalDecoder, chunk: bytes, done: int, final: bool = False) -> str:
        try:
            return decoder.decode(chunk, final)
        except UnicodeError as error:
            reason = str(error)
            encoding = "latin-1" if codecs.lookup(self.encoding).name == "utf-8" else "utf-8"
            if isinstance(error, UnicodeDecodeError):
                # The decoder counts from the beginning of an incomplete character of the chunk before.
                offset = done - (len(error.object) - len(chunk)) + error.start
                reason = f"byte 0x{error.object[error.start]:02x} at byte offset {offset}"
            raise DataError(
                f"{self.name} is not valid {self.encoding.upper()}",
                should=f"a file in {self.encoding.upper()}",
                found=reason,
                hint=f"--set encoding={encoding}, or {_TRY_BYTES}",
            ) from error

    def _checked(self, piece: str, done: int) -> str:
        """Return `piece`, checked for lone surrogates, which some encodings allow."""
        try:
            piece.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(
                f"{self.name} has a lone surrogate",
                should="characters of Unicode",
                found=f"U+{ord(piece[error.start]):04X} at character {done + error.start + 1}",
                hint="another encoding of the file, for example --set encoding=utf-8",
            ) from error
        return piece

    def _refuse_binary(self, chunk: bytes, done: int) -> None:
        mark = None if done else byte_order_mark(chunk)
        if mark is not None:
            raise DataError(
                f"{self.name} is not valid UTF-8",
                should="a file in UTF-8",
                found=f"the byte order mark of {mark.upper()}",
                hint=f"--set encoding={mark}",
            )
        zero = chunk.find(b"\0")
        if zero >= 0:
            found = f"a zero byte at byte offset {done + zero}"
            raise DataError(f"{self.name} is a binary file", should="text", found=found, hint=_TRY_BYTES)

    def stamp(self) -> dict[str, Any]:
        """Return a cheap stamp that changes with the document.

        It is the name, size in bytes, modification time and encoding of a file, or the SHA-256 of text in memory.

        Raises:
            DataError: the file cannot be accessed.
        """
        if isinstance(self.source, str):
            raw = self._checked(self.source, 0).encode("utf-8")
            return {"name": self.name, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        try:
            status = self.source.stat()
        except OSError as error:
            raise _unreadable(self.name, error) from error
        name, bytes_, modified = valid_unicode(os.path.realpath(self.source)), status.st_size, status.st_mtime_ns
        return {"name": name, "bytes": bytes_, "modified": modified, "encoding": self.encoding}


def read_text(
    paths: str | Path | Iterable[str | Path], *, encoding: str = "utf-8", suffixes: tuple[str, ...] = TEXT_SUFFIXES
) -> list[Document]:
    """Return the documents of files and folders; each file is one document, and is not read yet.

    Args:
        paths: a file or folder, or several. A folder stands for its files, sorted by path, with those of its folders;
            hidden and empty files are skipped. Links are followed, and a file that is found twice is one document.
        encoding: the encoding of the files.
        suffixes: the suffixes of the files that are read from a folder.

    Raises:
        DataError: a file is missing, empty, not readable or not a regular file, or a folder has no text.
        SettingError: the encoding is unknown.
    """
    _check_encoding(encoding)
    sources = [paths] if isinstance(paths, str | Path) else list(paths)
    if not sources:
        raise DataError("no text was given", should=_TEXT, found="nothing", hint="name a text file or a folder")
    if "" in sources:  # which Path takes for the current folder
        hint = "the name of a file, or . for the current folder"
        raise DataError("the path of a text is empty", should=_TEXT, found="''", hint=hint)
    files: dict[Path, Path] = {}  # by their resolved paths
    for path in map(Path, sources):
        try:
            for file in _folder(path, suffixes) if stat.S_ISDIR(_status(path).st_mode) else [_file(path)]:
                files.setdefault(file.resolve(), file)
        except OSError as error:
            raise _unreadable(str(error.filename or path), error) from error
    return [Document(str(file), file, encoding) for file in files.values()]


def byte_order_mark(chunk: bytes) -> str | None:
    """Return the encoding of UTF-16 or UTF-32 whose byte order mark begins a file; None where none does."""
    return next((encoding for mark, encoding in _MARKS.items() if chunk.startswith(mark)), None)


def _check_encoding(encoding: str) -> None:
    try:
        "".encode(encoding)  # refuses codecs that are not text encodings
        codecs.getincrementaldecoder(encoding)
    except (LookupError, ValueError) as error:
        raise SettingError(
            "unknown encoding", should="a text encoding of Python", found=repr(encoding), hint="--set encoding=utf-8"
        ) from error


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{path} does not exist", should=_TEXT, found="nothing there", hint="check the spelling and the folder"
        ) from error
    except ValueError as error:  # a null character
        raise _unreadable(repr(str(path)), OSError(str(error))) from error


def _file(path: Path) -> Path:
    status = _status(path)
    if not stat.S_ISREG(status.st_mode):
        hint = f"write it to a file first: cat {path} > text.txt"
        raise DataError(f"{path} is not a file", should=_TEXT, found="a device or pipe", hint=hint)
    if status.st_size == 0:
        raise DataError(f"{path} is empty", should="a text", found="0 bytes", hint="remove it, or name another file")
    return path


def _folder(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise error  # no part of the data is skipped silently

    files: list[Path] = []
    entered: set[tuple[int, int]] = set()  # links may form a cycle
    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(parent)  # noqa: PTH116 - os.walk gives names
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for file in (Path(parent, name) for name in names if not is_hidden(name)):
            if file.suffix.lower() in suffixes and stat.S_ISREG((status := file.stat()).st_mode) and status.st_size:
                files.append(file)
    if not files:
        raise DataError(
            f"the folder {folder} has no text",
            should=f"at least one file that is not empty with the suffix {', '.join(suffixes)}",
            found="none, in it or its folders",
            hint="name the files to read others",
        )
    return sorted(files)


def _unreadable(name: str, error: OSError) -> DataError:
    return DataError(
        f"cannot read {name}: {error.strerror or error}",
        should="a readable file or folder",
        found=error.strerror or str(error),
        hint="check the name, and the permissions with ls -l",
    )
