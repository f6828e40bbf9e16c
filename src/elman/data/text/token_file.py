"""Encoded text: one file of token ids, mapped into memory, for text larger than memory.

It is one file and not the two of `elman.storage.ragged.RaggedArrays`, so that a text that is encoded again replaces the
old one, its notes included, in a single rename. Little-endian throughout:

    offset 0    64 bytes: magic, version, bytes for each token, counts of tokens and documents, length of the notes
           64   the token ids, 1, 2 or 4 bytes each, then zeros up to a multiple of 8
                the offset of each document's first token, 8 bytes each
                the notes in JSON: what was encoded, with which vocabulary
"""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from elman.data.text.documents import Document
from elman.data.text.vocabulary import TokenIds, Vocabulary
from elman.errors import DataError, RunError, SettingError
from elman.storage.files import checked_json, exists, written_beside
from elman.storage.records import read_record

MAGIC = b"ELMANTOK"
VERSION = 1
_HEADER = struct.Struct("<8sIIQQQ24x")
_CHECKED_AT_ONCE = 1 << 24
_LONGEST_NOTES = 1 << 28


@dataclass(frozen=True)
class _Notes:
    """What the end of the file holds.

    Attributes:
        origin: the fingerprint of the vocabulary, and the stamps of the documents.
        fingerprint: SHA-256 of the raw text, in hexadecimal.
        vocabulary_size: every token id is below it; one more than the vocabulary has symbols, if some are unknown.
    """

    origin: dict[str, Any]
    fingerprint: str
    vocabulary_size: int = field(metadata={"low": 1, "high": 1 << 32})


@dataclass(frozen=True, eq=False)
class TokenFile:
    """Encoded text, or a part of it: a view of a mapped file, or of an array in memory.

    Attributes:
        token_ids: (N,).
        document_starts: the offset of each document's first token, (documents,), increasing; the first is 0.
        vocabulary_size: every token id is below it.
        fingerprint: SHA-256 of the raw text that was encoded, in hexadecimal.
    """

    token_ids: TokenIds
    document_starts: NDArray[np.int64]
    vocabulary_size: int
    fingerprint: str
    _map: mmap.mmap | None = None

    def __len__(self) -> int:
        return len(self.token_ids)

    @classmethod
    def from_token_ids(cls, token_ids: Any, *, vocabulary_size: int, document_starts: Sequence[int] = (0,)) -> Self:
        """Wrap token ids in memory, (N,), without a file."""
        array = np.asarray(token_ids)
        fingerprint = hashlib.sha256(array.astype("<u4").tobytes()).hexdigest()
        return cls(array, np.asarray(document_starts, np.int64), vocabulary_size, fingerprint)

    @classmethod
    def open(cls, path: str | Path) -> TokenFile:
        """Map an encoded file into memory, and check all of it.

        Raises:
            RunError: the file is missing, not a token file, truncated, newer, or contradicts itself.
        """
        return _open(Path(path))[0]

    def split(self, validation: float = 0.1) -> tuple[Self, Self]:
        """Return the first part for training and the last `validation` of the tokens for validation.

        Raises:
            SettingError: `validation` is not between 0 and 1.
            DataError: one of the parts would have less than two tokens.
        """
        if not 0 < validation < 1:
            what, should = "invalid value for the validation share", "a fraction between 0 and 1"
            raise SettingError(what, should=should, found=str(validation), hint="--set validation=0.1")
        cut = int(len(self) * (1 - validation))
        if min(cut, len(self) - cut) < 2:
            raise DataError(
                "the text is too short for a validation part",
                should="at least 2 tokens in each part",
                found=f"{cut} for training and {len(self) - cut} for validation (validation={validation})",
                hint="more text, or a separate text for validation",
            )
        return self.part(0, cut), self.part(cut, len(self))

    def count_of(self, token_id: int | None) -> int:
        """Return how often a token id occurs; 0 for none."""
        if token_id is None:
            return 0
        parts = range(0, len(self), _CHECKED_AT_ONCE)
        return sum(int(np.count_nonzero(self.token_ids[n : n + _CHECKED_AT_ONCE] == token_id)) for n in parts)

    def part(self, start: int, stop: int) -> Self:
        """Return the tokens `start` to `stop` as a view, which begins with a document."""
        inside = self.document_starts[(self.document_starts > start) & (self.document_starts < stop)] - start
        starts = np.concatenate([np.zeros(1, np.int64), inside])
        return replace(self, token_ids=self.token_ids[start:stop], document_starts=starts)

    def release(self) -> None:
        """Release the file's pages in memory; they are read again when needed.

        Pages of a mapped file count as resident memory of the process until the system reclaims them.
        """
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def encode_text(documents: Sequence[Document], vocabulary: Vocabulary, path: str | Path) -> TokenFile:
    """Encode documents once into a token file at `path`, in bounded memory, and map it.

    An existing file is used if it was made with the same vocabulary from documents of the same names, sizes and
    modification times; the texts are not read then. Otherwise it is replaced. The fingerprint is the SHA-256 of the raw
    text, computed while encoding; of several documents it is that of their joined hexadecimal SHA-256s.

    Raises:
        DataError: a document cannot be read or encoded, or all are empty.
        RunError: the file cannot be written.
    """
    path = Path(path)
    origin = {"vocabulary": vocabulary.fingerprint, "documents": [document.stamp() for document in documents]}
    if exists(path):
        try:
            text, notes = _open(path)
            if notes.origin == origin:
                return text
        except RunError:
            pass  # a broken cache is written again
    with written_beside(path) as file:
        _write(file, documents, vocabulary, origin)
    return TokenFile.open(path)


