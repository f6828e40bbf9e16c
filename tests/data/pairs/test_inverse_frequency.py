"""The words of texts, and how much each says."""

import math
from pathlib import Path

import numpy as np
import pytest

from elman.data.pairs.inverse_frequency import InverseFrequency
from elman.data.text.characters import Characters
from elman.errors import DataError, RunError

TEXTS = ["The cat sat", "the dog", "the the bird"]


def test_frequent_words_come_first_and_rare_ones_say_more() -> None:
    lexicon = InverseFrequency.build(TEXTS, size=3)
    assert lexicon.words.words == ["<unk>", "<eos>", "the", "bird", "cat"]
    assert lexicon.number("dog") == lexicon.number("never") == 0
    assert lexicon.weight("the") == 0
    assert lexicon.weight("never") == 1
    assert lexicon.weight("cat") == pytest.approx(math.log(4 / 2) / math.log(4))


def test_more_words_stand_behind() -> None:
    lexicon = InverseFrequency.build(TEXTS, size=2).extended(["dog", "the", "two words", "dog"])
    assert lexicon.words.words == ["<unk>", "<eos>", "the", "bird", "dog"]
    assert lexicon.weight("dog") == 1


def test_it_is_kept(tmp_path: Path) -> None:
    InverseFrequency.build(TEXTS, size=9).save(tmp_path)
    again = InverseFrequency.open(tmp_path)
    assert again.texts == 3
    assert again.number("sat") == 6
    assert again.weight("cat") == 0.5


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the texts have no words"):
        InverseFrequency.build([" "], size=9)
    InverseFrequency.build(TEXTS, size=9).save(tmp_path)
    for wrong in (np.array([1, 2]), np.zeros(8), np.zeros(8, int), np.full(8, -1)):
        np.save(tmp_path / "seen.npy", wrong)
        with pytest.raises(RunError, match=r"seen\.npy does not fit the vocabulary\n.*8 counts"):
            InverseFrequency.open(tmp_path)
    Characters("ab").save(tmp_path)
    with pytest.raises(RunError, match="does not fit the vocabulary"):
        InverseFrequency.open(tmp_path)
