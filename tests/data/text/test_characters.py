"""Bytes and characters: what is theirs alone."""

import pytest

from elman.data.text.characters import Bytes, Characters
from elman.errors import DataError, SettingError


def test_characters_are_those_of_the_text_in_order() -> None:
    assert Characters.build([["b😀a", "b"], ["\n"]]).characters == "\nab😀"
    assert Characters.build([["bca"]]).encode("abc").tolist() == [0, 1, 2]


def test_an_unknown_character_is_named_with_its_place() -> None:
    vocabulary = Characters.build([["abc"]])
    with pytest.raises(DataError) as refused:
        list(vocabulary.encode_pieces(["abc", "cb", "aéa"]))
    assert str(refused.value) == (
        "the vocabulary has no symbol for the character '\\xe9' (U+00E9)\n"
        "  should be: one of the 3 characters of the training text\n"
        "  is:        '\\xe9' at character 7 of the text\n"
        "  try:       remove the character; a model trained with --set vocabulary=bytes encodes every text"
    )


def test_a_text_with_too_many_characters_is_refused() -> None:
    assert len(Characters.build([["abc"]], size=3)) == 3
    with pytest.raises(DataError, match=r"at most 2 .*\n.*3 different characters\n.*--set vocabulary_size=3"):
        Characters.build([["abc"]], size=2)


def test_a_text_without_characters_is_refused() -> None:
    with pytest.raises(DataError, match=r"the text has no characters\n.*\n.*an empty text\n.*another text"):
        Characters.build([[""], []])


def test_bytes_have_one_size() -> None:
    assert len(Bytes.build([], size=256)) == 256
    with pytest.raises(SettingError, match=r"a vocabulary of bytes has one size\n.*256.*\n.*100"):
        Bytes.build([], size=100)


def test_the_text_of_bytes_is_complete_characters_only() -> None:
    decoder = Bytes().decoder()
    assert [decoder.push(byte) for byte in "aß東😀".encode()] == ["a", "", "ß", "", "", "東", "", "", "", "😀"]
    assert decoder.finish() == ""
    assert decoder.push("😀".encode()[0]) == ""
    assert decoder.finish() == "\ufffd"


def test_bytes_that_are_no_text_are_replaced() -> None:
    raw = bytes(range(256)) + b"\xe6\x9d"
    assert Bytes().decode(list(raw)) == raw.decode("utf-8", "replace")


def test_an_unknown_character_has_an_id_beyond_the_symbols() -> None:
    vocabulary = Characters.build([["abc"]])
    tolerant = vocabulary.with_unknown()
    assert (len(tolerant), tolerant.unknown, vocabulary.unknown) == (3, 3, None)
    assert tolerant.encode("aéb☃").tolist() == [0, 3, 1, 3]
    assert tolerant.fingerprint == vocabulary.fingerprint
    assert tolerant.with_unknown().encode("é").tolist() == [3]


def test_the_id_of_unknown_characters_fits_its_type() -> None:
    vocabulary = Characters.build([[chr(0x100 + n) for n in range(256)]])
    assert vocabulary.encode(chr(0x1FF)).dtype.itemsize == 1
    assert vocabulary.with_unknown().encode("a").tolist() == [256]
