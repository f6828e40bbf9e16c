"""Words of a transcript: when they begin and end, and how sure the network is of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from elman.data.text.encoding import symbols_of
from elman.data.text.vocabularies import Vocabulary
from elman.decoding.ctc import Emission

FASTEST = 8.0  # words a second; nobody speaks faster


class Word(NamedTuple):
    """A word with its times.

    Attributes:
        text: the word.
        begin: the second at which its first symbol appears.
        end: the second at which its last symbol ends.
        confidence: the product of the probabilities of its symbols.
    """

    text: str
    begin: float
    end: float
    confidence: float

    def fields(self) -> dict[str, Any]:
        """Return the word as JSON knows it."""
        times = {"second": round(self.begin, 3), "end": round(self.end, 3)}
        return {"word": self.text, **times, "confidence": round(self.confidence, 4)}


def words_of(vocabulary: Vocabulary, emissions: Sequence[Emission], seconds: float, begin: float = 0.0) -> list[Word]:
    """Return the words of decoded symbols.

    Args:
        vocabulary: of the symbols.
        emissions: their numbers, plus 1, and the steps at which they appear.
        seconds: of a step.
        begin: of the first step.
    """
    words: list[Word] = []
    new = True
    for symbol, written in zip(symbols_of(vocabulary, [e.token_id - 1 for e in emissions]), emissions, strict=True):
        new = new or symbol[:1].isspace()
        text, end = symbol.strip(), begin + (written.end + 1) * seconds
        if text:
            if new:
                words.append(Word(text, begin + written.step * seconds, end, written.probability))
            else:
                before = words[-1]
                words[-1] = Word(before.text + text, before.begin, end, before.confidence * written.probability)
        new = symbol[-1:].isspace() if text else True
    return words


def are_misplaced(words: Sequence[Word], emissions: Sequence[Emission], steps: int, *, untrimmed: bool) -> bool:
    """Return whether words cannot be written where they are spoken, so that their times are unreliable.

    CTC does not determine when a symbol is written. A network that sees the whole of a sentence may write all words
    together, faster than anybody speaks, or write at its first step, before anything was seen, or at its end.

    Args:
        words: the words.
        emissions: their symbols.
        steps: of the network, in the sentence.
        untrimmed: whether the network sees the whole of a sentence, and nobody speaks at its ends.
    """
    if len(words) > 2 and (len(words) - 1) > FASTEST * (words[-1].begin - words[0].begin):
        return True
    return untrimmed and bool(emissions) and (emissions[0].step == 0 or emissions[-1].step >= steps - 2)
