"""Files of the UEA and UCR archive."""

from pathlib import Path

import numpy as np
import pytest

from elman.data.labelled.example import ReaderOptions
from elman.data.labelled.ts_archive import READER, parse_numbers
from elman.errors import DataError

HEAD = "# a comment\n@problemName Toy\n@timeStamps false\n@classLabel true a b\n@data\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "Toy_TRAIN.ts"
    path.write_text(HEAD + "1,2,-5.8E-5:4,5,6:a\n\n7:8:b\n")
    return path


def test_series_of_several_dimensions_and_lengths(path: Path) -> None:
    assert READER.takes([path])
    first, second = READER.read([path], ReaderOptions())
    assert (first.label, second.label, second.name) == ("a", "b", "Toy_TRAIN.ts:8")
    np.testing.assert_allclose(first.load(), [[1, 4], [2, 5], [-5.8e-5, 6]])
    np.testing.assert_allclose(second.load(), [[7, 8]])
    assert first.load().dtype == np.float64


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,?:3,4:a", r"Toy_TRAIN.ts:6 is not all numbers\n.*\n.*'\?' at place 2"),
        ("1,nan:3,4:a", "'nan' at place 2"),
        ("1,2:3:a", r"the dimensions differ in length\n.*\n.*1 and 2"),
        ("a", "the dimensions differ in length"),
    ],
)
def test_a_broken_line_is_named_when_it_is_loaded(path: Path, line: str, message: str) -> None:
    path.write_text(HEAD + line + "\n1:2:b\n")
    first, second = READER.read([path], ReaderOptions())
    with pytest.raises(DataError, match=message):
        first.load()
    assert second.load().shape == (1, 2)


def test_files_that_are_none_are_refused(path: Path) -> None:
    for text, message in (
        ("hello\n", "is not a .ts file"),
        (HEAD.replace("@timeStamps false", "@timeStamps true"), "has time stamps"),
        (HEAD.replace("@classLabel true a b", "@classLabel false"), "has no labels"),
    ):
        path.write_text(text + "1:a\n")
        with pytest.raises(DataError, match=message):
            list(READER.read([path], ReaderOptions()))
    path.write_bytes(b"\xff\xfe@data\n")
    with pytest.raises(DataError, match="is not valid UTF-8"):
        list(READER.read([path], ReaderOptions()))


def test_a_file_without_labels_can_be_predicted(path: Path) -> None:
    path.write_text(HEAD.replace("true a b", "false") + "1,2:3,4\n")
    (only,) = READER.read([path], ReaderOptions(labelled=False))
    assert only.label is None
    assert only.load().shape == (2, 2)


def test_numbers_beyond_float32_are_refused() -> None:
    with pytest.raises(DataError, match="'1e99'"):
        parse_numbers("x", ["1", "1e99"])
