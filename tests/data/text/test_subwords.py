"""Texts as words, and words as pieces."""

from hypothesis import given
from hypothesis import strategies as st

from elman.data.text.subwords import character_ngrams, hash_buckets, split_sentence


def test_words_and_signs() -> None:
    assert split_sentence("The dog's BARK, isn't it?") == ["the", "dog's", "bark", ",", "isn't", "it", "?"]
    assert split_sentence("x_1 = 3.5 ﬁne\tÜber") == ["x_1", "=", "3", ".", "5", "fine", "über"]
    assert split_sentence("私は猫 cats") == ["私", "は", "猫", "cats"]
    assert split_sentence(" \n") == []


@given(st.text(max_size=30))
def test_blanks_and_capitals_do_not_matter(text: str) -> None:
    assert split_sentence("  " + text.replace(" ", "\n ") + " ") == split_sentence(text)
    assert all(word and word.split() == [word] for word in split_sentence(text))


def test_pieces() -> None:
    assert character_ngrams("cat") == ["<ca", "cat", "at>", "<cat", "cat>"]
    assert (character_ngrams("a"), character_ngrams("")) == (["<a>"], ["<>"])
    assert character_ngrams("aaaa").count("aaa") == 1


def test_buckets_are_the_same_on_every_machine() -> None:
    assert hash_buckets(character_ngrams("cat"), 1000).tolist() == [524, 832, 276, 679, 239]
    assert max(hash_buckets(character_ngrams("internationalisation"), 7)) < 7
