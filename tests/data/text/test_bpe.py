"""Byte pairs: what is theirs alone."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from elman.data.text import bpe
from elman.data.text.bpe import BytePairs, _signs_of_bytes, split_before_whitespace
from elman.data.text.vocabularies import load_vocabulary
from elman.errors import RunError, SettingError

TEXT = "the cat sat on the mat, the cat's hat\n\n  def f(x):\n\treturn 12 + x  # the end\r\n" * 4


@pytest.fixture(scope="module")
def vocabulary() -> BytePairs:
    return BytePairs.build([[TEXT]], size=310)


@pytest.fixture(scope="module")
def earlier() -> BytePairs:
    """A vocabulary as earlier versions wrote it, merged from the signs of bytes."""
    signs = {sign: byte for byte, sign in enumerate(_signs_of_bytes())}
    model = {"type": "BPE", "vocab": {**signs, "th": 256, "the": 257}, "merges": [["t", "h"], ["th", "e"]]}
    return BytePairs.from_json({"model": model})


def test_frequent_sequences_become_symbols(vocabulary: BytePairs) -> None:
    assert len(vocabulary) == 310
    assert len(vocabulary.encode("the cat")) == 2


JAPANESE = "".join(f"{noun}は{verb}。\n" for noun in ("猫", "犬", "東京") for verb in ("走る", "食べる")) * 3


def test_what_a_model_may_write_is_whole_characters_of_the_training_text() -> None:
    vocabulary = BytePairs.build([[JAPANESE]], size=300)
    writable = [n for n in range(len(vocabulary)) if n not in vocabulary.never_written]
    assert len(vocabulary) - len(writable) == 256
    for token_id in writable:
        assert set(vocabulary.decode([token_id])) <= set(JAPANESE)
    assert not set(vocabulary.encode(JAPANESE).tolist()) & set(vocabulary.never_written)
    assert vocabulary.decode(vocabulary.encode("猫がé☃")) == "猫がé☃"
    assert vocabulary.encode("☃").tolist() == list("☃".encode())


def test_rare_characters_are_spelled_in_bytes_where_half_of_the_symbols_are_characters() -> None:
    common, rare = [chr(0x4E00 + n) for n in range(300)], [chr(0x5E00 + n) for n in range(100)]
    vocabulary = BytePairs.build([["".join(common * 3 + rare)]], size=256 + 600)
    assert all(len(vocabulary.encode(character)) == 1 for character in common)
    assert all(len(vocabulary.encode(character)) == 3 for character in rare)


def test_a_size_without_room_for_the_characters_is_refused() -> None:
    with pytest.raises(SettingError, match=r"invalid value for vocabulary_size\n.*at least 259: 256 bytes and 3 char"):
        BytePairs.build([["abc"]], size=258)
    assert len(BytePairs.build([["abc"]], size=259)) == 259


def test_a_vocabulary_of_an_earlier_version_encodes_as_before(earlier: BytePairs, tmp_path: Path) -> None:
    again = load_vocabulary(earlier.save(tmp_path))
    assert again.fingerprint == earlier.fingerprint
    assert again.encode("the é").tolist() == [257, 32, *"é".encode()] == earlier.encode("the é").tolist()
    assert not again.never_written
    assert again.decode(again.encode("東京")) == "東京"


def test_the_texts_are_read_in_pieces_of_any_size() -> None:
    whole, pieces = BytePairs.build([[JAPANESE]], size=300), BytePairs.build([list(JAPANESE)], size=300)
    assert whole.fingerprint == pieces.fingerprint


@given(text=st.text() | st.text(st.sampled_from(" \n\t\r\x1c\x85\u2028ab1.,'s"), max_size=80))
def test_parts_encode_as_the_whole(vocabulary: BytePairs, tmp_path_factory: Any, text: str) -> None:
    """The judge is the library itself on the uncut text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bpe, "LONGEST_PART", 7)
        cut = vocabulary.encode(text).tolist()
        parts = list(split_before_whitespace([text]))
    whole = vocabulary._tokenizer.encode(text).ids
    assert vocabulary.decode(cut) == text == vocabulary._tokenizer.decode(whole)
    if all(not left[-1].isspace() and right[0] in " \n" for left, right in pairwise(parts)):
        assert cut == whole


def test_parts_of_ordinary_text_encode_as_the_whole(vocabulary: BytePairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "LONGEST_PART", 20)
    assert len(list(split_before_whitespace([TEXT]))) > 10
    assert vocabulary.encode(TEXT).tolist() == vocabulary._tokenizer.encode(TEXT).ids


