"""Inputs of predictors: lines, texts, pairs, files, and texts told apart from misspelt names."""

import io
import os
import sys
from pathlib import Path

import pytest

from elman.data.pairs.readers import read_pairs
from elman.errors import DataError
from elman.predictors.inputs import (
    batched,
    count_lines,
    input_file,
    input_lines,
    input_pairs,
    input_texts,
    names_something,
    resolved,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "x.txt"
    path.write_text("b\n\nc\n")
    return path


def type_in(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="ascii"))


def test_inputs_are_lines_files_or_standard_input(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, "\u00e9\n f\n".encode())
    lines = list(input_lines([" a ", str(path), "-"]))
    assert [line.text for line in lines] == ["a", "b", "", "c", "\u00e9", "f"]
    assert [line.where for line in lines[1:5]] == [*(f"{path}, line {n}" for n in (1, 2, 3)), "standard input, line 1"]
    batches = list(batched(lines, 2, lambda line: line.interactive))
    assert [[line.text for line in lines] for lines in batches] == [["a", "b"], ["", "c"], ["\u00e9"], ["f"]]
    with pytest.raises(DataError, match="nothing to answer"):
        list(input_lines([]))


def test_lines_that_are_answered_are_passed_over(path: Path) -> None:
    for after in range(4):
        assert [line.text for line in input_lines(["a", path], after)] == ["a", "b", "", "c"][after:]
    with pytest.raises(DataError, match=r"more answers than lines\n.*at most 4 answers.*\n.*5"):
        list(input_lines(["a", path], 5))


def test_what_came_before_a_mistake_is_handed_out_first(path: Path) -> None:
    path.write_bytes(b"a\nb\n\xff\nc\n")
    batches = batched(input_lines([path]), 32, lambda line: line.interactive)
    assert [line.text for line in next(batches)] == ["a", "b"]
    with pytest.raises(DataError, match=r"x\.txt, line 3 is not valid UTF-8"):
        next(batches)


def test_standard_input_is_refused_for_what_a_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, b"a\nb\xe4h\n")
    with pytest.raises(DataError, match=r"standard input, line 2 is not valid UTF-8\n.*\n.*0xe4 at offset 1"):
        list(input_lines(["-"]))
    type_in(monkeypatch, b"a" * (1 << 20) + b"b")
    with pytest.raises(DataError, match="standard input, line 1 is too long"):
        list(input_lines(["-"]))


def test_whole_lines_are_counted(path: Path) -> None:
    assert count_lines(path) == 3
    path.write_text("")
    assert count_lines(path) == 0
    path.write_text("a\nb")
    with pytest.raises(DataError, match=r"line 2 is not complete(\n.*){2}\n.*sed -i"):
        count_lines(path)
    with pytest.raises(DataError, match="cannot be read"):
        count_lines(path.with_name("nothing"))


def test_texts_are_inputs_or_the_lines_of_files(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, b"d\n")
    assert list(input_texts(["a", str(path), "-"])) == ["a", "b", "", "c", "d"]
    with pytest.raises(DataError, match="there is no text"):
        list(input_texts([]))


def test_pairs_are_two_texts_or_texts_with_a_tab_or_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("k\tl\nbroken\nc\td\n")
    type_in(monkeypatch, b"e\tf\n\n")
    skipped: list[str] = []

    def texts(*inputs: str) -> list[tuple[str, str]]:
        batches = input_pairs(inputs, lambda file: read_pairs([file], scored=False, skip_bad=True), skipped)
        return [pair[:2] for batch in batches for pair in batch]

    assert texts("a", "b") == [("a", "b")]
    assert texts("g\th", str(path), "-") == [("g", "h"), ("k", "l"), ("c", "d"), ("e", "f")]
    assert skipped == [f"{path}, line 2: wrong number of cells: 1 cells: broken"]
    for inputs in ((), ("one",), ("one\t ",)):
        with pytest.raises(DataError, match="is not a pair of texts"):
            texts(*inputs)


def test_standard_input_is_given_as_a_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, b"a\n")
    with input_file(str(path)) as file:
        assert file == path
    with input_file("-") as file:
        assert file.read_bytes() == b"a\n"
    assert not file.exists()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data").mkdir()
    for name in ("test.de.gz", "data/valid.en", "data/two words.en", "plain", "other.en"):
        (tmp_path / name).write_text("x\n")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_there_is_a_file_or_a_pipe(here: Path) -> None:
    names = ["test.de.gz", "data/valid.en", "data/two words.en", "plain", "pipe", str(here / "plain")]
    assert resolved(names) == [Path(name) for name in names]
    assert resolved(["-", Path("gone")]) == ["-", Path("gone")]


