"""Short texts to token ids: by characters, words, bytes or byte-pair symbols, with an id for what is unknown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from elman.data.labelled.example import Values
from elman.data.text.vocabularies import VOCABULARIES, Vocabulary
from elman.data.text.vocabulary import Rereadable
from elman.errors import DataError, unknown_name

_WORD = re.compile(r"\w+(?:['’]\w+)?|[^\w\s]")
Texts = Callable[[], Iterable[Values]]


class TextEncoder:
    """Text to token ids, with one more id for what the training text does not have; a model has `size` symbols.

    Words are lower-cased and split from punctuation; a list of symbols is taken as it is.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.unknown, self.size = len(vocabulary), len(vocabulary) + 1
        symbols = vocabulary.to_json().get("symbols") if vocabulary.kind in ("words", "characters") else None
        self._ids = None if symbols is None else {symbol: n for n, symbol in enumerate(symbols)}

    @classmethod
    def build(cls, texts: Texts, kind: str, size: int | None) -> TextEncoder:
        """Choose the symbols from the texts of the training part; `texts` begins reading them.

        Raises:
            SettingError: there is no such kind, or it cannot have this size.
            DataError: there is nothing in them.
        """
        if kind not in VOCABULARIES:
            raise unknown_name("vocabulary", kind, [*VOCABULARIES, "auto"])

        def documents() -> Iterator[list[str]]:
            between = "" if kind == "characters" else " "
            for values in texts():
                whole = values if isinstance(values, str) else " ".join(map(str, values))
                yield [between.join(split_text(values, kind))] if kind in ("characters", "words") else [whole]

        return cls(VOCABULARIES[kind].build(Rereadable(documents), size=size))

    def encode(self, values: Values) -> NDArray[np.int32]:
        """Return the token ids, (T,) int32.

        Raises:
            DataError: a list of symbols for a vocabulary of parts of words.
        """
        if self._ids is not None:
            ids, unknown = self._ids, self.unknown
            return np.array([ids.get(symbol, unknown) for symbol in split_text(values, self.vocabulary.kind)], np.int32)
        if not isinstance(values, str):
            raise DataError(
                "a list of symbols has symbols of its own",
                should="vocabulary=words or vocabulary=characters",
                found=f"vocabulary={self.vocabulary.kind}",
                hint="--set vocabulary=words",
            )
        return self.vocabulary.encode(values).astype(np.int32)


def split_text(values: Values, kind: str) -> list[str]:
    """Return the symbols of a text: its characters, or its words in lower case and its punctuation."""
    if isinstance(values, list):
        return [re.sub(r"\s+", "_", symbol) for symbol in values]
    assert isinstance(values, str)
    return list(values) if kind == "characters" else _WORD.findall(values.lower())
