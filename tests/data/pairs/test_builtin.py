"""The pairs that need no download."""

import random
import statistics

from elman.data.pairs import builtin as edited_pairs
from elman.data.pairs.builtin import (
    DENIED,
    EDITS,
    drop_article,
    negate,
    reference_sentences,
    replace_by_synonym,
    swap_letters,
)
from elman.evaluation.baselines.word_overlap import shared_words


def test_there_are_enough_and_a_seed_repeats_them() -> None:
    pairs = list(edited_pairs.edited_pairs(1))
    assert len(pairs) > 2000
    assert list(edited_pairs.edited_pairs(1)) == pairs
    assert list(edited_pairs.edited_pairs(2)) != pairs
    assert {pair.first for pair in pairs} == set(reference_sentences())
    assert all(0 <= pair.score <= 5 for pair in pairs)
    same = [pair for pair in pairs if pair.first == pair.second]
    assert same
    assert all(pair.score == 5 for pair in same)
    scores, shared = [p.score for p in pairs], [shared_words(p.first, p.second) for p in pairs]
    assert 0.5 < statistics.correlation(scores, shared) < 0.8, "counting words is of use, and not enough"


def test_what_the_edits_do() -> None:
    words = ["the", "method", "is", "called", "with", "a", "value"]

    def after(edit: edited_pairs.Edit) -> str:
        return " ".join(edit(words, random.Random(1), ["other"]) or [])

    assert sorted(after(swap_letters)) == sorted(" ".join(words)) != after(swap_letters)
    assert after(drop_article) in ("method is called with a value", "the method is called with value")
    assert (
        after(replace_by_synonym).count("procedure")
        + after(replace_by_synonym).count("invoked")
        + after(replace_by_synonym).count("result")
        == 1
    )
    assert after(negate) == "the method is not called with a value"
    assert negate(["it", "is", "not", "so"], random.Random(1), []) == ["it", "is", "so"]
    assert negate(["nothing", "here"], random.Random(1), []) is None
    assert all(DENIED[DENIED[word]] == word for word in DENIED)


def test_edits_leave_their_input_alone() -> None:
    words = ["the", "long", "method", "is", "called", "with", "a", "value"]
    before = list(words)
    for edit, cost in EDITS:
        edit(words, random.Random(2), ["other"])
        assert words == before
        assert cost > 0
