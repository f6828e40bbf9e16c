"""Texts and names of files, told apart."""

import os
from pathlib import Path

import pytest

from elman.errors import DataError
from elman.predictors.text_or_file import texts_and_files


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
    assert texts_and_files(names) == [Path(name) for name in names]
    assert texts_and_files(["-", Path("gone")]) == ["-", Path("gone")]


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
    assert texts_and_files([text]) == [text]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "tset.de.gz",
            r"does not exist\n.*a file of lines, or a text\n.*nowhere\n.*did you mean test\.de\.gz\?.*' tset",
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
        ("data/", r"data/ is a folder\n.*\n.*no file"),
        ("./data", r"is a folder"),
    ],
)
def test_a_misspelt_name_is_no_text(here: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        texts_and_files(["a text", name])
