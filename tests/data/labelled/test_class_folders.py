"""Folders as labels, and single files."""

from pathlib import Path

import numpy as np
import pytest

from elman.data.labelled.class_folders import FOLDERS, LINES
from elman.data.labelled.example import ReaderOptions
from elman.data.labelled.file_formats import load_file
from elman.data.labelled.readers import read_examples, read_inputs, reader_name
from elman.errors import DataError


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    for name, text in (
        ("b/2.txt", "two"),
        ("b/deep/3.txt", "three"),
        ("a/1.txt", "one"),
        ("a/x.bin", "?"),
        (".git/9.txt", "9"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert reader_name([tmp_path]) == "folders"
    found = [(example.label, example.load()) for example in FOLDERS.read([tmp_path], ReaderOptions())]
    assert found == [("a", "one"), ("b", "two"), ("b", "three")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has empty classes(\n.*)*none in empty"):
        list(FOLDERS.read([tmp_path], ReaderOptions()))
    np.save(tmp_path / "empty" / "1.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"several kinds(\n.*)*array, text"):
        list(FOLDERS.read([tmp_path], ReaderOptions()))


def test_a_text_file_for_each_class(tmp_path: Path) -> None:
    (tmp_path / "Irish.txt").write_text("O'Brien\n\nDaly", encoding="utf-8")
    (tmp_path / "Greek.txt").write_text("Kalas\r\n", encoding="utf-8")
    for sources in ([tmp_path], [tmp_path / "Greek.txt", tmp_path / "Irish.txt"]):
        assert reader_name(sources) == "lines"
        found = [(example.label, example.load()) for example in LINES.read(sources, ReaderOptions())]
        assert found == [("Greek", "Kalas"), ("Irish", "O'Brien"), ("Irish", "Daly")]
    assert [example.name for example in read_examples([tmp_path], ReaderOptions())][-1] == "Irish.txt:3"


def test_files_of_numbers(tmp_path: Path) -> None:
    csv = tmp_path / "a.csv"
    csv.write_text("x,y\n1,2\n3,4\n")
    np.testing.assert_array_equal(load_file(csv, ReaderOptions()), [[1, 2], [3, 4]])
    csv.write_text("1,2\n3,4\n")
    np.testing.assert_array_equal(load_file(csv, ReaderOptions()), [[1, 2], [3, 4]])
    csv.write_text("\ufeff1;2\n3;4\n")
    np.testing.assert_array_equal(load_file(csv, ReaderOptions()), [[1, 2], [3, 4]])
    for text, message in (("1,2\n3\n", "line 2: wrong number of cells"), ("1,2\n3,\n", "not all numbers")):
        csv.write_text(text)
        with pytest.raises(DataError, match=message):
            load_file(csv, ReaderOptions())
    array = tmp_path / "a.npy"
    np.save(array, np.arange(4).reshape(2, 2))
    assert load_file(array, ReaderOptions()).dtype == np.float64
    np.save(array, np.array([1.0, np.nan]))
    with pytest.raises(DataError, match="'nan' at place 2"):
        load_file(array, ReaderOptions())
    for content in (np.array([{}]), np.zeros((2, 2, 2)), np.array("x")):
        np.save(array, content, allow_pickle=True)
        with pytest.raises(DataError, match=r"cannot be read|is not a sequence"):
            load_file(array, ReaderOptions())
    with pytest.raises(DataError, match=r"of no kind that can be read(\n.*)*\.npy"):
        load_file(tmp_path / "a.xyz", ReaderOptions())
    with pytest.raises(DataError, match="does not exist"):
        load_file(tmp_path / "b.npy", ReaderOptions())


def test_what_no_reader_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nope does not exist"):
        read_examples([tmp_path / "nope"], ReaderOptions())
    with pytest.raises(DataError, match=r"cannot be read\n.*one folder per class(.*\n)*.*none of them"):
        read_examples([tmp_path], ReaderOptions())
    (tmp_path / "a.csv").write_text("text,label\na,b\n")
    (tmp_path / "b.txt").write_text("a\n")
    with pytest.raises(DataError, match="not all of one kind"):
        read_examples([tmp_path / "a.csv", tmp_path / "b.txt"], ReaderOptions())


def test_inputs_without_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", np.zeros(3))
    np.save(tmp_path / "a.npy", np.ones(2))
    reading = ReaderOptions(labelled=False)
    names = [Path(example.name).name for example in read_inputs([tmp_path], reading, "ts")]
    assert names == ["a.npy", "b.npy"]
    text = tmp_path / "c.txt"
    text.write_text("one\ntwo\n")
    assert len(list(read_inputs([text], reading, "folders"))) == 1
    assert [example.load() for example in read_inputs([text], reading, "lines")] == ["one", "two"]
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds nothing to read"):
        list(read_inputs([tmp_path / "none"], reading, "ts"))


def test_row_numbers_of_series_are_skipped_and_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for header in (",x,y", "Unnamed: 0,x,y", ",0,1"):
        path.write_text(f"{header}\n0,5,6\n1,7,8\n")
        options = ReaderOptions()
        np.testing.assert_array_equal(load_file(path, options), [[5, 6], [7, 8]])
        assert len(options.notes.lines()) == 1
    path.write_text("0,1\n5,6\n")
    np.testing.assert_array_equal(load_file(path, options), [[0, 1], [5, 6]])
    assert any("read as numbers" in note for note in options.notes.lines())
