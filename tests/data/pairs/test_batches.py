"""Texts as tensors, judged by the words themselves."""

import numpy as np
import pytest

from elman.data.pairs.batches import PairCollator, word_similarity
from elman.data.pairs.inverse_frequency import InverseFrequency
from elman.data.pairs.readers import ScoredPair
from elman.data.text.subwords import character_ngrams, split_sentence

LEXICON = InverseFrequency.build(["the cat sat", "the dog"], size=9)


def test_every_word_stands_where_it_should() -> None:
    pairs = [ScoredPair("the cat", "the unknown dog", 2.0), ScoredPair("", "sat sat", 1.0)]
    batch = PairCollator(LEXICON, buckets=50, max_words=9).pairs(pairs)
    texts = [pair.first for pair in pairs] + [pair.second for pair in pairs]
    assert batch.score_B.tolist() == [2, 1]
    assert batch.texts.lengths_B.tolist() == [2, 0, 3, 2]
    for b, text in enumerate(texts):
        words = split_sentence(text)
        places = batch.texts.place_TB[: len(words), b]
        assert batch.texts.word_W[places].tolist() == [LEXICON.number(word) for word in words]
        np.testing.assert_allclose(batch.texts.weight_W[places], [LEXICON.weight(word) for word in words], rtol=1e-6)
        assert not batch.texts.place_TB[len(words) :, b].any()
    ends = [*batch.texts.begin_W.tolist()[1:], len(batch.texts.piece_N)]
    assert ends[0] == len(character_ngrams("the"))


def test_long_texts_are_cut() -> None:
    texts = PairCollator(LEXICON, buckets=50, max_words=3).texts(["a b c d e", "a"])
    assert texts.lengths_B.tolist() == [3, 1]
    assert texts.place_TB.shape == (3, 2)


def test_texts_without_words() -> None:
    texts = PairCollator(LEXICON, buckets=0, max_words=3).texts(["", " "])
    assert texts.lengths_B.tolist() == [0, 0]
    assert texts.place_TB.shape == (1, 2)


def test_likeness_of_spelling_is_dices_coefficient() -> None:
    words = ["playing", "played", "cat", "playing2", "?"]
    found = word_similarity(words)
    for i, one in enumerate(words):
        for j, other in enumerate(words):
            p, q = set(character_ngrams(one)), set(character_ngrams(other))
            assert found[i, j] == pytest.approx(2 * len(p & q) / (len(p) + len(q)))
    assert (np.diag(found) == 1).all()
