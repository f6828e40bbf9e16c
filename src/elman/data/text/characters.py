"""Bytes and characters as symbols: nothing to learn but which there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Self

import numpy as np

from elman.data.text.vocabulary import FORMAT_VERSION, ByteDecoder, Decoder, TokenIds, Vocabulary
from elman.errors import BrokenRun, DataError, SettingError

CODE_POINTS = 0x110000


class Bytes(Vocabulary):
    """The 256 bytes: reads any file, knows every text."""

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
                should="vocabulary_size=256, or left out",
                found=str(size),
                hint="leave vocabulary_size out",
            )
        return cls()

    def __len__(self) -> int:
        return 256

    def encode_pieces(self, pieces: Iterable[bytes]) -> Iterator[TokenIds]:
        for piece in pieces:
            yield np.frombuffer(piece, np.uint8)

    def decoder(self) -> Decoder:
        return ByteDecoder(self, [bytes([byte]) for byte in range(256)])

    def to_json(self) -> dict[str, Any]:
        return {"version": FORMAT_VERSION, "kind": self.kind, "size": 256}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        return cls()


class Characters(Vocabulary):
    """The characters (Unicode code points) of the training text, in the order of their code points.

    There is no symbol for unknown characters: a text with another character is refused.
    """

    kind: ClassVar[str] = "characters"

    def __init__(self, characters: str) -> None:
        self.characters = characters
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
            raise DataError(
                "the text has no characters",
                should="at least one character",
                found="an empty text",
                hint="another text",
            )
        if size is not None and len(points) > size:
            raise DataError(
                "the text has more characters than the vocabulary may hold",
                should=f"at most {size} (vocabulary_size)",
                found=f"{len(points)} different characters",
                hint=f"--set vocabulary_size={len(points)}, or --set vocabulary=bytes",
            )
        return cls(points.tobytes().decode("utf-32-le"))

    def __len__(self) -> int:
        return len(self.characters)

    def encode_pieces(self, pieces: Iterable[str]) -> Iterator[TokenIds]:
        done = 0
        for piece in pieces:
            token_ids = self._id_of[_code_points(piece)]
            if len(token_ids) and token_ids.min() < 0:
                place = int(np.argmin(token_ids))
                raise self._unknown(piece[place], done + place)
            yield token_ids.astype(self.dtype)
            done += len(piece)

    def _unknown(self, character: str, position: int) -> DataError:
        return DataError(
            f"the vocabulary has no symbol for the character {character!a} (U+{ord(character):04X})",
            should=f"one of the {len(self)} characters of the training text",
            found=f"{character!a} at character {position + 1} of the text",
            hint="leave the character out; a model trained with --set vocabulary=bytes knows every text",
        )

    def decoder(self) -> Decoder:
        return _CharacterDecoder(self)

    def to_json(self) -> dict[str, Any]:
        return {"version": FORMAT_VERSION, "kind": self.kind, "size": len(self), "symbols": list(self.characters)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        symbols = fields["symbols"]
        if not all(len(symbol) == 1 for symbol in symbols):
            wrong = next(symbol for symbol in symbols if len(symbol) != 1)
            raise BrokenRun("the vocabulary is broken", should="symbols of one character", found=f"{wrong[:20]!a}")
        return cls("".join(symbols))


class _CharacterDecoder:
    def __init__(self, vocabulary: Characters) -> None:
        self._vocabulary = vocabulary

    def push(self, token_id: int) -> str:
        return self._vocabulary.characters[self._vocabulary.check_token_id(token_id)]

    def finish(self) -> str:
        return ""


def _code_points(text: str) -> np.ndarray[Any, np.dtype[np.uint32]]:
    return np.frombuffer(text.encode("utf-32-le"), "<u4")
