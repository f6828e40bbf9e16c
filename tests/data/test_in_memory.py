"""Data in memory, written as the files of readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from elman.data.delimited import read_table
from elman.data.in_memory import RowFormat, input_files, source_files, write_table
from elman.errors import DataError

TABLE = RowFormat(("text", "label"), files="path")
NUMBERS = RowFormat(("value",), counter="time")
LINES = RowFormat(("text",), ".txt", header=False)
PAIRS = RowFormat(("source", "target"), ".tsv", header=False)


def cells(path: Path) -> list[list[str]]:
    table = read_table(path)
    return [table.header, *(cells for _, cells in table.parse(list))]


def test_cells_survive_and_missing_values_are_empty(tmp_path: Path) -> None:
    texts = ['a, "b"', "two\nlines", "x\ty", "Öl"]
    missing = [None, float("nan"), pd.NA, pd.NaT]
    for data in (zip(texts, missing, strict=True), pd.DataFrame({"text": texts, "label": missing})):
        assert cells(write_table(data, tmp_path, TABLE)) == [["text", "label"], *([text, ""] for text in texts)]


def test_arrays_and_paths_are_named_in_the_column_of_files(tmp_path: Path) -> None:
    (header, array, path) = cells(write_table([(np.ones((2, 3)), 1), (Path("x.wav"), 2)], tmp_path, TABLE))
    assert header == ["path", "label"] and path == [str(Path("x.wav").absolute()), "2"]
    assert np.load(tmp_path / array[0]).shape == (2, 3)


@pytest.mark.parametrize(
    ("data", "header", "first"),
    [
        ([0.1, 0.2], ["time", "value"], ["0", "0.1"]),
        (np.float32([0.1, 0.2]), ["time", "value"], ["0", "0.1"]),
        (np.ones((3, 2)), ["time", "value1", "value2"], ["0", "1.0", "1.0"]),
        (pd.Series([1.5], name="y"), ["y"], ["1.5"]),
        (pd.Series([1.5], index=["now"]), ["time", "value"], ["now", "1.5"]),
        ([{"day": 1, "y": 2}], ["day", "y"], ["1", "2"]),
    ],
)
def test_numbers_have_a_counter_or_an_index(data: Any, header: list[str], first: list[str], tmp_path: Path) -> None:
    assert cells(write_table(data, tmp_path, NUMBERS))[:2] == [header, first]


def test_files_without_a_header(tmp_path: Path) -> None:
    assert write_table(["a\tb", "c\nd"], tmp_path, LINES).read_text() == "a\tb\nc\nd\n"
    assert write_table([("a\tb", "c\nd")], tmp_path, PAIRS).read_text() == "a b\tc d\n"
    frame = pd.DataFrame({"x": [1], "target": ["b"], "source": ["a"]})
    assert write_table(frame, tmp_path, PAIRS).read_text() == "a\tb\n"
    with pytest.raises(DataError, match="the columns of the DataFrame are not known"):
        write_table(frame[["x"]], tmp_path, PAIRS)


def test_strings_are_paths_unless_they_are_texts(tmp_path: Path) -> None:
    with source_files(["a", "b"], TABLE, "classify") as (files, origin):
        assert (files, origin) == ([Path("a"), Path("b")], "")
    with source_files(["a", "b"], LINES, "language-model") as (files, origin):
        assert origin == "list in memory" and files[0].read_text() == "a\nb\n"
    assert not files[0].exists()
    with pytest.raises(DataError, match="toy does not take data of this type"), source_files([1], None, "toy"):
        pass


def test_inputs_stay_texts_where_they_can(tmp_path: Path) -> None:
    for inputs, expected in (("hello", ["hello"]), (["a", Path("b")], ["a", Path("b")]), ([("a", "b\n")], ["a\tb "])):
        with input_files(inputs, TABLE) as (files, _):
            assert list(files) == expected
    with input_files(np.ones((2, 5)), TABLE) as (files, folder):
        assert [np.load(file).shape for file in files] == [(5,), (5,)]
        assert {str(Path(file).parent) for file in files} == {folder}
    with pytest.raises(DataError, match="an input has a type that cannot be read"), input_files([1], None):
        pass


def test_errors_do_not_name_the_temporary_folder() -> None:
    with pytest.raises(DataError) as caught, source_files([("a", "b")], TABLE, "classify") as ((path,), _):
        raise DataError(f"{path} broke", should=f"not {path}", found=str(path), hint=f"sed {path}")
    error = caught.value
    assert (error.what, error.should, error.found, error.hint) == (
        "data.csv broke", "not data.csv", "data.csv", "sed data.csv",
    )  # fmt: skip
