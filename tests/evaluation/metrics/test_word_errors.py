"""Error rates by hand and by dynamic programming."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.evaluation.metrics.word_errors import SentenceAnswer, error_rates, nats_per_symbol, transcript_metrics

WORDS = st.lists(st.sampled_from(["a", "bc", "d"]), min_size=1, max_size=5)


def distance(a: list[str], b: list[str]) -> int:
    row = list(range(len(b) + 1))
    for n, x in enumerate(a, 1):
        last, row[0] = row[0], n
        for m, y in enumerate(b, 1):
            last, row[m] = row[m], min(row[m] + 1, row[m - 1] + 1, last + (x != y))
    return row[-1]


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_rates_are_edits_over_what_was_said(pairs: list[tuple[list[str], list[str]]]) -> None:
    heard, said = [" ".join(a) for a, _ in pairs], [" ".join(b) for _, b in pairs]
    result = error_rates(heard, said)
    edits = sum(distance(a, b) for a, b in pairs)
    assert result["word_error_rate"] == pytest.approx(edits / sum(len(b) for _, b in pairs))
    letters = sum(distance(list(a), list(b)) for a, b in zip(heard, said, strict=True))
    assert result["character_error_rate"] == pytest.approx(letters / sum(map(len, said)))
    kinds = [result[name] for name in ("substituted", "deleted", "inserted")]
    assert sum(kinds) == pytest.approx(result["word_error_rate"])


def test_the_kinds_of_errors_by_hand() -> None:
    result = error_rates(["one too", "four five six"], ["one two three", "four six"])
    assert [result[name] for name in ("substituted", "deleted", "inserted")] == [0.2, 0.2, 0.2]


def test_the_loss_is_of_sentences_that_can_be_written() -> None:
    assert nats_per_symbol([2.0, math.inf, 4.0, 0.5], [3, 9, 1, 0]) == pytest.approx(1.5)
    assert nats_per_symbol([math.inf], [2]) is None


def test_answers_come_back_from_texts() -> None:
    for answer in (SentenceAnswer("a b", 0.1 + 0.2, True), SentenceAnswer("", math.inf, False)):
        assert SentenceAnswer.read(answer.text, *answer.measured()) == answer
    metrics = transcript_metrics([SentenceAnswer("a", 1.0, True), SentenceAnswer("b", 2.0, False)], ["a", "c"], [1, 1])
    assert (metrics["word_error_rate"], metrics["nats_per_symbol"], metrics["misplaced_words"]) == (0.5, 1.5, 0.5)