def _write(file: BinaryIO, documents: Sequence[Document], vocabulary: Vocabulary, origin: dict[str, Any]) -> None:
    file.write(bytes(_HEADER.size))
    starts: list[int] = []
    digests: list[str] = []
    count, size = 0, len(vocabulary)
    for document in documents:
        start, hasher = count, hashlib.sha256()
        for token_ids in _encoded(document, vocabulary, hasher):
            file.write(np.ascontiguousarray(token_ids, vocabulary.dtype).data)
            count += len(token_ids)
            size = max(size, 1 + int(token_ids.max(initial=0)))
        digests.append(hasher.hexdigest())
        if count > start:
            starts.append(start)
    if not count:
        hint = "another text, or --set vocabulary=characters"
        raise DataError("the text has no tokens", should="at least one", found="none", hint=hint)
    fingerprint = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    encoded_notes = json.dumps(asdict(_Notes(origin, fingerprint, size))).encode()
    width = vocabulary.dtype.itemsize
    file.write(bytes(-count * width % 8))
    file.write(np.array(starts, "<i8").tobytes())
    file.write(encoded_notes)
    file.seek(0)
    file.write(_HEADER.pack(MAGIC, VERSION, width, count, len(starts), len(encoded_notes)))


def _encoded(document: Document, vocabulary: Vocabulary, hasher: Any) -> Iterator[TokenIds]:
    def hashed(chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            hasher.update(chunk)
            yield chunk

    chunks = hashed(document.chunks())
    try:
        yield from vocabulary.encode_pieces(chunks if vocabulary.reads_bytes else document.decoded(chunks))
    except DataError as error:
        if document.name in error.what:
            raise
        raise error.amended(f"{document.name}: {error.what}") from error


def _open(path: Path) -> tuple[TokenFile, _Notes]:
    """Map the file, check everything in it, and return it with its notes."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size < _HEADER.size:
                raise _broken(path, f"at least {_HEADER.size} bytes", f"{size} bytes")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise RunError(
            f"cannot read {path}: {error.strerror or error}",
            should="a file of encoded text that you may read",
            found=error.strerror or str(error),
            hint="check the name, or encode the text again",
        ) from error
    magic, version, width, count, documents, notes_length = _HEADER.unpack_from(mapped)
    if magic != MAGIC:
        raise _broken(path, "a file of encoded text", "another kind of file")
    if version > VERSION:
        raise RunError(
            f"{path} was written by a newer elman",
            should=f"version {VERSION} or older",
            found=f"version {version}",
            hint="pip install --upgrade elman",
        )
    starts_at = _HEADER.size + count * width + -count * width % 8
    notes_at = starts_at + 8 * documents
    if width not in (1, 2, 4) or not 1 <= documents <= count or notes_length > _LONGEST_NOTES:
        raise _broken(path, "valid sizes", f"{count} tokens of {width} bytes in {documents} documents")
    if size != notes_at + notes_length:
        raise _broken(path, f"{notes_at + notes_length} bytes, as its header says", f"{size} bytes")
    try:
        notes = read_record(_Notes, checked_json(mapped[notes_at:]))
    except (ValueError, RecursionError) as error:
        raise _broken(path, "the fingerprint and the size of the vocabulary in JSON", str(error)[:80]) from error
    token_ids = np.frombuffer(mapped, f"<u{width}", count, _HEADER.size)
    starts = np.frombuffer(mapped, "<i8", documents, starts_at).astype(np.int64)
    if starts[0] != 0 or starts[-1] >= count or np.any(np.diff(starts) <= 0):
        raise _broken(path, f"documents that begin in order from 0 to {count - 1}", "other starts")
    text = TokenFile(token_ids, starts, notes.vocabulary_size, notes.fingerprint, mapped)
    for start in range(0, count, _CHECKED_AT_ONCE):
        largest = int(token_ids[start : start + _CHECKED_AT_ONCE].max())
        text.release()
        if largest >= notes.vocabulary_size:
            raise _broken(path, f"token ids below {notes.vocabulary_size}", f"the token id {largest}")
    return text, notes


def _broken(path: Path, should: str, found: str) -> RunError:
    return RunError(
        f"{path} is broken, or is not a file of encoded text", should=should, found=found, hint="encode the text again"
    )
