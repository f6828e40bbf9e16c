"""Words as symbols: whatever stands between whitespace, the most frequent ones first."""

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
"""How many different words are counted at a time; the rarest are forgotten beyond it, so that memory is bounded."""


class Words(Vocabulary):
    """Words split at whitespace; the end of a line is the symbol `<eos>`, every other word is `<unk>`.

    Texts that already carry `<unk>` or `<eos>` (WikiText does the former) mean these symbols by them. A text comes
    back with single spaces and without spaces at the ends of lines: encode(decode(token_ids)) equals token_ids.
    """

    kind: ClassVar[str] = "words"

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self._id_of = {word: token_id for token_id, word in enumerate(self.words)}
        self.unknown, self.end_of_line = self._id_of[UNKNOWN], self._id_of[END_OF_LINE]

    @classmethod
    def build(cls, texts: Iterable[Iterable[str]], *, size: int | None = None) -> Self:
        """Keep the `size` most frequent words (None: all), equal counts in alphabetical order.

        Beyond two million different words the rarest are forgotten while counting (as in lossy counting, Manku and
        Motwani 2002), so a word may be lost that is rare in every part of a very large text.

        Raises:
            SettingError: `size` leaves no room for a word beside the reserved symbols.
            DataError: the texts hold no word.
        """
        if size is not None and not 3 <= size <= LARGEST_VOCABULARY:
            raise SettingError(
                "vocabulary_size is impossible",
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

    def encode_pieces(self, pieces: Iterable[str]) -> Iterator[TokenIds]:
        get, unknown, dtype = self._id_of.get, self.unknown, self.dtype
        for words in split_words(pieces):
            yield np.fromiter(map(get, words, repeat(unknown)), dtype, len(words))

    def decoder(self) -> Decoder:
        return _WordDecoder(self)

    def to_json(self) -> dict[str, Any]:
        return {"version": FORMAT_VERSION, "kind": self.kind, "size": len(self), "symbols": self.words}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        symbols = fields["symbols"]
        missing = [name for name in (UNKNOWN, END_OF_LINE) if name not in symbols]
        if missing:
            raise BrokenRun("the vocabulary is broken", should=f"{missing[0]} among its words", found="not there")
        wrong = next((word for word in symbols if word.split() != [word]), None)
        if wrong is not None:
            raise BrokenRun("the vocabulary is broken", should="words without whitespace", found=f"{wrong[:20]!a}")
        return cls(symbols)


class _WordDecoder:
    """Puts a space between two words of a line, and none at the ends of a line."""

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

    A word that is cut by the end of a piece is joined again.

    Raises:
        DataError: a word has more than a million characters, so the text is none that has words.
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
