"""Short texts to token ids."""

import pytest

from elman.data.labelled.text_encoder import TextEncoder, split_text
from elman.errors import DataError, SettingError


def encoder(kind: str, *texts: object, size: int | None = None) -> TextEncoder:
    return TextEncoder.build(lambda: iter(texts), kind, size)


def test_words_are_parted_from_punctuation_in_lower_case() -> None:
    assert split_text("It isn't, é!", "words") == ["it", "isn't", ",", "é", "!"]
    assert split_text(["New York", "X"], "words") == ["New_York", "X"]


def test_what_training_has_not_seen_is_the_last_symbol() -> None:
    words = encoder("words", "a b a", "c")
    assert words.size == len(words.vocabulary) + 1
    ids = words.encode("A c zebra").tolist()
    assert ids[2] == words.unknown == words.size - 1
    assert words.vocabulary.decode(ids[:2]) == "a c"
    assert encoder("characters", "ab").encode("bxa").tolist() == [1, 2, 0]


def test_lists_are_taken_as_they_are() -> None:
    assert encoder("words", ["b", "A"]).encode(["A", "a"]).tolist()[1] == 4
    assert encoder("characters", ["a", "b"]).encode(["b", "a"]).tolist() == [1, 0]


def test_bytes_and_pairs() -> None:
    assert encoder("bytes").encode("é").tolist() == [0xC3, 0xA9]
    pairs = encoder("bpe", "banana " * 20, size=280)
    assert pairs.vocabulary.decode(pairs.encode("banana")) == "banana"
    with pytest.raises(DataError, match=r"has symbols of its own\n(.*\n)*.*vocabulary=words"):
        pairs.encode(["a"])


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(SettingError, match=r"unknown vocabulary 'word'\n.*auto(.*\n)*.*did you mean 'words'"):
        encoder("word", "a")
