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
from elman.data.text.bpe import BytePairs, split_before_whitespace
from elman.data.text.vocabularies import load_vocabulary
from elman.errors import RunError, SettingError

TEXT = "the cat sat on the mat, the cat's hat\n\n  def f(x):\n\treturn 12 + x  # the end\r\n" * 4


@pytest.fixture(scope="module")
def vocabulary() -> BytePairs:
    return BytePairs.build([[TEXT]], size=290)


def test_frequent_sequences_become_symbols(vocabulary: BytePairs) -> None:
    assert len(vocabulary) == 290
    assert len(vocabulary.encode("the cat")) == 2


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


def test_merges_written_as_strings_are_read(vocabulary: BytePairs, tmp_path: Path) -> None:
    fields = vocabulary.to_json()
    fields["model"]["merges"] = [" ".join(pair) for pair in fields["model"]["merges"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields))
    assert load_vocabulary(tmp_path).fingerprint == vocabulary.fingerprint


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
    "a gap": (lambda f: f["model"]["vocab"].update(a=1000), "symbols with the token ids 0 to 289"),
    "no number": (lambda f: f["model"]["vocab"].update(a="1"), "symbols with the token ids 0 to 289"),
    "a number that is false": (
        lambda f: f["model"]["vocab"].update({"!": False}),
        "symbols with the token ids 0 to 289",
    ),
    "a foreign sign": (lambda f: f["model"]["vocab"].update({"東": 290}), "the signs for bytes"),
    "an empty symbol": (lambda f: f["model"]["vocab"].update({"": 290}), "the signs for bytes"),
    "a byte missing": (lambda f: f["model"]["vocab"].update({"zz": f["model"]["vocab"].pop("z")}), "each of the 256"),
    "half a merge": (lambda f: f["model"]["merges"].append(["a"]), r"merges of two symbols\n.*\['a'\]"),
    "a merge into nothing": (lambda f: f["model"]["merges"].append(["z", "z"]), "merges of symbols into a symbol"),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_a_broken_file_is_refused(case: str, vocabulary: BytePairs, tmp_path: Path) -> None:
    spoil, message = BROKEN[case]
    fields = vocabulary.to_json()
    spoil(fields)
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields))
    with pytest.raises(
        RunError, match=rf"tokenizer.json: the tokenizer file is broken(.*\n)*.*{message}(.*\n)*.*try: "
    ):
        load_vocabulary(tmp_path)
