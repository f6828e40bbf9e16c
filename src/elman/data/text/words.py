"""Vocabularies of words, split at whitespace, the most frequent first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, ClassVar, Self

import numpy as np

from elman.data.text.vocabulary import FORMAT_VERSION, LARGEST_VOCABULARY, Decoder, TokenIds, Vocabulary
from elman.errors import BrokenRun, DataError, SettingError

UNKNOWN = "<unk>"
END_OF_LINE = "<eos>"
LONGEST_WORD = 1 << 20
MOST_COUNTED = 1 << 21
"""The most distinct words that are counted at a time; beyond it the rarest are dropped, which bounds the memory."""


class Words(Vocabulary):
    """Words split at whitespace; the end of a line is the symbol `<eos>`, every other word is `<unk>`.

    `<unk>` and `<eos>` in a text (as in WikiText) are these symbols. A decoded text has single spaces and none at the
    ends of lines: encode(decode(token_ids)) equals token_ids.

    Attributes:
        words: the symbols.
        end_of_line: the token id of `<eos>`.
    """

    kind: ClassVar[str] = "words"

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self._id_of = {word: token_id for token_id, word in enumerate(self.words)}
        self._unknown, self.end_of_line = self._id_of[UNKNOWN], self._id_of[END_OF_LINE]

    @classmethod
    def build(cls, texts: Iterable[Iterable[str]], *, size: int | None = None) -> Self:
        """Build a vocabulary of the `size` most frequent words (None: all), equal counts in alphabetical order.

        Beyond two million distinct words the rarest are dropped while counting (as in lossy counting, Manku and
        Motwani 2002), so a word that is rare in every part of a very large text may be lost.

        Raises:
            SettingError: `size` leaves no room for a word besides the reserved symbols.
            DataError: the texts have no word.
        """
        if size is not None and not 3 <= size <= LARGEST_VOCABULARY:
            raise SettingError(
                "invalid value for vocabulary_size",
                should=f"from 3 to {LARGEST_VOCABULARY}: {UNKNOWN}, {END_OF_LINE} and the words",
                found=str(size),
                hint="--set vocabulary_size=30000",
            )
        counts: Counter[str] = Counter()
        for text in texts:
            for words in split_words(text):
                counts.update(words)
                if len(counts) > MOST_COUNTED:
                    counts = Counter(dict(counts.most_common(MOST_COUNTED // 2)))
        for reserved in (UNKNOWN, END_OF_LINE):
            del counts[reserved]
        if not counts:
            raise DataError(
                "the text has no words",
                should="words between whitespace",
                found="whitespace only",
                hint="another text, or --set vocabulary=characters",
            )
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls([UNKNOWN, END_OF_LINE, *ranked][:size])

    def __len__(self) -> int:
        return len(self.words)

    @property
    def unknown(self) -> int:
        """The token id of `<unk>`."""
        return self._unknown

    def encode_pieces(self, pieces: Iterable[str]) -> Iterator[TokenIds]:
        """Encode one document, given in any pieces."""
        get, unknown, dtype = self._id_of.get, self._unknown, self.dtype
        for words in split_words(pieces):
            yield np.fromiter(map(get, words, repeat(unknown)), dtype, len(words))

    def decoder(self) -> Decoder:
        """Return a new incremental decoder."""
        return _WordDecoder(self)

    def to_json(self) -> dict[str, Any]:
        """Return the vocabulary in types that JSON has."""
        return {"version": FORMAT_VERSION, "kind": self.kind, "size": len(self), "symbols": self.words}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Build the vocabulary from the result of `to_json`."""
        symbols = fields["symbols"]
        missing = [name for name in (UNKNOWN, END_OF_LINE) if name not in symbols]
        if missing:
            raise BrokenRun("the vocabulary is broken", should=f"{missing[0]} among its words", found="none")
        invalid = next((word for word in symbols if word.split() != [word]), None)
        if invalid is not None:
            raise BrokenRun("the vocabulary is broken", should="words without whitespace", found=f"{invalid[:20]!a}")
        return cls(symbols)


class _WordDecoder:
    """Decoder with a space between two words of a line, and none at its ends."""

    def __init__(self, vocabulary: Words) -> None:
        self._vocabulary = vocabulary
        self._inside_line = False

    def push(self, token_id: int) -> str:
        if self._vocabulary.check_token_id(token_id) == self._vocabulary.end_of_line:
            self._inside_line = False
            return "\n"
        space = " " if self._inside_line else ""
        self._inside_line = True
        return space + self._vocabulary.words[token_id]

    def finish(self) -> str:
        self._inside_line = False
        return ""


def split_words(pieces: Iterable[str]) -> Iterator[list[str]]:
    """Split one document into words, with `<eos>` for every line end, a list for each piece.

    A word that is split by the end of a piece is joined.

    Raises:
        DataError: a word has more than a million characters.
    """
    tail = ""
    for piece in pieces:
        text = tail + piece
        if not text:
            continue
        words = text.replace("\n", f" {END_OF_LINE} ").split()
        tail = "" if text[-1].isspace() else words.pop()
        if len(tail) > LONGEST_WORD:
            raise DataError(
                "the text does not consist of words",
                should=f"whitespace at least every {LONGEST_WORD} characters",
                found=f"{len(tail)} characters without one",
                hint="--set vocabulary=characters, or --set vocabulary=bytes",
            )
        yield words
    if tail:
        yield [tail]
