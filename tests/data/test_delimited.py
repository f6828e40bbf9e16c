"""Delimited tables: separators, headers, quotation marks, encodings, columns and broken rows."""

import csv
import gzip
from pathlib import Path

import pytest

from elman.data import delimited
from elman.data.delimited import MAX_CELL, Table, find_column, read_table
from elman.data.skipped import SkippedRows
from elman.errors import DataError


def write(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def cells(table: Table) -> list[list[str]]:
    return [cells for _, cells, _ in table.rows]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_and_ends_of_lines(tmp_path: Path, separator: str, end: str) -> None:
    lines = [separator.join(row) for row in (["\ufeffa ", " b"], ["1", "2"], ["", ""], ["3", " 4"])]
    table = read_table(write(tmp_path, end.join([*lines, "", ""])))
    assert table.header == ["a", "b"]
    assert list(table.rows) == [(2, ["1", "2"], ""), (4, ["3", " 4"], "")]


@pytest.mark.parametrize(
    ("text", "header", "first"),
    [
        ("date;temperature, C\n1;2\n", ["date", "temperature, C"], ["1", "2"]),
        ('date;"a, b, c"\n1;2\n', ["date", "a, b, c"], ["1", "2"]),
        ("a; b, c\td\ne; f, g\th\n", ["a; b, c", "d"], ["e; f, g", "h"]),
        ("a, b\td, e\nf\tg\tmore\n", ["a, b", "d, e"], ["f", "g", "more"]),
        ("a,b\tc\n1,2\n", ["a", "b\tc"], ["1", "2"]),
        ("alone\n1\n", ["alone"], ["1"]),
        ("alone\n1, 2\n", ["alone"], ["1", " 2"]),
        ("\tb\n1\t2\n", ["", "b"], ["1", "2"]),
    ],
)
def test_the_separator_fits_the_header_and_the_rows(
    tmp_path: Path, text: str, header: list[str], first: list[str]
) -> None:
    table = read_table(write(tmp_path, text))
    assert (table.header, cells(table)) == (header, [first])


def test_a_tsv_of_one_column_may_hold_commas(tmp_path: Path) -> None:
    assert cells(read_table(write(tmp_path, "text\none, two\n", "x.tsv"))) == [["one, two"]]


def test_quotation_marks(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, 'a,b\n"1\n2","3, ""4"""\n5,6\n'))
    assert list(table.rows) == [(2, ["1\n2", '3, "4"'], ""), (4, ["5", "6"], "")]
    tabs = read_table(write(tmp_path, 'a\tb\n"1\t"2"\n'))
    assert cells(tabs) == [['"1', '"2"']]
    path = write(tmp_path, '"a"\t"b"\n"1\t2"\t3\n')
    quoted = read_table(path, quoted_tabs=True)
    assert (quoted.header, cells(quoted)) == (["a", "b"], [["1\t2", "3"]])
    assert read_table(path).header == ['"a"', '"b"']
    path = write(tmp_path, 'a\tb\n"1 ""2"""\t"3\n')
    assert cells(read_table(path, quoted_tabs=True)) == [['1 "2"', '"3']]
    assert cells(read_table(path)) == [['"1 ""2"""', '"3']]
    for strict in (True, False):
        (good, bad) = read_table(write(tmp_path, 'a,b\n1,2\n3,"4\n5,6\n'), strict=strict).rows
        assert (good[2], bad[0], bad[2]) == ("", 3, "a quotation mark that is not closed")
    assert cells(read_table(write(tmp_path, 'a,b\n"1"x,2\n'))) == [["1x", "2"]]
    (row,) = read_table(write(tmp_path, 'a,b\n"1"x,2\n'), strict=True).rows
    assert "expected after" in row[2]


def test_a_file_without_a_header(tmp_path: Path) -> None:
    path = write(tmp_path, "1,2\n3,4\n")
    table = read_table(path, columns=["x", "y"])
    assert (table.header, cells(table)) == (["x", "y"], [["1", "2"], ["3", "4"]])
    table = read_table(path).without_header()
    assert (table.header, cells(table)) == (["1", "2"], [["1", "2"], ["3", "4"]])


