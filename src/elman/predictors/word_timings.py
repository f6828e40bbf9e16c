"""Words of a transcript, and when they begin and end."""

from __future__ import annotations

from typing import NamedTuple

from elman.data.text.encoding import symbols_of
from elman.data.text.vocabularies import Vocabulary
from elman.decoding.ctc import TimedSequence


class Word(NamedTuple):
    """A word with its times.

    Attributes:
        text: the word.
        begin: the second at which its first symbol appears.
        end: the second at which the step of its last symbol ends.
    """

    text: str
    begin: float
    end: float


def words_of(vocabulary: Vocabulary, timed: TimedSequence, seconds: float, begin: float = 0.0) -> list[Word]:
    """Return the words of decoded symbols.

    Args:
        vocabulary: of the symbols.
        timed: their numbers, plus 1, and the steps at which they appear.
        seconds: of a step.
        begin: of the first step.
    """
    words: list[Word] = []
    new = True
    for symbol, step in zip(symbols_of(vocabulary, [n - 1 for n in timed.token_ids]), timed.steps, strict=True):
        new = new or symbol[:1].isspace()
        text = symbol.strip()
        if text:
            if new:
                words.append(Word(text, begin + step * seconds, begin + (step + 1) * seconds))
            else:
                words[-1] = Word(words[-1].text + text, words[-1].begin, begin + (step + 1) * seconds)
        new = symbol[-1:].isspace() if text else True
    return words
