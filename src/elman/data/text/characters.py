"""Vocabularies of bytes and of characters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Self

import numpy as np

from elman.data.text.vocabulary import (
    FORMAT_VERSION,
    ByteDecoder,
    Decoder,
    TokenIds,
    Vocabulary,
    smallest_dtype,
)
from elman.errors import BrokenRun, DataError, SettingError

CODE_POINTS = 0x110000


class Bytes(Vocabulary):
    """The 256 bytes, which encode any file."""

    kind: ClassVar[str] = "bytes"
    reads_bytes: ClassVar[bool] = True

    @classmethod
    def build(cls, texts: Iterable[Iterable[str]], *, size: int | None = None) -> Self:
        """Return the vocabulary of bytes; the texts are not read.

        Raises:
            SettingError: `size` is given and is not 256.
        """
        if size not in (None, 256):
            raise SettingError(
                "a vocabulary of bytes has one size",
                should="vocabulary_size=256, or none",
                found=str(size),
                hint="omit vocabulary_size",
            )
        return cls()

    def __len__(self) -> int:
        return 256

    def encode_pieces(self, pieces: Iterable[bytes]) -> Iterator[TokenIds]:
        """Encode one document, given in any pieces."""
        for piece in pieces:
            yield np.frombuffer(piece, np.uint8)

    def decoder(self) -> Decoder:
        """Return a new incremental decoder."""
        return ByteDecoder(self, [bytes([byte]) for byte in range(256)])

    def to_json(self) -> dict[str, Any]:
        """Return the vocabulary in types that JSON has."""
        return {"version": FORMAT_VERSION, "kind": self.kind, "size": 256}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Build the vocabulary from the result of `to_json`."""
        return cls()


class Characters(Vocabulary):
    """The characters (Unicode code points) of the training text, in order.

    A text with another character is refused, or with `unknown=True` the character gets the token id V, one more than
    the symbols have. A model reads that id as a vector of zeros and never writes it, so that its size stays the same.
    """

    kind: ClassVar[str] = "characters"

    def __init__(self, characters: str, *, unknown: bool = False) -> None:
        self.characters, self._has_unknown = characters, unknown
        self._bytes_of = [character.encode() for character in characters]
        self._id_of = np.full(CODE_POINTS, -1, np.int32)
        self._id_of[_code_points(characters)] = np.arange(len(characters), dtype=np.int32)

    @classmethod
    def build(cls, texts: Iterable[Iterable[str]], *, size: int | None = None) -> Self:
        """Collect the characters of the texts.

        Raises:
            DataError: there are none, or more than `size`.
        """
        seen = np.zeros(CODE_POINTS, np.bool_)
        for text in texts:
            for piece in text:
                seen[_code_points(piece)] = True
        points = np.flatnonzero(seen).astype("<u4")
        if not len(points):
            should, found = "at least one character", "an empty text"
            raise DataError("the text has no characters", should=should, found=found, hint="another text")
        if size is not None and len(points) > size:
            raise DataError(
                "the text has more characters than the vocabulary may have",
                should=f"at most {size} (vocabulary_size)",
                found=f"{len(points)} different characters",
                hint=f"--set vocabulary_size={len(points)}, or --set vocabulary=bytes",
            )
        return cls(points.tobytes().decode("utf-32-le"))

    def __len__(self) -> int:
        return len(self.characters)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The type of the token ids that `encode` returns."""
        return smallest_dtype(len(self) + self._has_unknown)

    @property
    def unknown(self) -> int | None:
        """The token id of every other character, V; None where such a character is refused."""
        return len(self) if self._has_unknown else None

    def with_unknown(self) -> Characters:
        """Return the same vocabulary with a token id for every other character."""
        return Characters(self.characters, unknown=True)

    def encode_pieces(self, pieces: Iterable[str]) -> Iterator[TokenIds]:
        """Encode one document, given in any pieces."""
        done = 0
        for piece in pieces:
            token_ids = self._id_of[_code_points(piece)]
            if self._has_unknown:
                token_ids[token_ids < 0] = len(self)
            elif len(token_ids) and token_ids.min() < 0:
                offset = int(np.argmin(token_ids))
                raise self._unknown(piece[offset], done + offset)
            yield token_ids.astype(self.dtype)
            done += len(piece)

    def _unknown(self, character: str, position: int) -> DataError:
        return DataError(
            f"the vocabulary has no symbol for the character {character!a} (U+{ord(character):04X})",
            should=f"one of the {len(self)} characters of the training text",
            found=f"{character!a} at character {position + 1} of the text",
            hint="remove the character; a model trained with --set vocabulary=bytes encodes every text",
        )

    def decoder(self) -> Decoder:
        """Return a new incremental decoder."""
        return ByteDecoder(self, self._bytes_of)

    def to_json(self) -> dict[str, Any]:
        """Return the vocabulary in types that JSON has."""
        return {"version": FORMAT_VERSION, "kind": self.kind, "size": len(self), "symbols": list(self.characters)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Build the vocabulary from the result of `to_json`."""
        symbols = fields["symbols"]
        invalid = next((symbol for symbol in symbols if len(symbol) != 1), None)
        if invalid is not None:
            raise BrokenRun("the vocabulary is broken", should="symbols of one character", found=f"{invalid[:20]!a}")
        return cls("".join(symbols))


def _code_points(text: str) -> np.ndarray[Any, np.dtype[np.uint32]]:
    return np.frombuffer(text.encode("utf-32-le"), "<u4")