def test_a_part_ends_before_the_last_whitespace_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "LONGEST_PART", 7)
    for sign in "\n ":
        text = f"aaaa{sign}bbbb{sign}c{sign}{sign}d"
        assert list(split_before_whitespace([text])) == ["aaaa", f"{sign}bbbb{sign}c", f"{sign}{sign}d"]


@given(text=st.text(st.sampled_from("ab \n"), max_size=60), cuts=st.lists(st.integers(0, 60), max_size=5))
def test_parts_do_not_depend_on_the_pieces(text: str, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:stop] for start, stop in pairwise(places)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bpe, "LONGEST_PART", 5)
        parts = list(split_before_whitespace(pieces))
        assert parts == list(split_before_whitespace([text]))
    assert "".join(parts) == text
    assert all(0 < len(part) <= 5 for part in parts)


def test_the_file_is_that_of_the_library(vocabulary: BytePairs, tmp_path: Path) -> None:
    theirs = Tokenizer.from_file(str(vocabulary.save(tmp_path)))
    assert theirs.encode("the cat's 東京").ids == vocabulary.encode("the cat's 東京").tolist()


def test_merges_written_as_strings_are_read(earlier: BytePairs, tmp_path: Path) -> None:
    fields = earlier.to_json()
    fields["model"]["merges"] = [" ".join(pair) for pair in fields["model"]["merges"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields))
    assert load_vocabulary(tmp_path).fingerprint == earlier.fingerprint


def test_only_symbols_and_merges_are_taken_from_a_file(vocabulary: BytePairs, tmp_path: Path) -> None:
    fields = vocabulary.to_json()
    fields["normalizer"] = {"type": "Replace", "pattern": {"String": "a"}, "content": "b" * 1000}
    fields["added_tokens"] = [{"id": 10**9, "content": "x"}]
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields))
    assert load_vocabulary(tmp_path).encode(TEXT).tolist() == vocabulary.encode(TEXT).tolist()


@pytest.mark.parametrize("size", [255, -3, 1 << 25])
def test_invalid_sizes_are_refused(size: int) -> None:
    with pytest.raises(SettingError, match=rf"invalid value for vocabulary_size\n.*from 256 .*\n.*{size}"):
        BytePairs.build([[TEXT]], size=size)


BROKEN: dict[str, tuple[Any, str]] = {
    "no model": (lambda f: f.pop("model"), "a model of type BPE"),
    "another model": (lambda f: f["model"].update(type="Unigram"), "a model of type BPE"),
    "no merges": (lambda f: f["model"].update(merges=None), r"symbols \(vocab\) and merges"),
    "a gap": (lambda f: f["model"]["vocab"].update(a=1000), "symbols with the token ids 0 to 257"),
    "no number": (lambda f: f["model"]["vocab"].update(a="1"), "symbols with the token ids 0 to 257"),
    "a number that is false": (
        lambda f: f["model"]["vocab"].update({"!": False}),
        "symbols with the token ids 0 to 257",
    ),
    "a foreign sign": (lambda f: f["model"]["vocab"].update({"東": 258}), "the signs for bytes"),
    "an empty symbol": (lambda f: f["model"]["vocab"].update({"": 258}), "the signs for bytes"),
    "a byte missing": (lambda f: f["model"]["vocab"].update({"zz": f["model"]["vocab"].pop("z")}), "each of the 256"),
    "half a merge": (lambda f: f["model"]["merges"].append(["a"]), r"merges of two symbols\n.*\['a'\]"),
    "a merge into nothing": (lambda f: f["model"]["merges"].append(["z", "z"]), "merges of symbols into a symbol"),
}


BROKEN_WITH_CHARACTERS: dict[str, tuple[Any, str]] = {
    "a merge in one string": (lambda f: f["model"]["merges"].append(" the"), "merges of symbols into a symbol"),
    "an empty symbol with characters": (
        lambda f: f["model"]["vocab"].update({"": len(f["model"]["vocab"])}),
        "symbols of at least one character",
    ),
    "a byte elsewhere": (
        lambda f: f["model"]["vocab"].update({"<0x00>": 1, "<0x01>": 0}),
        "the 256 bytes first",
    ),
}


@pytest.mark.parametrize("case", sorted(BROKEN | BROKEN_WITH_CHARACTERS))
def test_a_broken_file_is_refused(case: str, vocabulary: BytePairs, earlier: BytePairs, tmp_path: Path) -> None:
    spoil, message = (BROKEN | BROKEN_WITH_CHARACTERS)[case]
    fields = (vocabulary if case in BROKEN_WITH_CHARACTERS else earlier).to_json()
    spoil(fields)
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields))
    with pytest.raises(
        RunError, match=rf"tokenizer.json: the tokenizer file is broken(.*\n)*.*{message}(.*\n)*.*try: "
    ):
        load_vocabulary(tmp_path)
