"""The contract of a vocabulary: text to token ids and back, as a whole or in pieces.

A symbol is an entry of a vocabulary, for example a character or a word; a token is an occurrence of a symbol in a text;
a token id is the number of its symbol.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError
from elman.storage.files import write_bytes

TokenIds = NDArray[np.unsignedinteger[Any]]
"""Token ids, (N,), of the smallest unsigned type that holds the vocabulary."""

T = TypeVar("T")

FORMAT_VERSION = 1
LARGEST_VOCABULARY = 1 << 24


class Decoder(Protocol):
    """Incremental decoder, whose joined results equal `Vocabulary.decode` of all token ids."""

    def push(self, token_id: int) -> str:
        """Return the text that is complete with one more token id, perhaps none."""

    def finish(self) -> str:
        """Return the rest, for example a replacement character for an incomplete one, and reset the decoder."""


class Rereadable(Iterable[T]):
    """An iterable that begins again each time: texts that are read twice, and not held in memory."""

    def __init__(self, begin: Callable[[], Iterator[T]]) -> None:
        self._begin = begin

    def __iter__(self) -> Iterator[T]:
        return self._begin()


def smallest_dtype(size: int) -> np.dtype[np.unsignedinteger[Any]]:
    """Return the smallest of uint8, uint16 and uint32 (little-endian) that holds the token ids 0 to size - 1."""
    return np.dtype("<u1" if size <= 1 << 8 else "<u2" if size <= 1 << 16 else "<u4")


class Vocabulary(ABC):
    """The symbols that a model reads and writes, numbered from 0.

    Attributes:
        kind: the name in `VOCABULARIES`, and in the saved file.
        reads_bytes: whether `encode_pieces` takes raw bytes rather than decoded text.
        filename: the name of its file in a run directory.
    """

    kind: ClassVar[str]
    reads_bytes: ClassVar[bool] = False
    filename: ClassVar[str] = "vocabulary.json"

    @classmethod
    @abstractmethod
    def build(cls, texts: Iterable[Iterable[str]], *, size: int | None = None) -> Self:
        """Choose the symbols from texts, each given as pieces in order, in bounded memory.

        Args:
            texts: the pieces of each document; the result does not depend on how it is split into pieces. Byte pairs
                read them twice, so that no iterator will do.
            size: the most symbols, reserved ones included; None for the default of the kind.
        """

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    def size(self) -> int:
        """The number of symbols, reserved ones included."""
        return len(self)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The type of the token ids that `encode` returns."""
        return smallest_dtype(len(self))

    @property
    def unknown(self) -> int | None:
        """The token id of everything that has no symbol of its own; None where there is no such id."""
        return None

    def with_unknown(self) -> Vocabulary:
        """Return the vocabulary that encodes every text; the same one where none is refused."""
        return self

    @property
    def never_written(self) -> range:
        """The token ids that a text is read with, and that a model must not write."""
        return range(0)

    @abstractmethod
    def encode_pieces(self, pieces: Iterable[Any]) -> Iterator[TokenIds]:
        """Encode one document, given in any pieces (str, or bytes if `reads_bytes`).

        Raises:
            DataError: a symbol is unknown, and the kind has no symbol for unknown ones.
        """

    def encode(self, text: str | bytes) -> TokenIds:
        """Return the token ids of `text`, (N,). Kinds that read text decode bytes as UTF-8.

        Raises:
            DataError: a symbol is unknown, or the bytes are not valid UTF-8.
        """
        try:
            # Bytes of the command line that are not valid UTF-8 arrive as surrogate escapes, which this reverses.
            raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
            parts = list(self.encode_pieces([raw if self.reads_bytes else raw.decode("utf-8")]))
        except UnicodeError as error:
            raise DataError(
                "the text is not valid UTF-8",
                should="text in UTF-8",
                found=str(error),
                hint="a model trained with --set vocabulary=bytes reads any bytes",
            ) from error
        return np.concatenate(parts) if parts else np.empty(0, self.dtype)

    @abstractmethod
    def decoder(self) -> Decoder:
        """Return a new incremental decoder."""

    def decode(self, token_ids: Sequence[int] | NDArray[Any]) -> str:
        """Return the text of a sequence of token ids.

        Raises:
            DataError: a token id is outside the vocabulary.
        """
        decoder = self.decoder()
        pieces = [decoder.push(int(token_id)) for token_id in token_ids]
        return "".join([*pieces, decoder.finish()])

    def check_token_id(self, token_id: int) -> int:
        """Return `token_id` if it is in the vocabulary.

        Raises:
            DataError: it is not.
        """
        if not 0 <= token_id < len(self):
            raise DataError(
                "a token id is outside the vocabulary",
                should=f"from 0 to {len(self) - 1}",
                found=str(token_id),
                hint="decode with the vocabulary that encoded the text",
            )
        return token_id

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the vocabulary in types that JSON has, for `from_json`."""

    @classmethod
    @abstractmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Build the vocabulary from the result of `to_json`.

        Raises:
            RunError: it is broken or contradicts itself.
        """

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the vocabulary, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def save(self, directory: str | Path) -> Path:
        """Write the vocabulary's file into `directory` and return its path.

        Raises:
            RunError: the file cannot be written.
        """
        path = Path(directory) / self.filename
        write_bytes(path, self._file_content().encode())
        return path

    def _file_content(self) -> str:
        return json.dumps(self.to_json(), ensure_ascii=True)


class ByteDecoder:
    """Incremental decoder of symbols that are bytes; returns each character when it is complete.

    Bytes that are not valid UTF-8 give U+FFFD, as in `bytes.decode(errors="replace")`.
    """

    def __init__(self, vocabulary: Vocabulary, bytes_of: Sequence[bytes]) -> None:
        self._vocabulary, self._bytes_of = vocabulary, bytes_of
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """Return the text that is complete with one more token id, perhaps none."""
        return self._utf8.decode(self._bytes_of[self._vocabulary.check_token_id(token_id)])

    def finish(self) -> str:
        """Return a replacement character for an incomplete one, and reset the decoder."""
        return self._utf8.decode(b"", True)
