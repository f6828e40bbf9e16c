"""Laws of every vocabulary: text to token ids and back, whole, in pieces, and through a file; broken files."""

import errno
import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.text.documents import Document
from elman.data.text.vocabularies import VOCABULARIES, Vocabulary, build_vocabulary, load_vocabulary
from elman.data.text.vocabulary import smallest_dtype
from elman.errors import DataError, RunError, SettingError

TRAINED_ON = "Der Fluß fließt, the café's naïve 東京 😀\n\n  two  blanks\tand a tab\r\n<unk> 12 345 words'll do\n" * 3
texts = st.text(st.sampled_from(sorted(set(TRAINED_ON))), max_size=60) | st.sampled_from([TRAINED_ON, "", "\n", " "])


@pytest.fixture(scope="module", params=sorted(VOCABULARIES))
def vocabulary(request: pytest.FixtureRequest) -> Vocabulary:
    return build_vocabulary(request.param, [Document("text", TRAINED_ON)], size={"bpe": 300}.get(request.param))


def normal(vocabulary: Vocabulary, text: str) -> str:
    """What comes back: the text; of words, lines with single spaces, every unknown word as <unk>."""
    if vocabulary.kind != "words":
        return text
    known = set(TRAINED_ON.split())
    lines = [[word if word in known else "<unk>" for word in line.split()] for line in text.split("\n")]
    return "\n".join(" ".join(line) for line in lines)


def in_pieces(vocabulary: Vocabulary, text: str, cuts: list[int]) -> list[str | bytes]:
    whole = text.encode() if vocabulary.reads_bytes else text
    places = [0, *sorted(cut % (len(whole) + 1) for cut in cuts), len(whole)]
    return [whole[start:stop] for start, stop in pairwise(places)]


@given(text=texts)
def test_decoding_gives_the_text_back(vocabulary: Vocabulary, text: str) -> None:
    ids = vocabulary.encode(text)
    assert ids.dtype == vocabulary.dtype == smallest_dtype(len(vocabulary))
    assert vocabulary.decode(ids) == normal(vocabulary, text)
    again = vocabulary.encode(vocabulary.decode(ids))
    assert again.tolist() == ids.tolist()


@given(text=texts, cuts=st.lists(st.integers(0, 1000), max_size=5))
def test_cuts_between_pieces_do_not_matter(vocabulary: Vocabulary, text: str, cuts: list[int]) -> None:
    parts = list(vocabulary.encode_pieces(in_pieces(vocabulary, text, cuts)))
    assert np.concatenate([np.empty(0), *parts]).tolist() == vocabulary.encode(text).tolist()


@given(data=st.data())
def test_decoding_one_by_one_equals_decoding_all(vocabulary: Vocabulary, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, len(vocabulary) - 1), max_size=30))
    decoder = vocabulary.decoder()
    streamed = [decoder.push(number) for number in ids] + [decoder.finish()]
    assert "".join(streamed) == vocabulary.decode(ids)
    streamed = [decoder.push(number) for number in ids] + [decoder.finish()]
    assert "".join(streamed) == vocabulary.decode(ids), "a finished decoder begins anew"


@given(cuts=st.lists(st.integers(0, 1000), max_size=5))
def test_a_vocabulary_does_not_depend_on_how_its_text_is_cut(vocabulary: Vocabulary, cuts: list[int]) -> None:
    if vocabulary.kind == "bytes":
        return  # it is never built from text
    pieces = in_pieces(vocabulary, TRAINED_ON, cuts)
    built = type(vocabulary).build([pieces], size=300 if vocabulary.kind == "bpe" else None)
    assert built.to_json() == vocabulary.to_json()


def test_a_saved_vocabulary_comes_back(vocabulary: Vocabulary, tmp_path: Path) -> None:
    path = vocabulary.save(tmp_path)
    assert [path] == list(tmp_path.iterdir())
    assert path.name == ("tokenizer.json" if vocabulary.kind == "bpe" else "vocabulary.json")
    for loaded in (load_vocabulary(path), load_vocabulary(tmp_path)):
        assert type(loaded) is type(vocabulary)
        assert loaded.fingerprint == vocabulary.fingerprint
        assert loaded.size == vocabulary.size == len(loaded)
        assert loaded.encode(TRAINED_ON).tolist() == vocabulary.encode(TRAINED_ON).tolist()
        assert loaded.decode(loaded.encode(TRAINED_ON)) == normal(vocabulary, TRAINED_ON)


def test_a_token_id_outside_is_refused(vocabulary: Vocabulary) -> None:
    for number in (-1, len(vocabulary)):
        with pytest.raises(
            DataError, match=rf"outside .*\n.*from 0 to {len(vocabulary) - 1}\n.*{number}\n.*that encoded"
        ):
            vocabulary.decode([number])


def test_bytes_and_text_encode_alike(vocabulary: Vocabulary) -> None:
    assert vocabulary.encode(TRAINED_ON.encode()).tolist() == vocabulary.encode(TRAINED_ON).tolist()


def test_text_that_is_not_unicode_is_read_by_bytes_only(vocabulary: Vocabulary) -> None:
    from_command_line = b"a\xff".decode("utf-8", "surrogateescape")
    if vocabulary.kind == "bytes":
        assert vocabulary.encode(from_command_line).tolist() == [97, 255]
        with pytest.raises(DataError, match="the text is not valid UTF-8"):
            vocabulary.encode("\ud800")
        return
    for text in (from_command_line, b"a\xff", "\ud800"):
        with pytest.raises(DataError, match=r"the text is not valid UTF-8\n(.*\n)*.*vocabulary=bytes reads any bytes"):
            vocabulary.encode(text)


