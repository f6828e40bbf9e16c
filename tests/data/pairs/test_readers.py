"""Tables of pairs: the columns are found or named, and a broken row is named by file and line."""

import math
from pathlib import Path

import pytest

from elman.data.pairs.readers import ScoredPair, read_pairs
from elman.errors import DataError


def write(folder: Path, text: str, name: str = "pairs.tsv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("one\ttwo\t4.5\nthree\tfour\t1\n", {}),
        ("one,two,4.5\nthree,four,1\n", {}),
        ("a,b,score\none,two,4.5\nthree,four,1", {}),
        ("Score\tSentence 1\tsentence-2\r\n4.5\tone\ttwo\r\n\r\n1\tthree\tfour\r\n", {"second": "sentence_2"}),
        ("pair_ID\tsentence_A\tsentence_B\trelatedness_score\n7\tone\ttwo\t4.5\n9\tthree\tfour\t1\n", {}),
        ("x,y,z\n4.5,one,two\n1,three,four\n", {"first": "y", "second": "Z", "score": "x"}),
        ("news\t4.5\tone\ttwo\nnews\t1\tthree\tfour\tMIT\n", {"first": "3", "second": "4", "score": "2"}),
        ("n,v,s\none,4.5,two\nthree,1,four\n", {"first": "1", "second": "3", "score": "2"}),
    ],
)
def test_columns_are_found_or_named(tmp_path: Path, text: str, columns: dict) -> None:
    if "Sentence 1" in text:
        columns = {**columns, "first": "Sentence 1"}
    table = read_pairs([write(tmp_path, text)], **columns)
    assert list(table) == [ScoredPair("one", "two", 4.5), ScoredPair("three", "four", 1.0)]
    assert list(table) == list(table), "a table can be read again"


def test_yes_and_no_are_one_and_nought(tmp_path: Path) -> None:
    path = write(tmp_path, "question1,question2,is_duplicate\na,b,Yes\nc,d,no\ne,f,TRUE\ng,h,0\n")
    assert [pair.score for pair in read_pairs([path])] == [1, 0, 1, 0]


def test_quotes_are_the_text_of_a_tsv_and_the_form_of_a_csv(tmp_path: Path) -> None:
    tabs = write(tmp_path, '"so\t"he said"\t1\nx\ty\t2\n')
    assert next(iter(read_pairs([tabs])))[:2] == ('"so', '"he said"')
    commas = write(tmp_path, '"one, two","he said ""no""\nand left",3\n', "pairs.csv")
    assert list(read_pairs([commas])) == [ScoredPair("one, two", 'he said "no" and left', 3.0)]


def test_without_scores(tmp_path: Path) -> None:
    for text in ("one\ttwo\n", "one\ttwo\t3\n", "score\tb\ta\n3\ttwo\tone\n"):
        (pair,) = read_pairs([write(tmp_path, text)], scored=False)
        assert pair[:2] == ("one", "two")
        assert math.isnan(pair.score)


def test_a_folder_gives_its_tables(tmp_path: Path) -> None:
    write(tmp_path, "c\td\t2\n", "2.tsv")
    write(tmp_path, "a\tb\t1\n", "1.csv")
    write(tmp_path, "no pair", "readme.md")
    assert [pair.first for pair in read_pairs([tmp_path])] == ["a", "c"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("one\ttwo", r"line 2: wrong number of cells\n.*3 cells\n.*2 cells: one \| two"),
        ("one\ttwo\t1\tmore", r"line 2: wrong number of cells\n.*\n.*4 cells"),
        ("one\ttwo\t1e308", r"line 2: invalid score\n.*magnitude 1e\+38 or less\n.*'1e308'"),
        ("one\ttwo\tNEUTRAL", r"line 2: invalid score\n.*a number, or yes or no\n.*'NEUTRAL'"),
        ("one\ttwo\tnan", r"line 2: invalid score\n.*\n.*'nan'"),
        ("one\ttwo\t", r"line 2: invalid score\n.*\n.*''"),
        ("one\t  \t3", r"line 2: an empty second text\n.*two texts\n.*fix the row, or skip such rows with --skip-bad"),
    ],
)
def test_a_broken_row_is_named_or_skipped(tmp_path: Path, row: str, message: str) -> None:
    path = write(tmp_path, f"a\tb\t1\n{row}\nc\td\t2\n")
    with pytest.raises(DataError, match=message):
        list(read_pairs([path]))
    table = read_pairs([path], skip_bad=True)
    assert [pair.first for pair in table] == ["a", "c"]
    assert table.skipped.count == 1
    assert "line 2" in table.skipped.lines()[0]


def test_an_open_quote_is_a_broken_row(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b,1\n"c,d,2\ne,f,3\n', "pairs.csv")
    with pytest.raises(DataError, match=r"line 2: the row is broken\n.*\n.*not closed"):
        list(read_pairs([path]))


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        ("id\tx\ty\tz", {}, r"no column for the first\n.*a or first.*\n.*4 columns"),
        ("a\tb\tgold", {}, r"no column for the score\n.*\n.*3 columns: a, b, gold\n.*--set score_column=NAME"),
        (
            "a\tb\tscore",
            {"score": "scores"},
            r"no column 'scores' for the score\n.*\n.*a, b, score\n.*--set score_column=score",
        ),
        (
            "a\tb\tgold",
            {"score": "x"},
            r"no column 'x' for the score\n.*\n.*a, b, gold\n.*score_column=NAME, or the number",
        ),
        ("1\t2\t3\t4", {"first": "1", "second": "2", "score": "9"}, r"no column '9' for the score"),
        ("only one text", {}, r"\n.*1 columns: only one text"),
    ],
)
def test_columns_that_are_not_there(tmp_path: Path, header: str, columns: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(read_pairs([write(tmp_path, header + "\n")], **columns))


def test_a_file_that_is_not_text_is_refused_without_hints_for_other_recipes(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    for raw, message in ((b"a,b\0,1\n", "binary"), ("ä,b,1\n".encode("latin-1"), "encoding=latin-1")):
        path.write_bytes(raw)
        with pytest.raises(DataError, match=message) as caught:
            list(read_pairs([path]))
        assert "vocabulary" not in str(caught.value)
    assert [p.first for p in read_pairs([path], encoding="latin-1")] == ["ä"]


def test_what_is_guessed_and_not_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(";id;score;a;b\n0;7;1;x;y\n1;8;2;x;z\n")
    table = read_pairs([path])
    assert [pair.score for pair in table] == [1, 2]
    assert sorted(table.notes) == [
        "first_column=a, second_column=b, score_column=score",
        "separator: semicolon",
        "unused columns: column 1, which has no name, id",
    ]
    path.write_text("x,y,1\nx,z,2\n")
    table = read_pairs([path])
    assert len(list(table)) == 2
    assert "no header: the first line is a pair" in table.notes