@pytest.mark.parametrize(
    "text",
    [
        "Two dogs play.",
        "dogs",
        "Hello.",
        "e.g.",
        "z.B.",
        "3.14",
        "Mr.Smith",
        "data",  # the name of a folder, and a word
        "and/or not",
        " data/valid.de",
        "see data/valid.txt",
        "",
        ".",
        "..",
        "zero\0byte",
        400 * "long",
        "日本語。",
    ],
)
def test_texts_stay_texts(here: Path, text: str) -> None:
    assert resolved([text]) == [text]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "tset.de.gz",
            r"does not exist\n.*a file of lines, or a text\n.*no file.*\n.*did you mean test\.de\.gz\?.*' tset",
        ),
        ("data/vaild.en", r"does not exist\n.*\n.*\n.*did you mean data/valid\.en\?"),
        (
            "data/foo.txt",
            r"does not exist\n.*\n.*\n.*try: +A text that looks like a name takes a blank before it: ' data",
        ),
        ("nowhere/valid.en", r"does not exist"),
        ("new.txt", r"does not exist"),
        ("new.wav", r"does not exist"),
        ("new.en", r"does not exist"),  # another file here ends so
        ("data/", r"data/ is a folder\n.*\n.*a folder"),
        ("./data", r"is a folder"),
    ],
)
def test_a_misspelt_name_is_no_text(here: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        resolved(["a text", name])


def test_a_closed_or_unreadable_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    for read in (input_lines, input_texts, lambda names: input_pairs(names, read_pairs, [])):
        with pytest.raises(DataError, match="standard input is closed"):
            list(read(["-"]))
    with pytest.raises(DataError, match="standard input is closed"), input_file("-"):
        pass

    class Folder(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            raise IsADirectoryError(21, "Is a directory")

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Folder()))
    with pytest.raises(DataError, match=r"standard input cannot be read\n.*\n.*Is a directory"):
        list(input_lines(["-"]))


def test_texts_of_standard_input_are_utf8_whatever_the_terminal_has(monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, "ä\n".encode())
    assert list(input_texts(["-"])) == ["ä"]
    for read in (input_texts, lambda names: input_pairs(names, read_pairs, [])):
        type_in(monkeypatch, b"a\tb\n\xff\n")
        with pytest.raises(DataError, match="standard input, line 2 is not valid UTF-8"):
            list(read(["-"]))


def test_folders_may_be_inputs_and_an_empty_text_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolved([str(tmp_path)], folders=True) == [tmp_path]
    monkeypatch.chdir(tmp_path)
    assert resolved([""], folders=True) == [""], "not the current folder"
    assert resolved(["z" * 300, "a\0b"]) == ["z" * 300, "a\0b"]


def test_standard_input_is_utf_8_in_every_locale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    raw = b"\xef\xbb\xbfa\tb\nc\xe9\td\ne\tf\n"
    read = lambda path: read_pairs([path], scored=False)  # noqa: E731
    for answered in (input_texts(["-"]), (pair.first for pairs in input_pairs(["-"], read, []) for pair in pairs)):
        type_in(monkeypatch, raw)
        assert next(answered).partition("\t")[0] == "a"
        with pytest.raises(DataError, match=r"standard input, line 2 is not valid UTF-8\n.*\n.*0xe9 at offset 1"):
            next(answered)
    type_in(monkeypatch, raw + b"no tab\n")
    skipped: list[str] = []
    pairs = [pair.first for pairs in input_pairs(["-"], read, skipped, skip_bad=True) for pair in pairs]
    assert pairs == ["a", "e"]
    assert ["line 2 is not valid" in skipped[0], "not a pair" in skipped[1]] == [True, True]
    type_in(monkeypatch, "a\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"byte order mark of UTF-16\n.*iconv -f utf-16 -t utf-8, before"):
        list(input_texts(["-"]))
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DataError, match="standard input is closed"):
        list(input_texts(["-"]))


def test_an_empty_name_is_no_folder() -> None:
    assert not names_something("")
    assert names_something(".")