def test_fingerprints_differ() -> None:
    one, other = (build_vocabulary("characters", [Document("text", text)]) for text in ("ab", "abc"))
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize(("size", "width"), [(1, 1), (256, 1), (257, 2), (65536, 2), (65537, 4)])
def test_token_ids_take_as_few_bytes_as_possible(size: int, width: int) -> None:
    assert smallest_dtype(size).itemsize == width
    assert np.iinfo(smallest_dtype(size)).max >= size - 1


def test_an_unknown_kind_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingError, match=r"unknown vocabulary 'character'\n(.*\n)*.*did you mean 'characters'"):
        build_vocabulary("character", [Document("text", "a")])


GOOD = {"version": 1, "kind": "characters", "size": 2, "symbols": ["a", "b"]}
WORDS = {"version": 1, "kind": "words", "size": 3, "symbols": ["<unk>", "<eos>", "a"]}
BROKEN = {
    "not JSON": ("{", r"is broken\n.*a vocabulary in JSON"),
    "deep JSON": ("[" * 100_000, r"is broken\n.*a vocabulary in JSON"),
    "a pickle": ("\x80\x04\x95", r"is broken\n.*a vocabulary in JSON"),
    "a list": ("[1]", r"is broken\n.*a vocabulary in JSON.*\n.*a list, not a JSON object"),
    "no version": ({**GOOD, "version": None}, "version is 'None'"),
    "a version that is true": ({**GOOD, "version": True}, "version is 'True'"),
    "a newer version": ({**GOOD, "version": 2}, r"newer elman\n.*version 1 or older\n.*version 2\n.*pip install"),
    "no kind": ({**GOOD, "kind": ["characters"]}, "kind is .*characters.*, not one of bytes, characters, words"),
    "a foreign kind": ({**GOOD, "kind": "os.system"}, "kind is 'os.system', not one of"),
    "bpe elsewhere": ({**GOOD, "kind": "bpe"}, "kind is 'bpe', not one of"),
    "an absurd size": ({**GOOD, "size": 10**12}, "size is '1000000000000'"),
    "a negative size": ({**GOOD, "size": -1}, "size is '-1'"),
    "a size that lies": ({**GOOD, "size": 3}, "2 symbols, not 3"),
    "bytes of another size": ({"version": 1, "kind": "bytes", "size": 65}, "the size 65, not 256"),
    "no symbols": ({**GOOD, "symbols": "ab"}, "symbols is 'ab'"),
    "numbers as symbols": ({**GOOD, "symbols": ["a", 1]}, "symbols is '1'"),
    "an empty symbol": ({**GOOD, "symbols": ["a", ""]}, "symbols, not 2 that are not empty"),
    "a symbol twice": ({**GOOD, "symbols": ["a", "a"]}, "the symbol 'a' twice"),
    "long characters": ({**GOOD, "symbols": ["a", "bc"]}, r"symbols of one character\n.*'bc'"),
    "half a character": ({**GOOD, "symbols": ["a", "\ud800"]}, "surrogates not allowed"),
    "words without <unk>": ({**WORDS, "symbols": ["a", "<eos>", "b"]}, "<unk> among its words"),
    "words with whitespace": ({**WORDS, "symbols": ["<unk>", "<eos>", "a b"]}, r"words without whitespace\n.*'a b'"),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_a_broken_vocabulary_is_refused(case: str, tmp_path: Path) -> None:
    content, message = BROKEN[case]
    path = tmp_path / "vocabulary.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="latin-1")
    with pytest.raises(RunError, match=message) as refused:
        load_vocabulary(tmp_path)
    assert str(path) in str(refused.value), "the message names the file"
    for part in ("should be:", "is:        ", "try:       "):
        assert part in str(refused.value)


def test_the_cases_are_broken_by_what_they_name_only(tmp_path: Path) -> None:
    for fields in (GOOD, WORDS):
        (tmp_path / "vocabulary.json").write_text(json.dumps(fields))
        assert len(load_vocabulary(tmp_path)) == fields["size"]


def test_no_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no vocabulary\n.*vocabulary.json or tokenizer.json\n.*\n.*name a run"):
        load_vocabulary(tmp_path)
    with pytest.raises(RunError, match=r"vocabulary.json cannot be read\n.*\n.*No such file"):
        load_vocabulary(tmp_path / "vocabulary.json")


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    with path.open("wb") as file:
        file.truncate((1 << 29) + 1)  # takes no room on the disk
    with pytest.raises(
        RunError,
        match=r"is too large\n.*at most 536,870,912 bytes\n.*536,870,913 bytes\n.*restore the run",
    ):
        load_vocabulary(path)


def test_a_vocabulary_that_cannot_be_written_is_one_message(
    vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match=rf"none/{vocabulary.filename} cannot be written\n.*an existing folder"):
        vocabulary.save(tmp_path / "none")

    def full(handle: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RunError, match=rf"the disk is full, .*{vocabulary.filename} was not written"):
        vocabulary.save(tmp_path)
    assert not list(tmp_path.iterdir())