def test_columns_by_name_number_and_known_names() -> None:
    table = Table("x.csv", ["", "User-ID", "3", "time"], iter([]))
    assert [find_column(table.header, name) for name in ("User-ID", "user id", "3", "4", "5", "users")] == [
        1,
        1,
        2,
        3,
        None,
        None,
    ]
    assert find_column(table.header, None, ["session", "userid"]) == 1
    assert find_column(table.header, None, ["", "session"]) is None
    with pytest.raises(
        DataError, match=r"x\.csv has no column 'tine' for the at\n.*\n.*4 columns: , User.*\n.*--set at=time"
    ):
        table.column("at", "tine")
    with pytest.raises(DataError, match=r"no column for the item\n.*item or sku\n.*\n.*--set item=NAME"):
        table.column("item", None, ["item", "sku"])


def test_broken_rows_are_named_or_skipped_and_counted(tmp_path: Path) -> None:
    def number(cells: list[str]) -> int:
        if not cells[1].isdigit():
            raise DataError("not a number", found=repr(cells[1]))
        return int(cells[1])

    path = write(tmp_path, "a,b\nx,1\nx,y\nx\nx,2\n")
    with pytest.raises(DataError, match=r"table\.csv, line 3: not a number\n.*'y'\n.*fix the row$"):
        list(read_table(path).parse(number))
    skipped = SkippedRows()
    with pytest.raises(DataError, match="skip such rows with --skip-bad"):
        list(read_table(path).parse(number, skipped=skipped))
    skipped.clear()
    assert list(read_table(path).parse(number, skipped=skipped, skip_bad=True)) == [(2, 1), (5, 2)]
    assert skipped.lines() == [
        f"{path}, line 3: not a number: 'y'",
        f"{path}, line 4: wrong number of cells: 1 cells: x",
    ]
    assert [value for _, value in read_table(path).parse(len, width=0)] == [2, 2, 1, 2]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    whole = gzip.compress(b"a,b\n" + b"1,2\n" * 1000)
    assert len(cells(read_table(write(tmp_path, whole, "x.csv.gz")))) == 1000
    for path in (tmp_path, tmp_path / "absent.csv", write(tmp_path, whole[:-20], "y.csv.gz")):
        with pytest.raises(DataError, match="cannot be read"):
            cells(read_table(path))
    with pytest.raises(DataError, match="is empty"):
        read_table(write(tmp_path, "\n \n"))
    path = write(tmp_path, "a,b\nä,1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"not valid UTF-8(\n.*)*iconv"):
        cells(read_table(path))
    with pytest.raises(DataError, match=r"not valid UTF-8(\n.*)*--set encoding=latin-1$"):
        cells(read_table(path, encoding="utf-8"))
    assert cells(read_table(path, encoding="latin-1")) == [["ä", "1"]]
    with pytest.raises(DataError, match=r"is a binary file(\n.*)*one of text"):
        cells(read_table(write(tmp_path, b"a,b\n\0,1\n")))


def test_rows_across_pieces_and_lines_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "PIECE", 3)
    table = read_table(write(tmp_path, "aä,b\r\n1,2\r\n\r\n3,4"))
    assert (table.header, list(table.rows)) == (["aä", "b"], [(2, ["1", "2"], ""), (4, ["3", "4"], "")])
    with pytest.raises(DataError, match="line 2 is too long"):
        cells(read_table(write(tmp_path, "a,b\n" + "1" * 30), max_line=20))


def test_one_limit_of_a_cell_holds_for_the_process(tmp_path: Path) -> None:
    csv.field_size_limit(10)  # as other code may leave it
    assert cells(read_table(write(tmp_path, f"a,b\n{'1' * 20},2\n"))) == [["1" * 20, "2"]]
    assert csv.field_size_limit() == MAX_CELL
