"""Words of symbols: when they begin and end, how sure they are, and whether they can be where they are spoken."""

import pytest

from elman.data.text.vocabularies import VOCABULARIES
from elman.decoding.ctc import Emission
from elman.predictors.word_timings import are_misplaced, words_of


def written(*steps: int) -> list[Emission]:
    return [Emission(1, step, step, 0.9) for step in steps]


def test_words_of_letters() -> None:
    vocabulary = VOCABULARIES["characters"].build([["ab "]])
    ids = [int(n) + 1 for n in vocabulary.encode("ab a")]
    symbols = [
        Emission(n, step, step + 1, p) for n, step, p in zip(ids, (2, 5, 8, 10), (0.5, 0.8, 0.9, 1), strict=True)
    ]
    first, second = words_of(vocabulary, symbols, 0.1, 3.0)
    assert (first.text, second.text) == ("ab", "a")
    assert (first.begin, first.end, first.confidence) == pytest.approx((3.2, 3.7, 0.4))
    assert first.fields() == {"word": "ab", "second": 3.2, "end": 3.7, "confidence": 0.4}
    assert (second.begin, second.end, second.confidence) == pytest.approx((4.0, 4.2, 1.0))


@pytest.mark.parametrize(
    ("steps", "untrimmed", "expected"),
    [
        ((10, 20, 30), True, False),
        ((0, 20, 30), True, True),
        ((10, 20, 48), True, True),
        ((0, 20, 48), False, False),
        ((41, 42, 43), False, True),
        ((41, 41, 41), False, True),
        ((20, 21), False, False),
        ((), True, False),
    ],
)
def test_words_at_an_end_or_together_are_misplaced(steps: tuple[int, ...], untrimmed: bool, expected: bool) -> None:
    vocabulary = VOCABULARIES["words"].build([["a b"]])
    words = words_of(vocabulary, written(*steps), 0.04)
    assert are_misplaced(words, written(*steps), 50, untrimmed=untrimmed) is expected
